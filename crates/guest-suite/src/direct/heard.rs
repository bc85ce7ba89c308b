//! How far a session was told what is said to it, by the service's clock, so that its next conversation goes on there.

use std::fmt;
use std::time::{Duration, Instant};

use genesys_api::SessionId;
use guest_store::{Change, Unit};
use time::OffsetDateTime;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::update::Work;
use super::{Direct, DirectError};

/// How often it is stored at the most, while the conversation goes on. Our choice.
const APART: Duration = Duration::from_secs(60);

/// What one conversation told. Dropping it stores that.
pub(super) struct Heard {
    direct: Direct,
    owner: String,
    id: SessionId,
    told: Option<OffsetDateTime>,
    stored: Option<OffsetDateTime>,
    store_at: Option<Instant>,
}

impl Heard {
    pub(super) fn new(direct: Direct, owner: String, id: SessionId) -> Self {
        Self {
            direct,
            owner,
            id,
            told: None,
            stored: None,
            store_at: None,
        }
    }

    /// A message of this time is told now.
    pub(super) fn note(&mut self, at: OffsetDateTime) {
        self.told = self.told.max(Some(at));
        self.direct.shared.live.hear(&self.id, at);
        let now = self.direct.clock().now().instant;
        match self.store_at {
            Some(at) if now < at => return,
            Some(_) => drop(self.store()),
            None => {}
        }
        self.store_at = now.checked_add(APART);
    }

    /// The conversation is over: waits until the store has it.
    pub(super) async fn close(&mut self) {
        if let Some(storing) = self.store() {
            let _ended = storing.await;
        }
    }

    fn store(&mut self) -> Option<JoinHandle<()>> {
        let told = self.told.filter(|_| self.told > self.stored)?;
        let runtime = Handle::try_current().ok()?;
        self.stored = Some(told);
        let (direct, owner, id) = (self.direct.clone(), self.owner.clone(), self.id.clone());
        // until it is stored, a conversation that is opened meanwhile asks there
        let leash = direct.shared.live.leash(&id);
        Some(runtime.spawn(async move {
            match direct.store_heard(&owner, &id, told).await {
                // erased, which is no loss
                Ok(()) | Err(DirectError::NotFound) => {}
                Err(error) => {
                    tracing::warn!(session = %id, %error, "what was told is not stored, and may be told twice");
                }
            }
            drop(leash);
        }))
    }
}

impl Direct {
    async fn store_heard(&self, owner: &str, id: &SessionId, at: OffsetDateTime) -> Result<(), DirectError> {
        self.update(owner, id, |record, _| {
            if record.row.ended_at.is_some() || record.document.heard >= Some(at) {
                return Ok((Work::default(), ()));
            }
            let mut changed = record.clone();
            changed.document.heard = Some(at);
            let change = Some(Change::UpdateSession(changed.into_row()));
            let unit = Unit {
                change,
                ..Unit::default()
            };
            Ok((unit.into(), ()))
        })
        .await
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        drop(self.store());
    }
}

impl fmt::Debug for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heard")
            .field("told", &self.told)
            .finish_non_exhaustive()
    }
}
