//! Why an operation failed, in either mode.

use std::error::Error as StdError;
use std::fmt;

use genesys_api::Problem;
use genesys_auth::AuthorizedError;
use guest_payload::Refused;
use token_window::KeepError;
use ws_transport::SendError;

use crate::direct::DirectError;

/// An operation failed. Its message says why and what to do; nothing secret is in it.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    source: Box<dyn StdError + Send + Sync>,
}

/// What a caller may want to tell apart.
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
    /// What was given cannot be taken.
    Invalid,
    /// No such session or webhook, or somebody else's.
    NotFound,
    /// There is no open conversation, or it cannot take the message.
    NotSent,
    /// It may work later: a limit was reached, or a service or the store is not there.
    Unavailable,
    /// Anything else; the source says what.
    Other,
}

impl Error {
    /// What went wrong, in the classes that ask for different answers.
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

    pub(crate) fn malformed() -> Self {
        Self::new(
            ErrorKind::Other,
            "the gateway answered with something else than the contract says: check its version",
        )
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
    /// What lies behind the message, which is the source's own.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.source()
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Self::new(ErrorKind::ConsentRequired, refused)
    }
}

impl From<DirectError> for Error {
    fn from(error: DirectError) -> Self {
        let kind = match &error {
            DirectError::AccessExpired
            | DirectError::AccessUnknown
            | DirectError::RefreshUnknown
            | DirectError::RefreshUsed => ErrorKind::Credentials,
            DirectError::ConsentOutdated(_) | DirectError::UnknownChannel { .. } => ErrorKind::Invalid,
            DirectError::ConsentRequired(_) => ErrorKind::ConsentRequired,
            DirectError::Ended => ErrorKind::Ended,
            DirectError::Full { .. } | DirectError::Store(_) => ErrorKind::Unavailable,
            DirectError::GuestInUse | DirectError::WebhookNameInUse => ErrorKind::Conflict,
            DirectError::NotFound => ErrorKind::NotFound,
        };
        Self::new(kind, error)
    }
}

impl From<AuthorizedError> for Error {
    fn from(error: AuthorizedError) -> Self {
        let kind = match &error {
            AuthorizedError::Auth(error) if error.is_retryable() => ErrorKind::Unavailable,
            AuthorizedError::Auth(_) => ErrorKind::Credentials,
            AuthorizedError::Call(call) => call.problem().map_or(ErrorKind::Unavailable, kind_of),
            _ => ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

fn kind_of(problem: &Problem) -> ErrorKind {
    match (problem.status, problem.code.as_str()) {
        (_, "session.ended") => ErrorKind::Ended,
        (_, "refresh.token.used") => ErrorKind::Credentials,
        (401 | 403, _) => ErrorKind::Credentials,
        (404, _) => ErrorKind::NotFound,
        (409, _) => ErrorKind::Conflict,
        (422, _) => ErrorKind::ConsentRequired,
        (400 | 413 | 415, _) => ErrorKind::Invalid,
        (408 | 429 | 500..=599, _) => ErrorKind::Unavailable,
        _ => ErrorKind::Other,
    }
}

impl From<KeepError> for Error {
    fn from(error: KeepError) -> Self {
        Self::new(ErrorKind::Credentials, error)
    }
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        Self::new(ErrorKind::NotSent, error)
    }
}
