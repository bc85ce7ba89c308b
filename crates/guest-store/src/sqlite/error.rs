//! Conversion of SQLite's errors.

use rusqlite::{ErrorCode, ffi};

use crate::sql::error::SqlError;
use crate::{StoreError, StoreErrorKind};

impl From<rusqlite::Error> for SqlError {
    fn from(error: rusqlite::Error) -> Self {
        let kind = match (&error, error.sqlite_error_code()) {
            (rusqlite::Error::ToSqlConversionFailure(_), _) => StoreErrorKind::Invalid,
            (_, Some(ErrorCode::TooBig)) => StoreErrorKind::Invalid,
            (_, Some(ErrorCode::ConstraintViolation)) => StoreErrorKind::Corrupt,
            // a row with other columns or types
            (_, None) => StoreErrorKind::Corrupt,
            (_, Some(_)) => match fault(&error) {
                // of the file, not of a commit
                StoreErrorKind::Poisoned if !is_failed_sync(&error) => StoreErrorKind::Corrupt,
                kind => kind,
            },
        };
        let fault = fault(&error);
        Self::new(StoreError::new(kind, error), fault)
    }
}

/// The kind of an error of a transaction or a checkpoint. Only a failed `fsync` and a damaged file are permanent.
fn fault(error: &rusqlite::Error) -> StoreErrorKind {
    match error.sqlite_error_code() {
        _ if is_failed_sync(error) => StoreErrorKind::Poisoned,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreErrorKind::Poisoned,
        Some(ErrorCode::DiskFull) => StoreErrorKind::Full,
        // the index of the write-ahead log could not grow: a full disk, for which SQLite has no other code here
        _ if extended_code(error) == Some(ffi::SQLITE_IOERR_SHMSIZE) => StoreErrorKind::Full,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreErrorKind::Busy,
        _ => StoreErrorKind::Unavailable,
    }
}

fn is_failed_sync(error: &rusqlite::Error) -> bool {
    let code = extended_code(error);
    matches!(code, Some(ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC))
}

fn extended_code(error: &rusqlite::Error) -> Option<i32> {
    Some(error.sqlite_error()?.extended_code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn store_error_is_permanent_after_failed_sync_and_damage_only() {
        for (code, kind) in [
            (ffi::SQLITE_FULL, StoreErrorKind::Full),
            (ffi::SQLITE_IOERR_SHMSIZE, StoreErrorKind::Full),
            (ffi::SQLITE_BUSY, StoreErrorKind::Busy),
            (ffi::SQLITE_BUSY_SNAPSHOT, StoreErrorKind::Busy),
            (ffi::SQLITE_LOCKED, StoreErrorKind::Busy),
            (ffi::SQLITE_IOERR_WRITE, StoreErrorKind::Unavailable),
            (ffi::SQLITE_IOERR_READ, StoreErrorKind::Unavailable),
            (ffi::SQLITE_IOERR_FSYNC, StoreErrorKind::Poisoned),
            (ffi::SQLITE_IOERR_DIR_FSYNC, StoreErrorKind::Poisoned),
            (ffi::SQLITE_CORRUPT, StoreErrorKind::Poisoned),
            (ffi::SQLITE_NOTADB, StoreErrorKind::Poisoned),
        ] {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            assert_eq!(fault(&error), kind, "{code}");
        }
    }
}
