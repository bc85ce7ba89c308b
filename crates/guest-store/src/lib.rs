#![doc = include_str!("../README.md")]

#[cfg(feature = "sqlite")]
mod audit_log;
#[cfg(test)]
mod conformance;
mod delivery;
mod error;
mod export;
mod keyed_request;
#[cfg(feature = "sqlite")]
mod keys;
mod log;
mod log_monitor;
mod log_tree;
mod opaque;
mod outbox;
mod pages;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod seal;
mod secrets;
mod session;
mod shared_token;
#[cfg(feature = "sqlite")]
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;
mod stats;
mod store;
#[cfg(feature = "token-source")]
mod token_source;
mod trail;
mod webhook;

pub use delivery::{
    Delivery, DeliveryAttempt, DeliveryKind, DeliveryQuery, DeliverySelect, DeliveryState, Replay,
};
pub use error::{Conflict, StoreError, StoreErrorKind};
pub use export::{ExportError, LogLines, LogPage, VerifyError, export, verify};
pub use keyed_request::{KeyedRequest, Resource, StoredRequest};
#[cfg(feature = "sqlite")]
pub use keys::Keys;
pub use log::AuditLog;
pub use log_monitor::{LogMonitor, LogState};
pub use log_tree::{LogTree, ProveError};
pub use opaque::Opaque;
pub use outbox::{Event, Leased, Leases, Pace, Payload, Settled, Settlement};
pub use pages::SessionPages;
#[cfg(feature = "postgres")]
pub use postgres::PostgresStore;
#[cfg(feature = "sqlite")]
pub use seal::SealKey;
pub use secrets::SessionSecrets;
pub use session::{Session, TokenHash};
pub use shared_token::SharedToken;
#[cfg(feature = "sqlite")]
pub use sqlite::{Rekey, SqliteStore};
pub use stats::{QueueStats, Stats};
pub use store::{
    Change, CheckpointQuery, Committed, EntryQuery, Limits, SessionQuery, Store, StoreFuture,
    StoredCheckpoint, StoredEntry, Unit,
};
#[cfg(feature = "token-source")]
pub use token_source::SharedTokenSource;
pub use trail::{Trail, trail};
pub use webhook::Webhook;
