//! A client of the REST calls.

use genesys_api::retry::Backoff;
use genesys_api::{Call, Clock, Host, SocketUrlError, entropy};
use genesys_auth::{Authenticator, AuthorizedError, Credentials, Scopes};
use genesys_http::{CallError, Client};
use guest_conversation::client::{ConnectLimiter, Settings};
use ws_transport::{AdmittedOrigin, SocketUrl};

use crate::ErrorCode;

/// Repetitions of a request with an idempotency key whose outcome is unknown. Our choice.
const REPETITIONS: u32 = 3;

/// Scopes of a client of sessions and webhooks.
const SCOPES: &str = "webmessaging:guest webmessaging:guest:write webhooks:readwrite";

/// A client of one gateway. It fetches access tokens with client credentials, and caches them. Clones share the cache.
#[derive(Clone, Debug)]
pub struct RestClient {
    http: Client,
    host: Host,
    auth: Authenticator,
}

impl RestClient {
    /// A client of the gateway at `host` that manages sessions and webhooks. It sends nothing yet.
    #[must_use]
    pub fn new(http: Client, host: Host, credentials: Credentials) -> Self {
        let scopes = SCOPES.parse().expect("the scopes of the contract are valid");
        Self::with_scopes(http, host, credentials, scopes)
    }

    /// A client that requests these scopes.
    #[must_use]
    pub fn with_scopes(http: Client, host: Host, credentials: Credentials, scopes: Scopes) -> Self {
        let auth = Authenticator::new(http.clone(), host.clone(), credentials, Some(scopes));
        Self { http, host, auth }
    }

    /// Sends a call with an access token.
    ///
    /// # Errors
    /// [`AuthorizedError::Auth`] without a token, [`AuthorizedError::Call`] if the gateway refuses or is not reached.
    pub async fn call<C: Call + Sync>(&self, call: &C) -> Result<C::Reply, AuthorizedError> {
        self.auth.call(call, &self.host).await
    }

    /// Sends a call with an idempotency key, and at most three times again while its outcome is unknown or the first request
    /// is in progress.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn call_repeatedly<C: Call + Sync>(&self, call: &C) -> Result<C::Reply, AuthorizedError> {
        for attempt in 0..REPETITIONS {
            match self.call(call).await {
                Err(AuthorizedError::Call(error)) if is_open(&error) => {
                    let wait = Backoff::default().wait(attempt, None, entropy::number());
                    tracing::debug!(%error, ?wait, "repeating a request with its idempotency key");
                    self.clock().sleep(wait).await;
                }
                other => return other,
            }
        }
        self.call(call).await
    }

    /// The settings of the socket at the `websocket_url` of a created session.
    ///
    /// # Errors
    /// If it is not a URL of this gateway: a reply must not send the token elsewhere.
    pub fn socket(
        &self,
        url: &str,
        origin: AdmittedOrigin,
        limiter: ConnectLimiter,
    ) -> Result<Settings, SocketUrlError> {
        Ok(Settings {
            http: self.http.clone(),
            url: SocketUrl::from_peer(url, |host| *host == self.host)?,
            origin,
            limiter,
        })
    }

    /// The source of its access tokens.
    pub fn authenticator(&self) -> &Authenticator {
        &self.auth
    }

    /// The HTTP client.
    pub fn http(&self) -> &Client {
        &self.http
    }

    /// The gateway.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The clock of the HTTP client.
    pub fn clock(&self) -> &Clock {
        self.http.clock()
    }
}

/// Whether the request may have been or may be carried out.
fn is_open(error: &CallError) -> bool {
    let code = error.problem().map(|problem| problem.code.as_str());
    error.is_outcome_unknown() || code == Some(ErrorCode::IdempotencyKeyInProgress.as_str())
}
