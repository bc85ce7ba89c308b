//! Rate limits of the service, kept on this side.

use std::time::{Duration, Instant};

use genesys_api::limits;

use crate::sliding_window::SlidingWindow;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Added to the period of each limit, since frames that leave evenly do not arrive evenly. Our choice.
const SLACK: Duration = Duration::from_millis(100);

/// The rate limits of a session and of its present connection, as Genesys publishes them. Each is a sliding window, so
/// that it holds for any start of the service's own window.
#[derive(Debug)]
pub(crate) struct Pacing {
    messages: SlidingWindow,
    configures: SlidingWindow,
    requests: SlidingWindow,
    echoes: SlidingWindow,
    /// The service refused requests until then.
    paused_until: Option<Instant>,
    /// Time of the last typing indicator since a message was delivered.
    typed: Option<Instant>,
}

impl Default for Pacing {
    fn default() -> Self {
        Self {
            messages: SlidingWindow::new(limits::MESSAGES_PER_SECOND as usize, SECOND + SLACK),
            configures: SlidingWindow::new(limits::CONFIGURES_PER_MINUTE as usize, MINUTE + SLACK),
            requests: SlidingWindow::new(limits::REQUESTS_PER_MINUTE as usize, MINUTE + SLACK),
            echoes: SlidingWindow::new(limits::ECHOES_PER_MINUTE as usize, MINUTE + SLACK),
            paused_until: None,
            typed: None,
        }
    }
}

impl Pacing {
    /// Resets the limits of the connection; those of the session stay, and so does a pause.
    pub(crate) fn handle_connected(&mut self) {
        let fresh = Self::default();
        self.requests = fresh.requests;
        self.echoes = fresh.echoes;
        if let Some(until) = self.paused_until {
            self.requests.pause_until(until);
        }
    }

    /// Holds everything back until then, since every frame is a request.
    pub(crate) fn pause_until(&mut self, until: Instant) {
        self.paused_until = self.paused_until.max(Some(until));
        self.requests.pause_until(until);
    }

    /// Takes a slot for a request.
    ///
    /// # Errors
    /// The time of the next slot, as for the methods that follow.
    pub(crate) fn request(&mut self, now: Instant) -> Result<(), Instant> {
        self.requests.try_acquire(now)
    }

    pub(crate) fn message(&mut self, now: Instant) -> Result<(), Instant> {
        self.requests.check(now)?;
        self.messages.try_acquire(now)?;
        self.requests.try_acquire(now)
    }

    pub(crate) fn configure(&mut self, now: Instant) -> Result<(), Instant> {
        self.requests.check(now)?;
        self.configures.try_acquire(now)?;
        self.requests.try_acquire(now)
    }

    /// Whether a typing indicator may be sent: at most one in 5 s, unless a message was delivered since.
    pub(crate) fn typing(&mut self, now: Instant) -> bool {
        let typed = self.typed.map(|at| now.saturating_duration_since(at));
        let allowed = typed.is_none_or(|since| since >= limits::TYPING_INTERVAL) && self.request(now).is_ok();
        if allowed {
            self.typed = Some(now);
        }
        allowed
    }

    /// Handles a delivered message: the next typing indicator need not wait.
    pub(crate) fn handle_delivered(&mut self) {
        self.typed = None;
    }

    pub(crate) fn echo(&mut self, now: Instant) -> Result<(), Instant> {
        self.requests.check(now)?;
        self.echoes.try_acquire(now)?;
        self.requests.try_acquire(now)
    }
}
