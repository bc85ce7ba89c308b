//! Errors of statements.

use std::fmt;

use crate::{Conflict, StoreError, StoreErrorKind};

/// An error inside a store. It keeps the types of the database out of the public API.
#[derive(Debug)]
pub(crate) struct SqlError {
    error: StoreError,
    fault: StoreErrorKind,
}

impl SqlError {
    /// An error with its kind if a transaction failed with it as a whole.
    pub(crate) fn new(error: StoreError, fault: StoreErrorKind) -> Self {
        Self { error, fault }
    }

    /// The kind of the error for all units of the transaction.
    pub(crate) fn fault(&self) -> StoreErrorKind {
        self.fault
    }

    pub(crate) fn is_corrupt(&self) -> bool {
        self.error.kind() == StoreErrorKind::Corrupt
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&genesys_api::error_chain(&self.error))
    }
}

impl From<SqlError> for StoreError {
    fn from(error: SqlError) -> Self {
        error.error
    }
}

impl From<StoreError> for SqlError {
    fn from(error: StoreError) -> Self {
        let fault = error.kind();
        Self { error, fault }
    }
}

impl From<StoreErrorKind> for SqlError {
    fn from(kind: StoreErrorKind) -> Self {
        StoreError::from(kind).into()
    }
}

impl From<Conflict> for SqlError {
    fn from(conflict: Conflict) -> Self {
        StoreError::from(conflict).into()
    }
}
