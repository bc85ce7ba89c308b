//! The driver: a log in a file.

use std::error::Error;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use crate::{Checkpoint, Failure, LONGEST_ENTRY, Line, Report, Verifier, VerifierKey};

/// A file that is being written. It appears under its name when [`finish`](Self::finish) has made it durable, and
/// not at all if that fails: until then it stands beside it, as `<name>.partial`.
#[derive(Debug)]
pub struct Export {
    file: BufWriter<File>,
    path: PathBuf,
    partial: PathBuf,
    /// Whether it has got its name.
    named: bool,
}

impl Export {
    /// Begins to write what will be the file at `path`.
    ///
    /// # Errors
    /// [`FileErrorKind::Busy`] if `<name>.partial` exists already, [`FileErrorKind::Write`] if it cannot be made.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&partial)
            .map_err(|error| {
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
            named: false,
        })
    }

    /// Writes one line.
    ///
    /// # Errors
    /// [`FileErrorKind::Write`]. Then drop this and begin anew.
    pub fn write(&mut self, line: &Line<'_>) -> Result<(), FileError> {
        self.file
            .write_all(&line.to_bytes())
            .map_err(|error| FileError::new(FileErrorKind::Write, &self.partial, error))
    }

    /// Makes the file durable, gives it its name, and makes the name durable.
    ///
    /// # Errors
    /// [`FileErrorKind::Write`]. After a failed `fsync` the kernel may forget what it could not write and report
    /// success the next time; so this is never tried again on the same file: begin anew.
    pub fn finish(mut self) -> Result<(), FileError> {
        self.publish()
            .map_err(|error| FileError::new(FileErrorKind::Write, &self.path, error))
    }

    fn publish(&mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        std::fs::rename(&self.partial, &self.path)?;
        self.named = true;
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
        if !self.named {
            // a leftover does no harm but to be in the way of the next export, which says so
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
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)
            .map_err(failed)?;
        if read == 0 {
            break;
        }
        if !line.ends_with(b"\n") {
            // no line of a log is this long, so what was read of it cannot be sound
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

/// Most bytes of a line: an entry and its frame.
const LONGEST_LINE: u64 = LONGEST_ENTRY as u64 + 1024;

/// A log in a file could not be written, read or verified.
#[derive(Debug)]
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

    /// The kind, which decides what to do.
    #[must_use]
    pub fn kind(&self) -> FileErrorKind {
        self.kind
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The faults of the log, if it was read and fails verification.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.source.downcast_ref()
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.kind {
            FileErrorKind::Altered => write!(f, "{path} is not the log that was signed"),
            FileErrorKind::Busy => write!(
                f,
                "{path} exists: another process is writing it, or was killed while it did; if so, remove it"
            ),
            FileErrorKind::Read => write!(f, "{path} cannot be read: check that it exists and may be read"),
            FileErrorKind::Write => write!(f, "{path} cannot be written: check the disk, then export anew"),
        }
    }
}

impl Error for FileError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.source.as_ref())
    }
}

/// Kinds of file errors.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FileErrorKind {
    /// It was read, and fails verification.
    Altered,
    /// Another process is writing it, or was killed while it did.
    Busy,
    /// It cannot be read.
    Read,
    /// It cannot be written, or not be made durable.
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
    fn a_log_in_a_file() {
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
    fn an_endless_line_is_one_fault() {
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
    fn an_export_appears_whole_or_not_at_all() {
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
