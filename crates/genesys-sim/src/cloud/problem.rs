//! Refusals of REST calls and handshakes.

use std::borrow::Cow;

use crate::cloud::{LimitKey, Usage};

/// A refusal. Codes are Genesys'. Texts, and the statuses of handshakes other than 403, are ours.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Problem {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) message: Cow<'static, str>,
    pub(crate) limit: Option<(LimitKey, Usage)>,
    pub(crate) allow: Option<String>,
}

impl Problem {
    pub(crate) const BAD_CREDENTIALS: Self =
        Self::fixed(401, "bad.credentials", "Invalid login credentials.");
    pub(crate) const CREDENTIALS_EXPIRED: Self = Self::fixed(
        401,
        "credentials.expired",
        "The supplied credentials have expired.",
    );
    pub(crate) const NOT_AUTHENTICATED: Self = Self::fixed(
        401,
        "authentication.required",
        "No authentication bearer token specified in authorization header.",
    );
    pub(crate) const NOT_FOUND: Self = Self::fixed(
        404,
        "not.found",
        "cannot find the resource: the simulator serves none at this path",
    );
    pub(crate) const NO_UPGRADE: Self = Self::fixed(
        400,
        "bad.request",
        "invalid request: this path takes WebSocket handshakes only",
    );
    pub(crate) const TOO_LARGE: Self = Self::fixed(
        413,
        "body.too.large",
        "invalid body: it has more than 65536 bytes",
    );
    pub(crate) const TOO_SLOW: Self = Self::fixed(
        408,
        "request.timeout",
        "cannot read the body: it took too long to arrive",
    );
    pub(crate) const UNAVAILABLE: Self = Self::fixed(
        503,
        "service.unavailable",
        "cannot connect: the simulator stops, or is at its limit of connections",
    );

    const fn fixed(status: u16, code: &'static str, message: &'static str) -> Self {
        Self {
            status,
            code,
            message: Cow::Borrowed(message),
            limit: None,
            allow: None,
        }
    }

    pub(crate) fn new(status: u16, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            message: message.into(),
            ..Self::fixed(status, code, "")
        }
    }

    pub(crate) fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, "bad.request", message)
    }

    pub(crate) fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(403, "not.authorized", message)
    }

    pub(crate) fn method_not_allowed(allowed: &[&str]) -> Self {
        Self {
            allow: Some(allowed.join(", ")),
            ..Self::new(
                405,
                "method.not.allowed",
                "invalid method: use one that the header Allow lists",
            )
        }
    }

    pub(crate) fn too_many(key: LimitKey) -> impl Fn(Usage) -> Self {
        move |usage| {
            let seconds = usage.reset;
            let message =
                format!("Rate limit exceeded the maximum. Retry the request in [{seconds}] seconds");
            Self {
                limit: Some((key, usage)),
                ..Self::new(429, "too.many.requests", message)
            }
        }
    }

    /// The refusal by a fault, with Genesys' code for the status where there is one.
    pub(crate) fn injected(status: u16) -> Self {
        let code = match status {
            401 => return Self::BAD_CREDENTIALS,
            429 => {
                return Self::too_many(LimitKey::ACCESS_TOKEN)(Usage {
                    count: 300,
                    allowed: 300,
                    reset: 3,
                });
            }
            400 => "bad.request",
            403 => "not.authorized",
            404 => "not.found",
            408 | 504 => "request.timeout",
            500 => "internal.server.error",
            503 => "service.unavailable",
            _ => "simulated.fault",
        };
        Self::new(status, code, "cannot serve the request: a simulated fault")
    }
}
