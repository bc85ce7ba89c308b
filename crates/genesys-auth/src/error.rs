//! Why there is no token.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use genesys_api::Host;
use genesys_http::{CallError, CallErrorKind};

use crate::{ClientId, Failure, MissingScopes};

/// No token could be fetched. Clones share it, as all who waited for the fetch do.
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
    failure: Failure,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl AuthError {
    /// What went wrong, in the classes that ask for different answers.
    #[must_use]
    pub fn kind(&self) -> AuthErrorKind {
        self.inner.kind
    }

    /// Whether it may pass without a change of configuration.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.inner.failure, Failure::Transient { .. })
    }

    /// How long it is until the next fetch: before that, all who ask get this error.
    #[must_use]
    pub fn retry_in(&self) -> Duration {
        self.retry_in
    }

    pub(crate) fn abandoned(host: &Host, client: &ClientId) -> Self {
        Self::new(
            AuthErrorKind::Abandoned,
            host,
            client,
            Failure::Transient { retry_after: None },
            None,
        )
    }

    pub(crate) fn of_call(error: CallError, host: &Host, client: &ClientId) -> Self {
        let transient = Failure::Transient {
            retry_after: error.problem().and_then(|problem| problem.retry_after),
        };
        let (kind, failure) = match (error.kind(), error.problem()) {
            (CallErrorKind::Refused, Some(problem)) => match (problem.status, problem.code.as_str()) {
                (408 | 429 | 500..=599, _) => (AuthErrorKind::Unavailable, transient),
                (401, _) | (_, "invalid_client" | "unauthorized_client") => {
                    (AuthErrorKind::Credentials, Failure::Fatal)
                }
                (_, "invalid_scope") => (AuthErrorKind::Scopes, Failure::Fatal),
                _ => (AuthErrorKind::Refused, Failure::Fatal),
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
            Failure::Fatal,
            Some(error.into()),
        )
    }

    pub(crate) fn failure(&self) -> Failure {
        self.inner.failure
    }

    pub(crate) fn with_retry_in(self, retry_in: Duration) -> Self {
        Self { retry_in, ..self }
    }

    fn new(
        kind: AuthErrorKind,
        host: &Host,
        client: &ClientId,
        failure: Failure,
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
            AuthErrorKind::Abandoned => write!(
                f,
                "the fetch of a token from {host} was cut off, as its runtime ended: ask again"
            ),
            AuthErrorKind::Credentials => write!(
                f,
                "{host} does not accept the client {client}: the secret is wrong, the client is unknown or disabled, or \
                 it belongs to another region; compare id, secret and login host with the OAuth client's page"
            ),
            AuthErrorKind::Malformed => write!(
                f,
                "{host} did not answer with a token: check that it is a login host, such as https://login.mypurecloud.ie"
            ),
            AuthErrorKind::Refused => write!(
                f,
                "{host} refused a token to the client {client}: check that it is a login host, and that the client may \
                 use the grant client_credentials"
            ),
            AuthErrorKind::Scopes => write!(
                f,
                "{host} does not grant the client {client} the scopes that it asked for: add them to the client, or do \
                 not ask for them"
            ),
            AuthErrorKind::Unavailable => write!(f, "{host} could not be asked for a token"),
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
    /// The fetch was cut off before it ended.
    Abandoned,
    /// The login host does not accept the client: wrong secret, unknown or disabled client, or another region's.
    Credentials,
    /// The answer is no token.
    Malformed,
    /// The login host refused for another reason that will not pass.
    Refused,
    /// The client is not granted what it asked for. The source is a [`MissingScopes`] if the host said what it grants.
    Scopes,
    /// The login host cannot be reached, or is in trouble.
    Unavailable,
}

/// A call with a token brought no reply.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorizedError {
    /// There was no token to make it with.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The call itself failed. If the problem is a 401, a fresh token was rejected too.
    #[error(transparent)]
    Call(#[from] CallError),
}
