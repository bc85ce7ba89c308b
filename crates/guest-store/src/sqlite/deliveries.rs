//! Statements that lease and settle deliveries.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::params;
use time::OffsetDateTime;

use super::error::SqliteError;
use super::rows::{aad, integer, micros, number, time, webhook};
use super::usage::Usage;
use super::writer::Transaction;
use crate::store::PAGE;
use crate::{Leased, Settled, Settlement, StoreErrorKind, Webhook};

/// Largest number of deliveries to one webhook under lease. Our choice: it keeps an endpoint busy, and an endpoint that
/// never answers occupies few workers.
const IN_FLIGHT: usize = 4;

/// A webhook that has deliveries due.
struct Turn {
    webhook: String,
    owner: String,
    last_turn: Option<i64>,
    oldest_due: i64,
    in_flight: usize,
    /// Due deliveries, at most `IN_FLIGHT`.
    due: usize,
}

impl Transaction<'_, '_> {
    pub(super) fn lease(
        &mut self,
        now: OffsetDateTime,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<Leased>, SqliteError> {
        let turns = self.turns(now)?;
        let mut slots = Vec::new();
        for (index, turn) in turns.iter().enumerate() {
            for rank in (turn.in_flight..IN_FLIGHT).take(turn.due) {
                slots.push((rank, turn.last_turn, turn.oldest_due, &turn.webhook, index));
            }
        }
        slots.sort_unstable();
        let mut counts = vec![0; turns.len()];
        for (.., index) in slots.into_iter().take(limit.min(PAGE)) {
            counts[index] += 1;
        }

        let mut leased = Vec::new();
        for (turn, count) in turns.iter().zip(counts) {
            if count > 0
                && let Some(webhook) = self.open(turn)?
            {
                leased.extend(self.due(turn, &Arc::new(webhook), now, count)?);
                let sql = "UPDATE webhooks SET last_turn = ?2 WHERE id = ?1";
                self.prepared.execute(sql, params![turn.webhook, micros(now)])?;
            }
        }
        let lease = time::Duration::try_from(lease).unwrap_or(time::Duration::MAX);
        let until = micros(now.saturating_add(lease));
        for delivery in &leased {
            self.prepared.execute(
                "UPDATE outbox SET due_at = ?2, leased = 1, fence = ?3, attempts = ?4 WHERE id = ?1",
                params![delivery.id, until, integer(delivery.fence)?, delivery.attempt],
            )?;
        }
        Ok(leased)
    }

    fn turns(&mut self, now: OffsetDateTime) -> Result<Vec<Turn>, SqliteError> {
        self.prepared.rows(
            "SELECT * FROM (
                SELECT id, owner, last_turn,
                    (SELECT min(due_at) FROM outbox WHERE webhook = webhooks.id AND due_at <= ?1) AS oldest,
                    (SELECT count(*) FROM outbox WHERE webhook = webhooks.id AND leased = 1 AND due_at > ?1),
                    (SELECT count(*) FROM
                        (SELECT 1 FROM outbox WHERE webhook = webhooks.id AND due_at <= ?1 LIMIT ?2))
                FROM webhooks WHERE enabled AND (rest_until IS NULL OR rest_until <= ?1))
             WHERE oldest IS NOT NULL",
            params![micros(now), integer(IN_FLIGHT as u64)?],
            |row| {
                Ok(Turn {
                    webhook: row.get(0)?,
                    owner: row.get(1)?,
                    last_turn: row.get(2)?,
                    oldest_due: row.get(3)?,
                    in_flight: number(row, 4)?,
                    due: number(row, 5)?,
                })
            },
        )
    }

    /// Reads the webhook of a turn. One that cannot be read is disabled.
    fn open(&mut self, turn: &Turn) -> Result<Option<Webhook>, SqliteError> {
        let seal = &self.keys.seal;
        let sql = "SELECT * FROM webhooks WHERE id = ?1";
        let (mut found, _) = self
            .prepared
            .readable(sql, [&turn.webhook], 1, |row| webhook(row, seal))?;
        if found.is_empty() {
            let webhook = &turn.webhook;
            tracing::error!(
                webhook,
                "a webhook cannot be read and is disabled: remove it and register it again"
            );
            self.switch_off(webhook, &turn.owner)?;
        }
        Ok(found.pop())
    }

    /// The first `count` readable deliveries that are due, as they will be once they are leased. Unreadable ones become
    /// dead letters.
    fn due(
        &mut self,
        turn: &Turn,
        webhook: &Arc<Webhook>,
        now: OffsetDateTime,
        count: usize,
    ) -> Result<Vec<Leased>, SqliteError> {
        let seal = &self.keys.seal;
        let (due, unreadable) = self.prepared.readable(
            "SELECT id, fence + 1, attempts + 1, event, at, body FROM outbox
             WHERE webhook = ?1 AND due_at <= ?2 ORDER BY due_at, place",
            params![turn.webhook, micros(now)],
            count,
            |row| {
                let id: String = row.get(0)?;
                let body = seal.open(&aad("outbox", &id, "body"), row.get(5)?);
                Ok(Leased {
                    id,
                    fence: number(row, 1)?,
                    attempt: number(row, 2)?,
                    webhook: webhook.clone(),
                    event: row.get(3)?,
                    at: time(row.get(4)?)?,
                    body: body.ok_or(StoreErrorKind::Corrupt)?.into(),
                })
            },
        )?;
        for delivery in unreadable {
            tracing::error!(
                webhook = turn.webhook,
                delivery,
                "a delivery cannot be read and becomes a dead letter"
            );
            let sql = "SELECT bytes FROM outbox WHERE id = ?1";
            let bytes = self.prepared.row(sql, [&delivery], |row| row.get::<_, i64>(0))?;
            let usage = Usage::of_one(bytes.unwrap_or_default().unsigned_abs());
            self.dead_letter(&delivery, &turn.owner, usage)?;
        }
        Ok(due)
    }

    pub(super) fn settle(&mut self, settlement: &Settlement) -> Result<(), SqliteError> {
        let sql = "SELECT webhook, owner, bytes FROM outbox JOIN webhooks ON webhooks.id = webhook
                   WHERE outbox.id = ?1 AND fence = ?2 AND attempts > 0 AND due_at IS NOT NULL";
        let id = &settlement.delivery;
        let leased = self
            .prepared
            .row(sql, params![id, integer(settlement.fence)?], |row| {
                let bytes = row.get::<_, i64>(2)?.unsigned_abs();
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, bytes))
            })?;
        let (webhook, owner, bytes) = leased.ok_or(StoreErrorKind::Fenced)?;
        self.log(&settlement.entries)?;
        match settlement.settled {
            Settled::RetryAt(when) => {
                let sql = "UPDATE outbox SET due_at = ?2, leased = 0, fence = fence + 1 WHERE id = ?1";
                self.prepared.execute(sql, params![id, micros(when)])?;
            }
            Settled::Dead => self.dead_letter(id, &owner, Usage::of_one(bytes))?,
            Settled::Delivered => {
                self.prepared.execute("DELETE FROM outbox WHERE id = ?1", [id])?;
                self.head.outbox.remove(&owner, Usage::of_one(bytes));
            }
        }
        self.mark(&webhook, settlement)?;
        if settlement.disable_webhook {
            self.switch_off(&webhook, &owner)?;
        }
        Ok(())
    }

    /// Keeps the book on a webhook's health.
    fn mark(&mut self, webhook: &str, settlement: &Settlement) -> Result<(), SqliteError> {
        if settlement.settled == Settled::Delivered {
            let sql = "UPDATE webhooks SET failing_since = NULL, failures = 0
                       WHERE id = ?1 AND (failing_since IS NOT NULL OR failures > 0)";
            self.prepared.execute(sql, [webhook])?;
        } else {
            let sql = "UPDATE webhooks SET failing_since = coalesce(failing_since, ?2),
                       failures = min(failures + 1, ?3) WHERE id = ?1";
            self.prepared
                .execute(sql, params![webhook, micros(settlement.at), u32::MAX])?;
        }
        if let Some(until) = settlement.rest_until {
            let sql = "UPDATE webhooks SET rest_until = ?2
                       WHERE id = ?1 AND (rest_until IS NULL OR rest_until < ?2)";
            self.prepared.execute(sql, params![webhook, micros(until)])?;
        }
        Ok(())
    }

    fn switch_off(&mut self, webhook: &str, owner: &str) -> Result<(), SqliteError> {
        let sql = "UPDATE webhooks SET enabled = 0, version = version + 1 WHERE id = ?1";
        self.prepared.execute(sql, [webhook])?;
        self.dead_letter_all(webhook, owner)
    }
}
