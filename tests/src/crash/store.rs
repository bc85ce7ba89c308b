//! Load on a `SqliteStore`, and the check of its file.

mod check;
mod writer;

use std::path::Path;

use genesys_api::WebhookId;
use guest_store::{Change, Keys, Limits, SealKey, SessionQuery, SqliteStore, Store as _, Webhook};
use time::OffsetDateTime;
use tokio::runtime::Runtime;

use super::load::Refusal;
use super::{Error, Load, signer};

pub(super) use check::check;
use writer::Writer;

/// Queues of few events, so that some join snapshots.
const LIMITS: Limits = Limits {
    webhook_queue_rows: 6,
    owner_webhooks: 20,
    webhooks: 1_000,
    queue: 1_024,
};

const OWNER: &str = "owner";
const WEBHOOKS: [&str; 2] = ["crm", "archive"];
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

fn runtime() -> Result<Runtime, Error> {
    Ok(tokio::runtime::Builder::new_current_thread().build()?)
}

/// Creates the store with its webhooks.
pub(super) fn prepare(folder: &Path) -> Result<(), Error> {
    let store = open(folder).map_err(|refusal| format!("{refusal:?}"))?;
    for name in WEBHOOKS {
        let webhook = Webhook {
            id: name.parse::<WebhookId>()?,
            name: name.to_owned(),
            owner: OWNER.to_owned(),
            events: ["created", "changed", "withdrawn", "ended"]
                .map(str::to_owned)
                .to_vec(),
            enabled: true,
            failing_since: None,
            failures: 0,
            rest_until: None,
            version: 0,
            secrets: "secret".into(),
            document: "https://crm.example".into(),
        };
        runtime()?.block_on(store.commit(Change::PutWebhook(webhook).into()))?;
    }
    Ok(())
}

/// Commits units until the process is killed.
pub(super) fn load(load: &Load) -> Result<(), Error> {
    let store = match open(&load.folder) {
        Ok(store) => store,
        Err(refusal) => return load.print("open", Err(refusal)),
    };
    let sessions = runtime()?.block_on(store.sessions(SessionQuery::All(None), PAGE))?;
    load.on_threads(|thread| {
        let own = sessions.iter().zip(0..);
        let own = own.filter(|(_, place)| place % load.threads() == thread);
        let own = own.map(|(session, _)| session.clone()).collect();
        Writer::new(load, thread, &store, own)?.run()
    });
    Ok(())
}
