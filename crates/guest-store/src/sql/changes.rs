//! Statements of units of work and of the log.

use super::error::SqlError;
use super::rows::{integer, micros, write_session, write_webhook};
use super::transaction::Transaction;
use crate::seal::LookupHash;
use crate::{Change, Committed, Conflict, Session, StoreErrorKind, Unit, Webhook};

impl Transaction<'_, '_> {
    pub(crate) fn commit(&mut self, unit: &Unit) -> Result<Committed, SqlError> {
        // first, so that a repeated request is recognized before its token and the guest of its session
        let number = match &unit.request {
            Some(request) => self.number_request(request)?,
            None => 0,
        };
        if let Some(token) = &unit.token {
            self.put_token(token)?;
        }
        let version = match &unit.change {
            Some(change) => self.change(change)?,
            None => None,
        };
        if let Some(request) = &unit.request {
            self.put_request(request, number, unit.change.as_ref())?;
        }
        let (mut deliveries, mut overflowed) = match &unit.change {
            Some(Change::ReplayDeliveries { webhook, replay }) => self.replay(webhook.as_str(), replay)?,
            _ => (0, 0),
        };
        for event in &unit.events {
            let (queued, joined) = self.fan_out(event)?;
            deliveries += queued;
            overflowed += joined;
        }
        let first = self.memory.head.log.tree.size();
        self.log(&unit.entries)?;
        // nothing of the unit can fail after this
        for (name, addition) in &unit.totals {
            let total = self.totals.entry(name.clone()).or_default();
            *total = total.saturating_add(*addition);
        }
        Ok(Committed {
            version,
            entries: first..self.memory.head.log.tree.size(),
            deliveries,
            overflowed,
        })
    }

    /// Returns the new version.
    fn change(&mut self, change: &Change) -> Result<Option<u64>, SqlError> {
        match change {
            Change::CreateSession(session) => self.put_session(session, true).map(Some),
            Change::UpdateSession(session) => self.put_session(session, false).map(Some),
            Change::PutWebhook(webhook) => self.put_webhook(webhook).map(Some),
            Change::RemoveOldDeliveries { before } => {
                self.remove_old_deliveries(micros(*before))?;
                Ok(None)
            }
            Change::Settle(settlement) => {
                self.settle(settlement)?;
                Ok(None)
            }
            // counted by the commit
            Change::ReplayDeliveries { .. } => Ok(None),
            Change::RemoveRequests { before } => {
                self.remove_requests(micros(*before))?;
                Ok(None)
            }
            Change::RemoveSession { id, at } => {
                self.erase_session(id, micros(*at))?;
                Ok(None)
            }
            Change::RemoveWebhook(id) => {
                let sql = "SELECT slot FROM outbox WHERE webhook = ?1 AND slot IS NOT NULL";
                for slot in self.prepared.rows(sql, [id.as_str()], |row| row.get(0))? {
                    self.erase_subject(slot)?;
                }
                let sql = "DELETE FROM webhooks WHERE id = ?1";
                if self.prepared.execute(sql, [id.as_str()])? == 0 {
                    return Err(StoreErrorKind::NotFound.into());
                }
                self.memory.head.overflowing.remove(id.as_str());
                self.memory.turns.touch(id.as_str());
                Ok(None)
            }
        }
    }

    fn put_session(&mut self, session: &Session, is_new: bool) -> Result<u64, SqlError> {
        let seal = &self.keys.seal;
        let key = seal.session_key(&session.id);
        let stored =
            "SELECT version, CASE WHEN ended_at IS NULL THEN guest END, slot FROM sessions WHERE key = ?1";
        let stored = self.prepared.row(stored, [key], |row| {
            Ok((row.get::<i64>(0)?, row.get::<Option<LookupHash>>(1)?, row.get(2)?))
        })?;
        // the live guest of the stored row
        let (held, slot) = match stored {
            Some(_) if is_new => return Err(Conflict::IdInUse.into()),
            None if !is_new => return Err(StoreErrorKind::NotFound.into()),
            None if session.version > 0 => return Err(Conflict::VersionChanged.into()),
            None => (None, None),
            Some((version, held, slot)) => {
                if version != integer(session.version)? {
                    return Err(Conflict::VersionChanged.into());
                }
                (held, Some(slot))
            }
        };
        // the hash is of the owner too
        let guest = seal.guest_hash(&session.owner, &session.guest);
        let live = session.ended_at.is_none().then_some(guest);
        if live != held {
            if let Some(guest) = live
                && !self.add_live_guest(guest)?
            {
                return Err(Conflict::GuestInUse.into());
            }
            if let Some(guest) = held {
                self.memory.remove_guest(guest);
            }
        }
        let slot = self.put_subject(slot, &session.secrets.subject_key)?;
        let sql = match is_new {
            true => {
                "INSERT INTO sessions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)"
            }
            false => {
                "UPDATE sessions SET slot = ?2, owner = ?3, guest = ?4, channel = ?5, created_at = ?6,
                 expires_at = ?7, idle_deadline = ?8, ended_at = ?9, access = ?10, refresh = ?11,
                 previous_refresh = ?12, generation = ?13, version = ?14, personal = ?15 WHERE key = ?1"
            }
        };
        let version = session.version + 1;
        write_session(self.prepared, sql, session, slot, version, [key, guest])?;
        self.count_live(held.is_some(), live.is_some());
        Ok(version)
    }

    /// Adds a guest. Returns whether it had no live session.
    fn add_live_guest(&mut self, guest: LookupHash) -> Result<bool, SqlError> {
        if let Some(guests) = &mut self.memory.guests {
            return Ok(guests.add(guest));
        }
        let sql = "SELECT 1 FROM sessions WHERE guest = ?1 AND ended_at IS NULL";
        Ok(self.prepared.row(sql, [guest], |_| Ok(()))?.is_none())
    }

    fn put_webhook(&mut self, webhook: &Webhook) -> Result<u64, SqlError> {
        let stored = self.stored_webhook(webhook.id.as_str())?;
        let was_disabled = stored.as_ref().is_some_and(|(.., enabled)| !enabled);
        match stored {
            Some((_, owner, _)) if webhook.version == 0 || owner != webhook.owner => {
                return Err(Conflict::IdInUse.into());
            }
            Some((version, ..)) if version != integer(webhook.version)? => {
                return Err(Conflict::VersionChanged.into());
            }
            Some(_) => {}
            None if webhook.version > 0 => return Err(StoreErrorKind::NotFound.into()),
            None => self.check_room_for_webhook(&webhook.owner)?,
        }
        let sql = "SELECT 1 FROM webhooks WHERE owner = ?1 AND name = ?2 AND id <> ?3";
        let params = [&webhook.owner, &webhook.name, webhook.id.as_str()];
        if self.prepared.row(sql, params, |_| Ok(()))?.is_some() {
            return Err(Conflict::WebhookNameInUse.into());
        }
        let before = self.stored(webhook.id.as_str())?;
        let is_moved = before
            .as_ref()
            .is_none_or(|before| before.document != webhook.document);
        write_webhook(self.prepared, webhook, webhook.version + 1, &self.keys.seal)?;
        if webhook.enabled && (was_disabled || is_moved) {
            self.reset_health(webhook.id.as_str())?;
        }
        self.memory.turns.touch(webhook.id.as_str());
        // the order of one that could not be read before is set again
        if before.map(|before| before.ordered) != Some(webhook.ordered) {
            self.set_order(webhook.id.as_str(), webhook.ordered)?;
        }
        match webhook.enabled {
            true if was_disabled => self.resume(webhook.id.as_str())?,
            true => self.release(webhook.id.as_str())?,
            false => {}
        }
        Ok(webhook.version + 1)
    }

    fn check_room_for_webhook(&mut self, owner: &str) -> Result<(), SqlError> {
        let sql = "SELECT count(*), count(*) FILTER (WHERE owner = ?1) FROM webhooks";
        let counts = self
            .prepared
            .row(sql, [owner], |row| Ok((row.get::<i64>(0)?, row.get::<i64>(1)?)))?;
        let (all, own) = counts.unwrap_or_default();
        if all.unsigned_abs() >= self.limits.webhooks || own.unsigned_abs() >= self.limits.owner_webhooks {
            return Err(StoreErrorKind::TooManyWebhooks.into());
        }
        Ok(())
    }

    /// The version of a webhook, its owner, and whether it is enabled.
    fn stored_webhook(&mut self, id: &str) -> Result<Option<(i64, String, bool)>, SqlError> {
        let sql = "SELECT version, owner, enabled FROM webhooks WHERE id = ?1";
        self.prepared
            .row(sql, [id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
    }
}
