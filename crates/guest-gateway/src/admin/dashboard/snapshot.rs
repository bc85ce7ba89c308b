//! The figures of one moment. Their cost does not grow with the number of sessions.

use genesys_api::rfc3339;
use guest_store::{LogState, StoreError, Webhook};
use serde_json::{Value, json};

use crate::api::Parts;
use crate::health::Reader;

/// The store signs a checkpoint at least each 256 entries.
const CHECKPOINT_EVERY: u64 = 256;

pub(super) async fn read(app: &Parts) -> Result<Value, StoreError> {
    let (direct, store) = (&app.direct, app.direct.store());
    let stats = store.stats().await?;
    let checkpoints = stats.audit_entries.saturating_sub(CHECKPOINT_EVERY);
    let checkpoints = store.checkpoints(checkpoints, 1_000).await?;
    let endpoint = |webhook: &Webhook| {
        let queue = stats.queues.get(&webhook.id).copied().unwrap_or_default();
        json!({
            "id": webhook.id,
            "name": webhook.name,
            "owner": webhook.owner,
            "enabled": webhook.enabled,
            "pending": queue.pending,
            "snapshots": queue.snapshots,
            "failures": webhook.failures,
            "failingSince": webhook.failing_since.map(rfc3339),
            "restUntil": webhook.rest_until.map(rfc3339),
        })
    };
    let webhooks: Vec<Value> = store.webhooks().await?.iter().map(endpoint).collect();
    let (state, verified) = match direct.audit_log().monitor().state() {
        LogState::Verifying(entries) => ("verifying", json!(entries)),
        LogState::Verified(entries) => ("verified", json!(entries)),
        LogState::Altered(detail) => ("altered", json!(detail)),
        _ => ("unknown", Value::Null),
    };
    Ok(json!({
        "at": rfc3339(app.clock.now().utc),
        "readiness": app.health.check().await.to_json(Reader::Operator, &app.audit.warnings()),
        "conversations": app.hub.activity().figures(),
        "waitingConnections": direct.waiting_connections().map(|(_, waiting)| waiting).sum::<usize>(),
        "funnel": direct.metrics(),
        "webhooks": webhooks,
        "oldestEventAt": stats.outbox_oldest.map(rfc3339),
        "audit": {
            "entries": stats.audit_entries,
            "checkpoint": checkpoints.last().map(|checkpoint| checkpoint.size),
            "state": state,
            "verified": verified,
        },
    }))
}
