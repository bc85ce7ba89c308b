//! Requests with an idempotency key: the same key and body create once.

use std::collections::HashSet;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use audit::Actor;
use genesys_api::{IdempotencyKey, WebhookId};
use guest_payload::NewGuest;
use guest_sessions::Webhook;
use guest_store::{Change, KeyedRequest, Resource};
use webhook::Subscription;

use super::session_row::SessionRow;
use super::{Created, Direct};
use crate::Error;

/// Time for which a key is kept. Our choice, as of other services.
pub(super) const KEPT: Duration = Duration::from_secs(86_400);

/// The idempotency key of a request that creates, and a digest of the request.
#[derive(Clone, Debug)]
pub struct RequestKey {
    /// The key.
    pub key: IdempotencyKey,
    /// A collision-free hash of the operation, its body and the headers that matter.
    pub digest: [u8; 32],
}

/// A request in progress. Dropping it ends that.
#[derive(Debug)]
struct InProgress<'a> {
    direct: &'a Direct,
    request: (String, IdempotencyKey),
}

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        self.direct.requests_in_progress().remove(&self.request);
    }
}

impl Direct {
    /// As [`Direct::create`]. A repeated request brings the same session with the same tokens as long as they are unused.
    /// They get a new lifetime if the access token has ended. A key is kept for 24 hours, without tokens.
    ///
    /// # Errors
    /// [`Error::KeyInProgress`], [`Error::KeyReused`], [`Error::KeySpent`], [`Error::TooManyKeys`], or those of `create`.
    pub async fn create_once(
        &self,
        owner: &str,
        guest: NewGuest,
        request: &RequestKey,
    ) -> Result<Created, Error> {
        let _in_progress = self.begin_request(owner, request)?;
        match self.find_request(owner, request).await? {
            None => {
                self.create_by(owner, guest, Some(self.keyed(owner, request)))
                    .await
            }
            Some(Resource::Session(row)) => self.created_before(owner, SessionRow::load(*row)?).await,
            Some(_) => Err(Error::KeySpent),
        }
    }

    /// As [`Direct::ensure_webhook`]. A repeated request brings the secret of the webhook again, unless the webhook was
    /// changed.
    ///
    /// # Errors
    /// [`Error::KeyInProgress`], [`Error::KeyReused`], [`Error::KeySpent`], [`Error::TooManyKeys`], or those of
    /// `ensure_webhook`.
    pub async fn ensure_webhook_once(
        &self,
        owner: &str,
        wanted: Subscription,
        request: &RequestKey,
    ) -> Result<Webhook, Error> {
        let _in_progress = self.begin_request(owner, request)?;
        match self.find_request(owner, request).await? {
            None => {
                let request = Some(self.keyed(owner, request));
                self.ensure_webhook_by(owner, wanted, request).await
            }
            Some(Resource::Webhook(id)) => self.registered_before(owner, &id).await,
            Some(_) => Err(Error::KeySpent),
        }
    }

    /// Removes the keys of requests that are older than 24 hours, 10,000 at a time.
    pub(super) async fn forget_requests(&self) -> Result<(), Error> {
        let before = self.clock().now().utc - KEPT;
        self.commit(Change::RemoveRequests { before }.into()).await
    }

    fn begin_request(&self, owner: &str, request: &RequestKey) -> Result<InProgress<'_>, Error> {
        let request = (owner.to_owned(), request.key.clone());
        match self.requests_in_progress().insert(request.clone()) {
            true => Ok(InProgress {
                direct: self,
                request,
            }),
            false => Err(Error::KeyInProgress),
        }
    }

    fn requests_in_progress(&self) -> MutexGuard<'_, HashSet<(String, IdempotencyKey)>> {
        let requests = self.shared.requests.lock();
        requests.unwrap_or_else(PoisonError::into_inner)
    }

    fn keyed(&self, owner: &str, request: &RequestKey) -> KeyedRequest {
        KeyedRequest {
            owner: owner.to_owned(),
            key: request.key.clone(),
            digest: request.digest,
            at: self.clock().now().utc,
        }
    }

    /// The session or webhook that the same request created before.
    async fn find_request(&self, owner: &str, request: &RequestKey) -> Result<Option<Resource>, Error> {
        let Some(stored) = self.store().request(owner, &request.key).await? else {
            return Ok(None);
        };
        match stored.digest {
            Some(digest) if digest != request.digest => Err(Error::KeyReused),
            _ => Ok(Some(stored.resource)),
        }
    }

    /// Issues the first tokens of a session again, if they are unused.
    async fn created_before(&self, owner: &str, record: SessionRow) -> Result<Created, Error> {
        let issued = self.update_record(record, |record, now| {
            let is_live = record.ensure_live(now).is_ok();
            let family = record.unused_family().filter(|_| is_live);
            let family = family.ok_or(Error::KeySpent)?;
            let entry = record.draft(now, Actor::client(owner), "token.replayed");
            let entry = entry.detail("generation", 1_i64);
            let (mutation, created, entry) = record.reissue(family, &self.shared.config, entry, now);
            Ok((mutation, (created, entry)))
        });
        let (created, entry) = issued.await?;
        if let Some(entry) = entry {
            self.log_repeated(entry).await?;
        }
        Ok(created)
    }

    async fn registered_before(&self, owner: &str, id: &WebhookId) -> Result<Webhook, Error> {
        match self.first_webhook(owner, id).await {
            Err(Error::NotFound) => Err(Error::KeySpent),
            other => other,
        }
    }
}
