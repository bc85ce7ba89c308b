//! Reads of the whole audit log. Each is audited, identical ones within a minute as one entry.

use audit::proof::{ConsistencyProof, InclusionProof};
use audit::{Actor, Draft};
use guest_store::{LogLines, LogTree};

use super::Direct;
use crate::{AuditQuery, Error};

impl Direct {
    /// Returns a page of the log of all owners, as the lines of its export. A page by time has no checkpoints. `client`
    /// reads it.
    ///
    /// # Errors
    /// The store's, which names an altered entry.
    pub async fn audit_log(&self, client: &str, query: AuditQuery) -> Result<LogLines, Error> {
        self.log_read(client, "entries").await?;
        let (from, limit) = (query.from.unwrap_or(0), query.bounded_limit());
        Ok(LogLines::read(&**self.store(), from, limit, query.since).await?)
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
        let tree = self.shared.log.tree();
        Ok(tree.prove_entry(&**self.store(), entry, size).await?)
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
        let tree = self.shared.log.tree();
        Ok(tree.prove_prefix(&**self.store(), old, size).await?)
    }

    async fn log_read(&self, client: &str, what: &str) -> Result<(), Error> {
        let now = self.clock().now().utc;
        let entry = Draft::new(now, Actor::client(client), "audit.log_read");
        self.log_repeated(entry.detail("read", what)).await
    }
}
