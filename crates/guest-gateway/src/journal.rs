//! What the gateway itself writes into the audit log: that the log was opened, closed, exported.

use audit::{Action, Actor, Draft};
use guest_store::{Store, StoreError, Unit};
use time::OffsetDateTime;

/// Writes one entry about the log.
pub(crate) async fn note(
    store: &dyn Store,
    actor: Actor,
    action: Action,
    at: OffsetDateTime,
) -> Result<(), StoreError> {
    let unit = Unit {
        entries: vec![Draft::new(at, actor, action)],
        ..Unit::default()
    };
    store.commit(unit).await.map(drop)
}
