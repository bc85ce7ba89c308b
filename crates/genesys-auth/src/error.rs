//! Errors of the driver.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use genesys_api::{Host, Problem};
use genesys_http::{CallError, CallErrorKind};

use crate::{ClientId, FetchFailure, MissingScopes};

/// A failed fetch of a token. Clones share the source.
#[derive(Clone, Debug)]
pub struct AuthError {
    kind: AuthErrorKind,
    /// Login host and API client. `None` for a token that is not fetched from a login host.
    origin: Option<(Host, ClientId)>,
    retry_after: Option<Duration>,
    /// Time until the next fetch. Until then all callers get this error.
    pub(crate) retry_in: Duration,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl AuthError {
    /// The error of a [`TokenSource`](crate::TokenSource), with its cause.
    #[must_use]
    pub fn new(kind: AuthErrorKind, source: impl Into<Option<Box<dyn Error + Send + Sync>>>) -> Self {
        Self {
            kind,
            origin: None,
            retry_after: None,
            retry_in: Duration::ZERO,
            source: source.into().map(Arc::from),
        }
    }

    pub(crate) fn of_call(error: CallError, host: &Host, client: &ClientId) -> Self {
        let kind = match (error.kind(), error.problem()) {
            (CallErrorKind::Refused, Some(problem)) => match (problem.status, problem.code.as_str()) {
                (408 | 429 | 500..=599, _) => AuthErrorKind::Unavailable,
                (401, _) | (_, "invalid_client" | "unauthorized_client") => AuthErrorKind::Credentials,
                (_, "invalid_scope") => AuthErrorKind::Scopes,
                _ => AuthErrorKind::Refused,
            },
            (CallErrorKind::Malformed, _) => AuthErrorKind::Malformed,
            _ => AuthErrorKind::Unavailable,
        };
        Self {
            retry_after: error.retry_after(),
            origin: Some((host.clone(), client.clone())),
            ..Self::new(kind, Some(error.into()))
        }
    }

    pub(crate) fn of_scopes(error: MissingScopes, host: &Host, client: &ClientId) -> Self {
        Self {
            origin: Some((host.clone(), client.clone())),
            ..Self::new(AuthErrorKind::Scopes, Some(error.into()))
        }
    }

    /// The class of the error.
    #[must_use]
    pub fn kind(&self) -> AuthErrorKind {
        self.kind
    }

    /// Whether a retry can succeed without a change of configuration.
    pub(crate) fn is_retryable(&self) -> bool {
        matches!(
            self.kind,
            AuthErrorKind::Canceled | AuthErrorKind::Malformed | AuthErrorKind::Unavailable
        )
    }

    pub(crate) fn failure(&self) -> FetchFailure {
        match self.is_retryable() {
            true => FetchFailure::Transient {
                retry_after: self.retry_after,
            },
            false => FetchFailure::Fatal,
        }
    }
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind;
        match &self.origin {
            Some((host, client)) => write!(
                f,
                "cannot fetch a token from {host} for the client {client}: {kind}"
            ),
            None => write!(f, "cannot fetch a token: {kind}"),
        }
    }
}

impl Error for AuthError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// The class of an [`AuthError`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthErrorKind {
    /// The fetch was canceled before it ended.
    #[error("the fetch was canceled because its runtime ended, try again")]
    Canceled,
    /// The login host rejected the client: wrong secret, unknown or disabled client, or another region.
    #[error(
        "the secret is wrong, the client is unknown or disabled, or it belongs to another region; compare id, secret \
         and login host with the OAuth client's page"
    )]
    Credentials,
    /// The response is not a token.
    #[error(
        "the response is not a token, check that it is a login host such as https://login.mypurecloud.ie"
    )]
    Malformed,
    /// The login host refused permanently for another reason.
    #[error(
        "it refused, check that it is a login host, and that the client may use the grant client_credentials"
    )]
    Refused,
    /// The requested scopes are not granted. The source is a [`MissingScopes`] if the host named the granted ones.
    #[error("the requested scopes are not granted, add them to the client or do not request them")]
    Scopes,
    /// The login host is unreachable or failing.
    #[error("the host is unavailable")]
    Unavailable,
}

/// A failed call with a token.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorizedError {
    /// There is no token.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The call failed. If the status is 401, a fresh token was rejected too.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl AuthorizedError {
    /// The error body of the service, if it refused the call.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Auth(_) => None,
            Self::Call(error) => error.problem(),
        }
    }
}
