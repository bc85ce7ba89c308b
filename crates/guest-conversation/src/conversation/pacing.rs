//! The limits of the service, kept before it complains.

use std::time::{Duration, Instant};

use genesys_api::{SlidingWindow, limits};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Added to the period of each limit, since frames that leave evenly do not arrive evenly. Our choice.
const SLACK: Duration = Duration::from_millis(100);

/// The limits of a session and of its present connection, as Genesys publishes them. Each is a sliding window, so that
/// it holds wherever the service's own window begins.
#[derive(Debug)]
pub(super) struct Pacing {
    messages: SlidingWindow,
    configures: SlidingWindow,
    requests: SlidingWindow,
    echoes: SlidingWindow,
    /// The service asked for patience until then.
    paused_until: Option<Instant>,
}

impl Pacing {
    pub(super) fn new() -> Self {
        Self {
            messages: SlidingWindow::new(limits::MESSAGES_PER_SECOND as usize, SECOND + SLACK),
            configures: SlidingWindow::new(limits::CONFIGURES_PER_MINUTE as usize, MINUTE + SLACK),
            requests: SlidingWindow::new(limits::REQUESTS_PER_MINUTE as usize, MINUTE + SLACK),
            echoes: SlidingWindow::new(limits::ECHOES_PER_MINUTE as usize, MINUTE + SLACK),
            paused_until: None,
        }
    }

    /// A new connection has new limits; those of the session stay, and so does what the service asked for.
    pub(super) fn handle_connected(&mut self) {
        let fresh = Self::new();
        self.requests = fresh.requests;
        self.echoes = fresh.echoes;
        if let Some(until) = self.paused_until {
            self.requests.pause_until(until);
        }
    }

    /// The service asks for patience: nothing at all leaves, for everything is a request.
    pub(super) fn pause_until(&mut self, until: Instant) {
        self.paused_until = self.paused_until.max(Some(until));
        self.requests.pause_until(until);
    }

    /// # Errors
    /// Each of these: when to ask again.
    pub(super) fn request(&mut self, now: Instant) -> Result<(), Instant> {
        self.requests.try_acquire(now)
    }

    pub(super) fn message(&mut self, now: Instant) -> Result<(), Instant> {
        self.requests.check(now)?;
        self.messages.try_acquire(now)?;
        self.requests.try_acquire(now)
    }

    pub(super) fn configure(&mut self, now: Instant) -> Result<(), Instant> {
        self.requests.check(now)?;
        self.configures.try_acquire(now)?;
        self.requests.try_acquire(now)
    }

    pub(super) fn echo(&mut self, now: Instant) -> Result<(), Instant> {
        self.requests.check(now)?;
        self.echoes.try_acquire(now)?;
        self.requests.try_acquire(now)
    }
}
