//! The one way in which a session changes: load, decide, commit, and again if another task was quicker.

use std::sync::Arc;

use genesys_api::{Now, SessionId};
use guest_store::{Conflict, StoreError, StoreErrorKind, Unit};

use super::conversation::News;
use super::record::Record;
use super::{Direct, DirectError};

/// How often a change is tried again when another task changed the same session in between.
const RACES: usize = 16;

/// A unit of work, and what follows from it once it is stored.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) unit: Unit,
    pub(super) counted: Option<session_metrics::Event>,
    pub(super) news: Option<(SessionId, News)>,
}

impl From<Unit> for Work {
    fn from(unit: Unit) -> Self {
        Self {
            unit,
            ..Self::default()
        }
    }
}

impl Direct {
    /// Loads the session, lets `decide` make work of it, and commits that. `decide` runs again on the newer session
    /// if another task changed it in between, so it must have no effect of its own.
    ///
    /// Work may be committed beside a refusal, which `decide` then returns as its value: so a refusal is audited.
    pub(super) async fn update<T>(
        &self,
        owner: &str,
        id: &SessionId,
        decide: impl Fn(&Record, Now) -> Result<(Work, T), DirectError>,
    ) -> Result<T, DirectError> {
        let record = self.load(owner, id).await?;
        self.update_record(record, decide).await
    }

    /// As [`Direct::update`], of a session that was loaded before.
    pub(super) async fn update_record<T>(
        &self,
        mut record: Record,
        decide: impl Fn(&Record, Now) -> Result<(Work, T), DirectError>,
    ) -> Result<T, DirectError> {
        let mut races = 0;
        loop {
            let (work, value) = decide(&record, self.clock().now())?;
            match self.commit(work).await {
                Ok(()) => return Ok(value),
                Err(error) if is_race(&error) && races < RACES => races += 1,
                Err(error) => return Err(error.into()),
            }
            record = self.load(record.owner(), &record.row.id).await?;
        }
    }

    /// Commits work, and does what follows from it, even if nobody waits for that any more: what is stored is
    /// counted, and a session's conversations learn what concerns them.
    pub(super) async fn commit(&self, work: impl Into<Work>) -> Result<(), StoreError> {
        let Work { unit, counted, news } = work.into();
        let has_events = !unit.events.is_empty();
        if unit.change.is_none() && unit.entries.is_empty() && !has_events {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let committing = tokio::spawn(async move {
            shared.config.store.commit(unit).await?;
            shared.metrics.record(counted);
            if let Some((id, news)) = news {
                if matches!(news, News::Ended(_)) {
                    shared.signed_in.remove(&id);
                }
                shared.live.tell(&id, news);
            }
            if has_events {
                shared.events.notify_one();
            }
            Ok(())
        });
        // the task is gone only if the runtime is
        committing
            .await
            .unwrap_or_else(|_| Err(StoreErrorKind::Unavailable.into()))
    }
}

/// Whether another task was quicker.
pub(super) fn is_race(error: &StoreError) -> bool {
    error.kind() == StoreErrorKind::Conflict(Conflict::VersionChanged)
}
