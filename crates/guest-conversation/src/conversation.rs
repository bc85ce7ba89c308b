//! One guest's conversation as a state machine: no socket, no clock, no randomness of its own.
//!
//! A driver feeds it what happens (`handle_*`), moves what it wants moved (`poll_*`), and wakes it at
//! [`Conversation::poll_timeout`]. After each input, poll commands, then transmits, then events, until all are empty.
//!
//! What each input does in each state: the state that follows; `–`, it stays; `drop`, it stays, and the driver is told
//! to drop the connection, whose `handle_closed` follows; `refused`, a typed error. The test `states` reads this table
//! and tries every pair, under `web-messaging`. Under `guest-sessions` the same holds, but for what that contract has
//! not, and an upgrade that is refused by 401, a close after `credentials.expired`, or that error in place of the
//! first answer, which lead to `Reconnecting` and a wait for a token.
//!
//! | input | `Idle` | `Connecting` | `Configuring` | `Configured` | `ReadOnly` | `Reconnecting` | `Closing` | `Closed` | `Failed` |
//! |---|---|---|---|---|---|---|---|---|---|
//! | connect | Connecting | – | – | – | – | Connecting | – | – | – |
//! | reconnect | Connecting | drop | drop | drop | drop | Connecting | – | – | – |
//! | handle_connected | – | Configuring | – | – | – | – | – | – | – |
//! | frame: session | – | – | Configured | – | – | – | – | – | – |
//! | frame: session, read-only | – | – | ReadOnly | – | – | – | – | – | – |
//! | frame: session left | – | – | – | – | – | – | – | – | – |
//! | frame: refused | – | – | Failed | – | – | – | – | – | – |
//! | frame: trouble | – | – | drop | – | – | – | – | – | – |
//! | frame: too many | – | – | – | – | – | – | – | – | – |
//! | frame: unauthorised | – | – | Failed | Failed | Failed | – | Closed | – | – |
//! | frame: unauthorised, signed in | – | – | – | Configuring | Configuring | – | Closed | – | – |
//! | frame: read-only | – | – | Failed | ReadOnly | – | – | – | – | – |
//! | frame: expired | – | – | Failed | Failed | Failed | – | Closed | – | – |
//! | frame: logged out | – | – | Failed | Failed | Failed | – | Closed | – | – |
//! | frame: closed | – | – | Closed | Closed | Closed | – | Closed | – | – |
//! | frame: cleared | – | – | – | – | – | – | – | – | – |
//! | frame: message | – | – | – | – | – | – | – | – | – |
//! | frame: upload granted | – | – | – | – | – | – | – | – | – |
//! | frame: upload refused | – | – | – | – | – | – | – | – | – |
//! | frame: unknown | – | – | – | – | – | – | – | – | – |
//! | handle_alive | – | – | – | – | – | – | – | – | – |
//! | handle_closed | – | Reconnecting | Reconnecting | Reconnecting | Reconnecting | – | Closed | – | – |
//! | handle_refused: 503 | – | Reconnecting | – | – | – | – | – | – | – |
//! | handle_refused: 403 | – | Failed | – | – | – | – | – | – | – |
//! | handle_history | – | – | – | – | – | – | – | – | – |
//! | handle_put | – | – | – | – | – | – | – | – | – |
//! | handle_timeout: next deadline | – | drop | drop | – | – | Connecting | – | – | – |
//! | handle_timeout: silence | – | drop | drop | drop | drop | Connecting | Closed | – | – |
//! | send_text | – | – | – | – | refused | – | refused | refused | refused |
//! | send, with an attachment | refused | refused | refused | refused | refused | refused | refused | refused | refused |
//! | attach | refused | refused | refused | – | refused | – | refused | refused | refused |
//! | delete_attachment | refused | refused | refused | refused | refused | refused | refused | refused | refused |
//! | refresh_attachment | – | – | – | – | – | – | refused | refused | refused |
//! | send_typing | – | – | – | – | – | – | – | – | – |
//! | check_health | – | – | – | – | – | – | refused | refused | refused |
//! | read_history | – | – | – | – | – | – | refused | refused | refused |
//! | clear | refused | refused | refused | – | – | refused | refused | refused | refused |
//! | start_new | refused | refused | refused | refused | – | refused | refused | refused | refused |
//! | start_new, and left | refused | refused | refused | refused | Configuring | refused | refused | refused | refused |
//! | step_up | refused | refused | refused | Configuring | refused | refused | refused | refused | refused |
//! | update_token | – | – | – | – | – | – | – | – | – |
//! | update_attributes | – | – | – | – | – | – | – | – | – |
//! | set_farewell | – | – | – | – | – | – | – | – | – |
//! | end | Closed | Closed | Closing | Closing | Closing | Closed | – | – | – |

mod archive;
pub mod attachments;
mod chronicle;
mod connection;
mod delivery;
mod dialect;
mod event;
mod files;
mod health;
mod hearing;
mod leaving;
mod outbox;
mod pacing;
mod polling;
mod queue;
mod recovery;
mod renewal;
mod request;
mod seen;
mod sending;
mod state;
pub mod timeline;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use genesys_api::Now;
use time::OffsetDateTime;
use ws_transport::{Backoff, Heartbeat, HeartbeatAction};

use self::archive::Archive;
pub use self::archive::HistoryFailure;
use self::chronicle::Chronicle;
pub use self::delivery::Delivery;
use self::dialect::{Dialect, Parting};
pub use self::event::{Ending, Event, FailureReason, Loss, Refusal, Session};
use self::files::Files;
use self::health::{Health, Sign};
use self::leaving::Goodbye;
#[cfg(feature = "client")]
pub(crate) use self::leaving::LONGEST_GOODBYE;
use self::outbox::Outbox;
pub use self::outbox::SendError;
use self::queue::{EVENT_LIMIT, Queue};
use self::renewal::Renewal;
pub use self::request::RequestError;
use self::seen::Seen;
pub use self::state::{Command, Reason, State};
use self::timeline::{Happening, Limit};
use crate::{Contract, Direction, MessageId};
use genesys_api::wire::RawFrame;
use web_messaging::CustomAttributes;
use ws_transport::CloseInfo;
use ws_transport::Transmit;
use ws_transport::{AdmittedOrigin, ClientHandshake, SocketUrl};

/// How long a connection may take, with its upgrade.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the service may take to configure the session.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two typing indicators (Genesys' guidance).
const TYPING_INTERVAL: Duration = genesys_api::limits::TYPING_INTERVAL;

/// A guest's conversation.
///
/// ```
/// use ws_transport::{Contract, Conversation, Event, Transmit, WebMessaging};
///
/// # let now = genesys_api::Now { instant: std::time::Instant::now(), utc: time::OffsetDateTime::UNIX_EPOCH };
/// let contract = WebMessaging::new("b3c2".parse()?, "7d1f0c9e-0000-4000-8000-000000000001".into());
/// let mut guest = Conversation::new(Contract::WebMessaging(contract));
/// guest.connect(now); // Command::Connect: the driver opens what `handshake` says
/// guest.handle_connected(now);
/// assert!(matches!(guest.poll_transmit(now), Some(Transmit::Frame(text)) if text.contains("configureSession")));
/// guest.handle_frame(r#"{"type":"response","class":"SessionResponse","code":200,"body":{"connected":true}}"#, now);
/// assert!(matches!(guest.poll_event(), Some(Event::Configured(_))));
/// guest.send_text(uuid::Uuid::from_u128(1).into(), "Hello")?;
/// assert!(matches!(guest.poll_transmit(now), Some(Transmit::Frame(text)) if text.contains("Hello")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    /// The next configuration is for a fresh conversation.
    start_new: bool,
    /// The guest is being signed in on a session that was configured without.
    stepping: bool,
    renewal: Renewal,
    health: Health,
    archive: Option<Box<Archive>>,
    /// When the last socket was lost.
    lost_at: Option<Instant>,
    seen: Seen,
    command: Option<Command>,
    transmits: VecDeque<Transmit>,
    events: Queue,
    chronicle: Chronicle,
    files: Option<Box<Files>>,
}

impl Conversation {
    /// A conversation that is not yet connected.
    #[must_use]
    pub fn new(contract: Contract) -> Self {
        let dialect = dialect::of(contract);
        let archive = dialect
            .history_host()
            .map(|host| Box::new(Archive::new(host.clone())));
        Self {
            dialect,
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
            start_new: false,
            stepping: false,
            renewal: Renewal::default(),
            health: Health::default(),
            archive,
            lost_at: None,
            seen: Seen::default(),
            command: None,
            transmits: VecDeque::new(),
            events: Queue::default(),
            chronicle: Chronicle::default(),
            files: None,
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
        self.health.expires_at()
    }

    /// Where a message of the guest stands; `None` if it was never taken. The last 64 that ended are remembered, and
    /// the last 256 in doubt.
    #[must_use]
    pub fn delivery(&self, id: MessageId) -> Option<Delivery> {
        self.outbox.delivery(id)
    }

    /// The upgrade to make when told to [`Command::Connect`].
    pub fn handshake(&mut self, url: &SocketUrl, origin: &AdmittedOrigin) -> ClientHandshake {
        if let Some(archive) = &mut self.archive {
            archive.origin = Some(origin.origin().clone());
        }
        self.dialect.handshake(url, origin)
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
        self.chronicle.handle_time(now);
        if matches!(self.state, State::Idle | State::Reconnecting) {
            self.stop_awaiting();
            self.enter(State::Connecting);
            self.command = Some(Command::Connect);
            self.deadline = Some((now.instant + CONNECT_TIMEOUT, Reason::ConnectTimeout));
        }
    }

    /// Connects anew: drops a connection, live or being made, and makes another one at once; where there is none, it is
    /// [`Self::connect`]. What was on its way is dealt with as after any lost connection.
    pub fn reconnect(&mut self, now: Now) {
        match self.state {
            State::Connecting | State::Configuring | State::Configured | State::ReadOnly
                if self.loss.is_none() =>
            {
                self.chronicle.handle_time(now);
                self.disconnect(Loss::Asked);
            }
            _ => self.connect(now),
        }
    }

    /// A limit on new connections holds [`Command::Connect`] back until then: only after that does the time that a
    /// connection may take begin.
    pub fn handle_connect_deferred(&mut self, until: Instant) {
        if let Some((at, Reason::ConnectTimeout)) = &mut self.deadline {
            *at = until + CONNECT_TIMEOUT;
            self.chronicle.record_wait(Limit::Connections, until);
        }
    }

    /// Shows that the guest is typing. More than once in 5 s, unless a message was accepted since, it does nothing; nor
    /// does it outside of a ready session, or where the deployment does not show it.
    pub fn send_typing(&mut self, now: Now) {
        self.chronicle.handle_time(now);
        let too_soon = self
            .typed
            .is_some_and(|at| now.instant.saturating_duration_since(at) < TYPING_INTERVAL);
        if self.state == State::Configured
            && self.socket
            && !too_soon
            && self.dialect.rules().typing
            && self.outbox.pacing.request(now.instant).is_ok()
        {
            self.typed = Some(now.instant);
            self.transmits.push_back(Transmit::Frame(self.dialect.typing()));
        }
    }

    /// The socket is open.
    pub fn handle_connected(&mut self, now: Now) {
        self.chronicle.handle_time(now);
        if self.state != State::Connecting || self.loss.is_some() {
            return;
        }
        self.enter(State::Configuring);
        self.socket = true;
        self.heartbeat = Some(Heartbeat::new(now.instant));
        self.outbox.pacing.handle_connected();
        self.configure(now);
    }

    /// A text frame came.
    pub fn handle_frame(&mut self, text: &str, now: Now) {
        if !self.socket {
            return;
        }
        self.chronicle.handle_time(now);
        self.chronicle.record_frame(Direction::Outbound, text);
        self.handle_alive();
        if self.events.len() >= EVENT_LIMIT {
            self.disconnect(Loss::Overrun);
            return;
        }
        self.events.handle_frame(text);
        match self.dialect.hear(text, now) {
            Some(heard) => self.heard(heard, now),
            None => {
                let class = serde_json::from_str::<Class<'_>>(text).ok();
                let class = class.and_then(|class| class.class.or(class.kind));
                self.tell(Event::Unknown(RawFrame::new(class.as_deref(), text)));
            }
        }
        self.events.handle_frame_end();
    }

    /// Something else came: a ping, a pong, or any byte at all.
    pub fn handle_alive(&mut self) {
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.handle_alive();
        }
    }

    /// The connection is gone, or could not be made. `random` is any fresh random number.
    pub fn handle_closed(&mut self, close: CloseInfo, now: Now, random: u64) {
        self.chronicle.handle_time(now);
        self.socket = false;
        match self.state {
            State::Idle | State::Reconnecting | State::Closed | State::Failed => {}
            State::Closing => self.finish(Ending::ByUs),
            State::Connecting | State::Configuring | State::Configured | State::ReadOnly => {
                let parting = self.dialect.ending(&close);
                match (self.loss.take(), parting) {
                    (Some(Loss::Rejected(refusal)), _) if std::mem::take(&mut self.renewal.after_loss) => {
                        self.need_token_unconnected(refusal, now);
                    }
                    (Some(Loss::Asked), _) => self.reconnect_after(Loss::Asked, Some(Duration::ZERO), now, 0),
                    (Some(loss), _) => self.reconnect_after(loss, None, now, random),
                    (None, Some(Parting::Ended(ending))) => self.finish(ending),
                    (None, Some(Parting::TokenNeeded(refusal))) => self.need_token_unconnected(refusal, now),
                    (None, None) => self.reconnect_after(Loss::Closed(close), None, now, random),
                }
            }
        }
    }

    /// The upgrade was answered with another status than 101, and perhaps `Retry-After`.
    pub fn handle_refused(&mut self, status: u16, retry_after: Option<Duration>, now: Now, random: u64) {
        if self.state != State::Connecting {
            return;
        }
        self.chronicle.handle_time(now);
        self.loss = None;
        if self.dialect.wants_token(status) {
            let refusal = Refusal::new(status, "the handshake was not authorised");
            self.need_token_unconnected(refusal, now);
        } else if self.dialect.is_final(status) {
            self.finish(Ending::Refused { status });
        } else {
            self.reconnect_after(Loss::Refused { status }, retry_after, now, random);
        }
    }

    /// Time has passed; call it at [`Self::poll_timeout`], or at any time.
    pub fn handle_timeout(&mut self, now: Now) {
        self.chronicle.handle_time(now);
        if let Some((_, reason)) = self.deadline.take_if(|(at, _)| *at <= now.instant) {
            match reason {
                Reason::ConnectTimeout | Reason::ConfigureTimeout | Reason::StartNew => {
                    self.disconnect(Loss::NoAnswer);
                }
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
                Reason::Token => self.handle_no_token(),
                Reason::Attachment | Reason::Expiry | Reason::Heartbeat | Reason::History | Reason::Pace => {}
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
            Some(HeartbeatAction::Drop) => self.disconnect(Loss::Silent),
            Some(HeartbeatAction::Ping) => {
                if self.heartbeat.as_ref().is_some_and(Heartbeat::has_missed) {
                    self.chronicle.record(Happening::PingMissed);
                }
                self.transmits.push_back(Transmit::Ping);
                if self.outbox.doubt_overdue(self.pings()) {
                    self.recover_overdue(now.instant, now);
                }
            }
            None => {}
        }
        if matches!(self.state, State::Configured | State::ReadOnly) {
            match self.health.handle_timeout(now) {
                Some(Sign::Expired) => self.finish(Ending::SessionExpired),
                Some(Sign::Expiring(at)) => self.tell(Event::SessionExpiring { at: Some(at) }),
                None => {}
            }
        }
        self.handle_file_timeout(now);
        self.advance_history(now);
    }

    fn give_up_waiting(&mut self, reason: &FailureReason) {
        for id in self.outbox.give_up_waiting(reason) {
            let reason = reason.clone();
            self.tell(Event::Failed { id, reason });
            self.settle_carried(id, Err(None));
        }
    }

    /// What is in doubt, and not being decided, is told.
    fn tell_doubts(&mut self) {
        let ids = self.outbox.tell_doubts();
        if !ids.is_empty() {
            self.tell(Event::InDoubt { ids });
        }
    }

    fn tell(&mut self, event: Event) {
        let told = self.events.tell(event);
        self.events.push(told);
    }

    /// Messages wait while it is decided whether older ones arrived.
    fn is_deciding(&self) -> bool {
        let recovering = self
            .archive
            .as_ref()
            .is_some_and(|archive| archive.is_recovering());
        recovering && self.outbox.is_undecided()
    }

    fn wake_at(&mut self, limit: Limit, at: Instant) {
        self.chronicle.record_wait(limit, at);
        self.pace = Some(self.pace.map_or(at, |pace| pace.min(at)));
    }

    fn pings(&self) -> u64 {
        self.heartbeat.as_ref().map_or(0, Heartbeat::pings)
    }
}

/// The name of a frame that is not known, under either contract.
#[derive(serde::Deserialize)]
struct Class<'a> {
    #[serde(borrow)]
    class: Option<genesys_api::wire::Text<'a>>,
    #[serde(borrow, rename = "type")]
    kind: Option<genesys_api::wire::Text<'a>>,
}
