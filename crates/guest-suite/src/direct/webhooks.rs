//! Webhook subscriptions.

use audit::{Actor, Draft};
use genesys_api::{WebhookId, entropy};
use guest_sessions::{ErrorCode, SubscriptionBody, Webhook};
use guest_store::{Change, KeyedRequest, Resource, StoreErrorKind, Webhook as WebhookRow};
use secrecy::{ExposeSecret as _, SecretString};
use time::OffsetDateTime;
use webhook::{Secret, Subscription};

use super::Direct;
use super::deliveries::parse;
use super::party::WebhookParty;
use super::signing_keys::SigningKeys;
use super::update::{Mutation, is_conflict};
use crate::Error;

/// A webhook that was registered.
#[derive(Clone, Debug)]
pub struct Registered {
    /// The webhook. A new one has its secret, if that is shared.
    pub webhook: Webhook,
    /// Whether the call created it, or one before with the same idempotency key.
    pub is_new: bool,
}

impl Direct {
    /// Registers a webhook. If the same webhook exists, returns that without its secret. A repeated `request` with a key
    /// brings the new webhook with its secret again, unless it was changed.
    ///
    /// # Errors
    /// [`ErrorCode::WebhookNameInUse`] if the name is used with other content, the other codes of the contract, or the
    /// store's.
    pub async fn ensure_webhook(
        &self,
        owner: &str,
        wanted: Subscription,
        request: Option<KeyedRequest>,
    ) -> Result<Registered, Error> {
        // before the request, which is stored with its webhook: one that is found here is of another request
        let existing = self.find_webhook(owner, &wanted).await;
        match self.created_before(request.as_ref()).await? {
            Some(Resource::Webhook(id)) => return self.registered_before(owner, &id).await,
            Some(_) => return Err(ErrorCode::IdempotencyKeySpent.into()),
            None => {}
        }
        let known = |webhook| Registered {
            webhook,
            is_new: false,
        };
        if let Some(existing) = existing? {
            return Ok(known(existing));
        }
        let secret = wanted.signature.generate(entropy::bytes());
        let id = WebhookId::from(entropy::ordered_uuid(self.clock().now().utc));
        let keys = SigningKeys::new(secret.clone());
        let row = row(id, owner, &wanted, keys.to_text());
        match self
            .put_webhook(owner.into(), "webhook.registered", row, None, request)
            .await
        {
            // another task registered the name first, perhaps with the same content
            Err(error @ Error::Refused(ErrorCode::WebhookNameInUse)) => {
                self.find_webhook(owner, &wanted).await?.map(known).ok_or(error)
            }
            result => result.map(|stored| Registered {
                webhook: with_secret(stored, secret),
                is_new: true,
            }),
        }
    }

    /// Returns all webhooks of `owner` with their status, without their secrets. One that was disabled for its failures is not
    /// `enabled`.
    ///
    /// # Errors
    /// The store's.
    pub async fn webhooks(&self, owner: &str) -> Result<Vec<Webhook>, Error> {
        let rows = self.rows(owner).await?;
        self.with_statuses(rows).await
    }

    /// Returns a webhook with its status, without its secret.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], or the store's.
    pub async fn webhook(
        &self,
        party: impl Into<WebhookParty<'_>>,
        id: &WebhookId,
    ) -> Result<Webhook, Error> {
        let row = self.stored_webhook(party.into(), id).await?;
        Ok(self.with_statuses(vec![row]).await?.remove(0))
    }

    async fn with_statuses(&self, rows: Vec<WebhookRow>) -> Result<Vec<Webhook>, Error> {
        let queues = self.store().stats().await?.queues;
        let mut webhooks = Vec::with_capacity(rows.len());
        for row in rows {
            let queue = queues.get(&row.id).copied().unwrap_or_default();
            let is_wanted = subscription(&row)?.enabled;
            webhooks.push(self.with_status(shown(&row)?, &row, is_wanted, queue).await?);
        }
        Ok(webhooks)
    }

    /// Resumes a webhook, or pauses it. A resumed one gets what waits for it, with a new schedule. One that was disabled for
    /// its failures is resumed too.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], or the store's.
    pub async fn enable_webhook(
        &self,
        party: impl Into<WebhookParty<'_>>,
        id: &WebhookId,
        enabled: bool,
    ) -> Result<Webhook, Error> {
        let party = party.into();
        loop {
            let known = self.stored_webhook(party, id).await?;
            let before = subscription(&known)?;
            if (known.enabled, before.enabled) == (enabled, enabled) {
                return shown(&known);
            }
            let wanted = Subscription { enabled, ..before };
            let shown_before = shown(&known)?;
            let changed = WebhookRow {
                version: known.version,
                ..row(known.id, &known.owner, &wanted, known.secrets)
            };
            match self
                .put_webhook(party, "webhook.updated", changed, Some(shown_before), None)
                .await
            {
                Err(error) if is_conflict(&error) => {}
                result => return result,
            }
        }
    }

    /// Replaces the subscription of a webhook and keeps its secret. A webhook that is enabled again gets what waits for it.
    /// One with signatures of another version gets a new secret, as by a rotation.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], [`ErrorCode::WebhookNameInUse`], [`ErrorCode::WebhookRotationLimit`], or the store's.
    pub async fn replace_webhook(
        &self,
        party: impl Into<WebhookParty<'_>>,
        id: &WebhookId,
        wanted: Subscription,
    ) -> Result<Webhook, Error> {
        let party = party.into();
        loop {
            let known = self.stored_webhook(party, id).await?;
            let before = shown(&known).ok();
            let signature = before.as_ref().map(|before| before.subscription.signature);
            let is_rotated = signature.is_some_and(|signature| signature != wanted.signature);
            let secret = is_rotated.then(|| wanted.signature.generate(entropy::bytes()));
            let secrets = match &secret {
                Some(secret) => self.rotated_keys(&known, secret)?.to_text(),
                None => known.secrets,
            };
            let replaced = WebhookRow {
                version: known.version,
                ..row(known.id, &known.owner, &wanted, secrets)
            };
            match self
                .put_webhook(party, "webhook.updated", replaced, before, None)
                .await
            {
                // it was disabled or replaced meanwhile
                Err(error) if is_conflict(&error) => {}
                result => {
                    return result.map(|stored| match secret {
                        Some(secret) => with_secret(stored, secret),
                        None => stored,
                    });
                }
            }
        }
    }

    /// Gives a webhook a new secret, which the answer has if it is shared. Deliveries are signed with the replaced secret too for 24 hours.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], [`ErrorCode::WebhookRotationLimit`] if ten replaced secrets still sign, or the store's.
    pub async fn rotate_webhook_secret(
        &self,
        party: impl Into<WebhookParty<'_>>,
        id: &WebhookId,
    ) -> Result<Webhook, Error> {
        let party = party.into();
        loop {
            let known = self.stored_webhook(party, id).await?;
            let signature = subscription(&known)?.signature;
            let secret = signature.generate(entropy::bytes());
            let rotated = WebhookRow {
                secrets: self.rotated_keys(&known, &secret)?.to_text(),
                ..known
            };
            match self
                .put_webhook(party, "webhook.secret_rotated", rotated, None, None)
                .await
            {
                Err(error) if is_conflict(&error) => {}
                result => return result.map(|stored| with_secret(stored, secret)),
            }
        }
    }

    /// The keys of a webhook with a new current one. The replaced ones that no longer sign are dropped in time.
    fn rotated_keys(&self, known: &WebhookRow, secret: &Secret) -> Result<SigningKeys, Error> {
        let now = self.clock().now().utc;
        let (_, keys) = parse(known).map_err(|_| StoreErrorKind::Corrupt)?;
        let keys = keys.rotated(secret.clone(), now);
        let keys = keys.ok_or(ErrorCode::WebhookRotationLimit)?;
        keys.next_end()
            .into_iter()
            .for_each(|at| self.shared.deadlines.remove_by(at));
        Ok(keys)
    }

    /// Drops the replaced secrets that no longer sign. Returns when the next one ends.
    pub(super) async fn drop_ended_secrets(&self) -> Result<Option<OffsetDateTime>, Error> {
        let (mut next, now) = (None, self.clock().now().utc);
        for known in self.store().webhooks().await? {
            // one that cannot be read is disabled by its next delivery
            let Ok((_, mut keys)) = parse(&known) else {
                continue;
            };
            let has_ended = keys.drop_ended(now);
            next = next.into_iter().chain(keys.next_end()).min();
            if !has_ended {
                continue;
            }
            let system = Actor::system("guest-suite");
            let dropped = Mutation {
                entries: vec![self.webhook_draft(system, "webhook.secret_dropped", &known.id)],
                ..Change::PutWebhook(WebhookRow {
                    secrets: keys.to_text(),
                    ..known
                })
                .into()
            };
            match self.commit(dropped).await {
                // it was changed meanwhile: the next run drops them
                Err(error) if is_conflict(&error) => next = Some(now),
                result => {
                    result?;
                }
            }
        }
        Ok(next)
    }

    /// Removes a webhook and its pending deliveries.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], or the store's.
    pub async fn remove_webhook(
        &self,
        party: impl Into<WebhookParty<'_>>,
        id: &WebhookId,
    ) -> Result<(), Error> {
        let party = party.into();
        let known = self.stored_webhook(party, id).await?;
        self.commit(Mutation {
            entries: vec![self.webhook_draft(party.actor(), "webhook.removed", id)],
            ..Change::RemoveWebhook(known.id).into()
        })
        .await
        .map(drop)
    }

    /// Returns a webhook that a request created, as new with its secret if it was not changed since.
    async fn registered_before(&self, owner: &str, id: &WebhookId) -> Result<Registered, Error> {
        let rows = self.rows(owner).await?;
        let row = rows.iter().find(|row| row.id == *id);
        let row = row.ok_or(ErrorCode::IdempotencyKeySpent)?;
        let (webhook, is_new) = (shown(row)?, row.version == 1);
        let webhook = match is_new {
            true => with_secret(
                webhook,
                parse(row).map_err(|_| StoreErrorKind::Corrupt)?.1.current,
            ),
            false => webhook,
        };
        Ok(Registered { webhook, is_new })
    }

    pub(super) async fn stored_webhook(
        &self,
        party: WebhookParty<'_>,
        id: &WebhookId,
    ) -> Result<WebhookRow, Error> {
        let mut rows = self.store().webhooks().await?.into_iter();
        let found = rows.find(|row| row.id == *id && party.manages(row));
        Ok(found.ok_or(ErrorCode::NotFound)?)
    }

    pub(super) async fn rows(&self, owner: &str) -> Result<Vec<WebhookRow>, Error> {
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
        party: WebhookParty<'_>,
        action: &'static str,
        row: WebhookRow,
        before: Option<Webhook>,
        request: Option<KeyedRequest>,
    ) -> Result<Webhook, Error> {
        let stored = shown(&row)?;
        let mut entry = self.webhook_draft(party.actor(), action, &row.id);
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

    pub(super) fn webhook_draft(&self, actor: Actor, action: &'static str, id: &WebhookId) -> Draft {
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
        ordered: subscription.ordered,
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
        public_key: SigningKeys::parse(row.secrets.expose_secret())
            .ok()
            .and_then(|keys| keys.current.public_key()),
        status: None,
    })
}

/// A webhook with its new secret, if a receiver needs it.
fn with_secret(webhook: Webhook, secret: Secret) -> Webhook {
    let is_shared = secret.public_key().is_none();
    Webhook {
        secret: is_shared.then_some(secret),
        ..webhook
    }
}

/// The subscription as the owner specified it.
fn subscription(row: &WebhookRow) -> Result<Subscription, StoreErrorKind> {
    SubscriptionBody::parse(&row.document).map_err(|_| StoreErrorKind::Corrupt)
}
