//! Webhook subscriptions, and the deliveries that are due.

use std::time::Duration;

use audit::{Actor, Draft, Outcome};
use bytes::Bytes;
use genesys_api::{WebhookId, entropy, error_chain};
use guest_sessions::{ErrorCode, SubscriptionBody, Webhook, erased_event};
use guest_store::{
    Change, KeyedRequest, Leased, Leases, Pace, Payload, Resource, Settled, Settlement, StoreErrorKind,
    Webhook as WebhookRow,
};
use secrecy::{ExposeSecret as _, SecretString};
use webhook::{
    Attempt, Dispatcher, EndpointHealth, EventName, Failure, Load, MessageId, NextStep, Secret, Subscription,
};

use super::Direct;
use super::update::{Mutation, is_conflict};
use crate::Error;

/// Time until another worker may lease a delivery. It is longer than any attempt.
const LEASE: Duration = Duration::from_secs(60);
/// Time until a delivery with an invalid id, or a snapshot of an unreadable session, is tried again. Our choice.
const UNREADABLE_PAUSE: Duration = Duration::from_secs(86_400);
/// The step of the schedule that is repeated for a snapshot or an `erased` event until it is delivered: five minutes. Our
/// choice: a receiver that works again soon has what it missed.
const LAST_SNAPSHOT_STEP: u32 = 2;

impl Direct {
    /// Registers a webhook. If the same webhook exists, returns that without its secret. A repeated `request` with a key
    /// brings the secret again, unless the webhook was changed.
    ///
    /// # Errors
    /// [`ErrorCode::WebhookNameInUse`] if the name is used with other content, the other codes of the contract, or the
    /// store's.
    pub async fn ensure_webhook(
        &self,
        owner: &str,
        wanted: Subscription,
        request: Option<KeyedRequest>,
    ) -> Result<Webhook, Error> {
        // before the request, which is stored with its webhook: one that is found here is of another request
        let existing = self.find_webhook(owner, &wanted).await;
        match self.created_before(request.as_ref()).await? {
            Some(Resource::Webhook(id)) => return self.registered_before(owner, &id).await,
            Some(_) => return Err(ErrorCode::IdempotencyKeySpent.into()),
            None => {}
        }
        if let Some(existing) = existing? {
            return Ok(existing);
        }
        let secret = Secret::generate(entropy::bytes());
        let id = WebhookId::from(entropy::ordered_uuid(self.clock().now().utc));
        let row = row(id, owner, &wanted, secret.expose().into());
        match self.put_webhook("webhook.registered", row, None, request).await {
            // another task registered the name first, perhaps with the same content
            Err(error @ Error::Refused(ErrorCode::WebhookNameInUse)) => {
                self.find_webhook(owner, &wanted).await?.ok_or(error)
            }
            result => result.map(|stored| Webhook {
                secret: Some(secret),
                ..stored
            }),
        }
    }

    /// Returns all webhooks of `owner` without their secrets. One that was disabled for its failures is not `enabled`.
    ///
    /// # Errors
    /// The store's.
    pub async fn webhooks(&self, owner: &str) -> Result<Vec<Webhook>, Error> {
        self.rows(owner).await?.iter().map(shown).collect()
    }

    /// Replaces the subscription of a webhook and keeps its secret. A disabled webhook is enabled again and gets what it
    /// missed, as one event per session.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], [`ErrorCode::WebhookNameInUse`], or the store's.
    pub async fn replace_webhook(
        &self,
        owner: &str,
        id: &WebhookId,
        wanted: Subscription,
    ) -> Result<Webhook, Error> {
        loop {
            let known = self.stored_webhook(owner, id).await?;
            let before = shown(&known).ok();
            let replaced = WebhookRow {
                version: known.version,
                ..row(known.id, owner, &wanted, known.secrets)
            };
            match self.put_webhook("webhook.updated", replaced, before, None).await {
                // it was disabled or replaced meanwhile
                Err(error) if is_conflict(&error) => {}
                result => return result,
            }
        }
    }

    /// Removes a webhook and its pending deliveries.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], or the store's.
    pub async fn remove_webhook(&self, owner: &str, id: &WebhookId) -> Result<(), Error> {
        let known = self.stored_webhook(owner, id).await?;
        self.commit(Mutation {
            entries: vec![self.webhook_draft(Actor::client(owner), "webhook.removed", id)],
            ..Change::RemoveWebhook(known.id).into()
        })
        .await
        .map(drop)
    }

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
        let (subscription, secret) = match parse(webhook) {
            Ok(parsed) => parsed,
            Err(error) => {
                tracing::error!(webhook = %webhook.id, error, "webhook disabled, as it cannot be read: remove it and register it again");
                let settlement = Settlement {
                    disable_webhook: true,
                    entries: vec![failure("webhook.disabled").detail("reason", "unreadable")],
                    ..leased.settlement(Settled::Dead, self.clock().now().utc)
                };
                return self.settle(settlement, None).await;
            }
        };
        let Some((id, body, mut disclosure)) = self.message(&leased).await? else {
            let now = self.clock().now().utc;
            let postponed = leased.settlement(Settled::NotSent(now + UNREADABLE_PAUSE), now);
            return self.settle(postponed, None).await;
        };
        let sent = self.clock().now().instant;
        let outcome = dispatcher
            .deliver(&Attempt {
                id: &id,
                target: &subscription.target,
                headers: &subscription.headers,
                secret: &secret,
                old_secrets: &[],
                body,
            })
            .await;
        let answered = self.clock().now();
        disclosure.at = answered.utc;
        let attempt = match leased.payload {
            Payload::Event { .. } => leased.attempt,
            _ => leased.attempt.min(LAST_SNAPSHOT_STEP),
        };
        let mut health = EndpointHealth {
            failing_since: webhook.failing_since,
            failures: webhook.failures,
        };
        let next_step = health.handle_outcome(attempt, &outcome, disclosure.at, entropy::number());
        let mut settlement = leased.settlement(Settled::Dead, disclosure.at);
        settlement.pace = match outcome.load(answered.instant.saturating_duration_since(sent)) {
            Load::Low => Pace::Faster,
            Load::High => Pace::Slower,
            Load::Hanging => Pace::Stopped,
            _ => Pace::Same,
        };
        match next_step {
            NextStep::Delivered => settlement.settled = Settled::Delivered,
            NextStep::RetryAt { at, pause_until } => {
                let hint = match outcome {
                    webhook::Outcome::Failed(Failure::Blocked) => {
                        ": the host has no public address, allow its network (`allow_networks` of a gateway) or replace the webhook"
                    }
                    _ => "",
                };
                tracing::warn!(webhook = %webhook.id, attempt = leased.attempt, ?outcome, "delivery failed, it is retried{hint}");
                (settlement.settled, settlement.rest_until) = (Settled::RetryAt(at), pause_until);
            }
            NextStep::DisableEndpoint(reason) => {
                tracing::error!(webhook = %webhook.id, ?reason, "webhook disabled: replace it to enable it again");
                settlement.disable_webhook = true;
                let entry = failure("webhook.disabled").detail("reason", reason.as_str());
                settlement.entries.push(entry);
            }
            _ => settlement.entries.push(failure("webhook.dead")),
        }
        if next_step != NextStep::Delivered {
            disclosure.action = "webhook.attempted".into();
            disclosure = disclosure.outcome(Outcome::Error);
        }
        let disclosure = outcome.may_have_arrived().then_some(disclosure);
        self.settle(settlement, disclosure).await
    }

    /// Stores the outcome of a delivery, and the entry of its disclosure if it was sent.
    async fn settle(&self, mut settlement: Settlement, disclosure: Option<Draft>) -> Result<(), Error> {
        settlement.entries.extend(disclosure.clone());
        match self.store().settle_delivery(settlement).await {
            // the holder of the present lease settles it, or the webhook or the session was removed: the data was sent
            // nevertheless
            Err(error) if error.kind() == StoreErrorKind::Fenced => match disclosure {
                Some(entry) => self.commit(entry.into()).await.map(drop),
                None => Ok(()),
            },
            other => Ok(other?),
        }
    }

    /// The id and the body to send now, of the session as it is with the consent that is in force, and the audit entry of
    /// its disclosure. `None` if it cannot be sent.
    async fn message(&self, leased: &Leased) -> Result<Option<(MessageId, Bytes, Draft)>, Error> {
        let Ok(id) = leased.id.parse::<MessageId>() else {
            tracing::error!(webhook = %leased.webhook.id, delivery = leased.id, "a delivery has an invalid id, so it is not sent: restore the store from a backup");
            return Ok(None);
        };
        let session = match &leased.payload {
            Payload::Erased { session, range } => {
                // its subject key is destroyed
                let system = Actor::system("guest-suite");
                let entry = self.webhook_draft(system, "webhook.delivered", &leased.webhook.id);
                let entry = entry.detail("event", EventName::Erased.as_str());
                return Ok(Some((id, erased_event(session, range, leased.at), entry)));
            }
            Payload::Event { session, .. } | Payload::Snapshot { session, .. } => session,
        };
        let reevaluated = match self.load_any(session).await {
            Ok(record) => self.reevaluated(record).await,
            Err(error) => Err(error),
        };
        match reevaluated {
            Ok(record) => Ok(record
                .delivery_body(leased, self.clock().now())
                .map(|(body, entry)| (id, body, entry))),
            // it was erased after the lease
            Err(Error::Refused(ErrorCode::NotFound)) => Ok(None),
            Err(Error::Store(error)) if error.kind() == StoreErrorKind::Corrupt => {
                self.audit_log().monitor().verify_now();
                tracing::error!(%session, webhook = %leased.webhook.id, "a session cannot be read, so its delivery is not sent: restore it from a backup");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns a webhook that a request created, with its secret if it was not changed since.
    async fn registered_before(&self, owner: &str, id: &WebhookId) -> Result<Webhook, Error> {
        let rows = self.rows(owner).await?;
        let row = rows.iter().find(|row| row.id == *id);
        let row = row.ok_or(ErrorCode::IdempotencyKeySpent)?;
        let secret = match row.version {
            1 => Some(parse(row).map_err(|_| StoreErrorKind::Corrupt)?.1),
            _ => None,
        };
        Ok(Webhook {
            secret,
            ..shown(row)?
        })
    }

    async fn stored_webhook(&self, owner: &str, id: &WebhookId) -> Result<WebhookRow, Error> {
        let mut rows = self.rows(owner).await?.into_iter();
        Ok(rows.find(|row| row.id == *id).ok_or(ErrorCode::NotFound)?)
    }

    async fn rows(&self, owner: &str) -> Result<Vec<WebhookRow>, Error> {
        let mut rows = self.store().webhooks().await?;
        rows.retain(|row| row.owner == owner);
        Ok(rows)
    }

    /// Returns the webhook of the same name, if it has the same content.
    async fn find_webhook(&self, owner: &str, wanted: &Subscription) -> Result<Option<Webhook>, Error> {
        let rows = self.rows(owner).await?;
        match rows.iter().find(|row| row.name == wanted.name.as_str()) {
            Some(row) if subscription(row)? == *wanted => shown(row).map(Some),
            Some(_) => Err(ErrorCode::WebhookNameInUse.into()),
            None => Ok(None),
        }
    }

    /// Stores a webhook in place of the one `before`, if there is one that can be read.
    async fn put_webhook(
        &self,
        action: &'static str,
        row: WebhookRow,
        before: Option<Webhook>,
        request: Option<KeyedRequest>,
    ) -> Result<Webhook, Error> {
        let stored = shown(&row)?;
        let mut entry = self.webhook_draft(Actor::client(row.owner.as_str()), action, &row.id);
        if let Some(before) = before {
            let changed = stored.subscription.changed_fields(&before.subscription);
            entry = entry.detail("changed", audit::Value::from_iter(changed));
        }
        self.commit(Mutation {
            entries: vec![entry.detail("name", row.name.as_str())],
            request,
            ..Change::PutWebhook(row).into()
        })
        .await
        .map(|_| stored)
    }

    fn webhook_draft(&self, actor: Actor, action: &'static str, id: &WebhookId) -> Draft {
        Draft::new(self.clock().now().utc, actor, action).detail("webhook", id.as_str())
    }
}

/// The row of a new webhook.
fn row(id: WebhookId, owner: &str, subscription: &Subscription, secrets: SecretString) -> WebhookRow {
    let events = subscription.events.iter();
    let document = serde_json::to_vec(&SubscriptionBody(subscription)).expect("a subscription is text");
    WebhookRow {
        id,
        name: subscription.name.as_str().to_owned(),
        owner: owner.to_owned(),
        events: events.map(|event| event.as_str().to_owned()).collect(),
        enabled: subscription.enabled,
        failing_since: None,
        failures: 0,
        rest_until: None,
        version: 0,
        secrets,
        document: document.into(),
    }
}

/// A webhook as its owner sees it.
fn shown(row: &WebhookRow) -> Result<Webhook, Error> {
    Ok(Webhook {
        id: row.id.clone(),
        subscription: Subscription {
            enabled: row.enabled,
            ..subscription(row)?
        },
        secret: None,
    })
}

/// The subscription as the owner specified it.
fn subscription(row: &WebhookRow) -> Result<Subscription, StoreErrorKind> {
    SubscriptionBody::parse(&row.document).map_err(|_| StoreErrorKind::Corrupt)
}

/// The subscription and the secret of a delivery.
///
/// # Errors
/// The cause as text, without a value.
fn parse(row: &WebhookRow) -> Result<(Subscription, Secret), String> {
    let subscription = SubscriptionBody::parse(&row.document).map_err(|error| error_chain(&error))?;
    let secret = row.secrets.expose_secret().parse::<Secret>();
    Ok((subscription, secret.map_err(|error| error_chain(&error))?))
}
