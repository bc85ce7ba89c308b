//! State of a store that the writer holds in memory.

use std::collections::BTreeSet;

use super::error::SqlError;
use super::live_guests::LiveGuests;
use super::outbox::QueueCounts;
use super::turns::Turns;
use crate::StoreErrorKind;
use crate::audit_log::LogHead;
use crate::seal::LookupHash;

/// Counters and heads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    pub(crate) log: LogHead,
    pub(crate) live_sessions: u64,
    /// Number of the last transaction that changed something.
    pub(crate) transactions: u64,
    /// Counts that the open transaction has not written yet.
    pub(crate) queues: QueueCounts,
    /// Webhooks whose full queue was logged. They are logged again after their last snapshot was delivered.
    pub(crate) overflowing: BTreeSet<String>,
}

/// The state of the writer. A rollback restores it.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) head: Head,
    /// `None` if an index of the database holds them.
    pub(crate) guests: Option<LiveGuests>,
    pub(crate) turns: Turns,
    /// The passing fault of the last change: `Full`, or `Unavailable` as at a limit of the size of files.
    pub(crate) fault: Option<StoreErrorKind>,
}

impl Memory {
    /// Keeps the changes of a transaction.
    pub(crate) fn commit(&mut self) {
        if let Some(guests) = &mut self.guests {
            guests.commit();
        }
        self.turns.commit();
    }

    /// Reverts the changes of a transaction that began with the head `before`.
    pub(crate) fn roll_back(&mut self, before: Head, fault: Option<StoreErrorKind>) {
        self.head = before;
        self.undo_guests(0);
        self.turns.roll_back();
        self.fault = fault.and_then(unwritable).or(self.fault);
    }

    pub(crate) fn remove_guest(&mut self, guest: LookupHash) {
        if let Some(guests) = &mut self.guests {
            guests.remove(guest);
        }
    }

    /// The number of changes of live guests since the last commit.
    pub(crate) fn guest_changes(&self) -> usize {
        self.guests.as_ref().map_or(0, LiveGuests::changes)
    }

    /// Reverts all but the first changes of live guests since the last commit.
    pub(crate) fn undo_guests(&mut self, changes: usize) {
        if let Some(guests) = &mut self.guests {
            guests.roll_back(changes);
        }
    }

    /// Logs the error of a transaction that is rolled back, unless a passing fault is known, and returns its kind.
    pub(crate) fn rolled_back(&self, error: &SqlError) -> StoreErrorKind {
        if self.fault.is_none() {
            tracing::warn!(%error, "a transaction of the store is rolled back");
        }
        error.fault()
    }
}

/// The kind of a passing fault that a change can meet until the operator ends it.
pub(crate) fn unwritable(kind: StoreErrorKind) -> Option<StoreErrorKind> {
    matches!(kind, StoreErrorKind::Full | StoreErrorKind::Unavailable).then_some(kind)
}
