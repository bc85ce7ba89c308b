//! The conversation of a guest over the gateway's socket, as a state machine.
//!
//! It is composed of the parts of [`guest_conversation`], and has the same states. Events are numbered: after a
//! reconnect the gateway replays those that were missed. Messages are sent again under their id, which the gateway uses
//! to drop duplicates. The history is read, and files are uploaded, by REST. An access token that expired is requested from the
//! application.

mod attachments;
mod delivery;
mod status;

use std::time::{Duration, Instant};

use genesys_api::wire::{RawFrame, Text, sanitize};
use genesys_api::{Now, parse_rfc3339, retry, rfc3339};
use guest_conversation::attachments::AttachmentId;
use guest_conversation::engine::{Closed, Due, Engine};
use guest_conversation::{
    Author, AuthorKind, Command, Direction, Ending, Event, FailureReason, GuestMachine, Job, JobOutcome,
    Loss, Machine, Message, MessageId, OutgoingMessage, Reason, SendError, ServiceRefusal, SessionEvent,
    SessionInfo, State,
};
use secrecy::SecretString;
use serde::Deserialize;
use time::OffsetDateTime;
use ws_transport::{AdmittedOrigin, ClientHandshake, CloseInfo, QueueFull, SocketUrl, Transmit};

use self::attachments::SentFiles;
use super::gateway_session::GatewaySession;
use crate::{ClientFrame, ConversationStatus, ErrorCode, GuestMessage, MessageBody, ServerFrame};

/// A guest's conversation over the gateway's socket.
#[derive(Debug)]
pub struct GatewayConversation {
    engine: Engine,
    session: GatewaySession,
    /// The last status that the gateway sent.
    status: Option<Box<ConversationStatus>>,
    /// The last error of the gateway: a close that follows is about it.
    last_error: Option<LastError>,
    files: Option<Box<SentFiles>>,
}

#[derive(Debug)]
enum LastError {
    /// A refused message, which has failed. The others can be sent over the next socket.
    Message,
    Socket(Box<ServiceRefusal>),
}

impl GatewayConversation {
    /// A conversation that is not connected yet.
    #[must_use]
    pub fn new(session: GatewaySession) -> Self {
        Self {
            engine: Engine::default(),
            session,
            status: None,
            last_error: None,
            files: None,
        }
    }

    /// Sends the handshake, as soon as the limits allow.
    fn configure(&mut self, now: Now) {
        if !self.engine.request_session(now) {
            return;
        }
        let frame = ClientFrame::Handshake {
            guest_session_id: self.session.session.clone(),
            timestamp: rfc3339(now.utc).into(),
            access_token: self.session.frame_token().map(Into::into),
            epoch: self.session.epoch.as_deref().map(Into::into),
            last_sequence: self.session.last_sequence,
            last_message_id: self.session.last_message.as_deref().map(Into::into),
        };
        self.engine.transmit("handshake", frame.to_json());
    }

    fn reconnect_after(&mut self, loss: Loss, retry_after: Option<Duration>, now: Now, random: u64) {
        self.engine.resend_all();
        self.engine.reconnect_after(loss, retry_after, now, random);
    }

    /// The connection is lost because of the token, or was refused for it.
    fn reconnect_with_token(&mut self, refusal: ServiceRefusal, now: Now) {
        self.engine.resend_all();
        if let Err(ending) = self.engine.reconnect_with_token(refusal, now) {
            self.finish(ending);
        }
    }

    fn finish(&mut self, ending: Ending) {
        if self.engine.state().is_over() {
            return;
        }
        self.engine.abandon_messages();
        self.engine.finish(ending);
    }

    fn handle_accepted(&mut self, session: SessionInfo, epoch: &str, sequence: u64, now: Now) {
        self.last_error = None;
        let follows = self.session.enter_epoch(epoch, sequence);
        if self.engine.handle_configured(session, now).is_none() {
            return;
        }
        if follows {
            // the gateway recognizes no message of an earlier epoch: one that was sent is not sent twice
            self.engine.doubt_sent();
        }
        self.engine.report_unknown();
        if session.read_only {
            self.handle_read_only();
        }
    }

    fn handle_read_only(&mut self) {
        self.engine.handle_read_only();
        self.engine.report_unknown();
    }

    fn handle_error(&mut self, refusal: ServiceRefusal, retry_after: Option<u64>, now: Now) {
        let code = ErrorCode::from_name(&refusal.code);
        self.last_error = Some(LastError::Socket(Box::new(refusal.clone())));
        let configuring = self.engine.state() == State::Configuring;
        match (code, retry_after) {
            (_, Some(seconds)) => {
                let wait = Duration::from_secs(seconds).min(retry::MAX_RETRY_AFTER);
                let until = self.engine.handle_throttled(wait, now);
                if configuring {
                    self.engine.retry_session(until);
                } else {
                    self.engine.resend_all();
                }
            }
            (
                Some(
                    ErrorCode::ServiceUnavailable
                    | ErrorCode::InternalServerError
                    | ErrorCode::RequestTimeout,
                ),
                None,
            ) if configuring => {
                self.engine.disconnect(Loss::Rejected(refusal));
            }
            // the gateway closes the socket for it: the token is requested when it is closed
            (Some(ErrorCode::CredentialsExpired), None) if configuring => {
                self.engine.disconnect(Loss::Rejected(refusal))
            }
            (Some(ErrorCode::CredentialsExpired), None) => self.report_refusal(refusal),
            _ => self.handle_refusal(refusal),
        }
    }

    fn handle_refusal(&mut self, refusal: ServiceRefusal) {
        if self.engine.state() == State::Configuring {
            self.finish(Ending::Rejected(refusal));
        } else {
            self.report_refusal(refusal);
        }
    }

    fn report_refusal(&mut self, refusal: ServiceRefusal) {
        let request = None;
        self.engine.emit(SessionEvent::Refused { request, refusal });
    }

    fn handle_message(&mut self, body: &MessageBody<'_>, sequence: u64, now: Now) {
        let from = Author::from(&body.from);
        let is_own = from.kind == AuthorKind::Guest;
        if !is_own {
            self.session.last_message = Some(body.id.to_string());
        }
        if !self.engine.is_new(&body.id) {
            return;
        }
        let message = Box::new(message(body, Some(sequence), now.utc));
        match is_own {
            true => self.engine.emit(SessionEvent::OwnMessage(message)),
            false => self.engine.emit(Event::Message(message)),
        }
    }

    fn handle_server_frame(&mut self, frame: ServerFrame<'_>, now: Now) {
        match frame {
            ServerFrame::HandshakeAccepted {
                new_session,
                read_only,
                epoch,
                sequence,
                ..
            } => {
                let session = SessionInfo {
                    new_session,
                    read_only,
                    expires_at: None,
                };
                self.handle_accepted(session, &epoch, sequence, now);
            }
            ServerFrame::Delivery { id, status } => self.handle_delivery(id, status, now),
            ServerFrame::Error {
                code,
                message,
                id: Some(id),
                ..
            } if self.engine.handle_failed(
                id,
                FailureReason::Refused(Box::new(ServiceRefusal::new(&*code, &message))),
            ) =>
            {
                self.last_error = Some(LastError::Message);
            }
            ServerFrame::Error {
                code,
                message,
                retry_after,
                ..
            } => self.handle_error(ServiceRefusal::new(&*code, &message), retry_after, now),
            ServerFrame::Message { sequence, .. } if !self.session.is_new(sequence) => {}
            ServerFrame::Message { sequence, message } => self.handle_message(&message, sequence, now),
            ServerFrame::Typing { from, duration } => self.engine.emit(SessionEvent::Typing {
                from: Author::from(&from),
                during: Duration::from_millis(duration),
            }),
            ServerFrame::ReplayIncomplete {
                sequence,
                read_from,
                read_until,
                message,
            } => {
                if sequence.is_none_or(|sequence| self.session.is_new(sequence)) {
                    self.engine.emit(SessionEvent::HistoryUnread {
                        reason: sanitize(&message),
                        after: read_from.map(|id| id.to_string()),
                        before: read_until.map(|id| id.to_string()),
                    });
                }
            }
            ServerFrame::Conversation(status) => self.handle_status(status, now),
            ServerFrame::SessionEnded { reason, .. } => {
                // during a shutdown it is the result of it
                self.finish(match self.engine.state() {
                    State::Closing => Ending::ByUs,
                    _ => Ending::SessionEnded {
                        reason: sanitize(&reason),
                    },
                });
            }
            ServerFrame::SessionMoved {} => {
                // before the handshake is accepted, what was reported meanwhile is not known here
                if self.engine.is_ready() {
                    self.engine.handle_moved();
                }
                // the first wait of the backoff spreads the reconnects of the sessions of a gateway
                let moved = CloseInfo::with_code(1001, "the gateway is about to stop");
                self.engine.disconnect(Loss::Closed(moved));
            }
            ServerFrame::Pong { .. } => {}
        }
    }
}

impl Machine for GatewayConversation {
    type Event = Event;
    type Job = Job;
    type JobId = Option<AttachmentId>;
    type Outcome = JobOutcome;
    type Reason = Reason;

    fn handshake(&mut self, url: &SocketUrl, origin: &AdmittedOrigin) -> ClientHandshake {
        let (url, protocols) = self.session.attach_token(url);
        let handshake = ClientHandshake::new(url, origin.clone());
        match protocols {
            Some(protocols) => handshake.with_protocols(protocols),
            None => handshake,
        }
    }

    fn handle_connected(&mut self, now: Now) {
        if self.engine.handle_connected(now) {
            self.configure(now);
        }
    }

    fn handle_connect_deferred(&mut self, until: Instant, now: Now) {
        self.engine.handle_connect_deferred(until, now);
    }

    fn handle_queue_full(&mut self, full: QueueFull, now: Now, random: u64) {
        if self.engine.state() == State::Connecting {
            self.reconnect_after(Loss::QueueFull(full), Some(full.retry_after), now, random);
        }
    }

    fn handle_frame(&mut self, text: &str, now: Now) {
        if !self.engine.handle_frame(now) {
            return;
        }
        let frame = ServerFrame::parse(text);
        let kind = frame
            .as_ref()
            .map_or("a frame of another type", ServerFrame::kind);
        self.engine.record_frame(kind, text.len());
        match frame {
            Some(frame) => self.handle_server_frame(frame, now),
            None => {
                let name: Option<Name<'_>> = serde_json::from_str(text).ok();
                if let Some(sequence) = name.as_ref().and_then(|name| name.sequence) {
                    self.session.is_new(sequence);
                }
                let kind = name.and_then(|name| name.kind);
                let frame = RawFrame::new(kind.as_deref(), text);
                self.engine.emit(SessionEvent::Unknown(frame));
            }
        }
    }

    fn handle_alive(&mut self) {
        self.engine.handle_alive();
    }

    fn handle_closed(&mut self, close: CloseInfo, now: Now, random: u64) {
        let error = self.last_error.take();
        match self.engine.handle_closed(close, now) {
            None => {}
            Some(Closed::ByUs) => self.finish(Ending::ByUs),
            Some(Closed::Lost(Loss::Rejected(refusal))) if is_expired(&refusal) => {
                self.reconnect_with_token(refusal, now);
            }
            // protocol error, wrong data, broken text, policy, too big: it would happen again
            Some(Closed::Lost(Loss::Closed(close)))
                if matches!(close.code(), Some(1002 | 1003 | 1007 | 1008 | 1009)) =>
            {
                match error {
                    Some(LastError::Message) => {
                        self.reconnect_after(Loss::Closed(close), None, now, random);
                    }
                    Some(LastError::Socket(refusal)) if is_expired(&refusal) => {
                        self.reconnect_with_token(*refusal, now);
                    }
                    Some(LastError::Socket(refusal)) => self.finish(Ending::Rejected(*refusal)),
                    None => {
                        let code = close.code().unwrap_or_default();
                        self.finish(Ending::Rejected(ServiceRefusal::new(code, close.reason())));
                    }
                }
            }
            Some(Closed::Lost(loss)) => self.reconnect_after(loss, None, now, random),
        }
    }

    fn handle_refused(&mut self, status: u16, retry_after: Option<Duration>, now: Now, random: u64) {
        if self.engine.state() != State::Connecting {
            return;
        }
        // a timeout and a limit pass; everything else is a fault of the request
        let is_final = (400..500).contains(&status) && !matches!(status, 408 | 425 | 429);
        if status == 401 {
            self.reconnect_with_token(
                ServiceRefusal::new(status, "the handshake was not authorized"),
                now,
            );
        } else if is_final {
            self.finish(Ending::Refused { status });
        } else {
            self.reconnect_after(Loss::Refused { status }, retry_after, now, random);
        }
    }

    /// There are no jobs.
    fn handle_outcome(&mut self, _outcome: JobOutcome, _now: Now) {}

    fn handle_timeout(&mut self, now: Now) {
        if let Some(due) = self.engine.handle_timeout(now) {
            self.perform(due, now);
        }
        self.engine.expire_messages(now);
        if self.engine.is_open() && self.engine.handle_heartbeat(now) {
            self.engine.report_unknown();
        }
    }

    fn poll_command(&mut self) -> Option<Command> {
        self.engine.command.take()
    }

    fn wants(&self, _job: &Option<AttachmentId>) -> bool {
        false
    }

    fn poll_transmit(&mut self, now: Now) -> Option<Transmit> {
        if let Some(transmit) = self.engine.poll_transmit() {
            return Some(transmit);
        }
        if !self.engine.may_transmit() {
            return None;
        }
        let message = self.engine.next_message(now, OffsetDateTime::UNIX_EPOCH);
        let frame =
            message.map(|(id, message)| ClientFrame::Message(GuestMessage::new(id, message)).to_json());
        match frame {
            Some(frame) => self.engine.transmit("message", frame),
            None if self.engine.has_drained() => self.perform(Due::Close, now),
            None => {}
        }
        self.engine.poll_transmit()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.engine.events.pop_front()
    }

    fn backlog(&self) -> usize {
        self.engine.events.len()
    }

    fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        self.engine.poll_timeout()
    }

    fn is_over(&self) -> bool {
        self.engine.state().is_over()
    }
}

impl GuestMachine for GatewayConversation {
    fn engine(&self) -> &Engine {
        &self.engine
    }

    fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// The session itself is ended by a REST call.
    fn perform(&mut self, due: Due, now: Now) {
        match due {
            Due::Configure => self.configure(now),
            Due::Clear | Due::Close => drop(self.engine.close(now)),
            Due::Finish(ending) => self.finish(ending),
        }
    }

    fn send(&mut self, id: MessageId, message: &OutgoingMessage, now: Now) -> Result<(), SendError> {
        self.engine.send(id, message.clone(), now)?;
        self.keep_files(id, message);
        Ok(())
    }

    fn send_typing(&mut self, now: Now) {
        if self.engine.take_typing(now) {
            self.engine.transmit("typing", ClientFrame::Typing {}.to_json());
        }
    }

    fn update_token(&mut self, token: SecretString) {
        self.session.access_token = token;
        self.engine.handle_token();
    }
}

/// Whether a refusal is about an expired access token.
fn is_expired(refusal: &ServiceRefusal) -> bool {
    refusal.code == ErrorCode::CredentialsExpired.as_str()
}

/// The message of a frame, or of the history. `at` is its time if it has none.
pub(super) fn message(body: &MessageBody<'_>, sequence: Option<u64>, at: OffsetDateTime) -> Message {
    let from = Author::from(&body.from);
    Message {
        id: body.id.to_string(),
        text: body.text.to_string(),
        at: parse_rfc3339(&body.timestamp).unwrap_or(at),
        direction: match from.kind {
            AuthorKind::Guest => Direction::Inbound,
            _ => Direction::Outbound,
        },
        from,
        content: body.content.to_vec(),
        sequence,
    }
}

fn time_or_now(text: &str, now: Now) -> OffsetDateTime {
    parse_rfc3339(text).unwrap_or(now.utc)
}

/// The name and number of a frame that is not known.
#[derive(Deserialize)]
struct Name<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    sequence: Option<u64>,
}
