//! The funnel state of one session.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::timing::Timing;
use crate::{EndReason, SessionStage};

/// The funnel state of one session. It only moves forward, and reports each step once. A store keeps it with the session.
///
/// All events of a session must go to one [`Group`](crate::Group).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Journey {
    stage: SessionStage,
    /// Begin of the time that the next stage ends, in Unix milliseconds: the connection, or the guest's first message.
    #[serde(default, rename = "since", alias = "first_message_at", alias = "asked_at")]
    since_ms: Option<i64>,
    /// Time from the guest's first message to the first reply.
    #[serde(default, alias = "waited_ms")]
    reply_time_ms: Option<u64>,
    #[serde(default)]
    end_reason: Option<EndReason>,
}

impl Journey {
    /// The journey of a session that is created `now`.
    pub fn begin(now: OffsetDateTime) -> (Self, Event) {
        let journey = Self {
            stage: SessionStage::Created,
            since_ms: None,
            reply_time_ms: None,
            end_reason: None,
        };
        (journey, Event(Kind::created(now)))
    }

    /// Records that the session reached `stage`, and with it every earlier stage.
    ///
    /// `None` if it has reached `stage` before or has ended, and for a reply before the guest's first message.
    pub fn reach(&mut self, stage: SessionStage, now: OffsetDateTime) -> Option<Event> {
        let is_unsolicited =
            stage == SessionStage::FirstReply && self.stage < SessionStage::FirstGuestMessage;
        if self.end_reason.is_some() || stage <= self.stage || is_unsolicited {
            return None;
        }
        let from = std::mem::replace(&mut self.stage, stage);
        let now = i64::try_from(now.unix_timestamp_nanos() / 1_000_000).ok();
        let passed = now
            .zip(self.since_ms)
            .map(|(now, since)| now.saturating_sub(since));
        // none if the clock was set back
        let passed = passed.and_then(|passed| u64::try_from(passed).ok());
        let time = match (from, stage) {
            (SessionStage::Connected, SessionStage::Configured) => Some(Timing::Connect),
            (_, SessionStage::FirstReply) => {
                self.reply_time_ms = passed;
                Some(Timing::FirstReply)
            }
            _ => None,
        };
        if matches!(stage, SessionStage::Connected | SessionStage::FirstGuestMessage) {
            self.since_ms = now;
        }
        Some(Event(Kind::Reached {
            from,
            to: stage,
            time: time.zip(passed.map(Duration::from_millis)),
        }))
    }

    /// Records the end of the session after this lifetime. `None` if it has ended before: the first reason counts.
    pub fn end(&mut self, reason: EndReason, lifetime: Duration) -> Option<Event> {
        if self.end_reason.is_some() {
            return None;
        }
        self.end_reason = Some(reason);
        Some(Event(Kind::Ended {
            stage: self.stage,
            reason,
            lifetime,
        }))
    }

    /// The stage of the session.
    #[must_use]
    pub fn stage(&self) -> SessionStage {
        self.stage
    }

    /// The reason of the end, if the session has ended.
    #[must_use]
    pub fn end_reason(&self) -> Option<EndReason> {
        self.end_reason
    }

    /// The events that have led here. A session that has ended did so after this lifetime. The time to its connection is
    /// not kept.
    pub fn events(&self, created_at: OffsetDateTime, lifetime: Duration) -> impl Iterator<Item = Event> {
        let reply_time = self.reply_time_ms.map(Duration::from_millis);
        let reply_time = reply_time.filter(|_| self.stage == SessionStage::FirstReply);
        let reached = (self.stage > SessionStage::Created).then_some(Kind::Reached {
            from: SessionStage::Created,
            to: self.stage,
            time: reply_time.map(|time| (Timing::FirstReply, time)),
        });
        let ended = self.end_reason.map(|reason| Kind::Ended {
            stage: self.stage,
            reason,
            lifetime,
        });
        let kinds = [Kind::created(created_at)]
            .into_iter()
            .chain(reached)
            .chain(ended);
        kinds.map(Event)
    }
}

/// A step of a [`Journey`], for [`Group::record`](crate::Group::record).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "an event that is not recorded is missing from every figure"]
pub struct Event(pub(crate) Kind);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Created {
        /// In Unix seconds.
        at: u64,
    },
    Reached {
        from: SessionStage,
        to: SessionStage,
        time: Option<(Timing, Duration)>,
    },
    Ended {
        stage: SessionStage,
        reason: EndReason,
        lifetime: Duration,
    },
}

impl Kind {
    fn created(at: OffsetDateTime) -> Self {
        Self::Created {
            at: at.unix_timestamp().try_into().unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    //! Steps, replies and stored journeys.

    use super::*;

    const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    #[test]
    fn journey_reports_each_step_once_and_never_backward() {
        let (mut journey, event) = Journey::begin(START);
        assert_eq!(event, Event(Kind::Created { at: 0 }));
        assert_eq!(journey.reach(SessionStage::Created, START), None);
        let skipped = journey.reach(SessionStage::Configured, START);
        assert_eq!(
            skipped,
            Some(Event(Kind::Reached {
                from: SessionStage::Created,
                to: SessionStage::Configured,
                time: None
            }))
        );
        assert_eq!(journey.reach(SessionStage::Connected, START), None);
        assert!(journey.end(EndReason::Agent, Duration::ZERO).is_some());
        assert_eq!(journey.end(EndReason::Error, Duration::ZERO), None);
        assert_eq!(journey.reach(SessionStage::FirstGuestMessage, START), None);
        assert_eq!(journey.end_reason(), Some(EndReason::Agent));
    }

    #[test]
    fn greeting_is_not_a_reply() {
        let (mut journey, _) = Journey::begin(START);
        assert_eq!(journey.reach(SessionStage::FirstReply, START), None);
        assert_eq!(journey.stage(), SessionStage::Created);
        let _ = journey.reach(SessionStage::FirstGuestMessage, START + Duration::from_secs(2));
        assert_eq!(
            journey.reach(SessionStage::FirstReply, START + Duration::from_secs(5)),
            Some(Event(Kind::Reached {
                from: SessionStage::FirstGuestMessage,
                to: SessionStage::FirstReply,
                time: Some((Timing::FirstReply, Duration::from_secs(3)))
            }))
        );
    }

    #[test]
    fn connect_time_is_measured_from_connected_to_configured() {
        let (mut journey, _) = Journey::begin(START);
        let _ = journey.reach(SessionStage::Connected, START + Duration::from_secs(2));
        let configured = journey.reach(SessionStage::Configured, START + Duration::from_secs(3));
        let time = Some((Timing::Connect, Duration::from_secs(1)));
        assert!(matches!(configured, Some(Event(Kind::Reached { time: found, .. })) if found == time));
        let (mut resumed, _) = Journey::begin(START);
        let configured = resumed.reach(SessionStage::Configured, START + Duration::from_secs(3));
        assert!(matches!(
            configured,
            Some(Event(Kind::Reached { time: None, .. }))
        ));
    }

    #[test]
    fn journey_of_an_earlier_version_is_read() {
        let (mut journey, _) = Journey::begin(START);
        let _ = journey.reach(SessionStage::FirstGuestMessage, START);
        let _ = journey.reach(SessionStage::FirstReply, START + Duration::from_millis(40));
        let mut json = serde_json::to_value(journey).unwrap();
        assert_eq!(serde_json::from_value::<Journey>(json.clone()).unwrap(), journey);
        let fields = json.as_object_mut().unwrap();
        for (name, earlier) in [("since", "asked_at"), ("reply_time_ms", "waited_ms")] {
            let value = fields.remove(name).unwrap();
            fields.insert(earlier.to_owned(), value);
        }
        assert_eq!(serde_json::from_value::<Journey>(json).unwrap(), journey);
    }

    #[test]
    fn journey_has_at_most_40_bytes() {
        assert!(size_of::<Journey>() <= 40);
    }
}
