//! Tokens of signed-in guests, under `/api/v2/webdeployments/token/`. That every invalid proof is refused with 401, and
//! an unknown deployment with 404, are inferences.

use bytes::Bytes;
use http::Response;
use serde_json::{Map, Value, json};

use super::Problem;
use super::response::{Call, no_content, ok, with_usage};
use crate::world::{Denial, LimitKey, MINUTE, Proof, Usage, Window, World};

type Answer = Result<Response<Bytes>, Problem>;

/// `POST oauthcodegrantjwtexchange`: exchanges an authorization code, or an id token, for a JWT.
pub(super) fn exchange(call: &mut Call<'_>, _: &[&str]) -> Answer {
    let usage = take(call, LimitKey::EXCHANGE, |world| &mut world.sign_ins.exchanges)?;
    let body = call.object(&["deploymentId", "journeyContext", "oauth"], "token exchange")?;
    let Some(Value::Object(oauth)) = body.get("oauth") else {
        return Err(Problem::bad_request("The body needs an object oauth."));
    };
    #[rustfmt::skip]
    let known = ["code", "codeVerifier", "idToken", "iss", "maxAge", "nonce", "redirectUri"];
    call.check_fields(oauth, &known, "token exchange oauth");
    let deployment = text(&body, "deploymentId").unwrap_or_default();
    call.world.check_deployment(deployment)?;
    let required = |name, message| text(oauth, name).ok_or_else(|| Problem::bad_request(message));
    let proof = match (text(oauth, "code"), text(oauth, "idToken")) {
        (Some(code), None) => Proof::Code {
            code,
            redirect_uri: required("redirectUri", "oauth needs redirectUri with code.")?,
            verifier: text(oauth, "codeVerifier"),
            nonce: text(oauth, "nonce"),
        },
        (None, Some(token)) => Proof::IdToken {
            token,
            nonce: required("nonce", "oauth needs nonce with idToken.")?,
        },
        _ => return Err(Problem::bad_request("oauth needs either code or idToken.")),
    };
    let issued = call.world.exchange(&proof, call.now);
    let (jwt, refresh) = issued.ok_or(Denial::BadCredentials)?;
    let mut body = json!({"jwt": jwt});
    if let Some(refresh) = refresh {
        body["refreshToken"] = json!(refresh);
    }
    Ok(with_usage(ok(&body), usage))
}

/// `POST refresh`. The mobile SDK omits `deploymentId`, which Genesys documents as required.
pub(super) fn refresh(call: &mut Call<'_>, _: &[&str]) -> Answer {
    let usage = take(call, LimitKey::REFRESH, |world| &mut world.sign_ins.refreshes)?;
    let body = call.object(&["deploymentId", "refreshToken"], "token refresh")?;
    if let Some(deployment) = text(&body, "deploymentId") {
        call.world.check_deployment(deployment)?;
    }
    let token =
        text(&body, "refreshToken").ok_or_else(|| Problem::bad_request("The body needs refreshToken."))?;
    let jwt = call
        .world
        .refresh(token, call.now)
        .ok_or(Denial::BadCredentials)?;
    Ok(with_usage(ok(&json!({"jwt": jwt})), usage))
}

/// `DELETE revoke`, with the JWT as bearer.
pub(super) fn revoke(call: &mut Call<'_>, _: &[&str]) -> Answer {
    let usage = take(call, LimitKey::REVOKE, |world| &mut world.sign_ins.revocations)?;
    let jwt = call.bearer().ok_or_else(Problem::not_authenticated)?;
    call.world.revoke(jwt, call.now)?;
    Ok(with_usage(no_content(), usage))
}

fn take(
    call: &mut Call<'_>,
    key: LimitKey,
    window: fn(&mut World) -> &mut Window,
) -> Result<Option<Usage>, Denial> {
    let limit = call.world.rules.limits.sign_ins_per_minute;
    let window = window(call.world);
    window
        .take(limit, MINUTE, call.now.instant)
        .map_err(Denial::too_many(key))
}

fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str()
}
