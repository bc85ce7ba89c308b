//! The readiness of the gateway: what is not ready, and since when.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use genesys_api::{Host, error_chain, rfc3339};
use genesys_http::Client;
use guest_conversation::{ConnectionEvent, Event};
use guest_store::LogState;
use guest_suite::direct::Direct;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::sync::Notify;

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
    faults: Mutex<BTreeMap<Part, Fault>>,
    /// A conversation lost its connection.
    lost: Notify,
}

/// A part of the gateway without which it cannot serve.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Part {
    /// The audit log, which must not be altered.
    Audit,
    /// The gateway itself, which is about to stop.
    Draining,
    Genesys,
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
    faults: BTreeMap<Part, Fault>,
    verified: u64,
}

impl Part {
    /// The name in the contract.
    fn name(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Draining => "draining",
            Self::Genesys => "genesys",
            Self::Store => "store",
        }
    }
}

impl Health {
    /// Genesys Cloud is not ready until the first probe.
    pub(crate) fn new(direct: Direct) -> Self {
        let unprobed = Fault {
            since: direct.clock().now().utc,
            detail: NOT_PROBED.to_owned(),
        };
        Self(Arc::new(Shared {
            direct,
            faults: Mutex::new(BTreeMap::from([(Part::Genesys, unprobed)])),
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
                tracing::info!(part = part.name(), since, "ready again");
            }
            (known, Some(detail)) => {
                // nothing is logged before the first probe, and the stop has a line of its own
                let is_new = known.as_ref().is_none_or(|known| known.detail == NOT_PROBED);
                if is_new && part != Part::Draining {
                    tracing::warn!(part = part.name(), detail, "not ready");
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
            faults: self.lock().clone(),
            verified,
        }
    }

    /// Checks the gateway and these hosts of Genesys Cloud until it is dropped.
    pub(crate) async fn watch(self, http: Client, hosts: Vec<Host>) {
        let clock = self.0.direct.clock().clone();
        loop {
            self.set(Part::Genesys, probe(&http, &hosts).await);
            let is_ready = self.check().await.is_ready();
            clock.sleep(RETRY_INTERVAL).await;
            if is_ready {
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

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Part, Fault>> {
        self.0.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connects to each host. Returns the reason if one does not answer.
async fn probe(http: &Client, hosts: &[Host]) -> Option<String> {
    for host in hosts {
        if let Err(error) = http.connect(host).await {
            return Some(format!("cannot connect to {host}: {}", error_chain(&error)));
        }
    }
    None
}

impl Readiness {
    pub(crate) fn is_ready(&self) -> bool {
        self.faults.is_empty()
    }

    /// The body of the answer.
    pub(crate) fn to_json(&self, reader: Reader, warnings: &[&str]) -> Value {
        let mut body = json!({ "ok": self.is_ready() });
        if self.is_ready() {
            body["auditEntriesVerified"] = self.verified.into();
        } else {
            let faults = self.faults.iter().map(|(part, fault)| {
                let detail = match (part, reader) {
                    (Part::Genesys, Reader::Public) => "no connection to Genesys Cloud",
                    _ => &fault.detail,
                };
                json!({ "part": part.name(), "since": rfc3339(fault.since), "detail": detail })
            });
            body["notReady"] = faults.collect();
        }
        if !warnings.is_empty() {
            body["warnings"] = json!(warnings);
        }
        body
    }
}
