//! Errors of both modes.

use std::error::Error as StdError;
use std::fmt;

use genesys_api::Problem;
use genesys_auth::{AuthErrorKind, AuthorizedError};
use genesys_http::{CallErrorKind, ErrorKind as HttpErrorKind};
use guest_conversation::{Ending, SendError};
use guest_payload::Refused;
use guest_sessions::ErrorCode;
use guest_store::{Conflict, StoreErrorKind};
use token_window::TokenError;

use crate::direct::DirectError;

/// A failed operation. The message gives the reason and advice, and nothing secret.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    source: Box<dyn StdError + Send + Sync>,
}

/// The kind of an error, by the reaction that it asks for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The policy refuses the session: ask the guest.
    ConsentRequired,
    /// The guest, or the webhook's name, is taken.
    Conflict,
    /// A token or a secret is not accepted, or may not do this.
    Credentials,
    /// The session is over.
    Ended,
    /// The arguments are not allowed.
    Invalid,
    /// No such session or webhook, or somebody else's.
    NotFound,
    /// There is no open conversation, or nothing more may be said in it.
    NotSent,
    /// It may work later: a limit was reached, or a service or the store is not there.
    Unavailable,
    /// Anything else; the source says what.
    Other,
}

impl Error {
    /// The kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.kind == ErrorKind::Unavailable
    }

    /// The gateway's own account, in remote mode, if it refused.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self.source.downcast_ref::<AuthorizedError>() {
            Some(AuthorizedError::Call(error)) => error.problem(),
            _ => None,
        }
    }

    pub(crate) fn new(kind: ErrorKind, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            kind,
            source: source.into(),
        }
    }

    pub(crate) fn not_connected() -> Self {
        Self::new(
            ErrorKind::NotSent,
            "the session has no open conversation: connect it first",
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl StdError for Error {
    /// The cause behind the message, which is the source's own.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.source()
    }
}

impl From<Refused<'static>> for Error {
    fn from(refused: Refused<'static>) -> Self {
        Self::new(ErrorKind::ConsentRequired, refused)
    }
}

impl From<DirectError> for Error {
    fn from(error: DirectError) -> Self {
        let kind = match &error {
            DirectError::Store(error) => match error.kind() {
                StoreErrorKind::Conflict(Conflict::VersionChanged)
                | StoreErrorKind::OutboxFull
                | StoreErrorKind::Unavailable => ErrorKind::Unavailable,
                _ => ErrorKind::Other,
            },
            DirectError::SignIn(error) => match error.problem() {
                Some(problem) => of_status(problem.status),
                None => ErrorKind::Unavailable,
            },
            DirectError::Token(error) => of_token_error(*error),
            DirectError::NotSignedIn | DirectError::SignInForged => ErrorKind::Credentials,
            DirectError::NotAdmitted(_) | DirectError::SignInOff => ErrorKind::Invalid,
            DirectError::StepUp(_) => ErrorKind::NotSent,
            error => error.code().and_then(of_code).unwrap_or(ErrorKind::Other),
        };
        Self::new(kind, error)
    }
}

impl From<AuthorizedError> for Error {
    fn from(error: AuthorizedError) -> Self {
        let kind = match &error {
            AuthorizedError::Auth(error) => match error.kind() {
                AuthErrorKind::Credentials | AuthErrorKind::Refused | AuthErrorKind::Scopes => {
                    ErrorKind::Credentials
                }
                AuthErrorKind::Canceled | AuthErrorKind::Unavailable => ErrorKind::Unavailable,
                _ => ErrorKind::Other,
            },
            AuthorizedError::Call(call) => match (call.problem(), call.kind()) {
                (Some(problem), _) => of_name(&problem.code).unwrap_or_else(|| of_status(problem.status)),
                (
                    None,
                    CallErrorKind::Transport(
                        HttpErrorKind::Closed | HttpErrorKind::Connect | HttpErrorKind::Timeout,
                    ),
                ) => ErrorKind::Unavailable,
                (None, _) => ErrorKind::Other,
            },
            _ => ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

impl From<TokenError> for Error {
    fn from(error: TokenError) -> Self {
        Self::new(of_token_error(error), error)
    }
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        let kind = match error {
            SendError::Empty | SendError::TooLarge { .. } | SendError::TooLong { .. } => ErrorKind::Invalid,
            SendError::Full { .. } => ErrorKind::Unavailable,
            _ => ErrorKind::NotSent,
        };
        Self::new(kind, error)
    }
}

/// A conversation that ended before it began.
impl From<Ending> for Error {
    fn from(ending: Ending) -> Self {
        let kind = match &ending {
            Ending::AuthorizationRequired(_) => ErrorKind::Credentials,
            Ending::LoggedOut | Ending::SessionEnded { .. } | Ending::SessionExpired => ErrorKind::Ended,
            Ending::Refused { status: 403 } => ErrorKind::Invalid,
            Ending::Refused { status: 409 } => ErrorKind::Ended,
            Ending::Refused { status } => of_status(*status),
            Ending::Rejected(refusal) => of_name(&refusal.code).unwrap_or(ErrorKind::NotSent),
            _ => ErrorKind::NotSent,
        };
        Self::new(kind, ending.to_string())
    }
}

fn of_token_error(error: TokenError) -> ErrorKind {
    match error {
        TokenError::Failed { .. } => ErrorKind::Unavailable,
        TokenError::ReauthRequired => ErrorKind::Credentials,
        _ => ErrorKind::Other,
    }
}

fn of_name(code: &str) -> Option<ErrorKind> {
    ErrorCode::from_name(code).and_then(of_code)
}

/// The kind of a refusal of the gateway, and of direct mode.
fn of_code(code: ErrorCode) -> Option<ErrorKind> {
    Some(match code {
        ErrorCode::AuthenticationRequired
        | ErrorCode::BadCredentials
        | ErrorCode::CredentialsExpired
        | ErrorCode::MissingPermissions
        | ErrorCode::RefreshTokenUsed => ErrorKind::Credentials,
        ErrorCode::BadRequest | ErrorCode::ConsentOutdated | ErrorCode::InvalidValue => ErrorKind::Invalid,
        ErrorCode::ConsentRequired => ErrorKind::ConsentRequired,
        ErrorCode::GuestIdInUse | ErrorCode::WebhookLimit | ErrorCode::WebhookNameInUse => {
            ErrorKind::Conflict
        }
        ErrorCode::NotFound => ErrorKind::NotFound,
        ErrorCode::ServiceUnavailable | ErrorCode::TooManyRequests => ErrorKind::Unavailable,
        ErrorCode::SessionEnded => ErrorKind::Ended,
        _ => return None,
    })
}

fn of_status(status: u16) -> ErrorKind {
    match status {
        400 | 413 | 415 | 422 => ErrorKind::Invalid,
        401 | 403 => ErrorKind::Credentials,
        404 => ErrorKind::NotFound,
        408 | 429 | 500..=599 => ErrorKind::Unavailable,
        409 => ErrorKind::Conflict,
        _ => ErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use guest_conversation::Refusal;

    use super::*;

    #[test]
    fn what_direct_mode_refuses_has_a_kind() {
        let store = |kind: StoreErrorKind| DirectError::Store(kind.into());
        let channel = "c".parse().unwrap();
        for (error, kind, retryable) in [
            (DirectError::AccessExpired, ErrorKind::Credentials, false),
            (DirectError::RefreshUsed, ErrorKind::Credentials, false),
            (DirectError::Ended, ErrorKind::Ended, false),
            (DirectError::Full { limit: 1 }, ErrorKind::Unavailable, true),
            (DirectError::GuestInUse, ErrorKind::Conflict, false),
            (DirectError::NotFound, ErrorKind::NotFound, false),
            (DirectError::UnknownChannel { channel }, ErrorKind::Invalid, false),
            (DirectError::WebhookNameInUse, ErrorKind::Conflict, false),
            (store(StoreErrorKind::Unavailable), ErrorKind::Unavailable, true),
            (store(StoreErrorKind::OutboxFull), ErrorKind::Unavailable, true),
            (
                store(StoreErrorKind::Conflict(Conflict::VersionChanged)),
                ErrorKind::Unavailable,
                true,
            ),
            (store(StoreErrorKind::Corrupt), ErrorKind::Other, false),
            (store(StoreErrorKind::Poisoned), ErrorKind::Other, false),
        ] {
            let text = error.to_string();
            let error = Error::from(error);
            assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{text}");
            assert_eq!(error.to_string(), text);
            assert!(error.problem().is_none());
        }
    }

    #[test]
    fn what_a_conversation_refuses_has_a_kind() {
        let refusal = |code: &str| {
            Ending::Rejected(Refusal {
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
            let text = ending.to_string();
            let error = Error::from(ending);
            assert_eq!((error.kind(), error.to_string()), (kind, text));
        }
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
            let text = error.to_string();
            assert_eq!(Error::from(error).kind(), kind, "{text}");
        }
        let failed = TokenError::Failed {
            attempt: 1,
            next_in: Duration::ZERO,
        };
        assert_eq!(Error::from(failed).kind(), ErrorKind::Unavailable);
        assert_eq!(
            Error::from(TokenError::ReauthRequired).kind(),
            ErrorKind::Credentials
        );
    }

    #[test]
    fn what_lies_behind_survives() {
        let error = Error::from(DirectError::Store(StoreErrorKind::Poisoned.into()));
        let source = error.source().unwrap();
        assert_eq!(source.to_string(), StoreErrorKind::Poisoned.to_string());
        assert_ne!(
            error.to_string(),
            source.to_string(),
            "a chain says nothing twice"
        );
    }
}
