//! The figures of one moment. Their cost does not grow with the number of sessions.

use genesys_api::rfc3339;
use guest_store::{
    CheckpointQuery, Delivery, DeliveryQuery, DeliverySelect, DeliveryState, LogState, Store, StoreError,
    Webhook,
};
use guest_suite::direct::ConsentMix;
use serde_json::{Value, json};

use crate::api::Parts;
use crate::health::Reader;

/// The store signs a checkpoint at least each 256 entries.
const CHECKPOINT_EVERY: u64 = 256;

pub(super) async fn read(app: &Parts) -> Result<Value, StoreError> {
    let (direct, store) = (&app.direct, &**app.direct.store());
    let stats = store.stats().await?;
    let checkpoints = stats.audit_entries.saturating_sub(CHECKPOINT_EVERY);
    let checkpoints = store
        .checkpoints(CheckpointQuery::From(checkpoints), 1_000)
        .await?;
    let mut webhooks = Vec::new();
    for webhook in &store.webhooks().await? {
        let queue = stats.queues.get(&webhook.id).copied().unwrap_or_default();
        let dead = DeliverySelect::State(DeliveryState::Dead, None);
        webhooks.push(json!({
            "id": webhook.id,
            "name": webhook.name,
            "owner": webhook.owner,
            "enabled": webhook.enabled,
            "oldestAt": queue.oldest.map(rfc3339),
            "pending": queue.pending,
            "snapshots": queue.snapshots,
            "hasDead": first(store, webhook, dead).await?.is_some(),
            "failures": webhook.failures,
            "failingSince": webhook.failing_since.map(rfc3339),
            "lastError": last_error(store, webhook).await?,
            "restUntil": webhook.rest_until.map(rfc3339),
        }));
    }
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
        "waitingConnections": direct.waiting_connections().map(|(.., waiting)| waiting).sum::<usize>(),
        "funnel": direct.metrics(),
        "consent": ConsentMix::of_totals(&stats.totals),
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

/// The last attempt to a webhook that fails, in words.
async fn last_error(store: &dyn Store, webhook: &Webhook) -> Result<Option<String>, StoreError> {
    if webhook.failing_since.is_none() {
        return Ok(None);
    }
    let latest = first(store, webhook, DeliverySelect::Latest).await?;
    let attempt = latest.and_then(|latest| latest.attempts.into_iter().last());
    Ok(attempt.map(|attempt| match (attempt.status, attempt.error) {
        (Some(status), _) => format!("status {status}"),
        (None, error) => error.unwrap_or_default(),
    }))
}

async fn first(
    store: &dyn Store,
    webhook: &Webhook,
    select: DeliverySelect,
) -> Result<Option<Delivery>, StoreError> {
    let webhook = webhook.id.clone();
    let found = store.deliveries(DeliveryQuery { webhook, select }, 1).await?;
    Ok(found.into_iter().next())
}
