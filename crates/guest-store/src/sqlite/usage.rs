//! Usage of the outbox, counted as it changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Limits;

/// Pending deliveries and the bytes of their bodies.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Usage {
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

impl Usage {
    pub(super) fn of_one(bytes: u64) -> Self {
        Self { rows: 1, bytes }
    }

    fn plus(self, more: Self) -> Self {
        Self {
            rows: self.rows.saturating_add(more.rows),
            bytes: self.bytes.saturating_add(more.bytes),
        }
    }

    fn minus(self, less: Self) -> Self {
        Self {
            rows: self.rows.saturating_sub(less.rows),
            bytes: self.bytes.saturating_sub(less.bytes),
        }
    }
}

/// Usage of the outbox, in total and by owner.
#[derive(Clone, Debug, Default)]
pub(super) struct OutboxUsage {
    pending: Usage,
    /// Usage by owner, without owners that have none pending. Shared, so that the copy for a rollback is cheap.
    owners: Arc<BTreeMap<String, Usage>>,
    /// Dead letters.
    pub(super) dead: u64,
}

impl OutboxUsage {
    pub(super) fn pending(&self) -> Usage {
        self.pending
    }

    pub(super) fn has_room(&self, owner: &str, more: Usage, limits: &Limits) -> bool {
        let all = self.pending.plus(more);
        let own = self.owners.get(owner).copied().unwrap_or_default().plus(more);
        all.rows <= limits.outbox_rows
            && all.bytes <= limits.outbox_bytes
            && own.rows <= limits.owner_outbox_rows
            && own.bytes <= limits.owner_outbox_bytes
    }

    pub(super) fn add(&mut self, owner: &str, more: Usage) {
        self.pending = self.pending.plus(more);
        let owners = Arc::make_mut(&mut self.owners);
        let own = owners.entry(owner.to_owned()).or_default();
        *own = own.plus(more);
    }

    pub(super) fn remove(&mut self, owner: &str, less: Usage) {
        self.pending = self.pending.minus(less);
        let owners = Arc::make_mut(&mut self.owners);
        if let Some(own) = owners.get_mut(owner) {
            *own = own.minus(less);
            if own.rows == 0 {
                owners.remove(owner);
            }
        }
    }
}
