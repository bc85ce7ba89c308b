//! Statements of the outbox and its usage.

use rusqlite::params;

use super::error::SqliteError;
use super::rows::{aad, integer, micros, number, time};
use super::usage::Usage;
use super::writer::Transaction;
use crate::{Conflict, Event, Stats, StoreErrorKind};

impl Transaction<'_, '_> {
    /// Writes the deliveries of an event. Returns the number of pending and of dropped ones. A full outbox is an error if
    /// the unit `needs_room`.
    pub(super) fn fan_out(&mut self, event: &Event, needs_room: bool) -> Result<(usize, usize), SqliteError> {
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
            let usage = Usage::of_one(event.body.len() as u64);
            let has_room = self.head.outbox.has_room(&event.owner, usage, self.limits);
            if needs_room && !has_room {
                return Err(StoreErrorKind::OutboxFull.into());
            }
            let (due_at, bytes, body) = if has_room {
                let body = self.keys.seal.seal(&aad("outbox", &id, "body"), &event.body);
                (Some(micros(event.at)), integer(usage.bytes)?, body)
            } else {
                (None, 0, Vec::new())
            };
            self.prepared.execute(
                "INSERT INTO outbox (id, webhook, event, at, due_at, leased, fence, attempts, bytes, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, 0, 0, 0, ?6, ?7)",
                params![id, webhook, event.name, micros(event.at), due_at, bytes, body],
            )?;
            if has_room {
                self.head.outbox.add(&event.owner, usage);
            } else {
                dropped += 1;
                self.head.outbox.dead += 1;
                self.prune_dead_letters()?;
            }
        }
        Ok((webhooks.len() - dropped, dropped))
    }

    /// Turns a pending delivery to a webhook of `owner`, with this usage, into a dead letter.
    pub(super) fn dead_letter(&mut self, id: &str, owner: &str, usage: Usage) -> Result<(), SqliteError> {
        let sql = "UPDATE outbox SET due_at = NULL, leased = 0, bytes = 0, body = x'' WHERE id = ?1";
        self.prepared.execute(sql, [id])?;
        self.head.outbox.remove(owner, usage);
        self.head.outbox.dead += 1;
        self.prune_dead_letters()
    }

    /// Turns all pending deliveries to a webhook of `owner` into dead letters.
    pub(super) fn dead_letter_all(&mut self, webhook: &str, owner: &str) -> Result<(), SqliteError> {
        let (usage, _) = self.waiting(webhook)?;
        self.prepared.execute(
            "UPDATE outbox SET due_at = NULL, leased = 0, bytes = 0, body = x''
             WHERE webhook = ?1 AND due_at IS NOT NULL",
            [webhook],
        )?;
        self.head.outbox.remove(owner, usage);
        self.head.outbox.dead += usage.rows;
        self.prune_dead_letters()
    }

    /// Subtracts the deliveries of a webhook of `owner`, which is about to be removed.
    pub(super) fn subtract_usage(&mut self, webhook: &str, owner: &str) -> Result<(), SqliteError> {
        let (usage, dead) = self.waiting(webhook)?;
        self.head.outbox.remove(owner, usage);
        self.head.outbox.dead = self.head.outbox.dead.saturating_sub(dead);
        Ok(())
    }

    /// Usage of the pending deliveries to a webhook, and the number of its dead letters.
    fn waiting(&mut self, webhook: &str) -> Result<(Usage, u64), SqliteError> {
        let mut counts = self.prepared.rows(
            "SELECT count(due_at), coalesce(sum(bytes), 0), count(*) - count(due_at) FROM outbox
             WHERE webhook = ?1",
            [webhook],
            |row| {
                let (rows, bytes) = (number(row, 0)?, number(row, 1)?);
                Ok((Usage { rows, bytes }, number(row, 2)?))
            },
        )?;
        Ok(counts.pop().unwrap_or_default())
    }

    fn prune_dead_letters(&mut self) -> Result<(), SqliteError> {
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

    /// The counters hold all but the oldest delivery, which an index finds.
    pub(super) fn stats(&mut self) -> Result<Stats, SqliteError> {
        let sql = "SELECT min(at) FROM outbox WHERE due_at IS NOT NULL";
        let oldest: Option<i64> = self.prepared.row(sql, [], |row| row.get(0))?.flatten();
        let pending = self.head.outbox.pending();
        Ok(Stats {
            live_sessions: self.head.live_sessions,
            outbox_pending: pending.rows,
            outbox_bytes: pending.bytes,
            outbox_oldest: oldest.map(time).transpose()?,
            outbox_dead: self.head.outbox.dead,
            audit_entries: self.head.log.tree.size(),
        })
    }
}
