//! Compare-and-swap of a session: load, decide, commit, and again after a conflict. Entries of the audit log.

use std::ops::Range;
use std::sync::Arc;

use audit::Draft;
use genesys_api::{Now, SessionId};
use guest_conversation::client::SessionUpdate;
use guest_payload::Policy;
use guest_store::{Change, Committed, Conflict, Event, KeyedRequest, SharedToken, StoreErrorKind, Unit};
use time::OffsetDateTime;

use super::Direct;
use super::deadlines::DELIVERIES_KEPT;
use super::requests::KEPT;
use super::session_row::{Labels, SessionRow};
use crate::Error;

/// Largest number of retries after a conflict. Those of this process take turns, so that few meet another conflict.
const RETRIES: usize = 16;

/// A unit of work and its effects in this process once it is stored.
#[derive(Debug, Default)]
pub(super) struct Mutation {
    pub(super) token: Option<SharedToken>,
    pub(super) change: Option<Change>,
    pub(super) request: Option<KeyedRequest>,
    /// Entries in their order.
    pub(super) entries: Vec<Draft>,
    /// An entry that a caller can repeat, logged or counted before.
    pub(super) repeated: Option<Draft>,
    pub(super) events: Vec<Event>,
    pub(super) metric: Option<(Labels, session_metrics::Event)>,
    /// Additions to totals, beside those of `metric`.
    pub(super) totals: Vec<(String, u64)>,
    pub(super) update: Option<(SessionId, SessionUpdate)>,
    /// A deadline that is new, or can be earlier than the present one.
    pub(super) deadline: Option<Deadline>,
}

/// The deadline of a session after a decision.
#[derive(Debug)]
pub(super) struct Deadline {
    pub(super) id: SessionId,
    pub(super) at: OffsetDateTime,
    /// The policy of the decision. If it was replaced meanwhile, the session is due at once.
    pub(super) policy: Arc<Policy>,
}

impl From<Change> for Mutation {
    fn from(change: Change) -> Self {
        Self {
            change: Some(change),
            ..Self::default()
        }
    }
}

impl Mutation {
    /// No change, but an entry that a caller can repeat.
    pub(super) fn repeated(entry: Draft) -> Self {
        Self {
            repeated: Some(entry),
            ..Self::default()
        }
    }
}

impl From<Draft> for Mutation {
    fn from(entry: Draft) -> Self {
        Self {
            entries: vec![entry],
            ..Self::default()
        }
    }
}

impl Direct {
    /// Loads the session and commits the mutation that `decide` returns. After a conflict `decide` runs again on the
    /// newer session, so it must have no side effects.
    pub(super) async fn update<T>(
        &self,
        owner: &str,
        id: &SessionId,
        decide: impl Fn(&SessionRow, Now) -> Result<(Mutation, T), Error>,
    ) -> Result<T, Error> {
        let record = self.load(owner, id).await?;
        self.update_record(record, decide).await
    }

    /// As [`Direct::update`], for the work of this process.
    pub(super) async fn update_any<T>(
        &self,
        id: &SessionId,
        decide: impl Fn(&SessionRow, Now) -> Result<(Mutation, T), Error>,
    ) -> Result<T, Error> {
        let record = self.load_any(id).await?;
        self.update_record(record, decide).await
    }

    /// As [`Direct::update`], for a loaded session.
    pub(super) async fn update_record<T>(
        &self,
        mut record: SessionRow,
        decide: impl Fn(&SessionRow, Now) -> Result<(Mutation, T), Error>,
    ) -> Result<T, Error> {
        let (mut retries, mut turn) = (0, None);
        loop {
            let (mutation, value) = decide(&record, self.clock().now())?;
            match self.commit(mutation).await {
                Ok(_) => return Ok(value),
                Err(error) if is_conflict(&error) && retries < RETRIES => retries += 1,
                Err(error) => return Err(error),
            }
            if turn.is_none() {
                turn = Some(self.shared.retrying.lock().await);
            }
            record = self.load_any(&record.row.id).await?;
        }
    }

    /// Commits a mutation, then counts its metric and notifies its conversations, even if the future is dropped. Returns the
    /// sequence numbers of its entries.
    pub(super) async fn commit(&self, mutation: Mutation) -> Result<Range<u64>, Error> {
        Ok(self
            .commit_and_count(mutation)
            .await?
            .map_or(0..0, |committed| committed.entries))
    }

    /// As [`commit`](Self::commit). Returns what was stored, `None` if there was nothing.
    pub(super) async fn commit_and_count(&self, mutation: Mutation) -> Result<Option<Committed>, Error> {
        if let Some(entry) = mutation.repeated {
            self.audit_log().log_repeated(entry).await?;
        }
        if mutation.token.is_none() && mutation.change.is_none() && mutation.entries.is_empty() {
            return Ok(None);
        }
        let metrics = &self.shared.metrics;
        let metric = mutation
            .metric
            .map(|(labels, event)| (labels.group(metrics), event));
        let unit = Unit {
            token: mutation.token,
            change: mutation.change,
            request: mutation.request,
            entries: mutation.entries,
            events: mutation.events,
            totals: metric
                .iter()
                .flat_map(|(group, event)| group.totals(event))
                .chain(mutation.totals)
                .collect(),
        };
        let (update, deadline) = (mutation.update, mutation.deadline);
        let kept = unit.request.as_ref().map(|request| request.at + KEPT);
        let ended = match &unit.change {
            Some(Change::UpdateSession(row)) => row.ended_at,
            _ => None,
        };
        let has_deliveries = !unit.events.is_empty()
            || matches!(
                unit.change,
                Some(Change::PutWebhook(_) | Change::RemoveSession { .. } | Change::ReplayDeliveries { .. })
            );
        let shared = Arc::clone(&self.shared);
        let changes_webhook = matches!(
            unit.change,
            Some(Change::PutWebhook(_) | Change::RemoveWebhook(_))
        );
        let committing = tokio::spawn(async move {
            let committed = shared.config.store.commit(unit).await;
            if changes_webhook {
                // also after an error: its outcome may be unknown
                shared.subscribed.handle_change();
            }
            let committed = committed?;
            let now = shared.config.clock().now();
            if let Some((group, event)) = metric {
                group.record(event, now.instant);
            }
            if let Some(Deadline { id, at, policy }) = deadline {
                // replaced after this read, it finds the session in the store
                let is_in_force = Arc::ptr_eq(&policy, &shared.rules().policy);
                shared
                    .deadlines
                    .set(&id, if is_in_force { at } else { now.utc }, now);
            }
            let erased = ended.map(|at| at + shared.config.retention);
            kept.into_iter()
                .chain(erased)
                .for_each(|at| shared.deadlines.remove_by(at));
            if let Some((id, update)) = update {
                if matches!(update, SessionUpdate::Ended(_)) {
                    shared.remove_signed_in(&id);
                    shared.deadlines.remove(&id);
                }
                shared.live.notify(&id, update);
            }
            if has_deliveries {
                shared.deadlines.remove_by(now.utc + DELIVERIES_KEPT);
                shared.events.notify_one();
            }
            Ok(Some(committed))
        });
        // the task is lost only with its runtime
        let unavailable = |_| Err(StoreErrorKind::Unavailable.into());
        committing.await.unwrap_or_else(unavailable)
    }
}

/// Whether another task changed the row first.
pub(super) fn is_conflict(error: &Error) -> bool {
    matches!(error, Error::Store(error) if error.kind() == StoreErrorKind::Conflict(Conflict::VersionChanged))
}
