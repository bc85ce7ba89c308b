//! Events, and the body of a delivery.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use genesys_api::rfc3339;
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;

/// An event of a guest session, named by the `guest-sessions` contract. Genesys Cloud sends no such events.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum EventName {
    /// The session was created.
    Created,
    /// Genesys configured the session: its conversation can begin.
    Configured,
    /// A message of an agent or a bot arrived.
    MessageReceived,
    /// The session is ready again after a lost connection to Genesys.
    Reconnected,
    /// Its consent, or the decision on it, changed.
    Updated,
    /// As [`Updated`](Self::Updated), which is sent too: for a receiver of consent only.
    ConsentChanged,
    /// The session ended.
    Ended,
    /// The session ended by its idle timeout. [`Ended`](Self::Ended) is sent too.
    Expired,
    /// The session was erased. Every webhook of its owner receives it, also in place of undelivered events.
    Erased,
    /// The state of a session, in place of events that could not be delivered.
    Snapshot,
    /// A test of an endpoint, about no session.
    Test,
}

impl EventName {
    /// All events that a subscription names, in the order of a session's lifetime. The others need no subscription.
    pub const ALL: [Self; 8] = [
        Self::Created,
        Self::Configured,
        Self::MessageReceived,
        Self::Reconnected,
        Self::Updated,
        Self::ConsentChanged,
        Self::Ended,
        Self::Expired,
    ];

    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "webmessaging.guestsession.created",
            Self::Configured => "webmessaging.guestsession.configured",
            Self::MessageReceived => "webmessaging.guestsession.message.received",
            Self::Reconnected => "webmessaging.guestsession.reconnected",
            Self::Updated => "webmessaging.guestsession.updated",
            Self::ConsentChanged => "webmessaging.guestsession.consent.changed",
            Self::Ended => "webmessaging.guestsession.ended",
            Self::Expired => "webmessaging.guestsession.expired",
            Self::Erased => "webmessaging.guestsession.erased",
            Self::Snapshot => "webmessaging.guestsession.snapshot",
            Self::Test => "webmessaging.guestsession.test",
        }
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EventName {
    type Err = UnknownEvent;

    fn from_str(text: &str) -> Result<Self, UnknownEvent> {
        if let Some(event) = Self::ALL.into_iter().find(|event| event.as_str() == text) {
            return Ok(event);
        }
        let normalized = text.trim().to_ascii_lowercase();
        let verb = normalized.rsplit(['.', '_', '-', ':']).next().unwrap_or_default();
        Err(UnknownEvent {
            nearest: Self::ALL
                .into_iter()
                .find(|event| event.as_str().rsplit('.').next() == Some(verb)),
        })
    }
}

/// The name of an event to which no webhook can subscribe.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("invalid event: use {}", suggestion(*.nearest))]
#[non_exhaustive]
pub struct UnknownEvent {
    /// The most similar event, if there is one.
    pub nearest: Option<EventName>,
}

fn suggestion(nearest: Option<EventName>) -> String {
    nearest.map_or_else(
        || format!("one of {}", EventName::ALL.map(EventName::as_str).join(", ")),
        |event| event.to_string(),
    )
}

/// The body of a delivery as recommended by Standard Webhooks: `type`, `timestamp`, `data`, and the
/// [`version`](Self::VERSION) of its schema.
///
/// Keep `data` below about 20 kB, as the standard recommends. It may contain only data that consent covers.
#[derive(Clone, Copy)]
pub struct EventBody<'a> {
    /// Name of the event.
    pub event: EventName,
    /// Time of the event, not of its delivery.
    pub timestamp: OffsetDateTime,
    /// Data of the event.
    pub data: &'a Value,
}

/// Without the data, which may be personal.
impl fmt::Debug for EventBody<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventBody")
            .field("event", &self.event)
            .field("timestamp", &self.timestamp)
            .finish_non_exhaustive()
    }
}

impl EventBody<'_> {
    /// Version of the schema of all bodies. It grows when a field is removed, or changes its name, type or meaning. A new
    /// field, event or value of a list does not change it.
    pub const VERSION: u32 = 1;

    /// Serializes the body. Build it for each attempt: consent at the time of sending decides its data.
    ///
    /// # Panics
    /// Never: strings and a JSON value always serialize.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        #[derive(Serialize)]
        struct Wire<'a> {
            r#type: &'static str,
            version: u32,
            timestamp: String,
            data: &'a Value,
        }
        let wire = Wire {
            r#type: self.event.as_str(),
            version: Self::VERSION,
            timestamp: rfc3339(self.timestamp),
            data: self.data,
        };
        serde_json::to_vec(&wire)
            .expect("strings and a JSON value always serialize")
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_event_name_suggests_nearest() {
        for event in EventName::ALL {
            assert_eq!(event.as_str().parse(), Ok(event));
        }
        for (text, nearest) in [
            ("webmessaging.guestSession.created", Some(EventName::Created)),
            ("webmessaging.guest-session.updated", Some(EventName::Updated)),
            ("guest_session_ended", Some(EventName::Ended)),
            (
                "webmessaging.guestsession.consent_changed",
                Some(EventName::ConsentChanged),
            ),
            ("webmessaging.guestsession.erased", None),
            ("webmessaging.guestsession.snapshot", None),
            ("v2.conversations.chat", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<EventName>(), Err(UnknownEvent { nearest }), "{text}");
        }
        assert_eq!(
            "Created".parse::<EventName>().unwrap_err().to_string(),
            "invalid event: use webmessaging.guestsession.created"
        );
        assert!(
            "x".parse::<EventName>()
                .unwrap_err()
                .to_string()
                .starts_with("invalid event: use one of webmessaging.guestsession.created, ")
        );
    }

    #[test]
    fn event_body_has_type_version_timestamp_and_data() {
        let body = EventBody {
            event: EventName::Created,
            timestamp: genesys_api::parse_rfc3339("2026-11-22T12:30:00Z").unwrap(),
            data: &serde_json::json!({"guestSessionId": "s-1"}),
        };
        assert!(!format!("{body:?}").contains("s-1"), "the data may be personal");
        assert_eq!(
            body.to_bytes(),
            r#"{"type":"webmessaging.guestsession.created","version":1,"timestamp":"2026-11-22T12:30:00.000Z","data":{"guestSessionId":"s-1"}}"#
        );
    }
}
