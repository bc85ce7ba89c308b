//! Direct mode: this process keeps the sessions, and speaks `web-messaging` with Genesys Cloud itself.
//!
//! Every operation loads a session, lets the steps decide, and commits one unit: the change, its audit entries and
//! its events together, or nothing. A change that could not be written down has not happened.

mod admit;
mod audit;
mod background;
mod consent;
mod conversation;
mod create;
mod deployments;
mod end;
mod erase;
mod error;
mod export;
mod read_marker;
mod rotate;
mod session_row;
mod sign_in;
mod update;
mod webhooks;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use genesys_api::{ChannelId, Clock, DeploymentId, Hosts, SessionId};
use genesys_http::{Client, Tls, TlsError};
use guest_conversation::client::ConnectLimiter;
use guest_payload::Policy;
#[cfg(feature = "sqlite")]
use guest_store::{Keys, Limits, SqliteStore};
use guest_store::{Session, SessionQuery, Store};
use session_metrics::{Metrics, Snapshot};
use tokio::sync::Notify;
use web_messaging::rest::deployment::Published;

pub use self::admit::Admitted;
pub use self::conversation::Conversation;
pub use self::create::Created;
pub use self::error::DirectError;
pub use self::export::stored_sessions;
pub use self::session_row::Tokens;
pub use self::sign_in::SignIn;
pub use self::webhooks::RegisteredWebhook;

use self::conversation::LiveSessions;
use self::deployments::Deployments;
use self::session_row::SessionRow;
use self::sign_in::SignedIn;
use crate::SessionInfo;

/// The longest duration of a configuration: ten years. Times beyond that have no form on the wire.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// What direct mode is made of. Every field can be set; [`DirectConfig::new`] has a default for each. A duration of more
/// than ten years counts as ten.
#[derive(Debug)]
pub struct DirectConfig {
    /// Where sessions, audit entries and outgoing events are kept.
    pub store: Arc<dyn Store>,
    /// The process's HTTP client; it also opens the sockets to Genesys. What it is given, such as a proxy, counts for
    /// all of that.
    pub http: Client,
    /// Genesys Cloud, or a simulator.
    pub hosts: Hosts,
    /// The messenger deployment behind each channel.
    pub deployments: BTreeMap<ChannelId, DeploymentId>,
    /// The consent policy.
    pub policy: &'static Policy,
    /// How long an access token lives.
    pub access_token_lifetime: Duration,
    /// Time without a refresh of its tokens after which a session ends.
    pub idle_timeout: Duration,
    /// How long an ended session is kept. Then it is erased, and with it the key that its audit entries are linked by.
    pub retention: Duration,
    /// Live sessions at once; more are refused.
    pub limit: usize,
    /// How fast sockets to Genesys are opened, over all sessions: 15 a second by default, which is under the 1,000 a
    /// minute that Genesys allows a deployment.
    pub limiter: ConnectLimiter,
}

impl DirectConfig {
    /// As [`DirectConfig::with_store`], with sessions in memory, which a restart forgets.
    ///
    /// # Errors
    /// If the system's roots of trust cannot be read.
    #[cfg(feature = "sqlite")]
    pub fn new(hosts: Hosts) -> Result<Self, TlsError> {
        Self::with_store(hosts, in_memory())
    }

    /// The policy `tutorial-strict`: access tokens live for an hour, sessions for a day without a rotation, 100,000 of
    /// them at once, and they are kept for 30 days after their end. No channel is configured yet.
    ///
    /// It makes an HTTP client that trusts the system's roots. A process needs one: share it in `http`.
    ///
    /// # Errors
    /// If the system's roots of trust cannot be read.
    pub fn with_store(hosts: Hosts, store: Arc<dyn Store>) -> Result<Self, TlsError> {
        Ok(Self {
            store,
            http: Client::builder(Tls::system()?).build(),
            hosts,
            deployments: BTreeMap::new(),
            policy: Policy::tutorial_strict(),
            access_token_lifetime: Duration::from_secs(3_600),
            idle_timeout: Duration::from_secs(86_400),
            retention: Duration::from_secs(30 * 86_400),
            limit: 100_000,
            limiter: ConnectLimiter::default(),
        })
    }

    /// Puts a messenger deployment behind a channel.
    #[must_use]
    pub fn with_channel(mut self, channel: ChannelId, deployment: DeploymentId) -> Self {
        self.deployments.insert(channel, deployment);
        self
    }
}

#[cfg(feature = "sqlite")]
fn in_memory() -> Arc<dyn Store> {
    let store = SqliteStore::open(":memory:", Keys::ephemeral(), Limits::default());
    Arc::new(store.expect("a store in memory opens as long as there are memory and threads"))
}

/// Guest sessions kept by this process. Clones share them.
#[derive(Clone, Debug)]
pub struct Direct {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: DirectConfig,
    deployments: Deployments,
    metrics: Metrics,
    events: Notify,
    live: LiveSessions,
    signed_in: SignedIn,
}

impl Direct {
    /// Takes up the sessions of the store, so that the funnel survives a restart.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn open(mut config: DirectConfig) -> Result<Self, DirectError> {
        for duration in [
            &mut config.access_token_lifetime,
            &mut config.idle_timeout,
            &mut config.retention,
        ] {
            *duration = LONGEST.min(*duration);
        }
        let mut past = Vec::new();
        let mut after = None;
        loop {
            let page = config
                .store
                .sessions(SessionQuery::All {
                    after: after.clone(),
                    limit: 1_000,
                })
                .await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id.clone());
            for session in page {
                past.push(SessionRow::load(session)?.past());
            }
        }
        let metrics = Metrics::restore(past);
        let deployments = Deployments::new(config.deployments.values());
        Ok(Self {
            shared: Arc::new(Shared {
                config,
                deployments,
                metrics,
                events: Notify::new(),
                live: LiveSessions::default(),
                signed_in: SignedIn::default(),
            }),
        })
    }

    /// Funnel, drop-off and durations of all sessions of the store.
    #[must_use]
    pub fn metrics(&self) -> Snapshot {
        self.shared.metrics.snapshot()
    }

    /// One session of `owner`.
    ///
    /// # Errors
    /// [`DirectError::NotFound`] also for a session of somebody else.
    pub async fn session(&self, owner: &str, id: &SessionId) -> Result<SessionInfo, DirectError> {
        Ok(self.load(owner, id).await?.info())
    }

    /// The store behind it.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.shared.config.store
    }

    /// The clock behind it.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        self.shared.config.http.clock()
    }

    fn deployment(&self, record: &SessionRow) -> Result<&DeploymentId, DirectError> {
        let channel = &record.row.channel;
        let deployment = self.shared.config.deployments.get(channel);
        deployment.ok_or_else(|| DirectError::UnknownChannel {
            channel: channel.clone(),
        })
    }

    async fn published(&self, deployment: &DeploymentId) -> Published {
        let Shared {
            config, deployments, ..
        } = &*self.shared;
        deployments
            .published(&config.http, &config.hosts.cdn, deployment)
            .await
    }

    async fn load(&self, owner: &str, id: &SessionId) -> Result<SessionRow, DirectError> {
        let record = self.load_any(id).await?;
        if record.owner() == owner {
            Ok(record)
        } else {
            Err(DirectError::NotFound)
        }
    }

    async fn load_any(&self, id: &SessionId) -> Result<SessionRow, DirectError> {
        let session: Option<Session> = self.store().session(id).await?;
        SessionRow::load(session.ok_or(DirectError::NotFound)?)
    }
}
