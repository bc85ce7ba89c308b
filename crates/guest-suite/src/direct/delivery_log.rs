//! The deliveries to webhooks as their owner sees them: state, attempts, replay, test.

use audit::Outcome;
use bytes::Bytes;
use genesys_api::{WebhookId, entropy};
use guest_sessions::{
    AttemptInfo, DeliveryInfo, DeliveryPage, DeliveryPageQuery, DeliveryState, ErrorCode, PreviewBody,
    Replayed, Webhook, WebhookPreview, WebhookState, WebhookStatus,
};
use guest_store::{
    Change, Delivery, DeliveryAttempt, DeliveryKind, DeliveryQuery, DeliverySelect, QueueStats, Replay,
    StoreErrorKind, Webhook as WebhookRow,
};
use serde_json::json;
use webhook::{Dispatcher, EventBody, EventName, MessageId};

use super::Direct;
use super::deliveries::parse;
use super::party::WebhookParty;
use super::session_row::SessionRow;
use super::update::Mutation;
use crate::Error;

impl Direct {
    /// Returns a page of the deliveries of a webhook, without the responses.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], or the store's.
    pub async fn deliveries(
        &self,
        party: impl Into<WebhookParty<'_>>,
        id: &WebhookId,
        query: DeliveryPageQuery,
    ) -> Result<DeliveryPage, Error> {
        self.stored_webhook(party.into(), id).await?;
        let state = match query.state {
            DeliveryState::Delivered => guest_store::DeliveryState::Delivered,
            DeliveryState::Dead => guest_store::DeliveryState::Dead,
            _ => guest_store::DeliveryState::Waiting,
        };
        let select = DeliverySelect::State(state, query.after);
        let found = self.select(id, select, DeliveryPageQuery::LIMIT).await?;
        let is_full = found.len() == DeliveryPageQuery::LIMIT;
        let last = found.last().filter(|_| is_full);
        Ok(DeliveryPage {
            next: last.map(|last| DeliveryPageQuery::place(last.place)),
            deliveries: found.into_iter().map(|delivery| info(delivery, false)).collect(),
        })
    }

    /// Returns a delivery with its attempts.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], or the store's.
    pub async fn delivery(
        &self,
        party: impl Into<WebhookParty<'_>>,
        id: &WebhookId,
        delivery: &str,
    ) -> Result<DeliveryInfo, Error> {
        self.stored_webhook(party.into(), id).await?;
        let found = self
            .select(id, DeliverySelect::Id(delivery.to_owned()), 1)
            .await?;
        let found = found.into_iter().next().ok_or(ErrorCode::NotFound)?;
        Ok(info(found, true))
    }

    /// Sends a delivered or dead delivery again, with the same id. A snapshot gets another one.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], [`ErrorCode::WebhookReplayRefused`] if it waits, is an erasure, or the queue is full, or the
    /// store's.
    pub async fn replay_delivery(
        &self,
        party: impl Into<WebhookParty<'_>>,
        id: &WebhookId,
        delivery: &str,
    ) -> Result<Replayed, Error> {
        let party = party.into();
        self.delivery(party, id, delivery).await?;
        let replay = Replay::Id(delivery.to_owned());
        let replayed = self.replay(party, id, replay).await?;
        match replayed.replayed {
            0 => Err(ErrorCode::WebhookReplayRefused.into()),
            _ => Ok(replayed),
        }
    }

    /// Sends the dead deliveries of a webhook again whose events occurred at `since` or later, as far as its queue has room.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], or the store's.
    pub async fn replay_deliveries(
        &self,
        party: impl Into<WebhookParty<'_>>,
        id: &WebhookId,
        since: Option<time::OffsetDateTime>,
    ) -> Result<Replayed, Error> {
        let party = party.into();
        self.stored_webhook(party, id).await?;
        self.replay(party, id, Replay::Dead(since)).await
    }

    async fn replay(
        &self,
        party: WebhookParty<'_>,
        id: &WebhookId,
        replay: Replay,
    ) -> Result<Replayed, Error> {
        let mut entry = self.webhook_draft(party.actor(), "webhook.replayed", id);
        match &replay {
            Replay::Id(delivery) => entry = entry.detail("delivery", delivery.as_str()),
            Replay::Dead(Some(since)) => entry = entry.detail("since", genesys_api::rfc3339(*since)),
            Replay::Dead(None) => {}
        }
        let webhook = id.clone();
        let committed = self
            .commit_and_count(Mutation {
                entries: vec![entry],
                ..Change::ReplayDeliveries { webhook, replay }.into()
            })
            .await?;
        let committed = committed.ok_or(StoreErrorKind::Unavailable)?;
        Ok(Replayed {
            replayed: committed.deliveries,
            remaining: committed.overflowed,
        })
    }

    /// Sends a `test` event to a webhook, once and at once, also if it is disabled. Its health does not change.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], or the store's.
    pub async fn test_webhook(
        &self,
        dispatcher: &Dispatcher,
        party: impl Into<WebhookParty<'_>>,
        id: &WebhookId,
    ) -> Result<AttemptInfo, Error> {
        let party = party.into();
        let known = self.stored_webhook(party, id).await?;
        let (subscription, keys) = parse(&known).map_err(|_| StoreErrorKind::Corrupt)?;
        let body = test_event(id, self.clock().now().utc);
        let message = MessageId::generate(entropy::bytes());
        let (outcome, attempt) = self
            .attempt(dispatcher, &subscription, &keys, &message, body)
            .await;
        let is_success = outcome
            .status()
            .is_some_and(|status| (200..300).contains(&status));
        let entry = self.webhook_draft(party.actor(), "webhook.tested", id);
        let outcome = if is_success { Outcome::Ok } else { Outcome::Error };
        self.commit(entry.outcome(outcome).into()).await?;
        Ok(attempt_info(attempt, true))
    }

    /// Shows what a webhook would be sent of a session of its owner now, or of the latest one of a guest. Nothing is sent, and
    /// the view is audited.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], or the store's.
    pub async fn preview_webhook(
        &self,
        owner: &str,
        id: &WebhookId,
        of: &PreviewBody,
    ) -> Result<WebhookPreview, Error> {
        let known = self.stored_webhook(owner.into(), id).await?;
        let (subscription, _) = parse(&known).map_err(|_| StoreErrorKind::Corrupt)?;
        let record = match of {
            PreviewBody::Session(session) => self.load(owner, session).await?,
            PreviewBody::Guest(guest) => {
                let rows = self.rows_of_guest(guest, Some(owner)).await?;
                let known = rows.into_iter().filter(|row| self.is_known(row));
                let latest = known.max_by_key(|row| row.created_at);
                SessionRow::load(latest.ok_or(ErrorCode::NotFound)?)?
            }
        };
        let record = self.reevaluated(record).await?;
        let is_follower = record
            .document
            .followers
            .contains(&record.receiver(id, &subscription));
        let is_wanted = is_follower || record.meets(&subscription.conditions);
        let mut preview = WebhookPreview {
            is_wanted,
            body: None,
        };
        if is_wanted {
            let (body, entry) = record.preview(&known, &subscription, self.clock().now());
            self.commit(entry.into()).await?;
            preview.body = serde_json::from_slice(&body).ok();
        }
        Ok(preview)
    }

    /// Adds the state, the queue and the last attempts of a webhook.
    pub(super) async fn with_status(
        &self,
        webhook: Webhook,
        row: &WebhookRow,
        is_wanted: bool,
        queue: QueueStats,
    ) -> Result<Webhook, Error> {
        let latest = self.select(&row.id, DeliverySelect::Latest, 1).await?;
        let delivered = DeliverySelect::State(guest_store::DeliveryState::Delivered, None);
        let success = self.select(&row.id, delivered, 1).await?;
        let last = |found: Vec<Delivery>| found.into_iter().next()?.attempts.pop();
        let lag = queue.oldest.map(|oldest| self.clock().now().utc - oldest);
        let status = WebhookStatus {
            state: match (row.enabled, is_wanted) {
                (true, _) if row.failing_since.is_some() => WebhookState::Failing,
                (true, _) => WebhookState::Active,
                (false, true) => WebhookState::Disabled,
                (false, false) => WebhookState::Paused,
            },
            waiting: queue.pending,
            snapshots: queue.snapshots,
            lag_seconds: lag.map_or(0, |lag| lag.whole_seconds().max(0).unsigned_abs()),
            failures: row.failures,
            failing_since: row.failing_since,
            resting_until: row.rest_until.filter(|until| *until > self.clock().now().utc),
            last_attempt: last(latest).map(|attempt| attempt_info(attempt, false)),
            last_success_at: last(success).map(|attempt| attempt.at),
        };
        Ok(Webhook {
            status: Some(status),
            ..webhook
        })
    }

    async fn select(
        &self,
        webhook: &WebhookId,
        select: DeliverySelect,
        limit: usize,
    ) -> Result<Vec<Delivery>, Error> {
        let webhook = webhook.clone();
        Ok(self
            .store()
            .deliveries(DeliveryQuery { webhook, select }, limit)
            .await?)
    }
}

fn test_event(id: &WebhookId, at: time::OffsetDateTime) -> Bytes {
    let body = EventBody {
        event: EventName::Test,
        timestamp: at,
        data: &json!({ "webhookId": id }),
    };
    body.to_bytes()
}

fn info(delivery: Delivery, with_response: bool) -> DeliveryInfo {
    DeliveryInfo {
        id: delivery.id,
        state: match delivery.state {
            guest_store::DeliveryState::Waiting => DeliveryState::Waiting,
            guest_store::DeliveryState::Delivered => DeliveryState::Delivered,
            guest_store::DeliveryState::Dead => DeliveryState::Dead,
        },
        event: match delivery.kind {
            DeliveryKind::Event(name) => name,
            DeliveryKind::Snapshot => EventName::Snapshot.as_str().to_owned(),
            DeliveryKind::Erasure => EventName::Erased.as_str().to_owned(),
        },
        session_id: delivery.session,
        first: *delivery.range.start(),
        last: *delivery.range.end(),
        timestamp: delivery.at,
        next_attempt_at: delivery.due_at,
        waits_for: delivery.waits_for,
        attempts: delivery
            .attempts
            .into_iter()
            .map(|attempt| attempt_info(attempt, with_response))
            .collect(),
    }
}

fn attempt_info(attempt: DeliveryAttempt, with_response: bool) -> AttemptInfo {
    let response = String::from_utf8_lossy(&attempt.response).into_owned();
    AttemptInfo {
        at: attempt.at,
        milliseconds: u64::try_from(attempt.latency.as_millis()).unwrap_or(u64::MAX),
        status: attempt.status,
        error: attempt.error,
        response: Some(response).filter(|response| with_response && !response.is_empty()),
    }
}
