//! A WebSocket that reconnects, with text frames and no protocol on top.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use genesys_api::Now;

use crate::{
    AdmittedOrigin, Backoff, ClientHandshake, CloseInfo, Command, Heartbeat, HeartbeatAction, Machine,
    QueueFull, SocketUrl, Transmit,
};

/// Time that a connection attempt may take, with its upgrade. Our choice.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// Time that the peer may take to answer a close frame. Our choice.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Most messages and bytes that wait for a connection. Our choice.
const QUEUE_MESSAGES: usize = 256;
const QUEUE_BYTES: usize = 256 * 1024;

/// An event of a [`WebSocket`](super::WebSocket).
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The socket is closed permanently. No event follows.
    Closed(Loss),
    /// The socket is open.
    Open,
    /// The connection was lost and is opened again after a wait.
    Reconnecting {
        /// Number of the attempt, from 1.
        attempt: u32,
        /// The wait before it.
        after: Duration,
        /// Cause of the loss.
        cause: Loss,
    },
    /// A text frame.
    Text(String),
}

/// Cause of a lost or closed connection.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Loss {
    /// The connection ended, or could not be opened.
    #[error("{0}")]
    Closed(CloseInfo),
    /// [`WebSocket::close`](super::WebSocket::close) was called.
    #[error("closed by this side")]
    Local,
    /// Too many connections wait for the limit of new ones.
    #[error(transparent)]
    QueueFull(QueueFull),
    /// The upgrade was refused.
    #[error("the handshake was answered with status {status}")]
    Refused {
        /// HTTP status.
        status: u16,
    },
    /// Two pings were not answered, or a connection attempt took more than 20 s.
    #[error("the peer did not answer in time")]
    Timeout,
}

/// A text that was not queued.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The socket is closed permanently.
    #[error("cannot send: the socket is closed; open a new one")]
    Closed,
    /// 256 messages or 256 KiB wait for the connection.
    #[error("cannot send: {messages} messages ({bytes} bytes) wait for the connection; send again later")]
    Full {
        /// Messages that wait.
        messages: usize,
        /// Their bytes.
        bytes: usize,
    },
}

/// The state machine behind [`WebSocket`](super::WebSocket).
#[derive(Debug, Default)]
pub(super) struct Connection {
    state: State,
    backoff: Backoff,
    queue: VecDeque<String>,
    queued_bytes: usize,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
    command: Option<Command<Infallible, Infallible>>,
}

#[derive(Debug, Default)]
enum State {
    Connecting {
        deadline: Instant,
    },
    Open {
        heartbeat: Heartbeat,
    },
    /// The driver drops the connection.
    Dropping {
        cause: Loss,
    },
    Waiting {
        until: Instant,
    },
    /// A close frame was sent.
    Closing {
        deadline: Instant,
    },
    #[default]
    Closed,
}

impl Connection {
    /// A connection that is opened at once.
    pub(super) fn new(now: Now) -> Self {
        let mut connection = Self::default();
        connection.connect(now);
        connection
    }

    pub(super) fn send(&mut self, text: String) -> Result<(), SendError> {
        if matches!(self.state, State::Closing { .. } | State::Closed) {
            return Err(SendError::Closed);
        }
        if self.queue.len() >= QUEUE_MESSAGES || self.queued_bytes + text.len() > QUEUE_BYTES {
            return Err(SendError::Full {
                messages: self.queue.len(),
                bytes: self.queued_bytes,
            });
        }
        self.queued_bytes += text.len();
        self.queue.push_back(text);
        Ok(())
    }

    pub(super) fn close(&mut self, now: Now) {
        match self.state {
            State::Open { .. } => {
                self.transmits.push_back(Transmit::Close {
                    code: 1000,
                    reason: "",
                });
                self.state = State::Closing {
                    deadline: now.instant + CLOSE_TIMEOUT,
                };
            }
            State::Closing { .. } | State::Closed => {}
            State::Connecting { .. } | State::Dropping { .. } | State::Waiting { .. } => {
                self.command = Some(Command::Disconnect);
                self.finish(Loss::Local);
            }
        }
    }

    fn connect(&mut self, now: Now) {
        self.state = State::Connecting {
            deadline: now.instant + CONNECT_TIMEOUT,
        };
        self.command = Some(Command::Connect);
    }

    fn drop_connection(&mut self, cause: Loss) {
        self.transmits.clear();
        self.state = State::Dropping { cause };
        self.command = Some(Command::Disconnect);
    }

    fn reconnect(&mut self, cause: Loss, requested: Option<Duration>, now: Now, random: u64) {
        self.transmits.clear();
        let (attempt, after) = self.backoff.handle_lost(requested, now.instant, random);
        self.state = State::Waiting {
            until: now.instant + after,
        };
        self.events.push_back(Event::Reconnecting {
            attempt,
            after,
            cause,
        });
    }

    fn finish(&mut self, cause: Loss) {
        self.state = State::Closed;
        self.queue.clear();
        self.queued_bytes = 0;
        self.events.push_back(Event::Closed(cause));
    }
}

impl Machine for Connection {
    type Event = Event;
    type Job = Infallible;
    type JobId = Infallible;
    type Outcome = Infallible;
    type Reason = ();

    fn handshake(&mut self, url: &SocketUrl, origin: &AdmittedOrigin) -> ClientHandshake {
        ClientHandshake::new(url.clone(), origin.clone())
    }

    fn handle_connected(&mut self, now: Now) {
        if matches!(self.state, State::Connecting { .. }) {
            self.state = State::Open {
                heartbeat: Heartbeat::new(now.instant),
            };
            self.backoff.handle_ready(now.instant);
            self.events.push_back(Event::Open);
        }
    }

    fn handle_connect_deferred(&mut self, until: Instant, _now: Now) {
        if let State::Connecting { deadline } = &mut self.state {
            *deadline = until + CONNECT_TIMEOUT;
        }
    }

    fn handle_queue_full(&mut self, full: QueueFull, now: Now, random: u64) {
        if let State::Connecting { .. } = self.state {
            self.reconnect(Loss::QueueFull(full), Some(full.retry_after), now, random);
        }
    }

    fn handle_frame(&mut self, text: &str, _now: Now) {
        if matches!(self.state, State::Open { .. }) {
            self.handle_alive();
            self.events.push_back(Event::Text(text.to_owned()));
        }
    }

    fn handle_alive(&mut self) {
        if let State::Open { heartbeat } = &mut self.state {
            heartbeat.handle_alive();
        }
    }

    fn handle_closed(&mut self, close: CloseInfo, now: Now, random: u64) {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Closing { .. } => self.finish(Loss::Local),
            State::Dropping { cause } => self.reconnect(cause, None, now, random),
            state @ (State::Closed | State::Waiting { .. }) => self.state = state,
            State::Connecting { .. } | State::Open { .. } if close.is_final() => {
                self.finish(Loss::Closed(close));
            }
            State::Connecting { .. } | State::Open { .. } => {
                self.reconnect(Loss::Closed(close), None, now, random);
            }
        }
    }

    fn handle_refused(&mut self, status: u16, retry_after: Option<Duration>, now: Now, random: u64) {
        // a client error other than a timeout or a limit would be answered again
        let is_final = (400..500).contains(&status) && !matches!(status, 408 | 425 | 429);
        match self.state {
            State::Connecting { .. } if is_final => self.finish(Loss::Refused { status }),
            State::Connecting { .. } => {
                self.reconnect(Loss::Refused { status }, retry_after, now, random);
            }
            _ => {}
        }
    }

    fn handle_outcome(&mut self, outcome: Infallible, _now: Now) {
        match outcome {}
    }

    fn handle_timeout(&mut self, now: Now) {
        match &mut self.state {
            State::Connecting { deadline } if *deadline <= now.instant => {
                self.drop_connection(Loss::Timeout);
            }
            State::Open { heartbeat } => match heartbeat.handle_timeout(now.instant) {
                Some(HeartbeatAction::Drop) => self.drop_connection(Loss::Timeout),
                Some(HeartbeatAction::Ping) => self.transmits.push_back(Transmit::Ping),
                None => {}
            },
            State::Waiting { until } if *until <= now.instant => self.connect(now),
            State::Closing { deadline } if *deadline <= now.instant => self.finish(Loss::Local),
            _ => {}
        }
    }

    fn wants(&self, job: &Infallible) -> bool {
        match *job {}
    }

    fn poll_command(&mut self) -> Option<Command<Infallible, Infallible>> {
        self.command.take()
    }

    fn poll_transmit(&mut self, _now: Now) -> Option<Transmit> {
        if let State::Open { .. } = self.state
            && let Some(text) = self.queue.pop_front()
        {
            self.queued_bytes -= text.len();
            return Some(Transmit::Frame(text));
        }
        self.transmits.pop_front()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn backlog(&self) -> usize {
        self.events.len()
    }

    fn poll_timeout(&self) -> Option<(Instant, ())> {
        let at = match &self.state {
            State::Connecting { deadline } | State::Closing { deadline } => *deadline,
            State::Open { heartbeat } => heartbeat.poll_timeout(),
            State::Waiting { until } => *until,
            State::Dropping { .. } | State::Closed => return None,
        };
        Some((at, ()))
    }

    fn is_over(&self) -> bool {
        matches!(self.state, State::Closed)
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;

    fn epoch() -> Now {
        #[expect(
            clippy::disallowed_methods,
            reason = "an Instant can be had from nowhere else"
        )]
        let instant = Instant::now();
        Now {
            instant,
            utc: OffsetDateTime::UNIX_EPOCH,
        }
    }

    fn later(now: Now, by: Duration) -> Now {
        Now {
            instant: now.instant + by,
            utc: now.utc + by,
        }
    }

    fn open(now: Now) -> Connection {
        let mut connection = Connection::new(now);
        assert!(matches!(connection.poll_command(), Some(Command::Connect)));
        connection.handle_connected(now);
        assert_eq!(connection.poll_event(), Some(Event::Open));
        connection
    }

    #[test]
    fn text_queued_while_reconnecting_is_sent_on_the_next_connection() {
        let now = epoch();
        let mut connection = open(now);
        connection.handle_closed(CloseInfo::abnormal("cut"), now, 7);
        assert!(matches!(
            connection.poll_event(),
            Some(Event::Reconnecting { attempt: 1, .. })
        ));
        connection.send("late".to_owned()).unwrap();
        assert_eq!(connection.poll_transmit(now), None);
        let now = later(now, Duration::from_secs(1));
        connection.handle_timeout(now);
        assert!(matches!(connection.poll_command(), Some(Command::Connect)));
        connection.handle_connected(now);
        assert_eq!(
            connection.poll_transmit(now),
            Some(Transmit::Frame("late".to_owned()))
        );
    }

    #[test]
    fn final_status_and_close_code_end_the_connection() {
        let now = epoch();
        for status in [401, 403, 404] {
            let mut connection = Connection::new(now);
            connection.handle_refused(status, None, now, 1);
            assert_eq!(
                connection.poll_event(),
                Some(Event::Closed(Loss::Refused { status }))
            );
            assert_eq!(connection.send("x".to_owned()), Err(SendError::Closed));
        }
        for status in [408, 429, 500, 503] {
            let mut connection = Connection::new(now);
            connection.handle_refused(status, Some(Duration::from_secs(9)), now, 0);
            assert!(!connection.is_over(), "{status}");
            assert!(connection.poll_timeout().unwrap().0 >= now.instant + Duration::from_secs(9));
        }
        for (code, is_final) in [
            (1000, true),
            (1001, false),
            (1008, true),
            (1011, false),
            (1013, false),
        ] {
            let mut connection = open(now);
            connection.handle_closed(CloseInfo::with_code(code, ""), now, 1);
            assert_eq!(connection.is_over(), is_final, "{code}");
        }
    }

    #[test]
    fn silent_peer_is_dropped_and_reconnected() {
        let mut now = epoch();
        let mut connection = open(now);
        while connection.command.is_none() {
            (now.instant, ()) = connection.poll_timeout().unwrap();
            connection.handle_timeout(now);
        }
        assert!(matches!(connection.poll_command(), Some(Command::Disconnect)));
        connection.handle_closed(CloseInfo::abnormal("dropped by this side"), now, 1);
        let event = connection.poll_event();
        assert!(
            matches!(
                event,
                Some(Event::Reconnecting {
                    cause: Loss::Timeout,
                    ..
                })
            ),
            "{event:?}"
        );
    }

    #[test]
    fn queue_is_bounded_by_count_and_bytes() {
        let mut connection = Connection::new(epoch());
        for _ in 0..QUEUE_MESSAGES {
            connection.send(String::new()).unwrap();
        }
        let full = SendError::Full {
            messages: QUEUE_MESSAGES,
            bytes: 0,
        };
        assert_eq!(connection.send(String::new()), Err(full));
        let mut connection = Connection::new(epoch());
        connection.send("x".repeat(QUEUE_BYTES)).unwrap();
        assert!(connection.send("y".to_owned()).is_err());
    }

    #[test]
    fn close_waits_for_the_peer_for_two_seconds() {
        let now = epoch();
        let mut connection = open(now);
        connection.close(now);
        assert!(matches!(
            connection.poll_transmit(now),
            Some(Transmit::Close { code: 1000, .. })
        ));
        assert!(!connection.is_over());
        connection.handle_timeout(later(now, CLOSE_TIMEOUT));
        assert_eq!(connection.poll_event(), Some(Event::Closed(Loss::Local)));
    }
}
