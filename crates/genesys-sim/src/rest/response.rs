//! One REST call, and the responses that handlers build.

use bytes::Bytes;
use genesys_api::Now;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};

use super::problem::Problem;
use crate::query::parameter;
use crate::world::{Usage, ViolationKind, World};

/// A request to a world, and its time.
pub(super) struct Call<'a> {
    pub(super) world: &'a mut World,
    pub(super) request: &'a Request<Bytes>,
    pub(super) now: Now,
}

impl<'a> Call<'a> {
    /// The credentials of an `Authorization` header of the given scheme.
    pub(super) fn authorization(&self, scheme: &str) -> Option<&'a str> {
        let value = self.request.headers().get(AUTHORIZATION)?.to_str().ok()?;
        let (named, credentials) = value.split_once(' ')?;
        named.eq_ignore_ascii_case(scheme).then_some(credentials.trim())
    }

    pub(super) fn bearer(&self) -> Option<&'a str> {
        self.authorization("Bearer")
    }

    /// The first value of a parameter of the query.
    pub(super) fn query(&self, name: &str) -> Option<String> {
        parameter(self.request.uri().query().unwrap_or_default(), name)
    }

    /// The body, which has to be a JSON object. Fields outside `known` are reported as violations at `place`.
    pub(super) fn object(&mut self, known: &[&str], place: &str) -> Result<Map<String, Value>, Problem> {
        let body: Map<String, Value> = serde_json::from_slice(self.request.body())
            .map_err(|_| Problem::bad_request("The body has to be a JSON object."))?;
        self.check_fields(&body, known, place);
        Ok(body)
    }

    pub(super) fn check_fields(&mut self, object: &Map<String, Value>, known: &[&str], place: &str) {
        for name in object.keys().filter(|name| !known.contains(&name.as_str())) {
            self.unknown_field(&format!("{place}.{name}"));
        }
    }

    pub(super) fn unknown_field(&mut self, place: &str) {
        self.world
            .violations
            .add(ViolationKind::UnknownField, place, self.now.utc);
    }
}

pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response<Bytes> {
    let body = serde_json::to_vec(body).expect("bodies are plain structs and JSON values with text keys");
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

pub(super) fn ok(body: &impl Serialize) -> Response<Bytes> {
    json(StatusCode::OK, body)
}

pub(super) fn no_content() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Adds Genesys' headers with the usage of a limit, if there is one.
pub(super) fn with_usage(mut response: Response<Bytes>, usage: Option<Usage>) -> Response<Bytes> {
    if let Some(usage) = usage {
        let headers = response.headers_mut();
        headers.insert("inin-ratelimit-count", HeaderValue::from(usage.count));
        headers.insert("inin-ratelimit-allowed", HeaderValue::from(usage.allowed));
        headers.insert("inin-ratelimit-reset", HeaderValue::from(usage.reset));
    }
    response
}
