//! The conversation with Genesys Cloud as a state machine: no socket, no clock, no randomness of its own.
//!
//! The table has the state that follows each input in each state: `–`, it stays; `drop`, it stays, and the driver is
//! told to drop the connection, whose `handle_closed` follows; `refused`, a typed error. The test `states` reads this
//! table and tries every pair.
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
//! | frame: unauthorized | – | – | Failed | Failed | Failed | – | Closed | – | – |
//! | frame: unauthorized, signed in | – | – | – | Configuring | Configuring | – | Closed | – | – |
//! | frame: read-only | – | – | Failed | ReadOnly | – | – | – | – | – |
//! | frame: expired | – | – | Failed | Failed | Failed | – | Closed | – | – |
//! | frame: logged out | – | – | Failed | Failed | Failed | – | Closed | – | – |
//! | frame: closed | – | – | Closed | Closed | Closed | – | Closed | – | – |
//! | frame: cleared | – | – | – | – | – | – | – | – | – |
//! | frame: message | – | – | – | – | – | – | – | – | – |
//! | frame: upload URL | – | – | – | – | – | – | – | – | – |
//! | frame: upload refused | – | – | – | – | – | – | – | – | – |
//! | frame: unknown | – | – | – | – | – | – | – | – | – |
//! | handle_alive | – | – | – | – | – | – | – | – | – |
//! | handle_closed | – | Reconnecting | Reconnecting | Reconnecting | Reconnecting | – | Closed | – | – |
//! | handle_refused: 503 | – | Reconnecting | – | – | – | – | – | – | – |
//! | handle_refused: 403 | – | Failed | – | – | – | – | – | – | – |
//! | handle_history | – | – | – | – | – | – | – | – | – |
//! | handle_upload | – | – | – | – | – | – | – | – | – |
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
//! | set_close_mode | – | – | – | – | – | – | – | – | – |
//! | end | Closed | Closed | Closing | Closing | Closing | Closed | – | – | – |

mod attachments;
mod attribute_sync;
mod connection;
mod expiry;
mod frames;
mod history;
mod inbound;
mod recovery;
mod request;

use std::time::{Duration, Instant};

use genesys_api::Now;
use genesys_api::wire::RawFrame;
use secrecy::SecretString;
use time::OffsetDateTime;
use web_messaging::rest::history::HistoryPage;
use web_messaging::{Body, CustomAttributes, DEPLOYMENT_QUERY, ServerFrame};
use ws_transport::{AdmittedOrigin, ClientHandshake, CloseInfo, SocketUrl, Transmit};

use self::attachments::SessionAttachments;
use self::attribute_sync::AttributeSync;
use self::expiry::{Expiry, ExpiryEvent};
pub use self::history::HistoryFailure;
use self::history::HistoryReader;
pub use self::request::{Request, RequestError};
use crate::attachments::{AttachmentId, UploadOutcome};
use crate::engine::{Closed, Due, Engine, earliest};
use crate::event::{Ending, Loss, Session, SessionEvent};
use crate::machine::Machine;
use crate::outbox::SendError;
use crate::state::{Command, Reason, State};
use crate::timeline::{HttpOperation, Limit, Outcome, TimelineEvent};
use crate::{CloseMode, MessageId, OutgoingMessage, WebMessaging};

/// A guest's conversation with Genesys Cloud.
///
/// ```
/// use guest_conversation::{ConnectionEvent, Conversation, Event, Machine, WebMessaging};
/// use ws_transport::Transmit;
///
/// # let now = genesys_api::Now { instant: std::time::Instant::now(), utc: time::OffsetDateTime::UNIX_EPOCH };
/// let session = WebMessaging::new("b3c2".parse()?, "7d1f0c9e-0000-4000-8000-000000000001".into());
/// let mut guest = Conversation::new(session);
/// guest.connect(now); // Command::Connect: the driver opens the connection by `handshake`
/// guest.handle_connected(now);
/// assert!(matches!(guest.poll_transmit(now), Some(Transmit::Frame(text)) if text.contains("configureSession")));
/// guest.handle_frame(r#"{"type":"response","class":"SessionResponse","code":200,"body":{"connected":true}}"#, now);
/// assert!(matches!(guest.poll_event(), Some(Event::Connection(ConnectionEvent::Ready(_)))));
/// guest.send_text(uuid::Uuid::from_u128(1).into(), "Hello".to_owned())?;
/// assert!(matches!(guest.poll_transmit(now), Some(Transmit::Frame(text)) if text.contains("Hello")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Conversation {
    engine: Engine,
    config: Box<WebMessaging>,
    attributes: AttributeSync,
    expiry: Expiry,
    /// Without a host for the history there is none.
    history: Option<Box<HistoryReader>>,
    /// None where the session takes no attachments.
    attachments: Option<Box<SessionAttachments>>,
    /// The session as configured last.
    session: Option<Session>,
    /// Whether the next configuration asks for a new conversation after a read-only one.
    start_new: bool,
    /// Whether the event that joins a new session waits to be sent.
    join_pending: bool,
}

impl Conversation {
    /// A conversation that is not connected yet.
    #[must_use]
    pub fn new(mut config: WebMessaging) -> Self {
        let history = config.api.clone().map(|host| Box::new(HistoryReader::new(host)));
        let attributes = AttributeSync::new(std::mem::take(&mut config.attributes));
        Self {
            engine: Engine::default(),
            config: Box::new(config),
            attributes,
            expiry: Expiry::default(),
            history,
            attachments: None,
            session: None,
            start_new: false,
            join_pending: false,
        }
    }

    /// Time of the session's expiry, as far as it is known.
    #[must_use]
    pub fn expires_at(&self) -> Option<OffsetDateTime> {
        self.expiry.expires_at()
    }

    /// Queues a message: text with uploaded attachments, or a choice among what was offered. See
    /// [`Machine::send_text`].
    ///
    /// # Errors
    /// If it cannot be queued; its attachments can be sent with another message.
    pub fn send(&mut self, id: MessageId, message: &OutgoingMessage) -> Result<(), SendError> {
        self.engine.can_send()?;
        let attachments = message.attachments();
        if !attachments.is_empty() {
            let ids: Result<Vec<_>, _> = attachments.iter().map(|id| id.parse()).collect();
            self.attach_to(id, &ids.map_err(|_| SendError::AttachmentId)?)?;
        }
        let queued = self.engine.send(id, message.clone());
        if queued.is_err() {
            self.resolve_attachments(id, Err(None));
        }
        queued
    }

    /// Replaces the custom attributes: from now on no frame carries another value than these. The next message
    /// carries them, unless these very ones have arrived already; if there are none, nothing is sent. A frame that was
    /// sent cannot be called back, and values that have arrived stay with the conversation.
    pub fn update_attributes(&mut self, attributes: CustomAttributes) {
        self.attributes.replace(attributes);
    }

    /// Changes the effect of [`Machine::end`] at Genesys Cloud.
    pub fn set_close_mode(&mut self, mode: CloseMode) {
        self.config.close_mode = mode;
    }

    fn poll_ready(&mut self, now: Now) {
        self.engine.handle_pace();
        if self.expiry.wants_echo() {
            match self.engine.pacing.echo(now.instant) {
                Ok(()) => {
                    self.expiry.handle_echo_sent();
                    return self.transmit_control(frames::ControlRequest::Echo);
                }
                Err(at) => self.engine.wake_at(None, at),
            }
        }
        let state = self.engine.state();
        if self.join_pending && state == State::Configured && self.take_request(now) {
            self.join_pending = false;
            return self.transmit_join();
        }
        if self.wants_attachment_request()
            && self.take_request(now)
            && let Some(request) = self.next_attachment_request(now)
        {
            return self.transmit_attachment(&request);
        }
        if !self.is_resolving() {
            self.transmit_message(now);
        }
    }

    /// Takes a slot for a request, or wakes when there is one.
    fn take_request(&mut self, now: Now) -> bool {
        let slot = self.engine.pacing.request(now.instant);
        if let Err(at) = slot {
            self.engine.wake_at(Some(Limit::Requests), at);
        }
        slot.is_ok()
    }
}

impl Machine for Conversation {
    fn engine(&self) -> &Engine {
        &self.engine
    }

    fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    fn handshake(&mut self, url: &SocketUrl, origin: &AdmittedOrigin) -> ClientHandshake {
        if let Some(history) = &mut self.history {
            history.origin = Some(origin.origin().clone());
        }
        let deployment = SecretString::from(self.config.deployment.as_str());
        let named = url.clone().with_query(DEPLOYMENT_QUERY, &deployment);
        // fails for a URL of 8 KiB only: the service will refuse it without the deployment
        ClientHandshake::new(named.unwrap_or_else(|_| url.clone()), origin.clone())
    }

    fn handle_connected(&mut self, now: Now) {
        if self.engine.handle_connected(now) {
            self.configure(now);
        }
    }

    fn handle_frame(&mut self, text: &str, now: Now) {
        if !self.engine.handle_frame(now) {
            return;
        }
        let frame = ServerFrame::parse(text).ok();
        let class = frame.as_ref().and_then(|frame| frame.body.class());
        let recorded = class.unwrap_or("a frame of another class");
        self.engine.record_frame(recorded, text.len());
        if frame
            .as_ref()
            .and_then(|frame| self.handle_body(frame, now))
            .is_none()
        {
            let class = match frame.as_ref().map(|frame| &frame.body) {
                Some(Body::Unknown { class, .. }) => Some(&**class),
                _ => class,
            };
            self.engine
                .emit(SessionEvent::Unknown(RawFrame::new(class, text)));
        }
    }

    fn handle_closed(&mut self, close: CloseInfo, now: Now, random: u64) {
        match self.engine.handle_closed(close, now) {
            Some(Closed::ByUs) => self.finish(Ending::ByUs),
            Some(Closed::Lost(loss)) => self.reconnect_after(loss, None, now, random),
            None => {}
        }
    }

    fn handle_refused(&mut self, status: u16, retry_after: Option<Duration>, now: Now, random: u64) {
        if self.engine.state() != State::Connecting {
            return;
        }
        self.engine.timeline.handle_time(now);
        if matches!(status, 401 | 403) {
            self.finish(Ending::Refused { status });
        } else {
            self.reconnect_after(Loss::Refused { status }, retry_after, now, random);
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        match self.engine.handle_timeout(now) {
            Some(Due::Configure) => self.configure(now),
            Some(Due::Drained) => self.clear_or_close(now),
            Some(Due::Cleared) => self.close(now),
            Some(Due::Finish(ending)) => self.finish(ending),
            None => {}
        }
        if !self.engine.is_open() {
            return;
        }
        if self.engine.handle_heartbeat(now) {
            self.recover_overdue(now.instant, now);
        }
        if self.engine.is_ready() {
            match self.expiry.handle_timeout(now) {
                Some(ExpiryEvent::Expired) => self.finish(Ending::SessionExpired),
                Some(ExpiryEvent::Expiring(at)) => self.engine.emit(SessionEvent::Expiring { at: Some(at) }),
                None => {}
            }
        }
        self.handle_attachment_timeout(now);
        self.advance_history(now);
    }

    fn handle_history(&mut self, result: Result<HistoryPage, HistoryFailure>, now: Now) {
        self.handle_history_answer(result, now);
    }

    fn handle_upload(&mut self, id: &AttachmentId, outcome: UploadOutcome, now: Now) {
        self.handle_upload_answer(id, outcome, now);
    }

    fn is_uploading(&self, id: &AttachmentId) -> bool {
        self.attachment(id) == Some(crate::attachments::Stage::Uploading)
    }

    fn poll_command(&mut self) -> Option<Command> {
        if let Some(command) = self.engine.poll_command() {
            return Some(command);
        }
        let (operation, command) = if let Some(upload) = self.next_upload() {
            (HttpOperation::Upload, Command::Upload(Box::new(upload)))
        } else {
            let call = self.history.as_mut()?.command.take()?;
            (HttpOperation::History, Command::ReadHistory(call))
        };
        self.engine
            .timeline
            .record(TimelineEvent::Http(operation, Outcome::Started));
        Some(command)
    }

    fn poll_transmit(&mut self, now: Now) -> Option<Transmit> {
        self.engine.timeline.handle_time(now);
        if let Some(transmit) = self.engine.poll_transmit() {
            return Some(transmit);
        }
        let draining = self.engine.is_draining();
        if !self.engine.is_ready() && !draining {
            return None;
        }
        self.poll_ready(now);
        let transmit = self.engine.poll_transmit();
        if transmit.is_none() && draining && self.engine.outbox.is_idle() {
            self.clear_or_close(now);
            return self.engine.poll_transmit();
        }
        transmit
    }

    fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        let ready = self.engine.is_ready();
        let expiry = self.expiry.poll_timeout().filter(|_| ready);
        let history = self.history.as_ref().filter(|_| ready);
        let history = history.and_then(|history| history.poll_timeout());
        let attachment = self.attachment_timeout().filter(|_| self.engine.is_open());
        earliest([
            self.engine.poll_timeout(),
            expiry.map(|at| (at, Reason::Expiry)),
            history.map(|at| (at, Reason::History)),
            attachment.map(|at| (at, Reason::Attachment)),
        ])
    }

    fn send_text(&mut self, id: MessageId, text: String) -> Result<(), SendError> {
        self.engine.send(id, OutgoingMessage::new(text))
    }

    /// Nor does it where the deployment does not show it.
    fn send_typing(&mut self, now: Now) {
        if self.config.rules.typing && self.engine.take_typing(now) {
            self.transmit_typing();
        }
    }

    /// The token is the JWT of a signed-in guest. For an anonymous guest this does nothing, since their token is the
    /// session itself.
    fn update_token(&mut self, token: SecretString) {
        if let Some(jwt) = &mut self.config.jwt {
            *jwt = token;
        }
        self.engine.handle_token();
    }

    fn decline_token(&mut self) {
        if let Some(ending) = self.engine.handle_no_token() {
            self.finish(ending);
        }
    }

    /// [`CloseMode::Clear`] is requested once the messages are dealt with, and only if the session is configured.
    /// [`SessionEvent::Cleared`] confirms it, [`SessionEvent::Refused`] reports a refusal; the conversation ends in any
    /// case.
    fn end_within(&mut self, within: Duration, now: Now) {
        self.shut_down(within, now);
    }
}
