//! The gateway of a simulation: a relay, and the read marker of its session.

use std::time::{Duration, Instant};

use genesys_api::Now;
use guest_conversation::{Event, Message};
use guest_gateway::relay::{LastDelivered, Relay, ReplayBudget, Stop};
use time::OffsetDateTime;

use super::Simulation;
use super::pages::Pages;

/// Shortest time between two writes of the read marker.
const STORE_INTERVAL: Duration = Duration::from_secs(60);

pub(super) struct Gateway {
    /// `None` while it is stopped.
    pub(super) relay: Option<Relay>,
    pub(super) starts: usize,
    /// Number of events of the conversation that the relay has handled.
    fed: usize,
    marker: Option<(OffsetDateTime, String)>,
    stored: Option<(OffsetDateTime, String)>,
    store_at: Option<Instant>,
    created_at: OffsetDateTime,
    /// Reason for which a relay stopped by itself.
    pub(super) failed: Option<Stop>,
}

impl Gateway {
    pub(super) fn new(upstream: &Simulation) -> Self {
        let mut gateway = Self {
            relay: None,
            starts: 0,
            fed: 0,
            marker: None,
            stored: None,
            store_at: None,
            created_at: upstream.now.utc,
            failed: None,
        };
        gateway.open(upstream.now);
        gateway
    }

    fn open(&mut self, now: Now) {
        let delivered = match &self.stored {
            None => LastDelivered::Nothing,
            Some((_, id)) => LastDelivered::Message(id.clone()),
        };
        self.starts += 1;
        let (id, epoch) = ("gs-1".parse().expect("an id"), format!("e-{}", self.starts));
        self.relay = Some(Relay::new(id, epoch, delivered, ReplayBudget::default(), now));
        self.marker = self.stored.clone();
        self.store_at = None;
    }

    /// Starts the stopped gateway. Its conversation resumes after the read marker.
    pub(super) fn start(&mut self, upstream: &mut Simulation) {
        if self.relay.is_none() {
            self.open(upstream.now);
            let (at, message) = match self.stored.clone() {
                Some((at, message)) => (at, Some(message)),
                None => (self.created_at, None),
            };
            upstream.start_process((Some(at), message));
        }
    }

    /// Stops the gateway. Killed, it neither stores its marker nor notifies its sockets.
    pub(super) fn stop(&mut self, killed: bool, pages: &mut Pages, upstream: &mut Simulation) {
        if self.relay.is_none() {
            return;
        }
        if !killed {
            while self.feed(upstream) {}
            self.stored = self.marker.clone();
            if let Some(relay) = &mut self.relay {
                relay.handle_stop(Stop::Shutdown);
            }
            pages.settle(self, upstream);
        }
        self.relay = None;
        upstream.stop_process();
        self.fed = upstream.received.len();
        pages.handle_gateway_lost(upstream);
    }

    /// Passes events of the conversation to the relay. Returns whether there were any.
    pub(super) fn feed(&mut self, upstream: &Simulation) -> bool {
        let from = self.fed;
        let Some(relay) = &mut self.relay else {
            return false;
        };
        while relay.accepts_events()
            && let Some((_, event)) = upstream.received.get(self.fed)
        {
            self.fed += 1;
            if let Event::Message(message) = event {
                advance(&mut self.marker, message);
                let now = upstream.now.instant;
                match self.store_at {
                    Some(at) if now < at => {}
                    Some(_) => {
                        self.stored = self.marker.clone();
                        self.store_at = Some(now + STORE_INTERVAL);
                    }
                    None => self.store_at = Some(now + STORE_INTERVAL),
                }
            }
            if let Some(stop) = relay.handle_event(event.clone(), upstream.now) {
                self.failed = Some(stop);
            }
        }
        self.fed > from
    }

    pub(super) fn handle_timeout(&mut self, now: Now) {
        if let Some(relay) = &mut self.relay {
            relay.handle_timeout(now);
        }
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        self.relay.as_ref()?.poll_timeout()
    }
}

fn advance(marker: &mut Option<(OffsetDateTime, String)>, message: &Message) {
    let at = marker.as_ref().map_or(message.at, |(at, _)| message.at.max(*at));
    *marker = Some((at, message.id.clone()));
}
