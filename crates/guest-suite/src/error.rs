//! Errors of both modes.

use std::error::Error as StdError;

use genesys_api::Problem;
use genesys_auth::AuthorizedError;
use genesys_http::CallError;
use guest_conversation::attachments::{AttachError, DeleteError};
use guest_conversation::{Ending, RequestError, SendError};
use guest_payload::{ChangeError, Refused};
use guest_sessions::ErrorCode;
use guest_sessions::client::ErrorKind;
use guest_store::{Conflict, ProveError, StoreError, StoreErrorKind};
use token_window::TokenError;
use web_messaging::rest::deployment::NotAdmitted;

/// A failed operation. It changed nothing, except the audit log where a variant states it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be attached.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// A later choice of the guest is recorded.
    #[error("{0}")]
    ConsentOutdated(ChangeError),
    /// The policy refuses the session. In direct mode this is audited.
    #[error("{0}")]
    ConsentRequired(Box<Refused>),
    /// A request of the conversation cannot be made.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The conversation ended before it was ready.
    #[error("{0}")]
    Conversation(Ending),
    /// An attachment cannot be deleted.
    #[error(transparent)]
    DeleteAttachment(#[from] DeleteError),
    /// The limit of live sessions is reached.
    #[error("cannot create a session: {limit} are live, which is the limit, try again later")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// The gateway refused a call or could not be reached.
    #[error(transparent)]
    Gateway(Box<AuthorizedError>),
    /// A value that is not allowed.
    #[error("invalid {field}: {reason}")]
    InvalidValue {
        /// Its name in the contract of the gateway.
        field: &'static str,
        /// The reason, with the remedy.
        reason: String,
    },
    /// The published configuration of the deployment does not admit the guest. No socket was opened.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// No conversation is open.
    #[error("cannot use the conversation: none is open, connect the session first")]
    NotConnected,
    /// The audit log has no such entry or checkpoint.
    #[error(transparent)]
    NotProved(ProveError),
    /// The guest is not signed in.
    #[error("cannot use the sign-in: the guest is not signed in, begin a sign-in and exchange its code")]
    NotSignedIn,
    /// Direct mode refuses the request with a code of the gateway. A reuse of a refresh token is audited, and ends the
    /// session.
    #[error("{}", .0.message())]
    Refused(ErrorCode),
    /// A reply of the gateway holds an invalid value.
    #[error(transparent)]
    Reply(Box<dyn StdError + Send + Sync>),
    /// A message cannot be queued.
    #[error(transparent)]
    Send(#[from] SendError),
    /// Genesys Cloud did not sign the guest in or out.
    #[error("cannot sign the guest in or out at Genesys Cloud: try again, or have the guest sign in again")]
    SignIn(#[source] CallError),
    /// The `state` parameter is of another sign-in.
    #[error("invalid state: it is of another sign-in, begin a new one and look for links that others made")]
    SignInForged,
    /// The deployment allows no sign-in, or none during a conversation.
    #[error("cannot sign the guest in: the deployment does not allow it, an administrator can switch it on")]
    SignInOff,
    /// The store cannot be read or written.
    #[error("{}", store_message(.0))]
    Store(#[source] StoreError),
    /// There is no valid token.
    #[error(transparent)]
    Token(#[from] TokenError),
}

fn store_message(error: &StoreError) -> &'static str {
    match error.kind() {
        StoreErrorKind::Full => {
            "cannot change the store: the disk is full or the store has its largest size, free space or raise the limit, then \
             try again"
        }
        _ => "cannot read or write the store: nothing was changed, try again, and check the log if it lasts",
    }
}

impl From<AuthorizedError> for Error {
    fn from(error: AuthorizedError) -> Self {
        Self::Gateway(Box::new(error))
    }
}

impl Error {
    /// The kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Attach(AttachError::Busy { .. } | AttachError::TooMany { .. })
            | Self::Request(RequestError::Busy { .. }) => ErrorKind::Unavailable,
            Self::Attach(AttachError::Ended | AttachError::NotReady | AttachError::ReadOnly)
            | Self::Request(_) => ErrorKind::NotSent,
            Self::Attach(_) | Self::DeleteAttachment(_) => ErrorKind::Invalid,
            Self::Conversation(ending) => ending.into(),
            Self::Gateway(error) => (&**error).into(),
            Self::NotAdmitted(_) | Self::SignInOff => ErrorKind::Invalid,
            Self::NotConnected => ErrorKind::NotSent,
            Self::NotSignedIn | Self::SignInForged => ErrorKind::Credentials,
            Self::Send(error) => error.into(),
            Self::Store(error) => match error.kind() {
                StoreErrorKind::Busy
                | StoreErrorKind::Conflict(Conflict::TokenChanged | Conflict::VersionChanged)
                | StoreErrorKind::Full
                | StoreErrorKind::Unavailable => ErrorKind::Unavailable,
                _ => ErrorKind::Other,
            },
            Self::Token(TokenError::Failed { .. }) => ErrorKind::Unavailable,
            Self::Token(TokenError::ReauthRequired) => ErrorKind::Credentials,
            other => other
                .code()
                .and_then(ErrorKind::of_code)
                .unwrap_or(ErrorKind::Other),
        }
    }

    /// The code of the gateway's refusal for an error of direct mode, if a call of the contract has it.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        Some(match self {
            Self::ConsentOutdated(_) => ErrorCode::ConsentOutdated,
            Self::ConsentRequired(_) => ErrorCode::ConsentRequired,
            Self::Full { .. } | Self::Store(_) | Self::Token(_) => ErrorCode::ServiceUnavailable,
            Self::InvalidValue { .. } => ErrorCode::InvalidValue,
            Self::NotProved(_) => ErrorCode::NotFound,
            Self::NotSignedIn | Self::SignInOff => ErrorCode::ActionUnavailable,
            Self::Refused(code) => *code,
            Self::SignIn(error) => match error.problem() {
                Some(problem) if (400..500).contains(&problem.status) && problem.status != 429 => {
                    ErrorCode::SignInRefused
                }
                _ => ErrorCode::ServiceUnavailable,
            },
            _ => return None,
        })
    }

    pub(crate) fn invalid(field: &'static str, reason: impl ToString) -> Self {
        let reason = reason.to_string();
        Self::InvalidValue { field, reason }
    }

    /// The error body of the gateway, if it refused a call.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Gateway(error) => error.problem(),
            _ => None,
        }
    }
}

impl From<ErrorCode> for Error {
    fn from(code: ErrorCode) -> Self {
        Self::Refused(code)
    }
}

impl From<ProveError> for Error {
    fn from(error: ProveError) -> Self {
        match error {
            ProveError::Store(error) => error.into(),
            other => Self::NotProved(other),
        }
    }
}

impl From<StoreErrorKind> for Error {
    fn from(kind: StoreErrorKind) -> Self {
        Self::Store(kind.into())
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Refused(match error.kind() {
            StoreErrorKind::Conflict(Conflict::GuestInUse) => ErrorCode::GuestIdInUse,
            // stored by a request whose caller has gone
            StoreErrorKind::Conflict(Conflict::KeyInUse) => ErrorCode::IdempotencyKeyInProgress,
            StoreErrorKind::Conflict(Conflict::WebhookNameInUse) => ErrorCode::WebhookNameInUse,
            StoreErrorKind::NotFound => ErrorCode::NotFound,
            StoreErrorKind::TooManyRequests => ErrorCode::IdempotencyLimit,
            StoreErrorKind::TooManyWebhooks => ErrorCode::WebhookLimit,
            _ => return Self::Store(error),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn error_of_direct_mode_has_a_kind() {
        let store = |kind: StoreErrorKind| Error::Store(kind.into());
        let invalid = Error::invalid("channelConfigurationId", "");
        for (error, kind) in [
            (ErrorCode::CredentialsExpired.into(), ErrorKind::Credentials),
            (ErrorCode::RefreshTokenUsed.into(), ErrorKind::Credentials),
            (ErrorCode::SessionEnded.into(), ErrorKind::Ended),
            (Error::Full { limit: 1 }, ErrorKind::Unavailable),
            (ErrorCode::GuestIdInUse.into(), ErrorKind::Conflict),
            (ErrorCode::NotFound.into(), ErrorKind::NotFound),
            (invalid, ErrorKind::Invalid),
            (ErrorCode::WebhookNameInUse.into(), ErrorKind::Conflict),
            (store(StoreErrorKind::Busy), ErrorKind::Unavailable),
            (store(StoreErrorKind::Full), ErrorKind::Unavailable),
            (store(StoreErrorKind::Unavailable), ErrorKind::Unavailable),
            (
                store(StoreErrorKind::Conflict(Conflict::TokenChanged)),
                ErrorKind::Unavailable,
            ),
            (
                store(StoreErrorKind::Conflict(Conflict::VersionChanged)),
                ErrorKind::Unavailable,
            ),
            (store(StoreErrorKind::Corrupt), ErrorKind::Other),
            (store(StoreErrorKind::Poisoned), ErrorKind::Other),
        ] {
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.problem().is_none());
        }
    }

    #[test]
    fn wrapped_error_has_the_kind_and_text_of_its_cause() {
        let ending = Ending::SessionExpired;
        let text = ending.to_string();
        let error = Error::Conversation(ending);
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Ended, text));
        assert_eq!(Error::from(SendError::Empty).kind(), ErrorKind::Invalid);
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
    fn error_source_is_not_repeated_in_message() {
        let error = Error::Store(StoreErrorKind::Poisoned.into());
        let source = error.source().unwrap();
        assert_eq!(source.to_string(), StoreErrorKind::Poisoned.to_string());
        assert_ne!(
            error.to_string(),
            source.to_string(),
            "a chain repeats no message"
        );
    }
}
