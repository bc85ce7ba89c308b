//! Statements that are prepared once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rusqlite::{Connection, OptionalExtension, Params, Row, Statement};

use super::failed::Failed;

/// The statements of one connection, by their text.
pub(super) struct Prepared<'c> {
    connection: &'c Connection,
    statements: HashMap<&'static str, Statement<'c>>,
}

impl<'c> Prepared<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        Self {
            connection,
            statements: HashMap::new(),
        }
    }

    /// Whether a transaction is open.
    pub(super) fn in_transaction(&self) -> bool {
        !self.connection.is_autocommit()
    }

    /// How many rows it changed.
    pub(super) fn execute(&mut self, sql: &'static str, params: impl Params) -> rusqlite::Result<usize> {
        self.statement(sql)?.execute(params)
    }

    /// What `read` makes of the only row, if there is one.
    pub(super) fn row<T>(
        &mut self,
        sql: &'static str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
        self.statement(sql)?.query_row(params, read).optional()
    }

    /// What `read` makes of each row.
    pub(super) fn rows<T>(
        &mut self,
        sql: &'static str,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Result<T, Failed>,
    ) -> Result<Vec<T>, Failed> {
        let mut found = Vec::new();
        let mut rows = self.statement(sql)?.query(params)?;
        while let Some(row) = rows.next()? {
            found.push(read(row)?);
        }
        Ok(found)
    }

    /// What `read` makes of the first `limit` rows that it can read, and the ids, in the first column, of those that it
    /// met and cannot. The statement itself has no limit: it is stopped.
    pub(super) fn readable<T>(
        &mut self,
        sql: &'static str,
        params: impl Params,
        limit: usize,
        mut read: impl FnMut(&Row<'_>) -> Result<T, Failed>,
    ) -> Result<(Vec<T>, Vec<String>), Failed> {
        let (mut found, mut unreadable) = (Vec::new(), Vec::new());
        let mut rows = self.statement(sql)?.query(params)?;
        while found.len() < limit
            && let Some(row) = rows.next()?
        {
            match read(row) {
                Ok(value) => found.push(value),
                Err(failed) if failed.is_corrupt() => unreadable.push(row.get(0)?),
                Err(failed) => return Err(failed),
            }
        }
        Ok((found, unreadable))
    }

    fn statement(&mut self, sql: &'static str) -> rusqlite::Result<&mut Statement<'c>> {
        match self.statements.entry(sql) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => Ok(entry.insert(self.connection.prepare(sql)?)),
        }
    }
}
