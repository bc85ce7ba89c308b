//! Verification of the audit log in the background.

use std::time::Duration;

use genesys_api::{Clock, error_chain};
use tokio::sync::{Notify, watch};

use crate::{LogPage, LogTree, Store, StoreErrorKind, VerifyError, verify};

/// Time between two verifications of the whole log. Our choice.
const VERIFY_INTERVAL: Duration = Duration::from_secs(86_400);

/// The state of the audit log, as far as it is verified in the background.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LogState {
    /// This number of entries is verified. The verification continues.
    Verifying(u64),
    /// All entries are verified, this number. The next verification begins a day later.
    Verified(u64),
    /// The log or a row that changes was altered. The text names the first altered entry or checkpoint, or the table.
    Altered(String),
}

/// Verifies the audit log of a store in the background, then the rows that change. Opening a store checks the end of its
/// log; this verifies the rest.
#[derive(Debug)]
pub struct LogMonitor {
    state: watch::Sender<LogState>,
    requested: Notify,
    tree: LogTree,
}

impl Default for LogMonitor {
    fn default() -> Self {
        Self {
            state: watch::Sender::new(LogState::Verifying(0)),
            requested: Notify::new(),
            tree: LogTree::default(),
        }
    }
}

impl LogMonitor {
    /// Time until an interrupted verification is repeated, and until a requested one that found nothing may be. Our choice.
    pub const RETRY_INTERVAL: Duration = Duration::from_secs(60);

    /// Returns the state of the log.
    #[must_use]
    pub fn state(&self) -> LogState {
        self.state.borrow().clone()
    }

    /// The tree of the log, for proofs.
    #[must_use]
    pub fn tree(&self) -> &LogTree {
        &self.tree
    }

    /// Requests a verification now, because a read failed with [`StoreErrorKind::Corrupt`].
    pub fn verify_now(&self) {
        self.requested.notify_one();
    }

    pub(crate) async fn run(&self, store: &dyn Store, clock: &Clock, delay: Duration) {
        clock.sleep(delay).await;
        let mut rest = Duration::ZERO;
        loop {
            let progress = |page: &LogPage| {
                self.tree.observe(&page.entries);
                self.state.send_replace(LogState::Verifying(page.next));
            };
            let interval = match verify(store, progress).await {
                Ok(report) => {
                    tracing::info!(entries = report.entries, "the audit log is verified");
                    self.state.send_replace(LogState::Verified(report.entries));
                    VERIFY_INTERVAL
                }
                Err(VerifyError::Store(error)) if error.kind() != StoreErrorKind::Corrupt => {
                    tracing::warn!(
                        "cannot verify the audit log, trying again: {}",
                        error_chain(&error)
                    );
                    Self::RETRY_INTERVAL
                }
                Err(error) => {
                    let error = error_chain(&error);
                    tracing::error!("{error}");
                    self.state.send_replace(LogState::Altered(error));
                    return;
                }
            };
            let requested = async {
                clock.sleep(rest).await;
                self.requested.notified().await;
            };
            rest = tokio::select! {
                () = clock.sleep(interval) => Duration::ZERO,
                () = requested => Self::RETRY_INTERVAL,
            };
        }
    }
}
