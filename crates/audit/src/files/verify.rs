//! Verification of a file, on two threads or more.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::iter;
use std::num::NonZero;
use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::disk::segments;
use super::segments::scan;
use super::{FileError, FileErrorKind};
use crate::verifier::{BYTE_ORDER_MARK, CheckedLine, LineChecker, MAX_LINE, Sequence};
use crate::{Checkpoint, Report, Verifier, VerifierKey};

/// Length of the pieces that the threads check, in bytes.
const CHUNK: usize = 256 * 1024;
/// Maximum number of pieces in memory.
const CHUNKS_AHEAD: usize = 8;
/// Maximum number of threads. The work that follows the order of the lines is a quarter of the whole.
const MAX_THREADS: usize = 4;

/// Verifies the log at `path`, in constant memory: an exported file, or the folder of a [`FileLog`](crate::FileLog).
///
/// # Errors
/// As [`verify_with`].
pub fn verify_file(path: &Path, key: &VerifierKey, against: Option<Checkpoint>) -> Result<Report, FileError> {
    verify_with(Verifier::new(key.clone(), against), path, |_| ())
}

/// Verifies the log at `path` with a verifier that has seen no line, for example one with witnesses. `progress` receives
/// the number of bytes read of a file, but not of a folder.
///
/// # Errors
/// - [`FileErrorKind::Altered`] if it fails verification, with the [`failure`](FileError::failure)
/// - [`FileErrorKind::NotALog`] if it is another file, [`FileErrorKind::Unproved`] if it has no checkpoint
/// - [`FileErrorKind::Read`] if it cannot be read
pub fn verify_with(
    mut verifier: Verifier,
    path: &Path,
    progress: impl FnMut(u64),
) -> Result<Report, FileError> {
    let torn = read(&mut verifier, path, progress)
        .map_err(|error| FileError::new(FileErrorKind::Read, path, error))?;
    let report = verifier.finish();
    let report = report.map_err(|failure| FileError::unverified(path, failure))?;
    Ok(Report { torn, ..report })
}

/// Verifies the lines of a file or a folder. Returns the length of a torn batch at the end.
fn read(verifier: &mut Verifier, path: &Path, progress: impl FnMut(u64)) -> io::Result<u64> {
    if !path.is_dir() {
        let (reader, read) = (File::open(path)?, 0);
        let reader = Counted {
            reader,
            read,
            progress,
        };
        verify_stream(verifier, reader)?;
        return Ok(0);
    }
    let names = segments(path)?;
    if names.is_empty() {
        verifier.refuse_line();
    }
    let scan = scan(&names, |name| fs::read(path.join(name)), verifier)?;
    Ok(scan.torn)
}

/// A reader that counts its bytes.
struct Counted<R, P> {
    reader: R,
    read: u64,
    progress: P,
}

impl<R: Read, P: FnMut(u64)> Read for Counted<R, P> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.read += count as u64;
        (self.progress)(self.read);
        Ok(count)
    }
}

/// Verifies the lines of `reader`, which continue those that the verifier has seen.
pub(super) fn verify_stream(verifier: &mut Verifier, reader: impl Read) -> io::Result<()> {
    let mut chunks = Chunks::of(reader);
    let is_start = verifier.is_new();
    let (checker, sequence) = verifier.parts();
    let Some(mut first) = chunks.next()? else {
        return Ok(());
    };
    if is_start && first.starts_with(BYTE_ORDER_MARK) {
        first.drain(..BYTE_ORDER_MARK.len());
    }
    match chunks.next()? {
        Some(second) => verify_in_threads(checker, sequence, [first, second], chunks),
        // a thread costs more than it saves
        None => {
            check_all(checker, &first)
                .into_iter()
                .for_each(|line| sequence.apply(line));
            Ok(())
        }
    }
}

/// Checks single lines in all threads, chunk by chunk. The calling one also applies the results, in order.
fn verify_in_threads(
    checker: &LineChecker,
    sequence: &mut Sequence,
    first: [Vec<u8>; 2],
    mut chunks: Chunks<impl Read>,
) -> io::Result<()> {
    let threads = thread::available_parallelism()
        .map_or(2, NonZero::get)
        .clamp(2, MAX_THREADS);
    let (jobs, inbox) = mpsc::channel::<Job>();
    let (done, results) = mpsc::channel();
    let inbox = &Mutex::new(inbox);
    thread::scope(move |scope| {
        for _ in 1..threads {
            let done = done.clone();
            scope.spawn(move || {
                while let Some((number, chunk)) = next_job(inbox) {
                    let lines = check_all(checker, &chunk);
                    if done.send((number, lines, chunk)).is_err() {
                        return;
                    }
                }
            });
        }
        // only the threads above may keep `results` open
        drop(done);
        let mut checked = BTreeMap::new();
        let (mut read, mut applied) = (0, 0);
        let mut first = first.into_iter();
        let mut at_end = false;
        loop {
            while !at_end && read - applied < CHUNKS_AHEAD {
                match first
                    .next()
                    .map_or_else(|| chunks.next(), |chunk| Ok(Some(chunk)))?
                {
                    // never fails: the receiver outlives the scope
                    Some(chunk) => read += usize::from(jobs.send((read, chunk)).is_ok()),
                    None => at_end = true,
                }
            }
            for (number, lines, chunk) in results.try_iter() {
                checked.insert(number, lines);
                chunks.reuse(chunk);
            }
            if applied == read {
                return Ok(());
            } else if let Some(lines) = checked.remove(&applied) {
                applied += 1;
                Vec::into_iter(lines).for_each(|line| sequence.apply(line));
            } else if let Some((number, chunk)) = waiting_job(inbox) {
                checked.insert(number, check_all(checker, &chunk));
                chunks.reuse(chunk);
            } else if let Ok((number, lines, chunk)) = results.recv() {
                checked.insert(number, lines);
                chunks.reuse(chunk);
            } else {
                // a thread panicked, and the end of the scope passes that on
                return Ok(());
            }
        }
    })
}

/// A chunk with its number.
type Job = (usize, Vec<u8>);

/// Waits for a chunk.
fn next_job(inbox: &Mutex<Receiver<Job>>) -> Option<Job> {
    inbox.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

/// A chunk that no thread has taken yet.
fn waiting_job(inbox: &Mutex<Receiver<Job>>) -> Option<Job> {
    // if the lock is taken, a thread waits for chunks, so there are none
    inbox.try_lock().ok()?.try_recv().ok()
}

fn check_all(checker: &LineChecker, chunk: &[u8]) -> Vec<CheckedLine> {
    let mut checked = Vec::with_capacity(chunk.len() / SHORT_LINE);
    checked.extend(lines(chunk).map(|line| checker.check(line)));
    checked
}

/// Length of a short line, in bytes. Room for this many results is made at once.
const SHORT_LINE: usize = 256;

/// The lines of a chunk, each with its line feed if it has one.
pub(super) fn lines(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    iter::from_fn(move || {
        let start = rest;
        // a slice is read without errors
        let length = rest.skip_until(b'\n').unwrap_or_default();
        (length > 0).then(|| &start[..length])
    })
}

/// Reads pieces of whole lines.
struct Chunks<R> {
    reader: BufReader<R>,
    /// The start of the next piece: part of a line.
    rest: Vec<u8>,
    /// Buffers of earlier pieces. New ones would cost a page fault for every tenth line.
    spare: Vec<Vec<u8>>,
}

impl<R: Read> Chunks<R> {
    fn of(reader: R) -> Self {
        Self {
            reader: BufReader::new(reader),
            rest: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// Takes the buffer of a piece that was checked.
    fn reuse(&mut self, mut chunk: Vec<u8>) {
        chunk.clear();
        self.spare.push(chunk);
    }

    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut chunk = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(CHUNK));
        chunk.append(&mut self.rest);
        let missing = (CHUNK - chunk.len()) as u64;
        self.reader.by_ref().take(missing).read_to_end(&mut chunk)?;
        if chunk.len() == CHUNK {
            if let Some(end) = chunk.iter().rposition(|byte| *byte == b'\n') {
                self.rest = chunk.split_off(end + 1);
            } else {
                // the start of a line that is too long suffices to refuse it
                chunk.truncate(MAX_LINE + 1);
                self.reader.skip_until(b'\n')?;
            }
        }
        Ok((!chunk.is_empty()).then_some(chunk))
    }
}
