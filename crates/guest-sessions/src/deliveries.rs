//! Bodies of `/api/v2/webhooks/{id}/deliveries`, and the status of a webhook.

use std::fmt;
use std::str::FromStr;

use genesys_api::strict_json::{BodyError, Object};
use genesys_api::{GuestId, SessionId, parse_rfc3339, rfc3339, timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;

/// The state of a delivery.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum DeliveryState {
    /// It will be sent, or sent again.
    Waiting,
    /// The receiver accepted it.
    Delivered,
    /// It was given up. The `snapshot` event of its session stands for it.
    Dead,
}

impl DeliveryState {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Waiting, Self::Delivered, Self::Dead];

    /// Its name in the contract.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }
}

impl fmt::Display for DeliveryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DeliveryState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(UnknownState)
    }
}

/// The name of no state of a delivery.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("invalid state of a delivery: use waiting, delivered or dead")]
#[non_exhaustive]
pub struct UnknownState;

/// A delivery to a webhook.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryInfo {
    /// Its id, the header `webhook-id`.
    pub id: String,
    /// Its state.
    pub state: DeliveryState,
    /// Name of the event.
    pub event: String,
    /// Its session. `None` of an `erased` event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// Sequence number of the first event that it stands for.
    pub first: u64,
    /// Sequence number of the last event that it stands for.
    pub last: u64,
    /// Time of the event, of the oldest one of a snapshot, or of the erasure.
    #[serde(with = "timestamp")]
    pub timestamp: OffsetDateTime,
    /// Earliest time of the next attempt. `None` if there is none, or it waits for another delivery.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "timestamp::option")]
    pub next_attempt_at: Option<OffsetDateTime>,
    /// Id of the earlier event of its session that it waits for, at an ordered webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// The last ten attempts, oldest first. Those of a list have no response.
    pub attempts: Vec<AttemptInfo>,
}

/// An attempt of a delivery.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptInfo {
    /// Time of its end.
    #[serde(with = "timestamp")]
    pub at: OffsetDateTime,
    /// Milliseconds from sending to the outcome.
    pub milliseconds: u64,
    /// HTTP status, if the receiver answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Name of the failure, if it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The known words of the first 4 KiB of the response: those of error messages, and names of sent fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<String>,
}

/// A page of deliveries.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct DeliveryPage {
    /// The deliveries: waiting ones oldest first, the others latest attempt first.
    pub deliveries: Vec<DeliveryInfo>,
    /// `after` of the query for the next page. `None` on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The query of a page of deliveries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DeliveryPageQuery {
    /// State of the deliveries.
    pub state: DeliveryState,
    /// The page begins after this place: `next` of the page before.
    pub after: Option<(i64, i64)>,
}

impl DeliveryPageQuery {
    /// Deliveries of a page. Our choice.
    pub const LIMIT: usize = 100;

    /// The text of a place, for `next`.
    #[must_use]
    pub fn place((major, minor): (i64, i64)) -> String {
        format!("{major}.{minor}")
    }

    /// Parses the text of a place.
    #[must_use]
    pub fn parse_place(text: &str) -> Option<(i64, i64)> {
        let (major, minor) = text.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    }
}

/// The query of a URL, without `?`.
impl fmt::Display for DeliveryPageQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "state={}", self.state)?;
        match self.after {
            Some(place) => write!(f, "&after={}", Self::place(place)),
            None => Ok(()),
        }
    }
}

/// The body that replays dead deliveries.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct ReplayBody {
    /// Time of the first event. `None` for all.
    #[serde(skip_serializing_if = "Option::is_none", with = "timestamp::option")]
    pub since: Option<OffsetDateTime>,
}

impl ReplayBody {
    /// Parses the body.
    ///
    /// # Errors
    /// If the body does not match the contract.
    pub fn parse(bytes: &[u8]) -> Result<Self, BodyError> {
        let mut body = Object::parse(bytes)?;
        let since = body.optional("since").map(|field| {
            let since = parse_rfc3339(&field.text()?);
            since.ok_or_else(|| {
                field.invalid("give an RFC 3339 time with an offset, as in 2026-11-22T12:30:00Z")
            })
        });
        let since = since.transpose()?;
        body.finish()?;
        Ok(Self { since })
    }
}

/// The body that asks what a webhook would be sent.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[expect(clippy::exhaustive_enums, reason = "a gateway handles each")]
pub enum PreviewBody {
    /// Of the latest session of this guest.
    #[serde(rename = "guestId")]
    Guest(GuestId),
    /// Of this session.
    #[serde(rename = "sessionId")]
    Session(SessionId),
}

impl PreviewBody {
    /// Parses the body.
    ///
    /// # Errors
    /// If the body does not match the contract.
    pub fn parse(bytes: &[u8]) -> Result<Self, BodyError> {
        let mut body = Object::parse(bytes)?;
        let of = match body.optional("guestId") {
            Some(guest) => Self::Guest(guest.parse()?),
            None => Self::Session(body.required("sessionId")?.parse()?),
        };
        body.finish()?;
        Ok(of)
    }
}

/// The answer about what a webhook would be sent of a session.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookPreview {
    /// Whether the session meets the conditions of the webhook.
    pub is_wanted: bool,
    /// The body of an `updated` event, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
}

/// Without the body, which may be personal.
impl fmt::Debug for WebhookPreview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookPreview")
            .field("is_wanted", &self.is_wanted)
            .finish_non_exhaustive()
    }
}

/// The number of replayed deliveries.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Replayed {
    /// Deliveries that wait again.
    pub replayed: usize,
    /// Deliveries that remain dead, because the queue of the webhook is full.
    pub remaining: usize,
}

/// The state of a webhook, and what waits for it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookStatus {
    /// Its state.
    pub state: WebhookState,
    /// Events that wait.
    pub waiting: u64,
    /// `snapshot` and `erased` events that wait, beside those.
    pub snapshots: u64,
    /// Age of the oldest event that waits, in seconds. 0 if none waits.
    pub lag_seconds: u64,
    /// Failures since the last success.
    pub failures: u32,
    /// Time of the first failure after the last success.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "timestamp::option")]
    pub failing_since: Option<OffsetDateTime>,
    /// Time before which nothing is sent, because the receiver is overloaded.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "timestamp::option")]
    pub resting_until: Option<OffsetDateTime>,
    /// The last attempt of the last seven days, without its response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attempt: Option<AttemptInfo>,
    /// Time of the last success of the last seven days.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "timestamp::option")]
    pub last_success_at: Option<OffsetDateTime>,
}

/// The state of a webhook.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum WebhookState {
    /// Its last delivery was a success, or there was none.
    Active,
    /// Its last delivery failed.
    Failing,
    /// Its owner paused it.
    Paused,
    /// It was disabled for its failures: five days of only failures, or a status 410.
    Disabled,
}

impl fmt::Display for WebhookState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Failing => "failing",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
        })
    }
}

/// A line for a person, as in `2026-11-22T12:30:00.000Z status 500 after 12 ms`.
impl fmt::Display for AttemptInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", rfc3339(self.at))?;
        match (self.status, &self.error) {
            (Some(status), _) => write!(f, "status {status}")?,
            (None, Some(error)) => write!(f, "error {error}")?,
            (None, None) => f.write_str("no answer")?,
        }
        write!(f, " after {} ms", self.milliseconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_round_trips_and_unknown_state_is_refused() {
        for state in DeliveryState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert_eq!("lost".parse::<DeliveryState>(), Err(UnknownState));
        let query = DeliveryPageQuery {
            state: DeliveryState::Dead,
            after: Some((-7, 3)),
        };
        assert_eq!(query.to_string(), "state=dead&after=-7.3");
        assert_eq!(DeliveryPageQuery::parse_place("-7.3"), query.after);
        for text in ["", "7", "7.", ".7", "7.3.1", "x.y"] {
            assert_eq!(DeliveryPageQuery::parse_place(text), None, "{text}");
        }
    }

    #[test]
    fn preview_body_names_a_session_or_a_guest() {
        for body in [
            PreviewBody::Session("s-1".parse().unwrap()),
            PreviewBody::Guest("g-1".parse().unwrap()),
        ] {
            assert_eq!(PreviewBody::parse(&serde_json::to_vec(&body).unwrap()), Ok(body));
        }
        for (body, field) in [
            ("{}", "sessionId"),
            (r#"{"sessionId":"a/b"}"#, "sessionId"),
            (r#"{"sessionId":"s-1","guestId":"g-1"}"#, "sessionId"),
        ] {
            assert_eq!(
                PreviewBody::parse(body.as_bytes()).unwrap_err().field(),
                Some(field)
            );
        }
        let preview = WebhookPreview {
            is_wanted: true,
            body: Some("canary".into()),
        };
        assert!(!format!("{preview:?}").contains("canary"));
    }

    #[test]
    fn replay_body_has_an_optional_time() {
        let since = parse_rfc3339("2026-11-22T12:30:00Z");
        let body = ReplayBody { since };
        assert_eq!(ReplayBody::parse(&serde_json::to_vec(&body).unwrap()), Ok(body));
        assert_eq!(ReplayBody::parse(b"{}"), Ok(ReplayBody::default()));
        for (body, field) in [(r#"{"since":"yesterday"}"#, "since"), (r#"{"from":1}"#, "from")] {
            assert_eq!(
                ReplayBody::parse(body.as_bytes()).unwrap_err().field(),
                Some(field)
            );
        }
    }
}
