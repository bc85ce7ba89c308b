//! Genesys' standard error body, as the simulator writes it.

use bytes::Bytes;
use http::header::{ALLOW, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;

use super::response::{json, with_usage};
use crate::world::{Denial, LimitKey, Usage};

/// Refusal of a request. Codes are Genesys'. Texts, and the statuses of handshakes other than 403, are ours.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
    limit: Option<(LimitKey, Usage)>,
    /// Value of the header `Allow`.
    allow: Option<String>,
}

impl From<Denial> for Problem {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::BadCredentials => Self::new(401, "bad.credentials", "Invalid login credentials."),
            Denial::BadRequest(message) => Self::bad_request(message),
            Denial::CredentialsExpired => Self::new(
                401,
                "credentials.expired",
                "The supplied credentials have expired.",
            ),
            Denial::InactiveDeployment => Self::forbidden("The deployment is not active."),
            Denial::Injected(status) => Self::injected(status),
            Denial::NotFound => Self::not_found(),
            Denial::TooMany(key, usage) => Self::too_many(key, usage),
            Denial::Unavailable => {
                let message = "The simulator stops, or holds its most connections.";
                Self::new(503, "service.unavailable", message)
            }
            Denial::WrongOrigin => {
                Self::forbidden("The origin is not among the allowed domains of the deployment.")
            }
        }
    }
}

impl Problem {
    pub(super) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::from_u16(status).expect("the caller names an HTTP status"),
            code,
            message: message.into(),
            limit: None,
            allow: None,
        }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "bad.request", message)
    }

    pub(super) fn no_upgrade() -> Self {
        Self::bad_request("This path takes WebSocket handshakes only.")
    }

    pub(super) fn not_authenticated() -> Self {
        let message = "No authentication bearer token specified in authorization header.";
        Self::new(401, "authentication.required", message)
    }

    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(403, "not.authorized", message)
    }

    pub(super) fn not_found() -> Self {
        let message = "No resource is served at this path by the simulator.";
        Self::new(404, "not.found", message)
    }

    pub(super) fn method_not_allowed(allowed: &[&str]) -> Self {
        let problem = Self::new(
            405,
            "method.not.allowed",
            "The resource does not take this method.",
        );
        Self {
            allow: Some(allowed.join(", ")),
            ..problem
        }
    }

    pub(crate) fn too_large() -> Self {
        Self::new(413, "body.too.large", "The body has more than 65536 bytes.")
    }

    pub(crate) fn too_slow() -> Self {
        Self::new(408, "request.timeout", "The body took too long to arrive.")
    }

    fn too_many(key: LimitKey, usage: Usage) -> Self {
        let seconds = usage.reset;
        let message = format!("Rate limit exceeded the maximum. Retry the request in [{seconds}] seconds");
        Self {
            limit: Some((key, usage)),
            ..Self::new(429, "too.many.requests", message)
        }
    }

    /// The refusal by a fault, with Genesys' code for the status where there is one.
    fn injected(status: StatusCode) -> Self {
        let code = match status.as_u16() {
            401 => return Denial::BadCredentials.into(),
            429 => {
                let usage = Usage {
                    count: 300,
                    allowed: 300,
                    reset: 3,
                };
                return Self::too_many(LimitKey::ACCESS_TOKEN, usage);
            }
            400 => "bad.request",
            403 => "not.authorized",
            404 => "not.found",
            408 | 504 => "request.timeout",
            500 => "internal.server.error",
            503 => "service.unavailable",
            _ => "simulated.fault",
        };
        Self {
            status,
            ..Self::new(500, code, "The simulator was asked for this fault.")
        }
    }

    pub(super) fn is_rate_limit(&self) -> bool {
        self.limit.is_some()
    }

    pub(super) fn response(&self, context_id: &str) -> Response<Bytes> {
        let mut body = json!({
            "message": self.message,
            "code": self.code,
            "status": self.status.as_u16(),
            "contextId": context_id,
            "details": [],
            "errors": [],
        });
        if let Some((LimitKey { namespace, key }, usage)) = &self.limit {
            // the schema has texts only
            body["limit"] = json!({"key": key, "namespace": namespace, "value": usage.allowed.to_string()});
            body["messageWithParams"] =
                json!("Rate limit exceeded the maximum. Retry the request in [{time}] seconds");
            body["messageParams"] = json!({"time": usage.reset.to_string()});
        }
        let usage = self.limit.map(|(_, usage)| usage);
        let mut response = with_usage(json(self.status, &body), usage);
        let headers = response.headers_mut();
        if let Some(usage) = usage {
            headers.insert(RETRY_AFTER, HeaderValue::from(usage.reset));
        }
        if let Some(allow) = &self.allow {
            let allow = HeaderValue::from_str(allow).expect("method names are header text");
            headers.insert(ALLOW, allow);
        }
        response
    }
}
