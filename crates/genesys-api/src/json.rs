//! JSON requests and replies, as in every call of both contracts except the token call.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::{Host, Problem, ReplyError};

/// A `GET` of `path`, which begins with a slash.
#[must_use]
pub fn get(host: &Host, path: &str) -> Request<Bytes> {
    request(Method::GET, host, path)
}

/// A request without a body.
#[must_use]
pub fn request(method: Method, host: &Host, path: &str) -> Request<Bytes> {
    let mut request = Request::new(Bytes::new());
    *request.method_mut() = method;
    *request.uri_mut() = host.uri(path);
    let json = HeaderValue::from_static("application/json");
    request.headers_mut().insert(ACCEPT, json);
    request
}

/// A request with `body` as JSON.
///
/// # Panics
/// If `body` does not serialize. Plain structs with text keys always do.
#[must_use]
pub fn with_body(method: Method, host: &Host, path: &str, body: &impl Serialize) -> Request<Bytes> {
    let body = serde_json::to_vec(body).expect("plain structs with text keys serialize");
    let mut request = request(method, host, path).map(|_| body.into());
    let json = HeaderValue::from_static("application/json");
    request.headers_mut().insert(CONTENT_TYPE, json);
    request
}

/// Parses a successful response as `T`. `expected` names it in the error, as in "a guest session".
///
/// # Errors
/// [`ReplyError::Refused`] for any status except 2xx, [`ReplyError::Malformed`] for a body that does not parse.
pub fn reply<T: DeserializeOwned>(
    response: Response<Bytes>,
    expected: &'static str,
) -> Result<T, ReplyError> {
    let response = accepted(response)?;
    let status = response.status().as_u16();
    serde_json::from_slice(response.body()).map_err(|_| ReplyError::Malformed { status, expected })
}

/// Reads an optional field of a service leniently: a value that does not parse counts as left out.
///
/// Use it as `#[serde(default, deserialize_with = "json::lenient")]`.
///
/// # Errors
/// If the field is not JSON.
pub fn lenient<'de, T: Default + DeserializeOwned, D: Deserializer<'de>>(field: D) -> Result<T, D::Error> {
    let value = Box::<RawValue>::deserialize(field)?;
    Ok(serde_json::from_str(value.get()).unwrap_or_default())
}

/// Returns the response if its status is 2xx.
///
/// # Errors
/// [`ReplyError::Refused`] for any other status.
pub fn accepted(response: Response<Bytes>) -> Result<Response<Bytes>, ReplyError> {
    if response.status().is_success() {
        return Ok(response);
    }
    Err(ReplyError::Refused(Box::new(Problem::read(&response))))
}
