//! Export and verification of the audit log, in constant memory.

use std::collections::VecDeque;
use std::path::Path;

use audit::files::{Export, FileError};
use audit::{Failure, Line, Report, Verifier};

use crate::store::PAGE;
use crate::{EntryQuery, Store, StoreError, StoreErrorKind, StoredCheckpoint};

/// Signs the current head of the log and writes the log, with all its checkpoints, to the file at `path`.
///
/// Returns the last checkpoint. Keep a copy elsewhere: only that copy proves that the log was not cut or rewritten.
/// Entries that are logged meanwhile are not in the file.
///
/// # Errors
/// An [`ExportError`]. The file is then absent or unchanged.
pub async fn export(store: &dyn Store, path: &Path) -> Result<StoredCheckpoint, ExportError> {
    let mut pages = LogPages::up_to_now(store).await?;
    let path = path.to_owned();
    let mut file = on_thread(move || Export::create(&path)).await?;
    while let Some(lines) = pages.next().await? {
        file = on_thread(move || {
            lines.iter().try_for_each(|line| file.write(line))?;
            Ok(file)
        })
        .await?;
    }
    on_thread(move || file.finish()).await?;
    Ok(pages.last)
}

/// Signs the current head of the log and verifies all entries and checkpoints under it. `progress` receives the number
/// of verified entries after each page.
///
/// A store whose rows are authenticated detects an altered row when its page is read. The verification reads them all,
/// and compares their tree with the head.
///
/// # Errors
/// A [`VerifyError`].
pub async fn verify(store: &dyn Store, mut progress: impl FnMut(u64)) -> Result<Report, VerifyError> {
    let mut pages = LogPages::up_to_now(store).await?;
    let mut verifier = Verifier::new(store.verifier_key().clone(), None);
    while let Some(lines) = pages.next().await? {
        lines.iter().for_each(|line| verifier.verify_line(line));
        progress(pages.next);
        tokio::task::yield_now().await;
    }
    Ok(verifier.finish()?)
}

/// The lines of a log, page by page.
struct LogPages<'s> {
    store: &'s dyn Store,
    last: StoredCheckpoint,
    /// Checkpoints that are read but not returned.
    checkpoints: VecDeque<StoredCheckpoint>,
    /// Size of the smallest checkpoint that is not read.
    from: u64,
    /// Sequence number of the next entry.
    next: u64,
}

impl<'s> LogPages<'s> {
    /// Signs the current head, where the pages end.
    async fn up_to_now(store: &'s dyn Store) -> Result<Self, StoreError> {
        Ok(Self {
            store,
            last: store.checkpoint().await?,
            checkpoints: VecDeque::new(),
            from: 0,
            next: 0,
        })
    }

    /// Returns the lines of the next entries, or the line of the checkpoint that follows them.
    async fn next(&mut self) -> Result<Option<Vec<Vec<u8>>>, StoreError> {
        if self.checkpoints.is_empty() && self.from <= self.last.size {
            self.checkpoints = self.store.checkpoints(self.from, PAGE).await?.into();
        }
        let Some(checkpoint) = self.checkpoints.front() else {
            return Ok(None);
        };
        if checkpoint.size > self.last.size {
            return Ok(None);
        }
        if self.next < checkpoint.size {
            let limit = usize::try_from(checkpoint.size - self.next).unwrap_or(PAGE);
            let entries = self.store.entries(EntryQuery::From(self.next), limit).await?;
            if entries.is_empty() {
                return Err(StoreErrorKind::Corrupt.into());
            }
            self.next += entries.len() as u64;
            let lines = entries.iter().map(|entry| {
                let (leaf, bytes) = (entry.leaf, &*entry.bytes);
                Line::Entry { leaf, bytes }.to_bytes()
            });
            return Ok(Some(lines.collect()));
        }
        self.from = checkpoint.size.saturating_add(1);
        let line = Line::Checkpoint(&checkpoint.note).to_bytes();
        self.checkpoints.pop_front();
        Ok(Some(vec![line]))
    }
}

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
