//! The funnel state of one session.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::histogram::Histogram;
use crate::{EndReason, SessionStage};

/// The funnel state of one session. It only moves forward, and reports each step once. A store keeps it with the session.
///
/// All events of a session must go to one [`Metrics`](crate::Metrics).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Journey {
    stage: SessionStage,
    /// Time of the guest's first message, in Unix milliseconds.
    #[serde(default, rename = "first_message_at", alias = "asked_at")]
    first_message_ms: Option<i64>,
    /// Time from the guest's first message to the first reply.
    #[serde(default, alias = "waited_ms")]
    reply_time_ms: Option<u64>,
    #[serde(default)]
    end_reason: Option<EndReason>,
}

impl Journey {
    /// The journey of a new session.
    pub fn begin() -> (Self, Event) {
        let journey = Self {
            stage: SessionStage::Created,
            first_message_ms: None,
            reply_time_ms: None,
            end_reason: None,
        };
        (journey, Event(Kind::Created))
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
        if stage == SessionStage::FirstGuestMessage {
            self.first_message_ms = now;
        }
        if stage == SessionStage::FirstReply {
            let reply_time = now
                .zip(self.first_message_ms)
                .map(|(now, sent)| now.saturating_sub(sent));
            // none if the clock was set back
            self.reply_time_ms = reply_time.and_then(|time| u64::try_from(time).ok());
        }
        Some(self.reached(from))
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

    /// The events that have led here. A session that has ended did so after this lifetime.
    pub fn events(&self, lifetime: Duration) -> impl Iterator<Item = Event> {
        let reached = (self.stage > SessionStage::Created).then(|| self.reached(SessionStage::Created));
        let ended = self.end_reason.map(|reason| {
            Event(Kind::Ended {
                stage: self.stage,
                reason,
                lifetime,
            })
        });
        [Event(Kind::Created)].into_iter().chain(reached).chain(ended)
    }

    fn reached(&self, from: SessionStage) -> Event {
        Event(Kind::Reached {
            from,
            to: self.stage,
            reply_time: self.reply_time(),
        })
    }

    fn reply_time(&self) -> Option<Duration> {
        let reply_time = self.reply_time_ms.map(Duration::from_millis);
        reply_time.filter(|_| self.stage == SessionStage::FirstReply)
    }
}

/// First words of the names of totals.
pub(crate) const REACHED: &str = "reached";
pub(crate) const ENDED: &str = "end";
/// An end in a store of an earlier version, which has no totals of the stages.
pub(crate) const ENDED_UNCOUNTED: &str = "ended";
pub(crate) const LIFETIME: &str = "duration";
pub(crate) const REPLY_TIME: &str = "reply_time";

/// A step of a [`Journey`], for [`Metrics::record`](crate::Metrics::record).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "an event that is not recorded is missing from every figure"]
pub struct Event(pub(crate) Kind);

impl Event {
    /// The totals to which it adds, with its additions.
    ///
    /// A store adds them up by name in the transaction of the step, so that a restart reads no session.
    /// [`Metrics::restore`](crate::Metrics::restore) reads them.
    #[must_use]
    pub fn totals(&self) -> Vec<(String, u64)> {
        let reached = |stage: &SessionStage| (format!("{REACHED} {}", stage.name()), 1);
        let (mut totals, duration) = match self.0 {
            Kind::Created => (vec![reached(&SessionStage::Created)], None),
            Kind::Reached { from, to, reply_time } => {
                let stages = &SessionStage::ALL[from as usize + 1..=to as usize];
                let duration = reply_time.map(|time| (REPLY_TIME, time));
                (stages.iter().map(reached).collect(), duration)
            }
            Kind::Ended {
                stage,
                reason,
                lifetime,
            } => {
                let name = format!("{ENDED} {} {}", stage.name(), reason.name());
                (vec![(name, 1)], Some((LIFETIME, lifetime)))
            }
        };
        if let Some((kind, duration)) = duration {
            let additions = Histogram::totals(duration).into_iter();
            totals.extend(additions.map(|(name, addition)| (format!("{kind} {name}"), addition)));
        }
        totals
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Created,
    Reached {
        from: SessionStage,
        to: SessionStage,
        reply_time: Option<Duration>,
    },
    Ended {
        stage: SessionStage,
        reason: EndReason,
        lifetime: Duration,
    },
}

#[cfg(test)]
mod tests {
    //! Steps, replies and stored journeys.

    use super::*;

    const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    #[test]
    fn journey_reports_each_step_once_and_never_backward() {
        let (mut journey, event) = Journey::begin();
        assert_eq!(event, Event(Kind::Created));
        assert_eq!(journey.reach(SessionStage::Created, START), None);
        let skipped = journey.reach(SessionStage::Configured, START);
        assert_eq!(
            skipped,
            Some(Event(Kind::Reached {
                from: SessionStage::Created,
                to: SessionStage::Configured,
                reply_time: None
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
        let (mut journey, _) = Journey::begin();
        assert_eq!(journey.reach(SessionStage::FirstReply, START), None);
        assert_eq!(journey.stage(), SessionStage::Created);
        let _ = journey.reach(SessionStage::FirstGuestMessage, START + Duration::from_secs(2));
        assert_eq!(
            journey.reach(SessionStage::FirstReply, START + Duration::from_secs(5)),
            Some(Event(Kind::Reached {
                from: SessionStage::FirstGuestMessage,
                to: SessionStage::FirstReply,
                reply_time: Some(Duration::from_secs(3))
            }))
        );
    }

    #[test]
    fn journey_of_an_earlier_version_is_read() {
        let (mut journey, _) = Journey::begin();
        let _ = journey.reach(SessionStage::FirstGuestMessage, START);
        let _ = journey.reach(SessionStage::FirstReply, START + Duration::from_millis(40));
        let mut json = serde_json::to_value(journey).unwrap();
        assert_eq!(serde_json::from_value::<Journey>(json.clone()).unwrap(), journey);
        let fields = json.as_object_mut().unwrap();
        for (name, earlier) in [("first_message_at", "asked_at"), ("reply_time_ms", "waited_ms")] {
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
