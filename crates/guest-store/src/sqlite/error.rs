//! Conversion of SQLite's errors.

use rusqlite::ErrorCode;

use crate::{Conflict, StoreError, StoreErrorKind};

/// An error inside the SQLite store. It keeps the types of `rusqlite` out of the public API.
pub(super) struct SqliteError(StoreError);

impl SqliteError {
    pub(super) fn is_corrupt(&self) -> bool {
        self.0.kind() == StoreErrorKind::Corrupt
    }
}

impl From<SqliteError> for StoreError {
    fn from(error: SqliteError) -> Self {
        error.0
    }
}

impl From<rusqlite::Error> for SqliteError {
    fn from(error: rusqlite::Error) -> Self {
        let kind = match (&error, error.sqlite_error_code()) {
            (rusqlite::Error::ToSqlConversionFailure(_), _) => StoreErrorKind::Invalid,
            (_, Some(ErrorCode::TooBig)) => StoreErrorKind::Invalid,
            (
                _,
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::ConstraintViolation),
            ) => StoreErrorKind::Corrupt,
            (_, Some(_)) => StoreErrorKind::Unavailable,
            // a row with other columns or types
            (_, None) => StoreErrorKind::Corrupt,
        };
        Self(StoreError::new(kind, error))
    }
}

impl From<StoreError> for SqliteError {
    fn from(error: StoreError) -> Self {
        Self(error)
    }
}

impl From<StoreErrorKind> for SqliteError {
    fn from(kind: StoreErrorKind) -> Self {
        Self(kind.into())
    }
}

impl From<Conflict> for SqliteError {
    fn from(conflict: Conflict) -> Self {
        Self(conflict.into())
    }
}
