//! The relay of one session, between its conversation with Genesys Cloud and the guest's sockets.

use genesys_api::{SessionId, SessionStage, SessionState, rfc3339};
use guest_conversation::{
    ConnectionEvent, DeliveryStatus, Ending, Event, FailureReason, GuestMachine as _, Message, MessageId,
    OutgoingMessage, SendError, SessionEvent, SessionInfo,
};
use guest_sessions::{ErrorCode, ServerFrame, SessionEventName};
use guest_suite::Error;
use guest_suite::direct::{Admitted, Conversation, Direct};
use session_metrics::EndReason;
use time::OffsetDateTime;
use tokio::sync::mpsc;
use ws_transport::AdmittedOrigin;
use ws_transport::server::Payload;

use super::replay::Replay;
use super::subscribers::Subscribers;
use super::{Command, Shutdown};

pub(super) struct Relay {
    direct: Direct,
    owner: String,
    id: SessionId,
    origin: AdmittedOrigin,
    replay: Replay,
    subscribers: Subscribers,
    /// The session as Genesys described it last. `None` before it is configured.
    session: Option<SessionInfo>,
    /// Whether the sockets were notified of a lost connection to Genesys, and not yet of its return.
    loss_reported: bool,
}

/// The reason for which a relay stops.
enum Stop {
    Ended(EndReason),
    /// The gateway cannot continue the conversation now, for this reason. The session is unchanged.
    Failed(ErrorCode, String),
    Shutdown,
}

impl Relay {
    pub(super) fn new(direct: Direct, admitted: &Admitted, id: SessionId, origin: AdmittedOrigin) -> Self {
        Self {
            direct,
            owner: admitted.owner().to_owned(),
            id,
            origin,
            replay: Replay::default(),
            subscribers: Subscribers::default(),
            session: None,
            loss_reported: false,
        }
    }

    pub(super) async fn run(
        mut self,
        admitted: Admitted,
        mut commands: mpsc::Receiver<Command>,
        shutdown: Shutdown,
    ) {
        // start and end are boxed: an idle session would use the memory of their large futures
        let (stop, mut conversation) = match Box::pin(self.connect(admitted)).await {
            Ok(mut conversation) => {
                let stop = tokio::select! {
                    stop = self.relay(&mut conversation, &mut commands) => stop,
                    () = shutdown.requested() => Stop::Shutdown,
                };
                (stop, Some(conversation))
            }
            Err(stop) => (stop, None),
        };
        match &stop {
            Stop::Ended(reason) => {
                let end = Box::pin(self.direct.end(&self.owner, &self.id, *reason));
                if let Err(error) = end.await {
                    tracing::error!(session = %self.id, %error, "cannot store the end of the session");
                }
            }
            Stop::Failed(..) => conversation = None,
            Stop::Shutdown => {
                if let Some(conversation) = conversation.take() {
                    for event in Box::pin(close(conversation, &shutdown)).await {
                        self.handle_event(event);
                    }
                }
            }
        }
        // sockets attached meanwhile are notified too
        commands.close();
        while let Ok(command) = commands.try_recv() {
            if let Command::Attach { socket, after } = command {
                self.subscribers.attach(socket, after);
                self.answer_handshakes();
            }
        }
        self.broadcast_stop(stop);
        if let Some(conversation) = conversation {
            Box::pin(close(conversation, &shutdown)).await;
        }
    }

    async fn connect(&mut self, admitted: Admitted) -> Result<Conversation, Stop> {
        if let Some(reason) = admitted.end_reason() {
            return Err(Stop::Ended(reason));
        }
        let info = admitted.info();
        if info.state != SessionState::Live(SessionStage::Created) {
            // numbers of an earlier relay are not reused: there is at most one event per millisecond, so numbers from
            // the session's age in milliseconds on are free
            let age = self.direct.clock().now().utc - info.created_at;
            self.replay = Replay::starting_after(u64::try_from(age.whole_milliseconds()).unwrap_or(0));
        }
        let connected = self.direct.connect_admitted(admitted, self.origin.clone()).await;
        connected.map_err(|error| match error {
            Error::Ended => Stop::Ended(EndReason::Expired),
            Error::NotAdmitted(_) => Stop::Failed(ErrorCode::GenesysRefused, error.to_string()),
            error => Stop::Failed(ErrorCode::ServiceUnavailable, error.to_string()),
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
                        let text = "cannot continue: the connection to Genesys was lost, reconnect and resume";
                        return Stop::Failed(ErrorCode::ServiceUnavailable, text.to_owned());
                    };
                    if let Some(stop) = self.handle_event(event) {
                        return stop;
                    }
                }
                // the hub holds a sender while this runs
                Some(command) = commands.recv() => match command {
                    Command::Attach { socket, after } => {
                        self.subscribers.attach(socket, after);
                        self.answer_handshakes();
                    }
                    Command::Extend(until) => self.subscribers.extend(until),
                    Command::Send { id, message, socket } => {
                        if let Some(answer) = self.send(conversation, id, &message) {
                            self.subscribers.reply(&socket, answer);
                        }
                    }
                    Command::Typing => conversation.typing(),
                },
            }
        }
    }

    /// Sends a message of the guest. Returns the reply, if its delivery status is final.
    fn send(
        &mut self,
        conversation: &Conversation,
        id: MessageId,
        message: &OutgoingMessage,
    ) -> Option<Payload> {
        match conversation.with(|machine, _| machine.engine().delivery(id)) {
            status if may_send(status.as_ref()) => {
                let error = conversation.with(|machine, _| machine.send(id, message)).err()?;
                let code = match error {
                    SendError::Empty => ErrorCode::MessageEmpty,
                    SendError::Full { .. } => ErrorCode::TooManyMessages,
                    SendError::ReadOnly => ErrorCode::ConversationReadOnly,
                    SendError::TooLarge { .. } | SendError::TooLong { .. } => ErrorCode::MessageTooLong,
                    _ => ErrorCode::NotSent,
                };
                Some(failed_frame(id, code, &error.to_string()))
            }
            Some(DeliveryStatus::Delivered { at, .. }) => {
                let kept = self.replay.accepted(id);
                Some(kept.unwrap_or_else(|| self.publish_accepted(id, at)))
            }
            Some(DeliveryStatus::Unknown) => Some(unknown_status(id)),
            _ => None,
        }
    }

    /// Answers pending handshakes with the missed frames, if the session is configured.
    fn answer_handshakes(&mut self) {
        let Some(session) = &mut self.session else {
            return;
        };
        let accepted = ServerFrame::HandshakeAccepted {
            guest_session_id: self.id.clone(),
            new_session: session.new_session,
            read_only: session.read_only,
            sequence: self.replay.last,
        };
        let accepted = Payload::from(accepted.to_json());
        self.subscribers.answer_handshakes(|after| {
            let mut frames = vec![accepted.clone()];
            if let Some(after) = after {
                let (gap, missed) = self.replay.after(after);
                if gap {
                    let text = "cannot replay all missed events: read the history of the conversation";
                    frames.push(error_frame(ErrorCode::ReplayIncomplete, text));
                }
                frames.extend(missed.cloned());
            }
            // a later socket joins an existing session
            session.new_session = false;
            frames
        });
    }

    fn handle_event(&mut self, event: Event) -> Option<Stop> {
        match event {
            Event::Connection(event) => self.handle_connection_event(event),
            Event::Session(event) => self.handle_session_event(event),
            Event::Delivery { id, status } => match status {
                DeliveryStatus::Delivered { at, .. } => {
                    self.publish_accepted(id, at);
                }
                DeliveryStatus::Failed(reason) => {
                    let code = match &reason {
                        FailureReason::ReadOnly => ErrorCode::ConversationReadOnly,
                        FailureReason::Refused(_) => ErrorCode::MessageRefused,
                        _ => ErrorCode::NotSent,
                    };
                    self.subscribers
                        .broadcast(&failed_frame(id, code, &reason.to_string()));
                }
                _ => self.subscribers.broadcast(&unknown_status(id)),
            },
            Event::Message(message) => self.message(&message),
            Event::Ended(ending) => return Some(stop(ending)),
            _ => {}
        }
        None
    }

    fn handle_connection_event(&mut self, event: ConnectionEvent) {
        match event {
            ConnectionEvent::Ready(session)
            | ConnectionEvent::Restored(session)
            | ConnectionEvent::SignedIn(session) => {
                if std::mem::take(&mut self.loss_reported) {
                    self.event(SessionEventName::SessionRestored, None);
                }
                self.session = Some(session);
                self.answer_handshakes();
            }
            ConnectionEvent::Reconnecting { .. } if !self.loss_reported => {
                self.loss_reported = true;
                self.event(SessionEventName::SessionReconnecting, None);
            }
            ConnectionEvent::Throttled { retry_after } => {
                tracing::warn!(session = %self.id, ?retry_after, "rate limited by Genesys");
            }
            _ => {}
        }
    }

    fn handle_session_event(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Typing { from, .. } => self.publish(|sequence| ServerFrame::Typing {
                sequence,
                from: (&from).into(),
            }),
            SessionEvent::ConversationEnded { read_only } => {
                if let Some(session) = &mut self.session {
                    session.read_only |= read_only;
                }
                let detail = read_only.then(|| "read-only".to_owned());
                self.event(SessionEventName::ConversationEnded, detail);
            }
            SessionEvent::Expiring { at } => self.event(SessionEventName::SessionExpiring, at.map(rfc3339)),
            SessionEvent::HistoryUnread { reason } => {
                tracing::warn!(session = %self.id, reason, "cannot read the missed messages");
                self.replay.mark_gap();
                let text = "cannot read the history after a lost connection: messages may be missing";
                self.subscribers
                    .broadcast(&error_frame(ErrorCode::ReplayIncomplete, text));
            }
            SessionEvent::OwnMessage(message) => self.message(&message),
            SessionEvent::Refused(refusal) => {
                tracing::warn!(session = %self.id, %refusal, "Genesys refused a frame");
            }
            // the relay requested nothing else
            _ => {}
        }
    }

    fn message(&mut self, message: &Message) {
        for item in message.content.iter().filter(|item| !item.is_well_formed()) {
            let class = item.class().unwrap_or("unnamed");
            tracing::warn!(session = %self.id, class, "left out content that does not have the shape of its type");
        }
        self.publish(|sequence| ServerFrame::Message {
            sequence,
            message: message.into(),
        });
    }

    fn event(&mut self, name: SessionEventName, detail: Option<String>) {
        self.publish(|sequence| ServerFrame::Event {
            sequence,
            name,
            detail: detail.map(Into::into),
        });
    }

    fn publish_accepted(&mut self, id: MessageId, at: OffsetDateTime) -> Payload {
        let accepted = |sequence| ServerFrame::MessageAccepted {
            id,
            sequence,
            timestamp: rfc3339(at).into(),
        };
        let frame = self.replay.push(Some(id), |number| accepted(number).to_json());
        self.subscribers.broadcast(&frame);
        frame
    }

    /// Numbers a frame, keeps it for replay, and sends it to all sockets.
    fn publish<'f>(&mut self, frame: impl FnOnce(u64) -> ServerFrame<'f>) {
        let frame = self.replay.push(None, |number| frame(number).to_json());
        self.subscribers.broadcast(&frame);
    }

    /// Notifies and closes all sockets, also those whose handshake is pending.
    fn broadcast_stop(&mut self, stop: Stop) {
        self.subscribers.skip_handshakes();
        let (code, reason) = match stop {
            Stop::Shutdown => (1001, "the gateway shuts down"),
            Stop::Failed(code, message) => {
                self.subscribers.broadcast(&error_frame(code, &message));
                (1011, "see the error frame")
            }
            Stop::Ended(reason) => {
                self.publish(|sequence| ServerFrame::SessionEnded {
                    reason: reason.name().into(),
                    sequence,
                });
                (1000, "the session has ended")
            }
        };
        self.subscribers.close(code, reason);
    }
}

/// Closes the conversation with Genesys. Returns the events received meanwhile.
async fn close(conversation: Conversation, shutdown: &Shutdown) -> Vec<Event> {
    tokio::select! {
        events = conversation.close() => events,
        () = shutdown.close_deadline() => Vec::new(),
    }
}

fn stop(ending: Ending) -> Stop {
    match ending {
        Ending::SessionExpired => Stop::Ended(EndReason::Expired),
        // the suite ended it and gives the reason
        Ending::SessionEnded { reason } => {
            Stop::Ended(EndReason::from_name(&reason).unwrap_or(EndReason::ServerClosed))
        }
        Ending::ByUs => Stop::Shutdown,
        Ending::ClosedByServer { .. } | Ending::LoggedOut => Stop::Ended(EndReason::ServerClosed),
        // caused by the deployment, its domains or the configuration, not by the session
        ending => Stop::Failed(ErrorCode::GenesysRefused, ending.to_string()),
    }
}

/// Whether a message is sent: a new one, or one that failed and is sent again under its id.
fn may_send(status: Option<&DeliveryStatus>) -> bool {
    matches!(status, None | Some(DeliveryStatus::Failed(_)))
}

fn error_frame(code: ErrorCode, message: &str) -> Payload {
    ServerFrame::error(code.as_str(), message).to_json().into()
}

fn failed_frame(id: MessageId, code: ErrorCode, message: &str) -> Payload {
    let frame = ServerFrame::MessageFailed {
        id,
        code: code.as_str().into(),
        message: message.into(),
    };
    frame.to_json().into()
}

fn unknown_status(id: MessageId) -> Payload {
    let text =
        "cannot determine the delivery status: the connection to Genesys was lost before the acknowledgement";
    failed_frame(id, ErrorCode::InDoubt, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_message_can_be_sent_again_under_its_id() {
        let delivered = DeliveryStatus::Delivered {
            at: OffsetDateTime::UNIX_EPOCH,
            sequence: None,
        };
        for (status, expected) in [
            (None, true),
            (Some(DeliveryStatus::Failed(FailureReason::ReadOnly)), true),
            (Some(delivered), false),
            (Some(DeliveryStatus::Queued), false),
            (Some(DeliveryStatus::Sending), false),
            (Some(DeliveryStatus::Unknown), false),
        ] {
            assert_eq!(may_send(status.as_ref()), expected, "{status:?}");
        }
    }
}
