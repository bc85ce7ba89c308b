//! Guest sessions in both modes.

use std::sync::{Arc, Mutex, PoisonError};

use genesys_api::{Clock, Host, IdempotencyKey, WebhookId};
use genesys_auth::{Authenticator, Credentials};
use genesys_http::{Client, Tls, TlsError};
use guest_conversation::client::ConnectLimiter;
use guest_payload::Policy;
use guest_sessions::Webhook;
use guest_sessions::client::{RestClient, calls};
use session_metrics::Snapshot;
use token_window::{DriverLimits, RefreshDriver};
use webhook::{Secret, Subscription};

use crate::direct::{Direct, DirectConfig};
use crate::session::GuestSession;
use crate::{Error, NewGuest};

/// Guest sessions of Genesys Cloud web messaging. Clones share everything.
///
/// One task keeps the tokens of all sessions fresh. It runs in the runtime in which the first session was created. If that
/// has ended, the next session starts another task.
#[derive(Clone, Debug)]
pub struct GuestSessions {
    mode: Mode,
    driver: Arc<Mutex<Option<RefreshDriver>>>,
}

#[derive(Clone, Debug)]
pub(crate) enum Mode {
    Direct {
        direct: Direct,
        owner: String,
    },
    Remote {
        client: RestClient,
        /// Shared by the sockets of all sessions.
        limiter: ConnectLimiter,
    },
}

impl Mode {
    pub(crate) fn clock(&self) -> &Clock {
        match self {
            Self::Direct { direct, .. } => direct.clock(),
            Self::Remote { client, .. } => client.clock(),
        }
    }
}

/// Configuration of remote mode.
#[derive(Clone, Debug)]
pub struct RemoteConfig {
    /// HTTP client for calls and sockets.
    pub http: Client,
    /// Host of the gateway.
    pub host: Host,
    /// Credentials of this API client.
    pub credentials: Credentials,
}

impl RemoteConfig {
    /// A configuration with an HTTP client that trusts the system's roots. One in a process is enough: share `http`.
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

impl GuestSessions {
    /// Remote mode: the sessions of a gateway, by the contract `guest-sessions`.
    #[must_use]
    pub fn remote(config: RemoteConfig) -> Self {
        Self {
            mode: Mode::Remote {
                client: RestClient::new(config.http, config.host, config.credentials),
                limiter: ConnectLimiter::default(),
            },
            driver: Arc::default(),
        }
    }

    /// Direct mode: sessions of `owner` in the store of this process, without background tasks.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn direct(config: DirectConfig, owner: &str) -> Result<Self, Error> {
        Ok(Self::of(Direct::open(config).await?, owner))
    }

    /// Direct mode with a shared [`Direct`], for its [`background_tasks`](Direct::background_tasks) or several owners.
    #[must_use]
    pub fn of(direct: Direct, owner: &str) -> Self {
        Self {
            mode: Mode::Direct {
                direct,
                owner: owner.to_owned(),
            },
            driver: Arc::default(),
        }
    }

    /// Creates a session under the consent rules of the guest's jurisdiction, and keeps its tokens fresh.
    ///
    /// # Errors
    /// [`ErrorKind::ConsentRequired`](crate::ErrorKind::ConsentRequired) if the policy refuses it,
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) if the guest has a live session. [`Error::Full`] if this process
    /// has 1,000,000 sessions.
    pub async fn create(&self, guest: NewGuest) -> Result<GuestSession, Error> {
        // before the session is created: nobody could end one that is not returned
        let capacity = self.driver().reserve();
        let capacity = capacity.map_err(|full| Error::Full { limit: full.capacity })?;
        let sent = self.mode.clock().now();
        let (socket, tokens) = match &self.mode {
            Mode::Direct { direct, owner } => {
                let created = direct.create(owner, guest, None).await?;
                (None, created.tokens)
            }
            Mode::Remote { client, .. } => {
                // this policy allows every session and only withholds attributes without consent; the gateway decides
                let new = guest
                    .decide(Policy::purpose_scoped(), sent.utc)
                    .map_err(|refused| Error::ConsentRequired(Box::new(refused)))?;
                let call = calls::create_session(&new, IdempotencyKey::random());
                let created = client.call_repeatedly(&call).await?;
                (Some(created.websocket_url), created.tokens)
            }
        };
        GuestSession::start(self.mode.clone(), capacity, socket, tokens, &sent)
    }

    /// The task that runs, or a new one.
    fn driver(&self) -> RefreshDriver {
        let mut driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner);
        let running = driver.take().filter(|driver| !driver.is_stopped());
        let spawn = || RefreshDriver::spawn(DriverLimits::default(), self.mode.clock().clone());
        driver.insert(running.unwrap_or_else(spawn)).clone()
    }

    /// Registers a webhook and returns its secret. `None` if the same webhook exists, or if it signs by a private key: then
    /// [`webhooks`](Self::webhooks) has the public one.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) if another webhook has its name.
    pub async fn ensure_webhook(&self, subscription: &Subscription) -> Result<Option<Secret>, Error> {
        Ok(match &self.mode {
            Mode::Direct { direct, owner } => {
                direct
                    .ensure_webhook(owner, subscription.clone(), None)
                    .await?
                    .webhook
                    .secret
            }
            Mode::Remote { client, .. } => {
                let call = calls::register_webhook(subscription, IdempotencyKey::random());
                client.call_repeatedly(&call).await?.secret
            }
        })
    }

    /// Returns all webhooks of this API client, without their secrets.
    ///
    /// # Errors
    /// If the gateway does not answer.
    pub async fn webhooks(&self) -> Result<Vec<Webhook>, Error> {
        match &self.mode {
            Mode::Direct { direct, owner } => direct.webhooks(owner).await,
            Mode::Remote { client, .. } => Ok(client.call(&calls::list_webhooks()).await?),
        }
    }

    /// Gives a webhook a new secret, and returns the webhook with the secret or the public key. Deliveries are signed with the
    /// replaced secret too for 24 hours, so the receiver can change at any time. If the call fails, repeat it: all secrets of
    /// the last 24 hours sign.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), or [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) if ten
    /// replaced secrets still sign.
    pub async fn rotate_webhook_secret(&self, id: &WebhookId) -> Result<Webhook, Error> {
        match &self.mode {
            Mode::Direct { direct, owner } => direct.rotate_webhook_secret(owner, id).await,
            Mode::Remote { client, .. } => Ok(client.call(&calls::rotate_webhook_secret(id)).await?),
        }
    }

    /// Returns the funnel, the drop-off and the durations of sessions.
    ///
    /// # Errors
    /// If the gateway does not answer.
    pub async fn metrics(&self) -> Result<Snapshot, Error> {
        match &self.mode {
            Mode::Direct { direct, .. } => Ok(direct.metrics()),
            Mode::Remote { client, .. } => Ok(client.call(&calls::fetch_metrics()).await?),
        }
    }

    /// The source of this process' own access tokens. `None` in direct mode, which needs none.
    #[must_use]
    pub fn authenticator(&self) -> Option<&Authenticator> {
        match &self.mode {
            Mode::Direct { .. } => None,
            Mode::Remote { client, .. } => Some(client.authenticator()),
        }
    }
}

#[cfg(test)]
mod tests {
    //! The task that refreshes.

    use std::time::Duration;

    use genesys_api::Hosts;
    use secrecy::ExposeSecret as _;
    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn session_is_refreshed_after_the_runtime_of_the_first_ended() {
        let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
        let first = runtime();
        let config = DirectConfig::new(Hosts::of_domain("mypurecloud.de").unwrap())
            .unwrap()
            .with_channel("shop-chat".parse().unwrap(), "d-1".parse().unwrap());
        let direct = first.block_on(Direct::open(config)).unwrap();
        let (sessions, clock) = (GuestSessions::of(direct.clone(), "shop"), direct.clock().clone());
        let create = async || {
            let body = br#"{"channelConfigurationId": "shop-chat", "guestAttributes": {"region": "EU"},
                "consent": {"marketing": true, "personalization": true, "analytics": false}}"#;
            let guest = NewGuest::parse(body, Default::default(), clock.now().utc).unwrap();
            sessions.create(guest).await.unwrap()
        };
        drop(first.block_on(create()));
        drop(first);
        runtime().block_on(async {
            let session = create().await;
            let secret = async || {
                let token = session.tokens().token().await.unwrap();
                token.secret.expose_secret().to_owned()
            };
            let before = secret().await;
            clock.advance(Duration::from_secs(3_600));
            assert_ne!(secret().await, before);
        });
    }
}
