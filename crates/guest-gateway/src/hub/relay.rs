//! One session's relay: its conversation with Genesys Cloud, told to the guest's sockets.

use std::sync::Arc;

use genesys_api::{SessionId, rfc3339};
use guest_suite::direct::{Conversation, Direct, DirectError};
use session_metrics::EndReason;
use tokio::sync::mpsc;
use ws_transport::guest_sessions::{EventName, Sender, SenderKind, ServerFrame, SuggestedReply};
use ws_transport::{
    AdmittedOrigin, Author, AuthorKind, Ending, Event, FailureReason, Message, MessageId, Session,
};

use super::replay::Replay;
use super::{Command, Outgoing};

/// Sockets of one session at once; one more takes the place of the oldest. Genesys' own limit for a session is 3.
const SOCKETS: usize = 3;

pub(super) struct Relay {
    direct: Direct,
    owner: String,
    id: SessionId,
    origin: AdmittedOrigin,
    replay: Replay,
    sockets: Vec<mpsc::Sender<Outgoing>>,
    /// Sockets that wait for the session to be configured, with the number after which they want to hear.
    waiting: Vec<(mpsc::Sender<Outgoing>, Option<u64>)>,
    configured: Option<Session>,
    reconnecting: bool,
}

/// Why a relay stops.
enum Stop {
    /// The session is over.
    Ended(EndReason),
    /// This gateway cannot go on with it now; the session is as it was.
    Broken { code: &'static str, message: String },
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
            sockets: Vec::new(),
            waiting: Vec::new(),
            configured: None,
            reconnecting: false,
        }
    }

    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let stop = match self
            .direct
            .connect(&self.owner, &self.id, self.origin.clone())
            .await
        {
            Ok(mut conversation) => {
                let stop = self.relay(&mut conversation, &mut commands).await;
                conversation.close().await;
                stop
            }
            Err(DirectError::Ended | DirectError::NotFound) => Stop::Ended(EndReason::Guest),
            Err(error) => Stop::Broken {
                code: "service.unavailable",
                message: error.to_string(),
            },
        };
        // those who came while it stopped hear of it too
        commands.close();
        while let Ok(command) = commands.try_recv() {
            if let Command::Attach { socket, .. } = command {
                self.sockets.push(socket);
            }
        }
        self.stop(stop).await;
    }

    async fn relay(
        &mut self,
        conversation: &mut Conversation,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Stop {
        loop {
            tokio::select! {
                event = conversation.next_event() => {
                    let Some(event) = event else { return Stop::Ended(EndReason::ServerClosed) };
                    if let Some(stop) = self.handle_event(event) {
                        return stop;
                    }
                }
                command = commands.recv() => match command {
                    Some(Command::Attach { socket, after }) => self.attach(socket, after),
                    Some(Command::End(reason)) => return Stop::Ended(reason),
                    Some(Command::Extend(until)) => self.tell(&Outgoing::Extend(until)),
                    Some(Command::Say { id, text }) => {
                        if let Err(error) = conversation.send(id, &text) {
                            self.fail(id, "not.sent", &error.to_string());
                        }
                    }
                    Some(Command::Typing) => conversation.typing(),
                    None => return Stop::Leaving,
                },
            }
        }
    }

    fn attach(&mut self, socket: mpsc::Sender<Outgoing>, after: Option<u64>) {
        match self.configured {
            Some(session) => self.welcome(socket, after, session),
            None => {
                self.waiting.push((socket, after));
                if self.waiting.len() > SOCKETS {
                    self.waiting.remove(0);
                }
            }
        }
    }

    /// Answers the handshake, then tells what was missed.
    fn welcome(&mut self, socket: mpsc::Sender<Outgoing>, after: Option<u64>, session: Session) {
        let accepted = ServerFrame::HandshakeAccepted {
            guest_session_id: self.id.clone(),
            new_session: session.new_session,
            read_only: session.read_only,
            sequence: self.replay.last(),
        };
        let mut frames: Vec<Arc<str>> = vec![accepted.to_json().into()];
        if let Some(after) = after {
            let (gap, missed) = self.replay.after(after);
            if gap {
                frames.push(
                    error(
                        "replay.incomplete",
                        "more was missed than is kept: read the history of the conversation",
                    )
                    .into(),
                );
            }
            frames.extend(missed.cloned());
        }
        // a socket takes `BEHIND` frames at once, which may be fewer than were missed; so it is fed beside the relay
        let feed = socket.clone();
        if frames.len() > feed.capacity() {
            let _gone = feed.try_send(Outgoing::Frame(Arc::clone(&frames[0])));
            let text = error(
                "replay.incomplete",
                "more was missed than can be told at once: read the history of the conversation",
            );
            let _gone = feed.try_send(Outgoing::Frame(text.into()));
            let newest = frames.len() - feed.capacity() / 2;
            frames.drain(..newest);
        }
        for frame in frames {
            let _gone = feed.try_send(Outgoing::Frame(frame));
        }
        if self.sockets.len() == SOCKETS {
            let oldest = self.sockets.remove(0);
            let _gone = oldest.try_send(Outgoing::Close {
                code: 1008,
                reason: "the session has newer sockets",
            });
        }
        self.sockets.push(socket);
    }

    fn handle_event(&mut self, event: Event) -> Option<Stop> {
        match event {
            Event::Configured(session) | Event::Restored(session) => {
                self.configured = Some(session);
                if std::mem::take(&mut self.reconnecting) {
                    self.event(EventName::SessionRestored, None);
                }
                for (socket, after) in std::mem::take(&mut self.waiting) {
                    self.welcome(socket, after, session);
                }
            }
            Event::Accepted { id, at, .. } => {
                self.number(|sequence| ServerFrame::MessageAccepted {
                    id,
                    sequence,
                    timestamp: rfc3339(at).into(),
                });
            }
            Event::Failed { id, reason } => {
                let code = match &reason {
                    FailureReason::ReadOnly => "conversation.read.only",
                    FailureReason::Refused(_) => "message.refused",
                    _ => "not.sent",
                };
                self.fail(id, code, &reason.to_string());
            }
            Event::InDoubt { ids } => {
                for id in ids {
                    self.fail(
                        id,
                        "in.doubt",
                        "the connection to Genesys was lost before it was acknowledged: it may have arrived",
                    );
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
                self.event(
                    EventName::ConversationEnded,
                    read_only.then(|| "read-only".to_owned()),
                );
            }
            Event::SessionExpiring { at } => self.event(EventName::SessionExpiring, at.map(rfc3339)),
            Event::Ended(ending) => return Some(stop(ending)),
            Event::Throttled { retry_after } => {
                tracing::warn!(session = %self.id, ?retry_after, "Genesys throttles the session");
            }
            Event::Refused(refusal) => {
                tracing::warn!(session = %self.id, %refusal, "Genesys refused a frame")
            }
            _ => {}
        }
        None
    }

    fn message(&mut self, message: &Message) {
        let quick_replies = message.quick_replies.iter();
        let quick_replies: Vec<SuggestedReply<'_>> = quick_replies
            .map(|reply| SuggestedReply {
                text: reply.text.as_str().into(),
                payload: reply.payload.as_str().into(),
            })
            .collect();
        self.number(|sequence| ServerFrame::Message {
            sequence,
            id: message.id.as_str().into(),
            text: message.text.as_str().into(),
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

    fn fail(&mut self, id: MessageId, code: &'static str, message: &str) {
        let frame = ServerFrame::MessageFailed {
            id,
            code: code.into(),
            message: message.into(),
        };
        self.tell(&Outgoing::Frame(frame.to_json().into()));
    }

    fn number<'f>(&mut self, frame: impl FnOnce(u64) -> ServerFrame<'f>) {
        let frame = self.replay.push(|number| frame(number).to_json());
        self.tell(&Outgoing::Frame(frame));
    }

    /// A socket that is too far behind is given up: its guest comes back and hears what was missed.
    fn tell(&mut self, outgoing: &Outgoing) {
        self.sockets
            .retain(|socket| socket.try_send(outgoing.clone()).is_ok());
    }

    async fn stop(mut self, stop: Stop) {
        let waiting = std::mem::take(&mut self.waiting);
        self.sockets.extend(waiting.into_iter().map(|(socket, _)| socket));
        match stop {
            Stop::Leaving => self.tell(&Outgoing::Close {
                code: 1001,
                reason: "the gateway goes away",
            }),
            Stop::Broken { code, message } => {
                self.tell(&Outgoing::Frame(error(code, &message).into()));
                self.tell(&Outgoing::Close {
                    code: 1011,
                    reason: "see the error frame",
                });
            }
            Stop::Ended(reason) => {
                if let Err(error) = self.direct.end(&self.owner, &self.id, reason).await {
                    tracing::error!(session = %self.id, %error, "the end of the session could not be stored");
                }
                self.number(|sequence| ServerFrame::SessionEnded {
                    reason: reason.name().into(),
                    sequence,
                });
                self.tell(&Outgoing::Close {
                    code: 1000,
                    reason: "the session has ended",
                });
            }
        }
    }
}

/// What the end of a conversation means for the guest session.
fn stop(ending: Ending) -> Stop {
    match ending {
        Ending::SessionExpired => Stop::Ended(EndReason::Expired),
        Ending::ByUs => Stop::Leaving,
        Ending::ClosedByServer { .. } | Ending::LoggedOut | Ending::SessionEnded { .. } => {
            Stop::Ended(EndReason::ServerClosed)
        }
        // the deployment, its domains or our configuration: nothing that the guest's session could help
        ending => Stop::Broken {
            code: "genesys.refused",
            message: ending.to_string(),
        },
    }
}

fn error(code: &str, message: &str) -> String {
    ServerFrame::Error {
        code: code.into(),
        message: message.into(),
        retry_after: None,
    }
    .to_json()
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
