//! The task that moves bytes and time between a conversation and its connection.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use genesys_api::{entropy, error_chain};

use super::uploads::Uploads;
use super::{BACKLOG, Shared};
use crate::attachments::Stage;
use crate::{Command, HistoryFailure, State};
use web_messaging::rest::history::{History, HistoryPage};
use ws_transport::client::{ConnectLimiter, Link, LinkEvent};
use ws_transport::{AdmittedOrigin, CloseInfo, SocketUrl};

/// How long the last frames may take to leave.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// The wait if the service throttles reads without saying for how long; Genesys' Java SDK: the same.
const THROTTLED: Duration = genesys_api::limits::RETRY_AFTER;

pub(super) struct Task {
    shared: Arc<Shared>,
    http: genesys_http::Client,
    url: SocketUrl,
    origin: AdmittedOrigin,
    limiter: ConnectLimiter,
    link: Link,
    /// The history, while it is read.
    reading: Option<Reading>,
    uploads: Uploads,
    known: State,
}

type Reading = Pin<Box<dyn Future<Output = Result<HistoryPage, HistoryFailure>> + Send>>;

impl Task {
    pub(super) fn new(
        shared: Arc<Shared>,
        http: genesys_http::Client,
        url: SocketUrl,
        origin: AdmittedOrigin,
        limiter: ConnectLimiter,
    ) -> Self {
        Self {
            shared,
            http,
            url,
            origin,
            limiter,
            link: Link::Down,
            reading: None,
            uploads: Uploads::default(),
            known: State::Idle,
        }
    }

    pub(super) async fn run(mut self) {
        while let Some((deadline, reading)) = self.obey() {
            self.shared.to_application.notify_one();
            let wake = async {
                match deadline {
                    Some(at) => self.shared.clock.sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                turn = self.link.next(reading) => self.happen(turn),
                result = answer(&mut self.reading) => {
                    self.reading = None;
                    let now = self.shared.clock.now();
                    self.shared.lock().handle_history(result, now);
                }
                (id, outcome) = self.uploads.next() => {
                    let now = self.shared.clock.now();
                    self.shared.lock().handle_put(&id, outcome, now);
                }
                () = wake => {
                    let mut conversation = self.shared.lock();
                    if !reading {
                        // nobody listens, so silence says nothing about the peer
                        conversation.handle_alive();
                    }
                    conversation.handle_timeout(self.shared.clock.now());
                }
                () = self.shared.to_task.notified() => {}
            }
        }
        if let Link::Open(socket) = &mut self.link {
            let _ = tokio::time::timeout(FLUSH_TIMEOUT, socket.flush()).await;
        }
    }

    /// Does what the conversation asks for. `None` once it is over; else when to wake it, and whether to read.
    fn obey(&mut self) -> Option<(Option<Instant>, bool)> {
        let mut conversation = self.shared.lock();
        let now = self.shared.clock.now();
        while let Some(command) = conversation.poll_command() {
            match command {
                Command::Connect => {
                    let handshake = conversation.handshake(&self.url, &self.origin);
                    let place = self.limiter.reserve(now.instant);
                    if place > now.instant {
                        conversation.handle_connect_deferred(place);
                    }
                    self.link = Link::connect(self.http.clone(), handshake, place);
                }
                Command::Disconnect => {
                    self.link = Link::Down;
                    conversation.handle_closed(
                        CloseInfo::abrupt("dropped by this side"),
                        now,
                        entropy::number(),
                    );
                }
                Command::ReadHistory(history) => {
                    self.reading = Some(Box::pin(read(self.http.clone(), history)));
                }
                Command::Upload(put) => self.uploads.begin(self.http.clone(), *put),
            }
        }
        self.uploads
            .retain(|id| conversation.attachment(id) == Some(Stage::Uploading));
        let over = conversation.state().is_over();
        if let Link::Open(socket) = &mut self.link
            && (over || socket.is_flushed())
        {
            while let Some(transmit) = conversation.poll_transmit(now) {
                if let Err(close) = socket.queue(transmit) {
                    self.link = Link::Down;
                    conversation.handle_closed(close, now, entropy::number());
                    break;
                }
            }
        }
        let state = conversation.state();
        if state != self.known {
            self.known = state;
            tracing::debug!(?state, url = %self.url, "the conversation changed its state");
        }
        (!state.is_over()).then(|| {
            let deadline = conversation.poll_timeout().map(|(at, _)| at);
            (deadline, conversation.backlog() < BACKLOG)
        })
    }

    fn happen(&mut self, turn: LinkEvent) {
        let mut conversation = self.shared.lock();
        let now = self.shared.clock.now();
        match turn {
            LinkEvent::Alive => conversation.handle_alive(),
            LinkEvent::Closed(close) => {
                self.link = Link::Down;
                tracing::debug!(%close, url = %self.url, "the connection is gone");
                conversation.handle_closed(close, now, entropy::number());
            }
            LinkEvent::Flushed => {}
            LinkEvent::Opened(socket) => {
                self.link = Link::Open(socket);
                conversation.handle_connected(now);
            }
            LinkEvent::Refused { status, retry_after } => {
                self.link = Link::Down;
                tracing::debug!(status, url = %self.url, "the handshake was refused");
                conversation.handle_refused(status, retry_after, now, entropy::number());
            }
            LinkEvent::Text(text) => conversation.handle_frame(&text, now),
        }
    }
}

/// Waits for the history; for ever if none is read.
async fn answer(reading: &mut Option<Reading>) -> Result<HistoryPage, HistoryFailure> {
    match reading {
        Some(reading) => reading.await,
        None => pending().await,
    }
}

async fn read(http: genesys_http::Client, history: Box<History>) -> Result<HistoryPage, HistoryFailure> {
    let called = http.call(&*history, history.host(), Some(history.jwt())).await;
    called.map_err(|error| match error.problem() {
        Some(problem) if problem.status == 401 => HistoryFailure::Unauthorized,
        Some(problem) if problem.status == 429 => HistoryFailure::TooMany {
            retry_after: problem.retry_after.unwrap_or(THROTTLED),
        },
        _ => HistoryFailure::Failed {
            why: error_chain(&error),
        },
    })
}

impl Drop for Task {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        self.shared.to_application.notify_one();
    }
}
