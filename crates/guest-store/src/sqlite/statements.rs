//! Prepared statements of SQLite.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rusqlite::{Connection, Statement};

use crate::sql::error::SqlError;
use crate::sql::prepared::Prepared;
use crate::sql::values::{Params, Row};

/// The statements of one connection, by the address and the length of their text, which is quicker to hash than the text.
pub(crate) struct Statements<'c> {
    connection: &'c Connection,
    prepared: HashMap<(usize, usize), Statement<'c>>,
}

impl<'c> Prepared<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        Self::Sqlite(Statements {
            connection,
            prepared: HashMap::new(),
        })
    }
}

impl<'c> Statements<'c> {
    pub(crate) fn in_transaction(&self) -> bool {
        !self.connection.is_autocommit()
    }

    pub(crate) fn changes(&self) -> u64 {
        self.connection.total_changes()
    }

    pub(crate) fn execute(&mut self, sql: &'static str, params: &dyn Params) -> rusqlite::Result<usize> {
        self.bind(sql, params)?.raw_execute()
    }

    pub(crate) fn each(
        &mut self,
        sql: &'static str,
        params: &dyn Params,
        mut read: impl FnMut(&Row<'_>) -> Result<bool, SqlError>,
    ) -> Result<(), SqlError> {
        let mut rows = self.bind(sql, params)?.raw_query();
        while let Some(row) = rows.next()? {
            if !read(&Row::Sqlite(row))? {
                break;
            }
        }
        Ok(())
    }

    /// The statement with its parameters.
    fn bind(&mut self, sql: &'static str, params: &dyn Params) -> rusqlite::Result<&mut Statement<'c>> {
        let statement = match self.prepared.entry((sql.as_ptr().addr(), sql.len())) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(self.connection.prepare(sql)?),
        };
        for index in 0..params.len() {
            statement.raw_bind_parameter(index + 1, params.value(index))?;
        }
        Ok(statement)
    }
}
