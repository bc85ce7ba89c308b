//! Verification of the audit log in the background.

use std::time::Duration;

use genesys_api::error_chain;
use guest_store::{VerifyError, verify};

use super::Direct;

/// Time between two verifications of the whole log. Our choice.
const VERIFY_INTERVAL: Duration = Duration::from_secs(86_400);
/// Time until an interrupted verification is repeated. Our choice.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// The state of the audit log, as far as it is verified in the background.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LogState {
    /// This number of entries is verified. The verification continues.
    Verifying(u64),
    /// All entries are verified, this number. The next verification begins a day later.
    Verified(u64),
    /// The log was altered. The text names the first altered entry or checkpoint.
    Altered(String),
}

impl Direct {
    /// Returns the state of the audit log. Opening the store checks the end of the log; its background task verifies the
    /// rest.
    #[must_use]
    pub fn log_state(&self) -> LogState {
        self.shared.log_state.borrow().clone()
    }

    /// Verifies the log after `delay` and then every day, until it is dropped or the log is found altered.
    pub(super) async fn verify_log(self, delay: Duration) {
        self.clock().sleep(delay).await;
        loop {
            let state = &self.shared.log_state;
            let progress = |entries| drop(state.send_replace(LogState::Verifying(entries)));
            let interval = match verify(&**self.store(), progress).await {
                Ok(report) => {
                    tracing::info!(entries = report.entries, "the audit log is verified");
                    state.send_replace(LogState::Verified(report.entries));
                    VERIFY_INTERVAL
                }
                Err(VerifyError::Store(error)) if error.kind() != guest_store::StoreErrorKind::Corrupt => {
                    tracing::warn!(
                        "cannot verify the audit log, trying again: {}",
                        error_chain(&error)
                    );
                    RETRY_INTERVAL
                }
                Err(error) => {
                    let error = error_chain(&error);
                    tracing::error!("{error}");
                    state.send_replace(LogState::Altered(error));
                    return;
                }
            };
            self.clock().sleep(interval).await;
        }
    }
}
