//! The read marker of a session: the timestamp of the last delivered message.
//!
//! A later conversation of the session resumes from it.

use std::fmt;
use std::time::{Duration, Instant};

use genesys_api::SessionId;
use guest_store::Change;
use time::OffsetDateTime;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::Direct;
use super::update::Mutation;
use crate::Error;

/// Shortest time between two writes during a conversation. Our choice.
const STORE_INTERVAL: Duration = Duration::from_secs(60);

/// The read marker of one conversation. Dropping it stores it.
pub(super) struct ReadMarker {
    direct: Direct,
    owner: String,
    id: SessionId,
    delivered: Option<OffsetDateTime>,
    stored: Option<OffsetDateTime>,
    store_at: Option<Instant>,
}

impl ReadMarker {
    pub(super) fn new(direct: Direct, owner: String, id: SessionId) -> Self {
        Self {
            direct,
            owner,
            id,
            delivered: None,
            stored: None,
            store_at: None,
        }
    }

    /// Advances to the timestamp of a message, and stores it at most once a minute.
    pub(super) fn advance(&mut self, at: OffsetDateTime) {
        self.delivered = self.delivered.max(Some(at));
        self.direct.shared.live.advance_read_marker(&self.id, at);
        let now = self.direct.clock().now().instant;
        match self.store_at {
            Some(at) if now < at => return,
            Some(_) => drop(self.store()),
            None => {}
        }
        self.store_at = now.checked_add(STORE_INTERVAL);
    }

    /// Waits until the marker is stored, at the end of the conversation.
    pub(super) async fn close(&mut self) {
        if let Some(storing) = self.store() {
            let _ended = storing.await;
        }
    }

    fn store(&mut self) -> Option<JoinHandle<()>> {
        let delivered = self.delivered.filter(|_| self.delivered > self.stored)?;
        let runtime = Handle::try_current().ok()?;
        self.stored = Some(delivered);
        let (direct, owner, id) = (self.direct.clone(), self.owner.clone(), self.id.clone());
        // a conversation that opens before the marker is stored reads it from the live session
        let guard = direct.shared.live.guard(&id);
        Some(runtime.spawn(async move {
            let stored = direct.update(&owner, &id, |record, _| {
                if record.row.ended_at.is_some() || record.document.read_marker >= Some(delivered) {
                    return Ok((Mutation::default(), ()));
                }
                let mut changed = record.clone();
                changed.document.read_marker = Some(delivered);
                Ok((Change::UpdateSession(changed.into_row()).into(), ()))
            });
            match stored.await {
                // an erased session needs no marker
                Ok(()) | Err(Error::NotFound) => {}
                Err(error) => {
                    tracing::warn!(session = %id, %error, "cannot store the read marker: messages may be delivered twice");
                }
            }
            drop(guard);
        }))
    }
}

impl Drop for ReadMarker {
    fn drop(&mut self) {
        drop(self.store());
    }
}

impl fmt::Debug for ReadMarker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadMarker")
            .field("delivered", &self.delivered)
            .finish_non_exhaustive()
    }
}
