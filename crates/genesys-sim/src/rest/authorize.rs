//! The simulated identity provider, which approves every valid authorization request.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, LOCATION};
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;
use url::{Url, form_urlencoded};

use super::Problem;
use super::response::{Call, json};
use crate::world::Approval;

/// Longest value of a parameter, in bytes. Our choice.
const MAX_VALUE: usize = 512;

/// `GET /oauth/authorize` (RFC 6749, section 4.1.1; RFC 7636, section 4.3; OpenID Connect Core, section 3). The user
/// is the configured one, or the one that `login_hint` names.
pub(super) fn authorize(call: &mut Call<'_>, _: &[&str]) -> Result<Response<Bytes>, Problem> {
    let query = |name| {
        call.query(name)
            .filter(|value| !value.is_empty() && value.len() <= MAX_VALUE)
    };
    let (Some(client_id), Some(redirect_uri)) = (query("client_id"), query("redirect_uri")) else {
        return Ok(refusal("client_id and redirect_uri are required"));
    };
    let rules = &call.world.rules.sign_in;
    let enabled = rules.enabled;
    let allowed = rules
        .redirect_uris
        .as_ref()
        .is_none_or(|uris| uris.contains(&redirect_uri));
    let target = Url::parse(&redirect_uri)
        .ok()
        .filter(|url| allowed && !url.cannot_be_a_base() && url.fragment().is_none());
    let Some(target) = target else {
        return Ok(refusal("the redirect_uri is not allowed"));
    };
    let (kind, state, method) = (
        query("response_type"),
        query("state"),
        query("code_challenge_method"),
    );
    let approval = Approval {
        client_id,
        redirect_uri,
        challenge: query("code_challenge"),
        nonce: query("nonce"),
        login_hint: query("login_hint"),
    };
    let is_pkce_wrong = approval.challenge.is_some() && method.as_deref() != Some("S256");
    let (name, value) = match kind.as_deref() {
        _ if !enabled => ("error", "access_denied".to_owned()),
        _ if is_pkce_wrong => ("error", "invalid_request".to_owned()),
        Some("code") => ("code", call.world.approve(approval, call.now)),
        Some("id_token") if approval.nonce.is_some() => {
            ("id_token", call.world.approve_implicitly(approval, call.now))
        }
        Some("id_token") => ("error", "invalid_request".to_owned()),
        _ => ("error", "unsupported_response_type".to_owned()),
    };
    Ok(redirect(
        target,
        kind.as_deref() == Some("id_token"),
        (name, &value),
        state,
    ))
}

fn redirect(
    mut target: Url,
    as_fragment: bool,
    (name, value): (&str, &str),
    state: Option<String>,
) -> Response<Bytes> {
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    pairs.append_pair(name, value);
    if let Some(state) = state {
        pairs.append_pair("state", &state);
    }
    let pairs = pairs.finish();
    if as_fragment {
        target.set_fragment(Some(&pairs));
    } else {
        let query = match target.query() {
            Some(query) if !query.is_empty() => format!("{query}&{pairs}"),
            _ => pairs,
        };
        target.set_query(Some(&query));
    }
    let Ok(location) = HeaderValue::from_str(target.as_str()) else {
        return refusal("the redirect_uri is not allowed");
    };
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::FOUND;
    let headers = response.headers_mut();
    headers.insert(LOCATION, location);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A refusal without a redirect, for the person.
fn refusal(description: &str) -> Response<Bytes> {
    let body = json!({"error": "invalid_request", "error_description": description});
    json(StatusCode::BAD_REQUEST, &body)
}
