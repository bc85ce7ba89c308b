//! A log in a folder: group commit of many threads.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::{fmt, mem};

use super::disk::{Disk, Folder};
use super::segments::{DiskError, MAX_BATCH, OpenError, Opened, Segments};
use super::{FileError, FileErrorKind};
use crate::verifier::MAX_LINE;
use crate::{Draft, Log, Signer, Tree, VerifierKey};

/// A log in a folder of its own, which threads append to. An entry that is acknowledged survives a crash.
///
/// The folder holds segments of lines, each named by its first entry, and a file `lock`. They are readable by their owner
/// only. [`verify_file`](super::verify_file) verifies the folder, and every segment is text in the form of an export.
///
/// Threads that append at the same time share one `fdatasync`. A checkpoint follows every
/// [`checkpoint_every`](FileLogOptions::checkpoint_every) entries.
pub struct FileLog(Committer<Folder>);

/// Options of a [`FileLog`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FileLogOptions {
    /// Number of entries between checkpoints. 0 acts as 1. Default: 1,024.
    pub checkpoint_every: u64,
    /// Length of a segment in bytes, which is allocated at its start. Default: 4 MiB. At most 64 MiB.
    pub segment_bytes: u64,
}

impl Default for FileLogOptions {
    fn default() -> Self {
        Self {
            checkpoint_every: 1024,
            segment_bytes: 4 * 1024 * 1024,
        }
    }
}

impl FileLog {
    /// Opens the log in `folder`, or starts one there, and verifies it: one second for a million entries, approximately.
    ///
    /// # Errors
    /// - [`FileErrorKind::Locked`] if it is open already
    /// - [`FileErrorKind::Altered`] if an entry before its end was changed or damaged
    /// - [`FileErrorKind::Read`], [`FileErrorKind::Write`] and [`FileErrorKind::Sync`] if the disk fails
    pub fn open(folder: &Path, signer: Signer) -> Result<Self, FileError> {
        Self::open_with(folder, signer, FileLogOptions::default())
    }

    /// Opens a log with options. They may differ from those it was written with.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(folder: &Path, signer: Signer, options: FileLogOptions) -> Result<Self, FileError> {
        Committer::open(Folder::open(folder)?, folder, signer, options).map(Self)
    }

    /// Appends an entry and makes it durable. Returns its sequence number, counted from 0.
    ///
    /// # Errors
    /// The entry is not part of the log, with two exceptions, where reopening decides: after [`FileErrorKind::Sync`], and
    /// after [`FileErrorKind::Write`] if the process ends before the next append.
    /// - [`FileErrorKind::Draft`] if the draft has no canonical form or is too long
    /// - [`FileErrorKind::Write`] if the disk is full or fails; a later call may succeed
    /// - [`FileErrorKind::Sync`] if the disk fails to sync, and [`FileErrorKind::Poisoned`] from then on
    pub fn append(&self, draft: &Draft) -> Result<u64, FileError> {
        self.0.append(draft)
    }

    /// Signs all acknowledged entries, stores the checkpoint, and returns its signed note. Keep it on another machine.
    ///
    /// # Errors
    /// As those of [`append`](Self::append).
    pub fn checkpoint(&self) -> Result<String, FileError> {
        self.0.checkpoint()
    }

    /// Number of durable entries.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.0.size()
    }

    /// Length of the incomplete batch that opening cut off after a crash, in bytes. It was not acknowledged.
    #[must_use]
    pub fn torn(&self) -> u64 {
        self.0.torn
    }

    /// The key that verifies the log.
    #[must_use]
    pub fn verifier_key(&self) -> &VerifierKey {
        &self.0.key
    }
}

impl fmt::Debug for FileLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileLog({}, {})", self.0.folder.display(), self.0.key)
    }
}

/// The group commit. The first thread that finds no writer writes the batch of all.
pub(super) struct Committer<D> {
    folder: PathBuf,
    key: VerifierKey,
    checkpoint_every: u64,
    torn: u64,
    state: Mutex<State<D>>,
    /// A batch was written, or failed.
    written: Condvar,
}

struct State<D> {
    /// With the entries that are not durable yet.
    log: Log,
    durable: Tree,
    /// Number of entries under the last checkpoint.
    covered: u64,
    /// The lines of the next batch.
    lines: Vec<u8>,
    batch: Arc<Batch>,
    /// `None` while a thread writes.
    segments: Option<Segments<D>>,
    is_poisoned: bool,
}

/// The result of a batch, which several threads wait for.
type Batch = OnceLock<Result<(), DiskError>>;

impl<D: Disk> Committer<D> {
    pub(super) fn open(
        disk: D,
        folder: &Path,
        signer: Signer,
        options: FileLogOptions,
    ) -> Result<Self, FileError> {
        let key = signer.verifier_key().clone();
        let segment_bytes = options.segment_bytes.min(MAX_SEGMENT);
        let opened = Segments::open(disk, segment_bytes, signer).map_err(|error| match error {
            OpenError::Disk(error) => error.at(folder),
            OpenError::Failed(failure) => FileError::unverified(folder, failure),
        })?;
        let Opened {
            segments,
            log,
            covered,
            torn,
        } = opened;
        Ok(Self {
            folder: folder.to_owned(),
            key,
            checkpoint_every: options.checkpoint_every.max(1),
            torn,
            state: Mutex::new(State {
                durable: log.tree().clone(),
                log,
                covered,
                lines: Vec::new(),
                batch: Arc::default(),
                segments: Some(segments),
                is_poisoned: false,
            }),
            written: Condvar::new(),
        })
    }

    pub(super) fn append(&self, draft: &Draft) -> Result<u64, FileError> {
        let mut state = self.lock();
        // room for this line, and for a checkpoint before the batch
        while state.lines.len() + 2 * MAX_LINE > MAX_BATCH {
            state = self.advance(state);
        }
        self.refuse_if_poisoned(&state)?;
        let seq = state.log.tree().size();
        let line = state.log.append(draft);
        state
            .lines
            .extend(line.map_err(|error| FileError::new(FileErrorKind::Draft, &self.folder, error))?);
        let batch = Arc::clone(&state.batch);
        self.wait(state, &batch)?;
        Ok(seq)
    }

    pub(super) fn checkpoint(&self) -> Result<String, FileError> {
        let mut state = self.lock();
        let segments = loop {
            self.refuse_if_poisoned(&state)?;
            match state.segments.take() {
                Some(segments) => break segments,
                None => state = self.advance(state),
            }
        };
        let batch = Arc::clone(&state.batch);
        let (state, note) = self.write(state, segments, true);
        self.wait(state, &batch)?;
        Ok(note)
    }

    /// Number of durable entries.
    pub(super) fn size(&self) -> u64 {
        self.lock().durable.size()
    }

    /// Waits for the result of a batch.
    fn wait<'a>(&'a self, mut state: MutexGuard<'a, State<D>>, batch: &Batch) -> Result<(), FileError> {
        loop {
            match batch.get() {
                Some(Ok(())) => return Ok(()),
                Some(Err(error)) => return Err(error.clone().at(&self.folder)),
                None => state = self.advance(state),
            }
        }
    }

    /// Writes the next batch, or waits for the thread that writes one.
    fn advance<'a>(&'a self, mut state: MutexGuard<'a, State<D>>) -> MutexGuard<'a, State<D>> {
        match state.segments.take() {
            Some(segments) => {
                let is_due = state.durable.size() - state.covered >= self.checkpoint_every;
                self.write(state, segments, is_due).0
            }
            None => self.written.wait(state).unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Writes the next batch while other threads add to the one after it. Returns the note of the checkpoint before it.
    fn write<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<D>>,
        mut segments: Segments<D>,
        with_checkpoint: bool,
    ) -> (MutexGuard<'a, State<D>>, String) {
        let (mut bytes, note) = if with_checkpoint {
            state.log.checkpoint_over(&state.durable)
        } else {
            Default::default()
        };
        bytes.append(&mut state.lines);
        let batch = mem::take(&mut state.batch);
        let (before, after) = (state.durable.size(), state.log.tree().clone());
        drop(state);
        let result = segments.append(before, &bytes);
        let mut state = self.lock();
        state.segments = Some(segments);
        match &result {
            Ok(()) => {
                state.durable = after;
                if with_checkpoint {
                    state.covered = before;
                }
            }
            Err(error) => {
                state.is_poisoned = error.kind == FileErrorKind::Sync;
                // the entries that were added meanwhile have the wrong numbers
                let durable = state.durable.clone();
                state.log.reset(durable);
                state.lines.clear();
                let added = mem::take(&mut state.batch);
                let _ = added.set(Err(error.clone()));
            }
        }
        // each batch is written once
        let _ = batch.set(result);
        self.written.notify_all();
        (state, note)
    }

    fn refuse_if_poisoned(&self, state: &State<D>) -> Result<(), FileError> {
        if state.is_poisoned {
            let source = "its end is unknown until it is opened again";
            return Err(FileError::new(FileErrorKind::Poisoned, &self.folder, source));
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State<D>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Maximum length of a segment, which is read into memory as a whole. Our choice.
const MAX_SEGMENT: u64 = 64 * 1024 * 1024;

#[cfg(test)]
mod tests;
