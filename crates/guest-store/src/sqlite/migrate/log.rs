//! Migration of the audit log of version 1, which has neither MACs nor a sealed head.

use audit::{Checkpoint, Tree, leaf_hash};
use rusqlite::{Connection, params};

use super::super::schema::{LOG_TABLES, LOG_TRIGGERS};
use crate::Keys;
use crate::audit_log::LogHead;
use crate::sql::error::SqlError;
use crate::sql::log::{insert_checkpoint, insert_entry};
use crate::sql::prepared::Prepared;
use crate::sql::rows::number;
use crate::sql::values::Row;
use crate::{StoreError, StoreErrorKind, StoredCheckpoint, StoredEntry};

/// Copies the log into the tables of version 2, within the open transaction.
///
/// # Errors
/// `Corrupt` if the log does not match its last checkpoint.
pub(super) fn from_1(connection: &Connection, keys: &Keys) -> Result<(), SqlError> {
    connection.execute_batch(
        "ALTER TABLE entries RENAME TO entries_1;
         DROP INDEX entries_subject;
         DROP TRIGGER entries_stay;
         DROP TRIGGER entries_remain;
         ALTER TABLE checkpoints RENAME TO checkpoints_1;",
    )?;
    connection.execute_batch(LOG_TABLES)?;
    connection.execute_batch(LOG_TRIGGERS)?;
    let checkpoints = checkpoints(connection, keys)?;
    let head = copy_entries(connection, keys, checkpoints.last())?;
    let sql = "INSERT INTO meta VALUES ('head', ?1)";
    connection.execute(sql, [head.seal(&keys.seal)])?;
    Ok(connection.execute_batch("DROP TABLE entries_1; DROP TABLE checkpoints_1")?)
}

/// Copies the checkpoints.
fn checkpoints(connection: &Connection, keys: &Keys) -> Result<Vec<Checkpoint>, SqlError> {
    let mut prepared = Prepared::new(connection);
    let sql = "SELECT size, note FROM checkpoints_1 ORDER BY size";
    let stored = prepared.rows(sql, (), |row| {
        let (size, note) = (number(row, 0)?, row.get(1)?);
        Ok(StoredCheckpoint { size, note })
    })?;
    let (mut previous, mut opened) = (None, Vec::new());
    for checkpoint in &stored {
        insert_checkpoint(&mut prepared, checkpoint, previous, &keys.seal)?;
        previous = Some(checkpoint.size);
        let note = keys.signer.verifier_key().open(&checkpoint.note);
        opened.push(note.map_err(|error| StoreError::new(StoreErrorKind::Corrupt, error))?);
    }
    Ok(opened)
}

/// Copies the entries, whose tree must have the root of the last checkpoint at its size.
fn copy_entries(
    connection: &Connection,
    keys: &Keys,
    last: Option<&Checkpoint>,
) -> Result<LogHead, SqlError> {
    let mut tree = Tree::new();
    let proves = |tree: &Tree| last.is_none_or(|last| last.size != tree.size() || last.root == tree.root());
    let mut is_sound = proves(&tree);
    let mut prepared = Prepared::new(connection);
    let mut statement = connection.prepare(
        "SELECT seq, subject, row_number() OVER (PARTITION BY subject ORDER BY seq) - 1, bytes
         FROM entries_1 ORDER BY seq",
    )?;
    let mut rows = statement.query(params![])?;
    while let Some(row) = rows.next()? {
        let (seq, bytes): (_, Vec<u8>) = (number(&Row::Sqlite(row), 0)?, row.get(3)?);
        is_sound &= seq == tree.size();
        let leaf = leaf_hash(&bytes);
        tree.append(leaf);
        is_sound &= proves(&tree);
        let subject: Option<Vec<u8>> = row.get(1)?;
        let entry = StoredEntry { seq, leaf, bytes };
        let subject = subject.as_deref().zip(Some(number(&Row::Sqlite(row), 2)?));
        insert_entry(&mut prepared, &entry, subject, &keys.seal)?;
    }
    let signed = last.map(|last| last.size);
    if !is_sound || signed > Some(tree.size()) {
        return Err(StoreErrorKind::Corrupt.into());
    }
    Ok(LogHead {
        tree,
        signed,
        ..LogHead::default()
    })
}
