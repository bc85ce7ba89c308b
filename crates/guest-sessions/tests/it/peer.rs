//! A gateway that a test plays, on a virtual clock.

use std::time::{Duration, Instant};

use genesys_api::{Now, parse_rfc3339};
use guest_conversation::{
    Command, ConnectionEvent, DeliveryStatus, Event, GuestMachine as _, Machine as _, MessageId,
    OutgoingMessage, Reason,
};
use guest_sessions::client::{GatewayConversation, GatewaySession};
use secrecy::SecretString;
use serde_json::{Value, json};
use uuid::Uuid;
use ws_transport::{CloseInfo, Transmit};

pub(crate) const TOKEN: &str = "7d1f-canary";

pub(crate) fn epoch() -> Now {
    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant can be had from nowhere else"
    )]
    let instant = Instant::now();
    Now {
        instant,
        utc: parse_rfc3339("2026-11-22T12:00:00Z").unwrap(),
    }
}

pub(crate) fn session() -> GatewaySession {
    GatewaySession::new("gs-1".parse().unwrap(), SecretString::from(TOKEN))
}

pub(crate) fn id(n: u128) -> MessageId {
    Uuid::from_u128(0xc0ff_ee00_0000_4000_8000_0000_0000_0000 + n).into()
}

pub(crate) struct VirtualPeer {
    pub(crate) conversation: GatewayConversation,
    pub(crate) now: Now,
    pub(crate) jitter: u64,
}

impl VirtualPeer {
    pub(crate) fn new(session: GatewaySession) -> Self {
        Self {
            conversation: GatewayConversation::new(session),
            now: epoch(),
            jitter: 0,
        }
    }

    /// Connected and ready; the first frame and the event are taken.
    pub(crate) fn ready() -> Self {
        let mut peer = Self::new(session());
        peer.connect();
        assert_eq!(peer.frames().len(), 1);
        peer.receive(&handshake_accepted(0));
        assert!(matches!(
            peer.events()[..],
            [Event::Connection(ConnectionEvent::Ready(_))]
        ));
        peer
    }

    pub(crate) fn connect(&mut self) {
        self.conversation.engine_mut().connect(self.now);
        assert_eq!(self.conversation.poll_command(), Some(Command::Connect));
        self.conversation.handle_connected(self.now);
    }

    /// Waits for the reconnect that is due, and makes it.
    pub(crate) fn reconnect(&mut self) {
        let (at, reason) = self.conversation.poll_timeout().unwrap();
        assert_eq!(reason, Reason::Reconnect);
        self.pass(at.saturating_duration_since(self.now.instant));
        assert_eq!(self.conversation.poll_command(), Some(Command::Connect));
        self.conversation.handle_connected(self.now);
    }

    pub(crate) fn close(&mut self, info: CloseInfo) {
        self.conversation.handle_closed(info, self.now, self.jitter);
    }

    pub(crate) fn drop_socket(&mut self) {
        self.close(CloseInfo::abnormal("reset by peer"));
    }

    pub(crate) fn receive(&mut self, frame: &Value) {
        self.conversation.handle_frame(&frame.to_string(), self.now);
    }

    pub(crate) fn send(&mut self, n: u128, text: &str) {
        self.conversation
            .engine_mut()
            .send(id(n), OutgoingMessage::new(text.to_owned()), self.now)
            .unwrap();
    }

    /// Moves the clock, and handles the timeout if one is due by then.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now.instant += time;
        self.now.utc += time;
        self.conversation.handle_timeout(self.now);
    }

    pub(crate) fn transmits(&mut self) -> Vec<Transmit> {
        std::iter::from_fn(|| self.conversation.poll_transmit(self.now)).collect()
    }

    /// The frames that are due, as JSON.
    pub(crate) fn frames(&mut self) -> Vec<Value> {
        self.transmits()
            .into_iter()
            .filter_map(|transmit| match transmit {
                Transmit::Frame(text) => Some(serde_json::from_str(&text).unwrap()),
                Transmit::Close { .. } | Transmit::Ping => None,
            })
            .collect()
    }

    /// The events, without those of messages that wait.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        let events = std::iter::from_fn(|| self.conversation.poll_event());
        let is_waiting =
            |status: &DeliveryStatus| matches!(status, DeliveryStatus::Queued | DeliveryStatus::Sending);
        events
            .filter(|event| !matches!(event, Event::Delivery { status, .. } if is_waiting(status)))
            .collect()
    }

    /// The delivery statuses among the events.
    pub(crate) fn deliveries(&mut self) -> Vec<(MessageId, DeliveryStatus)> {
        let events = std::iter::from_fn(|| self.conversation.poll_event());
        let deliveries = events.filter_map(|event| match event {
            Event::Delivery { id, status } => Some((id, status)),
            _ => None,
        });
        deliveries.collect()
    }
}

pub(crate) fn handshake_accepted(sequence: u64) -> Value {
    json!({"type": "handshake.accepted", "guestSessionId": "gs-1", "newSession": false, "readOnly": false,
        "epoch": "e-1", "sequence": sequence})
}

/// The answer of a gateway that stops before it sends a message.
pub(crate) fn not_sent(n: u128) -> Value {
    json!({"type": "delivery", "state": "failed", "id": id(n).to_string(), "code": "not.sent", "message": "x"})
}
