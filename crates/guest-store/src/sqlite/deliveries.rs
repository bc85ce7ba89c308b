//! Leasing and settling deliveries, as statements.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::params;
use time::OffsetDateTime;

use super::failed::Failed;
use super::rows::{integer, micros, number, place, time, webhook};
use super::writer::Transaction;
use crate::outbox::lease_end;
use crate::store::PAGE;
use crate::{Leased, Settled, Settlement, StoreErrorKind, Webhook};

impl Transaction<'_, '_> {
    pub(super) fn lease(
        &mut self,
        now: OffsetDateTime,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<Leased>, Failed> {
        let limit = limit.min(PAGE);
        let seal = &self.keys.seal;
        let webhooks = self.prepared.rows(
            "SELECT * FROM (
                SELECT webhooks.*, (SELECT min(due_at) FROM outbox
                    WHERE webhook = webhooks.id AND due_at IS NOT NULL) AS due
                FROM webhooks WHERE enabled)
             WHERE due <= ?1 ORDER BY due, id",
            [micros(now)],
            |row| Ok(Arc::new(webhook(row, seal)?)),
        )?;
        let share = (limit / webhooks.len().max(1)).max(1);
        let mut due = Vec::new();
        for webhook in &webhooks {
            due.extend(self.due(webhook, now, share.min(limit - due.len()), 0)?);
        }
        for webhook in &webhooks {
            due.extend(self.due(webhook, now, limit - due.len(), share)?);
        }
        let until = micros(lease_end(now, lease));
        for delivery in &due {
            self.prepared.execute(
                "UPDATE outbox SET due_at = ?2, fence = ?3, attempts = ?4 WHERE id = ?1",
                params![delivery.id, until, integer(delivery.fence)?, delivery.attempt],
            )?;
        }
        Ok(due)
    }

    /// Deliveries to `webhook` that are due, as they will be once they are leased.
    fn due(
        &mut self,
        webhook: &Arc<Webhook>,
        now: OffsetDateTime,
        limit: usize,
        skip: usize,
    ) -> Result<Vec<Leased>, Failed> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let seal = &self.keys.seal;
        self.prepared.rows(
            "SELECT id, fence + 1, attempts + 1, event, at, body FROM outbox
             WHERE webhook = ?1 AND due_at <= ?2 ORDER BY due_at, place LIMIT ?3 OFFSET ?4",
            params![
                webhook.id.as_str(),
                micros(now),
                integer(limit as u64)?,
                integer(skip as u64)?
            ],
            |row| {
                let id: String = row.get(0)?;
                let body = seal.open(&place("outbox", &id, "body"), row.get(5)?);
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
        )
    }

    pub(super) fn settle(&mut self, settlement: &Settlement) -> Result<(), Failed> {
        let sql = "SELECT webhook, bytes FROM outbox
                   WHERE id = ?1 AND fence = ?2 AND attempts > 0 AND due_at IS NOT NULL";
        let id = &settlement.delivery;
        let leased = self
            .prepared
            .row(sql, params![id, integer(settlement.fence)?], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?.unsigned_abs()))
            })?;
        let (webhook, bytes) = leased.ok_or(StoreErrorKind::Fenced)?;
        self.log(&settlement.entries)?;
        match settlement.settled {
            Settled::RetryAt(when) => {
                let sql = "UPDATE outbox SET due_at = ?2, fence = fence + 1 WHERE id = ?1";
                self.prepared.execute(sql, params![id, micros(when)])?;
            }
            Settled::Dead => {
                let sql = "UPDATE outbox SET due_at = NULL, bytes = 0, body = x'' WHERE id = ?1";
                self.prepared.execute(sql, [id])?;
                self.forget_oldest_dead()?;
            }
            Settled::Delivered => {
                self.prepared.execute("DELETE FROM outbox WHERE id = ?1", [id])?;
            }
        }
        if !matches!(settlement.settled, Settled::RetryAt(_)) {
            self.head.outbox_rows = self.head.outbox_rows.saturating_sub(1);
            self.head.outbox_bytes = self.head.outbox_bytes.saturating_sub(bytes);
        }
        self.mark(&webhook, settlement)
    }

    fn forget_oldest_dead(&mut self) -> Result<(), Failed> {
        self.prepared.execute(
            "DELETE FROM outbox WHERE due_at IS NULL AND place <= (
                SELECT place FROM outbox WHERE due_at IS NULL ORDER BY place DESC LIMIT 1 OFFSET ?1)",
            [integer(self.limits.outbox_dead)?],
        )?;
        Ok(())
    }

    /// Keeps the book on a webhook's health.
    fn mark(&mut self, webhook: &str, settlement: &Settlement) -> Result<(), Failed> {
        if settlement.settled == Settled::Delivered {
            let sql = "UPDATE webhooks SET failing_since = NULL WHERE id = ?1 AND failing_since IS NOT NULL";
            self.prepared.execute(sql, [webhook])?;
        } else {
            let sql = "UPDATE webhooks SET failing_since = ?2 WHERE id = ?1 AND failing_since IS NULL";
            self.prepared
                .execute(sql, params![webhook, micros(settlement.at)])?;
        }
        if settlement.disable_webhook {
            let sql = "UPDATE webhooks SET enabled = 0, version = version + 1 WHERE id = ?1";
            self.prepared.execute(sql, [webhook])?;
        }
        Ok(())
    }
}
