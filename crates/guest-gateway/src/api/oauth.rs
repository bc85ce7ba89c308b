//! `POST /oauth/token`: client credentials for an access token.

use std::borrow::Cow;
use std::collections::HashMap;

use audit::{Actor, Draft};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use genesys_api::{entropy, rfc3339};
use genesys_auth::Scopes;
use guest_suite::Error;
use guest_suite::store::StoreError;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::access::{FailureReason, TOKEN_LIFETIME};
use super::request::Call;
use super::{Refusal, RequestLog, json_answer};

/// RFC 6749 section 4.4. The client authenticates by HTTP Basic or in the form.
pub(super) async fn token(mut call: Call) -> Result<Response, Response> {
    let body = call.body("application/x-www-form-urlencoded").await;
    let body = body.map_err(Refusal::into_response)?;
    let form = parse(&body).map_err(invalid_request)?;
    let grant = form.get("grant_type").map(|grant| &**grant);
    if grant.is_some_and(|grant| grant != "client_credentials") {
        let text = "invalid grant_type: use client_credentials";
        return Err(refused("unsupported_grant_type", text));
    }
    let credentials = credentials(call.request.headers(), &form).map_err(invalid_request)?;
    let clients = &call.settings.clients;
    let now = call.app.clock.now();
    let Some(credentials) = credentials else {
        call.app.log_auth_failure_later(None, NO_CREDENTIALS);
        return Err(invalid_client(NO_CREDENTIALS));
    };
    let authenticated = clients.authenticate(&credentials.presented, call.address(), now);
    let authenticated = authenticated.map_err(|failure| {
        call.app
            .log_auth_failure_later(failure.client, failure.reason.name());
        match failure.reason {
            FailureReason::Credentials => invalid_client(credentials.failure_text()),
            FailureReason::Limited(wait) => Refusal::too_many_failures(wait).into_response(),
        }
    })?;
    let (client, allowed) = (authenticated.client, authenticated.scopes);
    RequestLog::of(&call.request).set_caller(client.as_str());
    clients
        .admit(&client, now)
        .map_err(|wait| Refusal::too_many(wait).into_response())?;
    if grant.is_none() {
        return Err(invalid_request(
            "invalid grant_type: missing, use client_credentials",
        ));
    }
    let scopes = match form.get("scope").map(|scopes| scopes.parse::<Scopes>()) {
        None => allowed.clone(),
        Some(Ok(requested)) if allowed.require(&requested).is_ok() => requested,
        Some(_) => {
            let text = format!("invalid scope: this client may request {allowed}");
            return Err(refused("invalid_scope", &text));
        }
    };
    let token = clients.issue(&client, &scopes, now.utc, entropy::number());
    let issued = Draft::new(now.utc, Actor::client(client.as_str()), "client.token_issued")
        .detail("token", clients.fingerprint(&token))
        .detail("scopes", scopes.to_string())
        .detail("expiresAt", rfc3339(now.utc + TOKEN_LIFETIME));
    let issued = match authenticated.by_old_secret {
        true => issued.detail("secret", "old"),
        false => issued,
    };
    call.app
        .direct
        .audit_log()
        .log(issued)
        .await
        .map_err(unavailable)?;
    let body = json!({
        "access_token": token.expose_secret(),
        "token_type": "bearer",
        "expires_in": TOKEN_LIFETIME.as_secs(),
        "scope": scopes.to_string(),
    });
    Ok(json_answer(StatusCode::OK, &body))
}

/// The answer to a client without credentials.
const NO_CREDENTIALS: &str =
    "invalid client: no credentials, send them by HTTP Basic or as client_id and client_secret in the form";

type Form<'a> = HashMap<Cow<'a, str>, Cow<'a, str>>;

/// Parses the body. A parameter without a value counts as left out, and an unknown one is ignored (RFC 6749 section 3.2).
fn parse(body: &[u8]) -> Result<Form<'_>, &'static str> {
    let mut form = Form::new();
    for (name, value) in url::form_urlencoded::parse(body).filter(|(_, value)| !value.is_empty()) {
        let is_known = ["grant_type", "client_id", "client_secret", "scope"].contains(&&*name);
        if is_known && form.insert(name, value).is_some() {
            return Err("invalid form: a parameter is repeated, give each once");
        }
    }
    Ok(form)
}

/// The credentials of a request.
struct Presented {
    /// The id and the secret, decoded and as they are if those differ: `curl -u` does not encode them.
    presented: Vec<(String, SecretString)>,
}

impl Presented {
    /// The text of a failed authentication. It does not depend on the clients of the gateway.
    fn failure_text(&self) -> &'static str {
        match self.presented.len() {
            1 => "authentication failed",
            _ => {
                "authentication failed: HTTP Basic has the client id and the secret form-encoded (RFC 6749 section 2.3.1), \
                 encode characters such as %, + and ="
            }
        }
    }
}

/// Returns the credentials of the client. It may send them in one way only (RFC 6749 section 2.3).
fn credentials(headers: &HeaderMap, form: &Form<'_>) -> Result<Option<Presented>, &'static str> {
    let mut headers = headers.get_all(AUTHORIZATION).iter();
    match (headers.next(), headers.next(), form.get("client_secret")) {
        (None, _, Some(secret)) => {
            let id = form.get("client_id");
            Ok(id.map(|id| Presented {
                presented: vec![(id.to_string(), (&**secret).into())],
            }))
        }
        (Some(header), None, None) => match (basic(header), form.get("client_id")) {
            (Some(basic), Some(id)) if !basic.presented.iter().any(|(presented, _)| presented == id) => Err(
                "invalid client_id: not the one in HTTP Basic, leave it out of the form (RFC 6749 section 2.3)",
            ),
            (basic, _) => Ok(basic),
        },
        (None, _, None) => Ok(None),
        _ => Err("invalid credentials: sent in more than one way, use HTTP Basic or the form, once"),
    }
}

fn basic(header: &HeaderValue) -> Option<Presented> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    let (decoded_id, decoded_secret) = (decoded(id), decoded(secret));
    let is_plain = decoded_id == id && decoded_secret == secret;
    let mut presented = vec![(decoded_id, decoded_secret.into())];
    if !is_plain {
        presented.push((id.to_owned(), secret.into()));
    }
    Some(Presented { presented })
}

/// Decodes an id or a secret of HTTP Basic, which is form-encoded (RFC 6749 section 2.3.1).
fn decoded(text: &str) -> String {
    // the parser splits at these, which are part of a text that is not encoded
    let name = text.replace('&', "%26").replace('=', "%3D");
    let mut pairs = url::form_urlencoded::parse(name.as_bytes());
    pairs
        .next()
        .map(|(name, _)| name.into_owned())
        .unwrap_or_default()
}

fn invalid_client(description: &str) -> Response {
    let mut response = refused("invalid_client", description);
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    let challenge = HeaderValue::from_static("Basic realm=\"guest-sessions\"");
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

fn unavailable(error: StoreError) -> Response {
    Refusal::from(Error::from(error)).into_response()
}

fn invalid_request(description: &str) -> Response {
    refused("invalid_request", description)
}

/// The error body of an OAuth server, in the shape of Genesys' login host.
fn refused(error: &str, description: &str) -> Response {
    let body = json!({ "error": error, "description": description, "error_description": description });
    json_answer(StatusCode::BAD_REQUEST, &body)
}
