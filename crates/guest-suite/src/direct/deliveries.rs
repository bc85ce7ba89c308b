//! The deliveries that are due: each attempt, and what follows from its outcome.

use std::time::Duration;

use audit::{Actor, Draft, Outcome};
use bytes::Bytes;
use genesys_api::{entropy, error_chain};
use guest_sessions::{ErrorCode, SubscriptionBody, erased_event};
use guest_store::{
    Change, DeliveryAttempt, Leased, Leases, Pace, Payload, Settled, Settlement, StoreErrorKind, Unit,
    Webhook as WebhookRow,
};
use secrecy::ExposeSecret as _;
use tracing::Instrument as _;
use tracing::field::Empty;
use webhook::{
    Attempt, Dispatcher, EndpointHealth, EventName, Failure, Load, MessageId, NextStep, Subscription,
};

use super::Direct;
use super::redact::redact;
use super::session_row::SessionRow;
use super::signing_keys::SigningKeys;
use super::update::Mutation;
use crate::Error;

/// Time until another worker may lease a delivery. It is longer than any attempt.
const LEASE: Duration = Duration::from_secs(60);
/// Time until a delivery with an invalid id, or a snapshot of an unreadable session, is tried again. Our choice.
const UNREADABLE_PAUSE: Duration = Duration::from_secs(86_400);
/// The wait of the schedule that is repeated for a snapshot or an `erased` event until it is delivered: by default five
/// minutes. Our choice: a receiver that works again soon has what it missed.
const LAST_SNAPSHOT_STEP: u32 = 2;

impl Direct {
    /// Leases up to `limit` deliveries that are due. Make each with [`Direct::deliver`] within a minute, or another
    /// worker may lease it.
    ///
    /// # Errors
    /// The store's.
    pub async fn lease_due(&self, limit: usize) -> Result<Leases, Error> {
        let now = self.clock().now().utc;
        Ok(self.store().lease_deliveries(now, LEASE, limit).await?)
    }

    /// Makes one attempt of a delivery and stores its outcome. A failed delivery is due again later.
    ///
    /// # Errors
    /// The store's.
    pub async fn deliver(&self, dispatcher: &Dispatcher, leased: Leased) -> Result<(), Error> {
        let webhook = &leased.webhook;
        let failure = |action| {
            self.webhook_draft(Actor::system("guest-suite"), action, &webhook.id)
                .outcome(Outcome::Error)
                .detail("delivery", leased.id.as_str())
        };
        let (subscription, keys) = match parse(webhook) {
            Ok(parsed) => parsed,
            Err(error) => {
                tracing::error!(webhook = %webhook.id, error, "webhook disabled, as it cannot be read: remove it and register it again");
                let settlement = Settlement {
                    disable_webhook: true,
                    ..leased.settlement(Settled::NotSent(leased.at), self.clock().now().utc)
                };
                let entry = failure("webhook.disabled").detail("reason", "unreadable");
                return self.settle(settlement, vec![entry], None).await;
            }
        };
        let (id, body, mut disclosure) = match self.message(&leased, &subscription).await? {
            Message::Ready(id, body, disclosure) => (id, body, disclosure),
            Message::Unreadable => {
                let now = self.clock().now().utc;
                let postponed = leased.settlement(Settled::NotSent(now + UNREADABLE_PAUSE), now);
                return self.settle(postponed, Vec::new(), None).await;
            }
            Message::Unwanted => {
                let unwanted = leased.settlement(Settled::Unwanted, self.clock().now().utc);
                return self.settle(unwanted, Vec::new(), None).await;
            }
        };
        let span = tracing::info_span!(
            target: "otlp",
            "delivery",
            otel.kind = "client",
            otel.status_code = Empty,
            attempt = leased.attempt,
            http.response.status_code = Empty,
            session = disclosure.subject.as_ref().map(display),
        );
        let attempt = self.attempt(dispatcher, &subscription, &keys, &id, body);
        let (outcome, made) = attempt.instrument(span.clone()).await;
        span.record("http.response.status_code", outcome.status());
        if outcome.failure().is_some() {
            span.record("otel.status_code", "ERROR");
        }
        drop(span);
        disclosure.at = made.at;
        let schedule = dispatcher.schedule();
        let attempt = match leased.payload {
            Payload::Event { .. } => leased.attempt,
            _ if schedule.retries().len() == 1 => 1,
            _ => leased.attempt.min(LAST_SNAPSHOT_STEP),
        };
        let mut health = EndpointHealth {
            failing_since: webhook.failing_since,
            failures: webhook.failures,
        };
        let next_step = health.handle_outcome(schedule, attempt, &outcome, disclosure.at, entropy::number());
        let mut settlement = leased.settlement(Settled::Dead, disclosure.at);
        settlement.pace = match outcome.load(made.latency) {
            Load::Low => Pace::Faster,
            Load::High => Pace::Slower,
            Load::Hanging => Pace::Stopped,
            _ => Pace::Same,
        };
        settlement.attempt = Some(made);
        let mut entries = Vec::new();
        match next_step {
            NextStep::Delivered => settlement.settled = Settled::Delivered,
            NextStep::RetryAt { at, pause_until } => {
                let hint = match outcome {
                    webhook::Outcome::Failed(Failure::Blocked) => {
                        ": the host has no public address, allow its network (`allow_networks` of a gateway) or replace the webhook"
                    }
                    _ => "",
                };
                let (status, error) = (outcome.status(), outcome.failure());
                tracing::warn!(webhook = %webhook.id, attempt = leased.attempt, status, error, "delivery failed, it is retried{hint}");
                (settlement.settled, settlement.rest_until) = (Settled::RetryAt(at), pause_until);
            }
            NextStep::DisableEndpoint(reason) => {
                let reason = reason.as_str();
                tracing::error!(webhook = %webhook.id, reason, "webhook disabled: repair its endpoint, then resume it");
                settlement.disable_webhook = true;
                // it waits with the others
                settlement.settled = Settled::RetryAt(disclosure.at);
                entries.push(failure("webhook.disabled").detail("reason", reason));
            }
            _ => entries.push(failure("webhook.dead")),
        }
        if next_step != NextStep::Delivered {
            disclosure.action = "webhook.attempted".into();
            disclosure = disclosure.outcome(Outcome::Error);
        }
        let disclosure = outcome.may_have_arrived().then_some(disclosure);
        self.settle(settlement, entries, disclosure).await
    }

    /// Sends a body once, signed with all secrets that are in force.
    pub(super) async fn attempt(
        &self,
        dispatcher: &Dispatcher,
        subscription: &Subscription,
        keys: &SigningKeys,
        id: &MessageId,
        body: Bytes,
    ) -> (webhook::Outcome, DeliveryAttempt) {
        let sent = self.clock().now();
        let (outcome, response) = dispatcher
            .deliver_and_read(&Attempt {
                id,
                target: &subscription.target,
                headers: &subscription.headers,
                secret: &keys.current,
                old_secrets: &keys.old_at(sent.utc),
                body: body.clone(),
            })
            .await;
        let ended = self.clock().now();
        let headers = subscription.headers.iter();
        let attempt = DeliveryAttempt {
            at: ended.utc,
            latency: ended.instant.saturating_duration_since(sent.instant),
            status: outcome.status(),
            error: outcome.failure().map(str::to_owned),
            response: redact(&response, &body, headers.map(|(_, value)| value)).into(),
        };
        (outcome, attempt)
    }

    /// Stores the outcome of a delivery, its entries, and that of its disclosure if it was sent.
    async fn settle(
        &self,
        settlement: Settlement,
        mut entries: Vec<Draft>,
        disclosure: Option<Draft>,
    ) -> Result<(), Error> {
        entries.extend(disclosure.clone());
        let unit = Unit {
            entries,
            ..Change::Settle(settlement).into()
        };
        match self.store().commit(unit).await {
            // the holder of the present lease settles it, or the webhook or the session was removed: the data was sent
            // nevertheless
            Err(error) if error.kind() == StoreErrorKind::Fenced => match disclosure {
                Some(entry) => self.commit(entry.into()).await.map(drop),
                None => Ok(()),
            },
            other => Ok(other.map(drop)?),
        }
    }

    /// Returns the content to send now, of the session as it is with the consent that is in force.
    async fn message(&self, leased: &Leased, subscription: &Subscription) -> Result<Message, Error> {
        let Ok(id) = leased.id.parse::<MessageId>() else {
            tracing::error!(webhook = %leased.webhook.id, delivery = leased.id, "a delivery has an invalid id, so it is not sent: restore the store from a backup");
            return Ok(Message::Unreadable);
        };
        let session = match &leased.payload {
            Payload::Erased { session, range } => {
                // its subject key is destroyed
                let system = Actor::system("guest-suite");
                let entry = self.webhook_draft(system, "webhook.delivered", &leased.webhook.id);
                let entry = entry.detail("event", EventName::Erased.as_str());
                return Ok(Message::Ready(id, erased_event(session, range, leased.at), entry));
            }
            Payload::Event { session, .. } | Payload::Snapshot { session, .. } => session,
        };
        let wanted = async {
            let record = self.load_any(session).await?;
            if !self.is_known(&record.row) {
                return Ok(None);
            }
            let record = self.reevaluated(record).await?;
            self.wanted(record, &leased.webhook, subscription).await
        };
        match wanted.await {
            Ok(Some(record)) => Ok(
                match record.delivery_body(leased, subscription, self.clock().now()) {
                    Some((body, entry)) => Message::Ready(id, body, entry),
                    None => Message::Unreadable,
                },
            ),
            Ok(None) => Ok(Message::Unwanted),
            // it was erased after the lease
            Err(Error::Refused(ErrorCode::NotFound)) => Ok(Message::Unreadable),
            Err(Error::Store(error)) if error.kind() == StoreErrorKind::Corrupt => {
                self.audit_log().monitor().verify_now();
                tracing::error!(%session, webhook = %leased.webhook.id, "a session cannot be read, so its delivery is not sent: restore it from a backup");
                Ok(Message::Unreadable)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the session if it meets the conditions of a webhook. One that met them once is followed to its end: otherwise
    /// the withdrawal of an attribute would hide itself from the receiver.
    async fn wanted(
        &self,
        record: SessionRow,
        webhook: &WebhookRow,
        subscription: &Subscription,
    ) -> Result<Option<SessionRow>, Error> {
        let conditions = &subscription.conditions;
        let receiver = record.receiver(&webhook.id, subscription);
        if record.document.followers.contains(&receiver) {
            return Ok(Some(record));
        }
        if !record.meets(conditions) {
            return Ok(None);
        }
        if conditions.attributes.is_empty() {
            return Ok(Some(record));
        }
        let mut receivers = Vec::new();
        for row in self.rows(&record.row.owner).await? {
            // one that cannot be read is sent nothing
            if let Ok(stored) = SubscriptionBody::parse(&row.document) {
                receivers.push(record.receiver(&row.id, &stored));
            }
        }
        self.update_record(record, |record, _| {
            if !record.meets(conditions) {
                return Ok((Mutation::default(), None));
            }
            let mut followed = record.clone();
            let followers = &mut followed.document.followers;
            // those of before a change or a removal, of which there can be any number
            followers.retain(|follower| receivers.contains(follower));
            followers.insert(receiver.clone());
            Ok((followed.store().into(), Some(followed)))
        })
        .await
    }
}

/// The content to send for a delivery.
enum Message {
    /// The id and the body, with the audit entry of its disclosure.
    Ready(MessageId, Bytes, Draft),
    /// Nothing, as a part of it cannot be read.
    Unreadable,
    /// Nothing, as the session does not meet the conditions of the webhook, or is unknown to its owner.
    Unwanted,
}

/// The subscription and the secrets of a delivery.
///
/// # Errors
/// The cause as text, without a value.
pub(super) fn parse(row: &WebhookRow) -> Result<(Subscription, SigningKeys), String> {
    let subscription = SubscriptionBody::parse(&row.document).map_err(|error| error_chain(&error))?;
    Ok((subscription, SigningKeys::parse(row.secrets.expose_secret())?))
}
