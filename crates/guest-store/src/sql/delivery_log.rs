//! The log of deliveries: attempts, their retention, and replay.

use std::time::Duration;

use super::values::{Row, params};
use serde_json::json;

use super::deliveries::Held;
use super::error::SqlError;
use super::outbox::{ERASURE, EVENT, SNAPSHOT, Undelivered};
use super::reader::Reader;
use super::rows::{corrupt, integer, micros, number, session, session_columns, subject_key, time};
use super::transaction::Transaction;
use crate::seal::{Aead, LookupHash};
use crate::store::PAGE;
use crate::{
    Delivery, DeliveryAttempt, DeliveryKind, DeliveryQuery, DeliverySelect, DeliveryState, Opaque, Replay,
    SealKey, Settled, Settlement, StoreErrorKind,
};

/// States of rows. One that waits is in the outbox too.
const WAITING: i64 = 0;
const DELIVERED: i64 = 1;
const DEAD: i64 = 2;

/// Attempts of one delivery in the log. Our choice: more than the default schedule has.
const ATTEMPTS: usize = 10;

/// Old rows that one unit removes. Our choice.
const REMOVED: i64 = 10_000;

/// Selects deliveries with their sessions, from the tables that `$from` joins as `deliveries` and `outbox`.
macro_rules! select_deliveries {
    ($state:literal, $row:literal, $due:literal, $waits_for:literal, $place:literal, $attempts:literal, $from:literal, $rest:literal) => {
        concat!(
            "SELECT ",
            $row,
            ".id, ",
            $state,
            ", ",
            $row,
            ".kind, ",
            $row,
            ".first, ",
            $row,
            ".last, ",
            $row,
            ".event, ",
            $row,
            ".at, ",
            $due,
            ", ",
            $waits_for,
            ", ",
            $place,
            ", ",
            $attempts,
            ", ",
            session_columns!(),
            " FROM ",
            $from,
            " LEFT JOIN sessions ON sessions.key = ",
            $row,
            ".session LEFT JOIN subjects ON subjects.slot = sessions.slot WHERE ",
            $row,
            ".webhook = ?1 AND ",
            $rest
        )
    };
}

/// Selects deliveries that wait.
macro_rules! select_waiting {
    ($rest:literal) => {
        select_deliveries!(
            "0", "outbox", "due_at",
            "CASE WHEN waits > 0 THEN (SELECT event.id FROM outbox AS event WHERE event.session = outbox.session
             AND event.webhook = outbox.webhook AND event.waits = 0 AND event.kind = 0
             ORDER BY event.at, event.position LIMIT 1) END",
            "outbox.at, outbox.position", "deliveries.attempts",
            "outbox LEFT JOIN deliveries ON deliveries.id = outbox.id AND deliveries.webhook = outbox.webhook", $rest
        )
    };
}

/// Selects deliveries that are settled.
macro_rules! select_settled {
    ($rest:literal) => {
        select_deliveries!(
            "state",
            "deliveries",
            "NULL",
            "NULL",
            "number, 0",
            "deliveries.attempts",
            "deliveries",
            $rest
        )
    };
}

/// Index of the first column of the session.
const SESSION: usize = 12;

impl Transaction<'_, '_> {
    /// Adds the attempt of a settlement to the log.
    pub(crate) fn log_attempt(&mut self, held: &Held, settlement: &Settlement) -> Result<(), SqlError> {
        let Some(attempt) = &settlement.attempt else {
            return Ok(());
        };
        let key = match held.kind {
            ERASURE => None,
            // an attempt of a session that cannot be read is not logged
            _ => match self.key_of_session(held.session)? {
                Some(key) => Some(key),
                None => return Ok(()),
            },
        };
        let (webhook, id) = (&held.webhook, &held.id);
        let sql = "SELECT attempts FROM deliveries WHERE id = ?1 AND webhook = ?2";
        let stored: Option<Vec<u8>> = self.prepared.row(sql, [id, webhook], |row| row.get(0))?;
        let stored = stored.map(|stored| open(stored, id, key.as_ref()));
        // damaged attempts are left behind
        let mut attempts = stored.and_then(Result::ok).unwrap_or_default();
        attempts.push(attempt.clone());
        attempts.drain(..attempts.len().saturating_sub(ATTEMPTS));
        let state = match settlement.settled {
            Settled::Delivered => DELIVERED,
            Settled::Dead if held.kind == EVENT => DEAD,
            _ => WAITING,
        };
        let sql = "DELETE FROM deliveries WHERE id = ?1 AND webhook = ?2";
        self.prepared.execute(sql, [id, webhook])?;
        if held.kind == SNAPSHOT {
            // those of a smaller range, which had other ids
            let sql =
                "DELETE FROM deliveries WHERE session = ?1 AND webhook = ?2 AND kind = ?3 AND state = ?4";
            let replaced = params![held.session, webhook, SNAPSHOT, WAITING];
            self.prepared.execute(sql, replaced)?;
        }
        let number = self.next_number(webhook, state)?;
        self.prepared.execute(
            "INSERT INTO deliveries (id, webhook, session, kind, first, last, event, at, state, number, attempted_at,
             attempts) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            params![
                id,
                webhook,
                held.session,
                held.kind,
                held.first,
                held.last,
                held.event,
                held.at,
                state,
                number,
                micros(attempt.at),
                seal(&attempts, id, key.as_ref()),
            ],
        )?;
        let kept = integer(self.limits.webhook_deliveries)?;
        let sql = "DELETE FROM deliveries WHERE webhook = ?1 AND state = ?2 AND number <= ?3";
        self.prepared
            .execute(sql, params![webhook, state, number - kept])?;
        Ok(())
    }

    /// Marks a delivery that is given up without another attempt.
    pub(crate) fn log_as_dead(&mut self, webhook: &str, delivery: &str) -> Result<(), SqlError> {
        self.set_state(webhook, delivery, DEAD)
    }

    fn set_state(&mut self, webhook: &str, delivery: &str, state: i64) -> Result<(), SqlError> {
        let number = self.next_number(webhook, state)?;
        let sql = "UPDATE deliveries SET state = ?3, number = ?4 WHERE id = ?2 AND webhook = ?1";
        self.prepared
            .execute(sql, params![webhook, delivery, state, number])?;
        Ok(())
    }

    /// The number of the next row of a webhook in a state. The rows of a webhook in a state are numbered, so that the oldest
    /// ones are found without counting.
    fn next_number(&mut self, webhook: &str, state: i64) -> Result<i64, SqlError> {
        let sql = "SELECT coalesce(max(number), 0) + 1 FROM deliveries WHERE webhook = ?1 AND state = ?2";
        let number = self
            .prepared
            .row(sql, params![webhook, state], |row| row.get(0))?;
        Ok(number.unwrap_or(1))
    }

    fn key_of_session(&mut self, session: LookupHash) -> Result<Option<[u8; 32]>, SqlError> {
        let sql =
            "SELECT slot, subjects.key FROM sessions JOIN subjects USING (slot) WHERE sessions.key = ?1";
        let sealed = self
            .prepared
            .row(sql, [session], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(sealed.and_then(|(slot, key)| subject_key(&self.keys.seal, slot, key).ok()))
    }

    /// Removes what is older than `before`: attempts from the log, and events from the queues of webhooks that are disabled,
    /// which join the snapshots of their sessions.
    pub(crate) fn remove_old_deliveries(&mut self, before: i64) -> Result<(), SqlError> {
        self.prepared.execute(
            "DELETE FROM deliveries WHERE position IN (
                SELECT position FROM (SELECT position, attempted_at FROM deliveries ORDER BY position LIMIT ?2)
                AS oldest WHERE attempted_at < ?1)",
            params![before, REMOVED],
        )?;
        let sql = "SELECT id FROM webhooks WHERE pending > 0 AND enabled = 0 AND EXISTS (
                       SELECT 1 FROM outbox WHERE webhook = webhooks.id AND kind = 0 AND at < ?1 AND leased = 0)";
        self.write_counts()?;
        let webhooks = self.prepared.rows(sql, [before], |row| row.get::<String>(0))?;
        for webhook in webhooks {
            tracing::warn!(
                webhook,
                "events have waited for a disabled webhook for longer than they are kept: enable it, and it gets one \
                 snapshot per session in place of them"
            );
            self.withhold(&webhook, before)?;
        }
        Ok(())
    }

    /// Makes deliveries of the log due. Returns the number of them, and of those for which the queue has no room.
    pub(crate) fn replay(&mut self, webhook: &str, replay: &Replay) -> Result<(usize, usize), SqlError> {
        let queue = self.queue(webhook)?.ok_or(StoreErrorKind::NotFound)?;
        let sql = "SELECT id, kind, session, first, last, event, at FROM deliveries
                   WHERE webhook = ?1 AND (id = ?2 OR ?2 IS NULL) AND state >= ?3 AND at >= ?4
                   AND kind < 2 AND EXISTS (SELECT 1 FROM sessions WHERE key = session)
                   AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.id = deliveries.id) ORDER BY at, position";
        let (id, state, since) = match replay {
            Replay::Id(id) => (Some(id), DELIVERED, i64::MIN),
            Replay::Dead(since) => (None, DEAD, since.map_or(i64::MIN, micros)),
        };
        let found = self
            .prepared
            .rows(sql, params![webhook, id, state, since], |row| {
                let undelivered = Undelivered {
                    session: row.get(2)?,
                    first: row.get(3)?,
                    last: row.get(4)?,
                    at: row.get(6)?,
                };
                Ok((
                    row.get::<String>(0)?,
                    row.get::<i64>(1)?,
                    row.get::<String>(5)?,
                    undelivered,
                ))
            })?;
        let room = self.limits.webhook_queue_rows.saturating_sub(queue.stats.pending);
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        for (id, kind, event, undelivered) in found.iter().take(room) {
            if *kind == EVENT {
                self.insert_event(&queue, id, event, undelivered)?;
                self.set_state(webhook, id, WAITING)?;
            } else {
                self.join_snapshot(webhook, undelivered)?;
                if queue.is_ordered {
                    self.order(webhook, undelivered.session)?;
                }
                self.release_if_idle(webhook)?;
            }
        }
        Ok((found.len().min(room), found.len().saturating_sub(room)))
    }
}

impl Reader<'_, '_> {
    pub(crate) fn deliveries(
        &mut self,
        query: &DeliveryQuery,
        limit: usize,
    ) -> Result<Vec<Delivery>, SqlError> {
        let (seal, webhook) = (&self.keys.seal, query.webhook.as_str());
        let limit = i64::try_from(limit.min(PAGE)).unwrap_or(i64::MAX);
        let read = |row: &Row<'_>| delivery(row, seal);
        match &query.select {
            DeliverySelect::Id(id) => {
                let sql = select_waiting!("outbox.id = ?2");
                let mut found = self.prepared.rows(sql, params![webhook, id], read)?;
                if found.is_empty() {
                    let sql = select_settled!("deliveries.id = ?2 AND state > 0");
                    found = self.prepared.rows(sql, params![webhook, id], read)?;
                }
                Ok(found)
            }
            DeliverySelect::Latest => {
                let sql = select_settled!(
                    "deliveries.position = max(
                        coalesce((SELECT position FROM deliveries WHERE webhook = ?1 AND state = 0
                                  ORDER BY number DESC LIMIT 1), 0),
                        coalesce((SELECT position FROM deliveries WHERE webhook = ?1 AND state = 1
                                  ORDER BY number DESC LIMIT 1), 0),
                        coalesce((SELECT position FROM deliveries WHERE webhook = ?1 AND state = 2
                                  ORDER BY number DESC LIMIT 1), 0))"
                );
                self.prepared.rows(sql, [webhook], read)
            }
            DeliverySelect::State(DeliveryState::Waiting, after) => {
                let (at, position) = after.unwrap_or((i64::MIN, 0));
                let sql = select_waiting!(
                    "(outbox.at, outbox.position) > (?2, ?3) ORDER BY outbox.at, outbox.position LIMIT ?4"
                );
                self.prepared
                    .rows(sql, params![webhook, at, position, limit], read)
            }
            DeliverySelect::State(state, before) => {
                let (number, _) = before.unwrap_or((i64::MAX, 0));
                let state = if *state == DeliveryState::Dead {
                    DEAD
                } else {
                    DELIVERED
                };
                let sql = select_settled!("state = ?2 AND number < ?3 ORDER BY number DESC LIMIT ?4");
                self.prepared
                    .rows(sql, params![webhook, state, number, limit], read)
            }
        }
    }
}

/// Reads a row of [`select_deliveries`]. The session or the attempts of a damaged one are left out.
fn delivery(row: &Row<'_>, seal: &SealKey) -> Result<Delivery, SqlError> {
    let id: String = row.get(0)?;
    let kind: i64 = row.get(2)?;
    let session = session(row, SESSION, seal).ok();
    let key = session.as_ref().map(|session| &session.secrets.subject_key);
    let attempts: Option<Vec<u8>> = row.get(11)?;
    let attempts = match attempts {
        Some(attempts) if kind == ERASURE || key.is_some() => open(attempts, &id, key),
        _ => Ok(Vec::new()),
    };
    Ok(Delivery {
        state: match row.get(1)? {
            DELIVERED => DeliveryState::Delivered,
            DEAD => DeliveryState::Dead,
            _ => DeliveryState::Waiting,
        },
        kind: match kind {
            ERASURE => DeliveryKind::Erasure,
            SNAPSHOT => DeliveryKind::Snapshot,
            _ => DeliveryKind::Event(row.get(5)?),
        },
        session: session.map(|session| session.id),
        range: number(row, 3)?..=number(row, 4)?,
        at: time(row.get(6)?)?,
        due_at: row.get::<Option<i64>>(7)?.map(time).transpose()?,
        waits_for: row.get(8)?,
        place: (row.get(9)?, row.get(10)?),
        attempts: attempts.unwrap_or_default(),
        id,
    })
}

/// Selects the deliveries of the log for [`check`].
pub(crate) const CHECKED: &str =
    "SELECT deliveries.id, kind, attempts, subjects.slot, subjects.key FROM deliveries
    LEFT JOIN sessions ON sessions.key = session LEFT JOIN subjects ON subjects.slot = sessions.slot";

/// Fails unless the attempts of a delivery can be read.
pub(crate) fn check(row: &Row<'_>, seal: &SealKey) -> Result<(), SqlError> {
    let id: String = row.get(0)?;
    let key = match row.get(1)? {
        ERASURE => None,
        _ => {
            let slot: Option<i64> = row.get(3)?;
            Some(subject_key(
                seal,
                slot.ok_or(StoreErrorKind::Corrupt)?,
                row.get(4)?,
            )?)
        }
    };
    open(row.get(2)?, &id, key.as_ref()).map(drop)
}

/// Attempts as JSON, sealed under the subject key. Those of an erasure have no key, and no response.
fn seal(attempts: &[DeliveryAttempt], id: &str, key: Option<&[u8; 32]>) -> Vec<u8> {
    let attempts = attempts.iter().map(|attempt| {
        let response = key.map(|_| String::from_utf8_lossy(&attempt.response));
        json!({
            "at": micros(attempt.at), "ms": attempt.latency.as_millis() as u64, "status": attempt.status,
            "error": attempt.error, "response": response,
        })
    });
    let plain = serde_json::Value::from_iter(attempts).to_string().into_bytes();
    match key {
        Some(key) => Aead::of_subject(key).seal(aad(id), &plain),
        None => plain,
    }
}

fn open(sealed: Vec<u8>, id: &str, key: Option<&[u8; 32]>) -> Result<Vec<DeliveryAttempt>, SqlError> {
    let plain = match key {
        Some(key) => Aead::of_subject(key)
            .open(aad(id), sealed)
            .ok_or(StoreErrorKind::Corrupt)?,
        None => sealed,
    };
    let attempts: Vec<serde_json::Value> = serde_json::from_slice(&plain).map_err(corrupt)?;
    let attempt = |attempt: &serde_json::Value| {
        let text = |name: &str| Some(attempt[name].as_str()?.to_owned());
        Ok(DeliveryAttempt {
            at: time(attempt["at"].as_i64().ok_or(StoreErrorKind::Corrupt)?)?,
            latency: Duration::from_millis(attempt["ms"].as_u64().unwrap_or_default()),
            status: attempt["status"]
                .as_u64()
                .and_then(|status| status.try_into().ok()),
            error: text("error"),
            response: Opaque::from(text("response").unwrap_or_default()),
        })
    };
    attempts.iter().map(attempt).collect()
}

/// Associated data of the attempts of a delivery.
fn aad(id: &str) -> String {
    super::rows::aad("deliveries", id, "attempts")
}
