//! The readiness of the gateway: what is not ready, and since when.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use genesys_api::{error_chain, rfc3339};
use guest_conversation::{ConnectionEvent, Event};
use guest_store::LogState;
use guest_suite::direct::{Direct, Organization};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Time between two checks while everything is ready. Our choice.
const INTERVAL: Duration = Duration::from_secs(30);
/// Time between two checks while something is not, or a conversation lost its connection. Our choice.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// The detail of Genesys Cloud before the first probe.
const NOT_PROBED: &str = "no connection since the start of the gateway";

/// The readiness of a gateway. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Health(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    direct: Direct,
    /// The names of the organizations of Genesys Cloud.
    organizations: Vec<String>,
    faults: Mutex<BTreeMap<Part, Fault>>,
    /// A conversation lost its connection.
    lost: Notify,
}

/// A part of the gateway without which it cannot serve.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Part {
    /// The audit log, which must not be altered.
    Audit,
    /// The gateway itself, which is about to stop.
    Draining,
    /// The organization of Genesys Cloud with this name.
    Genesys(String),
    Store,
}

#[derive(Clone, Debug)]
struct Fault {
    since: OffsetDateTime,
    detail: String,
}

/// The reader of the readiness.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reader {
    Operator,
    /// Anyone: details about the network of the gateway are left out.
    Public,
}

/// The result of a check.
#[derive(Debug)]
pub(crate) struct Readiness {
    organizations: usize,
    faults: BTreeMap<Part, Fault>,
    verified: u64,
}

impl Part {
    /// The name in the contract.
    fn name(&self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Draining => "draining",
            Self::Genesys(_) => "genesys",
            Self::Store => "store",
        }
    }

    fn organization(&self) -> Option<&str> {
        match self {
            Self::Genesys(name) => Some(name),
            _ => None,
        }
    }
}

impl Health {
    /// Organizations of Genesys Cloud with these names are not ready until the first probe.
    pub(crate) fn new(direct: Direct, organizations: Vec<String>) -> Self {
        let unprobed = Fault {
            since: direct.clock().now().utc,
            detail: NOT_PROBED.to_owned(),
        };
        let names = organizations.iter().cloned();
        let faults = names.map(|name| (Part::Genesys(name), unprobed.clone()));
        Self(Arc::new(Shared {
            direct,
            faults: Mutex::new(faults.collect()),
            organizations,
            lost: Notify::new(),
        }))
    }

    /// Sets whether a part is ready, which is logged if it changes.
    pub(crate) fn set(&self, part: Part, fault: Option<String>) {
        let mut faults = self.lock();
        match (faults.remove(&part), fault) {
            (None, None) => {}
            (Some(ended), None) if ended.detail == NOT_PROBED => {}
            (Some(ended), None) => {
                let since = rfc3339(ended.since);
                let organization = part.organization();
                tracing::info!(part = part.name(), organization, since, "ready again");
            }
            (known, Some(detail)) => {
                // nothing is logged before the first probe, and the stop has a line of its own
                let is_new = known.as_ref().is_none_or(|known| known.detail == NOT_PROBED);
                if is_new && part != Part::Draining {
                    let organization = part.organization();
                    tracing::warn!(part = part.name(), organization, detail, "not ready");
                }
                let since = known.map_or_else(|| self.0.direct.clock().now().utc, |known| known.since);
                faults.insert(part, Fault { since, detail });
            }
        }
    }

    /// Checks the store and the audit log. Returns the readiness of all parts.
    pub(crate) async fn check(&self) -> Readiness {
        let direct = &self.0.direct;
        let stats = direct.store().stats().await;
        let store = match &stats {
            Ok(stats) => stats.fault.as_ref().map(ToString::to_string),
            Err(error) => Some(error.to_string()),
        };
        self.set(Part::Store, store);
        let (altered, verified) = match direct.audit_log().monitor().state() {
            LogState::Altered(detail) => (Some(detail), 0),
            LogState::Verifying(entries) | LogState::Verified(entries) => (None, entries),
            _ => (None, 0),
        };
        self.set(Part::Audit, altered);
        Readiness {
            organizations: self.0.organizations.len(),
            faults: self.lock().clone(),
            verified,
        }
    }

    /// Checks the gateway and the organizations of Genesys Cloud until it is dropped.
    pub(crate) async fn watch(self, organizations: Vec<Organization>) {
        let clock = self.0.direct.clock().clone();
        loop {
            let mut probes = JoinSet::new();
            for organization in organizations.clone() {
                let health = self.clone();
                probes.spawn(async move {
                    let fault = probe(&organization).await;
                    health.set(Part::Genesys(organization.name), fault);
                });
            }
            probes.join_all().await;
            let has_faults = !self.check().await.faults.is_empty();
            clock.sleep(RETRY_INTERVAL).await;
            if !has_faults {
                tokio::select! {
                    () = clock.sleep(INTERVAL - RETRY_INTERVAL) => {}
                    () = self.0.lost.notified() => {}
                }
            }
        }
    }

    /// Handles an event of a conversation: a lost connection is a reason to probe.
    pub(crate) fn handle_event(&self, event: &Event) {
        let Event::Connection(event) = event else { return };
        if matches!(
            event,
            ConnectionEvent::Reconnecting { .. } | ConnectionEvent::Silent
        ) {
            self.0.lost.notify_one();
        }
    }

    /// Returns the name of each organization, and whether it was reached by the last probe.
    pub(crate) fn organizations(&self) -> impl Iterator<Item = (&String, bool)> {
        let faults = self.lock().clone();
        let names = self.0.organizations.iter();
        names.map(move |name| (name, !faults.contains_key(&Part::Genesys(name.clone()))))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Part, Fault>> {
        self.0.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connects to the host of conversations. Returns the reason if it does not answer.
async fn probe(organization: &Organization) -> Option<String> {
    let host = &organization.hosts.messaging;
    let error = organization.http.connect(host).await.err()?;
    Some(format!("cannot connect to {host}: {}", error_chain(&error)))
}

impl Readiness {
    /// Whether the gateway can serve guests, of one organization at least.
    pub(crate) fn is_ready(&self) -> bool {
        let is_genesys = |part: &&Part| part.organization().is_some();
        let unreachable = self.faults.keys().filter(is_genesys).count();
        self.faults.len() == unreachable && unreachable < self.organizations
    }

    /// The body of the answer.
    pub(crate) fn to_json(&self, reader: Reader, warnings: &[&str]) -> Value {
        let mut body = json!({ "ok": self.is_ready() });
        if self.is_ready() {
            body["auditEntriesVerified"] = self.verified.into();
        }
        if !self.faults.is_empty() {
            let faults = self.faults.iter().map(|(part, fault)| {
                let detail = match (part, reader) {
                    (Part::Genesys(_), Reader::Public) => "no connection to Genesys Cloud",
                    _ => &fault.detail,
                };
                let mut body =
                    json!({ "part": part.name(), "since": rfc3339(fault.since), "detail": detail });
                if let (Some(name), Reader::Operator) = (part.organization(), reader) {
                    body["organization"] = name.into();
                }
                body
            });
            body["notReady"] = faults.collect();
        }
        if !warnings.is_empty() {
            body["warnings"] = json!(warnings);
        }
        body
    }
}
