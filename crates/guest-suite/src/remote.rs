//! Remote mode: a gateway keeps the sessions, and this process speaks `guest-sessions` with it.

use std::sync::Arc;

use audit::Entry;
use genesys_api::{Call, Clock, Host, Now, SessionId, entropy};
use genesys_auth::{Authenticator, AuthorizedError, Credentials, Scopes};
use genesys_http::{Client, Tls, TlsError};
use guest_conversation::client::ConnectLimiter;
use guest_payload::guest_sessions::{
    AuditTrail, ChangeConsent, Create, End, Fetch, MetricsSnapshot, Session, SessionView,
};
use guest_payload::{ConsentChange, NewGuest, Policy};
use serde_json::Value;
use session_metrics::Snapshot;
use time::Duration;
use token_window::guest_sessions::Refresh;
use token_window::{RefreshError, Refresher, Tokens};
use webhook::Subscription;
use webhook::guest_sessions::{Register, Registered};

use crate::{Error, SessionInfo};

/// What remote mode is made of.
#[derive(Clone, Debug)]
pub struct RemoteConfig {
    /// The process's HTTP client; it also opens the sockets to the gateway.
    pub http: Client,
    /// The gateway.
    pub host: Host,
    /// Who this API client is.
    pub credentials: Credentials,
}

impl RemoteConfig {
    /// Makes an HTTP client that trusts the system's roots. A process needs one: share it in `http`.
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

/// Guest sessions kept by a gateway. Clones share the token.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    http: Client,
    host: Host,
    auth: Authenticator,
    /// For the sockets of all its sessions.
    limiter: ConnectLimiter,
}

impl Remote {
    pub(crate) fn new(config: RemoteConfig) -> Self {
        let scopes: Scopes = SCOPES
            .parse()
            .expect("the scopes of the contract are valid names");
        let auth = Authenticator::new(
            config.http.clone(),
            config.host.clone(),
            config.credentials,
            Some(scopes),
        );
        Self {
            shared: Arc::new(Shared {
                http: config.http,
                host: config.host,
                auth,
                limiter: ConnectLimiter::default(),
            }),
        }
    }

    pub(crate) fn http(&self) -> &Client {
        &self.shared.http
    }

    pub(crate) fn limiter(&self) -> &ConnectLimiter {
        &self.shared.limiter
    }

    pub(crate) fn host(&self) -> &Host {
        &self.shared.host
    }

    pub(crate) fn clock(&self) -> &Clock {
        self.shared.http.clock()
    }

    pub(crate) fn auth(&self) -> &Authenticator {
        &self.shared.auth
    }

    pub(crate) async fn authenticate(&self) -> Result<(), Error> {
        self.shared
            .auth
            .token()
            .await
            .map_err(|error| AuthorizedError::from(error).into())
            .map(drop)
    }

    /// Whether the session may be created is the gateway's policy to say. Here the purpose-scoped one, which allows
    /// every session, withholds what the guest did not agree to, so that it does not even travel.
    pub(crate) async fn create(&self, mut guest: NewGuest) -> Result<(Session, Now), Error> {
        guest.guest.get_or_insert_with(|| entropy::uuid().into());
        let new = guest.decide(Policy::purpose_scoped(), self.clock().now().utc)?;
        let sent = self.clock().now();
        Ok((self.call(&Create(&new)).await?, sent))
    }

    pub(crate) async fn session(&self, id: &SessionId) -> Result<SessionInfo, Error> {
        Ok(self.call(&Fetch(id)).await?.into())
    }

    pub(crate) async fn change_consent(
        &self,
        id: &SessionId,
        change: &ConsentChange,
    ) -> Result<SessionInfo, Error> {
        Ok(self.call(&ChangeConsent { id, change }).await?.into())
    }

    pub(crate) async fn end(&self, id: &SessionId) -> Result<(), Error> {
        self.call(&End(id)).await
    }

    pub(crate) async fn metrics(&self) -> Result<Snapshot, Error> {
        serde_json::from_value(self.call(&MetricsSnapshot).await?).map_err(|_| Error::malformed())
    }

    pub(crate) async fn audit_trail(&self, id: &SessionId) -> Result<Vec<Entry>, Error> {
        let trail = self.call(&AuditTrail(id)).await?;
        let entries = trail
            .get("entries")
            .and_then(Value::as_array)
            .ok_or_else(Error::malformed)?;
        let entry =
            |entry: &Value| Entry::parse(entry.to_string().as_bytes()).map_err(|_| Error::malformed());
        entries.iter().map(entry).collect()
    }

    pub(crate) async fn ensure_webhook(&self, subscription: &Subscription) -> Result<Registered, Error> {
        self.call(&Register { subscription }).await
    }

    async fn call<C: Call + Sync>(&self, call: &C) -> Result<C::Reply, Error> {
        Ok(self.shared.auth.authorized(call, &self.shared.host).await?)
    }
}

impl From<SessionView> for SessionInfo {
    fn from(view: SessionView) -> Self {
        Self {
            id: view.id,
            guest: view.guest_id,
            state: view.state,
            created_at: view.created_at,
            expires_at: view.expires_at,
            ended: view.ended_at.zip(view.end_reason),
            consent: view.consent,
        }
    }
}

/// Rotates the tokens of one session at the gateway.
#[derive(Debug)]
pub(crate) struct RefreshByRest {
    pub(crate) remote: Remote,
    pub(crate) session: SessionId,
    /// How far the gateway's wall clock is ahead of ours.
    pub(crate) ahead: Duration,
}

impl Refresher for RefreshByRest {
    async fn refresh(&self, current: &Tokens) -> Result<Tokens, RefreshError> {
        let refresh_token = current.refresh().ok_or(RefreshError::Refused)?;
        let mut sent = self.remote.clock().now();
        sent.utc = sent.utc.saturating_add(self.ahead);
        let call = Refresh {
            session: &self.session,
            refresh_token,
        };
        let refreshed = self
            .remote
            .shared
            .auth
            .authorized(&call, self.remote.host())
            .await
            .map_err(failure)?;
        Ok(refreshed.into_tokens(&sent)?)
    }
}

/// What a failed call says of the refresh token: only a lost reply leaves it open whether it is still good.
fn failure(error: AuthorizedError) -> RefreshError {
    match error {
        AuthorizedError::Call(error) => match error.problem() {
            Some(problem) => problem.into(),
            None if error.is_outcome_unknown() => RefreshError::Unknown,
            None => RefreshError::Transient { retry_after: None },
        },
        // without a token for the call nothing was sent
        _ => RefreshError::Transient { retry_after: None },
    }
}

/// What a client of the whole contract asks for.
const SCOPES: &str = "webmessaging:guest webmessaging:guest:write webhooks:readwrite";
