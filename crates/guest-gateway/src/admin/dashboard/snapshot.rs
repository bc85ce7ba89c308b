//! The figures of one moment. Their cost does not grow with the number of sessions or of pages that watch. The reads of the
//! store do not grow with the number of webhooks.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use genesys_api::{WebhookId, error_chain, rfc3339};
use guest_store::{
    CheckpointQuery, Delivery, DeliveryQuery, DeliverySelect, DeliveryState, LogState, Store, StoreError,
    Webhook,
};
use guest_suite::direct::ConsentMix;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::api::Parts;
use crate::health::Reader;
use crate::spa::frame_event;

/// Time for which all pages get the same snapshot.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);
/// Webhooks whose deliveries one snapshot reads, in turns. Our choice: of 1,000 the figures are 16 s old at most.
const READ_WEBHOOKS: usize = 64;

/// The store signs a checkpoint at least each 256 entries.
const CHECKPOINT_EVERY: u64 = 256;

/// The snapshots for all pages.
#[derive(Debug, Default)]
pub(crate) struct Snapshots(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<(Instant, Bytes)>,
    deliveries: Deliveries,
}

impl Snapshots {
    /// Returns the event with the snapshot of this moment, which is less than a second old.
    pub(super) async fn event(&self, app: &Parts) -> Bytes {
        let mut state = self.0.lock().await;
        let now = app.clock.now().instant;
        if let Some((at, event)) = &state.last
            && now.saturating_duration_since(*at) < INTERVAL
        {
            return event.clone();
        }
        let snapshot = match read(app, &mut state.deliveries).await {
            Ok(snapshot) => snapshot,
            Err(error) => json!({ "problem": error_chain(&error) }),
        };
        let event = frame_event(&snapshot.to_string());
        state.last = Some((now, event.clone()));
        event
    }
}

/// The figures of the log of deliveries for each webhook, as they were read last.
#[derive(Debug, Default)]
struct Deliveries {
    of: HashMap<WebhookId, DeliveryFigures>,
    /// Position of the webhook that is read next.
    next: usize,
}

#[derive(Clone, Debug)]
struct DeliveryFigures {
    has_dead: bool,
    /// The last attempt, in words, while the webhook fails.
    last_error: Option<String>,
}

impl Deliveries {
    /// Reads those of the next webhooks.
    async fn refresh(&mut self, store: &dyn Store, webhooks: &[Webhook]) -> Result<(), StoreError> {
        let known = std::mem::take(&mut self.of);
        let kept = webhooks
            .iter()
            .filter_map(|webhook| Some((webhook.id.clone(), known.get(&webhook.id)?.clone())));
        self.of = kept.collect();
        let first = self.next.checked_rem(webhooks.len()).unwrap_or(0);
        let in_turn = webhooks.iter().cycle().skip(first);
        for webhook in in_turn.take(webhooks.len().min(READ_WEBHOOKS)) {
            let dead = DeliverySelect::State(DeliveryState::Dead, None);
            let figures = DeliveryFigures {
                has_dead: self::first(store, webhook, dead).await?.is_some(),
                last_error: last_error(store, webhook).await?,
            };
            self.of.insert(webhook.id.clone(), figures);
        }
        self.next = first + READ_WEBHOOKS;
        Ok(())
    }
}

async fn read(app: &Parts, deliveries: &mut Deliveries) -> Result<Value, StoreError> {
    let (direct, store) = (&app.direct, &**app.direct.store());
    let stats = store.stats().await?;
    let checkpoints = stats.audit_entries.saturating_sub(CHECKPOINT_EVERY);
    let checkpoints = store
        .checkpoints(CheckpointQuery::From(checkpoints), 1_000)
        .await?;
    let mut webhooks = Vec::new();
    let stored = store.webhooks().await?;
    deliveries.refresh(store, &stored).await?;
    for webhook in &stored {
        let queue = stats.queues.get(&webhook.id).copied().unwrap_or_default();
        // there are none until its turn
        let figures = deliveries.of.get(&webhook.id);
        let last_error = figures.and_then(|figures| figures.last_error.as_deref());
        webhooks.push(json!({
            "id": webhook.id,
            "name": webhook.name,
            "owner": webhook.owner,
            "enabled": webhook.enabled,
            "oldestAt": queue.oldest.map(rfc3339),
            "pending": queue.pending,
            "snapshots": queue.snapshots,
            "hasDead": figures.map(|figures| figures.has_dead),
            "failures": webhook.failures,
            "failingSince": webhook.failing_since.map(rfc3339),
            "lastError": last_error.filter(|_| webhook.failing_since.is_some()),
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

#[cfg(test)]
mod tests {
    use genesys_api::entropy;
    use guest_store::{Keys, Limits, SqliteStore};

    use super::*;

    fn webhook(number: usize) -> Webhook {
        Webhook {
            id: entropy::uuid().to_string().parse().unwrap(),
            name: format!("w-{number}"),
            owner: "shop".to_owned(),
            events: Vec::new(),
            enabled: true,
            ordered: false,
            failing_since: None,
            failures: 0,
            rest_until: None,
            version: 0,
            secrets: "secret".into(),
            document: "{}".into(),
        }
    }

    #[tokio::test]
    async fn snapshot_reads_the_deliveries_of_at_most_64_webhooks_in_turns() {
        let store = SqliteStore::open(":memory:", Keys::ephemeral(), Limits::default()).unwrap();
        let mut webhooks: Vec<_> = (0..150).map(webhook).collect();
        let mut deliveries = Deliveries::default();
        for known in [64, 128, 150, 150] {
            deliveries.refresh(&store, &webhooks).await.unwrap();
            assert_eq!(deliveries.of.len(), known);
        }
        webhooks.truncate(10);
        deliveries.refresh(&store, &webhooks).await.unwrap();
        assert_eq!(deliveries.of.len(), 10, "removed ones are forgotten");
        deliveries.refresh(&store, &[]).await.unwrap();
        assert!(deliveries.of.is_empty());
    }
}
