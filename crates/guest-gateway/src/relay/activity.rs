//! Counters of the live conversations and of their messages.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use genesys_api::SessionStage;
use guest_conversation::Event;
use serde::Serialize;

/// The connection of a conversation to Genesys Cloud.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Connection {
    Connecting,
    Live,
    Refused,
    SignInLost,
    Throttled,
    Unreachable,
}

/// Counters of all conversations of this process.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    connections: [AtomicU64; 6],
    from_guests: AtomicU64,
    to_guests: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ActivityFigures {
    connecting: u64,
    live: u64,
    refused: u64,
    sign_in_lost: u64,
    throttled: u64,
    unreachable: u64,
    /// Messages since the start of the process.
    messages_from_guests: u64,
    messages_to_guests: u64,
}

impl Activity {
    pub(crate) fn figures(&self) -> ActivityFigures {
        let count = |connection: Connection| self.connections[connection as usize].load(Relaxed);
        ActivityFigures {
            connecting: count(Connection::Connecting),
            live: count(Connection::Live),
            refused: count(Connection::Refused),
            sign_in_lost: count(Connection::SignInLost),
            throttled: count(Connection::Throttled),
            unreachable: count(Connection::Unreachable),
            messages_from_guests: self.from_guests.load(Relaxed),
            messages_to_guests: self.to_guests.load(Relaxed),
        }
    }
}

/// A conversation in the counters, until it is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    activity: Arc<Activity>,
    connection: Connection,
}

impl Counted {
    pub(super) fn new(activity: Arc<Activity>) -> Self {
        let connection = Connection::Connecting;
        activity.connections[connection as usize].fetch_add(1, Relaxed);
        Self { activity, connection }
    }

    pub(super) fn set(&mut self, connection: Connection) {
        if connection != self.connection {
            self.activity.connections[connection as usize].fetch_add(1, Relaxed);
            self.activity.connections[self.connection as usize].fetch_sub(1, Relaxed);
            self.connection = connection;
        }
    }

    pub(super) fn handle_event(&self, event: &Event) {
        let counter = match event.stage() {
            Some(SessionStage::FirstGuestMessage) => &self.activity.from_guests,
            Some(SessionStage::FirstReply) => &self.activity.to_guests,
            _ => return,
        };
        counter.fetch_add(1, Relaxed);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.activity.connections[self.connection as usize].fetch_sub(1, Relaxed);
    }
}
