//! The state that the entries of a log describe.

use std::collections::{BTreeMap, BTreeSet};

use audit::{Draft, Entry, Value};

use super::Error;

/// The state that the entries describe: what a store should hold.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) units: BTreeMap<String, Logged>,
    /// Stored sessions by their id.
    pub(super) sessions: BTreeMap<String, Described>,
    /// Erased sessions, with the sequence number of the erasure.
    pub(super) erased: BTreeMap<String, u64>,
    /// Sums of the additions to totals.
    pub(super) totals: BTreeMap<String, u64>,
    /// Sequence numbers that were delivered, alone or in a range, by webhook and session.
    pub(super) delivered: BTreeMap<(String, String), BTreeSet<u64>>,
    /// Events that were delivered or given up, by webhook, session and sequence number.
    pub(super) settled: BTreeSet<(String, String, u64)>,
}

/// The entries of a unit.
#[derive(Debug)]
pub(super) struct Logged {
    /// Sequence number of the first one.
    pub(super) first: u64,
    /// Number of those found.
    pub(super) found: u64,
    /// Number of those committed.
    pub(super) parts: u64,
}

/// A session as its entries describe it.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Described {
    pub(super) version: u64,
    pub(super) has_ended: bool,
    /// The last unit.
    pub(super) unit: String,
    /// Entries about it.
    pub(super) entries: usize,
}

impl History {
    /// Adds the next entry.
    pub(super) fn add(&mut self, entry: &Entry) -> Result<(), Error> {
        let draft = &entry.draft;
        let unit = text(draft, "unit")?;
        let logged = self.units.entry(unit.clone()).or_insert(Logged {
            first: entry.seq,
            found: 0,
            parts: number(draft, "parts")?,
        });
        logged.found += 1;
        let is_first = logged.found == 1;
        match draft.action.split_once('.') {
            Some(("session", action)) => {
                self.add_to_session(draft, action, unit)?;
                if is_first {
                    for total in ["units", action] {
                        *self.totals.entry(total.to_owned()).or_default() += 1;
                    }
                }
            }
            Some(("delivery", outcome)) => self.settle(draft, outcome)?,
            _ => return Err(format!("unknown action {}", draft.action).into()),
        }
        Ok(())
    }

    fn add_to_session(&mut self, draft: &Draft, action: &str, unit: String) -> Result<(), Error> {
        let (id, version) = (text(draft, "session")?, number(draft, "version")?);
        if action == "erased" {
            self.sessions.remove(&id);
            self.erased.insert(id, version);
            return Ok(());
        }
        let session = self.sessions.entry(id).or_default();
        session.version = version;
        session.has_ended = action == "ended";
        session.unit = unit;
        session.entries += 1;
        Ok(())
    }

    fn settle(&mut self, draft: &Draft, outcome: &str) -> Result<(), Error> {
        let (webhook, session) = (text(draft, "webhook")?, text(draft, "session")?);
        let (first, last) = (number(draft, "first")?, number(draft, "last")?);
        if draft.detail.get("is_event") == Some(&Value::Bool(true))
            && ["delivered", "dead"].contains(&outcome)
        {
            self.settled.insert((webhook.clone(), session.clone(), first));
        }
        if outcome == "delivered" {
            self.delivered
                .entry((webhook, session))
                .or_default()
                .extend(first..=last);
        }
        Ok(())
    }
}

fn text(draft: &Draft, key: &str) -> Result<String, Error> {
    match draft.detail.get(key) {
        Some(Value::Text(text)) => Ok(text.clone()),
        _ => Err(format!("an entry without the text `{key}`").into()),
    }
}

fn number(draft: &Draft, key: &str) -> Result<u64, Error> {
    match draft.detail.get(key) {
        Some(Value::Integer(number)) => Ok(u64::try_from(*number)?),
        _ => Err(format!("an entry without the number `{key}`").into()),
    }
}
