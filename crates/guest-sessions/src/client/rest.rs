//! A client of the REST calls.

use genesys_api::{Call, Clock, Host};
use genesys_auth::{Authenticator, AuthorizedError, Credentials, Scopes};
use genesys_http::Client;

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
