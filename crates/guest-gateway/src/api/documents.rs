//! The contract itself: `/openapi.json` and the JSON Schemas beside it. They are no secret.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use ring::digest;

use crate::generated::{EVENTS, FRAMES, OPENAPI};

/// A day, after which a client asks whether it has changed. Our choice.
const CACHED: HeaderValue = HeaderValue::from_static("public, max-age=86400");

pub(super) async fn openapi(headers: HeaderMap) -> Response {
    // RFC 9512 section 5.1
    answer(
        OPENAPI,
        HeaderValue::from_static("application/vnd.oai.openapi+json;version=3.1"),
        &headers,
    )
}

pub(super) async fn frames(headers: HeaderMap) -> Response {
    answer(FRAMES, SCHEMA, &headers)
}

pub(super) async fn events(headers: HeaderMap) -> Response {
    answer(EVENTS, SCHEMA, &headers)
}

/// JSON Schema 2020-12 section 14.1.
const SCHEMA: HeaderValue = HeaderValue::from_static("application/schema+json");

fn answer(document: &'static str, media: HeaderValue, asked: &HeaderMap) -> Response {
    let digest = digest::digest(&digest::SHA256, document.as_bytes());
    let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&digest.as_ref()[..12]));
    // RFC 9110 section 13.1.2: the comparison is weak, and `*` is whatever there is
    let known = asked
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|known| known.to_str().ok())
        .flat_map(|known| known.split(','))
        .map(|known| known.trim())
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag);
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Body::from(document).into_response()
    };
    let headers = response.headers_mut();
    if !known {
        headers.insert(CONTENT_TYPE, media);
    }
    headers.insert(CACHE_CONTROL, CACHED);
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(ETAG, tag);
    }
    response
}
