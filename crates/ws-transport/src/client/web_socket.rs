//! A WebSocket that reconnects.

use genesys_api::Clock;

use super::connection::{Connection, Event, SendError};
use super::driver::{Driver, Settings};
use crate::{AdmittedOrigin, SocketUrl};

/// A WebSocket that stays connected: a lost connection is opened again with backoff and jitter.
///
/// Texts that were queued while no connection was open are sent on the next one. An unacknowledged text may be lost with its
/// connection: a protocol that must know acknowledges its messages.
#[derive(Debug)]
pub struct WebSocket {
    driver: Driver<Connection>,
    clock: Clock,
}

impl WebSocket {
    /// Opens a socket with the settings of [`Settings::new`], which loads the system's certificate authorities.
    ///
    /// # Errors
    /// [`TlsError::NoSystemAuthorities`](genesys_http::TlsError::NoSystemAuthorities).
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect(url: SocketUrl, origin: AdmittedOrigin) -> Result<Self, genesys_http::TlsError> {
        Ok(Self::open(Settings::new(url, origin)?))
    }

    /// Opens a socket on the tokio runtime of the caller. [`Event::Open`] reports that it is open.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn open(settings: Settings) -> Self {
        let clock = settings.http.clock().clone();
        Self {
            driver: Driver::spawn(Connection::new(clock.now()), settings, |job, _| match job {}),
            clock,
        }
    }

    /// Queues a text frame. At most 256 messages and 256 KiB wait.
    ///
    /// # Errors
    /// [`SendError::Full`] beyond that, [`SendError::Closed`] after the end.
    pub fn send(&self, text: impl Into<String>) -> Result<(), SendError> {
        let text = text.into();
        self.driver.handle().with(|connection, _| connection.send(text))
    }

    /// Waits for the next event; `None` after [`Event::Closed`]. Cancel safe: no event is lost.
    pub async fn next_event(&mut self) -> Option<Event> {
        self.driver.next_event().await
    }

    /// Closes the socket with code 1000 and waits up to 2 s for the peer's answer.
    pub async fn close(mut self) {
        self.driver.handle().with(|connection, now| connection.close(now));
        while self.next_event().await.is_some() {}
        self.driver
            .stopped(self.clock.now().instant + super::driver::FLUSH_TIMEOUT)
            .await;
    }
}
