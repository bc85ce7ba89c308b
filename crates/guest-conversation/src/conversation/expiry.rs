//! Expiry of the session, and the service's health check that confirms it.

use std::time::{Duration, Instant};

use genesys_api::{Now, limits};
use time::OffsetDateTime;

/// Time before the expiry at which the application is notified (Genesys' mobile SDK: the same).
const NOTICE: time::Duration = time::Duration::seconds(limits::EXPIRY_NOTICE.as_secs().cast_signed());
/// Time before the expiry at which an echo confirms it (the same).
const REFRESH: time::Duration = time::Duration::seconds(310);
/// Time after the expiry at which an echo checks whether the session is over (the same).
const GRACE_PERIOD: time::Duration = time::Duration::seconds(2);
/// Longest wait for that echo. Our choice.
const LAST_ANSWER: Duration = Duration::from_secs(10);
/// Time until the next echo, if the session outlives the expiry that the service named. Our choice.
const RECHECK: Duration = Duration::from_secs(60);

/// The expiry of the session, a time of the service's wall clock.
///
/// A deadline is a monotonic instant, computed when the expiry arrived, and compared with the wall clock when it is due.
/// A clock that was set, or a machine that slept, costs one comparison. An expiry that is past when it arrives shows that
/// the clocks differ: it is stored without a deadline.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    expires_at: Option<OffsetDateTime>,
    /// Whether the service sent it, instead of a computed one.
    from_service: bool,
    phase: ExpiryPhase,
    deadline: Option<Instant>,
    queued: Option<Initiator>,
    sent: Option<Initiator>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum ExpiryPhase {
    #[default]
    Early,
    /// An echo was sent to confirm the expiry.
    Confirmed,
    /// The application was notified.
    Announced,
    /// The time has passed, and the last echo was sent.
    Overdue,
}

impl ExpiryPhase {
    /// The end of the phase, if the session expires `at` that time.
    fn end(self, at: OffsetDateTime) -> OffsetDateTime {
        match self {
            Self::Early => at.saturating_sub(REFRESH),
            Self::Confirmed => at.saturating_sub(NOTICE),
            Self::Announced | Self::Overdue => at.saturating_add(GRACE_PERIOD),
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Initiator {
    Machine,
    Application,
}

/// A change that the time brings.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ExpiryEvent {
    Expired,
    Expiring(OffsetDateTime),
}

impl Expiry {
    pub(super) fn expires_at(&self) -> Option<OffsetDateTime> {
        self.expires_at
    }

    /// The service sent the expiry.
    pub(super) fn set(&mut self, expires_at: Option<OffsetDateTime>, now: Now) {
        let Some(at) = expires_at else { return };
        self.from_service = true;
        self.schedule(at, now);
    }

    /// A message extends the session by `duration` from now, unless the service sends an expiry of its own.
    pub(super) fn extend(&mut self, duration: Option<Duration>, now: Now) {
        let at = duration.and_then(|duration| now.utc.checked_add(duration.try_into().ok()?));
        if let Some(at) = at.filter(|_| !self.from_service) {
            self.schedule(at, now);
        }
    }

    fn schedule(&mut self, at: OffsetDateTime, now: Now) {
        self.expires_at = Some(at);
        self.phase = if at <= now.utc || now.until(at) > REFRESH {
            ExpiryPhase::Early
        } else if matches!(self.phase, ExpiryPhase::Announced | ExpiryPhase::Overdue) {
            ExpiryPhase::Announced
        } else {
            ExpiryPhase::Confirmed
        };
        self.deadline = (at > now.utc).then(|| now.deadline(self.phase.end(at)));
    }

    /// The application requests an echo. At most one waits.
    pub(super) fn request_echo(&mut self) {
        self.queued = Some(Initiator::Application);
    }

    pub(super) fn has_queued_echo(&self) -> bool {
        self.queued.is_some()
    }

    /// Handles a sent echo.
    pub(super) fn handle_echo_sent(&mut self) {
        self.sent = self.sent.max(self.queued.take());
    }

    /// Handles an answered echo. Returns whether the application had requested it.
    pub(super) fn handle_echo(&mut self, expires_at: Option<OffsetDateTime>, now: Now) -> bool {
        let initiator = self.sent.take();
        if self.phase == ExpiryPhase::Overdue {
            self.phase = ExpiryPhase::Announced;
            self.deadline = Some(now.instant + RECHECK);
        }
        if expires_at.is_some_and(|at| at > now.utc) {
            self.set(expires_at, now);
        }
        initiator == Some(Initiator::Application)
    }

    /// Handles a temporary refusal of an echo: it is sent again.
    pub(super) fn handle_refused(&mut self) {
        self.queued = self.queued.max(self.sent.take());
    }

    /// Handles a lost connection. The answer is lost too.
    pub(super) fn handle_lost(&mut self) {
        self.handle_refused();
        if self.phase == ExpiryPhase::Overdue {
            self.phase = ExpiryPhase::Announced;
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Now) -> Option<ExpiryEvent> {
        self.deadline.take_if(|deadline| *deadline <= now.instant)?;
        let at = self.expires_at?;
        if self.phase == ExpiryPhase::Overdue {
            if self.queued.is_none() {
                self.phase = ExpiryPhase::Early;
                return Some(ExpiryEvent::Expired);
            }
            // the limit of echoes delays it
            self.deadline = Some(now.instant + LAST_ANSWER);
            return None;
        }
        let end = self.phase.end(at);
        if now.utc < end {
            self.deadline = Some(now.deadline(end));
            return None;
        }
        let next = match self.phase {
            ExpiryPhase::Early => ExpiryPhase::Confirmed,
            ExpiryPhase::Confirmed => ExpiryPhase::Announced,
            ExpiryPhase::Announced | ExpiryPhase::Overdue => ExpiryPhase::Overdue,
        };
        self.phase = next;
        self.deadline = Some(match next {
            ExpiryPhase::Overdue => now.instant + LAST_ANSWER,
            _ => now.deadline(next.end(at)),
        });
        if next == ExpiryPhase::Announced {
            return Some(ExpiryEvent::Expiring(at));
        }
        self.queued = self.queued.max(Some(Initiator::Machine));
        None
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }
}
