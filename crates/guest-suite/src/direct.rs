//! Direct mode: this process keeps the sessions, and speaks `web-messaging` with Genesys Cloud itself.
//!
//! Every operation loads a session, lets the steps decide, and commits one unit: the change, its audit entries and
//! its events together, or nothing. A change that could not be written down has not happened.

mod consent;
mod conversation;
mod create;
mod end;
mod error;
mod record;
mod rotate;
mod trail;
mod update;
mod webhooks;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use genesys_api::{ChannelId, Clock, DeploymentId, Hosts, SessionId};
use genesys_http::Client;
use guest_payload::Policy;
use guest_store::{Session, SessionQuery, Store};
use session_metrics::{Metrics, Snapshot};
use tokio::sync::Notify;

pub use self::conversation::Conversation;
pub use self::create::Created;
pub use self::error::DirectError;
pub use self::record::Tokens;
pub use self::rotate::Admitted;
pub use self::webhooks::RegisteredWebhook;

use self::record::Record;
use crate::SessionInfo;

/// What direct mode is made of.
#[derive(Debug)]
pub struct DirectConfig {
    /// Where sessions, audit entries and outgoing events are kept.
    pub store: Arc<dyn Store>,
    /// The process's HTTP client; it also opens the sockets to Genesys.
    pub http: Client,
    /// Genesys Cloud, or a simulator.
    pub hosts: Hosts,
    /// The messenger deployment behind each channel.
    pub deployments: BTreeMap<ChannelId, DeploymentId>,
    /// The consent policy.
    pub policy: &'static Policy,
    /// How long an access token lives.
    pub access_token_lifetime: Duration,
    /// How long a session lives without its tokens being rotated.
    pub lapse: Duration,
    /// Live sessions at once; more are refused.
    pub limit: usize,
}

/// Guest sessions kept by this process. Clones share them.
#[derive(Clone, Debug)]
pub struct Direct {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: DirectConfig,
    metrics: Metrics,
    events: Notify,
}

impl Direct {
    /// Takes up the sessions of the store, so that the funnel survives a restart.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn open(config: DirectConfig) -> Result<Self, DirectError> {
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
                past.push(Record::load(session)?.past());
            }
        }
        let metrics = Metrics::restore(past);
        Ok(Self {
            shared: Arc::new(Shared {
                config,
                metrics,
                events: Notify::new(),
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

    /// Waits until an event may have been put into the outbox.
    pub async fn events_queued(&self) {
        self.shared.events.notified().await;
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

    async fn load(&self, owner: &str, id: &SessionId) -> Result<Record, DirectError> {
        let record = self.load_any(id).await?;
        if record.owner() == owner {
            Ok(record)
        } else {
            Err(DirectError::NotFound)
        }
    }

    async fn load_any(&self, id: &SessionId) -> Result<Record, DirectError> {
        let session: Option<Session> = self.store().session(id).await?;
        Record::load(session.ok_or(DirectError::NotFound)?)
    }
}
