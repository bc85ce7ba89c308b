//! What comes into the outbox and what is given up, as statements, and counted.

use rusqlite::params;

use super::failed::Failed;
use super::rows::{integer, micros, number, place, time};
use super::tally::Share;
use super::writer::Transaction;
use crate::{Conflict, Event, Stats, StoreErrorKind};

impl Transaction<'_, '_> {
    /// Writes the deliveries of an event. Gives how many are to be made, and how many were dropped as there was no
    /// room; those are an error if it `needs_room`.
    pub(super) fn fan_out(&mut self, event: &Event, needs_room: bool) -> Result<(usize, usize), Failed> {
        let webhooks = self.prepared.rows(
            "SELECT id FROM webhooks WHERE owner = ?1 AND enabled
             AND EXISTS (SELECT 1 FROM json_each(events) WHERE value = ?2) ORDER BY id",
            [&event.owner, &event.name],
            |row| Ok(row.get::<_, String>(0)?),
        )?;
        let mut dropped = 0;
        for webhook in &webhooks {
            let id = event.delivery_id(&webhook.parse().map_err(|_| StoreErrorKind::Corrupt)?);
            let sql = "SELECT 1 FROM outbox WHERE id = ?1";
            if self.prepared.row(sql, [&id], |_| Ok(()))?.is_some() {
                return Err(Conflict::EventIdInUse.into());
            }
            let share = Share::of_one(event.body.len() as u64);
            let has_room = self.head.outbox.has_room(&event.owner, share, self.limits);
            if needs_room && !has_room {
                return Err(StoreErrorKind::OutboxFull.into());
            }
            let (due_at, bytes, body) = if has_room {
                let body = self.keys.seal.seal(&place("outbox", &id, "body"), &event.body);
                (Some(micros(event.at)), integer(share.bytes)?, body)
            } else {
                (None, 0, Vec::new())
            };
            self.prepared.execute(
                "INSERT INTO outbox (id, webhook, event, at, due_at, leased, fence, attempts, bytes, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, 0, 0, 0, ?6, ?7)",
                params![id, webhook, event.name, micros(event.at), due_at, bytes, body],
            )?;
            if has_room {
                self.head.outbox.add(&event.owner, share);
            } else {
                dropped += 1;
                self.head.outbox.dead += 1;
                self.forget_oldest_dead()?;
            }
        }
        Ok((webhooks.len() - dropped, dropped))
    }

    /// Gives up a delivery to a webhook of `owner`, which is still to be made and has this share.
    pub(super) fn bury(&mut self, id: &str, owner: &str, share: Share) -> Result<(), Failed> {
        let sql = "UPDATE outbox SET due_at = NULL, leased = 0, bytes = 0, body = x'' WHERE id = ?1";
        self.prepared.execute(sql, [id])?;
        self.head.outbox.remove(owner, share);
        self.head.outbox.dead += 1;
        self.forget_oldest_dead()
    }

    /// Gives up all that is waiting for a webhook of `owner`.
    pub(super) fn bury_all(&mut self, webhook: &str, owner: &str) -> Result<(), Failed> {
        let (share, _) = self.waiting(webhook)?;
        self.prepared.execute(
            "UPDATE outbox SET due_at = NULL, leased = 0, bytes = 0, body = x''
             WHERE webhook = ?1 AND due_at IS NOT NULL",
            [webhook],
        )?;
        self.head.outbox.remove(owner, share);
        self.head.outbox.dead += share.rows;
        self.forget_oldest_dead()
    }

    /// Takes what belongs to a webhook of `owner` out of the count, for it is about to go with it.
    pub(super) fn uncount(&mut self, webhook: &str, owner: &str) -> Result<(), Failed> {
        let (share, dead) = self.waiting(webhook)?;
        self.head.outbox.remove(owner, share);
        self.head.outbox.dead = self.head.outbox.dead.saturating_sub(dead);
        Ok(())
    }

    /// What is waiting for a webhook, and how many deliveries to it were given up.
    fn waiting(&mut self, webhook: &str) -> Result<(Share, u64), Failed> {
        let mut counts = self.prepared.rows(
            "SELECT count(due_at), coalesce(sum(bytes), 0), count(*) - count(due_at) FROM outbox
             WHERE webhook = ?1",
            [webhook],
            |row| {
                let (rows, bytes) = (number(row, 0)?, number(row, 1)?);
                Ok((Share { rows, bytes }, number(row, 2)?))
            },
        )?;
        Ok(counts.pop().unwrap_or_default())
    }

    fn forget_oldest_dead(&mut self) -> Result<(), Failed> {
        let excess = self.head.outbox.dead.saturating_sub(self.limits.outbox_dead);
        if excess > 0 {
            let gone = self.prepared.execute(
                "DELETE FROM outbox WHERE place IN (
                    SELECT place FROM outbox WHERE due_at IS NULL ORDER BY place LIMIT ?1)",
                [integer(excess)?],
            )?;
            self.head.outbox.dead -= gone as u64;
        }
        Ok(())
    }

    /// All is counted already, but for the oldest delivery, which an index has at hand.
    pub(super) fn stats(&mut self) -> Result<Stats, Failed> {
        let sql = "SELECT min(at) FROM outbox WHERE due_at IS NOT NULL";
        let oldest: Option<i64> = self.prepared.row(sql, [], |row| row.get(0))?.flatten();
        let pending = self.head.outbox.pending();
        Ok(Stats {
            live_sessions: self.head.live_sessions,
            outbox_pending: pending.rows,
            outbox_bytes: pending.bytes,
            outbox_oldest: oldest.map(time).transpose()?,
            outbox_dead: self.head.outbox.dead,
            audit_entries: self.head.journal.tree.size(),
        })
    }
}
