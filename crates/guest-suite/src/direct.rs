//! Direct mode: the sessions of this process, by the contract `web-messaging`.
//!
//! Each operation loads a session, lets the steps decide, and stores the change, its audit entry and its event in one unit.

mod background;
mod browser;
mod consent_mix;
mod conversation;
mod deadlines;
mod deliveries;
mod delivery_log;
mod guests;
mod lifecycle;
mod organization;
mod party;
mod redact;
mod reevaluation;
mod requests;
mod rules;
mod session_row;
mod sign_in;
mod signing_keys;
mod storage;
mod subscribed;
mod tokens;
mod update;
mod webhooks;

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use audit::Pseudonym;
use genesys_api::{ChannelId, Clock, DeploymentId, Hosts, LogLimit, MAX_DURATION, SessionId};
use genesys_http::{Client, RateLimiter, Tls, TlsError};
use guest_conversation::QUEUE_TIMEOUT;
use guest_conversation::client::{LiveGuard, LiveSessions};
use guest_sessions::ErrorCode;
use guest_store::{AuditLog, SessionPages, SessionQuery, Store, Unit};
#[cfg(feature = "sqlite")]
use guest_store::{Keys, Limits, SqliteStore};
use secrecy::SecretString;
use session_metrics::{EndReason, Metrics, Snapshot};
use time::OffsetDateTime;
use tokio::sync::Notify;

pub use self::consent_mix::{ConsentMix, PurposeMix};
pub use self::conversation::Conversation;
pub use self::guests::GuestRequest;
pub use self::lifecycle::Created;
pub use self::organization::Organization;
pub use self::party::{Party, WebhookParty};
pub use self::rules::Rules;
pub use self::webhooks::Registered;

use self::deadlines::Deadlines;
use self::organization::Services;
use self::session_row::SessionRow;
use self::subscribed::Subscribed;
use crate::{Error, SessionInfo};

/// Sessions per page of a query.
const PAGE: usize = 1_000;
/// Time in which one fault of the store is logged. Our choice.
const FAULT_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The configuration of direct mode. A duration of more than ten years counts as ten.
#[derive(Debug)]
pub struct DirectConfig {
    /// Store of sessions, audit entries and outgoing events.
    pub store: Arc<dyn Store>,
    /// The organization of Genesys Cloud. The clock of its HTTP client is that of all.
    pub organization: Organization,
    /// Further organizations. Names and channels of all differ.
    pub further: Vec<Organization>,
    /// The rules until [`Direct::set_rules`].
    pub rules: Rules,
    /// Lifetime of an access token. Default: 1 hour.
    pub access_token_lifetime: Duration,
    /// Time without a refresh of its tokens after which a session ends. Default: 1 day.
    pub idle_timeout: Duration,
    /// Time from the end of a session to its erasure. Default: 30 days.
    pub retention: Duration,
    /// Longest time for which a message of a guest waits to be sent. Default: 10 minutes.
    pub queue_timeout: Duration,
}

impl DirectConfig {
    /// A configuration with sessions in memory and no channel. A simulator has one host for all `hosts`.
    ///
    /// # Errors
    /// If the system's roots of trust cannot be read.
    ///
    /// # Panics
    /// If the system has no memory or threads left for a store in memory.
    #[cfg(feature = "sqlite")]
    #[expect(clippy::unwrap_in_result, reason = "a store in memory opens")]
    pub fn new(hosts: impl Into<Hosts>) -> Result<Self, TlsError> {
        let store = SqliteStore::open(":memory:", Keys::ephemeral(), Limits::default());
        Self::with_store(
            hosts.into(),
            Arc::new(store.expect("there are memory and threads")),
        )
    }

    /// A configuration with sessions in `store`, no channel, and an HTTP client that trusts the system's roots. A process
    /// needs one HTTP client: share it in `organization.http`.
    ///
    /// # Errors
    /// If the system's roots of trust cannot be read.
    pub fn with_store(hosts: Hosts, store: Arc<dyn Store>) -> Result<Self, TlsError> {
        let http = Client::builder(Tls::system()?)
            .build()
            .with_rate_limiter(RateLimiter::of_organization());
        Ok(Self {
            store,
            organization: Organization::new(http, hosts),
            further: Vec::new(),
            rules: Rules::default(),
            access_token_lifetime: Duration::from_secs(3_600),
            idle_timeout: Duration::from_secs(86_400),
            retention: Duration::from_secs(30 * 86_400),
            queue_timeout: QUEUE_TIMEOUT,
        })
    }

    /// Adds a channel of `organization` with its messenger deployment.
    #[must_use]
    pub fn with_channel(mut self, channel: ChannelId, deployment: DeploymentId) -> Self {
        self.organization.deployments.insert(channel, deployment);
        self
    }

    fn clock(&self) -> &Clock {
        self.organization.http.clock()
    }
}

/// Guest sessions of this process. Clones share them.
#[derive(Clone, Debug)]
pub struct Direct {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: DirectConfig,
    rules: RwLock<Arc<Rules>>,
    organizations: Vec<Services>,
    deadlines: Deadlines,
    metrics: Metrics,
    /// Notified when events were stored.
    events: Notify,
    live: LiveSessions,
    log: AuditLog,
    /// Held by the erasure of a guest, so that one proof has all of its sessions.
    erasing: tokio::sync::Mutex<()>,
    /// Held by the task that repeats its change after a conflict.
    retrying: tokio::sync::Mutex<()>,
    subscribed: Subscribed,
    fault_log: LogLimit,
}

/// A session that a guest may connect to: its row, and a guard that observes its end.
#[derive(Debug)]
pub struct Admitted {
    // boxed: futures hold several copies of an argument
    record: Box<SessionRow>,
    guard: LiveGuard,
    at: OffsetDateTime,
}

impl Direct {
    /// Opens direct mode. The funnel is in the store's totals, so that it survives a restart, which reads no session.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn open(mut config: DirectConfig) -> Result<Self, Error> {
        for duration in [
            &mut config.access_token_lifetime,
            &mut config.idle_timeout,
            &mut config.retention,
            &mut config.queue_timeout,
        ] {
            *duration = MAX_DURATION.min(*duration);
        }
        let mut totals = config.store.stats().await?.totals;
        if !totals.contains_key(CONSENT_COUNTED) {
            count_sessions(&*config.store, &totals).await?;
            totals = config.store.stats().await?.totals;
        }
        let sessions = LiveSessions::default();
        let organizations = [&config.organization].into_iter().chain(&config.further);
        let services = |organization: &Organization| Services::new(organization.clone(), sessions.clone());
        let totals = totals.iter().map(|(name, total)| (name.as_str(), *total));
        Ok(Self {
            shared: Arc::new(Shared {
                organizations: organizations.map(services).collect(),
                live: sessions,
                deadlines: Deadlines::new(config.clock().now().instant),
                log: AuditLog::new(Arc::clone(&config.store), config.clock().clone()),
                rules: RwLock::new(Arc::new(config.rules.clone())),
                config,
                metrics: Metrics::restore(totals),
                events: Notify::new(),
                subscribed: Subscribed::default(),
                fault_log: LogLimit::new(FAULT_LOG_INTERVAL),
                erasing: tokio::sync::Mutex::default(),
                retrying: tokio::sync::Mutex::default(),
            }),
        })
    }

    /// Returns the funnel, the drop-off and the durations of all sessions of the store.
    #[must_use]
    pub fn metrics(&self) -> Snapshot {
        self.shared.metrics.snapshot(self.clock().now())
    }

    /// The counters behind [`Direct::metrics`], for what a caller measures, and for a scrape.
    #[must_use]
    pub fn counters(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// The audit log. A background task verifies it.
    #[must_use]
    pub fn audit_log(&self) -> &AuditLog {
        &self.shared.log
    }

    /// Returns a session of `owner`.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], also for a session of another owner, or the store's.
    pub async fn session(&self, owner: &str, id: &SessionId) -> Result<SessionInfo, Error> {
        let record = self.load(owner, id).await?;
        Ok(record.info(self.clock().now().utc))
    }

    /// Admits a guest by the access token of the session with this id.
    ///
    /// # Errors
    /// [`ErrorCode::BadCredentials`], [`ErrorCode::CredentialsExpired`], [`ErrorCode::SessionEnded`], [`ErrorCode::NotFound`], or the store's.
    pub async fn admit(&self, id: &SessionId, access: &SecretString) -> Result<Admitted, Error> {
        // before the session is read, so that no end is missed
        let guard = self.shared.live.guard(id);
        let record = self.load_any(id).await?;
        if !self.is_known(&record.row) {
            return Err(ErrorCode::NotFound.into());
        }
        let record = Box::new(self.use_access(record, access).await?);
        let at = self.clock().now().utc;
        Ok(Admitted { record, guard, at })
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.shared.config.store
    }

    /// Whether a fault of the store that each message, session or request repeats is to be logged now: one in 10 seconds for
    /// each caller. Returns the number of those since the last line that were not logged.
    #[must_use]
    #[track_caller]
    pub fn admit_fault_line(&self) -> Option<u64> {
        self.shared.fault_log.admit(self.clock().now().instant)
    }

    /// The clock of the HTTP client of the first organization.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        self.shared.config.clock()
    }

    /// Loads a session for its owner, to whom those of other organizations are unknown.
    async fn load(&self, owner: &str, id: &SessionId) -> Result<SessionRow, Error> {
        let record = self.load_any(id).await?;
        let is_known = record.row.owner == owner && self.is_known(&record.row);
        Ok(is_known.then_some(record).ok_or(ErrorCode::NotFound)?)
    }

    /// Loads a session for the work of this process, which goes on for each.
    async fn load_any(&self, id: &SessionId) -> Result<SessionRow, Error> {
        SessionRow::load(self.store().session(id).await?.ok_or(ErrorCode::NotFound)?)
    }
}

impl Admitted {
    /// The guest, as the party of a change.
    #[must_use]
    pub fn guest(&self) -> Party<'_> {
        let owner = &self.record.row.owner;
        Party::Guest { owner }
    }

    /// Its pseudonym in the audit log.
    #[must_use]
    pub fn pseudonym(&self) -> Pseudonym {
        self.record.row.pseudonym()
    }

    /// Expiry of the access token.
    #[must_use]
    pub fn expires_at(&self) -> OffsetDateTime {
        self.record.row.expires_at
    }

    /// The session at the time of the admission.
    #[must_use]
    pub fn info(&self) -> SessionInfo {
        self.record.info(self.at)
    }

    /// Id of the message that was delivered last. `None` before the first, and if an earlier version delivered it.
    #[must_use]
    pub fn last_message(&self) -> Option<String> {
        let live = self.guard.read_marker().map(|marker| marker.message);
        live.or_else(|| self.record.document.read_message.clone())
    }

    /// Whether a message was delivered to the guest.
    #[must_use]
    pub fn has_delivered(&self) -> bool {
        self.record.document.read_marker.is_some() || self.guard.read_marker().is_some()
    }

    /// The reason, if the session has ended since.
    #[must_use]
    pub fn end_reason(&self) -> Option<EndReason> {
        self.guard.end_reason()
    }
}

/// Returns at most 1,000 sessions after this one as they are at `now`, also ended ones, in the fixed order of
/// [`SessionQuery::All`]. An empty page is the end.
///
/// # Errors
/// If the store cannot be read, or holds a session that this version does not understand.
pub async fn stored_sessions(
    store: &dyn Store,
    after: Option<SessionId>,
    now: OffsetDateTime,
) -> Result<Vec<SessionInfo>, Error> {
    let page = store.sessions(SessionQuery::All(after), PAGE).await?;
    let rows = page.into_iter().map(SessionRow::load);
    rows.map(|row| row.map(|row| row.info(now))).collect()
}

/// The total that marks a store whose totals have the consent of each session.
const CONSENT_COUNTED: &str = "consent counted";
/// The mark of an earlier version, whose totals have each step of each session.
const COUNTED: &str = "sessions counted";
/// The mark of an even earlier version, whose totals have the ended sessions only.
const ENDED_COUNTED: &str = "ended sessions counted";

/// Adds to the totals of a store of an earlier version what they lack of its sessions.
async fn count_sessions(store: &dyn Store, earlier: &BTreeMap<String, u64>) -> Result<(), Error> {
    let mut totals = BTreeMap::from([COUNTED, CONSENT_COUNTED].map(|mark| (mark.to_owned(), 1)));
    let (has_steps, has_ended) = (earlier.contains_key(COUNTED), earlier.contains_key(ENDED_COUNTED));
    let metrics = Metrics::new();
    for_each_session(store, SessionQuery::All(None), |session| {
        let consent = consent_mix::additions(None, session.document.data.consent());
        let is_counted = has_steps || has_ended && session.row.ended_at.is_some();
        let end = session.row.ended_at.unwrap_or(session.row.created_at);
        let created_at = session.row.created_at;
        let events = session.document.journey.events(created_at, session.lifetime(end));
        let group = session.labels().group(&metrics);
        let steps = events
            .filter(|_| !is_counted)
            .flat_map(|event| group.totals(&event));
        for (name, addition) in consent.into_iter().chain(steps) {
            *totals.entry(name).or_default() += addition;
        }
    })
    .await?;
    let unit = Unit {
        totals: totals.into_iter().collect(),
        ..Unit::default()
    };
    store.commit(unit).await?;
    Ok(())
}

/// Visits the sessions of a query from the first page to the last. A session whose document cannot be parsed is logged
/// and skipped, so that it does not prevent the start.
async fn for_each_session(
    store: &dyn Store,
    query: SessionQuery,
    mut visit: impl FnMut(SessionRow),
) -> Result<(), Error> {
    let mut pages = SessionPages::of(query);
    while let Some(page) = pages.next(store).await? {
        for row in page {
            let id = row.id.clone();
            match SessionRow::load(row) {
                Ok(row) => visit(row),
                Err(error) => {
                    tracing::error!(session = %id, %error, "a session cannot be read, so it is not counted: restore it from a backup");
                }
            }
        }
    }
    Ok(())
}
