//! The documents of the contract: `/openapi.json` and the JSON Schemas beside it. They are public.

use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, StatusCode};
use ring::digest;

use super::App;

/// A document as `cargo xtask codegen` writes it from `spec/guest-sessions`, and its media type.
type Document = (&'static str, &'static str);

/// The description of the REST calls. RFC 9512 section 5.1 defines the media type.
pub(super) const OPENAPI: Document = (
    include_str!("../generated/openapi.json"),
    "application/vnd.oai.openapi+json;version=3.1",
);
/// The JSON Schema of the WebSocket's frames.
pub(super) const FRAMES: Document = (include_str!("../generated/frames.schema.json"), SCHEMA);
/// The JSON Schema of a webhook delivery's body.
pub(super) const EVENTS: Document = (include_str!("../generated/events.schema.json"), SCHEMA);
/// JSON Schema 2020-12 section 14.1.
const SCHEMA: &str = "application/schema+json";

/// Returns a route to a document. Clients cache it for a day, which is our choice.
pub(super) fn route(method: MethodFilter, document: Document) -> MethodRouter<App> {
    on(method, async move |headers: HeaderMap| answer(document, &headers))
}

fn answer((text, media_type): Document, request: &HeaderMap) -> Response {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
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
    ([(CONTENT_TYPE, media_type)], caching, text).into_response()
}
