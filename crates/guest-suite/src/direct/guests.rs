//! Requests of data subjects: report and erasure of a guest.

use audit::{Actor, Draft};
use genesys_api::{GuestId, SessionId};
use guest_sessions::{ErasedGuest, ErasureRecord, GuestReport, HeldSession};
use guest_store::{Change, EntryQuery, Session, SessionPages, SessionQuery, StoreErrorKind, Trail, trail};
use session_metrics::EndReason;

use super::Direct;
use super::session_row::SessionRow;
use super::update::Mutation;
use crate::Error;

/// A request about a guest.
#[derive(Clone, Debug)]
pub struct GuestRequest {
    /// The guest.
    pub guest: GuestId,
    /// The API client whose sessions are concerned. `None` for those of all.
    pub owner: Option<String>,
    /// The actor of the audit entries.
    pub actor: Actor,
}

impl Direct {
    /// Records this read, and returns a page of what is held about a guest: each session, its data, its consent history,
    /// and who received what. The page begins after a session, the `next` of the page before.
    ///
    /// # Errors
    /// [`Error::NotFound`] if no session of the guest is held, or the store's.
    pub async fn guest_report(
        &self,
        request: &GuestRequest,
        after: Option<SessionId>,
    ) -> Result<GuestReport, Error> {
        let is_first = after.is_none();
        let query = SessionQuery::OfGuest {
            guest: request.guest.clone(),
            owner: request.owner.clone(),
            after,
        };
        // one more than the page has, which shows whether there is another page
        let mut rows = self
            .store()
            .sessions(query, GuestReport::MAX_SESSIONS + 1)
            .await?;
        if is_first && rows.is_empty() {
            return Err(Error::NotFound);
        }
        let has_more = rows.len() > GuestReport::MAX_SESSIONS;
        rows.truncate(GuestReport::MAX_SESSIONS);
        let next = rows.last().filter(|_| has_more).map(|last| last.id.clone());
        let rows: Vec<_> = rows.into_iter().map(SessionRow::load).collect::<Result<_, _>>()?;
        let now = self.clock().now();
        for row in &rows {
            self.log_repeated(row.draft(now, request.actor.clone(), "guest.read"))
                .await?;
        }
        let mut sessions = Vec::new();
        for row in rows {
            let mut held = HeldSession {
                session: row.info(now.utc),
                channel_configuration_id: row.row.channel.clone(),
                guest_attributes: row.document.data.as_attributes().clone(),
                consent_history: Vec::new(),
                recipients: Vec::new(),
            };
            let query = Trail {
                subject: row.row.pseudonym(),
                before: None,
                since: None,
                limit: usize::MAX,
            };
            let (entries, _) = trail(&**self.store(), query).await?;
            for entry in entries.iter().rev() {
                held.record(entry.parse()?);
            }
            sessions.push(held);
        }
        Ok(GuestReport {
            guest_id: request.guest.clone(),
            sessions,
            next,
        })
    }

    /// Erases every session of a guest that exists now, and returns the proof. Live ones are ended first. Keys are
    /// overwritten, undelivered events are replaced by one `erased` event, and the log keeps a `session.erased` entry for
    /// each, without subject. If the store fails after the first session, the proof has the number of the remaining ones:
    /// erase the guest again. Erasures of this process take turns.
    ///
    /// # Errors
    /// [`Error::NotFound`] if no session of the guest is held, or the store's:
    /// [`Unreadable`](StoreErrorKind::Unreadable) if the row of a session cannot be read. Nothing is then erased.
    pub async fn erase_guest(&self, request: &GuestRequest) -> Result<ErasedGuest, Error> {
        let _only_one = self.shared.erasing.lock().await;
        let rows = self.rows_of_guest(request).await?;
        let (mut sessions, mut remaining) = (Vec::new(), rows.len());
        for row in rows {
            match self.erase_of_guest(&row, &request.actor).await {
                Ok(record) => sessions.extend(record),
                Err(error) if sessions.is_empty() => return Err(error),
                Err(error) => {
                    tracing::error!(%error, remaining, "cannot erase the remaining sessions of a guest");
                    break;
                }
            }
            remaining -= 1;
        }
        Ok(ErasedGuest {
            guest_id: request.guest.clone(),
            sessions,
            remaining,
            checkpoint: self.store().checkpoint().await?.note,
        })
    }

    /// Ends and erases a session. Returns `None` if its retention passed meanwhile.
    async fn erase_of_guest(&self, row: &Session, actor: &Actor) -> Result<Option<ErasureRecord>, Error> {
        if row.ended_at.is_none() {
            self.end(&row.owner, &row.id, EndReason::Guest).await?;
        }
        let tombstone = Draft::new(self.clock().now().utc, actor.clone(), "session.erased");
        let seq = match self.erase(row, tombstone).await {
            Ok(seq) => seq,
            Err(Error::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        let entries = self.store().entries(EntryQuery::From(seq), 1).await?;
        let entry = entries.first().ok_or(StoreErrorKind::Corrupt)?;
        Ok(Some(ErasureRecord {
            id: row.id.clone(),
            seq,
            leaf: entry.leaf.to_string(),
        }))
    }

    /// Removes an ended session, and returns the sequence number of its tombstone entry. The entry has no subject: one
    /// who knows the session's tombstone finds no earlier entry by it.
    pub(super) async fn erase(&self, session: &Session, tombstone: Draft) -> Result<u64, Error> {
        let change = Change::RemoveSession {
            id: session.id.clone(),
            at: tombstone.at,
        };
        let entries = self
            .commit_entries(Mutation {
                entries: vec![tombstone],
                ..change.into()
            })
            .await?;
        Ok(entries.start)
    }

    async fn rows_of_guest(&self, request: &GuestRequest) -> Result<Vec<Session>, Error> {
        let mut rows = Vec::new();
        let mut pages = SessionPages::of(SessionQuery::OfGuest {
            guest: request.guest.clone(),
            owner: request.owner.clone(),
            after: None,
        });
        while let Some(page) = pages.next(&**self.store()).await? {
            rows.extend(page);
        }
        match rows.is_empty() {
            true => Err(Error::NotFound),
            false => Ok(rows),
        }
    }
}
