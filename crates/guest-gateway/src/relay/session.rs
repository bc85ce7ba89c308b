//! The relay of one session, as a state machine: from the events of its conversation with Genesys Cloud, and the frames of
//! the guest's sockets, to the frames for each socket.

use std::time::Instant;

use genesys_api::{SessionId, rfc3339};
use guest_conversation::{
    ConnectionEvent, Conversation, DeliveryStatus, Direction, Ending, Event, FailureReason,
    GuestMachine as _, Message, MessageId, OutgoingMessage, SendError, SessionEvent, SessionInfo,
};
use guest_sessions::{ErrorCode, HistoryQuery, ServerFrame, SessionEventName};
use session_metrics::EndReason;
use time::OffsetDateTime;
use ws_transport::server::Payload;

use super::history::{HistoryAnswer, HistoryRequests};
use super::replay::{Replay, ReplayBudget, Subject};
use super::subscribers::{Stage, Subscriber, Subscribers};
use super::{LastDelivered, Outgoing, Position, SocketId};

/// The relay of one session, without socket, clock and task. Its numbers belong to one epoch.
#[derive(Debug)]
pub struct Relay {
    id: SessionId,
    epoch: String,
    replay: Replay,
    subscribers: Subscribers,
    /// The last message that an earlier relay of the session delivered.
    delivered: LastDelivered,
    /// The session as Genesys described it last. `None` before it is configured.
    session: Option<SessionInfo>,
    /// Whether the messages were read that an earlier relay did not deliver.
    recovered: bool,
    /// Whether the sockets were notified of a lost connection to Genesys, and not yet of its return.
    loss_reported: bool,
    /// Id of the last message to the guest.
    last_message: Option<String>,
    history: HistoryRequests,
}

/// The reason for which a relay stops.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "the driver handles each")]
pub enum Stop {
    /// The session has ended.
    Ended(EndReason),
    /// The gateway cannot continue the conversation now, for this reason. The session is unchanged.
    Failed(ErrorCode, String),
    /// The gateway shuts down.
    Shutdown,
}

impl Relay {
    /// A relay of a conversation that is not configured yet. `epoch` is fresh and random.
    #[must_use]
    pub fn new(id: SessionId, epoch: String, delivered: LastDelivered, budget: ReplayBudget) -> Self {
        Self {
            id,
            epoch,
            replay: Replay::new(budget),
            subscribers: Subscribers::default(),
            last_message: match &delivered {
                LastDelivered::Message(id) => Some(id.clone()),
                _ => None,
            },
            delivered,
            session: None,
            recovered: false,
            loss_reported: false,
            history: HistoryRequests::default(),
        }
    }

    /// Subscribes a socket, whose guest has received the events up to `position`.
    pub fn handle_attach(&mut self, socket: SocketId, position: Option<Position>) {
        self.subscribers.attach(socket, position);
        self.answer_handshakes();
    }

    /// A socket is lost.
    pub fn handle_detach(&mut self, socket: SocketId) {
        self.subscribers.detach(socket);
    }

    /// Extends the lifetime of the sockets.
    pub fn handle_extend(&mut self, until: OffsetDateTime) {
        self.subscribers.extend(until);
    }

    /// Handles a message of the guest, which is sent unless its id is known. A refusal, and a status that is known already,
    /// are answered on this socket.
    pub fn handle_message(
        &mut self,
        socket: SocketId,
        id: MessageId,
        message: &OutgoingMessage,
        conversation: &mut Conversation,
    ) {
        if let Some(answer) = self.send(conversation, id, message) {
            self.subscribers.reply(socket, self.replay.last, answer);
        }
    }

    /// Requests a part of the history for a client. The number of the request is that of its answer.
    pub fn handle_history_request(&mut self, request: u64, query: HistoryQuery) {
        self.history.push(request, query);
    }

    /// The page of the history to request from the conversation.
    pub fn poll_history_page(&mut self) -> Option<u32> {
        self.history.poll_page()
    }

    /// The requested page cannot be read.
    pub fn handle_history_refused(&mut self, reason: String) {
        self.history.handle_failed(reason);
    }

    /// The next answer to a request for the history, with its number.
    pub fn poll_history_answer(&mut self) -> Option<(u64, HistoryAnswer)> {
        self.history.poll_answer()
    }

    /// Whether events may be handled: as long as no socket that makes progress would miss the oldest frame for it.
    #[must_use]
    pub fn accepts_events(&self) -> bool {
        !self.replay.is_full() || self.subscribers.has_unresolved() || {
            let needed = self.subscribers.needed_after();
            needed.is_none_or(|needed| needed >= self.replay.first())
        }
    }

    /// Whether a socket is subscribed. One that is not any more is to be dropped.
    #[must_use]
    pub fn is_attached(&self, socket: SocketId) -> bool {
        self.subscribers.contains(socket)
    }

    /// Whether a socket has output.
    #[must_use]
    pub fn has_output(&self, socket: SocketId) -> bool {
        self.subscribers.has_output(socket, &self.replay)
    }

    /// The next output for a socket that has room. The last one is a close.
    pub fn poll_output(&mut self, socket: SocketId) -> Option<Outgoing> {
        self.subscribers.poll_output(socket, &self.replay)
    }

    /// A socket that has output has no room for it.
    pub fn handle_blocked(&mut self, socket: SocketId, now: Instant) {
        self.subscribers.handle_blocked(socket, now);
    }

    /// Drops the sockets that made no progress for 10 s.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.subscribers.handle_timeout(now);
    }

    /// The time at which a socket makes too little progress.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.subscribers.poll_timeout()
    }

    /// Sends a message of the guest. Returns the reply, if its delivery status is final.
    fn send(
        &mut self,
        conversation: &mut Conversation,
        id: MessageId,
        message: &OutgoingMessage,
    ) -> Option<Payload> {
        match conversation.engine().delivery(id) {
            status if may_send(status.as_ref()) => {
                let error = conversation.send(id, message).err()?;
                let code = match error {
                    SendError::Empty => ErrorCode::MessageEmpty,
                    SendError::Full { .. } => ErrorCode::TooManyMessages,
                    SendError::ReadOnly => ErrorCode::ConversationReadOnly,
                    SendError::TooLarge { .. } | SendError::TooLong { .. } => ErrorCode::MessageTooLong,
                    _ => ErrorCode::NotSent,
                };
                Some(failed_frame(id, code, &error.to_string()))
            }
            Some(DeliveryStatus::Delivered { at, message, .. }) => match self.replay.accepted(id) {
                Some(kept) => Some(kept.clone()),
                None => {
                    self.publish_accepted(id, at, message);
                    None
                }
            },
            Some(DeliveryStatus::Unknown) => Some(unknown_status(id)),
            _ => None,
        }
    }

    /// Answers pending handshakes, if the session is configured.
    fn answer_handshakes(&mut self) {
        let Some(session) = &mut self.session else {
            return;
        };
        for subscriber in self.subscribers.iter_mut() {
            let Stage::Handshake(position) = &mut subscriber.stage else {
                continue;
            };
            let position = position.take();
            let accepted = ServerFrame::HandshakeAccepted {
                guest_session_id: self.id.clone(),
                new_session: session.new_session,
                read_only: session.read_only,
                epoch: self.epoch.as_str().into(),
                sequence: self.replay.last,
            };
            // a later socket joins an existing session
            session.new_session = false;
            let accepted = Payload::from(accepted.to_json());
            subscriber.stage = Stage::Live;
            match position {
                None => {
                    subscriber.cursor = self.replay.last;
                    subscriber.send_after(0, accepted);
                }
                Some(position) if position.epoch.as_deref() == Some(self.epoch.as_str()) => {
                    subscriber.cursor = position.sequence.min(self.replay.last);
                    subscriber.send_after(0, accepted);
                    if subscriber.cursor + 1 < self.replay.first() {
                        skip(subscriber, &self.replay, position.message);
                    }
                }
                Some(position) => {
                    subscriber.send_after(0, accepted);
                    subscriber.stage = Stage::Unresolved(position.message);
                }
            }
        }
        self.decide();
    }

    /// Starts the replay for the sockets of earlier epochs, once the missed messages are known.
    fn decide(&mut self) {
        if !self.recovered {
            return;
        }
        for subscriber in self.subscribers.iter_mut() {
            let Stage::Unresolved(last) = &mut subscriber.stage else {
                continue;
            };
            let last = last.take();
            subscriber.stage = Stage::Live;
            let is_followed = match (&last, &self.delivered) {
                (None, LastDelivered::Nothing) => true,
                (Some(last), LastDelivered::Message(id)) if last == id => true,
                // delivered twice, because the earlier relay could not store it: the guest's client compares ids
                (Some(last), _) => self.replay.has_message(last),
                (None, _) => false,
            };
            if !is_followed || self.replay.first() > 1 {
                skip(subscriber, &self.replay, last);
            }
        }
    }

    /// Handles an event of the conversation. Returns the reason if the relay stops.
    pub fn handle_event(&mut self, event: Event) -> Option<Stop> {
        match event {
            Event::Connection(event) => self.handle_connection_event(event),
            Event::Session(event) => self.handle_session_event(event),
            Event::Delivery { id, status } => match status {
                DeliveryStatus::Delivered { at, message, .. } => self.publish_accepted(id, at, message),
                DeliveryStatus::Failed(reason) => {
                    let code = match &reason {
                        FailureReason::ReadOnly => ErrorCode::ConversationReadOnly,
                        FailureReason::Refused(_) => ErrorCode::MessageRefused,
                        _ => ErrorCode::NotSent,
                    };
                    self.broadcast(&failed_frame(id, code, &reason.to_string()));
                }
                _ => self.broadcast(&unknown_status(id)),
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
                // messages of an earlier session are not part of this one
                self.recovered |= session.new_session;
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
            SessionEvent::Typing { from, .. } => {
                self.publish(Subject::Other, |sequence| ServerFrame::Typing {
                    sequence,
                    from: (&from).into(),
                })
            }
            SessionEvent::ConversationEnded { read_only } => {
                if let Some(session) = &mut self.session {
                    session.read_only |= read_only;
                }
                let detail = read_only.then(|| "read-only".to_owned());
                self.event(SessionEventName::ConversationEnded, detail);
            }
            SessionEvent::Expiring { at } => self.event(SessionEventName::SessionExpiring, at.map(rfc3339)),
            SessionEvent::HistoryUnread {
                reason,
                after,
                before,
            } => {
                tracing::warn!(session = %self.id, reason, "cannot read the missed messages");
                let after = after.or_else(|| self.last_message.clone());
                self.publish(Subject::Other, |sequence| {
                    gap(Some(sequence), after.as_deref(), before.as_deref())
                });
            }
            SessionEvent::History(page) => self.history.handle_page(*page),
            SessionEvent::HistoryFailed { reason } => self.history.handle_failed(reason),
            SessionEvent::Recovered => {
                self.recovered = true;
                self.decide();
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
        if message.direction == Direction::Outbound {
            self.last_message = Some(message.id.clone());
        }
        self.publish(Subject::Message(message.id.clone()), |sequence| {
            ServerFrame::Message {
                sequence,
                message: message.into(),
            }
        });
    }

    fn event(&mut self, name: SessionEventName, detail: Option<String>) {
        self.publish(Subject::Other, |sequence| ServerFrame::Event {
            sequence,
            name,
            detail: detail.map(Into::into),
        });
    }

    fn publish_accepted(&mut self, id: MessageId, at: OffsetDateTime, message: Option<String>) {
        self.publish(Subject::Accepted(id), |sequence| ServerFrame::MessageAccepted {
            id,
            sequence,
            timestamp: rfc3339(at).into(),
            message_id: message.map(Into::into),
        });
    }

    /// Numbers a frame and keeps it for all sockets.
    fn publish<'f>(&mut self, subject: Subject, frame: impl FnOnce(u64) -> ServerFrame<'f>) {
        let needed = self.subscribers.needed_after();
        self.replay
            .push(subject, needed, |number| frame(number).to_json());
    }

    fn broadcast(&mut self, frame: &Payload) {
        self.subscribers.broadcast(self.replay.last, frame);
    }

    /// Notifies and closes all sockets, also those whose handshake is pending.
    pub fn handle_stop(&mut self, stop: Stop) {
        self.recovered = true;
        self.decide();
        for subscriber in self.subscribers.iter_mut() {
            if matches!(subscriber.stage, Stage::Handshake(_)) {
                subscriber.stage = Stage::Live;
                subscriber.cursor = self.replay.last;
            }
        }
        let (code, reason) = match stop {
            Stop::Shutdown => (1001, "the gateway shuts down"),
            Stop::Failed(code, message) => {
                self.broadcast(&error_frame(code, &message));
                (1011, "see the error frame")
            }
            Stop::Ended(reason) => {
                self.publish(Subject::Other, |sequence| ServerFrame::SessionEnded {
                    reason: reason.name().into(),
                    sequence,
                });
                (1000, "the session has ended")
            }
        };
        self.subscribers.close(code, reason);
    }
}

/// Reports a gap to one socket, and goes on after it.
fn skip(subscriber: &mut Subscriber, replay: &Replay, last: Option<String>) {
    subscriber.cursor = replay.first() - 1;
    let gap = gap(None, last.as_deref(), replay.first_message());
    subscriber.send_after(0, gap.to_json().into());
}

fn gap<'a>(sequence: Option<u64>, after: Option<&'a str>, before: Option<&'a str>) -> ServerFrame<'a> {
    let text = "cannot replay all missed messages: read the history of the conversation";
    ServerFrame::ReplayIncomplete {
        sequence,
        read_from: after.map(Into::into),
        read_until: before.map(Into::into),
        message: text.into(),
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
            message: None,
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
