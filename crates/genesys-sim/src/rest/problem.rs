//! Genesys' standard error body, as the simulator writes it.

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;

use crate::world::limits::Usage;

/// Why a request is refused. Codes are Genesys'; texts and the statuses of handshakes other than 403 are ours.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
    limit: Option<Limit>,
}

#[derive(Clone, Copy, Debug)]
struct Limit {
    namespace: &'static str,
    key: &'static str,
    usage: Usage,
}

impl Problem {
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad.request", message)
    }

    pub(crate) fn no_deployment() -> Self {
        Self::bad_request("The query parameter deploymentId is missing.")
    }

    pub(crate) fn no_upgrade() -> Self {
        Self::bad_request("This path takes WebSocket handshakes only.")
    }

    pub(crate) fn not_authenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "authentication.required",
            "No authentication bearer token specified in authorization header.",
        )
    }

    pub(crate) fn bad_credentials() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "bad.credentials",
            "Invalid login credentials.",
        )
    }

    pub(crate) fn credentials_expired() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "credentials.expired",
            "The supplied credentials have expired.",
        )
    }

    pub(crate) fn origin() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "not.authorized",
            "The origin is not among the allowed domains of the deployment.",
        )
    }

    pub(crate) fn inactive() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "not.authorized",
            "The deployment is not active.",
        )
    }

    /// A page of a browser that would drive the simulator.
    pub(super) fn foreign_page(why: &str) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "not.authorized",
            format!("What is under /sim is for programs on this machine, not for pages of a browser. {why}"),
        )
    }

    pub(crate) fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not.found",
            "No resource is served at this path by the simulator.",
        )
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method.not.allowed",
            "The resource does not take this method.",
        )
    }

    pub(crate) fn too_large() -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body.too.large",
            "The body has more than 65536 bytes.",
        )
    }

    pub(crate) fn too_slow() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "request.timeout",
            "The body took too long to arrive.",
        )
    }

    pub(crate) fn too_many(namespace: &'static str, key: &'static str, usage: Usage) -> Self {
        let message = format!(
            "Rate limit exceeded the maximum. Retry the request in [{}] seconds",
            usage.reset
        );
        Self {
            limit: Some(Limit {
                namespace,
                key,
                usage,
            }),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too.many.requests", message)
        }
    }

    pub(crate) fn unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "service.unavailable",
            "The simulator stops, or holds its most connections.",
        )
    }

    /// A fault that was asked for, with Genesys' code for its status where there is one.
    pub(crate) fn simulated(status: StatusCode) -> Self {
        let code = match status {
            StatusCode::BAD_REQUEST => "bad.request",
            StatusCode::FORBIDDEN => "not.authorized",
            StatusCode::NOT_FOUND => "not.found",
            StatusCode::INTERNAL_SERVER_ERROR => "internal.server.error",
            StatusCode::SERVICE_UNAVAILABLE => "service.unavailable",
            StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => "request.timeout",
            _ => "simulated.fault",
        };
        Self::new(status, code, "The simulator was asked for this fault.")
    }

    pub(crate) fn response(&self, context_id: &str) -> Response<Bytes> {
        let mut body = json!({
            "message": self.message,
            "code": self.code,
            "status": self.status.as_u16(),
            "contextId": context_id,
            "details": [],
            "errors": [],
        });
        if let Some(limit) = &self.limit {
            // the schema has texts only
            let (value, reset) = (limit.usage.allowed.to_string(), limit.usage.reset.to_string());
            body["limit"] = json!({"key": limit.key, "namespace": limit.namespace, "value": value});
            body["messageWithParams"] =
                json!("Rate limit exceeded the maximum. Retry the request in [{time}] seconds");
            body["messageParams"] = json!({"time": reset});
        }
        let mut response = super::json(self.status, &body);
        if let Some(limit) = &self.limit {
            super::tell_usage(&mut response, limit.usage);
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(limit.usage.reset));
        }
        response
    }

    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            limit: None,
        }
    }
}
