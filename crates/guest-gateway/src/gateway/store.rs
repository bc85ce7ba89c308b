//! The store that the configuration names, and its ownership by one gateway.

use std::sync::Arc;
use std::time::Duration;

use genesys_api::error_chain;
use guest_store::{Limits, PostgresStore, SqliteStore, Store, StoreError, StoreErrorKind};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::{StartError, open_keys};
use crate::config::{Config, Place};
use crate::keys::Keys;

/// Opens the store. The call blocks.
///
/// # Errors
/// See [`SqliteStore::open`] and [`PostgresStore::open`].
pub(crate) fn open(
    place: &Place,
    keys: guest_store::Keys,
    limits: Limits,
) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match place {
        Place::File(path) => Arc::new(SqliteStore::open(path, keys, limits)?),
        Place::Postgres(connection, trust) => Arc::new(PostgresStore::open(connection, trust, keys, limits)?),
    })
}

/// Opens the store of a gateway. While another gateway has one in PostgreSQL, or its server cannot be reached, this one
/// stands by.
pub(super) async fn open_or_stand_by(config: &Config) -> Result<(Keys, Arc<dyn Store>), StartError> {
    let place = config.place();
    let place = place.map_err(StartError::to("read the address of the store"))?;
    let keys = open_keys(config)?;
    let mut logged = None;
    loop {
        let (place, store_keys, limits) = (place.clone(), keys.for_store(), config.limits());
        let error = match spawn_blocking(move || open(&place, store_keys, limits)).await {
            Ok(Ok(store)) => return Ok((keys, store)),
            Ok(Err(error)) => error,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        let kind = error.kind();
        let passes = matches!(kind, StoreErrorKind::Locked | StoreErrorKind::Unavailable);
        if config.store.file().is_some() || !passes {
            let action = format!("start with the store {}", config.store.name());
            return Err(StartError::to(action)(error));
        }
        if logged != Some(kind) {
            let reason = match kind {
                StoreErrorKind::Locked => "another gateway has it".to_owned(),
                _ => error_chain(&error),
            };
            tracing::warn!(%reason, "this gateway stands by, and serves nothing until it has the store");
            logged = Some(kind);
        }
        sleep(PAUSE).await;
    }
}

/// Resolves when this gateway no longer has its store in PostgreSQL: another one took it, or the server did not confirm
/// within [`CONFIRMATION`] that this one has it.
pub(super) async fn lost(store: &dyn Store) {
    let confirmation = async || {
        loop {
            sleep(HEARTBEAT).await;
            // by the thread that writes, whose connection has the lock
            match store.stats().await {
                Ok(_) => return true,
                Err(error) if error.kind() == StoreErrorKind::Locked => return false,
                Err(_) => {}
            }
        }
    };
    while timeout(CONFIRMATION, confirmation()).await == Ok(true) {}
}

/// A second less than the lease of the server, which began to measure it before its answer arrived. Our choice.
const CONFIRMATION: Duration = Duration::from_secs(PostgresStore::LEASE.as_secs() - 1);
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Wait before the next attempt to open the store, which itself waits for the lock. Our choice.
const PAUSE: Duration = Duration::from_millis(200);
