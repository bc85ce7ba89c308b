//! The funnel state of one session.

use std::time::{Duration, Instant};

use crate::{EndReason, SessionStage};

/// The funnel state of one session. It only moves forward, and reports each step once.
///
/// All events of a session must go to one [`Metrics`](crate::Metrics).
#[derive(Clone, Copy, Debug)]
pub struct Journey {
    created: Instant,
    first_message: Option<Instant>,
    stage: SessionStage,
    ended: bool,
}

impl Journey {
    /// The journey of a new session.
    pub fn begin(now: Instant) -> (Self, Event) {
        let journey = Self::resumed(SessionStage::Created, now, None);
        (journey, Event(Kind::Created))
    }

    /// The journey of a stored open session, which [`Metrics::restore`](crate::Metrics::restore) has counted. `first_message` is
    /// the time of the guest's first message. Without it the time to the first reply is not measured.
    #[must_use]
    pub fn resumed(stage: SessionStage, created: Instant, first_message: Option<Instant>) -> Self {
        Self {
            created,
            first_message,
            stage,
            ended: false,
        }
    }

    /// Records that the session reached `stage`, and with it every earlier stage.
    ///
    /// `None` if it has reached `stage` before or has ended, and for a reply before the guest's first message.
    pub fn reach(&mut self, stage: SessionStage, now: Instant) -> Option<Event> {
        let is_unsolicited =
            stage == SessionStage::FirstReply && self.stage < SessionStage::FirstGuestMessage;
        if self.ended || stage <= self.stage || is_unsolicited {
            return None;
        }
        let from = std::mem::replace(&mut self.stage, stage);
        if stage == SessionStage::FirstGuestMessage {
            self.first_message = Some(now);
        }
        let first_message = self.first_message.filter(|_| stage == SessionStage::FirstReply);
        let reply_time = first_message.map(|first_message| now.saturating_duration_since(first_message));
        let to = stage;
        Some(Event(Kind::Reached { from, to, reply_time }))
    }

    /// Records the end of the session. `None` if it has ended before: the first reason counts.
    pub fn end(&mut self, reason: EndReason, now: Instant) -> Option<Event> {
        if std::mem::replace(&mut self.ended, true) {
            return None;
        }
        Some(Event(Kind::Ended {
            stage: self.stage,
            reason,
            duration: now.saturating_duration_since(self.created),
        }))
    }

    /// The stage of the session.
    #[must_use]
    pub fn stage(&self) -> SessionStage {
        self.stage
    }
}

/// A step of a [`Journey`], for [`Metrics::record`](crate::Metrics::record).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "an event that is not recorded is missing from every figure"]
pub struct Event(pub(crate) Kind);

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
        duration: Duration,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch() -> Instant {
        #[expect(
            clippy::disallowed_methods,
            reason = "an Instant can be had from nowhere else"
        )]
        Instant::now()
    }

    #[test]
    fn journey_reports_each_step_once_and_never_backward() {
        let start = epoch();
        let (mut journey, event) = Journey::begin(start);
        assert_eq!(event, Event(Kind::Created));
        assert_eq!(journey.reach(SessionStage::Created, start), None);
        let skipped = journey.reach(SessionStage::Configured, start);
        assert_eq!(
            skipped,
            Some(Event(Kind::Reached {
                from: SessionStage::Created,
                to: SessionStage::Configured,
                reply_time: None
            }))
        );
        assert_eq!(journey.reach(SessionStage::Connected, start), None);
        assert!(journey.end(EndReason::Agent, start).is_some());
        assert_eq!(journey.end(EndReason::Error, start), None);
        assert_eq!(journey.reach(SessionStage::FirstGuestMessage, start), None);
        assert!(journey.ended);
    }

    #[test]
    fn greeting_is_not_a_reply() {
        let start = epoch();
        let (mut journey, _) = Journey::begin(start);
        assert_eq!(journey.reach(SessionStage::FirstReply, start), None);
        assert_eq!(journey.stage(), SessionStage::Created);
        let _ = journey.reach(SessionStage::FirstGuestMessage, start + Duration::from_secs(2));
        assert_eq!(
            journey.reach(SessionStage::FirstReply, start + Duration::from_secs(5)),
            Some(Event(Kind::Reached {
                from: SessionStage::FirstGuestMessage,
                to: SessionStage::FirstReply,
                reply_time: Some(Duration::from_secs(3))
            }))
        );
    }

    #[test]
    fn journey_has_at_most_40_bytes() {
        assert!(size_of::<Journey>() <= 40);
    }
}
