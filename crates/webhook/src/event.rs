//! What is told, and to whom.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use genesys_api::rfc3339;
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;

/// An event of a guest session. The names are those of the `guest-sessions` contract; Genesys itself sends none.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum EventName {
    /// The session was created.
    Created,
    /// Its state, its consent or its token changed.
    Updated,
    /// It is over.
    Ended,
}

impl EventName {
    /// Every event, in the order of a session's life.
    pub const ALL: [Self; 3] = [Self::Created, Self::Updated, Self::Ended];

    /// Its name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "webmessaging.guestsession.created",
            Self::Updated => "webmessaging.guestsession.updated",
            Self::Ended => "webmessaging.guestsession.ended",
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
        let meant = text.trim().to_ascii_lowercase();
        let verb = meant.rsplit(['.', '_', '-', ':']).next().unwrap_or_default();
        Err(UnknownEvent {
            nearest: Self::ALL
                .into_iter()
                .find(|event| event.as_str().rsplit('.').next() == Some(verb)),
        })
    }
}

/// The text names no event. It is not repeated: it may be anything.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct UnknownEvent {
    /// What was probably meant.
    pub nearest: Option<EventName>,
}

impl fmt::Display for UnknownEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.nearest {
            Some(event) => write!(f, "no such event: use {event}"),
            None => {
                let [created, updated, ended] = EventName::ALL;
                write!(f, "no such event: there are {created}, {updated} and {ended}")
            }
        }
    }
}

impl std::error::Error for UnknownEvent {}

/// A set of events.
#[derive(Clone, Copy, Default, Eq, Hash, PartialEq)]
pub struct EventSet(u8);

impl EventSet {
    /// Whether `event` is one of them.
    #[must_use]
    pub fn contains(self, event: EventName) -> bool {
        self.0 & (1 << event as u8) != 0
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The events, in the order of a session's life.
    pub fn iter(self) -> impl Iterator<Item = EventName> {
        EventName::ALL
            .into_iter()
            .filter(move |event| self.contains(*event))
    }
}

impl FromIterator<EventName> for EventSet {
    fn from_iter<I: IntoIterator<Item = EventName>>(events: I) -> Self {
        Self(
            events
                .into_iter()
                .fold(0, |bits, event| bits | (1 << event as u8)),
        )
    }
}

impl fmt::Debug for EventSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// The body of a delivery, in the form that Standard Webhooks recommends: `type`, `timestamp`, `data`.
///
/// Keep `data` below about 20 kB, as the standard advises, and put nothing into it that consent does not cover.
#[derive(Clone, Copy, Debug)]
pub struct EventBody<'a> {
    /// What happened.
    pub event: EventName,
    /// When it happened, which is not when it is delivered.
    pub timestamp: OffsetDateTime,
    /// About whom.
    pub data: &'a Value,
}

impl EventBody<'_> {
    /// The bytes to keep in an outbox: every attempt sends exactly these.
    ///
    /// # Panics
    /// Never: texts and a JSON value always are JSON.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        #[derive(Serialize)]
        struct Wire<'a> {
            r#type: &'static str,
            timestamp: String,
            data: &'a Value,
        }
        let wire = Wire {
            r#type: self.event.as_str(),
            timestamp: rfc3339(self.timestamp),
            data: self.data,
        };
        serde_json::to_vec(&wire)
            .expect("texts and a JSON value are JSON")
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_names_are_a_closed_set_and_a_slip_is_recognised() {
        for event in EventName::ALL {
            assert_eq!(event.as_str().parse(), Ok(event));
        }
        for (text, nearest) in [
            ("webmessaging.guestSession.created", Some(EventName::Created)),
            ("webmessaging.guest-session.updated", Some(EventName::Updated)),
            ("guest_session_ended", Some(EventName::Ended)),
            ("v2.conversations.chat", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<EventName>(), Err(UnknownEvent { nearest }), "{text}");
        }
        assert_eq!(
            "Created".parse::<EventName>().unwrap_err().to_string(),
            "no such event: use webmessaging.guestsession.created"
        );
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let set: EventSet = [EventName::Ended, EventName::Created, EventName::Ended]
            .into_iter()
            .collect();
        assert_eq!(
            set.iter().collect::<Vec<_>>(),
            [EventName::Created, EventName::Ended]
        );
        assert!(!set.contains(EventName::Updated) && !set.is_empty());
        assert!(EventSet::default().is_empty());
    }

    #[test]
    fn a_body_says_what_when_and_about_whom() {
        let body = EventBody {
            event: EventName::Created,
            timestamp: genesys_api::parse_rfc3339("2026-11-22T12:30:00Z").unwrap(),
            data: &serde_json::json!({"guestSessionId": "s-1"}),
        };
        assert_eq!(
            body.to_bytes(),
            r#"{"type":"webmessaging.guestsession.created","timestamp":"2026-11-22T12:30:00.000Z","data":{"guestSessionId":"s-1"}}"#
        );
    }
}
