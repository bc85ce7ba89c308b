//! The move of a store from a file of SQLite.

use std::path::{Path, PathBuf};

use genesys_http::Trust;
use secrecy::SecretString;

use super::address::Address;
use super::connection::{Connection, Role};
use super::{PostgresStore, blocking, schema};
use crate::sql::error::SqlError;
use crate::sql::log::write_head;
use crate::sql::prepared::Prepared;
use crate::sql::reader::Reader;
use crate::sql::values::{Params, Row, Value};
use crate::sqlite::Source;
use crate::{Keys, StoreError, StoreErrorKind};

impl PostgresStore {
    /// Moves the store in a file of SQLite, which no process has open, to an empty database. Returns the new name of the
    /// file, which ends in `.moved`.
    ///
    /// All rows are copied as they are, so checkpoints, proofs and tokens remain valid. The file is verified first, and keeps
    /// its name unless all of it is durable in the database. It is in one transaction: an interrupted move leaves an empty
    /// database.
    ///
    /// # Errors
    /// `NotEmpty` if the database has a store with an entry, `Corrupt` with the first fault of the file, and those of
    /// [`PostgresStore::open`] and [`SqliteStore::open`](crate::SqliteStore::open).
    pub fn move_from(
        path: &Path,
        connection: &SecretString,
        trust: &Trust,
        keys: &Keys,
    ) -> Result<PathBuf, StoreError> {
        let address = Address::parse(connection, trust)?;
        let source = Source::open(path, keys)?;
        blocking(|| {
            let mut target = Connection::new(address, Role::Write)?;
            schema::prepare(&mut target, keys)?;
            copy_all(&mut source.prepared(), target, keys)?;
            source.retire()
        })
    }
}

fn copy_all(source: &mut Prepared<'_>, target: Connection, keys: &Keys) -> Result<(), SqlError> {
    let mut target = Prepared::from(target);
    target.begin()?;
    let mut present = Reader {
        prepared: &mut target,
        keys,
    };
    if present.log_head()?.tree.size() > 0 {
        return Err(StoreErrorKind::NotEmpty.into());
    }
    let mut log = Reader {
        prepared: source,
        keys,
    }
    .read_head()?;
    // the sums of the rows, which only the file has
    log.rows = Default::default();
    write_head(&mut target, &log, &keys.seal)?;
    target.execute("DELETE FROM counts", ())?;
    for copy in COPIES {
        source.each(copy.select, &(), |row| {
            target.write(copy.insert, Columns(row, copy.columns))?;
            Ok(true)
        })?;
    }
    for sql in POSITIONS {
        target.row(sql, (), |_| Ok(()))?;
    }
    target.commit()
}

/// The values of a row as parameters.
struct Columns<'r>(&'r Row<'r>, usize);

impl Params for Columns<'_> {
    fn len(&self) -> usize {
        self.1
    }

    fn value(&self, index: usize) -> Value<'_> {
        self.0.value(index).unwrap_or(Value::Null)
    }
}

/// Statements that copy a table.
struct Copy {
    columns: usize,
    select: &'static str,
    insert: &'static str,
}

macro_rules! copy {
    ($columns:literal of $table:literal: $names:literal = $values:literal, $rest:literal) => {
        Copy {
            columns: $columns,
            select: concat!("SELECT ", $names, " FROM ", $table, " ", $rest),
            insert: concat!("INSERT INTO ", $table, " (", $names, ") VALUES (", $values, ")"),
        }
    };
}

/// All tables, each after those that it refers to. Rows with a position keep it; others get theirs in the same order.
const COPIES: [Copy; 10] = [
    copy!(2 of "meta": "name, value" = "?1, ?2", "WHERE name >= 'token ' AND name < 'token!'"),
    copy!(2 of "counts": "name, value" = "?1, ?2", ""),
    copy!(3 of "subjects": "slot, key, free" = "?1, ?2, ?3", ""),
    copy!(15 of "webhooks": "id, owner, name, events, enabled, failing_since, failures, rest_until, version, secrets, document,
        last_turn, pending, snapshots, ordered" = "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15", ""),
    copy!(15 of "sessions": "key, slot, owner, guest, channel, created_at, expires_at, idle_deadline, ended_at, access,
        refresh, previous_refresh, generation, version, personal"
        = "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15", "ORDER BY rowid"),
    copy!(8 of "requests": "hash, owner, number, key, digest, at, session, webhook"
        = "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8", "ORDER BY rowid"),
    copy!(17 of "outbox": "position, id, webhook, session, kind, first, last, event, at, due_at, leased, fence, attempts, grown,
        slot, body, waits" = "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17", ""),
    copy!(13 of "deliveries": "position, id, webhook, session, kind, first, last, event, at, state, number, attempted_at,
        attempts" = "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13", ""),
    copy!(5 of "entries": "seq, subject, subject_index, bytes, mac" = "?1, ?2, ?3, ?4, ?5", ""),
    copy!(4 of "checkpoints": "size, previous, note, mac" = "?1, ?2, ?3, ?4", ""),
];

/// Moves the next position behind those that were copied.
const POSITIONS: [&str; 2] = [
    "SELECT setval(pg_get_serial_sequence('guest_store.outbox', 'position'), max(position)) FROM outbox",
    "SELECT setval(pg_get_serial_sequence('guest_store.deliveries', 'position'), max(position)) FROM deliveries",
];
