//! Errors of the driver.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use genesys_api::Host;
use genesys_http::{CallError, CallErrorKind};

use crate::{ClientId, FetchFailure, MissingScopes};

/// A failed fetch of a token. Clones share it, as all waiting callers do.
#[derive(Clone, Debug)]
pub struct AuthError {
    inner: Arc<Inner>,
    retry_in: Duration,
}

#[derive(Debug)]
struct Inner {
    kind: AuthErrorKind,
    host: Host,
    client: ClientId,
    failure: FetchFailure,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl AuthError {
    /// The class of the error.
    #[must_use]
    pub fn kind(&self) -> AuthErrorKind {
        self.inner.kind
    }

    /// Whether a retry can succeed without a change of configuration.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.inner.failure, FetchFailure::Transient { .. })
    }

    /// Time until the next fetch. Until then all callers get this error.
    #[must_use]
    pub fn retry_in(&self) -> Duration {
        self.retry_in
    }

    pub(crate) fn canceled(host: &Host, client: &ClientId) -> Self {
        Self::new(
            AuthErrorKind::Canceled,
            host,
            client,
            FetchFailure::Transient { retry_after: None },
            None,
        )
    }

    pub(crate) fn of_call(error: CallError, host: &Host, client: &ClientId) -> Self {
        let transient = FetchFailure::Transient {
            retry_after: error.problem().and_then(|problem| problem.retry_after),
        };
        let (kind, failure) = match (error.kind(), error.problem()) {
            (CallErrorKind::Refused, Some(problem)) => match (problem.status, problem.code.as_str()) {
                (408 | 429 | 500..=599, _) => (AuthErrorKind::Unavailable, transient),
                (401, _) | (_, "invalid_client" | "unauthorized_client") => {
                    (AuthErrorKind::Credentials, FetchFailure::Fatal)
                }
                (_, "invalid_scope") => (AuthErrorKind::Scopes, FetchFailure::Fatal),
                _ => (AuthErrorKind::Refused, FetchFailure::Fatal),
            },
            (CallErrorKind::Malformed, _) => (AuthErrorKind::Malformed, transient),
            _ => (AuthErrorKind::Unavailable, transient),
        };
        Self::new(kind, host, client, failure, Some(error.into()))
    }

    pub(crate) fn of_scopes(error: MissingScopes, host: &Host, client: &ClientId) -> Self {
        Self::new(
            AuthErrorKind::Scopes,
            host,
            client,
            FetchFailure::Fatal,
            Some(error.into()),
        )
    }

    pub(crate) fn failure(&self) -> FetchFailure {
        self.inner.failure
    }

    pub(crate) fn with_retry_in(self, retry_in: Duration) -> Self {
        Self { retry_in, ..self }
    }

    fn new(
        kind: AuthErrorKind,
        host: &Host,
        client: &ClientId,
        failure: FetchFailure,
        source: Option<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                kind,
                host: host.clone(),
                client: client.clone(),
                failure,
                source,
            }),
            retry_in: Duration::ZERO,
        }
    }
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { host, client, .. } = &*self.inner;
        match self.inner.kind {
            AuthErrorKind::Canceled => write!(
                f,
                "cannot fetch a token from {host}: the fetch was canceled because its runtime ended, try again"
            ),
            AuthErrorKind::Credentials => write!(
                f,
                "cannot fetch a token: {host} rejected the client {client}, because the secret is wrong, the client is \
                 unknown or disabled, or it belongs to another region; compare id, secret and login host with the OAuth \
                 client's page"
            ),
            AuthErrorKind::Malformed => write!(
                f,
                "cannot fetch a token: the response of {host} is not a token, check that it is a login host such as \
                 https://login.mypurecloud.ie"
            ),
            AuthErrorKind::Refused => write!(
                f,
                "cannot fetch a token: {host} refused the client {client}, check that it is a login host, and that the \
                 client may use the grant client_credentials"
            ),
            AuthErrorKind::Scopes => write!(
                f,
                "cannot fetch a token: {host} does not grant the client {client} the requested scopes, add them to the \
                 client or do not request them"
            ),
            AuthErrorKind::Unavailable => write!(f, "cannot fetch a token: {host} is unavailable"),
        }
    }
}

impl StdError for AuthError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

/// The class of an [`AuthError`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum AuthErrorKind {
    /// The fetch was canceled before it ended.
    Canceled,
    /// The login host rejected the client: wrong secret, unknown or disabled client, or another region.
    Credentials,
    /// The response is not a token.
    Malformed,
    /// The login host refused permanently for another reason.
    Refused,
    /// The requested scopes are not granted. The source is a [`MissingScopes`] if the host named the granted ones.
    Scopes,
    /// The login host is unreachable or failing.
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
