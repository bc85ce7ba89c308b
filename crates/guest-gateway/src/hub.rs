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

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use genesys_api::SessionId;
use guest_suite::direct::Direct;
use session_metrics::EndReason;
use time::OffsetDateTime;
use tokio::sync::mpsc;
use ws_transport::{AdmittedOrigin, MessageId};

use self::relay::Relay;

/// Frames that wait for one slow socket before it is given up.
const BEHIND: usize = 64;
/// Commands that wait for one relay; a socket that sends more is not read on.
const AHEAD: usize = 32;

/// The live conversations of this process. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Hub {
    direct: Direct,
    relays: Arc<Mutex<HashMap<SessionId, mpsc::Sender<Command>>>>,
}

/// What a socket, or the gateway, asks of a relay.
#[derive(Debug)]
pub(crate) enum Command {
    /// A guest's socket wants to hear all after number `after`.
    Attach {
        socket: mpsc::Sender<Outgoing>,
        after: Option<u64>,
    },
    /// The session is over.
    End(EndReason),
    /// The tokens were rotated: sockets may stay open until then.
    Extend(OffsetDateTime),
    /// The guest says something.
    Say { id: MessageId, text: String },
    /// The guest is typing.
    Typing,
}

/// What a relay tells a socket.
#[derive(Clone, Debug)]
pub(crate) enum Outgoing {
    /// A frame, as it travels.
    Frame(Arc<str>),
    /// The socket may stay open until then.
    Extend(OffsetDateTime),
    /// Say no more, and close.
    Close { code: u16, reason: &'static str },
}

/// A guest's socket on its relay.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) outgoing: mpsc::Receiver<Outgoing>,
}

impl Hub {
    pub(crate) fn new(direct: Direct) -> Self {
        Self {
            direct,
            relays: Arc::default(),
        }
    }

    /// Puts a guest's socket on the session's relay, which is started if there is none.
    pub(crate) async fn attach(
        &self,
        owner: &str,
        id: &SessionId,
        origin: AdmittedOrigin,
        after: Option<u64>,
    ) -> Attached {
        let (socket, outgoing) = mpsc::channel(BEHIND);
        let mut attach = Command::Attach { socket, after };
        loop {
            let commands = self.relay(owner, id, origin.clone());
            match commands.send(attach).await {
                Ok(()) => return Attached { commands, outgoing },
                // it ended just now: its entry is gone or will be at once
                Err(mpsc::error::SendError(command)) => {
                    self.forget(id, &commands);
                    attach = command;
                }
            }
        }
    }

    /// Tells the session's sockets that it is over.
    pub(crate) async fn end(&self, id: &SessionId, reason: EndReason) {
        self.tell(id, Command::End(reason)).await;
    }

    /// Lets the session's sockets stay open until `expires_at`.
    pub(crate) async fn extend(&self, id: &SessionId, expires_at: OffsetDateTime) {
        self.tell(id, Command::Extend(expires_at)).await;
    }

    /// How many conversations are live.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Ends every relay; guests' sockets are told that the gateway goes away (1001) and can come back.
    pub(crate) fn close(&self) {
        // a relay whose commands end closes its sockets
        self.lock().clear();
    }

    async fn tell(&self, id: &SessionId, command: Command) {
        let commands = self.lock().get(id).cloned();
        if let Some(commands) = commands {
            let _over_already = commands.send(command).await;
        }
    }

    fn relay(&self, owner: &str, id: &SessionId, origin: AdmittedOrigin) -> mpsc::Sender<Command> {
        let mut relays = self.lock();
        if let Some(commands) = relays.get(id).filter(|commands| !commands.is_closed()) {
            return commands.clone();
        }
        let (commands, received) = mpsc::channel(AHEAD);
        relays.insert(id.clone(), commands.clone());
        let relay = Relay::new(self.direct.clone(), owner.to_owned(), id.clone(), origin);
        let (hub, id, weak) = (self.clone(), id.clone(), commands.downgrade());
        tokio::spawn(async move {
            relay.run(received).await;
            if let Some(commands) = weak.upgrade() {
                hub.forget(&id, &commands);
            }
        });
        commands
    }

    fn forget(&self, id: &SessionId, commands: &mpsc::Sender<Command>) {
        let mut relays = self.lock();
        if relays.get(id).is_some_and(|known| known.same_channel(commands)) {
            relays.remove(id);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, mpsc::Sender<Command>>> {
        self.relays.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
