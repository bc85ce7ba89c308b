//! The handle of one token that is kept fresh.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use genesys_api::{Clock, IdempotencyKey, entropy};
use secrecy::SecretString;
use tokio::sync::{Notify, broadcast};

use crate::{
    DriverLimits, Event, Jitter, Refresh, RefreshDriver, RefreshError, Reservation, Status, Tokens, Window,
};

/// Events buffered for a slow listener. A listener that lags further loses the oldest.
const MAX_EVENTS: usize = 8;

/// Makes one attempt to refresh a token.
///
/// Implemented for closures and functions that take a [`RefreshRequest`] and return [`Tokens`].
pub trait Refresher: Send + Sync + 'static {
    /// Presents the current tokens to the service and returns the tokens that it issues.
    ///
    /// It is canceled after [`DriverLimits::attempt_timeout`]: no other attempt starts until it returns. The lifetime of
    /// the new tokens counts from the call.
    ///
    /// # Errors
    /// See [`RefreshError`]: it decides whether and when the next attempt follows.
    fn refresh(&self, request: &RefreshRequest) -> impl Future<Output = Result<Tokens, RefreshError>> + Send;

    /// Whether a refresh token may be presented again after [`RefreshError::Unknown`]. Default: `true`.
    ///
    /// Return `false` for a service that revokes the session when it sees a refresh token twice, whatever became of its
    /// reply. An unknown outcome then ends in [`Event::ReauthRequired`].
    fn retries_unknown(&self) -> bool {
        true
    }
}

impl<F, R> Refresher for F
where
    F: Fn(RefreshRequest) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Tokens, RefreshError>> + Send,
{
    fn refresh(&self, request: &RefreshRequest) -> impl Future<Output = Result<Tokens, RefreshError>> + Send {
        self(request.clone())
    }
}

/// One attempt to replace tokens.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RefreshRequest {
    /// The tokens to replace.
    pub current: Tokens,
    /// The key of this replacement, the same in each attempt. A service that supports the header `Idempotency-Key` answers
    /// a repeated attempt with the same tokens.
    pub idempotency_key: IdempotencyKey,
}

/// Keeps a token fresh in a background task. Clones share it; refreshing stops with the last of them.
#[derive(Clone, Debug)]
pub struct TokenManager {
    pub(crate) shared: Arc<Shared>,
}

/// The state that the clones of a manager share with the task.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) reservation: Reservation,
    /// Highest number of an attempt that callers wait for. Each is requested once.
    requested: AtomicU64,
    published: Mutex<Published>,
    /// Wakes the callers that wait for another view.
    changed: Notify,
}

#[derive(Debug)]
struct Published {
    view: View,
    /// Made for the first listener: most sessions have none.
    events: Option<broadcast::Sender<Event>>,
}

impl Shared {
    pub(crate) fn new(reservation: Reservation, view: View) -> Self {
        Self {
            reservation,
            requested: AtomicU64::new(0),
            published: Mutex::new(Published { view, events: None }),
            changed: Notify::new(),
        }
    }

    pub(crate) fn publish(&self, view: View, events: Vec<Event>) {
        let mut published = self.published();
        published.view = view;
        if let Some(sender) = &published.events {
            for event in events {
                // fails without a receiver
                let _ = sender.send(event);
            }
        }
        drop(published);
        self.changed.notify_waiters();
    }

    /// Publishes the end of the task, or of its session.
    pub(crate) fn stop(&self) {
        let mut published = self.published();
        published.view.is_stopped = true;
        published.events = None;
        drop(published);
        self.changed.notify_waiters();
    }

    fn published(&self) -> MutexGuard<'_, Published> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Instant {
        self.reservation.driver.clock.now().instant
    }

    fn view(&self) -> View {
        self.published().view.clone()
    }

    /// Waits until `done` returns a value for the view that was published last.
    async fn wait<T>(&self, mut done: impl FnMut(&View, Instant) -> Option<T>) -> T {
        loop {
            // created before the view is read, so that it misses no change
            let changed = self.changed.notified();
            if let Some(value) = done(&self.view(), self.now()) {
                return value;
            }
            changed.await;
        }
    }
}

/// The state that the task published last.
#[derive(Clone, Debug)]
pub(crate) struct View {
    tokens: Tokens,
    expires_at: Instant,
    generation: u64,
    status: Status,
    is_stopped: bool,
    /// Failed attempts in total. A change notifies a waiting caller that its attempt has ended.
    failures: u64,
}

impl TokenManager {
    /// Starts to refresh `tokens`, which were issued just now, in the default [`Window`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn spawn(tokens: Tokens, refresher: impl Refresher) -> Self {
        let clock = Clock::system();
        let jitter = Jitter(entropy::number());
        let refresh = Refresh::new(tokens, Window::default(), jitter, clock.now().instant);
        Self::spawn_with(refresh, refresher, clock)
    }

    /// Starts a task that drives `refresh`, for another window, jitter, start or clock. A [`RefreshDriver`] has one task for
    /// many tokens.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn spawn_with(refresh: Refresh, refresher: impl Refresher, clock: Clock) -> Self {
        let limits = DriverLimits {
            tokens: 1,
            ..DriverLimits::default()
        };
        let driver = RefreshDriver::spawn(limits, clock);
        driver
            .manage(refresh, refresher)
            .expect("the driver has room for one token")
    }

    /// Returns the access token: at once if it has not expired, otherwise after the attempt that is in flight or due.
    /// All waiting callers share its outcome. Canceling the wait cancels no attempt.
    ///
    /// # Errors
    /// If the token has expired, and the attempt failed, the next one is not due yet, or none can be made.
    pub async fn token(&self) -> Result<AccessToken, TokenError> {
        let failures = self.shared.view().failures;
        let token = |latest: &View, now| match now < latest.expires_at {
            true => Some(Ok(latest.token(now))),
            false => {
                let requested = latest.check(failures, now).and_then(|()| self.request(latest));
                requested.err().map(Err)
            }
        };
        self.shared.wait(token).await
    }

    /// Refreshes before the window opens, or joins the attempt in flight, and waits for the outcome. A backoff after a
    /// failure is not shortened.
    ///
    /// # Errors
    /// If the attempt failed, the next one is not due yet, or none can be made.
    pub async fn refresh_now(&self) -> Result<AccessToken, TokenError> {
        let before = self.shared.view();
        before.check(before.failures, self.shared.now())?;
        self.request(&before)?;
        let token = |latest: &View, now| match latest.generation > before.generation {
            true => Some(Ok(latest.token(now))),
            false => latest.check(before.failures, now).err().map(Err),
        };
        self.shared.wait(token).await
    }

    /// Requests the attempt that follows `latest`, before those that no caller waits for.
    fn request(&self, latest: &View) -> Result<(), TokenError> {
        let Shared {
            reservation,
            requested,
            ..
        } = &*self.shared;
        let attempt = latest.ended() + 1;
        if requested.fetch_max(attempt, Ordering::Relaxed) < attempt && !reservation.request(attempt) {
            return Err(TokenError::Stopped);
        }
        Ok(())
    }

    /// Subscribes to events from now on. A listener that lags more than 8 events behind loses the oldest.
    #[must_use]
    pub fn events(&self) -> Events {
        let mut published = self.shared.published();
        let receiver = match published.view.is_stopped {
            // without the task there are no more events
            true => broadcast::channel(1).1,
            false => {
                let sender = || broadcast::Sender::new(MAX_EVENTS);
                published.events.get_or_insert_with(sender).subscribe()
            }
        };
        Events { receiver }
    }

    /// The current tokens, for a store. Stored ones become void when this manager refreshes them.
    ///
    /// Store their [`Tokens::idempotency_key`] too, and pass it to [`Tokens::with_idempotency_key`] after a restart.
    #[must_use]
    pub fn tokens(&self) -> Tokens {
        self.shared.view().tokens
    }

    /// The current state of the refresh.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.view().status
    }
}

/// A subscription to the events of a [`TokenManager`].
#[derive(Debug)]
pub struct Events {
    receiver: broadcast::Receiver<Event>,
}

impl Events {
    /// Waits for the next event. `None` after the manager has stopped.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            match self.receiver.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

/// An access token that has not expired.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AccessToken {
    /// The token as sent in `Authorization: Bearer`.
    pub secret: SecretString,
    /// Number of refreshes before this token was issued.
    pub generation: u64,
    /// Remaining lifetime when it was returned.
    pub remaining: Duration,
}

/// The reason that a manager has no valid token.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The last attempt failed, and the next one is not due yet.
    #[error("cannot refresh the token: attempt {attempt} failed, the next one is due in {next_in:?}")]
    Failed {
        /// Number of the attempt since the last success, from 1.
        attempt: u32,
        /// Time until the next attempt.
        next_in: Duration,
    },
    /// The token cannot be refreshed.
    #[error("cannot refresh the token any more: create a new session, or have the user sign in again")]
    ReauthRequired,
    /// The task has ended, because its runtime ended or its `Refresher` panicked.
    #[error(
        "cannot refresh the token: its task has stopped, look for a panic in the log and create a new session"
    )]
    Stopped,
}

impl View {
    pub(crate) fn of(refresh: &Refresh, failures: u64) -> Self {
        Self {
            tokens: refresh.tokens().clone(),
            expires_at: refresh.expires_at(),
            generation: refresh.generation(),
            status: refresh.status(),
            is_stopped: false,
            failures,
        }
    }

    /// Attempts that have ended.
    fn ended(&self) -> u64 {
        self.generation + self.failures
    }

    fn token(&self, now: Instant) -> AccessToken {
        AccessToken {
            secret: self.tokens.access().clone(),
            generation: self.generation,
            remaining: self.expires_at.saturating_duration_since(now),
        }
    }

    /// Fails if a caller that began to wait after `failures` failed attempts has no attempt to wait for.
    fn check(&self, failures: u64, now: Instant) -> Result<(), TokenError> {
        match self.status {
            Status::ReauthRequired => Err(TokenError::ReauthRequired),
            Status::BackingOff { attempt, until } if self.failures > failures || now < until => {
                Err(TokenError::Failed {
                    attempt,
                    next_in: until.saturating_duration_since(now),
                })
            }
            _ if self.is_stopped => Err(TokenError::Stopped),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
