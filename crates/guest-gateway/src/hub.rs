//! Live conversations: one socket to Genesys Cloud for each guest session, and the guest's own sockets on it.
//!
//! ```text
//!  socket ─ Command ─▶ relay ─ send ─▶ Genesys Cloud
//!  socket ◀ Outgoing ─ relay ◀ Event ─
//! ```
//!
//! A relay lives from a session's first handshake to its end. It numbers what it tells, keeps the last of it, and
//! tells a guest who comes back what was missed.

mod relay;
mod replay;
mod said;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use genesys_api::SessionId;
use guest_conversation::MessageId;
use guest_suite::direct::{Admitted, Direct};
use time::OffsetDateTime;
use tokio::sync::{mpsc, watch};
use ws_transport::AdmittedOrigin;

use self::relay::Relay;

/// Frames that wait for one slow socket before it is given up.
const BEHIND: usize = 64;
/// How long goodbyes may take once the gateway stops.
const FAREWELL: Duration = Duration::from_millis(500);
/// Commands that wait for one relay; a socket that sends more is not read on.
const AHEAD: usize = 32;

/// The live conversations of this process. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Hub {
    direct: Direct,
    relays: Arc<Mutex<HashMap<SessionId, mpsc::Sender<Command>>>>,
    // the gateway waits until the last of these is dropped, so it comes last
    stopping: Stopping,
}

/// Turns true, or loses its sender, when the gateway stops. While a clone of it lives, something is still under way.
pub(crate) type Stopping = watch::Receiver<bool>;

/// Waits for the gateway to stop.
pub(crate) async fn stopped(mut stopping: Stopping) {
    // a sender that is gone means the same
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// Waits until the gateway has stopped for so long that whoever has not said goodbye need not.
async fn overdue(stopping: Stopping) {
    stopped(stopping).await;
    tokio::time::sleep(FAREWELL).await;
}

/// What a socket, or the gateway, asks of a relay.
#[derive(Debug)]
enum Command {
    /// A guest's socket wants to hear all after number `after`.
    Attach {
        socket: mpsc::Sender<Outgoing>,
        after: Option<u64>,
    },
    /// The tokens were rotated: sockets may stay open until then.
    Extend(OffsetDateTime),
    /// The guest says something, on this socket.
    Say {
        id: MessageId,
        text: String,
        socket: mpsc::WeakSender<Outgoing>,
    },
    /// The guest is typing.
    Typing,
}

/// What a relay tells a socket.
#[derive(Clone, Debug)]
pub(crate) enum Outgoing {
    /// A frame, as it travels.
    Frame(Arc<str>),
    /// The answer to the handshake, and what was missed.
    Welcome(Vec<Arc<str>>),
    /// The socket may stay open until then.
    Extend(OffsetDateTime),
    /// Say no more, and close.
    Close { code: u16, reason: &'static str },
}

/// A guest's socket on its relay.
#[derive(Debug)]
pub(crate) struct Attached {
    commands: mpsc::Sender<Command>,
    outgoing: mpsc::Receiver<Outgoing>,
    own: mpsc::WeakSender<Outgoing>,
}

impl Attached {
    /// What the socket is to tell its guest next. `None` if it was given up, for being too far behind.
    pub(crate) async fn next(&mut self) -> Option<Outgoing> {
        self.outgoing.recv().await
    }

    /// Passes on what the guest says. Waits while the relay is busy; one that is over has told the socket so.
    pub(crate) async fn say(&self, id: MessageId, text: String) {
        let socket = self.own.clone();
        let _over = self.commands.send(Command::Say { id, text, socket }).await;
    }

    /// Passes on that the guest is typing.
    pub(crate) async fn typing(&self) {
        let _over = self.commands.send(Command::Typing).await;
    }
}

impl Hub {
    pub(crate) fn new(direct: Direct, stopping: Stopping) -> Self {
        Self {
            direct,
            relays: Arc::default(),
            stopping,
        }
    }

    /// Waits for the gateway to stop.
    pub(crate) async fn stopped(&self) {
        stopped(self.stopping.clone()).await;
    }

    /// Waits until the gateway has stopped for so long that a socket that has not said goodbye need not.
    pub(crate) async fn overdue(&self) {
        overdue(self.stopping.clone()).await;
    }

    /// Puts a guest's socket on the session's relay, which is started if there is none, or if it takes no more.
    pub(crate) async fn attach(
        &self,
        admitted: Admitted,
        id: &SessionId,
        origin: AdmittedOrigin,
        after: Option<u64>,
    ) -> Attached {
        let (socket, outgoing) = mpsc::channel(BEHIND);
        let own = socket.downgrade();
        let mut attach = Command::Attach { socket, after };
        let commands = loop {
            let running = {
                let mut relays = self.lock();
                match relays.get(id).filter(|commands| !commands.is_closed()) {
                    Some(commands) => commands.clone(),
                    None => {
                        let (commands, received) = mpsc::channel(AHEAD);
                        // the channel is empty, so there is room
                        let _attached = commands.try_send(attach);
                        relays.insert(id.clone(), commands.clone());
                        self.spawn(id.clone(), admitted, origin, received);
                        break commands;
                    }
                }
            };
            match running.send(attach).await {
                Ok(()) => break running,
                // it ended just now
                Err(mpsc::error::SendError(command)) => attach = command,
            }
        };
        Attached {
            commands,
            outgoing,
            own,
        }
    }

    /// Lets the session's sockets stay open until `expires_at`.
    pub(crate) async fn extend(&self, id: &SessionId, expires_at: OffsetDateTime) {
        let commands = self.lock().get(id).cloned();
        if let Some(commands) = commands {
            let _over = commands.send(Command::Extend(expires_at)).await;
        }
    }

    /// How many conversations are live.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn spawn(
        &self,
        id: SessionId,
        admitted: Admitted,
        origin: AdmittedOrigin,
        received: mpsc::Receiver<Command>,
    ) {
        let relay = Relay::new(
            self.direct.clone(),
            admitted.owner().to_owned(),
            id.clone(),
            origin,
        );
        let hub = self.clone();
        tokio::spawn(async move {
            relay.run(admitted, received, hub.stopping.clone()).await;
            let mut relays = hub.lock();
            // by now there may be a newer one
            if relays.get(&id).is_some_and(mpsc::Sender::is_closed) {
                relays.remove(&id);
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, mpsc::Sender<Command>>> {
        self.relays.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
