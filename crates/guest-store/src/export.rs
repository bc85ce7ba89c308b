//! Export of the audit log to a file that is verified without the store.

use std::path::Path;

use audit::Line;
use audit::files::{Export, FileError};

use crate::store::PAGE;
use crate::{Store, StoreError, StoreErrorKind, StoredCheckpoint, StoredEntry};

/// Signs the current head of the log and writes the log, with all its checkpoints, to the file at `path`.
///
/// Returns the last checkpoint. Keep a copy elsewhere: only that copy proves that the log was not cut or rewritten.
/// The export reads page by page in constant memory. Entries that are logged meanwhile are not in the file.
///
/// # Errors
/// An [`ExportError`]. The file is then absent or unchanged.
pub async fn export(store: &dyn Store, path: &Path) -> Result<StoredCheckpoint, ExportError> {
    let last = store.checkpoint().await?;
    let path = path.to_owned();
    let mut file = on_thread(move || Export::create(&path)).await?;
    let mut next = 0;
    let mut from = 0;
    loop {
        let checkpoints = store.checkpoints(from, PAGE).await?;
        if checkpoints.is_empty() {
            return Err(StoreError::from(StoreErrorKind::Corrupt).into());
        }
        for checkpoint in checkpoints {
            from = checkpoint.size.saturating_add(1);
            if checkpoint.size > last.size {
                break;
            }
            while next < checkpoint.size {
                let wanted = usize::try_from(checkpoint.size - next).unwrap_or(PAGE);
                let entries = store.audit_lines(next, wanted, None).await?;
                if entries.is_empty() {
                    return Err(StoreError::from(StoreErrorKind::Corrupt).into());
                }
                next += entries.len() as u64;
                file = on_thread(move || write_entries(file, &entries)).await?;
            }
            file = on_thread(move || write_checkpoint(file, &checkpoint)).await?;
        }
        if from > last.size {
            break;
        }
    }
    on_thread(move || file.finish()).await?;
    Ok(last)
}

fn write_entries(mut file: Export, entries: &[StoredEntry]) -> Result<Export, FileError> {
    for entry in entries {
        file.write(&Line::Entry {
            leaf: entry.leaf,
            bytes: &entry.bytes,
        })?;
    }
    Ok(file)
}

fn write_checkpoint(mut file: Export, checkpoint: &StoredCheckpoint) -> Result<Export, FileError> {
    file.write(&Line::Checkpoint(&checkpoint.note))?;
    Ok(file)
}

/// Runs blocking work on a thread of its own.
async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, ExportError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(ExportError::File),
        Err(gone) => std::panic::resume_unwind(gone.into_panic()),
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
