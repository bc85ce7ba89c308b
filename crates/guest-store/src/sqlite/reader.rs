//! The thread that reads.

use genesys_api::{GuestId, SessionId};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use tokio::sync::mpsc;

use super::error::SqliteError;
use super::prepared::Prepared;
use super::rows::{micros, select_sessions, session, webhook};
use super::{Keys, Read};
use crate::store::PAGE;
use crate::{Session, SessionQuery, StoreErrorKind, Webhook};

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
    fn session(&mut self, id: &SessionId) -> Result<Option<Session>, SqliteError> {
        tracing::trace!(session = %id, "a session is read");
        let seal = &self.keys.seal;
        let sql = select_sessions!("WHERE sessions.key = ?1");
        let key = [seal.session_key(id)];
        let found = self.prepared.rows(sql, key, |row| session(row, 0, seal))?;
        Ok(found.into_iter().next())
    }

    pub(super) fn sessions(
        &mut self,
        query: &SessionQuery,
        limit: usize,
    ) -> Result<Vec<Session>, SqliteError> {
        let seal = &self.keys.seal;
        let key = |after: &Option<SessionId>| match after {
            Some(id) => Value::from(seal.session_key(id).to_vec()),
            None => Value::from(Vec::new()),
        };
        let (sql, params) = match query {
            SessionQuery::Id(id) => return Ok(self.session(id)?.into_iter().collect()),
            SessionQuery::All(after) => (
                select_sessions!("WHERE sessions.key > ?1 ORDER BY sessions.key"),
                vec![key(after)],
            ),
            SessionQuery::Live(after) => (
                select_sessions!("WHERE sessions.key > ?1 AND ended_at IS NULL ORDER BY sessions.key"),
                vec![key(after)],
            ),
            SessionQuery::EndedBefore(time) => (
                select_sessions!("WHERE ended_at <= ?1 ORDER BY ended_at, sessions.rowid"),
                vec![micros(*time).into()],
            ),
            SessionQuery::OfGuest { guest, owner, after } => (
                // both parts read an index only
                select_sessions!(
                    "WHERE sessions.rowid IN (
                        SELECT rowid FROM sessions INDEXED BY sessions_live WHERE ended_at IS NULL
                        AND guest IN (SELECT unhex(value) FROM json_each(?2)) AND key > ?1
                        UNION ALL
                        SELECT rowid FROM sessions INDEXED BY sessions_ended WHERE ended_at IS NOT NULL
                        AND guest IN (SELECT unhex(value) FROM json_each(?2)) AND key > ?1
                     ) ORDER BY sessions.key"
                ),
                vec![key(after), self.guest_hashes(guest, owner.as_ref())?.into()],
            ),
        };
        let (found, unreadable) =
            self.prepared
                .readable(sql, params_from_iter(params), limit.min(PAGE), |row| {
                    session(row, 0, seal)
                })?;
        if matches!(query, SessionQuery::OfGuest { .. }) && !unreadable.is_empty() {
            let rows = unreadable.len();
            return Err(StoreErrorKind::Unreadable { rows }.into());
        }
        for session in unreadable {
            tracing::error!(
                session,
                "a session cannot be read and is skipped: restore it from a backup; its key is a keyed hash of its id"
            );
        }
        Ok(found)
    }

    /// The hashes of a guest at this owner or at all, as a JSON array of hexadecimal texts.
    fn guest_hashes(&mut self, guest: &GuestId, owner: Option<&String>) -> Result<String, SqliteError> {
        let owners = match owner {
            Some(owner) => vec![owner.clone()],
            None => self
                .prepared
                .rows("SELECT DISTINCT owner FROM sessions", [], |row| Ok(row.get(0)?))?,
        };
        let hashes = owners.iter().map(|owner| {
            let hash = self.keys.seal.guest_hash(owner, guest);
            format!("\"{:032x}\"", u128::from_be_bytes(hash))
        });
        Ok(format!("[{}]", hashes.collect::<Vec<_>>().join(",")))
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
}
