//! Statements that read committed rows.

use genesys_api::{GuestId, SessionId};

use super::error::SqlError;
use super::prepared::Prepared;
use super::rows::{micros, select_sessions, session, webhook};
use super::values::{ToValue as _, Value};
use crate::store::PAGE;
use crate::{Keys, Session, SessionQuery, StoreErrorKind, Webhook};

/// Reads of committed rows.
pub(crate) struct Reader<'r, 'c> {
    pub(crate) prepared: &'r mut Prepared<'c>,
    pub(crate) keys: &'r Keys,
}

impl Reader<'_, '_> {
    fn session(&mut self, id: &SessionId) -> Result<Option<Session>, SqlError> {
        tracing::trace!(session = %id, "a session is read");
        let seal = &self.keys.seal;
        let sql = select_sessions!("WHERE sessions.key = ?1");
        let key = [seal.session_key(id)];
        let found = self.prepared.rows(sql, key, |row| session(row, 0, seal))?;
        Ok(found.into_iter().next())
    }

    pub(crate) fn sessions(&mut self, query: &SessionQuery, limit: usize) -> Result<Vec<Session>, SqlError> {
        let seal = &self.keys.seal;
        // an empty key is before all others
        let key = |after: &Option<SessionId>| match after {
            Some(id) => seal.session_key(id).to_vec(),
            None => Vec::new(),
        };
        let (after, guests);
        let (sql, params) = match query {
            SessionQuery::Id(id) => return Ok(self.session(id)?.into_iter().collect()),
            SessionQuery::All(id) => {
                after = key(id);
                let sql = select_sessions!("WHERE sessions.key > ?1 ORDER BY sessions.key");
                (sql, vec![after.to_value()])
            }
            SessionQuery::Live(id) => {
                after = key(id);
                let sql =
                    select_sessions!("WHERE sessions.key > ?1 AND ended_at IS NULL ORDER BY sessions.key");
                (sql, vec![after.to_value()])
            }
            SessionQuery::EndedBefore(time) => (
                select_sessions!("WHERE ended_at <= ?1 ORDER BY ended_at, sessions.rowid"),
                vec![Value::Integer(micros(*time))],
            ),
            SessionQuery::OfGuest {
                guest,
                owner,
                after: id,
            } => {
                (after, guests) = (key(id), self.guest_hashes(guest, owner.as_ref())?);
                // both parts read an index only
                let sql = select_sessions!(
                    "WHERE sessions.rowid IN (
                        SELECT rowid FROM sessions INDEXED BY sessions_live WHERE ended_at IS NULL
                        AND guest IN (SELECT unhex(value) FROM json_each(CAST(?2 AS TEXT))) AND key > ?1
                        UNION ALL
                        SELECT rowid FROM sessions INDEXED BY sessions_ended WHERE ended_at IS NOT NULL
                        AND guest IN (SELECT unhex(value) FROM json_each(CAST(?2 AS TEXT))) AND key > ?1
                     ) ORDER BY sessions.key"
                );
                (sql, vec![after.to_value(), guests.to_value()])
            }
        };
        let (found, unreadable) = self
            .prepared
            .readable(sql, params.as_slice(), limit.min(PAGE), |row| {
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
    fn guest_hashes(&mut self, guest: &GuestId, owner: Option<&String>) -> Result<String, SqlError> {
        let owners = match owner {
            Some(owner) => vec![owner.clone()],
            None => self
                .prepared
                .rows("SELECT DISTINCT owner FROM sessions", (), |row| row.get(0))?,
        };
        let hashes = owners.iter().map(|owner| {
            let hash = self.keys.seal.guest_hash(owner, guest);
            format!("\"{:032x}\"", u128::from_be_bytes(hash))
        });
        Ok(format!("[{}]", hashes.collect::<Vec<_>>().join(",")))
    }

    pub(crate) fn webhooks(&mut self) -> Result<Vec<Webhook>, SqlError> {
        let seal = &self.keys.seal;
        let sql = "SELECT * FROM webhooks ORDER BY id";
        let (found, unreadable) = self
            .prepared
            .readable(sql, (), usize::MAX, |row| webhook(row, seal))?;
        for webhook in unreadable {
            tracing::error!(
                webhook,
                "a webhook cannot be read and is skipped: remove it and register it again"
            );
        }
        Ok(found)
    }
}
