//! Statements that lease and settle deliveries.

use std::sync::Arc;
use std::time::Duration;

use super::values::{Row, params};
use time::OffsetDateTime;

use super::error::SqlError;
use super::outbox::{ERASED, ERASURE, EVENT, SNAPSHOT, Undelivered};
use super::rows::{
    integer, micros, number, session, session_columns, subject_key, time, webhook, write_webhook,
};
use super::transaction::Transaction;
use crate::outbox::range_id;
use crate::seal::{Aead, LookupHash};
use crate::store::PAGE;
use crate::{Leased, Leases, Payload, SealKey, Settled, Settlement, StoreErrorKind, Webhook};

/// Selects the columns of [`Held`].
macro_rules! held_columns {
    () => {
        "SELECT position, kind, session, first, last, at, grown, slot, webhook, id, event,
         (SELECT ordered FROM webhooks WHERE webhooks.id = webhook) FROM outbox"
    };
}

/// Time until an unreadable snapshot or erasure is tried again. Our choice.
const UNREADABLE_PAUSE: time::Duration = time::Duration::DAY;

/// Index of the first column of the session in a row of a due delivery.
const SESSION: usize = 11;

impl Transaction<'_, '_> {
    pub(crate) fn lease(
        &mut self,
        now: OffsetDateTime,
        lease: Duration,
        limit: usize,
    ) -> Result<Leases, SqlError> {
        self.refresh_turns(now)?;
        let mut leased = Vec::new();
        for (webhook, count) in self.memory.turns.take(limit.min(PAGE), self.limits) {
            if let Some(read) = self.open(&webhook)? {
                leased.extend(self.due(&Arc::new(read), now, count)?);
                let sql = "UPDATE webhooks SET last_turn = ?2 WHERE id = ?1";
                self.prepared.execute(sql, params![webhook, micros(now)])?;
            }
        }
        let lease = time::Duration::try_from(lease).unwrap_or(time::Duration::MAX);
        let until = micros(now.saturating_add(lease));
        for (position, delivery) in &leased {
            self.prepared.execute(
                "UPDATE outbox SET id = ?2, due_at = ?3, leased = 1, fence = ?4, attempts = ?5, grown = 0
                 WHERE position = ?1",
                params![
                    position,
                    delivery.id,
                    until,
                    integer(delivery.fence)?,
                    delivery.attempt
                ],
            )?;
        }
        // what was leased has another time now
        self.refresh_turns(now)?;
        Ok(Leases {
            deliveries: leased.into_iter().map(|(_, delivery)| delivery).collect(),
            next_due: self.memory.turns.next_due().map(time).transpose()?,
        })
    }

    fn refresh_turns(&mut self, now: OffsetDateTime) -> Result<(), SqlError> {
        self.memory.turns.refresh(self.prepared, self.limits, micros(now))
    }

    /// Reads the webhook of a turn. One that cannot be read is disabled.
    fn open(&mut self, webhook: &str) -> Result<Option<Webhook>, SqlError> {
        let found = self.stored(webhook)?;
        if found.is_none() {
            tracing::error!(
                webhook,
                "a webhook cannot be read and is disabled: remove it and register it again"
            );
            self.switch_off(webhook)?;
        }
        Ok(found)
    }

    /// The webhook with this id, if it can be read.
    pub(crate) fn stored(&mut self, id: &str) -> Result<Option<Webhook>, SqlError> {
        let seal = &self.keys.seal;
        let sql = "SELECT * FROM webhooks WHERE id = ?1";
        let (mut found, _) = self.prepared.readable(sql, [id], 1, |row| webhook(row, seal))?;
        Ok(found.pop())
    }

    /// The first `count` readable deliveries that are due, as they will be once they are leased, with their positions.
    fn due(
        &mut self,
        webhook: &Arc<Webhook>,
        now: OffsetDateTime,
        count: usize,
    ) -> Result<Vec<(i64, Leased)>, SqlError> {
        let seal = &self.keys.seal;
        let (due, unreadable) = self.prepared.readable(
            concat!(
                "SELECT id, position, fence + 1, attempts + 1, at, kind, first, last, event, grown, body, ",
                session_columns!(),
                " FROM outbox LEFT JOIN sessions ON sessions.key = session
                 LEFT JOIN subjects ON subjects.slot = coalesce(outbox.slot, sessions.slot)
                 WHERE webhook = ?1 AND due_at <= ?2 ORDER BY due_at, position"
            ),
            params![webhook.id.as_str(), micros(now)],
            count,
            |row| {
                let delivery = Leased {
                    id: if row.get(9)? { range_id() } else { row.get(0)? },
                    fence: number(row, 2)?,
                    attempt: number(row, 3)?,
                    webhook: webhook.clone(),
                    at: time(row.get(4)?)?,
                    payload: payload(row, &webhook.owner, seal)?,
                };
                Ok((row.get(1)?, delivery))
            },
        )?;
        for delivery in unreadable {
            self.set_aside(webhook.id.as_str(), &delivery, now)?;
        }
        Ok(due)
    }

    /// Adds an unreadable event to the snapshot of its session, and puts off a snapshot or an erasure.
    fn set_aside(&mut self, webhook: &str, delivery: &str, now: OffsetDateTime) -> Result<(), SqlError> {
        tracing::error!(
            webhook,
            delivery,
            "a delivery or its session cannot be read: restore it from a backup; an event joins a snapshot of its session"
        );
        let sql = concat!(held_columns!(), " WHERE id = ?1");
        let held = self.prepared.row(sql, [delivery], held)?;
        let held = held.ok_or(StoreErrorKind::Corrupt)?;
        self.memory.turns.touch(webhook);
        if held.kind == EVENT {
            self.remove(&held)?;
            self.log_as_dead(webhook, delivery)?;
            self.join_snapshot(webhook, &held.undelivered())?;
            if held.is_ordered {
                self.order(webhook, held.session)?;
            }
        } else {
            let sql = "UPDATE outbox SET due_at = ?2, leased = 0 WHERE position = ?1";
            self.prepared
                .execute(sql, params![held.position, micros(now + UNREADABLE_PAUSE)])?;
        }
        self.release_if_idle(webhook)
    }

    pub(crate) fn settle(&mut self, settlement: &Settlement) -> Result<(), SqlError> {
        let sql = concat!(
            held_columns!(),
            " WHERE id = ?1 AND fence = ?2 AND attempts > 0 AND due_at IS NOT NULL"
        );
        let leased = params![settlement.delivery, integer(settlement.fence)?];
        let held = self.prepared.row(sql, leased, held)?;
        let held = held.ok_or(StoreErrorKind::Fenced)?;
        self.memory.turns.touch(&held.webhook);
        self.memory
            .turns
            .set_pace(&held.webhook, settlement.pace, self.limits);
        self.log_attempt(&held, settlement)?;
        match settlement.settled {
            Settled::RetryAt(when) | Settled::NotSent(when) => {
                let sql = "UPDATE outbox SET due_at = ?2, leased = 0, fence = fence + 1 WHERE position = ?1";
                self.prepared.execute(sql, params![held.position, micros(when)])?;
            }
            Settled::Dead if held.kind == EVENT => {
                self.remove(&held)?;
                self.join_snapshot(&held.webhook, &held.undelivered())?;
            }
            Settled::Dead => {
                let sql = "UPDATE outbox SET due_at = NULL, leased = 0, fence = fence + 1, attempts = 0
                           WHERE position = ?1";
                self.prepared.execute(sql, [held.position])?;
            }
            Settled::Delivered | Settled::Unwanted => {
                self.remove(&held)?;
                if settlement.settled == Settled::Unwanted {
                    let sql = "DELETE FROM deliveries WHERE id = ?1 AND webhook = ?2";
                    self.prepared.execute(sql, [&held.id, &held.webhook])?;
                }
                // events joined it after it was leased
                if held.kind == SNAPSHOT && held.has_grown {
                    self.join_snapshot(&held.webhook, &held.undelivered())?;
                }
            }
        }
        if held.is_ordered {
            self.order(&held.webhook, held.session)?;
        }
        self.mark(&held.webhook, settlement)?;
        match settlement.settled {
            _ if settlement.disable_webhook => self.switch_off(&held.webhook),
            Settled::Delivered | Settled::NotSent(_) => self.release(&held.webhook),
            Settled::Dead | Settled::Unwanted => self.release_if_idle(&held.webhook),
            Settled::RetryAt(_) => Ok(()),
        }
    }

    fn remove(&mut self, held: &Held) -> Result<(), SqlError> {
        let sql = "DELETE FROM outbox WHERE position = ?1";
        self.prepared.execute(sql, [held.position])?;
        if let Some(slot) = held.slot {
            self.erase_subject(slot)?;
        }
        match held.kind {
            EVENT => self.count(&held.webhook, -1, 0),
            _ => self.count(&held.webhook, 0, -1),
        }
        Ok(())
    }

    /// Updates the health of a webhook.
    fn mark(&mut self, webhook: &str, settlement: &Settlement) -> Result<(), SqlError> {
        match settlement.settled {
            Settled::Delivered => {
                let sql = "UPDATE webhooks SET failing_since = NULL, failures = 0
                           WHERE id = ?1 AND (failing_since IS NOT NULL OR failures > 0)";
                self.prepared.execute(sql, [webhook])?;
            }
            Settled::Dead | Settled::RetryAt(_) => {
                let sql = "UPDATE webhooks SET failing_since = coalesce(failing_since, ?2),
                           failures = min(failures + 1, ?3) WHERE id = ?1";
                self.prepared
                    .execute(sql, params![webhook, micros(settlement.at), u32::MAX])?;
            }
            Settled::NotSent(_) | Settled::Unwanted => {}
        }
        if let Some(until) = settlement.rest_until {
            let sql = "UPDATE webhooks SET rest_until = ?2
                       WHERE id = ?1 AND (rest_until IS NULL OR rest_until < ?2)";
            self.prepared.execute(sql, params![webhook, micros(until)])?;
        }
        Ok(())
    }

    /// Resets the health of a webhook, whose endpoint may be another one.
    pub(crate) fn reset_health(&mut self, id: &str) -> Result<(), SqlError> {
        let sql = "UPDATE webhooks SET failing_since = NULL, failures = 0, rest_until = NULL WHERE id = ?1";
        self.prepared.execute(sql, [id])?;
        Ok(())
    }

    fn switch_off(&mut self, id: &str) -> Result<(), SqlError> {
        match self.stored(id)? {
            Some(mut webhook) => {
                webhook.enabled = false;
                write_webhook(self.prepared, &webhook, webhook.version + 1, &self.keys.seal)?;
            }
            None => {
                let sql = "UPDATE webhooks SET enabled = 0, version = version + 1 WHERE id = ?1";
                self.prepared.execute(sql, [id])?;
            }
        }
        self.memory.turns.touch(id);
        Ok(())
    }
}

/// A row of the outbox that is settled.
pub(crate) struct Held {
    position: i64,
    pub(crate) kind: i64,
    pub(crate) session: LookupHash,
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) at: i64,
    has_grown: bool,
    slot: Option<i64>,
    pub(crate) webhook: String,
    pub(crate) id: String,
    pub(crate) event: String,
    is_ordered: bool,
}

impl Held {
    fn undelivered(&self) -> Undelivered {
        Undelivered {
            session: self.session,
            first: self.first,
            last: self.last,
            at: self.at,
        }
    }
}

fn held(row: &Row<'_>) -> Result<Held, SqlError> {
    Ok(Held {
        position: row.get(0)?,
        kind: row.get(1)?,
        session: row.get(2)?,
        first: row.get(3)?,
        last: row.get(4)?,
        at: row.get(5)?,
        has_grown: row.get(6)?,
        slot: row.get(7)?,
        webhook: row.get(8)?,
        id: row.get(9)?,
        event: row.get(10)?,
        is_ordered: row.get(11)?,
    })
}

/// The content of a delivery to a webhook of this owner.
fn payload(row: &Row<'_>, owner: &str, seal: &SealKey) -> Result<Payload, SqlError> {
    let kind: i64 = row.get(5)?;
    let id = match kind {
        ERASURE => {
            let subject_key = subject_key(seal, row.get(SESSION + 2)?, row.get(SESSION + 3)?)?;
            let id = Aead::of_subject(&subject_key).open(ERASED, row.get(10)?);
            id.and_then(|id| String::from_utf8(id).ok()?.parse().ok())
        }
        // a delivery that was moved to another webhook may be of another owner
        _ => Some(session(row, SESSION, seal)?)
            .filter(|session| session.owner == owner)
            .map(|session| session.id),
    };
    let session = id.ok_or(StoreErrorKind::Corrupt)?;
    let range = number(row, 6)?..=number(row, 7)?;
    Ok(match kind {
        ERASURE => Payload::Erased { session, range },
        SNAPSHOT => Payload::Snapshot { session, range },
        _ => Payload::Event {
            session,
            name: row.get(8)?,
            sequence: *range.end(),
        },
    })
}
