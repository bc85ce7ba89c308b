//! One guest's conversation as a state machine: no socket, no clock, no randomness of its own.
//!
//! A driver feeds it what happens (`handle_*`), moves what it wants moved (`poll_*`), and wakes it at
//! [`Conversation::poll_timeout`]. After each input, poll commands, then transmits, then events, until all are empty.
//!
//! | input | `Idle` | `Connecting` | `Configuring` | `Configured`, `ReadOnly` | `Reconnecting` | `Closing` | `Closed`, `Failed` |
//! |---|---|---|---|---|---|---|---|
//! | `connect` | `Connecting` | – | – | – | `Connecting` | – | – |
//! | `handle_connected` | – | `Configuring` | – | – | – | – | – |
//! | frame: configured | – | – | `Configured`, or `ReadOnly` | – | – | – | – |
//! | frame: refused for good | – | – | `Failed` | event | – | event | – |
//! | frame: final (expired, logged out, closed) | – | – | `Failed`, or `Closed` | `Failed`, or `Closed` | – | `Closed` | – |
//! | frame: read-only | – | – | – | `ReadOnly` | – | – | – |
//! | `handle_closed` | – | `Reconnecting` | `Reconnecting` | `Reconnecting` | – | `Closed` | – |
//! | `handle_closed`, final code | – | `Failed` | `Failed` | `Failed` | – | `Closed` | – |
//! | `handle_refused` | – | `Reconnecting`; `Failed` if final | – | – | – | – | – |
//! | timeout | – | disconnect | disconnect | ping; disconnect after two | `Connecting` | farewell; close; then `Closed` | – |
//! | `send_text` | waits | waits | waits | sent; refused in `ReadOnly` | waits | refused | refused |
//! | `end` | `Closed` | `Closed` | `Closing` | `Closing` | `Closed` | sooner, if told so | – |

mod backoff;
mod dialect;
mod event;
mod hearing;
mod heartbeat;
mod leaving;
mod outbox;
mod seen;
mod state;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use genesys_api::Now;
use secrecy::SecretString;
use time::OffsetDateTime;

use self::backoff::Backoff;
use self::dialect::Dialect;
pub use self::event::{CloseInfo, Ending, Event, FailureReason, Loss, Refusal, Session};
pub use self::heartbeat::{Beat, Heartbeat};
use self::leaving::Goodbye;
#[cfg(feature = "client")]
pub(crate) use self::leaving::LONGEST_GOODBYE;
use self::outbox::Outbox;
pub use self::outbox::SendError;
use self::seen::Seen;
pub use self::state::{Command, Reason, State, Transmit};
use crate::web_messaging::CustomAttributes;
use crate::{AdmittedOrigin, ClientHandshake, Contract, MessageId, RawFrame, SocketUrl};

/// How long a connection may take, with its upgrade.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the service may take to configure the session.
const CONFIGURE_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two typing indicators (Genesys' guidance).
const TYPING_INTERVAL: Duration = Duration::from_secs(5);
/// Most events that wait to be polled.
const EVENT_LIMIT: usize = 1024;

/// A guest's conversation.
#[derive(Debug)]
pub struct Conversation {
    dialect: Box<dyn Dialect>,
    state: State,
    /// The socket is open, and not about to be dropped.
    socket: bool,
    /// Why the socket is about to be dropped.
    loss: Option<Loss>,
    /// The one deadline of the state.
    deadline: Option<(Instant, Reason)>,
    heartbeat: Option<Heartbeat>,
    backoff: Backoff,
    outbox: Outbox,
    /// When a limit lets the next message pass.
    pace: Option<Instant>,
    typed: Option<Instant>,
    was_configured: bool,
    /// A new session is to be greeted.
    greet: bool,
    /// Since we leave.
    goodbye: Option<Goodbye>,
    expires_at: Option<OffsetDateTime>,
    seen: Seen,
    command: Option<Command>,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
}

impl Conversation {
    /// A conversation that is not yet connected.
    #[must_use]
    pub fn new(contract: Contract) -> Self {
        Self {
            dialect: dialect::of(contract),
            state: State::Idle,
            socket: false,
            loss: None,
            deadline: None,
            heartbeat: None,
            backoff: Backoff::default(),
            outbox: Outbox::new(),
            pace: None,
            typed: None,
            was_configured: false,
            greet: false,
            goodbye: None,
            expires_at: None,
            seen: Seen::default(),
            command: None,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// When the session expires, as far as the service said.
    #[must_use]
    pub fn expires_at(&self) -> Option<OffsetDateTime> {
        self.expires_at
    }

    /// The upgrade to make when told to [`Command::Connect`].
    pub fn handshake(&mut self, url: &SocketUrl, origin: &AdmittedOrigin) -> ClientHandshake {
        self.dialect.handshake(url, origin)
    }

    /// Uses another access token from the next connection on; the present one stays. Under `web-messaging` this does
    /// nothing: the token is the session itself.
    pub fn update_token(&mut self, token: SecretString) {
        self.dialect.update_token(token);
    }

    /// Replaces the custom attributes: from now on no frame carries another value than these. The next message
    /// carries them, unless these very ones have arrived already; if there are none, nothing is sent. What has left
    /// cannot be called back, and what has arrived stays with the conversation. Under `guest-sessions` this does
    /// nothing.
    pub fn update_attributes(&mut self, attributes: CustomAttributes) {
        self.dialect.update_attributes(attributes);
    }

    /// Connects for the first time, or at once where a wait is on.
    pub fn connect(&mut self, now: Now) {
        if matches!(self.state, State::Idle | State::Reconnecting) {
            self.state = State::Connecting;
            self.command = Some(Command::Connect);
            self.deadline = Some((now.instant + CONNECT_TIMEOUT, Reason::ConnectTimeout));
        }
    }

    /// Takes a message of 1 to 4,096 bytes, to be sent as soon as the session and the limits allow. `id` is fresh and
    /// random. What becomes of it is told by [`Event::Accepted`], [`Event::Failed`] or [`Event::InDoubt`].
    ///
    /// # Errors
    /// If it was not taken.
    pub fn send_text(&mut self, id: MessageId, text: &str) -> Result<(), SendError> {
        match self.state {
            State::Closing | State::Closed | State::Failed => Err(SendError::Ended),
            State::ReadOnly => Err(SendError::ReadOnly),
            State::Idle
            | State::Connecting
            | State::Configuring
            | State::Configured
            | State::Reconnecting => self.outbox.push(id, text),
        }
    }

    /// Shows that the guest is typing. More than once in 5 s, and outside of a ready session, it does nothing.
    pub fn send_typing(&mut self, now: Now) {
        let too_soon = self
            .typed
            .is_some_and(|at| now.instant.saturating_duration_since(at) < TYPING_INTERVAL);
        if self.state == State::Configured
            && self.socket
            && !too_soon
            && self.outbox.count_request(now.instant)
        {
            self.typed = Some(now.instant);
            self.transmits.push_back(Transmit::Frame(self.dialect.typing()));
        }
    }

    /// The socket is open.
    pub fn handle_connected(&mut self, now: Now) {
        if self.state != State::Connecting || self.loss.is_some() {
            return;
        }
        self.state = State::Configuring;
        self.socket = true;
        self.heartbeat = Some(Heartbeat::new(now.instant));
        self.outbox.handle_connected();
        self.configure(now);
    }

    /// A text frame came.
    pub fn handle_frame(&mut self, text: &str, now: Now) {
        if !self.socket {
            return;
        }
        self.handle_alive();
        if self.events.len() >= EVENT_LIMIT {
            self.disconnect(Loss::Overrun);
            return;
        }
        match self.dialect.hear(text, now) {
            Some(heard) => self.heard(heard, now),
            None => {
                let class = serde_json::from_str::<Class<'_>>(text).ok();
                let class = class.and_then(|class| class.class.or(class.kind));
                self.events
                    .push_back(Event::Unknown(RawFrame::new(class.as_deref(), text)));
            }
        }
    }

    /// Something else came: a ping, a pong, or any byte at all.
    pub fn handle_alive(&mut self) {
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.handle_alive();
        }
    }

    /// The connection is gone, or could not be made. `random` is any fresh random number.
    pub fn handle_closed(&mut self, close: CloseInfo, now: Now, random: u64) {
        self.socket = false;
        match self.state {
            State::Idle | State::Reconnecting | State::Closed | State::Failed => {}
            State::Closing => self.finish(Ending::ByUs),
            State::Connecting | State::Configuring | State::Configured | State::ReadOnly => {
                if let Some(loss) = self.loss.take() {
                    self.reconnect(loss, None, now, random);
                } else if let Some(ending) = self.dialect.ending(&close) {
                    self.finish(ending);
                } else {
                    self.reconnect(Loss::Closed(close), None, now, random);
                }
            }
        }
    }

    /// The upgrade was answered with another status than 101, and perhaps `Retry-After`.
    pub fn handle_refused(&mut self, status: u16, retry_after: Option<Duration>, now: Now, random: u64) {
        if self.state != State::Connecting {
            return;
        }
        self.loss = None;
        if self.dialect.is_final(status) {
            self.finish(Ending::Refused { status });
        } else {
            self.reconnect(Loss::Refused { status }, retry_after, now, random);
        }
    }

    /// Time has passed; call it at [`Self::poll_timeout`], or at any time.
    pub fn handle_timeout(&mut self, now: Now) {
        if let Some((_, reason)) = self.deadline.take_if(|(at, _)| *at <= now.instant) {
            match reason {
                Reason::ConnectTimeout | Reason::ConfigureTimeout => self.disconnect(Loss::NoAnswer),
                Reason::Configure => self.configure(now),
                Reason::Drain => self.say_farewell(now),
                Reason::Farewell => self.close(now),
                Reason::Close => {
                    // the close frame was said, or could not be
                    self.socket = false;
                    self.command = Some(Command::Disconnect);
                    self.finish(Ending::ByUs);
                }
                Reason::Reconnect => self.connect(now),
                Reason::Heartbeat | Reason::Pace => {}
            }
        }
        self.pace.take_if(|at| *at <= now.instant);
        if !self.socket {
            return;
        }
        let beat = self
            .heartbeat
            .as_mut()
            .and_then(|heartbeat| heartbeat.handle_timeout(now.instant));
        match beat {
            Some(Beat::Dead) => self.disconnect(Loss::Silent),
            Some(Beat::Ping) => {
                self.transmits.push_back(Transmit::Ping);
                let doubted = self.outbox.doubt_overdue(self.pings());
                self.doubt(doubted);
            }
            None => {}
        }
    }

    /// What to do with the connection, if anything.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.command.take()
    }

    /// The next thing for the socket, if there is one and the limits let it pass.
    pub fn poll_transmit(&mut self, now: Now) -> Option<Transmit> {
        if let Some(transmit) = self.transmits.pop_front() {
            return Some(transmit);
        }
        let draining = self.state == State::Closing && matches!(self.deadline, Some((_, Reason::Drain)));
        if !self.socket || !(self.state == State::Configured || draining) {
            return None;
        }
        if self.state == State::Configured
            && std::mem::take(&mut self.greet)
            && let Some(greeting) = self.dialect.greeting()
        {
            self.outbox.count_request(now.instant);
            return Some(Transmit::Frame(greeting));
        }
        let pings = self.pings();
        match self.outbox.next(now.instant, pings) {
            Ok(Some((id, text))) => return Some(Transmit::Frame(self.dialect.message(id, text))),
            Ok(None) => self.pace = None,
            Err(at) => self.pace = Some(at),
        }
        if draining && self.outbox.is_idle() {
            self.say_farewell(now);
        }
        self.transmits.pop_front()
    }

    /// The next event, if there is one.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Events that wait. A driver stops reading its socket when they are many; beyond 1,024 the socket is dropped.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.events.len()
    }

    /// When to call [`Self::handle_timeout`] at the latest, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        let heartbeat = self.heartbeat.as_ref().filter(|_| self.socket);
        let heartbeat = heartbeat.map(|heartbeat| (heartbeat.poll_timeout(), Reason::Heartbeat));
        let pace = self.pace.filter(|_| self.socket).map(|at| (at, Reason::Pace));
        [self.deadline, heartbeat, pace]
            .into_iter()
            .flatten()
            .min_by_key(|(at, _)| *at)
    }

    fn configure(&mut self, now: Now) {
        self.outbox.count_request(now.instant);
        self.transmits
            .push_back(Transmit::Frame(self.dialect.opening(now)));
        self.deadline = Some((now.instant + CONFIGURE_TIMEOUT, Reason::ConfigureTimeout));
    }

    /// Has the socket dropped, or its opening given up; `handle_closed` follows.
    fn disconnect(&mut self, loss: Loss) {
        self.socket = false;
        self.loss = Some(loss);
        self.deadline = None;
        self.transmits.clear();
        self.command = Some(Command::Disconnect);
    }

    fn reconnect(&mut self, why: Loss, asked: Option<Duration>, now: Now, random: u64) {
        let (attempt, after) = self.backoff.handle_lost(asked, now.instant, random);
        self.state = State::Reconnecting;
        self.heartbeat = None;
        self.transmits.clear();
        self.deadline = Some((now.instant + after, Reason::Reconnect));
        self.events.push_back(Event::Reconnecting { attempt, after, why });
    }

    fn finish(&mut self, ending: Ending) {
        if self.state.is_over() {
            return;
        }
        self.give_up_waiting(&FailureReason::Ended);
        let doubted = self.outbox.doubt_sent();
        self.doubt(doubted);
        self.transmits.clear();
        if self.socket && !matches!(self.deadline, Some((_, Reason::Close))) {
            self.transmits.push_back(GOODBYE);
        }
        self.state = match ending {
            Ending::ByUs | Ending::ClosedByServer { .. } | Ending::SessionEnded { .. } => State::Closed,
            Ending::LoggedOut | Ending::Refused { .. } | Ending::Rejected(_) | Ending::SessionExpired => {
                State::Failed
            }
        };
        self.socket = false;
        self.loss = None;
        self.deadline = None;
        self.events.push_back(Event::Ended(ending));
    }

    fn give_up_waiting(&mut self, reason: &FailureReason) {
        let given_up = self.outbox.give_up_waiting();
        self.events.extend(given_up.into_iter().map(|id| Event::Failed {
            id,
            reason: reason.clone(),
        }));
    }

    fn doubt(&mut self, ids: Vec<MessageId>) {
        if !ids.is_empty() {
            self.events.push_back(Event::InDoubt { ids });
        }
    }

    fn pings(&self) -> u64 {
        self.heartbeat.as_ref().map_or(0, Heartbeat::pings)
    }
}

const GOODBYE: Transmit = Transmit::Close {
    code: 1000,
    reason: "the guest has left",
};

/// The name of a frame that is not known, under either contract.
#[derive(serde::Deserialize)]
struct Class<'a> {
    #[serde(borrow)]
    class: Option<crate::Text<'a>>,
    #[serde(borrow, rename = "type")]
    kind: Option<crate::Text<'a>>,
}
