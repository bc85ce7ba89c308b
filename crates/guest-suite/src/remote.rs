//! Remote mode: a gateway keeps the sessions, and this process calls it by the contract `guest-sessions`.

use genesys_api::{Host, Now, SessionId};
use genesys_auth::{AuthorizedError, Credentials};
use genesys_http::{Client, Tls, TlsError};
use guest_conversation::client::ConnectLimiter;
use guest_payload::{NewGuest, Policy};
use guest_sessions::CreatedSession;
use guest_sessions::client::{CreateSession, RefreshSession, RestClient};
use time::Duration;
use token_window::{RefreshError, Refresher, Tokens};

use crate::Error;

/// Configuration of remote mode.
#[derive(Clone, Debug)]
pub struct RemoteConfig {
    /// The HTTP client of the process. It also opens the sockets to the gateway.
    pub http: Client,
    /// The gateway.
    pub host: Host,
    /// Credentials of this API client.
    pub credentials: Credentials,
}

impl RemoteConfig {
    /// A configuration with an HTTP client that trusts the roots of the system. A process needs one HTTP client: share
    /// it in `http`.
    ///
    /// # Errors
    /// If the system's roots of trust cannot be read.
    pub fn new(host: Host, credentials: Credentials) -> Result<Self, TlsError> {
        Ok(Self {
            http: Client::builder(Tls::system()?).build(),
            host,
            credentials,
        })
    }
}

/// Guest sessions kept by a gateway. Clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    pub(crate) client: RestClient,
    /// Shared by the sockets of all sessions.
    pub(crate) limiter: ConnectLimiter,
}

impl Remote {
    pub(crate) fn new(config: RemoteConfig) -> Self {
        Self {
            client: RestClient::new(config.http, config.host, config.credentials),
            limiter: ConnectLimiter::default(),
        }
    }

    /// Creates a session. The gateway's policy decides whether it may be created. The purpose-scoped policy, which
    /// allows every session, is applied here so that attributes without consent do not leave this process.
    pub(crate) async fn create(&self, guest: NewGuest) -> Result<(CreatedSession, Now), Error> {
        let new = guest.decide(Policy::purpose_scoped(), self.client.clock().now().utc)?;
        let sent = self.client.clock().now();
        Ok((self.client.call(&CreateSession(&new)).await?, sent))
    }
}

/// Refreshes the tokens of one session at the gateway.
#[derive(Debug)]
pub(crate) struct RefreshByRest {
    pub(crate) client: RestClient,
    pub(crate) session: SessionId,
    /// Lead of the gateway's wall clock over ours.
    pub(crate) ahead: Duration,
}

impl Refresher for RefreshByRest {
    async fn refresh(&self, current: &Tokens) -> Result<Tokens, RefreshError> {
        let mut sent = self.client.clock().now();
        sent.utc = sent.utc.saturating_add(self.ahead);
        let call = RefreshSession {
            id: &self.session,
            refresh_token: current.refresh().ok_or(RefreshError::Refused)?,
        };
        let tokens = self.client.call(&call).await.map_err(refresh_error)?;
        let lifetime = tokens.lifetime(&sent);
        Ok(Tokens::new(
            tokens.access_token,
            Some(tokens.refresh_token),
            lifetime,
        )?)
    }
}

/// Only a lost reply leaves open whether the refresh token is still valid.
fn refresh_error(error: AuthorizedError) -> RefreshError {
    match error {
        AuthorizedError::Call(error) => match error.problem() {
            Some(problem) => problem.into(),
            None if error.is_outcome_unknown() => RefreshError::Unknown,
            None => RefreshError::Transient { retry_after: None },
        },
        // without an access token nothing was sent
        _ => RefreshError::Transient { retry_after: None },
    }
}
