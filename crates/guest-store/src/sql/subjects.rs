//! Subject keys and the erasure of sessions.
//!
//! A session has one, and so has an erasure that was not delivered, whose body is the id of the session.
//!
//! A sealed key occupies a slot of a fixed size that is overwritten in place. Slots are reused, never deleted: SQLite
//! copies rows when it balances pages and may leave the old bytes in unused space, even with `secure_delete`.

use super::values::params;
use genesys_api::SessionId;

use super::error::SqlError;
use super::rows::{subject_aad, subject_key};
use super::transaction::Transaction;
use crate::StoreErrorKind;
use crate::seal::{LookupHash, SEAL_OVERHEAD};

/// A slot without a key.
const EMPTY: [u8; 32 + SEAL_OVERHEAD] = [0; 32 + SEAL_OVERHEAD];

impl Transaction<'_, '_> {
    /// Stores the key of a subject in its slot, or in a free one. Returns the slot.
    pub(crate) fn put_subject(&mut self, slot: Option<i64>, key: &[u8; 32]) -> Result<i64, SqlError> {
        let seal = &self.keys.seal;
        let slot = match slot {
            Some(slot) => {
                let sql = "SELECT key FROM subjects WHERE slot = ?1";
                let stored = self.prepared.row(sql, [slot], |row| row.get(0))?;
                let stored = subject_key(seal, slot, stored.ok_or(StoreErrorKind::Corrupt)?);
                if stored.is_ok_and(|stored| stored == *key) {
                    return Ok(slot);
                }
                slot
            }
            None => {
                let sql = "SELECT coalesce(
                    (SELECT slot FROM subjects WHERE free = 1 LIMIT 1), (SELECT max(slot) FROM subjects) + 1, 1)";
                let free = self.prepared.row(sql, (), |row| row.get(0))?;
                free.ok_or(StoreErrorKind::Corrupt)?
            }
        };
        let sql = "INSERT INTO subjects (slot, key, free) VALUES (?1, ?2, 0)
                   ON CONFLICT (slot) DO UPDATE SET key = ?2, free = 0";
        let sealed = seal.seal(subject_aad(slot), key);
        self.prepared.write(sql, params![slot, sealed])?;
        Ok(slot)
    }

    /// Overwrites the subject key of a session, then removes its row and announces that to the webhooks of its owner.
    pub(crate) fn erase_session(&mut self, id: &SessionId, at: i64) -> Result<(), SqlError> {
        let key = self.keys.seal.session_key(id);
        let sql = "SELECT slot, CASE WHEN ended_at IS NULL THEN guest END, owner, version FROM sessions WHERE key = ?1";
        let stored = self.prepared.row(sql, [key], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get::<String>(2)?, row.get(3)?))
        })?;
        let (slot, live, owner, version): (i64, Option<LookupHash>, String, i64) =
            stored.ok_or(StoreErrorKind::NotFound)?;
        self.erase_subject(slot)?;
        self.prepared
            .execute("DELETE FROM sessions WHERE key = ?1", [key])?;
        self.unlink_requests(key)?;
        let sql = "DELETE FROM deliveries WHERE session = ?1";
        self.prepared.execute(sql, [key])?;
        if let Some(guest) = live {
            self.memory.remove_guest(guest);
        }
        self.count_live(live.is_some(), false);
        self.announce_erasure(id, &owner, version + 1, at)
    }

    /// Overwrites a key, so that nothing sealed under it can be opened.
    pub(crate) fn erase_subject(&mut self, slot: i64) -> Result<(), SqlError> {
        let sql = "UPDATE subjects SET key = ?2, free = 1 WHERE slot = ?1";
        self.prepared.execute(sql, params![slot, EMPTY])?;
        self.has_erased = true;
        Ok(())
    }

    pub(crate) fn count_live(&mut self, before: bool, after: bool) {
        let others = self.memory.head.live_sessions.saturating_sub(u64::from(before));
        self.memory.head.live_sessions = others + u64::from(after);
    }
}
