//! The bucket of attachments: uploads and downloads, by links that carry their permission.

use bytes::Bytes;
use genesys_api::Now;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Request, Response, StatusCode};

use crate::world::{Verb, World};

/// The header that a grant names, and an upload has to carry.
const TAGGING: &str = "x-amz-tagging";

/// `PUT /upload/{attachmentId}`. Like a bucket it is content with what comes; the socket is told whether it is good.
pub(super) fn upload(world: &mut World, request: &Request<Bytes>, now: Now) -> Response<Bytes> {
    let tagged = request
        .headers()
        .get(TAGGING)
        .is_some_and(|value| value.as_bytes() == world.tagging().as_bytes());
    let done = match world.open_link(Verb::Upload, request.uri(), now) {
        Ok(target) if tagged => world.upload(target, request.body().clone(), now),
        _ => Err(crate::world::Denied),
    };
    match done {
        Ok(()) => open(Response::new(Bytes::new())),
        Err(_) => denied(),
    }
}

/// `GET /download/{attachmentId}`.
pub(super) fn download(world: &World, request: &Request<Bytes>, now: Now) -> Response<Bytes> {
    let file = world
        .open_link(Verb::Download, request.uri(), now)
        .and_then(|target| world.download(target));
    let Ok((kind, body)) = file else {
        return denied();
    };
    let kind =
        HeaderValue::from_str(kind).unwrap_or_else(|_| HeaderValue::from_static("application/octet-stream"));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, kind);
    // what a guest uploaded is nobody's page
    headers.insert("content-disposition", HeaderValue::from_static("attachment"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    open(response)
}

/// The refusal of a bucket; its body is an inference.
pub(super) fn denied() -> Response<Bytes> {
    let body = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
    let mut response = Response::new(Bytes::from_static(body.as_bytes()));
    *response.status_mut() = StatusCode::FORBIDDEN;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    open(response)
}

fn open(mut response: Response<Bytes>) -> Response<Bytes> {
    response
        .headers_mut()
        .insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}
