//! Writes the log of a store to a file that can be verified without the store.

use std::path::Path;

use audit::Line;
use audit::files::{Export, FileError};

use crate::store::PAGE;
use crate::{Store, StoreError, StoreErrorKind, StoredCheckpoint, StoredEntry};

/// What was exported.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Exported {
    /// The checkpoint over all of it. Keep a copy elsewhere: only that shows if the log is cut or written anew.
    pub checkpoint: StoredCheckpoint,
}

/// Signs the log as it stands and writes it, with all its checkpoints, to the file at `path`.
///
/// It goes page by page, in constant memory. What is logged meanwhile is not in the file.
///
/// # Errors
/// An [`ExportError`]. Then there is no such file, or still the one that was there before.
pub async fn export(store: &dyn Store, path: &Path) -> Result<Exported, ExportError> {
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
    Ok(Exported { checkpoint: last })
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

/// A file may keep a thread waiting, so it gets its own.
async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, ExportError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(ExportError::File),
        Err(gone) => std::panic::resume_unwind(gone.into_panic()),
    }
}

/// The log could not be exported.
#[derive(Debug, thiserror::Error)]
#[error("the log cannot be exported")]
#[non_exhaustive]
pub enum ExportError {
    /// The file cannot be written.
    File(#[source] FileError),
    /// The store cannot be read.
    Store(#[from] StoreError),
}
