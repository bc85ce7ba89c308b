//! Kinds of errors.

use genesys_auth::{AuthErrorKind, AuthorizedError};
use genesys_http::{CallErrorKind, ErrorKind as HttpErrorKind};

use crate::ErrorCode;

/// Kinds of errors, by the reaction that they require.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The policy refuses the session: ask the guest.
    ConsentRequired,
    /// The guest, or the name of the webhook, is in use.
    Conflict,
    /// A token or a secret is not accepted, or lacks a permission.
    Credentials,
    /// The session has ended.
    Ended,
    /// The arguments are not allowed.
    Invalid,
    /// The session or webhook does not exist, or has another owner.
    NotFound,
    /// No conversation is open, or it is read-only.
    NotSent,
    /// A limit is reached, or a service or the store is not available: the same call may succeed later.
    Unavailable,
    /// Any other failure, which the message describes.
    Other,
}

impl ErrorKind {
    /// The kind of an error code. `None` for the codes of frames.
    #[must_use]
    pub fn of_code(code: ErrorCode) -> Option<Self> {
        Some(match code {
            ErrorCode::AuthenticationRequired
            | ErrorCode::BadCredentials
            | ErrorCode::CredentialsExpired
            | ErrorCode::MissingPermissions
            | ErrorCode::RefreshTokenUsed => Self::Credentials,
            ErrorCode::BadRequest | ErrorCode::ConsentOutdated | ErrorCode::InvalidValue => Self::Invalid,
            ErrorCode::ConsentRequired => Self::ConsentRequired,
            ErrorCode::GuestIdInUse | ErrorCode::WebhookLimit | ErrorCode::WebhookNameInUse => Self::Conflict,
            ErrorCode::NotFound => Self::NotFound,
            ErrorCode::ServiceUnavailable | ErrorCode::TooManyRequests => Self::Unavailable,
            ErrorCode::SessionEnded => Self::Ended,
            _ => return None,
        })
    }

    /// The kind of an HTTP status.
    #[must_use]
    pub fn of_status(status: u16) -> Self {
        match status {
            400 | 413 | 415 | 422 => Self::Invalid,
            401 | 403 => Self::Credentials,
            404 => Self::NotFound,
            408 | 429 | 500..=599 => Self::Unavailable,
            409 => Self::Conflict,
            _ => Self::Other,
        }
    }
}

impl From<&AuthorizedError> for ErrorKind {
    fn from(error: &AuthorizedError) -> Self {
        match error {
            AuthorizedError::Auth(error) => match error.kind() {
                AuthErrorKind::Credentials | AuthErrorKind::Refused | AuthErrorKind::Scopes => {
                    Self::Credentials
                }
                AuthErrorKind::Canceled | AuthErrorKind::Unavailable => Self::Unavailable,
                _ => Self::Other,
            },
            AuthorizedError::Call(error) => match (error.problem(), error.kind()) {
                (Some(problem), _) => ErrorCode::from_name(&problem.code)
                    .and_then(Self::of_code)
                    .unwrap_or_else(|| Self::of_status(problem.status)),
                (
                    None,
                    CallErrorKind::Transport(
                        HttpErrorKind::Closed | HttpErrorKind::Connect | HttpErrorKind::Timeout,
                    ),
                ) => Self::Unavailable,
                (None, _) => Self::Other,
            },
            _ => Self::Other,
        }
    }
}
