//! Units of work and the log, as statements.

use audit::Draft;
use rusqlite::params;

use super::failed::Failed;
use super::rows::{integer, micros, place, write_session, write_webhook};
use super::writer::Transaction;
use crate::journal::Record;
use crate::{Change, Committed, Conflict, Event, Session, StoreErrorKind, StoredCheckpoint, Unit, Webhook};

impl Transaction<'_, '_> {
    pub(super) fn commit(&mut self, unit: &Unit) -> Result<Committed, Failed> {
        let version = match &unit.change {
            Some(change) => self.change(change)?,
            None => None,
        };
        let mut deliveries = 0;
        for event in &unit.events {
            deliveries += self.fan_out(event)?;
        }
        let first = self.head.journal.tree.size();
        self.log(&unit.entries)?;
        Ok(Committed {
            version,
            entries: first..self.head.journal.tree.size(),
            deliveries,
        })
    }

    /// Appends to the log.
    pub(super) fn log(&mut self, drafts: &[Draft]) -> Result<(), Failed> {
        for record in self.head.journal.append(drafts, &self.keys.signer)? {
            match record {
                Record::Checkpoint(checkpoint) => self.insert_checkpoint(&checkpoint)?,
                Record::Entry(entry, subject) => {
                    self.prepared.execute(
                        "INSERT INTO entries (seq, leaf, subject, bytes) VALUES (?1, ?2, ?3, ?4)",
                        params![
                            integer(entry.seq)?,
                            entry.leaf.as_bytes(),
                            subject.as_ref().map(audit::Pseudonym::as_bytes),
                            entry.bytes,
                        ],
                    )?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn checkpoint(&mut self) -> Result<StoredCheckpoint, Failed> {
        if let Some(checkpoint) = self.head.journal.checkpoint(&self.keys.signer) {
            self.insert_checkpoint(&checkpoint)?;
            return Ok(checkpoint);
        }
        let size = self.head.journal.tree.size();
        let sql = "SELECT note FROM checkpoints WHERE size = ?1";
        let note = self.prepared.row(sql, [integer(size)?], |row| row.get(0))?;
        Ok(StoredCheckpoint {
            size,
            note: note.ok_or(StoreErrorKind::Corrupt)?,
        })
    }

    fn insert_checkpoint(&mut self, checkpoint: &StoredCheckpoint) -> Result<(), Failed> {
        let sql = "INSERT INTO checkpoints (size, note) VALUES (?1, ?2)";
        self.prepared
            .execute(sql, params![integer(checkpoint.size)?, checkpoint.note])?;
        Ok(())
    }

    /// Gives the new version.
    fn change(&mut self, change: &Change) -> Result<Option<u64>, Failed> {
        match change {
            Change::CreateSession(session) => self.create_session(session).map(Some),
            Change::UpdateSession(session) => self.update_session(session).map(Some),
            Change::PutWebhook(webhook) => self.put_webhook(webhook).map(Some),
            Change::RemoveSession(id) => {
                let removed = self
                    .prepared
                    .execute("DELETE FROM sessions WHERE id = ?1", [id.as_str()])?;
                found(removed).map(|()| None)
            }
            Change::RemoveWebhook(id) => {
                let sql = "SELECT count(*), coalesce(sum(bytes), 0) FROM outbox
                           WHERE webhook = ?1 AND due_at IS NOT NULL";
                let waiting = self.prepared.row(sql, [id.as_str()], |row| {
                    Ok((
                        row.get::<_, i64>(0)?.unsigned_abs(),
                        row.get::<_, i64>(1)?.unsigned_abs(),
                    ))
                })?;
                let (rows, bytes) = waiting.unwrap_or_default();
                self.head.outbox_rows = self.head.outbox_rows.saturating_sub(rows);
                self.head.outbox_bytes = self.head.outbox_bytes.saturating_sub(bytes);
                let removed = self
                    .prepared
                    .execute("DELETE FROM webhooks WHERE id = ?1", [id.as_str()])?;
                found(removed).map(|()| None)
            }
        }
    }

    fn create_session(&mut self, session: &Session) -> Result<u64, Failed> {
        if self
            .stored_version(SESSION_VERSION, session.id.as_str())?
            .is_some()
        {
            return Err(Conflict::IdInUse.into());
        }
        if session.version != 0 {
            return Err(Conflict::VersionChanged.into());
        }
        self.check_guest(session)?;
        write_session(
            self.prepared,
            "INSERT INTO sessions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            session,
            1,
            &self.keys.seal,
        )?;
        Ok(1)
    }

    fn update_session(&mut self, session: &Session) -> Result<u64, Failed> {
        let stored = self.stored_version(SESSION_VERSION, session.id.as_str())?;
        if stored.ok_or(StoreErrorKind::NotFound)? != integer(session.version)? {
            return Err(Conflict::VersionChanged.into());
        }
        self.check_guest(session)?;
        write_session(
            self.prepared,
            "UPDATE sessions SET owner = ?2, guest = ?3, channel = ?4, created_at = ?5, expires_at = ?6,
             lapses_at = ?7, ended_at = ?8, access = ?9, refresh = ?10, previous_refresh = ?11, generation = ?12,
             version = ?13, secrets = ?14, document = ?15 WHERE id = ?1",
            session,
            session.version + 1,
            &self.keys.seal,
        )?;
        Ok(session.version + 1)
    }

    fn check_guest(&mut self, session: &Session) -> Result<(), Failed> {
        if session.ended_at.is_some() {
            return Ok(());
        }
        let sql = "SELECT 1 FROM sessions WHERE owner = ?1 AND guest = ?2 AND ended_at IS NULL AND id <> ?3";
        let params = [&session.owner, session.guest.as_str(), session.id.as_str()];
        match self.prepared.row(sql, params, |_| Ok(()))? {
            Some(()) => Err(Conflict::GuestInUse.into()),
            None => Ok(()),
        }
    }

    fn put_webhook(&mut self, webhook: &Webhook) -> Result<u64, Failed> {
        let stored = self.stored_version(WEBHOOK_VERSION, webhook.id.as_str())?;
        match stored {
            Some(_) if webhook.version == 0 => return Err(Conflict::IdInUse.into()),
            Some(stored) if stored != integer(webhook.version)? => {
                return Err(Conflict::VersionChanged.into());
            }
            Some(_) => {}
            None if webhook.version > 0 => return Err(StoreErrorKind::NotFound.into()),
            None => {
                let sql = "SELECT count(*) FROM webhooks";
                let count = self
                    .prepared
                    .row(sql, [], |row| row.get::<_, i64>(0))?
                    .unwrap_or_default();
                if count.unsigned_abs() >= self.limits.webhooks {
                    return Err(StoreErrorKind::TooManyWebhooks.into());
                }
            }
        }
        let sql = "SELECT 1 FROM webhooks WHERE owner = ?1 AND name = ?2 AND id <> ?3";
        let params = [&webhook.owner, &webhook.name, webhook.id.as_str()];
        if self.prepared.row(sql, params, |_| Ok(()))?.is_some() {
            return Err(Conflict::WebhookNameInUse.into());
        }
        write_webhook(
            self.prepared,
            "INSERT INTO webhooks VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (id) DO UPDATE SET owner = ?2, name = ?3, events = ?4, enabled = ?5, failing_since = ?6,
             version = ?7, secrets = ?8, document = ?9",
            webhook,
            webhook.version + 1,
            &self.keys.seal,
        )?;
        Ok(webhook.version + 1)
    }

    fn stored_version(&mut self, sql: &'static str, id: &str) -> Result<Option<i64>, Failed> {
        Ok(self.prepared.row(sql, [id], |row| row.get(0))?)
    }

    /// Writes the deliveries of an event, and gives their number.
    fn fan_out(&mut self, event: &Event) -> Result<usize, Failed> {
        let webhooks = self.prepared.rows(
            "SELECT id FROM webhooks WHERE owner = ?1 AND enabled
             AND EXISTS (SELECT 1 FROM json_each(events) WHERE value = ?2) ORDER BY id",
            [&event.owner, &event.name],
            |row| Ok(row.get::<_, String>(0)?),
        )?;
        let bytes = event.body.len() as u64;
        for webhook in &webhooks {
            let id = event.delivery_id(&webhook.parse().map_err(|_| StoreErrorKind::Corrupt)?);
            let sql = "SELECT 1 FROM outbox WHERE id = ?1";
            if self.prepared.row(sql, [&id], |_| Ok(()))?.is_some() {
                return Err(Conflict::EventIdInUse.into());
            }
            self.head.outbox_rows += 1;
            self.head.outbox_bytes += bytes;
            let limits = self.limits;
            if self.head.outbox_rows > limits.outbox_rows || self.head.outbox_bytes > limits.outbox_bytes {
                return Err(StoreErrorKind::OutboxFull.into());
            }
            let body = self.keys.seal.seal(&place("outbox", &id, "body"), &event.body);
            self.prepared.execute(
                "INSERT INTO outbox (id, webhook, event, at, due_at, fence, attempts, bytes, body)
                 VALUES (?1, ?2, ?3, ?4, ?4, 0, 0, ?5, ?6)",
                params![id, webhook, event.name, micros(event.at), integer(bytes)?, body],
            )?;
        }
        Ok(webhooks.len())
    }
}

const SESSION_VERSION: &str = "SELECT version FROM sessions WHERE id = ?1";
const WEBHOOK_VERSION: &str = "SELECT version FROM webhooks WHERE id = ?1";

fn found(rows: usize) -> Result<(), Failed> {
    match rows {
        0 => Err(StoreErrorKind::NotFound.into()),
        _ => Ok(()),
    }
}
