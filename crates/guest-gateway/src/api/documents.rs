//! The documents of the contract: `/openapi.json` and the JSON Schemas beside it. They are public.

use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, StatusCode};
use ring::digest;

/// RFC 9512 section 5.1.
pub(super) const OPENAPI: &str = "application/vnd.oai.openapi+json;version=3.1";
/// JSON Schema 2020-12 section 14.1.
pub(super) const SCHEMA: &str = "application/schema+json";

/// Answers with a document, or with 304 if the client has it. Clients cache it for a day, which is our choice.
pub(super) fn fetch(document: &'static str, media_type: &'static str, request: &HeaderMap) -> Response {
    let digest = digest::digest(&digest::SHA256, document.as_bytes());
    let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&digest.as_ref()[..12]));
    // RFC 9110 section 13.1.2: the comparison is weak, and `*` matches every document
    let conditions = request.get_all(IF_NONE_MATCH).iter();
    let is_known = conditions
        .filter_map(|tags| tags.to_str().ok())
        .flat_map(|tags| tags.split(',').map(str::trim))
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag);
    let caching = [(CACHE_CONTROL, "public, max-age=86400".to_owned()), (ETAG, tag)];
    if is_known {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    ([(CONTENT_TYPE, media_type)], caching, document).into_response()
}
