//! The simulated identity provider: it approves every authorization request that is well formed, at once.

use bytes::Bytes;
use genesys_api::Now;
use http::header::{CACHE_CONTROL, LOCATION};
use http::{HeaderValue, Request, Response, StatusCode};
use serde_json::json;
use url::{Url, form_urlencoded};

use super::{json, parameter};
use crate::world::{Approval, World};

/// Longest value of a parameter that is remembered, in bytes. Our choice.
const LONGEST: usize = 512;

/// `GET /oauth/authorize` (RFC 6749, section 4.1.1; RFC 7636, section 4.3; OpenID Connect Core, section 3). The user
/// is the configured one, or the one that `login_hint` names.
pub(super) fn answer(world: &mut World, request: &Request<Bytes>, now: Now) -> Response<Bytes> {
    let query = request.uri().query().unwrap_or_default();
    let asked = |name| parameter(query, name).filter(|value| !value.is_empty() && value.len() <= LONGEST);
    let (Some(client_id), Some(place)) = (asked("client_id"), asked("redirect_uri")) else {
        return refusal("client_id and redirect_uri are required");
    };
    let known = world.rules.sign_in.redirect_uris.as_ref();
    let target = Url::parse(&place).ok().filter(|url| {
        let a_place = !url.cannot_be_a_base() && url.fragment().is_none();
        a_place && known.is_none_or(|known| known.contains(&place))
    });
    let Some(target) = target else {
        return refusal("the redirect_uri is not allowed");
    };
    let (kind, state) = (asked("response_type"), asked("state"));
    let method = asked("code_challenge_method");
    let approval = Approval {
        client_id,
        redirect_uri: place,
        challenge: asked("code_challenge"),
        nonce: asked("nonce"),
        login_hint: asked("login_hint"),
    };
    let error = |error| ("error", error);
    let (name, value) = if !world.rules.sign_in.enabled {
        error("access_denied".to_owned())
    } else if approval.challenge.is_some() && method.as_deref() != Some("S256") {
        error("invalid_request".to_owned())
    } else {
        match kind.as_deref() {
            Some("code") => ("code", world.approve(approval, now)),
            Some("id_token") if approval.nonce.is_some() => {
                ("id_token", world.approve_implicitly(approval, now))
            }
            Some("id_token") => error("invalid_request".to_owned()),
            _ => error("unsupported_response_type".to_owned()),
        }
    };
    redirect(target, kind.as_deref() == Some("id_token"), (name, &value), state)
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

/// Without a place to return to, the person is told.
fn refusal(description: &str) -> Response<Bytes> {
    let body = json!({"error": "invalid_request", "error_description": description});
    json(StatusCode::BAD_REQUEST, &body)
}
