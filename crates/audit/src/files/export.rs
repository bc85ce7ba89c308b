//! A file that appears whole or not at all.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::{FileError, FileErrorKind, private, sync_folder_of};

/// A file that is written all or nothing, readable by its owner only. Until [`finish`](Self::finish) has made it
/// durable, its name is `<name>.partial`.
#[derive(Debug)]
pub struct Export {
    file: BufWriter<File>,
    path: PathBuf,
    partial: PathBuf,
    renamed: bool,
}

impl Export {
    /// Creates the partial file of `path`.
    ///
    /// # Errors
    /// [`FileErrorKind::Busy`] if it exists, [`FileErrorKind::Write`] if it cannot be created.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = private().create_new(true).open(&partial).map_err(|error| {
            let kind = match error.kind() {
                io::ErrorKind::AlreadyExists => FileErrorKind::Busy,
                _ => FileErrorKind::Write,
            };
            FileError::new(kind, &partial, error)
        })?;
        Ok(Self {
            file: BufWriter::new(file),
            path: path.to_owned(),
            partial,
            renamed: false,
        })
    }

    /// Writes one line, as [`Line::to_bytes`](crate::Line::to_bytes) returns it.
    ///
    /// # Errors
    /// [`FileErrorKind::Write`]. Start another export then.
    pub fn write(&mut self, line: &[u8]) -> Result<(), FileError> {
        self.file
            .write_all(line)
            .map_err(|error| FileError::new(FileErrorKind::Write, &self.partial, error))
    }

    /// Makes the file durable, renames it, and makes the name durable.
    ///
    /// # Errors
    /// [`FileErrorKind::Write`]. Start another export then: after a failed `fsync` the kernel may drop the unwritten
    /// pages and report success the next time.
    pub fn finish(mut self) -> Result<(), FileError> {
        self.publish()
            .map_err(|error| FileError::new(FileErrorKind::Write, &self.path, error))
    }

    fn publish(&mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        std::fs::rename(&self.partial, &self.path)?;
        self.renamed = true;
        sync_folder_of(&self.path)
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        if !self.renamed {
            // the next export reports a leftover as `Busy`
            let _ = std::fs::remove_file(&self.partial);
        }
    }
}
