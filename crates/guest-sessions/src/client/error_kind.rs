//! Kinds of errors.

use genesys_auth::{AuthErrorKind, AuthorizedError};
use genesys_http::{CallErrorKind, ErrorKind as HttpErrorKind};
use guest_conversation::{Ending, SendError};

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
            | ErrorCode::RefreshTokenReused
            | ErrorCode::RefreshTokenUsed
            | ErrorCode::SignInRefused => Self::Credentials,
            ErrorCode::BadRequest
            | ErrorCode::ConsentOutdated
            | ErrorCode::IdempotencyKeyReused
            | ErrorCode::InvalidValue => Self::Invalid,
            ErrorCode::ConsentRequired => Self::ConsentRequired,
            ErrorCode::GuestIdInUse
            | ErrorCode::IdempotencyKeySpent
            | ErrorCode::WebhookLimit
            | ErrorCode::WebhookNameInUse => Self::Conflict,
            ErrorCode::NotFound => Self::NotFound,
            ErrorCode::IdempotencyKeyInProgress
            | ErrorCode::IdempotencyLimit
            | ErrorCode::ServiceUnavailable
            | ErrorCode::TooManyRequests => Self::Unavailable,
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
                    CallErrorKind::RateLimited
                    | CallErrorKind::Suspended
                    | CallErrorKind::Transport(
                        HttpErrorKind::Closed | HttpErrorKind::Connect | HttpErrorKind::Timeout,
                    ),
                ) => Self::Unavailable,
                (None, _) => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

impl From<&Ending> for ErrorKind {
    fn from(ending: &Ending) -> Self {
        match ending {
            Ending::AuthorizationRequired(_) => Self::Credentials,
            Ending::LoggedOut | Ending::SessionEnded { .. } | Ending::SessionExpired => Self::Ended,
            Ending::Refused { status: 403 } => Self::Invalid,
            Ending::Refused { status: 409 } => Self::Ended,
            Ending::Refused { status } => Self::of_status(*status),
            Ending::Rejected(refusal) => ErrorCode::from_name(&refusal.code)
                .and_then(Self::of_code)
                .unwrap_or(Self::NotSent),
            _ => Self::NotSent,
        }
    }
}

impl From<&SendError> for ErrorKind {
    fn from(error: &SendError) -> Self {
        match error {
            SendError::Empty | SendError::TooLarge { .. } | SendError::TooLong { .. } => Self::Invalid,
            SendError::Full { .. } => Self::Unavailable,
            _ => Self::NotSent,
        }
    }
}

#[cfg(test)]
mod tests {
    //! Kinds of the errors of a conversation.

    use guest_conversation::ServiceRefusal;

    use super::*;

    #[test]
    fn ending_has_a_kind() {
        let refusal = |code: &str| {
            Ending::Rejected(ServiceRefusal {
                code: code.to_owned(),
                message: String::new(),
            })
        };
        for (ending, kind) in [
            (Ending::ByUs, ErrorKind::NotSent),
            (Ending::Refused { status: 401 }, ErrorKind::Credentials),
            (Ending::Refused { status: 403 }, ErrorKind::Invalid),
            (Ending::Refused { status: 404 }, ErrorKind::NotFound),
            (Ending::Refused { status: 409 }, ErrorKind::Ended),
            (Ending::SessionExpired, ErrorKind::Ended),
            (refusal("credentials.expired"), ErrorKind::Credentials),
            (refusal("1008"), ErrorKind::NotSent),
        ] {
            assert_eq!(ErrorKind::from(&ending), kind, "{ending}");
        }
    }

    #[test]
    fn send_error_has_a_kind() {
        for (error, kind) in [
            (SendError::Empty, ErrorKind::Invalid),
            (SendError::TooLong { bytes: 5_000 }, ErrorKind::Invalid),
            (
                SendError::Full {
                    count: 256,
                    bytes: 256,
                },
                ErrorKind::Unavailable,
            ),
            (SendError::ReadOnly, ErrorKind::NotSent),
            (SendError::Ended, ErrorKind::NotSent),
        ] {
            assert_eq!(ErrorKind::from(&error), kind, "{error}");
        }
    }
}
