//! Replacement of the seal key.

use std::fs::File;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::maintenance::{check, truncate_log};
use super::schema::LOG_TRIGGERS;
use super::schema::{VERSION, seal_aad};
use super::{SqliteStore, lock, row_sums, schema, startup};
use crate::audit_log::{LogHead, checkpoint_message, entry_message};
use crate::seal::LookupHash;
use crate::sql::error::SqlError;
use crate::sql::log::{checkpoint, entry, write_head};
use crate::sql::prepared::{Prepared, each_page};
use crate::sql::reader::Reader;
use crate::sql::rows::{session, session_columns, subject_aad, webhook_aads};
use crate::sql::threads::unavailable;
use crate::sql::values::params;
use crate::sql::{keyed_requests, shared_tokens};
use crate::{Keys, Limits, SealKey, StoreError, StoreErrorKind};

/// The replacement of the seal key of a store, which this process alone has open until the value is dropped.
///
/// Each sealed value, look-up hash and MAC is written again under the new key, in one transaction. It needs space for a
/// write-ahead log as large as the file. The signing key of the log and the subject keys stay, so checkpoints, proofs and
/// pseudonyms remain valid.
///
/// A crash leaves the whole file under one of the two keys. Keep both until the call of [`run`](Self::run) succeeds, and
/// repeat it with the same keys after a crash: a store that is under the new key already is not changed.
#[derive(Debug)]
pub struct Rekey {
    path: PathBuf,
    lock: [File; 2],
}

impl Rekey {
    /// Locks the store at `path`.
    ///
    /// # Errors
    /// `Locked` if another process has the store open, `Linked`, or `Unavailable`.
    pub fn lock(path: &Path) -> Result<Self, StoreError> {
        let path = path.canonicalize().map_err(unavailable)?;
        let lock = lock(&path)?;
        Ok(Self { path, lock })
    }

    /// Verifies the tables, each sealed value and each row of the log. A file of an earlier version is migrated.
    ///
    /// # Errors
    /// Those of [`SqliteStore::open`], and `Corrupt` with the first fault.
    pub fn verify(&self, keys: &Keys) -> Result<(), StoreError> {
        let connection = schema::open(&self.path)?;
        startup::prepare(&connection, keys)?;
        match check(&connection, keys)?.into_iter().next() {
            Some(fault) => Err(StoreError::new(StoreErrorKind::Corrupt, fault)),
            None => Ok(()),
        }
    }

    /// Whether the file is durable and under this seal key.
    ///
    /// # Errors
    /// `Corrupt` if it is no store, `Busy` if another program reads it, or `Unavailable`.
    pub fn is_sealed_by(&self, key: &SealKey) -> Result<bool, StoreError> {
        let connection = schema::open(&self.path)?;
        truncate_log(&connection)?;
        Ok(schema::is_sealed_by(&connection, key)?)
    }

    /// Replaces the seal key, unless the file is under the key `to` already.
    ///
    /// # Errors
    /// Those of [`SqliteStore::open`], `Corrupt` if a value cannot be read, and `Full`. The store is then under the old
    /// key if [`is_sealed_by`](Self::is_sealed_by) returns so.
    pub fn run(&self, keys: &Keys, to: &SealKey) -> Result<(), StoreError> {
        let connection = schema::open(&self.path)?;
        if !schema::is_sealed_by(&connection, to)? {
            startup::prepare(&connection, keys)?;
            rekey(&connection, keys, to)?;
        }
        // its pages may hold values under the old key
        truncate_log(&connection)?;
        Ok(())
    }

    /// Opens the store and keeps the lock.
    ///
    /// # Errors
    /// Those of [`SqliteStore::open`].
    pub fn open(self, keys: Keys, limits: Limits) -> Result<SqliteStore, StoreError> {
        SqliteStore::open_locked(&self.path, self.lock, keys, limits)
    }
}

fn rekey(connection: &Connection, keys: &Keys, to: &SealKey) -> Result<(), SqlError> {
    let from = &keys.seal;
    let transaction = connection.unchecked_transaction()?;
    let mut prepared = Prepared::new(connection);
    let mut reader = Reader {
        prepared: &mut prepared,
        keys,
    };
    // what an older copy of a row says is not authenticated anew
    let head = reader.verify_log()?;
    if let Some(fault) = row_sums::differences(connection, from, &head.rows)?
        .into_iter()
        .next()
    {
        return Err(StoreError::new(StoreErrorKind::Corrupt, fault).into());
    }
    rekey_sessions(&mut prepared, from, to)?;
    rekey_subjects(&mut prepared, from, to)?;
    rekey_webhooks(&mut prepared, from, to)?;
    shared_tokens::remove_all(&mut prepared)?;
    rekey_requests(&mut prepared, from, to)?;
    let mut reader = Reader {
        prepared: &mut prepared,
        keys,
    };
    rekey_log(connection, &mut reader, head, to)?;
    let proof = to.seal(seal_aad(VERSION), b"");
    prepared.execute("UPDATE meta SET value = ?1 WHERE name = 'seal'", [proof])?;
    drop(prepared);
    Ok(transaction.commit()?)
}

/// Replaces the look-up hashes of sessions and guests. The personal data is sealed under the subject keys, which stay.
fn rekey_sessions(prepared: &mut Prepared<'_>, from: &SealKey, to: &SealKey) -> Result<(), SqlError> {
    let sql = concat!(
        "SELECT sessions.rowid, ",
        session_columns!(),
        " FROM sessions JOIN subjects USING (slot) WHERE sessions.rowid > ?1 ORDER BY sessions.rowid LIMIT ?2"
    );
    each_page(
        prepared,
        sql,
        |row| {
            let rowid = row.get(0)?;
            let session = session(row, 1, from);
            let session = session.map_err(|_| unreadable(&format!("session in row {rowid}")))?;
            let old: LookupHash = row.get(2)?;
            let guest = to.guest_hash(&session.owner, &session.guest);
            Ok((rowid, (old, to.session_key(&session.id), guest)))
        },
        |prepared, rowid, (old, new, guest)| {
            let sql = "UPDATE sessions SET key = ?2, guest = ?3 WHERE rowid = ?1";
            prepared.execute(sql, params![rowid, new, guest])?;
            prepared.execute(
                "UPDATE requests SET session = ?2 WHERE session = ?1",
                params![old, new],
            )?;
            prepared.execute(
                "UPDATE deliveries SET session = ?2 WHERE session = ?1",
                params![old, new],
            )?;
            prepared.execute(
                "UPDATE outbox SET session = ?2 WHERE session = ?1",
                params![old, new],
            )
        },
    )
}

fn rekey_subjects(prepared: &mut Prepared<'_>, from: &SealKey, to: &SealKey) -> Result<(), SqlError> {
    let sql = "SELECT slot, key FROM subjects WHERE slot > ?1 AND free = 0 ORDER BY slot LIMIT ?2";
    each_page(
        prepared,
        sql,
        |row| {
            let slot = row.get(0)?;
            let aad = subject_aad(slot);
            let sealed = reseal(from, to, aad.as_bytes(), row.get(1)?, &aad)?;
            Ok((slot, sealed))
        },
        |prepared, slot, sealed| {
            prepared.execute(
                "UPDATE subjects SET key = ?2 WHERE slot = ?1",
                params![slot, sealed],
            )
        },
    )
}

fn rekey_webhooks(prepared: &mut Prepared<'_>, from: &SealKey, to: &SealKey) -> Result<(), SqlError> {
    let sql = "SELECT *, rowid FROM webhooks WHERE rowid > ?1 ORDER BY rowid LIMIT ?2";
    each_page(
        prepared,
        sql,
        |row| {
            let what = format!("webhook {}", row.get::<String>(0)?);
            let [secrets, document] = webhook_aads(row)?;
            let secrets = reseal(from, to, &secrets, row.get(9)?, &what)?;
            let document = reseal(from, to, &document, row.get(10)?, &what)?;
            Ok((row.get(15)?, (secrets, document)))
        },
        |prepared, rowid, (secrets, document)| {
            let sql = "UPDATE webhooks SET secrets = ?2, document = ?3 WHERE rowid = ?1";
            prepared.execute(sql, params![rowid, secrets, document])
        },
    )
}

/// Replaces the look-up hashes and the sealed values.
fn rekey_requests(prepared: &mut Prepared<'_>, from: &SealKey, to: &SealKey) -> Result<(), SqlError> {
    let sql = "SELECT rowid, owner, key, digest FROM requests WHERE rowid > ?1 ORDER BY rowid LIMIT ?2";
    each_page(
        prepared,
        sql,
        |row| {
            let owner: String = row.get(1)?;
            let key = keyed_requests::key(from, row.get(2)?)?;
            let digest = keyed_requests::digest(from, row.get(3)?)?;
            let digest = digest.map_or_else(Vec::new, |digest| to.seal(keyed_requests::DIGEST, &digest));
            let hash = to.request_hash(&owner, &key);
            Ok((
                row.get(0)?,
                (
                    hash,
                    to.seal(keyed_requests::KEY, key.as_str().as_bytes()),
                    digest,
                ),
            ))
        },
        |prepared, rowid, (hash, key, digest)| {
            let sql = "UPDATE requests SET hash = ?2, key = ?3, digest = ?4 WHERE rowid = ?1";
            prepared.execute(sql, params![rowid, hash, key, digest])
        },
    )
}

/// Authenticates the rows of a verified log and its head under another key.
fn rekey_log(
    connection: &Connection,
    reader: &mut Reader<'_, '_>,
    mut head: LogHead,
    to: &SealKey,
) -> Result<(), SqlError> {
    let (prepared, from) = (&mut *reader.prepared, &reader.keys.seal);
    connection.execute_batch("DROP TRIGGER entries_no_update; DROP TRIGGER entries_no_delete;")?;
    let sql =
        "SELECT seq, subject, subject_index, bytes, mac FROM entries WHERE seq > ?1 ORDER BY seq LIMIT ?2";
    each_page(
        prepared,
        sql,
        |row| {
            let (stored, index) = entry(row, from)?;
            let subject: Option<Vec<u8>> = row.get(1)?;
            let mac = to.mac(&entry_message(&stored, subject.as_deref().zip(index)));
            Ok((row.get(0)?, mac))
        },
        |prepared, seq, mac| {
            prepared.execute("UPDATE entries SET mac = ?2 WHERE seq = ?1", params![seq, mac])
        },
    )?;
    connection.execute_batch(LOG_TRIGGERS)?;
    let sql = "SELECT size, previous, note, mac FROM checkpoints WHERE size > ?1 ORDER BY size LIMIT ?2";
    each_page(
        prepared,
        sql,
        |row| {
            let (stored, previous) = checkpoint(row, from)?;
            Ok((row.get(0)?, to.mac(&checkpoint_message(&stored, previous))))
        },
        |prepared, size, mac| {
            prepared.execute(
                "UPDATE checkpoints SET mac = ?2 WHERE size = ?1",
                params![size, mac],
            )
        },
    )?;
    head.rows = row_sums::sums(connection, to)?;
    write_head(prepared, &head, to)?;
    Ok(())
}

fn reseal(
    from: &SealKey,
    to: &SealKey,
    aad: &[u8],
    sealed: Vec<u8>,
    what: &str,
) -> Result<Vec<u8>, SqlError> {
    let plain = from.open(aad, sealed).ok_or_else(|| unreadable(what))?;
    Ok(to.seal(aad, &plain))
}

fn unreadable(value: &str) -> SqlError {
    let source = format!("{value} cannot be read: run `guest-gateway store check`, and restore a backup");
    StoreError::new(StoreErrorKind::Corrupt, source).into()
}
