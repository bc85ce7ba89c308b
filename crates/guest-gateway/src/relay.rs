//! Live conversations: one socket to Genesys Cloud for each guest session, and the guest's own sockets on it.
//!
//! ```text
//!  socket ─ Command ─▶ relay ─ send ─▶ Genesys Cloud
//!  socket ◀ Outgoing ─ relay ◀ Event ─
//! ```
//!
//! A relay runs from the first handshake of a session to its end. It numbers the events that it sends and keeps the
//! latest ones, so that a guest who reconnects receives the missed events.
//!
//! [`Relay`] is a state machine. `driver` runs it on the conversation and the channels of the sockets.

mod activity;
mod delivery;
mod driver;
mod event_log;
mod files;
mod frame;
mod history;
mod replay;
mod session;
mod status;
mod stop;
mod subscribers;
mod upstream;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use genesys_api::SessionId;
use guest_conversation::timeline::Timeline;
use guest_conversation::{MessageId, OutgoingMessage, Request};
use guest_sessions::HistoryQuery;
use guest_suite::direct::{Admitted, Direct};
use time::OffsetDateTime;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::Instrument as _;
use ws_transport::AdmittedOrigin;
use ws_transport::server::Payload;

pub(crate) use self::activity::Activity;
use self::driver::Driver;
use self::event_log::EventLog;
pub(crate) use self::files::{FileAnswer, FileError, FileHead, FileRequest, Slot};
pub use self::history::HistoryAnswer;
pub use self::replay::ReplayBudget;
pub use self::session::Relay;
pub use self::stop::Stop;
use crate::health::Health;

/// Frames queued for one socket. Further ones wait in the replay buffer.
pub(crate) const SOCKET_QUEUE: usize = 64;
/// Time to close sockets after shutdown begins.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);
/// Conversations that stopped and whose timeline is kept, of at most 3 KiB each. Our choice.
const STOPPED: usize = 256;
/// Commands queued for one relay. A socket that sends more is not read further.
const COMMAND_QUEUE: usize = 32;

/// The live conversations of this process. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Hub {
    direct: Direct,
    relays: Arc<Mutex<Relays>>,
    budget: ReplayBudget,
    log: EventLog,
    sockets: Arc<AtomicU64>,
    health: Health,
    activity: Arc<Activity>,
    /// Timelines of the conversations that stopped last, oldest first.
    stopped: Arc<Mutex<VecDeque<(SessionId, Timeline)>>>,
    /// Each open socket has a receiver.
    open_sockets: watch::Sender<()>,
    // dropped last, because the gateway waits for it
    pub(crate) shutdown: Shutdown,
}

type Relays = HashMap<SessionId, mpsc::Sender<Command>>;

/// A signal of shutdown: true, or without a sender. The gateway waits until all clones are dropped.
#[derive(Clone, Debug)]
pub(crate) struct Shutdown(pub(crate) watch::Receiver<bool>);

impl Shutdown {
    pub(crate) async fn requested(&self) {
        let _ = self.0.clone().wait_for(|stop| *stop).await;
    }

    /// Runs a task until shutdown begins.
    pub(crate) async fn stopping(self, task: impl Future<Output = ()>) {
        tokio::select! {
            () = task => {}
            () = self.requested() => {}
        }
    }

    /// Resolves 500 ms after shutdown begins. Sockets still open are then dropped.
    pub(crate) async fn close_deadline(&self) {
        self.requested().await;
        tokio::time::sleep(CLOSE_TIMEOUT).await;
    }
}

/// A command of a socket, or of the gateway, to a relay. A channel allocates 32 at once, so that the rare large ones are
/// boxed.
#[derive(Debug)]
pub(crate) enum Command {
    /// Subscribe a guest's socket to the events after a position.
    Attach {
        socket: SocketId,
        outgoing: mpsc::Sender<Outgoing>,
        position: Option<Box<Position>>,
    },
    /// Handle a file of the guest.
    File(Box<FileRequest>),
    /// Read a part of the history.
    History {
        query: HistoryQuery,
        reply: oneshot::Sender<HistoryAnswer>,
    },
    /// Extend the lifetime of the sockets, because the tokens were rotated.
    Extend(OffsetDateTime),
    /// Send a message of the guest. A refusal is answered on this socket.
    Send {
        id: MessageId,
        message: Box<OutgoingMessage>,
        socket: SocketId,
    },
    /// Read the timeline of the conversation.
    Timeline(oneshot::Sender<Timeline>),
    Typing,
    /// Make a request of the guest. A refusal is answered on this socket.
    Request {
        request: Request,
        socket: SocketId,
    },
}

/// A number of a guest's socket, unique in the process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a number and nothing else")]
pub struct SocketId(pub u64);

/// The last event that a guest's client has received.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "the fields of the handshake frame")]
pub struct Position {
    /// Its epoch.
    pub epoch: Option<String>,
    /// Its number.
    pub sequence: u64,
    /// Id of the last message of an agent or a bot.
    pub message: Option<String>,
}

impl Position {
    /// The position that a handshake names. `None` if it does not resume.
    pub(crate) fn of(epoch: Option<&str>, sequence: Option<u64>, message: Option<&str>) -> Option<Self> {
        let resumes = sequence.is_some() || message.is_some();
        resumes.then(|| Self {
            epoch: epoch.map(str::to_owned),
            sequence: sequence.unwrap_or(0),
            message: message.map(str::to_owned),
        })
    }
}

/// The last message that earlier relays of a session delivered.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there is nothing else to know")]
pub enum LastDelivered {
    /// There was none.
    Nothing,
    /// The one with this id.
    Message(String),
    /// One whose id is not stored.
    Unknown,
}

/// An output of a relay to a socket.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "the driver of a socket handles each")]
pub enum Outgoing {
    /// A frame.
    Frame(Payload),
    /// A new end of the socket's lifetime.
    Extend(OffsetDateTime),
    /// Close the socket with this code and reason.
    Close(u16, &'static str),
}

/// A handle of a guest's socket to its relay.
#[derive(Debug)]
pub(crate) struct SocketHandle {
    /// Commands to the relay. Sending waits while the relay is busy. A relay that has ended has closed the socket.
    pub(crate) commands: mpsc::Sender<Command>,
    /// Outputs for the guest. It ends if the socket was dropped because it was too slow.
    pub(crate) outgoing: mpsc::Receiver<Outgoing>,
    /// The socket's number, for its commands.
    pub(crate) socket: SocketId,
    /// Counts the socket while it is open.
    _open: watch::Receiver<()>,
}

/// A handle of a session's relay, for requests about files.
#[derive(Debug)]
pub(crate) struct Files(mpsc::Sender<Command>);

impl Files {
    /// Makes a request. Returns its answer, or `None` if the relay stops first.
    pub(crate) async fn request<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> FileRequest,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Command::File(Box::new(request(reply)))).await.ok()?;
        answer.await.ok()
    }
}

impl Hub {
    pub(crate) fn new(direct: Direct, health: Health, shutdown: Shutdown) -> Self {
        Self {
            direct,
            relays: Arc::default(),
            budget: ReplayBudget::default(),
            log: EventLog::default(),
            sockets: Arc::default(),
            health,
            activity: Arc::default(),
            stopped: Arc::default(),
            open_sockets: watch::Sender::default(),
            shutdown,
        }
    }

    /// Subscribes a guest's socket to the session's relay, which is started if there is none.
    pub(crate) async fn attach(
        &self,
        admitted: Admitted,
        id: &SessionId,
        origin: AdmittedOrigin,
        position: Option<Position>,
    ) -> SocketHandle {
        let (queue, outgoing) = mpsc::channel(SOCKET_QUEUE);
        let socket = SocketId(self.sockets.fetch_add(1, Ordering::Relaxed));
        let attach = Command::Attach {
            socket,
            outgoing: queue,
            position: position.map(Box::new),
        };
        SocketHandle {
            commands: self.send(admitted, id, origin, attach).await,
            outgoing,
            socket,
            _open: self.open_sockets.subscribe(),
        }
    }

    /// Makes a request about a file at the session's relay, which is started if there is none. Returns its answer, `None` if
    /// the relay stops first, and the channel for further requests.
    pub(crate) async fn file<T>(
        &self,
        admitted: Admitted,
        id: &SessionId,
        origin: AdmittedOrigin,
        request: impl FnOnce(oneshot::Sender<T>) -> FileRequest,
    ) -> (Option<T>, Files) {
        let (reply, answer) = oneshot::channel();
        let commands = self
            .send(admitted, id, origin, Command::File(Box::new(request(reply))))
            .await;
        (answer.await.ok(), Files(commands))
    }

    /// Reads a part of the history by the session's relay, which is started if there is none. `None` if it stops first.
    pub(crate) async fn history(
        &self,
        admitted: Admitted,
        id: &SessionId,
        origin: AdmittedOrigin,
        query: HistoryQuery,
    ) -> Option<HistoryAnswer> {
        let (reply, answer) = oneshot::channel();
        self.send(admitted, id, origin, Command::History { query, reply })
            .await;
        answer.await.ok()
    }

    /// Logs a part of a session's history that could not be read, as the limit of such lines allows.
    pub(crate) fn log_unread(&self, id: &SessionId, reason: &str) {
        self.log
            .record_unread(id, reason, self.direct.clock().now().instant);
    }

    /// Sends a command to the session's relay, which is started if there is none. Returns its channel.
    async fn send(
        &self,
        admitted: Admitted,
        id: &SessionId,
        origin: AdmittedOrigin,
        mut command: Command,
    ) -> mpsc::Sender<Command> {
        loop {
            let running = {
                let mut relays = self.lock();
                match relays.get(id).filter(|commands| !commands.is_closed()) {
                    Some(commands) => commands.clone(),
                    None => {
                        let (commands, received) = mpsc::channel(COMMAND_QUEUE);
                        // the channel is empty, so there is room
                        let _ = commands.try_send(command);
                        relays.insert(id.clone(), commands.clone());
                        let driver = Driver::new(self, &admitted, id.clone(), origin);
                        let session = admitted.pseudonym();
                        let span = tracing::info_span!(target: "otlp", "conversation", %session);
                        let running = self.clone().run(Box::new(driver), id.clone(), admitted, received);
                        tokio::spawn(running.instrument(span));
                        return commands;
                    }
                }
            };
            match running.send(command).await {
                Ok(()) => return running,
                // the relay has just ended
                Err(mpsc::error::SendError(unsent)) => command = unsent,
            }
        }
    }

    /// Extends the lifetime of the session's sockets to `expires_at`.
    pub(crate) async fn extend(&self, id: &SessionId, expires_at: OffsetDateTime) {
        let commands = self.lock().get(id).cloned();
        if let Some(commands) = commands {
            let _ = commands.send(Command::Extend(expires_at)).await;
        }
    }

    /// Counters of the conversations.
    pub(crate) fn activity(&self) -> &Activity {
        &self.activity
    }

    /// The timeline of the session's conversation. `None` if it has none, or stopped long ago.
    pub(crate) async fn timeline(&self, id: &SessionId) -> Option<Timeline> {
        let commands = self.lock().get(id).cloned();
        if let Some(commands) = commands {
            let (reply, answer) = oneshot::channel();
            let _ = commands.send(Command::Timeline(reply)).await;
            if let Ok(timeline) = answer.await {
                return Some(timeline);
            }
        }
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let mut latest = stopped.iter().rev();
        latest.find_map(|(stopped, timeline)| (stopped == id).then(|| timeline.clone()))
    }

    fn keep_timeline(&self, id: &SessionId, timeline: Timeline) {
        let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        stopped.retain(|(stopped, _)| stopped != id);
        if stopped.len() >= STOPPED {
            stopped.pop_front();
        }
        stopped.push_back((id.clone(), timeline));
    }

    /// The number of WebSockets and event streams of guests.
    pub(crate) fn open_sockets(&self) -> usize {
        self.open_sockets.receiver_count()
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Runs a relay and removes it at its end.
    async fn run(
        self,
        driver: Box<Driver>,
        id: SessionId,
        admitted: Admitted,
        commands: mpsc::Receiver<Command>,
    ) {
        let timeline = driver.run(admitted, commands, self.shutdown.clone()).await;
        if let Some(timeline) = timeline {
            self.keep_timeline(&id, timeline);
        }
        let mut relays = self.lock();
        // a newer relay may have replaced it
        if relays.get(&id).is_some_and(mpsc::Sender::is_closed) {
            relays.remove(&id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Relays> {
        self.relays.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
