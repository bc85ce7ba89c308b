#![doc = include_str!("../README.md")]

#[cfg(test)]
mod conformance;
mod error;
mod export;
#[cfg(feature = "sqlite")]
mod journal;
mod outbox;
#[cfg(feature = "sqlite")]
mod seal;
mod secrets;
mod session;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;
mod webhook;

pub use error::{Conflict, StoreError, StoreErrorKind};
pub use export::{ExportError, Exported, export};
pub use outbox::{Event, Leased, Settled, Settlement};
#[cfg(feature = "sqlite")]
pub use seal::SealKey;
pub use secrets::SessionSecrets;
pub use session::{Session, TokenHash};
#[cfg(feature = "sqlite")]
pub use sqlite::{Keys, SqliteStore};
pub use store::{
    Answer, Change, Committed, Limits, SessionQuery, Stats, Store, StoredCheckpoint, StoredEntry, Unit,
};
pub use webhook::Webhook;
