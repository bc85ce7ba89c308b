//! Prepared statements of a connection.

use super::error::SqlError;
use super::values::{Params, Row, params};
use crate::store::PAGE;

/// A connection to a database with its prepared statements.
///
/// The statements are written in what SQLite and PostgreSQL have in common, with SQLite's parameters. The schema of
/// PostgreSQL adds the few functions that only SQLite has.
pub(crate) enum Prepared<'c> {
    Sqlite(crate::sqlite::Statements<'c>),
    #[cfg(feature = "postgres")]
    Postgres(Box<crate::postgres::Connection>, std::marker::PhantomData<&'c ()>),
}

#[cfg(feature = "postgres")]
impl From<crate::postgres::Connection> for Prepared<'_> {
    fn from(connection: crate::postgres::Connection) -> Self {
        Self::Postgres(Box::new(connection), std::marker::PhantomData)
    }
}

impl Prepared<'_> {
    /// Whether a transaction is open.
    pub(crate) fn in_transaction(&self) -> bool {
        match self {
            Self::Sqlite(statements) => statements.in_transaction(),
            #[cfg(feature = "postgres")]
            Self::Postgres(connection, _) => connection.in_transaction(),
        }
    }

    /// Begins a transaction in which no other writer is.
    pub(crate) fn begin(&mut self) -> Result<(), SqlError> {
        match self {
            Self::Sqlite(statements) => Ok(statements.execute("BEGIN IMMEDIATE", &()).map(drop)?),
            #[cfg(feature = "postgres")]
            Self::Postgres(connection, _) => connection.begin(),
        }
    }

    pub(crate) fn commit(&mut self) -> Result<(), SqlError> {
        match self {
            Self::Sqlite(statements) => Ok(statements.execute("COMMIT", &()).map(drop)?),
            #[cfg(feature = "postgres")]
            Self::Postgres(connection, _) => connection.commit(),
        }
    }

    /// Rolls back the transaction, if one is open. SQLite does that by itself after some errors.
    pub(crate) fn roll_back(&mut self) -> Result<(), SqlError> {
        match self {
            Self::Sqlite(statements) if statements.in_transaction() => {
                Ok(statements.execute("ROLLBACK", &()).map(drop)?)
            }
            Self::Sqlite(_) => Ok(()),
            #[cfg(feature = "postgres")]
            Self::Postgres(connection, _) => connection.roll_back(),
        }
    }

    /// Number of times that the connection was made. Another process may have written before the last time.
    #[cfg(feature = "postgres")]
    pub(crate) fn links(&self) -> u64 {
        match self {
            Self::Sqlite(_) => 1,
            Self::Postgres(connection, _) => connection.links(),
        }
    }

    /// Rows that the connection has changed.
    pub(crate) fn changes(&self) -> u64 {
        match self {
            Self::Sqlite(statements) => statements.changes(),
            #[cfg(feature = "postgres")]
            Self::Postgres(connection, _) => connection.changes(),
        }
    }

    /// Executes a statement and returns the number of changed rows.
    pub(crate) fn execute(&mut self, sql: &'static str, params: impl Params) -> Result<usize, SqlError> {
        match self {
            Self::Sqlite(statements) => Ok(statements.execute(sql, &params)?),
            #[cfg(feature = "postgres")]
            Self::Postgres(connection, _) => connection.execute(sql, &params),
        }
    }

    /// Executes a statement that changes a row for certain. In PostgreSQL its error may be that of the next statement or of the
    /// COMMIT, so it is for changes whose conflicts were looked for before.
    pub(crate) fn write(&mut self, sql: &'static str, params: impl Params) -> Result<(), SqlError> {
        match self {
            Self::Sqlite(statements) => Ok(statements.execute(sql, &params).map(drop)?),
            #[cfg(feature = "postgres")]
            Self::Postgres(connection, _) => connection.write(sql, &params),
        }
    }

    /// Reads the only row, if there is one.
    pub(crate) fn row<T>(
        &mut self,
        sql: &'static str,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Result<T, SqlError>,
    ) -> Result<Option<T>, SqlError> {
        let mut found = None;
        self.each(sql, &params, |row| {
            found = Some(read(row)?);
            Ok(false)
        })?;
        Ok(found)
    }

    /// Reads all rows.
    pub(crate) fn rows<T>(
        &mut self,
        sql: &'static str,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Result<T, SqlError>,
    ) -> Result<Vec<T>, SqlError> {
        let mut found = Vec::new();
        self.each(sql, &params, |row| {
            found.push(read(row)?);
            Ok(true)
        })?;
        Ok(found)
    }

    /// Reads the first `limit` readable rows. Returns also the ids, in the first column, of the unreadable rows before
    /// the end. The statement itself has no limit.
    pub(crate) fn readable<T>(
        &mut self,
        sql: &'static str,
        params: impl Params,
        limit: usize,
        mut read: impl FnMut(&Row<'_>) -> Result<T, SqlError>,
    ) -> Result<(Vec<T>, Vec<String>), SqlError> {
        let (mut found, mut unreadable) = (Vec::new(), Vec::new());
        if limit == 0 {
            return Ok((found, unreadable));
        }
        let mut read = |row: &Row<'_>| {
            match read(row) {
                Ok(value) => found.push(value),
                Err(error) if error.is_corrupt() => unreadable.push(row.get(0)?),
                Err(error) => return Err(error),
            }
            Ok(found.len() < limit)
        };
        match self {
            Self::Sqlite(statements) => statements.each(sql, &params, &mut read)?,
            #[cfg(feature = "postgres")]
            Self::Postgres(connection, _) => connection.each_in_windows(sql, &params, limit, &mut read)?,
        }
        Ok((found, unreadable))
    }

    /// Reads rows until `read` returns `false`.
    pub(crate) fn each(
        &mut self,
        sql: &'static str,
        params: &dyn Params,
        read: impl FnMut(&Row<'_>) -> Result<bool, SqlError>,
    ) -> Result<(), SqlError> {
        match self {
            Self::Sqlite(statements) => statements.each(sql, params, read),
            #[cfg(feature = "postgres")]
            Self::Postgres(connection, _) => connection.each(sql, params, None, read).map(drop),
        }
    }
}

/// Reads a table by pages in the order of its integer key, from which `read` makes new values, and writes them.
pub(crate) fn each_page<T>(
    prepared: &mut Prepared<'_>,
    select: &'static str,
    mut read: impl FnMut(&Row<'_>) -> Result<(i64, T), SqlError>,
    mut write: impl FnMut(&mut Prepared<'_>, i64, T) -> Result<usize, SqlError>,
) -> Result<(), SqlError> {
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
