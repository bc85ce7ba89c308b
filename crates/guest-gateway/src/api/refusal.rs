//! Error responses: Genesys' error body, a stable code, and a remedy.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use genesys_api::{Detail, Problem, entropy};
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};

use guest_sessions::ErrorCode;

/// The header that repeats a problem's `contextId`.
pub(super) const CORRELATION: HeaderName = HeaderName::from_static("inin-correlation-id");

/// A refused request. It changed nothing.
#[derive(Debug)]
pub(crate) struct Refusal {
    problem: Box<Problem>,
    allow: Option<&'static str>,
}

impl Refusal {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let mut problem = Box::new(Problem::new(code.status(), code.as_str(), message));
        problem.context_id = Some(entropy::uuid().to_string());
        Self { problem, allow: None }
    }

    /// 400: the request is not what the contract says.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::BadRequest, message)
    }

    /// 404, also for what belongs to somebody else: that it exists is theirs to know.
    pub(super) fn not_found(what: &str) -> Self {
        Self::new(
            ErrorCode::NotFound,
            format!(
                "there is no such {what} for this API client: check the id, and whether it was created with these credentials"
            ),
        )
    }

    /// 405.
    pub(super) fn method_not_allowed(allow: &'static str) -> Self {
        let message = format!("this path answers {allow} only");
        Self {
            allow: Some(allow),
            ..Self::new(ErrorCode::MethodNotAllowed, message)
        }
    }

    /// 429.
    pub(super) fn too_many(wait: std::time::Duration) -> Self {
        let mut refusal = Self::new(
            ErrorCode::TooManyRequests,
            "this API client has used up its requests of the current minute: wait as long as Retry-After says",
        );
        refusal.problem.retry_after = Some(wait);
        refusal
    }

    /// 503: nothing was changed, because it could not be written down.
    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        let mut refusal = Self::new(ErrorCode::ServiceUnavailable, message);
        refusal.problem.retry_after = Some(std::time::Duration::from_secs(5));
        refusal
    }

    /// Names a field at fault.
    pub(super) fn detail(mut self, code: &str, field: &str) -> Self {
        self.problem.details.push(Detail {
            error_code: code.to_owned(),
            field_name: field.to_owned(),
            ..Detail::default()
        });
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&*self.problem).expect("a problem is plain text and numbers");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() =
            StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(id) = self
            .problem
            .context_id
            .as_deref()
            .and_then(|id| HeaderValue::from_str(id).ok())
        {
            headers.insert(CORRELATION, id);
        }
        if let Some(wait) = self.problem.retry_after {
            // rounded up: a client that waits exactly so long must not be early
            headers.insert(
                RETRY_AFTER,
                HeaderValue::from(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)),
            );
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        match self.problem.status {
            401 => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            426 => {
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            _ => {}
        }
        response
    }
}
