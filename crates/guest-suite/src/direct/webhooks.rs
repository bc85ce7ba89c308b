//! Webhook subscriptions, and the deliveries that are due.

use std::time::Duration;

use audit::{Actor, Draft, Outcome};
use genesys_api::{WebhookId, entropy};
use guest_sessions::SubscriptionBody;
use guest_store::{Change, Leased, Settled, Settlement, StoreError, StoreErrorKind, Unit, Webhook};
use secrecy::{ExposeSecret as _, SecretString};
use webhook::{
    Attempt, DisableReason, Dispatcher, EndpointHealth, MessageId, NextStep, Secret, Subscription,
};

use super::update::is_conflict;
use super::{Direct, DirectError};

/// How long a delivery may take before another worker may have it; longer than any attempt.
const LEASE: Duration = Duration::from_secs(60);

/// A registered webhook.
#[derive(Clone, Debug)]
pub struct RegisteredWebhook {
    /// Its id.
    pub id: WebhookId,
    /// What it asks for.
    pub subscription: Subscription,
    /// Whether deliveries are made: `false` also if it was switched off for failing.
    pub enabled: bool,
    /// Its secret, only from the call that made it.
    pub secret: Option<Secret>,
}

impl Direct {
    /// Registers a webhook. The same one again changes nothing, and gives the one that exists, without its secret.
    ///
    /// # Errors
    /// [`DirectError::WebhookNameInUse`] if the name is taken by other content, or the store's.
    pub async fn ensure_webhook(
        &self,
        owner: &str,
        wanted: Subscription,
    ) -> Result<RegisteredWebhook, DirectError> {
        let secret = Secret::generate(entropy::bytes());
        let row = Webhook {
            id: WebhookId::from(entropy::uuid()),
            owner: owner.to_owned(),
            secrets: secret.expose().into(),
            ..row(&wanted)
        };
        let id = row.id.clone();
        if let Some(existing) = self.webhook_like(owner, &wanted).await? {
            return Ok(existing);
        }
        match self.put(owner, "webhook.registered", row).await {
            Ok(()) => Ok(RegisteredWebhook {
                id,
                enabled: wanted.enabled,
                subscription: wanted,
                secret: Some(secret),
            }),
            // another task was quicker, perhaps with the same
            Err(error) => match DirectError::from(error) {
                DirectError::WebhookNameInUse => self
                    .webhook_like(owner, &wanted)
                    .await?
                    .ok_or(DirectError::WebhookNameInUse),
                error => Err(error),
            },
        }
    }

    /// All webhooks of `owner`.
    ///
    /// # Errors
    /// The store's.
    pub async fn webhooks(&self, owner: &str) -> Result<Vec<RegisteredWebhook>, DirectError> {
        let rows = self.store().webhooks().await?;
        rows.iter()
            .filter(|row| row.owner == owner)
            .map(registered)
            .collect()
    }

    /// Replaces what a webhook asks for. Its secret stays, and a webhook that was switched off is tried anew.
    ///
    /// # Errors
    /// [`DirectError::NotFound`], [`DirectError::WebhookNameInUse`], or the store's.
    pub async fn replace_webhook(
        &self,
        owner: &str,
        id: &WebhookId,
        wanted: Subscription,
    ) -> Result<RegisteredWebhook, DirectError> {
        loop {
            let known = self.stored_webhook(owner, id).await?;
            let replaced = Webhook {
                id: known.id,
                owner: known.owner,
                version: known.version,
                secrets: known.secrets,
                ..row(&wanted)
            };
            match self.put(owner, "webhook.updated", replaced).await {
                Ok(()) => break,
                // it was switched off, or replaced, in between
                Err(error) if is_conflict(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(RegisteredWebhook {
            id: id.clone(),
            enabled: wanted.enabled,
            subscription: wanted,
            secret: None,
        })
    }

    /// Removes a webhook and what was not delivered to it.
    ///
    /// # Errors
    /// [`DirectError::NotFound`], or the store's.
    pub async fn remove_webhook(&self, owner: &str, id: &WebhookId) -> Result<(), DirectError> {
        let known = self.stored_webhook(owner, id).await?;
        let entry = entry(self, owner, "webhook.removed", &known.id);
        let unit = Unit {
            change: Some(Change::RemoveWebhook(known.id)),
            entries: vec![entry],
            events: Vec::new(),
        };
        Ok(self.commit(unit).await?)
    }

    /// Takes up to `limit` deliveries that are due. Each is to be made with [`Direct::deliver`] within a minute, or
    /// somebody else may have it.
    ///
    /// # Errors
    /// The store's.
    pub async fn lease_due(&self, limit: usize) -> Result<Vec<Leased>, DirectError> {
        Ok(self
            .store()
            .lease_deliveries(self.clock().now().utc, LEASE, limit)
            .await?)
    }

    /// Makes a delivery once, and notes how it went: a failed one is back in the outbox for its next time.
    ///
    /// # Errors
    /// The store's.
    pub async fn deliver(&self, dispatcher: &Dispatcher, leased: Leased) -> Result<(), DirectError> {
        let corrupt = || DirectError::Store(StoreErrorKind::Corrupt.into());
        let subscription = registered(&leased.webhook)?.subscription;
        let secret: Secret = leased
            .webhook
            .secrets
            .expose_secret()
            .parse()
            .map_err(|_| corrupt())?;
        let id: MessageId = leased.id.parse().map_err(|_| corrupt())?;
        let outcome = dispatcher
            .deliver(&Attempt {
                id: &id,
                target: &subscription.target,
                headers: &subscription.headers,
                secret: &secret,
                old_secrets: &[],
                body: leased.body.clone(),
            })
            .await;
        let at = self.clock().now().utc;
        let webhook = &leased.webhook;
        let mut health = EndpointHealth {
            failing_since: webhook.failing_since,
            failures: webhook.failures,
        };
        let next_step = health.handle_outcome(leased.attempt, &outcome, at, entropy::number());
        let (mut rest, mut disable_webhook, mut entries) = (None, false, Vec::new());
        let settled = match next_step {
            NextStep::Delivered => Settled::Delivered,
            NextStep::RetryAt { at, pause_until } => {
                tracing::warn!(webhook = %webhook.id, attempt = leased.attempt, ?outcome, "delivery failed; it is tried again later");
                rest = pause_until;
                Settled::RetryAt(at)
            }
            NextStep::DisableEndpoint(reason) => {
                tracing::error!(webhook = %webhook.id, ?reason, "webhook switched off: replace it to switch it on again");
                disable_webhook = true;
                entries.push(disabled(self, &leased, reason));
                Settled::Dead
            }
            // a step that this version does not know forgets nothing: the message is kept as dead
            _ => {
                entries.push(system_entry(self, "webhook.dead", &leased));
                Settled::Dead
            }
        };
        let settlement = Settlement {
            delivery: leased.id,
            fence: leased.fence,
            at,
            settled,
            rest_until: rest,
            disable_webhook,
            entries,
        };
        match self.store().settle_delivery(settlement).await {
            // the lease ran out, or the webhook is gone: whoever has it now settles it
            Err(error) if error.kind() == StoreErrorKind::Fenced => Ok(()),
            other => Ok(other?),
        }
    }

    async fn stored_webhook(&self, owner: &str, id: &WebhookId) -> Result<Webhook, DirectError> {
        let rows = self.store().webhooks().await?;
        rows.into_iter()
            .find(|row| row.owner == owner && row.id == *id)
            .ok_or(DirectError::NotFound)
    }

    /// The webhook of the same name, if it has the same content.
    async fn webhook_like(
        &self,
        owner: &str,
        wanted: &Subscription,
    ) -> Result<Option<RegisteredWebhook>, DirectError> {
        let known = self.webhooks(owner).await?;
        let of_this_name = known
            .into_iter()
            .find(|known| known.subscription.name == wanted.name);
        match of_this_name {
            Some(known) if known.subscription != *wanted => Err(DirectError::WebhookNameInUse),
            known => Ok(known),
        }
    }

    async fn put(&self, owner: &str, action: &'static str, row: Webhook) -> Result<(), StoreError> {
        let entry = entry(self, owner, action, &row.id).detail("name", row.name.as_str());
        let unit = Unit {
            change: Some(Change::PutWebhook(row)),
            entries: vec![entry],
            events: Vec::new(),
        };
        self.commit(unit).await
    }
}

/// The part of a row that the subscription decides; the rest is for the caller to fill in.
fn row(subscription: &Subscription) -> Webhook {
    Webhook {
        id: WebhookId::from(uuid::Uuid::nil()),
        name: subscription.name.as_str().to_owned(),
        owner: String::new(),
        events: subscription
            .events
            .iter()
            .map(|event| event.as_str().to_owned())
            .collect(),
        enabled: subscription.enabled,
        failing_since: None,
        failures: 0,
        rest_until: None,
        version: 0,
        secrets: SecretString::default(),
        document: serde_json::to_vec(&SubscriptionBody(subscription))
            .expect("a subscription is text")
            .into(),
    }
}

fn registered(row: &Webhook) -> Result<RegisteredWebhook, DirectError> {
    let subscription = SubscriptionBody::parse(&row.document)
        .map_err(|_| DirectError::Store(StoreErrorKind::Corrupt.into()))?;
    Ok(RegisteredWebhook {
        id: row.id.clone(),
        subscription,
        enabled: row.enabled,
        secret: None,
    })
}

fn entry(direct: &Direct, owner: &str, action: &'static str, id: &WebhookId) -> Draft {
    Draft::new(direct.clock().now().utc, Actor::client(owner), action).detail("webhook", id.as_str())
}

fn system_entry(direct: &Direct, action: &'static str, leased: &Leased) -> Draft {
    Draft::new(direct.clock().now().utc, Actor::system("guest-suite"), action)
        .outcome(Outcome::Error)
        .detail("webhook", leased.webhook.id.as_str())
        .detail("delivery", leased.id.as_str())
}

fn disabled(direct: &Direct, leased: &Leased, reason: DisableReason) -> Draft {
    let reason = match reason {
        DisableReason::Gone => "gone",
        _ => "failing",
    };
    system_entry(direct, "webhook.disabled", leased).detail("reason", reason)
}
