//! The thread that reads.

use audit::Pseudonym;
use genesys_api::SessionId;
use rusqlite::{Connection, params};
use tokio::sync::mpsc;

use super::failed::Failed;
use super::prepared::Prepared;
use super::rows::{entry, integer, micros, number, session, time, webhook};
use super::{Keys, Read};
use crate::store::PAGE;
use crate::{Session, SessionQuery, Stats, StoredCheckpoint, StoredEntry, Webhook};

/// Answers what comes, until nothing can come any more.
pub(super) fn run(connection: &Connection, keys: &Keys, mut inbox: mpsc::Receiver<Read>) {
    let mut reader = Reader {
        prepared: Prepared::new(connection),
        keys,
    };
    while let Some(read) = inbox.blocking_recv() {
        read(&mut reader);
    }
}

/// Reads what was committed.
pub(super) struct Reader<'c> {
    prepared: Prepared<'c>,
    keys: &'c Keys,
}

impl Reader<'_> {
    pub(super) fn session(&mut self, id: &SessionId) -> Result<Option<Session>, Failed> {
        let seal = &self.keys.seal;
        let sql = "SELECT * FROM sessions WHERE id = ?1";
        let found = self.prepared.rows(sql, [id.as_str()], |row| session(row, seal))?;
        Ok(found.into_iter().next())
    }

    pub(super) fn sessions(&mut self, query: &SessionQuery) -> Result<Vec<Session>, Failed> {
        let seal = &self.keys.seal;
        let read = |row: &rusqlite::Row<'_>| session(row, seal);
        match query {
            SessionQuery::All { after, limit } => {
                let sql = "SELECT * FROM sessions WHERE id > ?1 ORDER BY id LIMIT ?2";
                self.prepared.rows(sql, params![begin(after), page(*limit)], read)
            }
            SessionQuery::Live { after, limit } => {
                let sql = "SELECT * FROM sessions WHERE id > ?1 AND ended_at IS NULL ORDER BY id LIMIT ?2";
                self.prepared.rows(sql, params![begin(after), page(*limit)], read)
            }
            SessionQuery::DueBefore { time, limit } => {
                let sql = "SELECT * FROM sessions WHERE ended_at IS NULL AND lapses_at <= ?1
                           ORDER BY lapses_at, id LIMIT ?2";
                self.prepared
                    .rows(sql, params![micros(*time), page(*limit)], read)
            }
            SessionQuery::EndedBefore { time, limit } => {
                let sql = "SELECT * FROM sessions WHERE ended_at <= ?1 ORDER BY ended_at, id LIMIT ?2";
                self.prepared
                    .rows(sql, params![micros(*time), page(*limit)], read)
            }
        }
    }

    pub(super) fn webhooks(&mut self) -> Result<Vec<Webhook>, Failed> {
        let seal = &self.keys.seal;
        let sql = "SELECT * FROM webhooks ORDER BY id";
        self.prepared.rows(sql, [], |row| webhook(row, seal))
    }

    pub(super) fn audit_lines(
        &mut self,
        from: u64,
        limit: usize,
        subject: Option<Pseudonym>,
    ) -> Result<Vec<StoredEntry>, Failed> {
        let from = i64::try_from(from).unwrap_or(i64::MAX);
        match subject {
            Some(subject) => {
                let sql = "SELECT seq, leaf, bytes FROM entries WHERE subject = ?1 AND seq >= ?2
                           ORDER BY seq LIMIT ?3";
                self.prepared
                    .rows(sql, params![subject.as_bytes(), from, page(limit)], entry)
            }
            None => {
                let sql = "SELECT seq, leaf, bytes FROM entries WHERE seq >= ?1 ORDER BY seq LIMIT ?2";
                self.prepared.rows(sql, params![from, page(limit)], entry)
            }
        }
    }

    pub(super) fn checkpoints(&mut self, from: u64, limit: usize) -> Result<Vec<StoredCheckpoint>, Failed> {
        let from = i64::try_from(from).unwrap_or(i64::MAX);
        let sql = "SELECT size, note FROM checkpoints WHERE size >= ?1 ORDER BY size LIMIT ?2";
        self.prepared.rows(sql, params![from, page(limit)], |row| {
            Ok(StoredCheckpoint {
                size: number(row, 0)?,
                note: row.get(1)?,
            })
        })
    }

    pub(super) fn stats(&mut self) -> Result<Stats, Failed> {
        let mut counts = self.prepared.rows(
            "SELECT (SELECT count(*) FROM sessions WHERE ended_at IS NULL), count(*), coalesce(sum(bytes), 0),
             min(at), (SELECT count(*) FROM outbox WHERE due_at IS NULL),
             (SELECT coalesce(max(seq) + 1, 0) FROM entries) FROM outbox WHERE due_at IS NOT NULL",
            [],
            |row| {
                Ok(Stats {
                    live_sessions: number(row, 0)?,
                    outbox_pending: number(row, 1)?,
                    outbox_bytes: number(row, 2)?,
                    outbox_oldest: row.get::<_, Option<i64>>(3)?.map(time).transpose()?,
                    outbox_dead: number(row, 4)?,
                    audit_entries: number(row, 5)?,
                })
            },
        )?;
        Ok(counts.pop().unwrap_or_default())
    }
}

fn begin(after: &Option<SessionId>) -> &str {
    after.as_ref().map_or("", SessionId::as_str)
}

fn page(limit: usize) -> i64 {
    integer(limit.min(PAGE) as u64).unwrap_or(0)
}
