//! Tokens of signed-in guests, under `/api/v2/webdeployments/token/`. That every proof that does not hold is refused
//! with 401, and an unknown deployment with 404, are inferences.

use bytes::Bytes;
use genesys_api::Now;
use http::{Request, Response, StatusCode};
use serde_json::{Map, Value, json};

use super::{Problem, authorization, json, tell_usage};
use crate::world::limits::{MINUTE, Usage, Window};
use crate::world::{JwtError, Oddity, Proof, World};

/// `POST oauthcodegrantjwtexchange`: an authorization code, or an id token, for a JWT.
pub(super) fn exchange(
    world: &mut World,
    request: &Request<Bytes>,
    now: Now,
) -> Result<Response<Bytes>, Problem> {
    let usage = take(world, |world| &mut world.sign_ins.exchanges, "exchange", now)?;
    let body = object(request)?;
    complain(
        world,
        &body,
        &["deploymentId", "journeyContext", "oauth"],
        "exchange",
        now,
    );
    let Some(Value::Object(oauth)) = body.get("oauth") else {
        return Err(Problem::bad_request("The body needs an object oauth."));
    };
    let known = [
        "code",
        "codeVerifier",
        "idToken",
        "iss",
        "maxAge",
        "nonce",
        "redirectUri",
    ];
    complain(world, oauth, &known, "exchange oauth", now);
    check_deployment(world, text(&body, "deploymentId").unwrap_or_default())?;
    let proof = match (text(oauth, "code"), text(oauth, "idToken")) {
        (Some(code), None) => Proof::Code {
            code,
            redirect_uri: text(oauth, "redirectUri")
                .ok_or_else(|| Problem::bad_request("oauth needs redirectUri with code."))?,
            verifier: text(oauth, "codeVerifier"),
            nonce: text(oauth, "nonce"),
        },
        (None, Some(token)) => Proof::IdToken {
            token,
            nonce: text(oauth, "nonce")
                .ok_or_else(|| Problem::bad_request("oauth needs nonce with idToken."))?,
        },
        _ => return Err(Problem::bad_request("oauth needs either code or idToken.")),
    };
    let (jwt, refresh) = world.exchange(&proof, now).ok_or_else(Problem::bad_credentials)?;
    let mut body = json!({"jwt": jwt});
    if let Some(refresh) = refresh {
        body["refreshToken"] = json!(refresh);
    }
    Ok(told(json(StatusCode::OK, &body), usage))
}

/// `POST refresh`. The mobile SDK leaves out `deploymentId`, which Genesys documents as required.
pub(super) fn refresh(
    world: &mut World,
    request: &Request<Bytes>,
    now: Now,
) -> Result<Response<Bytes>, Problem> {
    let usage = take(world, |world| &mut world.sign_ins.refreshes, "refresh", now)?;
    let body = object(request)?;
    complain(world, &body, &["deploymentId", "refreshToken"], "refresh", now);
    if let Some(deployment) = text(&body, "deploymentId") {
        check_deployment(world, deployment)?;
    }
    let token =
        text(&body, "refreshToken").ok_or_else(|| Problem::bad_request("The body needs refreshToken."))?;
    let jwt = world.refresh(token, now).ok_or_else(Problem::bad_credentials)?;
    Ok(told(json(StatusCode::OK, &json!({"jwt": jwt})), usage))
}

/// `DELETE revoke`, with the JWT as bearer.
pub(super) fn revoke(
    world: &mut World,
    request: &Request<Bytes>,
    now: Now,
) -> Result<Response<Bytes>, Problem> {
    let usage = take(world, |world| &mut world.sign_ins.revocations, "revoke", now)?;
    let jwt = authorization(request, "Bearer").ok_or_else(Problem::not_authenticated)?;
    world.revoke(jwt, now).map_err(|error| match error {
        JwtError::Expired => Problem::credentials_expired(),
        JwtError::Invalid => Problem::bad_credentials(),
    })?;
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(told(response, usage))
}

fn take(
    world: &mut World,
    window: impl Fn(&mut World) -> &mut Window,
    what: &str,
    now: Now,
) -> Result<Option<Usage>, Problem> {
    let limit = world.rules.limits.sign_ins_per_minute;
    window(world).take(limit, MINUTE, now.instant).map_err(|usage| {
        world.counters.rate_limited += 1;
        let key = match what {
            "exchange" => "exchange.token.rate.per.minute",
            "refresh" => "refresh.token.rate.per.minute",
            _ => "revoke.token.rate.per.minute",
        };
        Problem::too_many("web.deployments", key, usage)
    })
}

fn told(mut response: Response<Bytes>, usage: Option<Usage>) -> Response<Bytes> {
    if let Some(usage) = usage {
        tell_usage(&mut response, usage);
    }
    response
}

fn object(request: &Request<Bytes>) -> Result<Map<String, Value>, Problem> {
    serde_json::from_slice(request.body())
        .map_err(|_| Problem::bad_request("The body has to be a JSON object."))
}

fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str()
}

fn check_deployment(world: &World, named: &str) -> Result<(), Problem> {
    if named == world.deployment.as_str() {
        return Ok(());
    }
    Err(Problem::not_found())
}

fn complain(world: &mut World, object: &Map<String, Value>, known: &[&str], place: &str, now: Now) {
    for name in object.keys().filter(|name| !known.contains(&name.as_str())) {
        let place = format!("token {place}.{name}");
        world.complaints.add(Oddity::UnknownField, &place, now.utc);
    }
}
