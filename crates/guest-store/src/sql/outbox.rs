//! Statements of the outbox: the queue of each webhook, and the snapshots for what found no room in it.

use std::collections::BTreeMap;

use super::values::{Row, params};
use genesys_api::{SessionId, entropy};

use super::error::SqlError;
use super::rows::{integer, micros, number, time};
use super::transaction::Transaction;
use crate::outbox::{event_id, range_id};
use crate::seal::{Aead, LookupHash};
use crate::{Conflict, Event, QueueStats, Stats, StoreErrorKind};

/// Kinds of rows of the outbox.
pub(crate) const EVENT: i64 = 0;
pub(crate) const SNAPSHOT: i64 = 1;
pub(crate) const ERASURE: i64 = 2;

/// Associated data of the session's id in an erasure.
pub(crate) const ERASED: &str = "outbox/erased";

/// Largest number of snapshots and erasures of one webhook that are due or under lease, without those whose last attempt
/// failed. Our choice: each success makes the next ones due, so an endpoint that fails again costs few attempts.
const RELEASED: i64 = 4;

/// Makes the next event of a session due, if none is.
const NEXT_EVENT: &str = "UPDATE outbox SET waits = 0, due_at = at WHERE position = (
        SELECT position FROM outbox WHERE session = ?1 AND webhook = ?2 AND waits = 1 AND kind = 0
        ORDER BY first LIMIT 1)
    AND NOT EXISTS (SELECT 1 FROM outbox WHERE session = ?1 AND webhook = ?2 AND waits = 0 AND kind = 0)";

/// Makes the snapshot of a session wait or end its wait. `kind > 0` is the condition of its index: an erasure has no
/// session.
const NEXT_SNAPSHOT: &str = "UPDATE outbox SET
    waits = CASE WHEN waits > 0 THEN 0 WHEN due_at > at THEN due_at ELSE 1 END,
    due_at = CASE WHEN waits > 1 THEN waits END
    WHERE session = ?1 AND webhook = ?2 AND kind > 0 AND leased = 0 AND (waits > 0) <> EXISTS (
        SELECT 1 FROM outbox AS event WHERE session = ?1 AND webhook = ?2 AND waits IN (0, 1)
        AND event.first < outbox.last AND event.kind = 0)";

/// The queue of a webhook.
pub(crate) struct Queue {
    webhook: String,
    is_enabled: bool,
    pub(crate) is_ordered: bool,
    pub(crate) stats: QueueStats,
}

/// Additions to the rows and the snapshots of queues, by the id of the webhook. They are written once a transaction: a row
/// of a webhook is large, and each change of it is authenticated.
#[derive(Clone, Debug, Default)]
pub(crate) struct QueueCounts(BTreeMap<String, (i64, i64)>);

impl QueueCounts {
    /// The pending events of a queue, with those that are not written yet.
    fn pending(&self, queue: &Queue) -> u64 {
        let (rows, _) = self.0.get(&queue.webhook).copied().unwrap_or_default();
        queue.stats.pending.saturating_add_signed(rows)
    }
}

/// Sequence numbers and time of events of a session that were not delivered to a webhook.
pub(crate) struct Undelivered {
    pub(crate) session: LookupHash,
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) at: i64,
}

impl Transaction<'_, '_> {
    /// Writes the deliveries of an event. Returns the number of queued ones, and of those that joined a snapshot.
    pub(crate) fn fan_out(&mut self, event: &Event) -> Result<(usize, usize), SqlError> {
        let mut queues = self.prepared.rows(
            "SELECT id, enabled, pending, snapshots, ordered FROM webhooks WHERE owner = ?1
             AND replace(events, '\"' || ?2 || '\"', '') <> events ORDER BY id",
            [&event.owner, &event.name],
            queue,
        )?;
        for queue in &mut queues {
            queue.stats.pending = self.memory.head.queues.pending(queue);
        }
        let sequence = integer(event.sequence)?;
        let undelivered = Undelivered {
            session: self.keys.seal.session_key(&event.session),
            first: sequence,
            last: sequence,
            at: micros(event.at),
        };
        let mut queued = 0;
        for queue in &queues {
            let id = event_id(&queue.webhook, &event.id);
            let sql = "SELECT 1 FROM outbox WHERE id = ?1";
            if self.prepared.row(sql, [&id], |_| Ok(()))?.is_some() {
                return Err(Conflict::EventIdInUse.into());
            }
            if queue.stats.pending < self.limits.webhook_queue_rows {
                self.insert_event(queue, &id, &event.name, &undelivered)?;
                queued += 1;
            } else {
                self.overflow(queue, &undelivered)?;
            }
        }
        Ok((queued, queues.len() - queued))
    }

    /// Adds an event to a queue. It is due at once, or in its turn among those of its session.
    pub(crate) fn insert_event(
        &mut self,
        queue: &Queue,
        id: &str,
        name: &str,
        event: &Undelivered,
    ) -> Result<(), SqlError> {
        let due_at = (!queue.is_ordered).then_some(event.at);
        self.prepared.write(
            "INSERT INTO outbox (id, webhook, session, kind, first, last, event, at, due_at, waits)
             VALUES (?1, ?2, ?3, 0, ?4, ?4, ?5, ?6, ?7, ?8)",
            params![
                id,
                queue.webhook,
                event.session,
                event.first,
                name,
                event.at,
                due_at,
                queue.is_ordered,
            ],
        )?;
        self.count(&queue.webhook, 1, 0);
        if queue.is_ordered {
            self.order(&queue.webhook, event.session)?;
        }
        Ok(())
    }

    /// Makes the next event of a session due, if none is, and its snapshot if no event is queued that is before the end of
    /// its range.
    pub(crate) fn order(&mut self, webhook: &str, session: LookupHash) -> Result<(), SqlError> {
        for sql in [NEXT_EVENT, NEXT_SNAPSHOT] {
            self.prepared.execute(sql, params![session, webhook])?;
        }
        Ok(())
    }

    /// As [`Transaction::order`], for each session with an event in the queue of an ordered webhook.
    pub(crate) fn order_all(&mut self, webhook: &str) -> Result<(), SqlError> {
        let sql = "SELECT DISTINCT session FROM outbox WHERE webhook = ?1 AND (kind = 0 OR waits > 0)";
        for session in self.prepared.rows(sql, [webhook], |row| row.get(0))? {
            self.order(webhook, session)?;
        }
        Ok(())
    }

    /// Begins or ends the order of the events of each session. Those that were attempted keep their time: they may have
    /// arrived.
    pub(crate) fn set_order(&mut self, webhook: &str, is_ordered: bool) -> Result<(), SqlError> {
        self.memory.turns.touch(webhook);
        if !is_ordered {
            let sql = "UPDATE outbox SET waits = 0, due_at = CASE WHEN kind = 0 THEN at WHEN waits > 1 THEN waits END
                       WHERE webhook = ?1 AND waits > 0";
            self.prepared.execute(sql, [webhook])?;
            return Ok(());
        }
        let sql =
            "UPDATE outbox SET waits = 1, due_at = NULL WHERE webhook = ?1 AND kind = 0 AND attempts = 0";
        self.prepared.execute(sql, [webhook])?;
        self.order_all(webhook)
    }

    fn overflow(&mut self, queue: &Queue, event: &Undelivered) -> Result<(), SqlError> {
        let webhook = &queue.webhook;
        if queue.is_enabled && self.memory.head.overflowing.insert(webhook.clone()) {
            tracing::warn!(
                webhook,
                pending = queue.stats.pending,
                "the queue of a webhook is full: repair its endpoint. Later events are delivered as one snapshot per session"
            );
        }
        self.join_snapshot(webhook, event)?;
        if queue.is_ordered {
            self.order(webhook, event.session)?;
        }
        self.release_if_idle(webhook)
    }

    /// Adds events to the snapshot of their session.
    pub(crate) fn join_snapshot(&mut self, webhook: &str, events: &Undelivered) -> Result<(), SqlError> {
        self.memory.turns.touch(webhook);
        let params = params![webhook, events.session, events.first, events.last, events.at];
        // `due_at = at` marks a released snapshot
        let sql = "UPDATE outbox SET grown = CASE WHEN first > ?3 OR last < ?4 THEN 1 ELSE grown END,
                   first = min(first, ?3), last = max(last, ?4), at = min(at, ?5),
                   due_at = CASE WHEN due_at = at THEN min(at, ?5) ELSE due_at END
                   WHERE webhook = ?1 AND session = ?2 AND kind > 0";
        if self.prepared.execute(sql, params)? > 0 {
            return Ok(());
        }
        self.prepared.execute(
            "INSERT INTO outbox (id, webhook, session, kind, first, last, at, grown)
             VALUES ('msg_' || lower(hex(randomblob(16))), ?1, ?2, 1, ?3, ?4, ?5, 1)",
            params,
        )?;
        self.count(webhook, 0, 1);
        Ok(())
    }

    /// Makes all that waits for a webhook due which is enabled again, each with a schedule of its own.
    pub(crate) fn resume(&mut self, webhook: &str) -> Result<(), SqlError> {
        for sql in [
            "UPDATE outbox SET due_at = at, attempts = 0
             WHERE webhook = ?1 AND kind = 0 AND leased = 0 AND waits = 0",
            "UPDATE outbox SET due_at = NULL, attempts = 0, waits = min(waits, 1)
             WHERE webhook = ?1 AND kind > 0 AND leased = 0 AND (due_at IS NOT NULL OR waits > 1)",
        ] {
            self.prepared.execute(sql, [webhook])?;
        }
        self.release(webhook)
    }

    /// Adds the pending events of a webhook that are older than `before` to the snapshots of their sessions.
    pub(crate) fn withhold(&mut self, webhook: &str, before: i64) -> Result<(), SqlError> {
        self.memory.turns.touch(webhook);
        for sql in [
            "DELETE FROM deliveries WHERE webhook = ?1 AND state = 0 AND kind = 0 AND at < ?2",
            "INSERT INTO outbox (id, webhook, session, kind, first, last, at, grown)
             SELECT 'msg_' || lower(hex(randomblob(16))), ?1, session, 1, min(first), max(last), min(at), 1 FROM outbox
             WHERE webhook = ?1 AND kind = 0 AND leased = 0 AND at < ?2 GROUP BY session ORDER BY min(position)
             ON CONFLICT (webhook, session) WHERE kind > 0 DO UPDATE SET
             grown = CASE WHEN outbox.first > excluded.first OR outbox.last < excluded.last THEN 1 ELSE outbox.grown END,
             first = min(outbox.first, excluded.first), last = max(outbox.last, excluded.last),
             at = min(outbox.at, excluded.at)",
            "DELETE FROM outbox WHERE webhook = ?1 AND kind = 0 AND leased = 0 AND at < ?2",
        ] {
            self.prepared.execute(sql, params![webhook, before])?;
        }
        let sql =
            "UPDATE webhooks SET pending = (SELECT count(*) FROM outbox WHERE webhook = ?1 AND kind = 0),
                   snapshots = (SELECT count(*) FROM outbox WHERE webhook = ?1 AND kind > 0) WHERE id = ?1";
        self.prepared.execute(sql, [webhook])?;
        match self.queue(webhook)? {
            Some(queue) if queue.is_ordered => self.order_all(webhook),
            _ => Ok(()),
        }
    }

    /// Replaces all that was not delivered of a session by one erasure per webhook of its owner. `erased` is the sequence
    /// number of the removal.
    pub(crate) fn announce_erasure(
        &mut self,
        session: &SessionId,
        owner: &str,
        erased: i64,
        at: i64,
    ) -> Result<(), SqlError> {
        let key = self.keys.seal.session_key(session);
        let sql = "SELECT id FROM webhooks WHERE owner = ?1 ORDER BY id";
        let webhooks = self.prepared.rows(sql, [owner], |row| row.get::<String>(0))?;
        for webhook in &webhooks {
            let sql = "SELECT count(*) FILTER (WHERE kind = 0), count(*) FILTER (WHERE kind > 0),
                       coalesce(min(first), ?3), coalesce(max(last), ?3)
                       FROM outbox WHERE session = ?1 AND webhook = ?2";
            let mut held = self.prepared.rows(sql, params![key, webhook, erased], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?;
            let (rows, snapshots, first, last): (i64, i64, i64, i64) = held.pop().unwrap_or_default();
            let sql = "DELETE FROM outbox WHERE session = ?1 AND webhook = ?2";
            self.prepared.execute(sql, params![key, webhook])?;
            let subject_key = entropy::bytes();
            let slot = self.put_subject(None, &subject_key)?;
            let body = Aead::of_subject(&subject_key).seal(ERASED, session.as_str().as_bytes());
            let (first, last) = (first.min(erased), last.max(erased));
            self.prepared.execute(
                "INSERT INTO outbox (id, webhook, session, kind, first, last, at, slot, body)
                 VALUES (?1, ?2, randomblob(16), 2, ?3, ?4, ?5, ?6, ?7)",
                params![range_id(), webhook, first, last, at, slot, body],
            )?;
            self.count(webhook, -rows, 1 - snapshots);
            self.release_if_idle(webhook)?;
        }
        Ok(())
    }

    /// Makes snapshots and erasures due whose turn it is, longest waiting first.
    pub(crate) fn release(&mut self, webhook: &str) -> Result<(), SqlError> {
        let Some(queue) = self.queue(webhook)? else {
            return Ok(());
        };
        self.memory.turns.touch(webhook);
        if queue.stats.snapshots == 0 {
            self.memory.head.overflowing.remove(webhook);
        } else if queue.is_enabled {
            let sql = "SELECT count(*) FROM outbox
                       WHERE webhook = ?1 AND kind > 0 AND (leased = 1 OR due_at = at)";
            let active: Option<i64> = self.prepared.row(sql, [webhook], |row| row.get(0))?;
            self.prepared.execute(
                "UPDATE outbox SET due_at = at WHERE position IN (
                    SELECT position FROM outbox WHERE webhook = ?1 AND due_at IS NULL AND waits = 0
                    ORDER BY position LIMIT ?2)",
                params![webhook, (RELEASED - active.unwrap_or_default()).max(0)],
            )?;
        }
        Ok(())
    }

    /// As [`Transaction::release`], if no event is pending whose success would release them.
    pub(crate) fn release_if_idle(&mut self, webhook: &str) -> Result<(), SqlError> {
        match self.queue(webhook)? {
            Some(queue) if queue.stats.pending == 0 => self.release(webhook),
            _ => Ok(()),
        }
    }

    /// Adds to the counts of a webhook's queue.
    pub(crate) fn count(&mut self, webhook: &str, rows: i64, snapshots: i64) {
        self.memory.turns.touch(webhook);
        match self.memory.head.queues.0.get_mut(webhook) {
            Some(counts) => *counts = (counts.0 + rows, counts.1 + snapshots),
            None => drop(
                self.memory
                    .head
                    .queues
                    .0
                    .insert(webhook.to_owned(), (rows, snapshots)),
            ),
        }
    }

    /// Writes what was counted. Rows that another program moved to a queue were not counted.
    pub(crate) fn write_counts(&mut self) -> Result<(), SqlError> {
        let sql = "UPDATE webhooks SET pending = max(pending + ?2, 0), snapshots = max(snapshots + ?3, 0)
                   WHERE id = ?1";
        for (webhook, (rows, snapshots)) in std::mem::take(&mut self.memory.head.queues.0) {
            self.prepared.write(sql, params![webhook, rows, snapshots])?;
        }
        let sql = "INSERT INTO counts VALUES ('total ' || ?1, ?2)
                   ON CONFLICT (name) DO UPDATE SET value = counts.value + ?2";
        for (name, addition) in std::mem::take(&mut self.totals) {
            let addition = i64::try_from(addition).unwrap_or(i64::MAX);
            self.prepared.write(sql, params![name, addition])?;
        }
        Ok(())
    }

    /// The queue of a webhook, if it exists.
    pub(crate) fn queue(&mut self, webhook: &str) -> Result<Option<Queue>, SqlError> {
        self.write_counts()?;
        let sql = "SELECT id, enabled, pending, snapshots, ordered FROM webhooks WHERE id = ?1";
        Ok(self.prepared.rows(sql, [webhook], queue)?.pop())
    }

    /// The counts are columns of the webhooks, whose number is limited. Indexes find the oldest rows.
    pub(crate) fn stats(&mut self) -> Result<Stats, SqlError> {
        self.write_counts()?;
        let mut oldest = |sql| {
            let oldest = self.prepared.row(sql, (), |row| row.get::<Option<i64>>(0))?;
            oldest.flatten().map(time).transpose()
        };
        let mut stats = Stats {
            live_sessions: self.memory.head.live_sessions,
            oldest_end: oldest("SELECT min(ended_at) FROM sessions WHERE ended_at IS NOT NULL")?,
            oldest_attempt: oldest("SELECT attempted_at FROM deliveries ORDER BY position LIMIT 1")?,
            oldest_request: oldest("SELECT min(at) FROM requests")?,
            audit_entries: self.memory.head.log.tree.size(),
            fault: self.memory.fault,
            ..Stats::default()
        };
        let sql = "SELECT substr(name, 7), value FROM counts WHERE name > 'total ' AND name < 'total!'";
        let totals = self
            .prepared
            .rows(sql, (), |row| Ok((row.get(0)?, number(row, 1)?)))?;
        stats.totals = totals.into_iter().collect();
        let sql =
            "SELECT id, enabled, pending, snapshots, ordered, (SELECT min(at) FROM outbox WHERE webhook = webhooks.id)
                   FROM webhooks WHERE pending > 0 OR snapshots > 0";
        for queue in self.prepared.rows(sql, (), |row| {
            let mut queue = queue(row)?;
            queue.stats.oldest = row.get::<Option<i64>>(5)?.map(time).transpose()?;
            Ok(queue)
        })? {
            stats.outbox_pending += queue.stats.pending;
            stats.snapshots_pending += queue.stats.snapshots;
            let oldest = queue.stats.oldest;
            stats.outbox_oldest = stats.outbox_oldest.into_iter().chain(oldest).min();
            let id = queue.webhook.parse().map_err(|_| StoreErrorKind::Corrupt)?;
            stats.queues.insert(id, queue.stats);
        }
        Ok(stats)
    }
}

fn queue(row: &Row<'_>) -> Result<Queue, SqlError> {
    Ok(Queue {
        webhook: row.get(0)?,
        is_enabled: row.get(1)?,
        is_ordered: row.get(4)?,
        stats: QueueStats {
            pending: number(row, 2)?,
            snapshots: number(row, 3)?,
            oldest: None,
        },
    })
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use rusqlite::params;

    use super::{NEXT_EVENT, NEXT_SNAPSHOT};
    use crate::sqlite::schema;

    #[test]
    fn order_reads_no_other_rows_of_its_session() {
        let connection = schema::open_in_memory().unwrap();
        schema::create_tables(&connection).unwrap();
        for sql in [NEXT_EVENT, NEXT_SNAPSHOT] {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let plan: Vec<String> = statement
                .query_map(params!["s", "w"], |row| row.get(3))
                .unwrap()
                .map(Result::unwrap)
                .filter(|step: &String| step.starts_with("SEARCH") || step.starts_with("SCAN"))
                .collect();
            let reads = [
                "INTEGER PRIMARY KEY (rowid=?)",
                "INDEX outbox_session (session=? AND webhook=? AND waits=?",
                "INDEX outbox_snapshot (webhook=? AND session=?)",
            ];
            for step in &plan {
                assert!(reads.iter().any(|read| step.contains(read)), "{plan:?}");
            }
        }
    }
}
