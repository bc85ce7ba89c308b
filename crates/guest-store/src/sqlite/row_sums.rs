//! Keyed sums of the rows that change.
//!
//! An older copy of a row is as authentic as the current one. The sealed head of the log therefore has a sum for each
//! table: of the MACs of all its rows, modulo 2¹²⁸. A change of a row subtracts the old MAC and adds the new one, in the
//! same transaction. The MACs and the sums are stored nowhere in plain, so that nobody without the seal key can choose
//! rows whose sum is the same.
//!
//! Temporary triggers of the writing connection do that for each statement, also for a cascade.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ring::hmac;
use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;

use crate::audit_log::RowSums;
use crate::sql::error::SqlError;
use crate::sql::values::{Value, encode};
use crate::{SealKey, StoreError, StoreErrorKind};

/// A table whose rows change, with the name of its integer key and all its columns.
#[derive(Clone, Copy)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) key: &'static str,
    pub(super) columns: &'static str,
}

/// The tables of the sums. The log has MACs of its own, and the values in `meta` are sealed.
pub(super) const TABLES: [Table; 7] = [
    Table {
        name: "counts",
        key: "rowid",
        columns: "name, value",
    },
    Table {
        name: "outbox",
        key: "position",
        columns: "position, id, webhook, session, kind, first, last, event, at, due_at, leased, fence, attempts, grown, \
                  slot, body, waits",
    },
    Table {
        name: "requests",
        key: "rowid",
        columns: "hash, owner, number, key, digest, at, session, webhook",
    },
    Table {
        name: "sessions",
        key: "rowid",
        columns: "key, slot, owner, guest, channel, created_at, expires_at, idle_deadline, ended_at, access, refresh, \
                  previous_refresh, generation, version, personal",
    },
    Table {
        name: "subjects",
        key: "slot",
        columns: "slot, key, free",
    },
    Table {
        name: "webhooks",
        key: "rowid",
        columns: "id, owner, name, events, enabled, failing_since, failures, rest_until, version, secrets, document, \
                  last_turn, pending, snapshots, ordered",
    },
    // since version 6
    Table {
        name: "deliveries",
        key: "position",
        columns: "position, id, webhook, session, kind, first, last, event, at, state, number, attempted_at, attempts",
    },
];

/// Rows of a page. Our choice: the writer reads one in less than a millisecond.
const PAGE: usize = 256;

/// The sums of the writer, and its progress in comparing them with the rows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RowState {
    sums: RowSums,
    comparison: Comparison,
}

/// The sum of the rows of one table before the key `next`, while units change them.
#[derive(Clone, Copy, Debug)]
struct Comparison {
    table: usize,
    next: i64,
    sum: u128,
}

impl Comparison {
    fn of(table: usize) -> Self {
        Self {
            table,
            next: i64::MIN,
            sum: 0,
        }
    }
}

impl Default for Comparison {
    fn default() -> Self {
        Self::of(0)
    }
}

/// The state that the triggers of one connection change. A rollback has to restore it.
#[derive(Clone, Debug)]
pub(super) struct Rows(Arc<Mutex<RowState>>);

impl Rows {
    /// Adds the rows that this connection changes from here on to the sums.
    pub(super) fn watch(connection: &Connection, seal: &SealKey, sums: RowSums) -> rusqlite::Result<Self> {
        let state = RowState {
            sums,
            ..RowState::default()
        };
        let rows = Self(Arc::new(Mutex::new(state)));
        let (watched, key) = (rows.clone(), seal.row_key().clone());
        // its arguments: 1 or -1, the index of the table, the key of the row, the columns
        let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_INNOCUOUS;
        connection.create_scalar_function("count_row", -1, flags, move |arguments| {
            let sign: i64 = arguments.get(0)?;
            let index = usize::from(arguments.get::<u8>(1)?);
            let columns = (3..arguments.len()).map(|column| arguments.get_raw(column));
            let mac = mac(&key, &TABLES[index], columns);
            let mac = if sign < 0 { mac.wrapping_neg() } else { mac };
            watched.lock().add(index, arguments.get(2)?, mac);
            Ok(sign)
        })?;
        for (index, Table { name, key, columns }) in TABLES.iter().enumerate() {
            let count = |sign: i64, row: &str| {
                let columns: Vec<_> = columns
                    .split(", ")
                    .map(|column| format!("{row}.{column}"))
                    .collect();
                format!("count_row({sign}, {index}, {row}.{key}, {})", columns.join(", "))
            };
            let (removed, added) = (count(-1, "old"), count(1, "new"));
            connection.execute_batch(&format!(
                "CREATE TEMP TRIGGER {name}_added AFTER INSERT ON {name} BEGIN SELECT {added}; END;
                 CREATE TEMP TRIGGER {name}_changed AFTER UPDATE ON {name} BEGIN SELECT {removed}, {added}; END;
                 CREATE TEMP TRIGGER {name}_removed AFTER DELETE ON {name} BEGIN SELECT {removed}; END;"
            ))?;
        }
        Ok(rows)
    }

    pub(super) fn sums(&self) -> RowSums {
        self.lock().sums
    }

    pub(super) fn state(&self) -> RowState {
        *self.lock()
    }

    pub(super) fn restore(&self, state: RowState) {
        *self.lock() = state;
    }

    fn lock(&self) -> MutexGuard<'_, RowState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RowState {
    fn add(&mut self, table: usize, key: i64, mac: u128) {
        self.sums[table] = self.sums[table].wrapping_add(mac);
        let comparison = &mut self.comparison;
        if comparison.table == table && key < comparison.next {
            comparison.sum = comparison.sum.wrapping_add(mac);
        }
    }
}

impl Rows {
    /// Compares the next page of rows with the sums: units that change rows run between two pages. Returns whether all
    /// rows are compared.
    pub(super) fn compare(
        &self,
        connection: &Connection,
        seal: &SealKey,
        is_first: bool,
    ) -> Result<bool, SqlError> {
        let mut state = self.state();
        if is_first {
            state.comparison = Comparison::default();
        }
        let Comparison { table, next, sum } = state.comparison;
        let (mac, next) = page(connection, seal, &TABLES[table], next)?;
        let sum = sum.wrapping_add(mac);
        state.comparison = match next {
            Some(next) => Comparison { table, next, sum },
            None if sum == state.sums[table] => Comparison::of(table + 1),
            None => return Err(StoreError::new(StoreErrorKind::Corrupt, changed(table)).into()),
        };
        self.restore(state);
        Ok(state.comparison.table == TABLES.len())
    }
}

/// The sums of all rows.
pub(super) fn sums(connection: &Connection, seal: &SealKey) -> Result<RowSums, SqlError> {
    let mut sums = RowSums::default();
    for (table, sum) in TABLES.iter().zip(&mut sums) {
        *sum = table_sum(connection, seal, table)?;
    }
    Ok(sums)
}

pub(super) fn table_sum(connection: &Connection, seal: &SealKey, table: &Table) -> Result<u128, SqlError> {
    let (mut sum, mut from) = (0_u128, Some(i64::MIN));
    while let Some(key) = from {
        let (mac, next) = page(connection, seal, table, key)?;
        sum = sum.wrapping_add(mac);
        from = next;
    }
    Ok(sum)
}

/// Executes `sql`, which adds each of the columns `added` at the end of a table. The sums change as those of the rows do, so
/// that rows that were altered before are detected after it.
pub(super) fn add_columns(
    connection: &Connection,
    seal: &SealKey,
    sums: &mut RowSums,
    added: [&str; 2],
    sql: &str,
) -> Result<(), SqlError> {
    let without = |table: &Table| {
        let columns = added.iter().find_map(|column| table.columns.strip_suffix(column));
        columns.map(|columns| Table { columns, ..*table })
    };
    for (sum, table) in sums.iter_mut().zip(&TABLES) {
        if let Some(before) = without(table) {
            *sum = sum.wrapping_sub(table_sum(connection, seal, &before)?);
        }
    }
    connection.execute_batch(sql)?;
    for (sum, table) in sums.iter_mut().zip(&TABLES) {
        if without(table).is_some() {
            *sum = sum.wrapping_add(table_sum(connection, seal, table)?);
        }
    }
    Ok(())
}

/// The tables whose rows do not have the sums of the head, one text each.
pub(super) fn differences(
    connection: &Connection,
    seal: &SealKey,
    head: &RowSums,
) -> Result<Vec<String>, SqlError> {
    let found = sums(connection, seal)?;
    let tables = 0..TABLES.len();
    Ok(tables
        .filter(|table| found[*table] != head[*table])
        .map(changed)
        .collect())
}

fn changed(table: usize) -> String {
    format!(
        "rows of the table {} were altered, removed, added or replaced by older ones",
        TABLES[table].name
    )
}

/// The sum of a page of rows from the key `from`, and the key from which the next page begins.
fn page(
    connection: &Connection,
    seal: &SealKey,
    table: &Table,
    from: i64,
) -> Result<(u128, Option<i64>), SqlError> {
    let Table { name, key, columns } = table;
    let sql = format!("SELECT {key}, {columns} FROM {name} WHERE {key} >= ?1 ORDER BY {key} LIMIT {PAGE}");
    let mut statement = connection.prepare(&sql)?;
    let count = statement.column_count();
    let mut rows = statement.query([from])?;
    let (mut sum, mut found, mut last) = (0_u128, 0, from);
    while let Some(row) = rows.next()? {
        last = row.get(0)?;
        found += 1;
        let columns = (1..count).map(|column| row.get_ref(column));
        let columns = columns.collect::<rusqlite::Result<Vec<_>>>()?;
        sum = sum.wrapping_add(mac(seal.row_key(), table, columns.into_iter()));
    }
    Ok((sum, last.checked_add(1).filter(|_| found == PAGE)))
}

fn mac<'a>(key: &hmac::Key, table: &Table, columns: impl Iterator<Item = ValueRef<'a>>) -> u128 {
    let tag = hmac::sign(key, &encode(table.name, columns.map(Value::from)));
    let (mac, _) = tag.as_ref().split_first_chunk().expect("a tag has 32 bytes");
    u128::from_be_bytes(*mac)
}
