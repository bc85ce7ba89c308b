//! Requests of data subjects: report and erasure of a guest.

use std::collections::BTreeMap;

use audit::{Actor, Draft, Pseudonym};
use genesys_api::{GuestId, SessionId};
use guest_sessions::{ErasedGuest, ErasureKey, ErasureRecord, ErrorCode, GuestReport, HeldSession};
use guest_store::{Change, Session, SessionPages, SessionQuery, StoredEntry, Trail, trail};
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

impl GuestRequest {
    /// The subject of the entries about an erasure with this key. It depends on no key of the store, and the key of the
    /// request has enough entropy, so a search over all guests does not find it.
    fn erasure_subject(&self, key: &ErasureKey) -> Pseudonym {
        let key = Pseudonym::of(&[0; 32], key.as_key().as_str());
        let scope = self.owner.as_deref().unwrap_or_default();
        Pseudonym::of(key.as_bytes(), &format!("{scope} {}", self.guest))
    }
}

impl Direct {
    /// Records this read, and returns a page of what is held about a guest: each session, its data, its consent history,
    /// and who received what. The page begins after a session, the `next` of the page before.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`] if no session of the guest is held, or the store's.
    pub async fn guest_report(
        &self,
        request: &GuestRequest,
        after: Option<SessionId>,
    ) -> Result<GuestReport, Error> {
        let is_first = after.is_none();
        // one more than the page has, which shows whether there is another page
        let limit = GuestReport::MAX_SESSIONS + 1;
        let (mut rows, mut after) = (Vec::new(), after);
        loop {
            let query = SessionQuery::OfGuest {
                guest: request.guest.clone(),
                owner: request.owner.clone(),
                after,
            };
            let page = self.store().sessions(query, limit).await?;
            let is_full = page.len() == limit;
            after = page.last().map(|last| last.id.clone());
            rows.extend(page.into_iter().filter(|row| self.is_concerned(request, row)));
            if !is_full || rows.len() >= limit {
                break;
            }
        }
        if is_first && rows.is_empty() {
            return Err(ErrorCode::NotFound.into());
        }
        let has_more = rows.len() > GuestReport::MAX_SESSIONS;
        rows.truncate(GuestReport::MAX_SESSIONS);
        let next = rows.last().filter(|_| has_more).map(|last| last.id.clone());
        let rows: Vec<_> = rows.into_iter().map(SessionRow::load).collect::<Result<_, _>>()?;
        let now = self.clock().now();
        for row in &rows {
            self.audit_log()
                .log_repeated(row.draft(now, request.actor.clone(), "guest.read"))
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
            let entries = self.trail_of(row.row.pseudonym()).await?;
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
    /// each. The subject of that entry is a hash of the key and the guest: it leads to no earlier entry. Erasures of this
    /// process take turns.
    ///
    /// After a failure or a lost result, a repetition with the same key erases what remains, and returns the whole proof. A
    /// session that was created after the first entry of that key is not part of the erasure, and stays.
    /// The key is random, such as [`ErasureKey::random`]: one who has it and the guest's id finds those entries.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`] if no session of the guest is held and none was erased with this key, or the store's:
    /// [`Unreadable`](guest_store::StoreErrorKind::Unreadable) if the row of a session cannot be read. Nothing is then erased.
    pub async fn erase_guest(&self, request: &GuestRequest, key: &ErasureKey) -> Result<ErasedGuest, Error> {
        let _only_one = self.shared.erasing.lock().await;
        let subject = request.erasure_subject(key);
        let begun = self.trail_of(subject).await?.last().map(|entry| entry.seq);
        let mut ids = BTreeMap::new();
        for row in self
            .rows_of_guest(&request.guest, request.owner.as_deref())
            .await?
            .into_iter()
            .filter(|row| self.is_concerned(request, row))
        {
            if let Some(begun) = begun
                && let Some(created) = self.trail_of(row.pseudonym()).await?.last()
                && created.seq > begun
            {
                continue;
            }
            if row.ended_at.is_none() {
                let (record, actor) = (self.load_any(&row.id).await?, request.actor.clone());
                self.end_if(record, EndReason::Guest, actor, None).await?;
            }
            let now = self.clock().now().utc;
            let tombstone = Draft::new(now, request.actor.clone(), "session.erased").subject(subject);
            match self.erase(&row, tombstone).await {
                Ok(seq) => ids.insert(seq, row.id),
                // its retention passed meanwhile
                Err(Error::Refused(ErrorCode::NotFound)) => None,
                Err(error) => return Err(error),
            };
        }
        let entries = self.trail_of(subject).await?;
        if entries.is_empty() {
            return Err(ErrorCode::NotFound.into());
        }
        let record = |entry: &StoredEntry| ErasureRecord {
            id: ids.remove(&entry.seq),
            seq: entry.seq,
            leaf: entry.leaf.to_string(),
        };
        Ok(ErasedGuest {
            guest_id: request.guest.clone(),
            sessions: entries.iter().rev().map(record).collect(),
            checkpoint: self.store().checkpoint().await?.note,
        })
    }

    /// Whether a session of the guest is known to the one who asks.
    fn is_concerned(&self, request: &GuestRequest, session: &Session) -> bool {
        request.owner.is_none() || self.is_known(session)
    }

    /// Removes an ended session, and returns the sequence number of its tombstone entry. The session is not the subject of
    /// the entry: one who knows the session's tombstone finds no earlier entry by it.
    pub(super) async fn erase(&self, session: &Session, tombstone: Draft) -> Result<u64, Error> {
        let change = Change::RemoveSession {
            id: session.id.clone(),
            at: tombstone.at,
        };
        let entries = self
            .commit(Mutation {
                entries: vec![tombstone],
                ..change.into()
            })
            .await?;
        Ok(entries.start)
    }

    /// The entries of a subject, newest first.
    async fn trail_of(&self, subject: Pseudonym) -> Result<Vec<StoredEntry>, Error> {
        let query = Trail {
            subject,
            before: None,
            since: None,
            limit: usize::MAX,
        };
        Ok(trail(&**self.store(), query).await?.0)
    }

    pub(super) async fn rows_of_guest(
        &self,
        guest: &GuestId,
        owner: Option<&str>,
    ) -> Result<Vec<Session>, Error> {
        let mut rows = Vec::new();
        let mut pages = SessionPages::of(SessionQuery::OfGuest {
            guest: guest.clone(),
            owner: owner.map(str::to_owned),
            after: None,
        });
        while let Some(page) = pages.next(&**self.store()).await? {
            rows.extend(page);
        }
        Ok(rows)
    }
}
