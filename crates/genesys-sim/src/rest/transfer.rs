//! The bucket of attachments: uploads and downloads by presigned links.

use bytes::Bytes;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};

use super::response::{Answer, Call, respond};

const TAGGING: &str = "x-amz-tagging";

/// `PUT /upload/{attachmentId}`. Like a bucket it accepts any body. The outcome is sent to the socket.
pub(super) fn upload(call: &mut Call<'_>, _: &[&str]) -> Answer {
    let (request, now) = (call.request, call.now);
    let tagging = request.headers().get(TAGGING).map(HeaderValue::as_bytes);
    let link = call.world.open_link(request.uri(), now);
    let link = link.filter(|_| tagging == Some(call.world.tagging.as_bytes()));
    let done = link.and_then(|link| call.world.upload(link, request.body().clone(), now));
    Ok(done.map_or_else(denied, |()| open(Response::new(Bytes::new()))))
}

pub(super) fn download(call: &mut Call<'_>, _: &[&str]) -> Answer {
    let link = call.world.open_link(call.request.uri(), call.now);
    let Some((mime, body)) = link.and_then(|link| call.world.download(link)) else {
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
