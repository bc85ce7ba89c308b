//! Requests of data subjects: what is held about a guest, and its erasure.

use audit::{Actor, Draft, Entry};
use genesys_api::GuestId;
use guest_sessions::{ErasedGuest, ErasureRecord, GuestReport, HeldSession};
use guest_store::{Change, EntryQuery, Session, SessionQuery, StoreErrorKind, StoredEntry, Unit};
use session_metrics::EndReason;

use super::session_row::SessionRow;
use super::update::Mutation;
use super::{Direct, PAGE};
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
    /// Records this read, and returns all that is held about a guest: each session, its data, its consent history, and who
    /// received what.
    ///
    /// # Errors
    /// [`Error::NotFound`] if no session of the guest is held, or the store's.
    pub async fn guest_report(&self, request: &GuestRequest) -> Result<GuestReport, Error> {
        let rows = self.rows_of_guest(request).await?;
        let rows: Vec<_> = rows.into_iter().map(SessionRow::load).collect::<Result<_, _>>()?;
        let now = self.clock().now();
        let reads = rows
            .iter()
            .map(|row| row.draft(now, request.actor.clone(), "guest.read"));
        let unit = Unit {
            entries: reads.collect(),
            ..Unit::default()
        };
        self.store().commit(unit).await?;
        let mut sessions = Vec::new();
        for row in rows {
            let mut held = HeldSession {
                session: row.info(now.utc),
                channel_configuration_id: row.row.channel.clone(),
                guest_attributes: row.document.data.as_attributes().clone(),
                consent_history: Vec::new(),
                recipients: Vec::new(),
            };
            for entry in self.entries_of(&row.row).await?.iter().rev() {
                held.record(parse(entry)?);
            }
            sessions.push(held);
        }
        Ok(GuestReport {
            guest_id: request.guest.clone(),
            sessions,
        })
    }

    /// Erases every session of a guest that exists now, and returns the proof. Live ones are ended first. Keys are
    /// overwritten, undelivered events are replaced by one `erased` event, and the log keeps a `session.erased` entry for
    /// each. After a failure, erase again: what was erased stays so.
    ///
    /// # Errors
    /// [`Error::NotFound`] if no session of the guest is held, or the store's.
    pub async fn erase_guest(&self, request: &GuestRequest) -> Result<ErasedGuest, Error> {
        let mut sessions = Vec::new();
        for row in self.rows_of_guest(request).await? {
            if row.ended_at.is_none() {
                self.end(&row.owner, &row.id, EndReason::Guest).await?;
            }
            let now = self.clock().now().utc;
            match self
                .erase(&row, Draft::new(now, request.actor.clone(), "session.erased"))
                .await
            {
                // its retention passed meanwhile
                Ok(()) | Err(Error::NotFound) => {}
                Err(error) => return Err(error),
            }
            let entries = self.entries_of(&row).await?;
            for stored in entries {
                if parse(&stored)?.draft.action == "session.erased" {
                    sessions.push(ErasureRecord {
                        id: row.id.clone(),
                        seq: stored.seq,
                        leaf: stored.leaf.to_string(),
                    });
                    break;
                }
            }
        }
        Ok(ErasedGuest {
            guest_id: request.guest.clone(),
            sessions,
            checkpoint: self.store().checkpoint().await?.note,
        })
    }

    /// Removes an ended session, with its tombstone entry.
    pub(super) async fn erase(&self, session: &Session, tombstone: Draft) -> Result<(), Error> {
        let at = tombstone.at;
        self.commit(Mutation {
            entry: Some(tombstone.subject(session.pseudonym())),
            ..Change::RemoveSession {
                id: session.id.clone(),
                at,
            }
            .into()
        })
        .await
    }

    async fn rows_of_guest(&self, request: &GuestRequest) -> Result<Vec<Session>, Error> {
        let mut rows: Vec<Session> = Vec::new();
        loop {
            let query = SessionQuery::OfGuest {
                guest: request.guest.clone(),
                owner: request.owner.clone(),
                after: rows.last().map(|last| last.id.clone()),
            };
            let page = self.store().sessions(query, PAGE).await?;
            let is_last = page.len() < PAGE;
            rows.extend(page);
            if is_last {
                return if rows.is_empty() {
                    Err(Error::NotFound)
                } else {
                    Ok(rows)
                };
            }
        }
    }

    /// The audit entries of a session, newest first.
    async fn entries_of(&self, session: &Session) -> Result<Vec<StoredEntry>, Error> {
        let mut entries: Vec<StoredEntry> = Vec::new();
        loop {
            let query = EntryQuery::OfSubject {
                subject: session.pseudonym(),
                before: entries.last().map(|last| last.seq),
            };
            let page = self.store().entries(query, PAGE).await?;
            if page.is_empty() {
                return Ok(entries);
            }
            entries.extend(page);
        }
    }
}

fn parse(entry: &StoredEntry) -> Result<Entry, Error> {
    Entry::parse(&entry.bytes).map_err(|_| StoreErrorKind::Corrupt.into())
}
