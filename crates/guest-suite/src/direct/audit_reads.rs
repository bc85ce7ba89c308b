//! Reads of the whole audit log. Each is audited, identical ones within a minute as one entry.

use audit::proof::{ConsistencyProof, InclusionProof};
use audit::{Actor, Draft, Entry};
use guest_sessions::AuditLines;
use guest_store::{LogPage, LogTree, StoreErrorKind};

use super::Direct;
use crate::{AuditQuery, Error};

/// Entries that are read from the store at once.
const ENTRIES_AT_ONCE: usize = 100;
/// Bytes of lines after which a page ends. Our choice.
const MAX_BYTES: usize = 1024 * 1024;
/// Entries that are read for a page by time. Our choice.
const MAX_SCANNED: u64 = 10_000;

impl Direct {
    /// Returns a page of the log of all owners, as the lines of its export. A page by time has no checkpoints. `client`
    /// reads it.
    ///
    /// # Errors
    /// The store's, which names an altered entry.
    pub async fn audit_log(&self, client: &str, query: AuditQuery) -> Result<AuditLines<Vec<u8>>, Error> {
        self.log_read(client, "entries").await?;
        let from = query.from.unwrap_or(0);
        let mut page = AuditLines {
            lines: Vec::new(),
            next: from,
            more: true,
        };
        let (mut missing, mut bytes) = (query.bounded_limit(), 0);
        while missing > 0 && bytes < MAX_BYTES && page.next - from < MAX_SCANNED {
            let mut read = LogPage::read(&**self.store(), page.next, missing.min(ENTRIES_AT_ONCE)).await?;
            page.more = !read.entries.is_empty();
            page.next = read.next;
            if let Some(since) = query.since {
                read.checkpoints.clear();
                let mut kept = Vec::new();
                for entry in read.entries {
                    let parsed = Entry::parse(&entry.bytes).map_err(|_| StoreErrorKind::Corrupt)?;
                    if parsed.draft.at >= since {
                        kept.push(entry);
                    }
                }
                read.entries = kept;
            }
            missing -= read.entries.len();
            let lines = read.lines();
            bytes += lines.iter().map(Vec::len).sum::<usize>();
            page.lines.extend(lines);
            if !page.more {
                break;
            }
        }
        Ok(page)
    }

    /// Returns the signed note over the first `size` entries. Without `size` it signs the log and returns that note.
    ///
    /// # Errors
    /// [`Error::NotProved`] if there is no checkpoint of this size, or the store's.
    pub async fn audit_checkpoint(&self, client: &str, size: Option<u64>) -> Result<String, Error> {
        self.log_read(client, "checkpoint").await?;
        Ok(LogTree::checkpoint(&**self.store(), size).await?.note)
    }

    /// Proves that an entry is under the newest checkpoint, or under the one of `size` entries.
    ///
    /// # Errors
    /// [`Error::NotProved`] if there is no such entry or checkpoint, or the store's, which names an altered entry.
    pub async fn prove_entry(
        &self,
        client: &str,
        entry: u64,
        size: Option<u64>,
    ) -> Result<InclusionProof, Error> {
        self.log_read(client, "proof").await?;
        let store = &**self.store();
        let checkpoint = LogTree::checkpoint(store, size).await?;
        Ok(self
            .shared
            .log
            .tree()
            .prove_entry(store, entry, checkpoint)
            .await?)
    }

    /// Proves that the first `old` entries did not change until the newest checkpoint, or the one of `size` entries.
    ///
    /// # Errors
    /// As [`prove_entry`](Self::prove_entry).
    pub async fn prove_prefix(
        &self,
        client: &str,
        old: u64,
        size: Option<u64>,
    ) -> Result<ConsistencyProof, Error> {
        self.log_read(client, "consistency").await?;
        let store = &**self.store();
        let checkpoint = LogTree::checkpoint(store, size).await?;
        Ok(self
            .shared
            .log
            .tree()
            .prove_prefix(store, old, checkpoint)
            .await?)
    }

    async fn log_read(&self, client: &str, what: &str) -> Result<(), Error> {
        let now = self.clock().now().utc;
        let entry = Draft::new(now, Actor::client(client), "audit.log_read");
        self.log_repeated(entry.detail("read", what)).await
    }
}
