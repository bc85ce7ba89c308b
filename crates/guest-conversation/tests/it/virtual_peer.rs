//! A conversation with a peer that a test plays, on a virtual clock.

use std::time::{Duration, Instant};

use genesys_api::{Now, parse_rfc3339};
use guest_conversation::{
    Command, ConnectionEvent, Conversation, DeliveryStatus, DeploymentRules, Event, GuestMachine as _,
    Machine as _, MessageId, OutgoingMessage, Reason, State, WebMessaging,
};
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

pub(crate) fn web_messaging() -> WebMessaging {
    WebMessaging::new("b3c2".parse().unwrap(), SecretString::from(TOKEN))
}

/// With a host of the history.
pub(crate) fn with_history() -> WebMessaging {
    WebMessaging {
        api: Some("https://api.example".parse().unwrap()),
        ..web_messaging()
    }
}

/// The rules of a deployment with autostart.
pub(crate) fn autostart() -> DeploymentRules {
    DeploymentRules {
        autostart: true,
        ..DeploymentRules::default()
    }
}

pub(crate) fn id(n: u128) -> MessageId {
    Uuid::from_u128(0xc0ff_ee00_0000_4000_8000_0000_0000_0000 + n).into()
}

pub(crate) struct VirtualPeer {
    pub(crate) conversation: Conversation,
    pub(crate) now: Now,
    pub(crate) jitter: u64,
}

impl VirtualPeer {
    pub(crate) fn new(config: WebMessaging) -> Self {
        Self {
            conversation: Conversation::new(config),
            now: epoch(),
            jitter: 0,
        }
    }

    /// Connected to Genesys Cloud and configured; the first frame and the event are taken.
    pub(crate) fn web_messaging() -> Self {
        Self::configured(web_messaging())
    }

    pub(crate) fn configured(config: WebMessaging) -> Self {
        Self::configured_by(config, &session_response(true))
    }

    /// Configured by this response of the service.
    pub(crate) fn configured_by(config: WebMessaging, session: &Value) -> Self {
        let mut peer = Self::new(config);
        peer.connect();
        assert_eq!(peer.frames().len(), 1);
        peer.receive(session);
        assert!(matches!(
            peer.events()[..],
            [Event::Connection(ConnectionEvent::Ready(_))]
        ));
        peer
    }

    pub(crate) fn state(&self) -> State {
        self.conversation.state()
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
        events.filter(|event| !is_waiting(event)).collect()
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

/// Whether it is the event of a message that waits, or waited.
pub(crate) fn is_waiting(event: &Event) -> bool {
    let Event::Delivery { status, .. } = event else {
        return false;
    };
    matches!(status, DeliveryStatus::Queued | DeliveryStatus::Sending)
}

pub(crate) fn session_response(new_session: bool) -> Value {
    json!({"type": "response", "class": "SessionResponse", "code": 200,
        "body": {"connected": true, "newSession": new_session, "readOnly": false, "expirationDate": 1_791_139_139}})
}

pub(crate) fn echo(n: u128) -> Value {
    json!({"type": "message", "class": "StructuredMessage", "code": 200, "tracingId": id(n).to_string(),
        "body": {"type": "Text", "text": "x", "direction": "Inbound", "id": format!("e{n}"),
            "channel": {"time": "2026-11-22T12:00:01.000Z", "messageId": format!("m{n}")}, "metadata": {}}})
}

pub(crate) fn agent_message(name: &str, text: &str) -> Value {
    json!({"type": "message", "class": "StructuredMessage", "code": 200,
        "body": {"type": "Text", "text": text, "direction": "Outbound", "id": name, "originatingEntity": "Human",
            "channel": {"time": "2026-11-22T12:00:02.000Z", "from": {"nickname": "Ann"}, "to": {}}}})
}

pub(crate) fn refused(code: i64, tracing_id: Option<MessageId>) -> Value {
    let mut frame = json!({"type": "response", "class": "string", "code": code, "body": "no"});
    if let Some(id) = tracing_id {
        frame["tracingId"] = id.to_string().into();
    }
    frame
}

pub(crate) fn too_many(retry_after: u64, tracing_id: Option<MessageId>) -> Value {
    let mut frame = json!({"type": "response", "class": "TooManyRequestsErrorMessage", "code": 429,
        "body": {"retryAfter": retry_after, "errorCode": 4029, "errorMessage": "Message rate too high"}});
    if let Some(id) = tracing_id {
        frame["tracingId"] = id.to_string().into();
    }
    frame
}
