//! A file whose contents move to another database.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::maintenance::{check, truncate_log};
use super::{lock, schema, startup};
use crate::sql::prepared::Prepared;
use crate::sql::threads::unavailable;
use crate::{Keys, StoreError, StoreErrorKind};

/// The file of a store, verified, which this process alone has open.
pub(crate) struct Source {
    path: PathBuf,
    connection: Connection,
    /// Held until the file has its new name, so that no gateway opens it meanwhile.
    _lock: [File; 2],
}

impl Source {
    /// Opens and verifies the file. One of an earlier version is migrated.
    pub(crate) fn open(path: &Path, keys: &Keys) -> Result<Self, StoreError> {
        let path = path.canonicalize().map_err(unavailable)?;
        let lock = lock(&path)?;
        let connection = schema::open(&path)?;
        startup::prepare(&connection, keys)?;
        if let Some(fault) = check(&connection, keys)?.into_iter().next() {
            return Err(StoreError::new(StoreErrorKind::Corrupt, fault));
        }
        Ok(Self {
            path,
            connection,
            _lock: lock,
        })
    }

    pub(crate) fn prepared(&self) -> Prepared<'_> {
        Prepared::new(&self.connection)
    }

    /// Renames the file, so that it is not opened by mistake. Returns its new name.
    pub(crate) fn retire(self) -> Result<PathBuf, StoreError> {
        truncate_log(&self.connection)?;
        let to = self.path.with_added_extension("moved");
        drop(self.connection);
        fs::rename(&self.path, &to).map_err(unavailable)?;
        Ok(to)
    }
}
