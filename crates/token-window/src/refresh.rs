//! The state machine that refreshes one token.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use genesys_api::Problem;
use genesys_api::retry::Backoff;
use secrecy::SecretString;

use crate::{Jitter, Tokens, TokensError, Window};

/// Waits between attempts. Our choice: the cap bounds the delay after the end of an outage.
const BACKOFF: Backoff = Backoff {
    base: Duration::from_millis(500),
    cap: Duration::from_secs(300),
};

/// Time for which a session without a known end is refreshed in vain. Our choice: the default lifetime of Genesys' refresh
/// tokens.
const UNKNOWN_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Capacity of the event queue. A full queue drops its oldest event; [`Refresh::status`] stays exact.
const MAX_EVENTS: usize = 16;

/// The state machine of one token: refreshes it in its [`Window`], one attempt at a time.
///
/// It does no I/O. A driver calls [`handle_timeout`](Self::handle_timeout) at the time that
/// [`poll_timeout`](Self::poll_timeout) returns, runs the attempt that [`poll_attempt`](Self::poll_attempt) returns, and
/// reports its outcome exactly once. [`TokenManager`](crate::TokenManager) is such a driver.
///
/// - The access token is served until its expiry, whether or not refreshes fail.
/// - A refresh token is never presented after its successor is stored: both tokens are replaced together.
/// - Any failure except [`RefreshError::Refused`] is retried with the same refresh token: silence and server errors do
///   not prove that the session has ended. The waits have full jitter, 0.5 s doubling to 5 minutes.
/// - Retries end when the session can no longer be live: at the end of [`Tokens::refresh_lifetime`], or 24 hours after
///   the first failed attempt. Near that end a wait is at most half of the remaining time.
#[derive(Debug)]
pub struct Refresh {
    window: Window,
    jitter: Jitter,
    tokens: Tokens,
    expires_at: Instant,
    /// End of the refresh token, if it is known.
    ends_at: Option<Instant>,
    expiry_emitted: bool,
    generation: u64,
    attempts: u32,
    /// Start of the first attempt since the last success that failed.
    failing_since: Option<Instant>,
    state: State,
    events: VecDeque<Event>,
}

#[derive(Debug)]
enum State {
    InFlight { since: Instant },
    Ended,
    Waiting { until: Instant, reason: Reason },
}

impl Refresh {
    /// Starts with `tokens`, whose request was sent at `sent_at`. Their generation is 0.
    #[must_use]
    pub fn new(tokens: Tokens, window: Window, jitter: Jitter, sent_at: Instant) -> Self {
        Self {
            window,
            jitter,
            expires_at: sent_at + tokens.lifetime(),
            ends_at: tokens.refresh_lifetime().map(|lifetime| sent_at + lifetime),
            expiry_emitted: false,
            generation: 0,
            attempts: 0,
            failing_since: None,
            state: State::Waiting {
                until: window.refresh_at(tokens.refreshable_for(), jitter, sent_at),
                reason: Reason::Refresh,
            },
            tokens,
            events: VecDeque::new(),
        }
    }

    /// Emits [`Event::Expired`] if the token has expired by `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        if !self.expiry_emitted && now >= self.expires_at {
            self.expiry_emitted = true;
            self.emit(Event::Expired);
        }
    }

    /// Returns the attempt to make, if one is due and none is in flight.
    pub fn poll_attempt(&mut self, now: Instant) -> Option<RefreshAttempt> {
        if !self.is_due(now) {
            return None;
        }
        self.state = State::InFlight { since: now };
        self.attempts = self.attempts.saturating_add(1);
        Some(RefreshAttempt {
            number: self.attempts,
            generation: self.generation,
        })
    }

    /// Whether an attempt is due and none is in flight.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        matches!(self.state, State::Waiting { until, .. } if until <= now)
    }

    /// Stores the tokens that an attempt brought. Their lifetime counts from the start of the attempt.
    ///
    /// An attempt that is not the one in flight is ignored.
    pub fn handle_refreshed(&mut self, attempt: RefreshAttempt, tokens: Tokens) {
        let Some(sent_at) = self.in_flight_since(&attempt) else {
            return;
        };
        self.generation += 1;
        *self = Self {
            generation: self.generation,
            events: std::mem::take(&mut self.events),
            ..Self::new(tokens, self.window, self.jitter, sent_at)
        };
        self.emit(Event::Refreshed {
            generation: self.generation,
        });
    }

    /// Schedules a retry after a failed attempt, or ends the refresh. `random` is any fresh random number.
    ///
    /// An attempt that is not the one in flight is ignored.
    pub fn handle_failed(&mut self, attempt: RefreshAttempt, error: RefreshError, random: u64, now: Instant) {
        let Some(sent_at) = self.in_flight_since(&attempt) else {
            return;
        };
        let failing_since = *self.failing_since.get_or_insert(sent_at);
        let ends_at = self.ends_at.unwrap_or(failing_since + UNKNOWN_LIFETIME);
        let remaining = ends_at.saturating_duration_since(now);
        let retry_after = match error {
            RefreshError::Transient { retry_after } | RefreshError::Unknown { retry_after } => retry_after,
            RefreshError::Refused => None,
        };
        if error == RefreshError::Refused || remaining.is_zero() {
            self.state = State::Ended;
            self.emit(Event::ReauthRequired);
            return;
        }
        let wait = BACKOFF.wait(self.attempts - 1, retry_after, random);
        let next_in = wait.min(BACKOFF.base.max(remaining / 2));
        self.state = State::Waiting {
            until: now + next_in,
            reason: Reason::Retry,
        };
        let attempt = self.attempts;
        self.emit(match error {
            RefreshError::Unknown { .. } => Event::OutcomeUnknown { attempt, next_in },
            _ => Event::Failed { attempt, next_in },
        });
    }

    /// Makes a refresh due before the window opens. An attempt in flight is kept, and a backoff is not shortened, so
    /// repeated calls cannot overload a failing service.
    pub fn refresh_now(&mut self, now: Instant) {
        if let State::Waiting {
            until,
            reason: Reason::Refresh,
        } = &mut self.state
        {
            *until = now.min(*until);
        }
    }

    /// Returns the next deadline and its reason. At that time call [`handle_timeout`](Self::handle_timeout) and
    /// [`poll_attempt`](Self::poll_attempt).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        let attempt = match self.state {
            State::Waiting { until, reason } => Some((until, reason)),
            State::InFlight { .. } | State::Ended => None,
        };
        let expiry = self.expiry_timeout().map(|at| (at, Reason::Expire));
        attempt.into_iter().chain(expiry).min_by_key(|(at, _)| *at)
    }

    /// The expiry, if it has not been emitted.
    pub(crate) fn expiry_timeout(&self) -> Option<Instant> {
        (!self.expiry_emitted).then_some(self.expires_at)
    }

    /// Returns the oldest event that has not been read.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The access token, unless it has expired.
    #[must_use]
    pub fn access(&self, now: Instant) -> Option<&SecretString> {
        (now < self.expires_at).then_some(self.tokens.access())
    }

    /// The current tokens.
    #[must_use]
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// The key of the refresh of the current tokens, made now if there is none.
    #[cfg(feature = "client")]
    pub(crate) fn ensure_idempotency_key(&mut self) -> genesys_api::IdempotencyKey {
        self.tokens.ensure_idempotency_key()
    }

    /// Number of refreshes since the start.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Expiry of the access token.
    #[must_use]
    pub fn expires_at(&self) -> Instant {
        self.expires_at
    }

    /// The current state.
    #[must_use]
    pub fn status(&self) -> Status {
        match self.state {
            State::InFlight { .. } => Status::Refreshing,
            State::Ended => Status::ReauthRequired,
            State::Waiting {
                until,
                reason: Reason::Retry,
            } => Status::BackingOff {
                attempt: self.attempts,
                until,
            },
            State::Waiting { .. } => Status::Idle,
        }
    }

    fn in_flight_since(&self, attempt: &RefreshAttempt) -> Option<Instant> {
        match self.state {
            State::InFlight { since }
                if (attempt.generation, attempt.number) == (self.generation, self.attempts) =>
            {
                Some(since)
            }
            _ => None,
        }
    }

    fn emit(&mut self, event: Event) {
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}

/// One attempt to refresh a token. It cannot be copied: its outcome is reported once.
#[derive(Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RefreshAttempt {
    /// Number of the attempt since the last success, from 1.
    pub number: u32,
    /// Generation of the token to refresh.
    pub generation: u64,
}

/// The outcome of an attempt that brought no tokens.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RefreshError {
    /// The service will not refresh this token, now or later. Only a definite answer is a refusal: 400 `invalid_grant`
    /// (RFC 6749 section 5.2), or a code that the service documents. A 401, a 403 or the page of a proxy is
    /// [`Unknown`](Self::Unknown).
    #[error(
        "cannot refresh the token: the service refused it, create a new session or have the user sign in again"
    )]
    Refused,
    /// The service certainly did not act: nothing was sent, or it answered 429. The attempt is retried.
    #[error("cannot refresh the token now: the service did not process the request, it is retried")]
    Transient {
        /// Wait that the service requested. At most 300 seconds are honored.
        retry_after: Option<Duration>,
    },
    /// The service may have acted on the request, and the reply is lost or has no meaning. A 503 is such a reply: proxies
    /// also send it for a connection that was lost after the request.
    #[error("cannot determine the outcome of the refresh: the refresh token may be used up, it is retried")]
    Unknown {
        /// Wait that the service requested. At most 300 seconds are honored.
        retry_after: Option<Duration>,
    },
}

impl From<&Problem> for RefreshError {
    /// 400 `invalid_grant` is a refusal, 429 is transient, and any other reply is unknown.
    fn from(problem: &Problem) -> Self {
        let retry_after = problem.retry_after;
        match (problem.status, problem.code.as_str()) {
            (400, "invalid_grant") => Self::Refused,
            (429, _) => Self::Transient { retry_after },
            _ => Self::Unknown { retry_after },
        }
    }
}

impl From<TokensError> for RefreshError {
    /// The service issued tokens, and they are unusable: the presented refresh token may be used up.
    fn from(_: TokensError) -> Self {
        Self::Unknown { retry_after: None }
    }
}

/// A change of the token's state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The access token has expired and is no longer served. Refreshing continues, and a success ends this state.
    Expired,
    /// An attempt failed and will be retried.
    Failed {
        /// Number of the attempt since the last success, from 1.
        attempt: u32,
        /// Time until the next attempt.
        next_in: Duration,
    },
    /// The outcome of an attempt is unknown. Its refresh token may be used up, and is presented again.
    OutcomeUnknown {
        /// Number of the attempt since the last success, from 1.
        attempt: u32,
        /// Time until the next attempt.
        next_in: Duration,
    },
    /// The token cannot be refreshed: it was refused, or the session can no longer be live. It is served until its expiry.
    /// Create a new session, or have the user sign in again.
    ReauthRequired,
    /// New tokens are stored.
    Refreshed {
        /// Generation of the new tokens.
        generation: u64,
    },
}

/// The reason for a deadline.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// The access token expires.
    Expire,
    /// The token enters its refresh window.
    Refresh,
    /// The backoff after a failure ends.
    Retry,
}

/// The state of a token's refresh.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Status {
    /// Waiting for a retry.
    BackingOff {
        /// Number of the attempt that failed.
        attempt: u32,
        /// Time of the next attempt.
        until: Instant,
    },
    /// Waiting for the refresh window.
    Idle,
    /// Ended: the token cannot be refreshed.
    ReauthRequired,
    /// An attempt is in flight.
    Refreshing,
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
