//! What goes on beside the calls: deliveries, expiry, checkpoints.

use std::time::Duration;

use tokio::task::JoinSet;
use webhook::Courier;

use super::Direct;

/// Deliveries under way at once.
const DELIVERIES: usize = 32;
/// How long a delivery that became due may wait for its turn.
const DUE: Duration = Duration::from_secs(1);
/// How long a session may outlive its time.
const SWEEP: Duration = Duration::from_secs(15);
/// How much of the audit log, in time, a crash can leave without a signature.
const CHECKPOINT: Duration = Duration::from_secs(60);

impl Direct {
    /// Makes the deliveries of the outbox, up to 32 at once; ends the sessions whose time is over, and erases those
    /// that ended long ago, every 15 s; signs the audit log, every minute. It goes on until it is dropped: spawn it,
    /// once for each process.
    ///
    /// A delivery that is under way when it is dropped is made again, under the same id.
    pub async fn upkeep(&self, courier: Courier) {
        tokio::join!(self.deliver_due(&courier), self.sweep_due(), self.sign());
    }

    async fn deliver_due(&self, courier: &Courier) {
        let mut under_way = JoinSet::new();
        loop {
            match self.lease_due(DELIVERIES - under_way.len()).await {
                Ok(due) => {
                    for leased in due {
                        let (direct, courier) = (self.clone(), courier.clone());
                        under_way.spawn(async move {
                            if let Err(error) = direct.deliver(&courier, leased).await {
                                tracing::error!(%error, "a delivery could not be settled; it is made again");
                            }
                        });
                    }
                }
                Err(error) => tracing::error!(%error, "deliveries cannot be read from the store"),
            }
            tokio::select! {
                () = self.shared.events.notified(), if under_way.len() < DELIVERIES => {}
                Some(_) = under_way.join_next() => {}
                () = self.clock().sleep(DUE), if under_way.len() < DELIVERIES => {}
            }
        }
    }

    async fn sweep_due(&self) {
        loop {
            self.clock().sleep(SWEEP).await;
            if let Err(error) = self.sweep().await {
                tracing::error!(%error, "sessions whose time is over cannot be ended");
            }
            if let Err(error) = self.erase_old().await {
                tracing::error!(%error, "sessions that ended long ago cannot be erased");
            }
        }
    }

    async fn sign(&self) {
        loop {
            self.clock().sleep(CHECKPOINT).await;
            if let Err(error) = self.store().checkpoint().await {
                tracing::error!(%error, "the audit log cannot be signed");
            }
        }
    }
}
