//! Prepared statements.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Params, Row, Statement, params};

use super::error::SqliteError;
use crate::store::PAGE;

/// The statements of one connection, by the address and the length of their text, which is quicker to hash than the text.
pub(super) struct Prepared<'c> {
    connection: &'c Connection,
    statements: HashMap<(usize, usize), Statement<'c>>,
}

impl<'c> Prepared<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        Self {
            connection,
            statements: HashMap::new(),
        }
    }

    pub(super) fn connection(&self) -> &'c Connection {
        self.connection
    }

    /// Whether a transaction is open.
    pub(super) fn in_transaction(&self) -> bool {
        !self.connection.is_autocommit()
    }

    /// Rows that the connection has changed.
    pub(super) fn changes(&self) -> u64 {
        self.connection.total_changes()
    }

    /// Sets the longest wait for a lock of the file.
    pub(super) fn busy_timeout(&self, wait: Duration) -> rusqlite::Result<()> {
        self.connection.busy_timeout(wait)
    }

    /// Executes a statement and returns the number of changed rows.
    pub(super) fn execute(&mut self, sql: &'static str, params: impl Params) -> rusqlite::Result<usize> {
        self.statement(sql)?.execute(params)
    }

    /// Executes several statements, which are not kept.
    pub(super) fn execute_batch(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.execute_batch(sql)
    }

    /// Reads the only row, if there is one.
    pub(super) fn row<T>(
        &mut self,
        sql: &'static str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
        self.statement(sql)?.query_row(params, read).optional()
    }

    /// Reads all rows.
    pub(super) fn rows<T>(
        &mut self,
        sql: &'static str,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Result<T, SqliteError>,
    ) -> Result<Vec<T>, SqliteError> {
        let mut found = Vec::new();
        let mut rows = self.statement(sql)?.query(params)?;
        while let Some(row) = rows.next()? {
            found.push(read(row)?);
        }
        Ok(found)
    }

    /// Reads the first `limit` readable rows. Returns also the ids, in the first column, of the unreadable rows before
    /// the end. The statement itself has no limit.
    pub(super) fn readable<T>(
        &mut self,
        sql: &'static str,
        params: impl Params,
        limit: usize,
        mut read: impl FnMut(&Row<'_>) -> Result<T, SqliteError>,
    ) -> Result<(Vec<T>, Vec<String>), SqliteError> {
        let (mut found, mut unreadable) = (Vec::new(), Vec::new());
        let mut rows = self.statement(sql)?.query(params)?;
        while found.len() < limit
            && let Some(row) = rows.next()?
        {
            match read(row) {
                Ok(value) => found.push(value),
                Err(error) if error.is_corrupt() => unreadable.push(row.get(0)?),
                Err(error) => return Err(error),
            }
        }
        Ok((found, unreadable))
    }

    fn statement(&mut self, sql: &'static str) -> rusqlite::Result<&mut Statement<'c>> {
        match self.statements.entry((sql.as_ptr().addr(), sql.len())) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => Ok(entry.insert(self.connection.prepare(sql)?)),
        }
    }
}

/// Reads a table by pages in the order of its integer key, from which `read` makes new values, and writes them.
pub(super) fn each_page<T>(
    prepared: &mut Prepared<'_>,
    select: &'static str,
    mut read: impl FnMut(&Row<'_>) -> Result<(i64, T), SqliteError>,
    mut write: impl FnMut(&mut Prepared<'_>, i64, T) -> rusqlite::Result<usize>,
) -> Result<(), SqliteError> {
    let mut after = -1;
    loop {
        let page = prepared.rows(select, params![after, PAGE as i64], &mut read)?;
        let Some((last, _)) = page.last() else {
            return Ok(());
        };
        after = *last;
        for (key, value) in page {
            write(prepared, key, value)?;
        }
    }
}
