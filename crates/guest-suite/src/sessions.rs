//! Guest sessions: one set of methods, whether a gateway keeps them or this process.

use genesys_auth::AuthorizedError;
use guest_sessions::client::{FetchMetrics, RegisterWebhook};
use session_metrics::Snapshot;
use webhook::{Secret, Subscription};

use crate::direct::{Direct, DirectConfig};
use crate::remote::{Remote, RemoteConfig};
use crate::session::{GuestSession, NewSessionParts};
use crate::{Error, NewGuest};

/// Guest sessions of Genesys Cloud web messaging. Clones share everything.
#[derive(Clone, Debug)]
pub struct GuestSessions {
    mode: Mode,
}

/// The keeper of the sessions, chosen by the constructor.
#[derive(Clone, Debug)]
pub(crate) enum Mode {
    Direct { direct: Direct, owner: String },
    Remote(Remote),
}

impl GuestSessions {
    /// A gateway keeps the sessions; this process is its API client. Speaks `guest-sessions`.
    #[must_use]
    pub fn remote(config: RemoteConfig) -> Self {
        Self {
            mode: Mode::Remote(Remote::new(config)),
        }
    }

    /// This process keeps the sessions, in the store of the configuration, on behalf of `owner`. Speaks
    /// `web-messaging` with Genesys Cloud. Nothing goes on beside the calls: see [`GuestSessions::of`].
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn direct(config: DirectConfig, owner: &str) -> Result<Self, Error> {
        Ok(Self::of(Direct::open(config).await?, owner))
    }

    /// As [`GuestSessions::direct`], with a [`Direct`] that this process also uses otherwise: for its
    /// [`background_tasks`](Direct::background_tasks), or on behalf of other owners.
    #[must_use]
    pub fn of(direct: Direct, owner: &str) -> Self {
        Self {
            mode: Mode::Direct {
                direct,
                owner: owner.to_owned(),
            },
        }
    }

    /// Creates a session under the consent rules of the guest's jurisdiction, and keeps its tokens fresh from then on.
    ///
    /// # Errors
    /// [`ErrorKind::ConsentRequired`](crate::ErrorKind::ConsentRequired) if the policy refuses it,
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) if the guest has a live session.
    pub async fn create(&self, guest: NewGuest) -> Result<GuestSession, Error> {
        match &self.mode {
            Mode::Direct { direct, owner } => {
                let sent = direct.clock().now();
                let created = direct.create(owner, guest).await?;
                let parts = NewSessionParts {
                    id: created.session.id,
                    guest: created.session.guest_id,
                    socket: None,
                    tokens: created.tokens,
                    created_at: created.session.created_at,
                };
                GuestSession::start(self.mode.clone(), parts, &sent)
            }
            Mode::Remote(remote) => {
                let (session, sent) = remote.create(guest).await?;
                GuestSession::start(self.mode.clone(), NewSessionParts::from(session), &sent)
            }
        }
    }

    /// Registers a webhook. The same one again changes nothing. Its secret comes only with the call that made it:
    /// `None` means that it existed.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) if another webhook has its name.
    pub async fn ensure_webhook(&self, subscription: &Subscription) -> Result<Option<Secret>, Error> {
        match &self.mode {
            Mode::Direct { direct, owner } => {
                Ok(direct.ensure_webhook(owner, subscription.clone()).await?.secret)
            }
            Mode::Remote(remote) => Ok(remote.client.call(&RegisterWebhook(subscription)).await?.secret),
        }
    }

    /// Funnel, drop-off and durations.
    ///
    /// # Errors
    /// If the gateway does not answer.
    pub async fn metrics(&self) -> Result<Snapshot, Error> {
        match &self.mode {
            Mode::Direct { direct, .. } => Ok(direct.metrics()),
            Mode::Remote(remote) => Ok(remote.client.call(&FetchMetrics).await?),
        }
    }

    /// Access tokens fetched from the gateway so far. A cached one is not counted. Always 0 in direct mode, which
    /// needs none.
    #[must_use]
    pub fn token_fetches(&self) -> u64 {
        match &self.mode {
            Mode::Direct { .. } => 0,
            Mode::Remote(remote) => remote.client.authenticator().fetches(),
        }
    }

    /// Fetches a token, or has the cached one, so that wrong credentials show at once. Does nothing in direct mode.
    ///
    /// # Errors
    /// [`ErrorKind::Credentials`](crate::ErrorKind::Credentials), and what to check.
    pub async fn authenticate(&self) -> Result<(), Error> {
        match &self.mode {
            Mode::Direct { .. } => Ok(()),
            Mode::Remote(remote) => match remote.client.authenticator().token().await {
                Ok(_) => Ok(()),
                Err(error) => Err(AuthorizedError::from(error).into()),
            },
        }
    }
}
