//! Log lines for the faults of conversations.

use std::sync::Arc;
use std::time::{Duration, Instant};

use genesys_api::{LogLimit, SessionId};
use guest_conversation::{ConnectionEvent, Event, Message, SessionEvent};

/// Time in which the faults of one kind of all conversations are one line. Our choice.
const INTERVAL: Duration = Duration::from_secs(10);

/// The limit of log lines of all conversations: an outage of Genesys repeats the same fault for each. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct EventLog(Arc<LogLimit>);

impl Default for EventLog {
    fn default() -> Self {
        Self(Arc::new(LogLimit::new(INTERVAL)))
    }
}

impl EventLog {
    /// Logs an event of the conversation of session `id` if it is a fault.
    pub(super) fn record(&self, id: &SessionId, event: &Event, now: Instant) {
        match event {
            Event::Connection(ConnectionEvent::SignInLost { refusal }) => {
                if let Some(unlogged) = self.0.admit(now) {
                    tracing::warn!(session = %id, %refusal, unlogged, "the sign-in of the guest is lost, waiting for another one");
                }
            }
            Event::Connection(ConnectionEvent::Reconnecting { cause, after, .. }) => {
                if let Some(unlogged) = self.0.admit(now) {
                    tracing::warn!(session = %id, %cause, ?after, unlogged, "not connected to Genesys, trying again");
                }
            }
            Event::Connection(ConnectionEvent::Throttled { retry_after }) => {
                if let Some(unlogged) = self.0.admit(now) {
                    tracing::warn!(session = %id, ?retry_after, unlogged, "rate limited by Genesys");
                }
            }
            Event::Session(SessionEvent::HistoryUnread { reason, .. }) => {
                if let Some(unlogged) = self.0.admit(now) {
                    tracing::warn!(session = %id, reason, unlogged, "cannot read the missed messages");
                }
            }
            Event::Session(SessionEvent::Refused { request, refusal }) => {
                if let Some(unlogged) = self.0.admit(now) {
                    tracing::warn!(session = %id, ?request, %refusal, unlogged, "Genesys refused a frame");
                }
            }
            Event::Message(message) | Event::Session(SessionEvent::OwnMessage(message)) => {
                self.record_message(id, message, now);
            }
            _ => {}
        }
    }

    /// Logs a part of the history of session `id` that could not be read.
    pub(super) fn record_unread(&self, id: &SessionId, reason: &str, now: Instant) {
        if let Some(unlogged) = self.0.admit(now) {
            tracing::warn!(session = %id, reason, unlogged, "cannot read the history");
        }
    }

    fn record_message(&self, id: &SessionId, message: &Message, now: Instant) {
        let malformed = message.content.iter().find(|item| !item.is_well_formed());
        if let Some(item) = malformed
            && let Some(unlogged) = self.0.admit(now)
        {
            let class = item.class().unwrap_or("unnamed");
            tracing::warn!(session = %id, class, unlogged, "left out content that does not have the shape of its type");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event as LogEvent, Metadata, Subscriber};

    use super::*;

    /// Counts the lines of this thread.
    #[derive(Clone, Default)]
    struct Lines(Arc<AtomicUsize>);

    impl Subscriber for Lines {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == module_path!().trim_end_matches("::tests")
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, _: &LogEvent<'_>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn outage_of_many_conversations_is_one_line_in_ten_seconds() {
        let lines = Lines::default();
        let _guard = tracing::subscriber::set_default(lines.clone());
        let (log, start) = (EventLog::default(), genesys_api::Clock::system().now().instant);
        let outage = Event::Connection(ConnectionEvent::Throttled {
            retry_after: Duration::ZERO,
        });
        for second in 0..20 {
            for number in 0..100 {
                let id = format!("s-{number}").parse().unwrap();
                let log = log.clone();
                log.record(&id, &outage, start + Duration::from_secs(second));
            }
        }
        assert_eq!(lines.0.load(Ordering::Relaxed), 2);
    }
}
