//! Conversion of PostgreSQL's errors.

use std::error::Error as _;
use std::io;

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use crate::sql::error::SqlError;
use crate::{StoreError, StoreErrorKind};

impl From<Error> for SqlError {
    fn from(error: Error) -> Self {
        let kind = kind(&error);
        // of the transaction as a whole
        let fault = match kind {
            StoreErrorKind::Full => StoreErrorKind::Full,
            _ => StoreErrorKind::Unavailable,
        };
        // the values of a row, which PostgreSQL adds as detail, are not kept
        let source = match error.as_db_error() {
            Some(error) => format!("{} (SQLSTATE {})", error.message(), error.code().code()),
            None => genesys_api::error_chain(&error),
        };
        Self::new(StoreError::new(kind, source), fault)
    }
}

/// The error of a connection that was not made.
pub(super) fn not_connected(error: Error) -> SqlError {
    match error.as_db_error() {
        Some(_) => error.into(),
        None => StoreError::new(StoreErrorKind::Unavailable, genesys_api::error_chain(&error)).into(),
    }
}

fn kind(error: &Error) -> StoreErrorKind {
    let Some(error) = error.as_db_error() else {
        return match closed(error) {
            true => StoreErrorKind::Unavailable,
            // of the conversion of a value
            false => StoreErrorKind::Corrupt,
        };
    };
    // the class of the code
    match error.code() {
        &SqlState::DISK_FULL => StoreErrorKind::Full,
        code => match code.code().get(..2) {
            // data, constraints, damage
            Some("22" | "23" | "XX") => StoreErrorKind::Corrupt,
            _ => StoreErrorKind::Unavailable,
        },
    }
}

/// Whether the connection is lost, or of no more use: its server stops, or became a standby.
pub(super) fn closed(error: &Error) -> bool {
    match error.as_db_error() {
        Some(error) => {
            *error.code() == SqlState::READ_ONLY_SQL_TRANSACTION
                || *error.code() == SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
                || error.code().code().starts_with("57P")
                || error.code().code().starts_with("08")
        }
        // a value that cannot be converted leaves the connection as it is
        None => error.is_closed() || error.source().is_some_and(|source| source.is::<io::Error>()),
    }
}
