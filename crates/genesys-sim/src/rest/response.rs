//! One REST request with its cloud, and the responses that handlers build.

use bytes::Bytes;
use genesys_api::Now;
use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::cloud::{Cloud, LimitKey, Problem, Usage, ViolationKind};
use crate::query::parameter;

pub(super) type HandlerResult = Result<Response<Bytes>, Problem>;

pub(super) struct Context<'a> {
    pub(super) cloud: &'a mut Cloud,
    pub(super) request: &'a Request<Bytes>,
    pub(super) now: Now,
    /// The usage of the limit under which the request was admitted.
    pub(super) usage: Option<Usage>,
}

impl<'a> Context<'a> {
    pub(super) fn authorization(&self, scheme: &str) -> Option<&'a str> {
        let value = self.request.headers().get(AUTHORIZATION)?.to_str().ok()?;
        let (named, credentials) = value.split_once(' ')?;
        named.eq_ignore_ascii_case(scheme).then_some(credentials.trim())
    }

    pub(super) fn bearer(&self) -> Result<&'a str, Problem> {
        self.authorization("Bearer").ok_or(Problem::NOT_AUTHENTICATED)
    }

    pub(super) fn query(&self, name: &str) -> Option<String> {
        parameter(self.request.uri().query().unwrap_or_default(), name)
    }

    /// The body, which has to be a JSON object. Fields outside `known` are reported as violations at `location`.
    pub(super) fn object(&mut self, known: &[&str], location: &str) -> Result<Map<String, Value>, Problem> {
        let body: Map<String, Value> = serde_json::from_slice(self.request.body())
            .map_err(|_| Problem::bad_request("invalid body: use a JSON object"))?;
        self.check_fields(&body, known, location);
        Ok(body)
    }

    pub(super) fn check_fields(&mut self, object: &Map<String, Value>, known: &[&str], location: &str) {
        for name in object.keys().filter(|name| !known.contains(&name.as_str())) {
            self.violation(ViolationKind::UnknownField, &format!("{location}.{name}"));
        }
    }

    pub(super) fn violation(&mut self, kind: ViolationKind, location: &str) {
        self.cloud.violations.add(kind, location, self.now.utc);
    }
}

pub(super) fn respond(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response<Bytes> {
    let body = serde_json::to_vec(body).expect("bodies are plain structs and JSON values with text keys");
    respond(status, "application/json", body)
}

pub(super) fn ok(body: &impl Serialize) -> Response<Bytes> {
    json(StatusCode::OK, body)
}

pub(super) fn no_content() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

pub(super) fn add_usage(response: &mut Response<Bytes>, usage: Option<Usage>) {
    if let Some(usage) = usage {
        let headers = response.headers_mut();
        headers.insert("inin-ratelimit-count", usage.count.into());
        headers.insert("inin-ratelimit-allowed", usage.allowed.into());
        headers.insert("inin-ratelimit-reset", usage.reset.into());
    }
}

pub(super) fn refusal(problem: &Problem, context_id: &str) -> Response<Bytes> {
    let mut body = json!({
        "message": problem.message,
        "code": problem.code,
        "status": problem.status,
        "contextId": context_id,
        "details": [],
        "errors": [],
    });
    if let Some((LimitKey(namespace, key), usage)) = &problem.limit {
        // the schema has texts only
        body["limit"] = json!({"key": key, "namespace": namespace, "value": usage.allowed.to_string()});
        let message = "Rate limit exceeded the maximum. Retry the request in [{time}] seconds";
        body["messageWithParams"] = json!(message);
        body["messageParams"] = json!({"time": usage.reset.to_string()});
    }
    let status = StatusCode::from_u16(problem.status).expect("a problem has an HTTP status");
    let mut response = json(status, &body);
    if let Some((_, usage)) = problem.limit {
        add_usage(&mut response, Some(usage));
        response.headers_mut().insert(RETRY_AFTER, usage.reset.into());
    }
    if let Some(allow) = &problem.allow {
        let allow = HeaderValue::from_str(allow).expect("method names are header text");
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}
