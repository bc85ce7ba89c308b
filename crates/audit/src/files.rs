//! The driver: logs and exports in files.

mod disk;
mod export;
mod log;
mod segments;
mod verify;

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::{Failure, Fault};

pub use export::Export;
pub use log::{FileLog, FileLogOptions};
pub use verify::{verify_file, verify_with};

/// An error of writing, reading or verifying a file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {kind}", .path.display())]
pub struct FileError {
    kind: FileErrorKind,
    path: PathBuf,
    source: Box<dyn Error + Send + Sync>,
}

impl FileError {
    fn new(kind: FileErrorKind, path: &Path, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind,
            path: path.to_owned(),
            source: source.into(),
        }
    }

    fn unverified(path: &Path, failure: Failure) -> Self {
        let kind = match failure.first() {
            Fault::NotALog { .. } => FileErrorKind::NotALog,
            Fault::NoCheckpoint => FileErrorKind::Unproved,
            Fault::Cut { .. } => FileErrorKind::Incomplete,
            _ => FileErrorKind::Altered,
        };
        Self::new(kind, path, failure)
    }

    /// The kind of the error.
    #[must_use]
    pub fn kind(&self) -> FileErrorKind {
        self.kind
    }

    /// The faults of the log, if it fails verification.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.source.downcast_ref()
    }
}

/// Kinds of file errors.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FileErrorKind {
    /// The log fails verification.
    #[error("invalid log: it was altered")]
    Altered,
    /// The partial file of an export exists.
    #[error(
        "cannot write it: another process is writing it, or was killed while writing; in that case remove it"
    )]
    Busy,
    /// The entry is invalid. The log is unchanged.
    #[error("cannot append an entry")]
    Draft,
    /// A line of the log was cut.
    #[error("invalid log: it is incomplete")]
    Incomplete,
    /// Another process, or another [`FileLog`] of this one, has the log open.
    #[error("cannot open it: it is open already, close it there first")]
    Locked,
    /// Not a log at all.
    #[error("cannot verify it")]
    NotALog,
    /// An earlier `fsync` failed, so the end of the log is unknown. Nothing more is acknowledged.
    #[error("cannot append: an earlier sync of the disk failed, open the log again to recover it")]
    Poisoned,
    /// The file cannot be read.
    #[error("cannot read it: check that it exists, and its permissions")]
    Read,
    /// An `fsync` failed. The kernel may have dropped what it could not write, and report success the next time.
    #[error("cannot sync it: check the disk, then open the log again")]
    Sync,
    /// No checkpoint, so nothing is proved.
    #[error("cannot verify it")]
    Unproved,
    /// The file cannot be written, or an export not be made durable.
    #[error("cannot write it: check the disk, then try again")]
    Write,
}

/// Options of a file to write that only its owner can read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes the name of the file at `path` durable.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|path| !path.as_os_str().is_empty());
    sync_folder(folder.unwrap_or(Path::new(".")))
}

/// Makes the names of the files in a folder durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    // a folder can be opened, and must be made durable, on Unix only
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
