//! Export and verification of the audit log, in constant memory.

use std::path::Path;

use audit::files::{Export, FileError};
use audit::{Failure, Line, Report, Verifier};
use time::OffsetDateTime;

use crate::store::PAGE;
use crate::trail::is_since;
use crate::{CheckpointQuery, EntryQuery, Store, StoreError, StoreErrorKind, StoredCheckpoint, StoredEntry};

/// Signs the current head of the log and writes the log, with all its checkpoints, to the file at `path`.
///
/// Returns the last checkpoint. Keep a copy elsewhere: only that copy proves that the log was not cut or rewritten.
/// Entries that are logged meanwhile are not in the file.
///
/// # Errors
/// An [`ExportError`]. The file is then absent or unchanged.
pub async fn export(store: &dyn Store, path: &Path) -> Result<StoredCheckpoint, ExportError> {
    let last = store.checkpoint().await?;
    let path = path.to_owned();
    let mut file = on_thread(move || Export::create(&path)).await?;
    let mut next = 0;
    loop {
        let page = LogPage::read_until(store, next, last.size).await?;
        next = page.next;
        file = on_thread(move || {
            page.lines().iter().try_for_each(|line| file.write(line))?;
            Ok(file)
        })
        .await?;
        if next == last.size {
            break;
        }
    }
    on_thread(move || file.finish()).await?;
    Ok(last)
}

/// Signs the current head of the log, verifies all entries and checkpoints under it, then the rows that change
/// ([`Store::verify_rows`]). `progress` receives each page once it is verified.
///
/// A store whose rows are authenticated detects an altered row when its page is read. The verification reads them all,
/// and compares their tree with the head.
///
/// # Errors
/// A [`VerifyError`].
pub async fn verify(store: &dyn Store, mut progress: impl FnMut(&LogPage)) -> Result<Report, VerifyError> {
    let last = store.checkpoint().await?;
    let mut verifier = Verifier::new(store.verifier_key().clone(), None);
    let mut next = 0;
    loop {
        let page = LogPage::read_until(store, next, last.size).await?;
        next = page.next;
        page.lines().iter().for_each(|line| verifier.verify_line(line));
        progress(&page);
        if next == last.size {
            let report = verifier.finish()?;
            store.verify_rows().await?;
            return Ok(report);
        }
        tokio::task::yield_now().await;
    }
}

/// A page of a log: entries, and the checkpoints among them.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LogPage {
    /// The entries, oldest first.
    pub entries: Vec<StoredEntry>,
    /// The checkpoints over the last of these entries, smallest first. The first page has one over no entry, if there is
    /// one.
    pub checkpoints: Vec<StoredCheckpoint>,
    /// Sequence number of the entry after the page.
    pub next: u64,
}

impl LogPage {
    /// Reads the page of the first `limit` entries, at most 1,000, from sequence number `from`. Without entries it is the
    /// end of the log.
    ///
    /// # Errors
    /// The store's: [`StoreErrorKind::Corrupt`] names the entry or the checkpoint that was altered.
    pub async fn read(store: &dyn Store, from: u64, limit: usize) -> Result<Self, StoreError> {
        let mut entries = store.entries(EntryQuery::From(from), limit.min(PAGE)).await?;
        let mut next = from + entries.len() as u64;
        // a checkpoint over `from` entries ends the page before
        let first = from.saturating_add(u64::from(from > 0));
        // sizes increase strictly: one over no entry, one over each entry, and one whose link shows that none is missing
        let wanted = (entries.len() + 1 + usize::from(from == 0)).min(PAGE);
        let mut checkpoints = Vec::new();
        if first <= next {
            checkpoints = store.checkpoints(CheckpointQuery::From(first), wanted).await?;
        }
        if let Some(last) = checkpoints.get(PAGE - 1) {
            // there may be more of them
            next = next.min(last.size);
            entries.retain(|entry| entry.seq < next);
        }
        checkpoints.retain(|checkpoint| checkpoint.size <= next);
        Ok(Self {
            entries,
            checkpoints,
            next,
        })
    }

    /// Reads a page of a log that has `size` entries or more. It has entries unless the log has none.
    async fn read_until(store: &dyn Store, from: u64, size: u64) -> Result<Self, StoreError> {
        let wanted = usize::try_from(size - from).unwrap_or(PAGE);
        let page = Self::read(store, from, wanted).await?;
        match page.entries.is_empty() && from < size {
            true => Err(StoreErrorKind::Corrupt.into()),
            false => Ok(page),
        }
    }

    /// The lines of the page in an export, each with its line feed.
    #[must_use]
    pub fn lines(&self) -> Vec<Vec<u8>> {
        let mut lines = Vec::with_capacity(self.entries.len() + self.checkpoints.len());
        let mut checkpoints = self.checkpoints.iter().peekable();
        let mut sign = |size: u64, lines: &mut Vec<Vec<u8>>| {
            if let Some(checkpoint) = checkpoints.next_if(|checkpoint| checkpoint.size == size) {
                lines.push(Line::Checkpoint(&checkpoint.note).to_bytes());
            }
        };
        sign(0, &mut lines);
        for entry in &self.entries {
            let (leaf, bytes) = (entry.leaf, &*entry.bytes);
            lines.push(Line::Entry { leaf, bytes }.to_bytes());
            sign(entry.seq + 1, &mut lines);
        }
        lines
    }
}

/// A page of the lines of an export.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LogLines {
    /// The lines, oldest first, each with its line feed.
    pub lines: Vec<Vec<u8>>,
    /// Sequence number of the entry after them.
    pub next: u64,
    /// False at the end of the log.
    pub more: bool,
}

impl LogLines {
    /// Reads lines of at most `limit` entries and 1 MiB from sequence number `from`. With `since` they are the entries from
    /// this time on among the next 10,000, without checkpoints.
    ///
    /// # Errors
    /// As [`LogPage::read`].
    pub async fn read(
        store: &dyn Store,
        from: u64,
        limit: usize,
        since: Option<OffsetDateTime>,
    ) -> Result<Self, StoreError> {
        let mut read = Self {
            lines: Vec::new(),
            next: from,
            more: true,
        };
        let (mut missing, mut bytes) = (limit, 0);
        while read.more && missing > 0 && bytes < MAX_BYTES && read.next - from < MAX_SCANNED {
            let mut page = LogPage::read(store, read.next, missing.min(ENTRIES_AT_ONCE)).await?;
            read.more = !page.entries.is_empty();
            read.next = page.next;
            if since.is_some() {
                page.checkpoints.clear();
                let mut kept = Vec::new();
                for entry in page.entries {
                    if is_since(&entry, since)? {
                        kept.push(entry);
                    }
                }
                page.entries = kept;
            }
            missing -= page.entries.len();
            let lines = page.lines();
            bytes += lines.iter().map(Vec::len).sum::<usize>();
            read.lines.extend(lines);
        }
        Ok(read)
    }
}

/// Entries that are read for lines at once.
const ENTRIES_AT_ONCE: usize = 100;
/// Bytes after which lines end. Our choice.
const MAX_BYTES: usize = 1024 * 1024;
/// Entries that are read for lines by time. Our choice.
const MAX_SCANNED: u64 = 10_000;

/// Runs blocking work on a thread of its own.
async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, ExportError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(ExportError::File),
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// An error of an export.
#[derive(Debug, thiserror::Error)]
#[error("cannot export the log")]
#[non_exhaustive]
pub enum ExportError {
    /// The file cannot be written.
    File(#[source] FileError),
    /// The store cannot be read.
    Store(#[from] StoreError),
}

/// An error of a verification.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The log was altered.
    #[error(transparent)]
    Altered(#[from] Failure),
    /// The store cannot be read, or the row of an entry or a checkpoint was altered.
    #[error("cannot verify the log")]
    Store(#[from] StoreError),
}
