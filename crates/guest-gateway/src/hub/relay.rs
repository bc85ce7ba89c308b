//! One session's relay: its conversation with Genesys Cloud, told to the guest's sockets.

use std::sync::Arc;

use genesys_api::{SessionId, SessionStage, SessionState, rfc3339};
use guest_conversation::{
    Author, AuthorKind, Ending, Event, FailureReason, Message, MessageId, SendError, Session,
};
use guest_sessions::{ErrorCode, EventName, Sender, SenderKind, ServerFrame, SuggestedReply};
use guest_suite::direct::{Admitted, Conversation, Direct, DirectError};
use session_metrics::EndReason;
use tokio::sync::mpsc;
use ws_transport::AdmittedOrigin;

use super::replay::Replay;
use super::said::{Fate, Said};
use super::{Command, Outgoing, Stopping, overdue, stopped};

/// Sockets of one session at once; one more takes the place of the oldest. As many as Genesys itself takes.
const SOCKETS: usize = genesys_api::limits::CONNECTIONS_PER_SESSION as usize;

pub(super) struct Relay {
    direct: Direct,
    owner: String,
    id: SessionId,
    origin: AdmittedOrigin,
    replay: Replay,
    said: Said,
    seats: Vec<Seat>,
    configured: Option<Session>,
    reconnecting: bool,
}

/// A guest's socket.
struct Seat {
    socket: mpsc::Sender<Outgoing>,
    /// The number after which it wants to hear.
    after: Option<u64>,
    /// Its handshake is answered, which waits until the session is configured.
    welcome: bool,
}

/// Why a relay stops.
enum Stop {
    /// The session is over.
    Ended(EndReason),
    /// This gateway cannot go on with it now; the session is as it was.
    Broken { code: ErrorCode, message: String },
    /// The gateway goes away.
    Leaving,
}

impl Relay {
    pub(super) fn new(direct: Direct, owner: String, id: SessionId, origin: AdmittedOrigin) -> Self {
        Self {
            direct,
            owner,
            id,
            origin,
            replay: Replay::default(),
            said: Said::default(),
            seats: Vec::new(),
            configured: None,
            reconnecting: false,
        }
    }

    pub(super) async fn run(
        mut self,
        admitted: Admitted,
        mut commands: mpsc::Receiver<Command>,
        stopping: Stopping,
    ) {
        let (stop, conversation) = match self.connect(admitted).await {
            Ok(mut conversation) => {
                let stop = tokio::select! {
                    stop = self.relay(&mut conversation, &mut commands) => stop,
                    () = stopped(stopping.clone()) => Stop::Leaving,
                };
                (stop, Some(conversation))
            }
            Err(stop) => (stop, None),
        };
        let conversation = match &stop {
            Stop::Ended(reason) => {
                if let Err(error) = self.direct.end(&self.owner, &self.id, *reason).await {
                    tracing::error!(session = %self.id, %error, "the end of the session could not be stored");
                }
                conversation
            }
            Stop::Broken { .. } => None,
            Stop::Leaving => {
                if let Some(conversation) = conversation {
                    for event in leave(conversation, stopping.clone()).await {
                        self.handle_event(event);
                    }
                }
                None
            }
        };
        // those who came while it stopped hear of it too
        commands.close();
        while let Ok(command) = commands.try_recv() {
            if let Command::Attach { socket, after } = command {
                self.attach(socket, after);
            }
        }
        self.tell_stop(stop);
        // dropped now, so that the guest need not wait for Genesys
        self.seats.clear();
        if let Some(conversation) = conversation {
            leave(conversation, stopping).await;
        }
    }

    async fn connect(&mut self, admitted: Admitted) -> Result<Conversation, Stop> {
        if let Some(reason) = admitted.end_reason() {
            return Err(Stop::Ended(reason));
        }
        let info = admitted.info();
        if info.state != SessionState::Live(SessionStage::Created) {
            // numbers that a relay before this one gave out do not come again: events are no more than one a
            // millisecond, so those of the session's age are still free
            let age = self.direct.clock().now().utc - info.created_at;
            self.replay = Replay::after_number(u64::try_from(age.whole_milliseconds()).unwrap_or(0));
        }
        let connected = self.direct.connect_admitted(admitted, self.origin.clone()).await;
        connected.map_err(|error| match error {
            DirectError::Ended => Stop::Ended(EndReason::Expired),
            error => Stop::Broken {
                code: match error {
                    DirectError::NotAdmitted(_) => ErrorCode::GenesysRefused,
                    _ => ErrorCode::ServiceUnavailable,
                },
                message: error.to_string(),
            },
        })
    }

    async fn relay(
        &mut self,
        conversation: &mut Conversation,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Stop {
        loop {
            tokio::select! {
                event = conversation.next_event() => {
                    let Some(event) = event else {
                        return Stop::Broken {
                            code: ErrorCode::ServiceUnavailable,
                            message: "the connection to Genesys was lost for good: come back and resume".to_owned(),
                        };
                    };
                    if let Some(stop) = self.handle_event(event) {
                        return stop;
                    }
                }
                // the hub holds a sender for as long as this runs
                Some(command) = commands.recv() => match command {
                    Command::Attach { socket, after } => self.attach(socket, after),
                    Command::Extend(until) => {
                        for seat in &self.seats {
                            let _gone = seat.socket.try_send(Outgoing::Extend(until));
                        }
                    }
                    Command::Say { id, text, socket } => {
                        if let Some(answer) = self.say(conversation, id, &text)
                            && let Some(socket) = socket.upgrade()
                        {
                            let _gone = socket.try_send(Outgoing::Frame(answer));
                        }
                    }
                    Command::Typing => conversation.typing(),
                },
            }
        }
    }

    /// Passes on what the guest says. Gives the answer, if there is one already.
    fn say(&mut self, conversation: &Conversation, id: MessageId, text: &str) -> Option<Arc<str>> {
        match self.said.fate(id) {
            Some(Fate::Accepted(frame)) => Some(Arc::clone(frame)),
            Some(Fate::Doubted) => Some(doubted(id)),
            Some(Fate::OnItsWay) => None,
            None => match conversation.send(id, text) {
                Ok(()) => {
                    self.said.note(id, Fate::OnItsWay);
                    None
                }
                Err(error) => {
                    let code = match error {
                        SendError::Empty => ErrorCode::MessageEmpty,
                        SendError::Full { .. } => ErrorCode::TooManyMessages,
                        SendError::ReadOnly => ErrorCode::ConversationReadOnly,
                        SendError::TooLong { .. } => ErrorCode::MessageTooLong,
                        _ => ErrorCode::NotSent,
                    };
                    Some(failed(id, code, &error.to_string()))
                }
            },
        }
    }

    /// Gives a socket a seat; the oldest socket gives way if there is none left.
    fn attach(&mut self, socket: mpsc::Sender<Outgoing>, after: Option<u64>) {
        self.seats.retain(|seat| !seat.socket.is_closed());
        if self.seats.len() == SOCKETS {
            let oldest = self.seats.remove(0);
            let _gone = oldest.socket.try_send(Outgoing::Close {
                code: 1008,
                reason: "the session has newer sockets",
            });
        }
        self.seats.push(Seat {
            socket,
            after,
            welcome: false,
        });
        self.welcome();
    }

    /// Once the session is configured: answers the handshakes that wait, and tells what was missed.
    fn welcome(&mut self) {
        let Some(session) = &mut self.configured else {
            return;
        };
        let accepted = ServerFrame::HandshakeAccepted {
            guest_session_id: self.id.clone(),
            new_session: session.new_session,
            read_only: session.read_only,
            sequence: self.replay.last(),
        };
        let accepted: Arc<str> = accepted.to_json().into();
        for seat in self.seats.iter_mut().filter(|seat| !seat.welcome) {
            let mut frames = vec![Arc::clone(&accepted)];
            if let Some(after) = seat.after {
                let (gap, missed) = self.replay.after(after);
                if gap {
                    let text = "more was missed than is kept: read the history of the conversation";
                    frames.push(
                        ServerFrame::error(ErrorCode::ReplayIncomplete.as_str(), text)
                            .to_json()
                            .into(),
                    );
                }
                frames.extend(missed.cloned());
            }
            seat.welcome = true;
            // for who comes next it is an old one
            session.new_session = false;
            // a socket that is gone is found out by the next frame
            let _gone = seat.socket.try_send(Outgoing::Welcome(frames));
        }
    }

    fn handle_event(&mut self, event: Event) -> Option<Stop> {
        match event {
            Event::Configured(session) | Event::Restored(session) | Event::SignedIn(session) => {
                if std::mem::take(&mut self.reconnecting) {
                    self.event(EventName::SessionRestored, None);
                }
                self.configured = Some(session);
                self.welcome();
            }
            // a guest is told once, however often Genesys says it
            Event::Accepted { id, .. } if matches!(self.said.fate(id), Some(Fate::Accepted(_))) => {}
            Event::Accepted { id, at, .. } => {
                let frame = self.number(|sequence| ServerFrame::MessageAccepted {
                    id,
                    sequence,
                    timestamp: rfc3339(at).into(),
                });
                self.said.note(id, Fate::Accepted(frame));
            }
            Event::Failed { id, reason } => {
                let code = match &reason {
                    FailureReason::ReadOnly => ErrorCode::ConversationReadOnly,
                    FailureReason::Refused(_) => ErrorCode::MessageRefused,
                    _ => ErrorCode::NotSent,
                };
                self.said.forget(id);
                self.tell(failed(id, code, &reason.to_string()));
            }
            Event::InDoubt { ids } => {
                for id in ids {
                    self.said.note(id, Fate::Doubted);
                    self.tell(doubted(id));
                }
            }
            Event::Message(message) => self.message(&message),
            Event::Typing { from, .. } => {
                self.number(|sequence| ServerFrame::Typing {
                    sequence,
                    from: sender(&from),
                });
            }
            Event::Reconnecting { .. } if !self.reconnecting => {
                self.reconnecting = true;
                self.event(EventName::SessionReconnecting, None);
            }
            Event::ConversationEnded { read_only } => {
                if let Some(session) = &mut self.configured {
                    session.read_only |= read_only;
                }
                self.event(
                    EventName::ConversationEnded,
                    read_only.then(|| "read-only".to_owned()),
                );
            }
            Event::SessionExpiring { at } => self.event(EventName::SessionExpiring, at.map(rfc3339)),
            Event::Ended(ending) => return Some(stop(ending)),
            Event::HistoryUnread { why } => {
                tracing::warn!(session = %self.id, why, "what was missed cannot be read");
                self.replay.leave_gap();
                let text = "messages may be missing: the history could not be read after a lost connection";
                self.tell(
                    ServerFrame::error(ErrorCode::ReplayIncomplete.as_str(), text)
                        .to_json()
                        .into(),
                );
            }
            Event::Throttled { retry_after } => {
                tracing::warn!(session = %self.id, ?retry_after, "Genesys throttles the session");
            }
            Event::Refused(refusal) => {
                tracing::warn!(session = %self.id, %refusal, "Genesys refused a frame")
            }
            // a guest's own message on another socket was acknowledged there; tokens are the suite's to renew, and
            // nothing else was asked for
            _ => {}
        }
        None
    }

    fn message(&mut self, message: &Message) {
        let quick_replies: Vec<SuggestedReply<'_>> = message
            .quick_replies()
            .map(|reply| SuggestedReply {
                text: reply.text.clone(),
                payload: reply.payload.clone(),
            })
            .collect();
        self.number(|sequence| ServerFrame::Message {
            sequence,
            id: message.id.as_str().into(),
            text: message.fallback_text(),
            from: sender(&message.from),
            timestamp: rfc3339(message.at).into(),
            quick_replies,
        });
    }

    fn event(&mut self, name: EventName, detail: Option<String>) {
        self.number(|sequence| ServerFrame::Event {
            sequence,
            name,
            detail: detail.map(Into::into),
        });
    }

    fn number<'f>(&mut self, frame: impl FnOnce(u64) -> ServerFrame<'f>) -> Arc<str> {
        let frame = self.replay.push(|number| frame(number).to_json());
        self.tell(Arc::clone(&frame));
        frame
    }

    /// A socket that is too far behind is given up: its guest comes back and hears what was missed.
    fn tell(&mut self, frame: Arc<str>) {
        self.seats.retain(|seat| {
            !seat.welcome || seat.socket.try_send(Outgoing::Frame(Arc::clone(&frame))).is_ok()
        });
    }

    /// Those whose handshake was not answered are told as well.
    fn tell_stop(&mut self, stop: Stop) {
        for seat in &mut self.seats {
            seat.welcome = true;
        }
        let (code, reason) = match stop {
            Stop::Leaving => (1001, "the gateway goes away"),
            Stop::Broken { code, message } => {
                self.tell(ServerFrame::error(code.as_str(), &message).to_json().into());
                (1011, "see the error frame")
            }
            Stop::Ended(reason) => {
                self.number(|sequence| ServerFrame::SessionEnded {
                    reason: reason.name().into(),
                    sequence,
                });
                (1000, "the session has ended")
            }
        };
        for seat in &self.seats {
            let _gone = seat.socket.try_send(Outgoing::Close { code, reason });
        }
    }
}

/// Says goodbye to Genesys, and gives what came meanwhile.
async fn leave(conversation: Conversation, stopping: Stopping) -> Vec<Event> {
    tokio::select! {
        events = conversation.close() => events,
        () = overdue(stopping) => Vec::new(),
    }
}

/// What the end of a conversation means for the guest session.
fn stop(ending: Ending) -> Stop {
    match ending {
        Ending::SessionExpired => Stop::Ended(EndReason::Expired),
        // it ended here: the suite names the reason
        Ending::SessionEnded { reason } => Stop::Ended(reason.parse().unwrap_or(EndReason::ServerClosed)),
        Ending::ByUs => Stop::Leaving,
        Ending::ClosedByServer { .. } | Ending::LoggedOut => Stop::Ended(EndReason::ServerClosed),
        // the deployment, its domains or our configuration: nothing that the guest's session could help
        ending => Stop::Broken {
            code: ErrorCode::GenesysRefused,
            message: ending.to_string(),
        },
    }
}

fn failed(id: MessageId, code: ErrorCode, message: &str) -> Arc<str> {
    let frame = ServerFrame::MessageFailed {
        id,
        code: code.as_str().into(),
        message: message.into(),
    };
    frame.to_json().into()
}

fn doubted(id: MessageId) -> Arc<str> {
    let text = "the connection to Genesys was lost before it was acknowledged: it may have arrived";
    failed(id, ErrorCode::InDoubt, text)
}

fn sender(author: &Author) -> Sender<'_> {
    let kind = match author.kind {
        AuthorKind::Bot => SenderKind::Bot,
        _ => SenderKind::Agent,
    };
    Sender {
        kind,
        name: author.name.as_deref().map(Into::into),
    }
}
