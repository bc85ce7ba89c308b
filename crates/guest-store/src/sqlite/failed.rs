//! Turns what SQLite reports into what a caller can act on, so that its types stay within.

use rusqlite::ErrorCode;

use crate::{Conflict, StoreError, StoreErrorKind};

/// An error on its way out.
pub(super) struct Failed(StoreError);

impl Failed {
    pub(super) fn is_corrupt(&self) -> bool {
        self.0.kind() == StoreErrorKind::Corrupt
    }
}

impl From<Failed> for StoreError {
    fn from(failed: Failed) -> Self {
        failed.0
    }
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        let kind = match (&error, error.sqlite_error_code()) {
            (rusqlite::Error::ToSqlConversionFailure(_), _) => StoreErrorKind::Invalid,
            (_, Some(ErrorCode::TooBig)) => StoreErrorKind::Invalid,
            (
                _,
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::ConstraintViolation),
            ) => StoreErrorKind::Corrupt,
            (_, Some(_)) => StoreErrorKind::Unavailable,
            // a row that has not the columns or types that it should
            (_, None) => StoreErrorKind::Corrupt,
        };
        Self(StoreError::new(kind, error))
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self(error)
    }
}

impl From<StoreErrorKind> for Failed {
    fn from(kind: StoreErrorKind) -> Self {
        Self(kind.into())
    }
}

impl From<Conflict> for Failed {
    fn from(conflict: Conflict) -> Self {
        Self(conflict.into())
    }
}
