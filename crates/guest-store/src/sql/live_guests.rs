//! The guests that have a live session.

use std::collections::HashSet;

use super::error::SqlError;
use super::prepared::Prepared;
use crate::seal::LookupHash;

/// The keyed hashes of guests with a live session, which the writer holds in memory: about 20 to 40 bytes each.
///
/// An index of them in the file would cost a page per unit, because neighbors in it have nothing in common.
#[derive(Debug, Default)]
pub(crate) struct LiveGuests {
    hashes: HashSet<LookupHash>,
    /// The changes since the last commit, with whether the hash was added.
    changes: Vec<(LookupHash, bool)>,
}

impl LiveGuests {
    /// Reads the hashes from the index of live sessions.
    pub(crate) fn read(prepared: &mut Prepared<'_>) -> Result<Self, SqlError> {
        let sql = "SELECT guest FROM sessions INDEXED BY sessions_live WHERE ended_at IS NULL";
        let hashes = prepared.rows(sql, (), |row| row.get(0))?;
        Ok(Self {
            hashes: hashes.into_iter().collect(),
            changes: Vec::new(),
        })
    }

    /// Adds a guest. Returns whether it had no live session.
    pub(crate) fn add(&mut self, guest: LookupHash) -> bool {
        let is_new = self.hashes.insert(guest);
        if is_new {
            self.changes.push((guest, true));
        }
        is_new
    }

    pub(crate) fn remove(&mut self, guest: LookupHash) {
        if self.hashes.remove(&guest) {
            self.changes.push((guest, false));
        }
    }

    /// The number of changes since the last commit, to which [`roll_back`](Self::roll_back) returns.
    pub(crate) fn changes(&self) -> usize {
        self.changes.len()
    }

    /// Reverts all but the first changes since the last commit.
    pub(crate) fn roll_back(&mut self, changes: usize) {
        for (guest, was_added) in self.changes.drain(changes..).rev() {
            match was_added {
                true => self.hashes.remove(&guest),
                false => self.hashes.insert(guest),
            };
        }
    }

    /// Keeps the changes.
    pub(crate) fn commit(&mut self) {
        self.changes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rollback_reverts_the_last_changes() {
        let mut guests = LiveGuests::default();
        assert!(guests.add([1; 16]));
        guests.commit();
        assert!(!guests.add([1; 16]));
        guests.remove([1; 16]);
        let changes = guests.changes();
        assert!(guests.add([2; 16]));
        assert!(guests.add([1; 16]));
        guests.roll_back(changes);
        assert!(guests.add([2; 16]));
        guests.roll_back(0);
        assert!(!guests.add([1; 16]));
        assert_eq!(guests.hashes.len(), 1);
    }
}
