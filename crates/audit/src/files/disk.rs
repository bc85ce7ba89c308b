//! The folder of a log. Tests replace it by a faulty one.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::{FileError, FileErrorKind, private, sync_folder, sync_folder_of};

/// The operations of a log on its folder.
pub(super) trait Disk {
    /// Names of the segments, oldest first.
    fn segments(&self) -> io::Result<Vec<String>>;

    /// The bytes of a segment.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;

    /// Opens a segment to write to it, and creates it if it is missing. The other methods act on the last one opened.
    fn open(&mut self, name: &str) -> io::Result<()>;

    /// Writes at an offset.
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the segment off.
    fn set_len(&mut self, length: u64) -> io::Result<()>;

    /// Makes the bytes of the segment durable. Costs a second write if the length is not durable yet.
    fn sync(&mut self) -> io::Result<()>;

    /// Makes the bytes and the length of the segment durable, and its name.
    fn sync_new(&mut self) -> io::Result<()>;
}

/// A folder of the file system, locked against other processes.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// The lock ends when the file is closed, also by the end of the process.
    _lock: File,
    segment: Option<File>,
}

impl Folder {
    /// Opens a folder, and creates it if it is missing.
    pub(super) fn open(path: &Path) -> Result<Self, FileError> {
        let failed = |error| FileError::new(FileErrorKind::Write, path, error);
        if !path.exists() {
            let mut folder = fs::DirBuilder::new();
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
            folder.create(path).map_err(failed)?;
            sync_folder_of(path).map_err(failed)?;
        }
        let lock = private()
            .create(true)
            .truncate(false)
            .open(path.join(LOCK))
            .map_err(failed)?;
        if !try_lock(&lock).map_err(failed)? {
            let source = "its file `lock` is locked";
            return Err(FileError::new(FileErrorKind::Locked, path, source));
        }
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
            segment: None,
        })
    }

    fn segment(&mut self) -> io::Result<&mut File> {
        self.segment
            .as_mut()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for Folder {
    fn segments(&self) -> io::Result<Vec<String>> {
        segments(&self.path)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path.join(name))
    }

    fn open(&mut self, name: &str) -> io::Result<()> {
        let file = private()
            .create(true)
            .truncate(false)
            .open(self.path.join(name))?;
        self.segment = Some(file);
        Ok(())
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let file = self.segment()?;
        file.seek(SeekFrom::Start(at))?;
        file.write_all(bytes)
    }

    fn set_len(&mut self, length: u64) -> io::Result<()> {
        self.segment()?.set_len(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.segment()?.sync_data()
    }

    fn sync_new(&mut self) -> io::Result<()> {
        self.segment()?.sync_all()?;
        sync_folder(&self.path)
    }
}

/// Locks a file, and returns whether it is locked. A child that this process is starting has its open files until it
/// executes, so a lock that was just released is tried again for 100 ms.
fn try_lock(file: &File) -> io::Result<bool> {
    for _ in 0..10 {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(fs::TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(10)),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(false)
}

/// Names of the segments in a folder, oldest first.
pub(super) fn segments(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.extend(
            entry?
                .file_name()
                .into_string()
                .ok()
                .filter(|name| is_segment(name)),
        );
    }
    names.sort_unstable();
    Ok(names)
}

/// The name of the segment whose first entry is number `seq`.
pub(super) fn segment_name(seq: u64) -> String {
    format!("{seq:0DIGITS$}{EXTENSION}")
}

/// The number of the first entry of a segment.
pub(super) fn first_entry(name: &str) -> u64 {
    let digits = name
        .strip_suffix(EXTENSION)
        .and_then(|digits| digits.parse().ok());
    // 20 digits may exceed the range, and no log has that many entries
    digits.unwrap_or(u64::MAX)
}

fn is_segment(name: &str) -> bool {
    name.strip_suffix(EXTENSION)
        .is_some_and(|digits| digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Digits of the largest sequence number, so that the order of the names is that of the entries.
const DIGITS: usize = 20;
const EXTENSION: &str = ".jsonl";
const LOCK: &str = "lock";
