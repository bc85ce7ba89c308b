//! The bucket of attachments: uploads and downloads by presigned links.

use bytes::Bytes;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};

use super::response::{Context, HandlerResult, respond};

const TAGGING: &str = "x-amz-tagging";

/// `PUT /upload/{attachmentId}`. Like a bucket it accepts any body. The outcome is sent to the socket.
pub(super) fn upload(context: &mut Context<'_>, _: &[&str]) -> HandlerResult {
    let (request, now) = (context.request, context.now);
    let tagging = request.headers().get(TAGGING).map(HeaderValue::as_bytes);
    let link = context.cloud.open_link(request.uri(), now);
    let link = link.filter(|_| tagging == Some(context.cloud.tagging.as_bytes()));
    let done = link.and_then(|link| context.cloud.upload(link, request.body().clone(), now));
    Ok(done.map_or_else(denied, |()| open(Response::new(Bytes::new()))))
}

pub(super) fn download(context: &mut Context<'_>, _: &[&str]) -> HandlerResult {
    let link = context.cloud.open_link(context.request.uri(), context.now);
    let Some((mime, body)) = link.and_then(|link| context.cloud.download(link)) else {
        return Ok(denied());
    };
    let mime = HeaderValue::from_str(mime);
    let mut response = respond(StatusCode::OK, "application/octet-stream", body);
    let headers = response.headers_mut();
    if let Ok(mime) = mime {
        headers.insert(CONTENT_TYPE, mime);
    }
    // browsers do not show a guest's file as a page
    headers.insert("content-disposition", HeaderValue::from_static("attachment"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(open(response))
}

/// The refusal of a bucket. Its body is an inference.
pub(super) fn denied() -> Response<Bytes> {
    let body = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
    open(respond(StatusCode::FORBIDDEN, "application/xml", body))
}

pub(super) fn open(mut response: Response<Bytes>) -> Response<Bytes> {
    let any = HeaderValue::from_static("*");
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, any);
    response
}
