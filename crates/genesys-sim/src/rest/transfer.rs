//! The bucket of attachments: uploads and downloads by presigned links.

use bytes::Bytes;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};

use super::Problem;
use super::response::Call;
use crate::world::{BadLink, LinkKind};

/// The header that a grant names, and that an upload has to have.
const TAGGING: &str = "x-amz-tagging";

/// `PUT /upload/{attachmentId}`. Like a bucket it accepts any body. The outcome is sent to the socket.
pub(super) fn upload(call: &mut Call<'_>, _: &[&str]) -> Result<Response<Bytes>, Problem> {
    let (request, now) = (call.request, call.now);
    let tagging = request.headers().get(TAGGING).map(HeaderValue::as_bytes);
    let done = match call.world.open_link(LinkKind::Upload, request.uri(), now) {
        Ok(target) if tagging == Some(call.world.tagging().as_bytes()) => {
            call.world.upload(target, request.body().clone(), now)
        }
        _ => Err(BadLink),
    };
    Ok(match done {
        Ok(()) => open(Response::new(Bytes::new())),
        Err(BadLink) => denied(),
    })
}

/// `GET /download/{attachmentId}`
pub(super) fn download(call: &mut Call<'_>, _: &[&str]) -> Result<Response<Bytes>, Problem> {
    let target = call
        .world
        .open_link(LinkKind::Download, call.request.uri(), call.now);
    let Ok((mime, body)) = target.and_then(|target| call.world.download(target)) else {
        return Ok(denied());
    };
    let mime =
        HeaderValue::from_str(mime).unwrap_or_else(|_| HeaderValue::from_static("application/octet-stream"));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, mime);
    // browsers do not show a guest's file as a page
    headers.insert("content-disposition", HeaderValue::from_static("attachment"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(open(response))
}

/// The refusal of a bucket. Its body is an inference.
pub(super) fn denied() -> Response<Bytes> {
    let body = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
    let mut response = Response::new(Bytes::from_static(body.as_bytes()));
    *response.status_mut() = StatusCode::FORBIDDEN;
    let mime = HeaderValue::from_static("application/xml");
    response.headers_mut().insert(CONTENT_TYPE, mime);
    open(response)
}

/// Lets pages of every origin read a response.
pub(super) fn open(mut response: Response<Bytes>) -> Response<Bytes> {
    let any = HeaderValue::from_static("*");
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, any);
    response
}
