//! Load on a `SqliteStore`, and the check of its file.

mod check;
mod writer;

use std::path::Path;

use guest_store::{
    Change, Keys, Leased, Limits, Payload, SealKey, SessionQuery, SqliteStore, Store as _, StoreError,
    Webhook,
};
use time::OffsetDateTime;
use tokio::runtime::Runtime;

use super::load::Refusal;
use super::{Error, Load, signer};

pub(super) use check::check;
use writer::Writer;

/// Queues of few events, so that some join snapshots.
const LIMITS: Limits = Limits {
    file_bytes: u64::MAX,
    leases: 256,
    owner_leases: 64,
    owner_requests: 100_000,
    owner_webhooks: 20,
    webhook_deliveries: 1_000,
    webhook_leases: 16,
    webhook_queue_rows: 6,
    webhooks: 1_000,
    queue: 1_024,
};

const OWNER: &str = "owner";
const WEBHOOKS: [&str; 2] = ["crm", ORDERED];
/// The webhook that gets the events of a session one after another.
const ORDERED: &str = "archive";
/// Largest page of a store.
const PAGE: usize = 1_000;
/// The time of everything, so that every delivery is due.
const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

fn open(folder: &Path) -> Result<SqliteStore, Refusal> {
    let keys = Keys {
        seal: SealKey::new(&[1; 32]),
        signer: signer(),
    };
    Ok(SqliteStore::open(folder.join("guest.db"), keys, LIMITS)?)
}

/// The webhook, the session and the sequence number of an event: all its deliveries have the same id.
fn content(leased: &Leased) -> Option<String> {
    match &leased.payload {
        Payload::Event {
            session, sequence, ..
        } => Some(format!("{}/{session}/{sequence}", leased.webhook.id)),
        _ => None,
    }
}

fn runtime() -> Result<Runtime, Error> {
    Ok(tokio::runtime::Builder::new_current_thread().build()?)
}

/// Registers the webhooks that are missing, so that every session has events.
async fn register(store: &SqliteStore) -> Result<(), StoreError> {
    let registered = store.webhooks().await?;
    for name in WEBHOOKS {
        if registered.iter().any(|webhook| webhook.name == name) {
            continue;
        }
        let webhook = Webhook {
            id: name.parse().expect("the name is a valid id"),
            name: name.to_owned(),
            owner: OWNER.to_owned(),
            events: ["created", "changed", "withdrawn", "ended"]
                .map(str::to_owned)
                .to_vec(),
            enabled: true,
            ordered: name == ORDERED,
            failing_since: None,
            failures: 0,
            rest_until: None,
            version: 0,
            secrets: "secret".into(),
            document: "https://crm.example".into(),
        };
        store.commit(Change::PutWebhook(webhook).into()).await?;
    }
    Ok(())
}

/// Commits units until the process is killed.
pub(super) fn load(load: &Load) -> Result<(), Error> {
    let store = match open(&load.folder) {
        Ok(store) => store,
        Err(refusal) => return load.print("open", Err(refusal)),
    };
    let sessions = runtime()?.block_on(async {
        register(&store).await?;
        store.sessions(SessionQuery::All(None), PAGE).await
    });
    let sessions = match sessions {
        Ok(sessions) => sessions,
        Err(error) => return load.print("start", Err(error.into())),
    };
    load.on_threads(|thread| {
        let own = sessions.iter().zip(0..);
        let own = own.filter(|(_, place)| place % load.threads() == thread);
        let own = own.map(|(session, _)| session.clone()).collect();
        Writer::new(load, thread, &store, own)?.run()
    });
    Ok(())
}
