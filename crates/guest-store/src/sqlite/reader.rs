//! The thread that reads.

use audit::Pseudonym;
use genesys_api::SessionId;
use rusqlite::types::Value;
use rusqlite::{Connection, params};
use tokio::sync::mpsc;

use super::error::SqliteError;
use super::prepared::Prepared;
use super::rows::{entry, integer, micros, number, session, webhook};
use super::{Keys, Read};
use crate::store::PAGE;
use crate::{Session, SessionQuery, StoredCheckpoint, StoredEntry, Webhook};

/// Executes reads until the channel closes.
pub(super) fn run(connection: &Connection, keys: &Keys, mut inbox: mpsc::Receiver<Read>) {
    let mut prepared = Prepared::new(connection);
    while let Some(read) = inbox.blocking_recv() {
        read(&mut Reader {
            prepared: &mut prepared,
            keys,
        });
    }
}

/// Reads of committed rows.
pub(super) struct Reader<'r, 'c> {
    pub(super) prepared: &'r mut Prepared<'c>,
    pub(super) keys: &'r Keys,
}

impl Reader<'_, '_> {
    pub(super) fn session(&mut self, id: &SessionId) -> Result<Option<Session>, SqliteError> {
        tracing::trace!(session = %id, "a session is read");
        let seal = &self.keys.seal;
        let sql = "SELECT * FROM sessions WHERE id = ?1";
        let found = self.prepared.rows(sql, [id.as_str()], |row| session(row, seal))?;
        Ok(found.into_iter().next())
    }

    pub(super) fn sessions(
        &mut self,
        query: &SessionQuery,
        limit: usize,
    ) -> Result<Vec<Session>, SqliteError> {
        let id = |after: &Option<SessionId>| match after {
            Some(id) => Value::from(id.as_str().to_owned()),
            None => Value::from(String::new()),
        };
        let (sql, param) = match query {
            SessionQuery::All(after) => ("SELECT * FROM sessions WHERE id > ?1 ORDER BY id", id(after)),
            SessionQuery::Live(after) => (
                "SELECT * FROM sessions WHERE id > ?1 AND ended_at IS NULL ORDER BY id",
                id(after),
            ),
            SessionQuery::DueBefore(time) => (
                "SELECT * FROM sessions WHERE ended_at IS NULL AND idle_deadline <= ?1 ORDER BY idle_deadline, id",
                micros(*time).into(),
            ),
            SessionQuery::EndedBefore(time) => (
                "SELECT * FROM sessions WHERE ended_at <= ?1 ORDER BY ended_at, id",
                micros(*time).into(),
            ),
        };
        let seal = &self.keys.seal;
        let (found, unreadable) = self
            .prepared
            .readable(sql, [param], limit.min(PAGE), |row| session(row, seal))?;
        for session in unreadable {
            tracing::error!(
                session,
                "a session cannot be read and is skipped: restore it from a backup"
            );
        }
        Ok(found)
    }

    pub(super) fn webhooks(&mut self) -> Result<Vec<Webhook>, SqliteError> {
        let seal = &self.keys.seal;
        let sql = "SELECT * FROM webhooks ORDER BY id";
        let (found, unreadable) = self
            .prepared
            .readable(sql, [], usize::MAX, |row| webhook(row, seal))?;
        for webhook in unreadable {
            tracing::error!(
                webhook,
                "a webhook cannot be read and is skipped: remove it and register it again"
            );
        }
        Ok(found)
    }

    pub(super) fn audit_lines(
        &mut self,
        from: u64,
        limit: usize,
        subject: Option<Pseudonym>,
    ) -> Result<Vec<StoredEntry>, SqliteError> {
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

    pub(super) fn checkpoints(
        &mut self,
        from: u64,
        limit: usize,
    ) -> Result<Vec<StoredCheckpoint>, SqliteError> {
        let from = i64::try_from(from).unwrap_or(i64::MAX);
        let sql = "SELECT size, note FROM checkpoints WHERE size >= ?1 ORDER BY size LIMIT ?2";
        self.prepared.rows(sql, params![from, page(limit)], |row| {
            Ok(StoredCheckpoint {
                size: number(row, 0)?,
                note: row.get(1)?,
            })
        })
    }
}

fn page(limit: usize) -> i64 {
    integer(limit.min(PAGE) as u64).unwrap_or(0)
}
