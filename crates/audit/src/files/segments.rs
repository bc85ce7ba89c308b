//! The segments of a log: written in place into zeroes that are on the disk already, and recovered after a crash.
//!
//! - A batch of lines is written at once and synced, before it is acknowledged. A segment gets its zeroes first, so a sync
//!   writes no metadata.
//! - A crash leaves some sectors of the last batch as zeroes. A JSON line has no zero byte. Hence a line with one, or
//!   without an end, is of a torn batch, and opening cuts it off.
//! - A checkpoint covers durable entries only, and stands before the next batch. Hence a checkpoint over a torn line
//!   proves that the line was durable, and that the log was damaged later.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::disk::{Disk, first_entry, segment_name};
use super::verify::{lines, verify_stream};
use super::{FileError, FileErrorKind};
use crate::verifier::CheckedLine;
use crate::{Failure, Log, Signer, Verifier};

/// Maximum length of a batch, in bytes. Our choice. No more than this is ever cut off.
pub(super) const MAX_BATCH: usize = 256 * 1024;

/// The writer of the last segment.
#[derive(Debug)]
pub(super) struct Segments<D> {
    disk: D,
    /// Length of a new segment.
    segment_bytes: u64,
    /// End of the lines of the last segment.
    end: u64,
    /// End of the zeroes behind them.
    allocated: u64,
    /// Whether a failed write may have left other bytes than zeroes behind `end`.
    is_dirty: bool,
}

/// A failed operation on the disk, of all threads that wait for it.
#[derive(Clone, Debug)]
pub(super) struct DiskError {
    /// [`Read`](FileErrorKind::Read), [`Write`](FileErrorKind::Write) or [`Sync`](FileErrorKind::Sync).
    pub(super) kind: FileErrorKind,
    source: Arc<io::Error>,
}

impl DiskError {
    fn new(kind: FileErrorKind, source: io::Error) -> Self {
        let source = Arc::new(source);
        Self { kind, source }
    }

    pub(super) fn at(self, folder: &Path) -> FileError {
        FileError::new(self.kind, folder, self.source)
    }
}

/// A log cannot be opened.
#[derive(Debug)]
pub(super) enum OpenError {
    Disk(DiskError),
    Failed(Failure),
}

/// An opened log.
#[derive(Debug)]
pub(super) struct Opened<D> {
    pub(super) segments: Segments<D>,
    pub(super) log: Log,
    /// Number of entries under the last checkpoint.
    pub(super) covered: u64,
    /// Length of the torn batch that was cut off.
    pub(super) torn: u64,
}

impl<D: Disk> Segments<D> {
    /// Verifies all segments, and prepares the last one for writing.
    pub(super) fn open(disk: D, segment_bytes: u64, signer: Signer) -> Result<Opened<D>, OpenError> {
        let mut verifier = Verifier::new(signer.verifier_key().clone(), None);
        let names = disk.segments().map_err(read_failed)?;
        let scan = scan(&names, |name| disk.read(name), &mut verifier).map_err(read_failed)?;
        let (tree, covered) = verifier.into_tree().map_err(OpenError::Failed)?;
        let torn = scan.torn;
        let mut segments = Self {
            segment_bytes,
            end: scan.last.len() as u64,
            allocated: 0,
            is_dirty: false,
            disk,
        };
        match names.last() {
            Some(name) => segments.resume(name, &scan.last).map_err(OpenError::Disk)?,
            None => segments.start(0, 0).map_err(OpenError::Disk)?,
        }
        Ok(Opened {
            segments,
            log: Log::resume(signer, tree),
            covered,
            torn,
        })
    }

    /// Cuts a torn batch off, and writes zeroes in its place. Then writes the last batch again: after a failed sync the
    /// kernel may show bytes that are not on the disk, and not write them any more.
    fn resume(&mut self, name: &str, lines: &[u8]) -> Result<(), DiskError> {
        self.disk.open(name).map_err(write_failed)?;
        self.disk.set_len(self.end).map_err(write_failed)?;
        let last = lines.len().saturating_sub(MAX_BATCH);
        self.disk
            .write(last as u64, &lines[last..])
            .map_err(write_failed)?;
        self.fill(self.segment_bytes.max(self.end))
    }

    /// Appends a batch of lines, the first of which may be a checkpoint, and makes it durable. `first` is the number of
    /// entries before it. After a failed write the next call overwrites what was written; a process that ends before it may
    /// leave complete lines of the batch.
    pub(super) fn append(&mut self, first: u64, batch: &[u8]) -> Result<(), DiskError> {
        let length = batch.len() as u64;
        if self.end + length > self.allocated {
            self.start(first, length)?;
        } else if self.is_dirty {
            self.fill(self.allocated)?;
        }
        self.is_dirty = true;
        self.disk.write(self.end, batch).map_err(write_failed)?;
        self.disk.sync().map_err(sync_failed)?;
        self.is_dirty = false;
        self.end += length;
        Ok(())
    }

    /// Starts a segment with room for `length` bytes. A full one loses its zeroes.
    fn start(&mut self, first: u64, length: u64) -> Result<(), DiskError> {
        if self.end > 0 {
            self.disk.set_len(self.end).map_err(write_failed)?;
            self.allocated = self.end;
            if self.is_dirty {
                // zeroes may remain at the end of a full segment, other bytes may not
                self.disk.sync_new().map_err(sync_failed)?;
                self.is_dirty = false;
            }
        }
        self.disk.open(&segment_name(first)).map_err(write_failed)?;
        (self.end, self.allocated) = (0, 0);
        self.fill(self.segment_bytes.max(length))
    }

    /// Writes zeroes from the end of the lines up to `allocated`, and makes them durable.
    fn fill(&mut self, allocated: u64) -> Result<(), DiskError> {
        let mut at = self.end;
        while at < allocated {
            let length = (allocated - at).min(ZEROES.len() as u64);
            self.disk
                .write(at, &ZEROES[..length as usize])
                .map_err(write_failed)?;
            at += length;
        }
        self.disk.sync_new().map_err(sync_failed)?;
        self.allocated = allocated;
        self.is_dirty = false;
        Ok(())
    }
}

static ZEROES: [u8; 64 * 1024] = [0; 64 * 1024];

/// The end of the segments.
pub(super) struct Scan {
    /// The complete lines of the last segment.
    pub(super) last: Vec<u8>,
    /// Length of the torn batch behind them.
    pub(super) torn: u64,
}

/// Verifies the segments as one log. `read` reads one of them.
pub(super) fn scan(
    names: &[String],
    read: impl Fn(&str) -> io::Result<Vec<u8>>,
    verifier: &mut Verifier,
) -> io::Result<Scan> {
    let mut scan = Scan {
        last: Vec::new(),
        torn: 0,
    };
    for (index, name) in names.iter().enumerate() {
        let mut bytes = read(name)?;
        let written = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        bytes.truncate(written);
        verifier.begin_segment(first_entry(name));
        if index + 1 == names.len() {
            let complete = complete_lines(&bytes);
            let torn = bytes.split_off(complete);
            verify_stream(verifier, &bytes[..])?;
            if torn.len() > MAX_BATCH || is_covered(&torn, verifier) {
                verifier.refuse_line();
            }
            scan.torn = torn.len() as u64;
            scan.last = bytes;
        } else {
            verify_stream(verifier, &bytes[..])?;
        }
    }
    Ok(scan)
}

/// Length of the lines before the first that was written in part only.
fn complete_lines(bytes: &[u8]) -> usize {
    let is_complete = |line: &&[u8]| line.ends_with(b"\n") && !line.contains(&0);
    lines(bytes).take_while(is_complete).map(<[u8]>::len).sum()
}

/// Whether a signed checkpoint in `torn` covers more entries than the complete lines are.
fn is_covered(torn: &[u8], verifier: &mut Verifier) -> bool {
    let size = verifier.size();
    let (checker, _) = verifier.parts();
    lines(torn).any(|line| match checker.check(line) {
        CheckedLine::Checkpoint(Some(checkpoint), _) => checkpoint.size > size,
        _ => false,
    })
}

fn read_failed(source: io::Error) -> OpenError {
    OpenError::Disk(DiskError::new(FileErrorKind::Read, source))
}

fn write_failed(source: io::Error) -> DiskError {
    DiskError::new(FileErrorKind::Write, source)
}

fn sync_failed(source: io::Error) -> DiskError {
    DiskError::new(FileErrorKind::Sync, source)
}
