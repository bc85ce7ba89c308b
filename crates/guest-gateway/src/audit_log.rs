//! Audit entries about the log itself: opened, closed, exported.

use audit::{Actor, Draft};
use guest_store::{Store, StoreError, Unit};
use time::OffsetDateTime;

/// Appends an entry about the log.
pub(crate) async fn record(
    store: &dyn Store,
    actor: Actor,
    action: &'static str,
    at: OffsetDateTime,
) -> Result<(), StoreError> {
    let unit = Unit {
        entries: vec![Draft::new(at, actor, action)],
        ..Unit::default()
    };
    store.commit(unit).await.map(drop)
}
