//! Public files: `/openapi.json`, the JSON Schemas beside it, and the component `/guest-chat.js`.

use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, StatusCode};
use ring::digest;

use super::{App, CROSS_ORIGIN_RESOURCE_POLICY};

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

/// The component `<guest-chat>`, which pages of all origins import.
const GUEST_CHAT: Document = (include_str!("../generated/guest-chat.js"), "text/javascript");
/// Pages of other sites may run the file. It is the same for every reader, so that no credential decides its contents: `*`
/// shares nothing that a request without a cookie does not get, and a module script needs it.
const SHARED: [(HeaderName, &str); 2] = [
    (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (CROSS_ORIGIN_RESOURCE_POLICY, "cross-origin"),
];

/// Returns the route to the component. Clients cache it for an hour, so that pages soon have the one of a new gateway.
pub(super) fn component(method: MethodFilter) -> MethodRouter<App> {
    on(method, async move |headers: HeaderMap| {
        (SHARED, answer(GUEST_CHAT, "public, max-age=3600", &headers))
    })
}

/// Returns a route to a document. Clients cache it for a day, which is our choice.
pub(super) fn route(method: MethodFilter, document: Document) -> MethodRouter<App> {
    on(method, async move |headers: HeaderMap| {
        answer(document, "public, max-age=86400", &headers)
    })
}

fn answer((text, media_type): Document, caching: &'static str, request: &HeaderMap) -> Response {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&digest.as_ref()[..12]));
    // RFC 9110 section 13.1.2: the comparison is weak, and `*` matches every document
    let conditions = request.get_all(IF_NONE_MATCH).iter();
    let is_known = conditions
        .filter_map(|tags| tags.to_str().ok())
        .flat_map(|tags| tags.split(',').map(str::trim))
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag);
    let caching = [(CACHE_CONTROL, caching.to_owned()), (ETAG, tag)];
    if is_known {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    ([(CONTENT_TYPE, media_type)], caching, text).into_response()
}
