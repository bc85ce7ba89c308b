//! Refusals of REST calls and handshakes, before they become HTTP responses.

use http::StatusCode;

use crate::world::limits::{LimitKey, Usage};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Denial {
    BadCredentials,
    BadRequest(&'static str),
    CredentialsExpired,
    InactiveDeployment,
    /// By a fault, with this status.
    Injected(StatusCode),
    NotFound,
    TooMany(LimitKey, Usage),
    Unavailable,
    WrongOrigin,
}

impl Denial {
    /// Maps the state of a full window to the refusal for its limit.
    pub(crate) fn too_many(key: LimitKey) -> impl Fn(Usage) -> Self {
        move |usage| Self::TooMany(key, usage)
    }
}
