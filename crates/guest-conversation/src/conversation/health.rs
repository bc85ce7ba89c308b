//! The service's own health check, and the session's end as it comes near.

use std::time::{Duration, Instant};

use genesys_api::{Now, limits};
use time::OffsetDateTime;

/// The application is told so long before the session expires (Genesys' mobile SDK: the same).
const NOTICE: time::Duration = time::Duration::seconds(limits::EXPIRY_NOTICE.as_secs().cast_signed());
/// And so long before that, an echo asks whether it is still true (the same).
const REFRESH: time::Duration = time::Duration::seconds(310);
/// So long after the expiry an echo asks whether it is over (the same).
const AFTERWARDS: time::Duration = time::Duration::seconds(2);
/// How long that echo may take. Our choice.
const LAST_ANSWER: Duration = Duration::from_secs(10);
/// When the service goes on beyond the expiry that it named: how long until it is asked again. Our choice.
const DISAGREEMENT: Duration = Duration::from_secs(60);

/// What is known of the session's health.
///
/// The expiry is a time of the service's wall clock. An alarm is a monotonic instant, computed when the expiry was
/// heard, and looked at again with the wall clock when it rings: a clock that was set, or a machine that slept, makes
/// it late or early by one look. An expiry that is past when it is heard shows that the clocks differ: it is noted,
/// and nothing follows from it.
#[derive(Debug, Default)]
pub(super) struct Health {
    expires_at: Option<OffsetDateTime>,
    /// The service said so itself.
    told: bool,
    stage: Stage,
    alarm: Option<Instant>,
    wanted: Option<Asker>,
    asked: Option<Asker>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Stage {
    #[default]
    Far,
    /// The expiry was confirmed, or at least asked for.
    Near,
    /// The application knows.
    Noticed,
    /// The time has passed, and the last question is out.
    Due,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Asker {
    Ourselves,
    Application,
}

/// What the time brings.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sign {
    Expired,
    Expiring(OffsetDateTime),
}

impl Health {
    pub(super) fn expires_at(&self) -> Option<OffsetDateTime> {
        self.expires_at
    }

    /// The service named the expiry.
    pub(super) fn learn(&mut self, expires_at: Option<OffsetDateTime>, now: Now) {
        let Some(at) = expires_at else { return };
        self.told = true;
        self.expect(at, now);
    }

    /// Something was said in the session, which lives for `duration` from now on unless the service says otherwise.
    pub(super) fn assume(&mut self, duration: Option<Duration>, now: Now) {
        let at = duration.and_then(|duration| now.utc.checked_add(duration.try_into().ok()?));
        if let Some(at) = at.filter(|_| !self.told) {
            self.expect(at, now);
        }
    }

    fn expect(&mut self, at: OffsetDateTime, now: Now) {
        self.expires_at = Some(at);
        let left = now.until(at);
        (self.stage, self.alarm) = if at <= now.utc {
            (Stage::Far, None)
        } else if left > REFRESH {
            (Stage::Far, Some(now.deadline(at.saturating_sub(REFRESH))))
        } else if matches!(self.stage, Stage::Noticed | Stage::Due) {
            (Stage::Noticed, Some(now.deadline(at.saturating_add(AFTERWARDS))))
        } else {
            (Stage::Near, Some(now.deadline(at.saturating_sub(NOTICE))))
        };
    }

    /// The service told by itself that the session expires.
    pub(super) fn note(&mut self, expires_at: Option<OffsetDateTime>) {
        self.told |= expires_at.is_some();
        self.expires_at = expires_at.or(self.expires_at);
    }

    /// The application asks. At most one question waits.
    pub(super) fn want(&mut self) {
        self.wanted = Some(Asker::Application);
    }

    pub(super) fn wants_echo(&self) -> bool {
        self.wanted.is_some()
    }

    /// The question left.
    pub(super) fn handle_asked(&mut self) {
        self.asked = self.asked.max(self.wanted.take());
    }

    /// The service answered; whether the application had asked.
    pub(super) fn handle_answer(&mut self, expires_at: Option<OffsetDateTime>, now: Now) -> bool {
        let asker = self.asked.take();
        if self.stage == Stage::Due {
            self.stage = Stage::Noticed;
            self.alarm = Some(now.instant + DISAGREEMENT);
        }
        if expires_at.is_some_and(|at| at > now.utc) {
            self.learn(expires_at, now);
        }
        asker == Some(Asker::Application)
    }

    /// The service would not answer now: it is asked again.
    pub(super) fn handle_refused(&mut self) {
        self.wanted = self.wanted.max(self.asked.take());
    }

    /// The socket is gone, and with it the answer.
    pub(super) fn handle_lost(&mut self) {
        self.handle_refused();
        if self.stage == Stage::Due {
            self.stage = Stage::Noticed;
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Now) -> Option<Sign> {
        self.alarm.take_if(|alarm| *alarm <= now.instant)?;
        let at = self.expires_at?;
        let (due, next) = match self.stage {
            Stage::Far => (at.saturating_sub(REFRESH), Stage::Near),
            Stage::Near => (at.saturating_sub(NOTICE), Stage::Noticed),
            Stage::Noticed => (at.saturating_add(AFTERWARDS), Stage::Due),
            Stage::Due if self.wanted.is_some() => {
                // the limit of echoes holds the question back
                self.alarm = Some(now.instant + LAST_ANSWER);
                return None;
            }
            Stage::Due => {
                self.stage = Stage::Far;
                return Some(Sign::Expired);
            }
        };
        if now.utc < due {
            self.alarm = Some(now.deadline(due));
            return None;
        }
        self.stage = next;
        match next {
            Stage::Far | Stage::Near => {
                self.wanted = self.wanted.max(Some(Asker::Ourselves));
                self.alarm = Some(now.deadline(at.saturating_sub(NOTICE)));
                None
            }
            Stage::Noticed => {
                self.alarm = Some(now.deadline(at.saturating_add(AFTERWARDS)));
                Some(Sign::Expiring(at))
            }
            Stage::Due => {
                self.wanted = self.wanted.max(Some(Asker::Ourselves));
                self.alarm = Some(now.instant + LAST_ANSWER);
                None
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.alarm
    }
}
