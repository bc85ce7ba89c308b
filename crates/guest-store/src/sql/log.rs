//! Statements of the audit log.
//!
//! The rows of the log are authenticated: each has a MAC, and the sealed head has the number of entries, the tree and the
//! last checkpoint. A page is read under the head, so a row that was altered, removed or inserted is detected.

use audit::{Draft, Pseudonym, Tree, leaf_hash};

use super::error::SqlError;
use super::prepared::Prepared;
use super::reader::Reader;
use super::rows::{integer, number};
use super::transaction::Transaction;
use super::values::{Row, params};
use crate::audit_log::{LogHead, SubjectIndex, checkpoint_message, entry_message, subject_keys};
use crate::store::PAGE;
use crate::{EntryQuery, SealKey, StoreError, StoreErrorKind, StoredCheckpoint, StoredEntry};

impl Transaction<'_, '_> {
    /// Appends to the log.
    pub(crate) fn log(&mut self, drafts: &[Draft]) -> Result<(), SqlError> {
        for draft in drafts {
            let entry = self.memory.head.log.append(draft, &self.keys.signer)?;
            let keys = draft.subject.as_ref().map(subject_keys).unwrap_or_default();
            let subject = match keys.first() {
                Some(key) => Some((key.as_slice(), self.next_index(&keys)?)),
                None => None,
            };
            insert_entry(self.prepared, &entry, subject, &self.keys.seal)?;
            if self.memory.head.log.is_checkpoint_due() {
                self.checkpoint()?;
            }
        }
        Ok(())
    }

    /// The index of the next entry of a subject.
    fn next_index(&mut self, keys: &[Vec<u8>]) -> Result<u64, SqlError> {
        let sql = "SELECT subject_index FROM entries WHERE subject = ?1 ORDER BY seq DESC LIMIT 1";
        for key in keys {
            let last = self.prepared.row(sql, [key], |row| row.get::<i64>(0))?;
            if let Some(last) = last {
                return Ok(last.unsigned_abs() + 1);
            }
        }
        Ok(0)
    }

    /// Signs the head and returns the checkpoint, or returns the last one if nothing was appended since.
    pub(crate) fn checkpoint(&mut self) -> Result<StoredCheckpoint, SqlError> {
        if let Some((checkpoint, previous)) = self.memory.head.log.checkpoint(&self.keys.signer) {
            insert_checkpoint(self.prepared, &checkpoint, previous, &self.keys.seal)?;
            return Ok(checkpoint);
        }
        let size = self.memory.head.log.tree.size();
        let sql = "SELECT size, previous, note, mac FROM checkpoints WHERE size = ?1";
        let key = &self.keys.seal;
        let found = self
            .prepared
            .rows(sql, [integer(size)?], |row| checkpoint(row, key))?;
        let found = found.into_iter().next().map(|(checkpoint, _)| checkpoint);
        found.ok_or_else(|| altered(format!("checkpoint {size} is missing")))
    }
}

pub(crate) fn insert_entry(
    prepared: &mut Prepared<'_>,
    entry: &StoredEntry,
    subject: Option<SubjectIndex<'_>>,
    key: &SealKey,
) -> Result<(), SqlError> {
    prepared.write(
        "INSERT INTO entries (seq, subject, subject_index, bytes, mac) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            integer(entry.seq)?,
            subject.map(|(subject, _)| subject),
            subject.map(|(_, index)| integer(index)).transpose()?,
            entry.bytes,
            key.mac(&entry_message(entry, subject)),
        ],
    )
}

pub(crate) fn insert_checkpoint(
    prepared: &mut Prepared<'_>,
    checkpoint: &StoredCheckpoint,
    previous: Option<u64>,
    key: &SealKey,
) -> Result<(), SqlError> {
    prepared.write(
        "INSERT INTO checkpoints (size, previous, note, mac) VALUES (?1, ?2, ?3, ?4)",
        params![
            integer(checkpoint.size)?,
            previous.map(integer).transpose()?,
            checkpoint.note,
            key.mac(&checkpoint_message(checkpoint, previous)),
        ],
    )
}

/// Writes the head. It belongs to the transaction that changed it.
pub(crate) fn write_head(prepared: &mut Prepared<'_>, head: &LogHead, key: &SealKey) -> Result<(), SqlError> {
    prepared.write("UPDATE meta SET value = ?1 WHERE name = 'head'", [head.seal(key)])
}

impl Reader<'_, '_> {
    pub(crate) fn entries(&mut self, query: &EntryQuery, limit: usize) -> Result<Vec<StoredEntry>, SqlError> {
        let limit = limit.min(PAGE) as u64;
        match *query {
            EntryQuery::From(from) => self.entries_from(from, limit),
            EntryQuery::OfSubject { subject, before } => self.entries_of(&subject, before, limit),
        }
    }

    fn entries_from(&mut self, from: u64, limit: u64) -> Result<Vec<StoredEntry>, SqlError> {
        // entries that are committed after this read of the head do not belong to the page
        let size = self.log_head()?.tree.size();
        let end = from.saturating_add(limit).min(size);
        let sql = "SELECT seq, subject, subject_index, bytes, mac FROM entries
                   WHERE seq >= ?1 AND seq < ?2 ORDER BY seq";
        let key = &self.keys.seal;
        let bounds = params![first(from), bound(end)];
        let found = self.prepared.rows(sql, bounds, |row| entry(row, key))?;
        let mut found = found.into_iter().map(|(entry, _)| entry);
        (from..end)
            .map(|seq| match found.next() {
                Some(entry) if entry.seq == seq => Ok(entry),
                _ => Err(altered(format!("entry {seq} is missing"))),
            })
            .collect()
    }

    fn entries_of(
        &mut self,
        subject: &Pseudonym,
        before: Option<u64>,
        limit: u64,
    ) -> Result<Vec<StoredEntry>, SqlError> {
        let sql = "SELECT seq, subject, subject_index, bytes, mac FROM entries
                   WHERE subject = ?1 AND seq <= ?2 ORDER BY seq DESC LIMIT ?3";
        // the entry `before` is read too, since its index shows whether one after it is missing
        let wanted = limit + u64::from(before.is_some());
        let (key, before_or_at) = (&self.keys.seal, bound(before.unwrap_or(u64::MAX)));
        let mut found = Vec::new();
        for subject in subject_keys(subject) {
            let rest = bound(wanted - found.len() as u64);
            let page = params![subject, before_or_at, rest];
            found.extend(self.prepared.rows(sql, page, |row| entry(row, key))?);
        }
        let is_last_page = (found.len() as u64) < wanted;
        let indices: Vec<_> = found.iter().filter_map(|(_, index)| *index).collect();
        let is_complete = indices.windows(2).all(|pair| pair[0] == pair[1] + 1)
            && (!is_last_page || indices.last().is_none_or(|oldest| *oldest == 0));
        if !is_complete {
            return Err(altered(format!("an entry of subject {subject} is missing")));
        }
        let entries = found.into_iter().map(|(entry, _)| entry);
        let entries = entries.filter(|entry| Some(entry.seq) != before);
        Ok(entries.take(usize::try_from(limit).unwrap_or(PAGE)).collect())
    }

    pub(crate) fn checkpoints(&mut self, from: u64, limit: usize) -> Result<Vec<StoredCheckpoint>, SqlError> {
        let signed = self.log_head()?.signed;
        let sql = "SELECT size, previous, note, mac FROM checkpoints
                   WHERE size >= ?1 AND size <= ?2 ORDER BY size LIMIT ?3";
        let limit = limit.min(PAGE);
        let bounds = params![first(from), bound(signed.unwrap_or(0)), bound(limit as u64)];
        let key = &self.keys.seal;
        let found = self.prepared.rows(sql, bounds, |row| checkpoint(row, key))?;
        let mut before = None;
        for (checkpoint, previous) in &found {
            // the first of a page follows one that is before the page
            if *previous != before && !(before.is_none() && *previous < Some(from)) {
                return Err(altered(format!(
                    "the checkpoint before {} is missing",
                    checkpoint.size
                )));
            }
            before = Some(checkpoint.size);
        }
        if found.len() < limit && signed >= Some(from) && before != signed {
            return Err(altered("its last checkpoint is missing".into()));
        }
        Ok(found.into_iter().map(|(checkpoint, _)| checkpoint).collect())
    }

    /// Verifies all entries and checkpoints, compares the tree of the entries with the head, and returns the head.
    pub(crate) fn verify_log(&mut self) -> Result<LogHead, SqlError> {
        let head = self.log_head()?;
        self.refuse_rows_outside(&head)?;
        let mut tree = Tree::new();
        while tree.size() < head.tree.size() {
            let page = self.entries_from(tree.size(), PAGE as u64)?;
            page.iter().for_each(|entry| tree.append(entry.leaf));
        }
        let mut from = Some(0);
        while let Some(next) = from {
            let page = self.checkpoints(next, PAGE)?;
            from = page.last().map(|checkpoint| checkpoint.size.saturating_add(1));
        }
        match tree == head.tree {
            true => Ok(head),
            false => Err(altered("its entries do not match its head".into())),
        }
    }

    /// Fails if there are rows before the first entry or behind the head, which no page includes.
    fn refuse_rows_outside(&mut self, head: &LogHead) -> Result<(), SqlError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM entries WHERE seq < 0) OR EXISTS (SELECT 1 FROM checkpoints WHERE size < 0),
                   EXISTS (SELECT 1 FROM entries WHERE seq >= ?1) OR EXISTS (SELECT 1 FROM checkpoints WHERE size > ?2)";
        let bounds = params![bound(head.tree.size()), head.signed.map_or(-1, bound)];
        match self
            .prepared
            .row(sql, bounds, |row| Ok((row.get(0)?, row.get(1)?)))?
        {
            Some((false, false)) => Ok(()),
            Some((true, _)) => Err(altered("rows were added before its start".into())),
            _ => Err(altered("rows were added at its end".into())),
        }
    }

    /// Reads the head, and checks that the log ends at it.
    pub(crate) fn read_head(&mut self) -> Result<LogHead, SqlError> {
        let head = self.log_head()?;
        self.refuse_rows_outside(&head)?;
        let size = head.tree.size();
        self.entries_from(size.saturating_sub(1), 1)?;
        self.checkpoints(head.signed.unwrap_or(0), 1)?;
        Ok(head)
    }

    pub(crate) fn log_head(&mut self) -> Result<LogHead, SqlError> {
        let sql = "SELECT value FROM meta WHERE name = 'head'";
        let sealed = self.prepared.row(sql, (), |row| row.get(0))?;
        let head = sealed.and_then(|sealed| LogHead::open(&self.keys.seal, sealed));
        head.ok_or_else(|| altered("its head was altered".into()))
    }
}

/// Reads a row of `entries` and its index among the entries of its subject.
pub(crate) fn entry(row: &Row<'_>, key: &SealKey) -> Result<(StoredEntry, Option<u64>), SqlError> {
    let seq = number(row, 0)?;
    let subject: Option<Vec<u8>> = row.get(1)?;
    let index = row.get::<Option<i64>>(2)?.map(i64::unsigned_abs);
    let bytes: Vec<u8> = row.get(3)?;
    let leaf = leaf_hash(&bytes);
    let entry = StoredEntry { seq, leaf, bytes };
    let mac: Vec<u8> = row.get(4)?;
    let is_whole = subject.is_some() == index.is_some();
    if is_whole && key.has_mac(&entry_message(&entry, subject.as_deref().zip(index)), &mac) {
        Ok((entry, index))
    } else {
        Err(altered(format!("entry {seq} was altered")))
    }
}

/// Reads a row of `checkpoints` and the size of the checkpoint before.
pub(crate) fn checkpoint(row: &Row<'_>, key: &SealKey) -> Result<(StoredCheckpoint, Option<u64>), SqlError> {
    let (size, note) = (number(row, 0)?, row.get(2)?);
    let previous = row.get::<Option<i64>>(1)?.map(i64::unsigned_abs);
    let checkpoint = StoredCheckpoint { size, note };
    let mac: Vec<u8> = row.get(3)?;
    if key.has_mac(&checkpoint_message(&checkpoint, previous), &mac) {
        Ok((checkpoint, previous))
    } else {
        Err(altered(format!("checkpoint {size} was altered")))
    }
}

fn altered(what: String) -> SqlError {
    StoreError::new(
        StoreErrorKind::Corrupt,
        format!("the audit log was altered: {what}"),
    )
    .into()
}

/// The bound of a page that begins at this number. The first page includes all rows before the first one: there are none.
fn first(from: u64) -> i64 {
    if from == 0 { i64::MIN } else { bound(from) }
}

/// A bound of a query. No row is beyond the largest integer of SQLite.
fn bound(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
