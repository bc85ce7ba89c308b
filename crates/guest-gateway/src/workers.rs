//! What goes on beside the requests: deliveries, expiry, checkpoints.

use std::pin::pin;
use std::time::Duration;

use guest_suite::direct::Direct;
use session_metrics::EndReason;
use tokio::task::JoinSet;
use webhook::Courier;

use crate::hub::Hub;

/// Deliveries under way at once.
const DELIVERIES: usize = 32;
/// How long a delivery that became due may wait for its turn.
const DUE: Duration = Duration::from_secs(1);
/// How long a session may outlive its time.
const SWEEP: Duration = Duration::from_secs(15);
/// How much of the audit log, in time, a crash can leave without a signature.
const CHECKPOINT: Duration = Duration::from_secs(60);

/// Makes the deliveries of the outbox, up to 32 at once, until `stop`.
pub(crate) async fn deliver(direct: Direct, courier: Courier, stop: impl Future<Output = ()>) {
    let mut stop = pin!(stop);
    let mut under_way = JoinSet::new();
    loop {
        match direct.lease_due(DELIVERIES - under_way.len()).await {
            Ok(due) => {
                for leased in due {
                    let (direct, courier) = (direct.clone(), courier.clone());
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
            () = &mut stop => return,
            () = direct.events_queued(), if under_way.len() < DELIVERIES => {}
            Some(_) = under_way.join_next() => {}
            () = direct.clock().sleep(DUE), if under_way.len() < DELIVERIES => {}
        }
    }
}

/// Ends the sessions whose time is over.
pub(crate) async fn sweep(direct: Direct, hub: Hub, stop: impl Future<Output = ()>) {
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return,
            () = direct.clock().sleep(SWEEP) => {}
        }
        match direct.sweep().await {
            Ok(ended) => {
                for id in ended {
                    hub.end(&id, EndReason::Expired).await;
                }
            }
            Err(error) => tracing::error!(%error, "sessions whose time is over cannot be ended"),
        }
    }
}

/// Signs the audit log as it stands.
pub(crate) async fn checkpoint(direct: Direct, stop: impl Future<Output = ()>) {
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return,
            () = direct.clock().sleep(CHECKPOINT) => {}
        }
        if let Err(error) = direct.store().checkpoint().await {
            tracing::error!(%error, "the audit log cannot be signed");
        }
    }
}
