//! The driver: a log in a file.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use crate::entry::MAX_ENTRY;
use crate::{Checkpoint, Failure, Line, Report, Verifier, VerifierKey};

/// A file that is written all or nothing. Until [`finish`](Self::finish) has made it durable, its name is
/// `<name>.partial`.
#[derive(Debug)]
pub struct Export {
    file: BufWriter<File>,
    path: PathBuf,
    partial: PathBuf,
    renamed: bool,
}

impl Export {
    /// Creates the partial file of `path`. On Unix only its owner can read it.
    ///
    /// # Errors
    /// [`FileErrorKind::Busy`] if it exists, [`FileErrorKind::Write`] if it cannot be created.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&partial).map_err(|error| {
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

    /// Writes one line.
    ///
    /// # Errors
    /// [`FileErrorKind::Write`]. Start another export then.
    pub fn write(&mut self, line: &Line<'_>) -> Result<(), FileError> {
        self.file
            .write_all(&line.to_bytes())
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
        // a directory can be opened, and must be made durable, on Unix only
        if cfg!(unix) {
            let directory = self.path.parent().filter(|path| !path.as_os_str().is_empty());
            File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Ok(())
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

/// Verifies the file at `path`, in constant memory.
///
/// # Errors
/// [`FileErrorKind::Altered`] if it fails verification, with the [`failure`](FileError::failure);
/// [`FileErrorKind::Read`] if it cannot be read.
pub fn verify_file(path: &Path, key: &VerifierKey, against: Option<Checkpoint>) -> Result<Report, FileError> {
    let failed = |error| FileError::new(FileErrorKind::Read, path, error);
    let mut reader = BufReader::with_capacity(64 * 1024, File::open(path).map_err(failed)?);
    let mut verifier = Verifier::new(key.clone(), against);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader
            .by_ref()
            .take(MAX_LINE)
            .read_until(b'\n', &mut line)
            .map_err(failed)?;
        if read == 0 {
            break;
        }
        if !line.ends_with(b"\n") {
            // a longer line than any of a log is malformed
            reader.skip_until(b'\n').map_err(failed)?;
        }
        verifier.verify_line(&line);
    }
    verifier.finish().map_err(|failure| FileError {
        kind: FileErrorKind::Altered,
        path: path.to_owned(),
        source: Box::new(failure),
    })
}

/// Maximum length of a line: an entry, its leaf hash and JSON around them.
const MAX_LINE: u64 = MAX_ENTRY as u64 + 1024;

/// An error of writing, reading or verifying a file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {kind}", .path.display())]
pub struct FileError {
    kind: FileErrorKind,
    path: PathBuf,
    source: Box<dyn Error + Send + Sync>,
}

impl FileError {
    fn new(kind: FileErrorKind, path: &Path, source: io::Error) -> Self {
        Self {
            kind,
            path: path.to_owned(),
            source: Box::new(source),
        }
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
    #[error("the log was altered")]
    Altered,
    /// The partial file exists.
    #[error("another process is writing it, or was killed while writing; in that case remove it")]
    Busy,
    /// The file cannot be read.
    #[error("cannot read it: check that it exists, and its permissions")]
    Read,
    /// The file cannot be written, or not be made durable.
    #[error("cannot write it: check the disk, then export again")]
    Write,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fault, Hash, Signer, Tree, leaf_hash};

    fn signer() -> Signer {
        Signer::from_seed("log", &[1; 32]).unwrap()
    }

    fn entry(seq: u64) -> (Hash, Vec<u8>) {
        let bytes = format!("{{\"log\":\"log\",\"seq\":{seq}}}").into_bytes();
        (leaf_hash(&bytes), bytes)
    }

    fn lines<'a>(entries: &'a [(Hash, Vec<u8>)], note: &'a str) -> impl Iterator<Item = Line<'a>> {
        let entries = entries
            .iter()
            .map(|(leaf, bytes)| Line::Entry { leaf: *leaf, bytes });
        entries.chain([Line::Checkpoint(note)])
    }

    fn write_export<'a>(path: &Path, lines: impl IntoIterator<Item = Line<'a>>) {
        let mut export = Export::create(path).unwrap();
        for line in lines {
            export.write(&line).unwrap();
        }
        export.finish().unwrap();
    }

    #[test]
    fn log_file_verifies_until_altered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let signer = signer();
        let entries: Vec<_> = (0..300).map(entry).collect();
        let root = entries.iter().map(|(leaf, _)| *leaf).collect::<Tree>().root();
        let note = signer.checkpoint(300, root);
        write_export(&path, lines(&entries, &note));
        let report = verify_file(&path, signer.verifier_key(), None).unwrap();
        assert_eq!((report.entries, report.covered), (300, 300));

        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes
            .windows(9)
            .position(|window| window == b"\"seq\":17}")
            .unwrap();
        bytes[at + 6] = b'7';
        std::fs::write(&path, &bytes).unwrap();
        let error = verify_file(&path, signer.verifier_key(), None).unwrap_err();
        assert_eq!(error.kind(), FileErrorKind::Altered);
        assert_eq!(
            *error.failure().unwrap().first(),
            Fault::EntryAltered { seq: 17, line: 18 }
        );
        assert!(error.source().unwrap().to_string().contains("entry 17"));

        write_export(&path, lines(&entries, &note));
        assert!(
            verify_file(&path, signer.verifier_key(), None).is_ok(),
            "it was replaced"
        );
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing is left over"
        );
    }

    #[test]
    fn overlong_line_is_one_fault() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let (leaf, bytes) = entry(0);
        let mut text = Line::Entry { leaf, bytes: &bytes }.to_bytes();
        text.extend(std::iter::repeat_n(b'x', 100_000));
        text.push(b'\n');
        std::fs::write(&path, &text).unwrap();
        let error = verify_file(&path, signer().verifier_key(), None).unwrap_err();
        assert_eq!(
            error.failure().unwrap().faults,
            [Fault::Malformed { line: 2, seq: 1 }]
        );
    }

    #[test]
    fn export_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let mut export = Export::create(&path).unwrap();
        export.write(&Line::Checkpoint("note")).unwrap();
        let second = Export::create(&path).unwrap_err();
        assert_eq!(second.kind(), FileErrorKind::Busy);
        assert!(!path.exists());
        drop(export);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let nowhere = folder.path().join("missing/audit.jsonl");
        assert_eq!(Export::create(&nowhere).unwrap_err().kind(), FileErrorKind::Write);
        let error = verify_file(&nowhere, signer().verifier_key(), None).unwrap_err();
        assert_eq!(error.kind(), FileErrorKind::Read);
        assert!(error.source().is_some() && error.failure().is_none());
    }
}
