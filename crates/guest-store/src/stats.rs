//! Counts of the contents of a store.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use genesys_api::WebhookId;
use time::OffsetDateTime;

use crate::StoreErrorKind;

/// Counts of the contents of a store.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Live sessions.
    pub live_sessions: u64,
    /// Pending deliveries of events.
    pub outbox_pending: u64,
    /// Time of the oldest event that was not delivered, also of one that joined a snapshot.
    pub outbox_oldest: Option<OffsetDateTime>,
    /// The first end of a session that is stored.
    pub oldest_end: Option<OffsetDateTime>,
    /// Time of the oldest request whose key is stored.
    pub oldest_request: Option<OffsetDateTime>,
    /// Snapshots and erasures that were not delivered.
    pub snapshots_pending: u64,
    /// The queues of all webhooks with something to deliver.
    pub queues: BTreeMap<WebhookId, QueueStats>,
    /// Entries of the log.
    pub audit_entries: u64,
    /// The named totals: the sums of what all units have added. They outlast the sessions.
    pub totals: BTreeMap<String, u64>,
    /// The passing fault because of which changes are refused: [`Full`](StoreErrorKind::Full) or
    /// [`Unavailable`](StoreErrorKind::Unavailable).
    pub fault: Option<StoreErrorKind>,
}

/// Counts of the queue of one webhook.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct QueueStats {
    /// Pending deliveries of events.
    pub pending: u64,
    /// Snapshots and erasures that were not delivered.
    pub snapshots: u64,
}

/// A metric name, its description, and its figure of a queue.
type Gauge = (&'static str, &'static str, fn(&QueueStats) -> u64);

const QUEUE_GAUGES: [Gauge; 2] = [
    ("guest_outbox_pending", "Pending events of a webhook.", |queue| {
        queue.pending
    }),
    (
        "guest_outbox_snapshots_pending",
        "Sessions whose snapshot or erasure was not delivered to a webhook.",
        |queue| queue.snapshots,
    ),
];

impl Stats {
    /// Appends the counts to `page` in the text exposition format of Prometheus, version 0.0.4.
    ///
    /// The label `webhook` has the ids of webhooks with something to deliver, at most
    /// [`Limits::webhooks`](crate::Limits::webhooks).
    pub fn render_prometheus(&self, page: &mut String) {
        // writing to a `String` does not fail
        let _ = self.render(page);
    }

    fn render(&self, page: &mut String) -> fmt::Result {
        for (name, help, figure) in QUEUE_GAUGES {
            writeln!(page, "# HELP {name} {help}\n# TYPE {name} gauge")?;
            for (webhook, queue) in &self.queues {
                writeln!(page, "{name}{{webhook=\"{webhook}\"}} {}", figure(queue))?;
            }
        }
        let name = "guest_outbox_oldest_timestamp_seconds";
        writeln!(
            page,
            "# HELP {name} Time of the oldest event that was not delivered.\n# TYPE {name} gauge"
        )?;
        if let Some(oldest) = self.outbox_oldest {
            writeln!(page, "{name} {}", oldest.unix_timestamp())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_text_names_each_webhook() {
        let queue = QueueStats {
            pending: 3,
            snapshots: 2,
        };
        let stats = Stats {
            queues: [("w-1".parse().unwrap(), queue)].into(),
            outbox_oldest: Some(OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(7)),
            ..Stats::default()
        };
        let mut page = String::new();
        stats.render_prometheus(&mut page);
        let samples: Vec<_> = page.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            samples,
            [
                "guest_outbox_pending{webhook=\"w-1\"} 3",
                "guest_outbox_snapshots_pending{webhook=\"w-1\"} 2",
                "guest_outbox_oldest_timestamp_seconds 7",
            ]
        );
        let mut empty = String::new();
        Stats::default().render_prometheus(&mut empty);
        assert!(empty.lines().count() == 6 && empty.lines().all(|line| line.starts_with('#')));
    }
}
