//! Requests with an idempotency key: the same key and body create once. Of concurrent ones the store accepts one.

use std::time::Duration;

use guest_sessions::ErrorCode;
use guest_store::{Change, KeyedRequest, Resource};

use super::Direct;
use crate::Error;

/// Time for which a key is kept. Our choice, as of other services.
pub(super) const KEPT: Duration = Duration::from_secs(86_400);

impl Direct {
    /// Removes the keys of requests that are older than 24 hours, 10,000 at a time.
    pub(super) async fn forget_requests(&self) -> Result<(), Error> {
        let before = self.clock().now().utc - KEPT;
        self.commit(Change::RemoveRequests { before }.into())
            .await
            .map(drop)
    }

    /// The session or webhook that the same request created before.
    pub(super) async fn created_before(
        &self,
        request: Option<&KeyedRequest>,
    ) -> Result<Option<Resource>, Error> {
        let Some(request) = request else { return Ok(None) };
        match self.store().request(&request.owner, &request.key).await? {
            Some(stored) if stored.digest.is_some_and(|digest| digest != request.digest) => {
                Err(ErrorCode::IdempotencyKeyReused.into())
            }
            stored => Ok(stored.map(|stored| stored.resource)),
        }
    }
}
