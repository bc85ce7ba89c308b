//! Compare-and-swap of a session: load, decide, commit, and again after a conflict.

use std::sync::Arc;

use genesys_api::{Now, SessionId};
use guest_store::{Change, Conflict, StoreError, StoreErrorKind, Unit};

use super::conversation::SessionUpdate;
use super::session_row::SessionRow;
use super::{Direct, DirectError};

/// Largest number of retries after a conflict.
const RETRIES: usize = 16;

/// A unit of work and its effects in this process once it is stored.
#[derive(Debug, Default)]
pub(super) struct Mutation {
    pub(super) unit: Unit,
    pub(super) metric: Option<session_metrics::Event>,
    pub(super) update: Option<(SessionId, SessionUpdate)>,
}

impl From<Change> for Mutation {
    fn from(change: Change) -> Self {
        Unit::from(change).into()
    }
}

impl From<Unit> for Mutation {
    fn from(unit: Unit) -> Self {
        Self {
            unit,
            ..Self::default()
        }
    }
}

impl Direct {
    /// Loads the session and commits the mutation that `decide` returns. After a conflict `decide` runs again on the
    /// newer session, so it must have no side effects.
    ///
    /// A refusal that is audited is a value beside its mutation.
    pub(super) async fn update<T>(
        &self,
        owner: &str,
        id: &SessionId,
        decide: impl Fn(&SessionRow, Now) -> Result<(Mutation, T), DirectError>,
    ) -> Result<T, DirectError> {
        let record = self.load(owner, id).await?;
        self.update_record(record, decide).await
    }

    /// As [`Direct::update`], for a loaded session.
    pub(super) async fn update_record<T>(
        &self,
        mut record: SessionRow,
        decide: impl Fn(&SessionRow, Now) -> Result<(Mutation, T), DirectError>,
    ) -> Result<T, DirectError> {
        let mut retries = 0;
        loop {
            let (mutation, value) = decide(&record, self.clock().now())?;
            match self.commit(mutation).await {
                Ok(()) => return Ok(value),
                Err(error) if is_conflict(&error) && retries < RETRIES => retries += 1,
                Err(error) => return Err(error.into()),
            }
            record = self.load(record.owner(), &record.row.id).await?;
        }
    }

    /// Commits a mutation, then counts its metric and notifies the conversations of the session. Dropping the future
    /// cancels neither.
    pub(super) async fn commit(&self, mutation: impl Into<Mutation>) -> Result<(), StoreError> {
        let Mutation { unit, metric, update } = mutation.into();
        let has_events = !unit.events.is_empty();
        if unit.change.is_none() && unit.entries.is_empty() && !has_events {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let committing = tokio::spawn(async move {
            shared.config.store.commit(unit).await?;
            shared.metrics.record(metric);
            if let Some((id, update)) = update {
                if matches!(update, SessionUpdate::Ended(_)) {
                    shared.signed_in.remove(&id);
                }
                shared.live.notify(&id, update);
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

/// Whether another task changed the session first.
pub(super) fn is_conflict(error: &StoreError) -> bool {
    error.kind() == StoreErrorKind::Conflict(Conflict::VersionChanged)
}
