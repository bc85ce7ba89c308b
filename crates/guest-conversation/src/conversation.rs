//! The conversation with Genesys Cloud as a state machine: no socket, no clock, no randomness of its own.
//!
//! `conversation/states.md` has the next state for each input in each state.

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
use web_messaging::{Body, CustomAttributes, DEPLOYMENT_QUERY, ServerFrame};
use ws_transport::{AdmittedOrigin, ClientHandshake, CloseInfo, Machine, QueueFull, SocketUrl, Transmit};

use self::attribute_sync::AttributeSync;
use self::expiry::{Expiry, ExpiryEvent};
pub use self::history::HistoryFailure;
use self::history::HistoryReader;
pub use self::request::{Request, RequestError};
use crate::attachments::{AttachmentId, Attachments, Stage};
use crate::engine::{Closed, Due, Engine, earliest};
use crate::event::{Ending, Loss, SessionEvent};
use crate::machine::GuestMachine;
use crate::outbox::SendError;
use crate::state::{Command, Job, JobOutcome, Progress, Reason, State};
use crate::timeline::{REQUEST_LIMIT, TimelineEvent};
use crate::{CloseMode, Event, MessageId, OutgoingMessage, WebMessaging};

/// Time until a refused deployment is tried again. Our choice.
const REFUSED_WAIT: Duration = Duration::from_secs(60);

/// A guest's conversation with Genesys Cloud.
///
/// ```
/// use guest_conversation::{ConnectionEvent, Conversation, Event, GuestMachine, OutgoingMessage, WebMessaging};
/// use ws_transport::{Machine, Transmit};
///
/// # let now = genesys_api::Now { instant: std::time::Instant::now(), utc: time::OffsetDateTime::UNIX_EPOCH };
/// let session = WebMessaging::new("b3c2".parse()?, "7d1f0c9e-0000-4000-8000-000000000001".into());
/// let mut guest = Conversation::new(session);
/// guest.engine_mut().connect(now); // Command::Connect: the driver opens the connection by `handshake`
/// guest.handle_connected(now);
/// assert!(matches!(guest.poll_transmit(now), Some(Transmit::Frame(text)) if text.contains("configureSession")));
/// guest.handle_frame(r#"{"type":"response","class":"SessionResponse","code":200,"body":{"connected":true}}"#, now);
/// assert!(matches!(guest.poll_event(), Some(Event::Connection(ConnectionEvent::Ready(_)))));
/// guest.send(uuid::Uuid::from_u128(1).into(), &OutgoingMessage::new("Hello".to_owned()), now)?;
/// assert!(matches!(guest.poll_transmit(now), Some(Transmit::Frame(text)) if text.contains("Hello")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Conversation {
    engine: Engine,
    config: Box<WebMessaging>,
    attributes: AttributeSync,
    expiry: Expiry,
    /// `None` without a host for the history.
    history: Option<Box<HistoryReader>>,
    attachments: Attachments,
}

impl Conversation {
    /// A conversation that is not connected yet.
    #[must_use]
    pub fn new(mut config: WebMessaging) -> Self {
        let mut engine = Engine::default();
        engine.set_queue_timeout(config.queue_timeout);
        let history = config.api.clone().map(|host| Box::new(HistoryReader::new(host)));
        let attributes = AttributeSync::new(std::mem::take(&mut config.attributes));
        Self {
            engine,
            config: Box::new(config),
            attributes,
            expiry: Expiry::default(),
            history,
            attachments: Attachments::default(),
        }
    }

    /// Time of the session's expiry, as far as it is known.
    #[must_use]
    pub fn expires_at(&self) -> Option<OffsetDateTime> {
        self.expiry.expires_at()
    }

    /// Replaces the custom attributes. The next message is sent with them, unless the same ones have arrived already;
    /// no later frame has other values. Values that have arrived stay with the conversation.
    pub fn update_attributes(&mut self, attributes: CustomAttributes) {
        self.attributes.replace(attributes);
    }

    /// Whether the deployment lets the guest clear the conversation: [`Request::Clear`].
    #[must_use]
    pub fn can_clear(&self) -> bool {
        self.config.rules.clear
    }

    /// Whether the guest is signed in, or will be with the next connection.
    #[must_use]
    pub fn is_signed_in(&self) -> bool {
        self.config.jwt.is_some()
    }

    /// Changes the effect of [`GuestMachine::end`](crate::GuestMachine::end) at Genesys Cloud.
    pub fn set_close_mode(&mut self, mode: CloseMode) {
        self.config.close_mode = mode;
    }

    fn poll_ready(&mut self, now: Now) {
        self.engine.pace = None;
        if self.engine.progress == Progress::StartingNew {
            // as `advance_history` does
            return;
        }
        if self.expiry.has_queued_echo() {
            match self.engine.pacing.echo(now.instant) {
                Ok(()) => {
                    self.expiry.handle_echo_sent();
                    return self.transmit_control(frames::ControlRequest::Echo);
                }
                Err(at) => self.engine.wake_at(None, at),
            }
        }
        let joins = self.engine.progress == Progress::Joining && self.engine.state() == State::Configured;
        if joins && self.take_request(now) {
            self.engine.progress = Progress::Established;
            return self.transmit_join();
        }
        if self.is_resolving() {
            self.engine.report_queued();
        }
        if !self.transmit_attachment_request(now) && !self.is_resolving() {
            self.transmit_message(now);
        }
    }

    /// Takes a slot for a request, or wakes when there is one.
    fn take_request(&mut self, now: Now) -> bool {
        let slot = self.engine.pacing.request(now.instant);
        if let Err(at) = slot {
            self.engine.wake_at(Some(REQUEST_LIMIT), at);
        }
        slot.is_ok()
    }
}

impl Machine for Conversation {
    type Event = Event;
    type Job = Job;
    type JobId = Option<AttachmentId>;
    type Outcome = JobOutcome;
    type Reason = Reason;

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
        let frame = ServerFrame::parse(text).ok();
        let class = frame.as_ref().and_then(|frame| frame.class);
        let recorded = class.unwrap_or("a frame of another class");
        self.engine.record_frame(recorded, text.len());
        let handled = frame.as_ref().and_then(|frame| self.handle_body(frame, now));
        if handled.is_none() {
            let class = match frame.as_ref().map(|frame| &frame.body) {
                Some(Body::Unknown { class, .. }) => Some(&**class),
                _ => class,
            };
            let unknown = RawFrame::new(class, text);
            self.engine.emit(SessionEvent::Unknown(unknown));
        }
    }

    fn handle_alive(&mut self) {
        self.engine.handle_alive();
    }

    fn handle_closed(&mut self, close: CloseInfo, now: Now, random: u64) {
        match self.engine.handle_closed(close, now) {
            Some(Closed::ByUs) => self.finish(Ending::ByUs),
            Some(Closed::Lost(loss)) => {
                let is_refused = matches!(&loss, Loss::Rejected(refusal) if refusal.is_final());
                let wait = is_refused.then_some(REFUSED_WAIT);
                self.reconnect_after(loss, wait, now, random);
            }
            None => {}
        }
    }

    fn handle_refused(&mut self, status: u16, retry_after: Option<Duration>, now: Now, random: u64) {
        if self.engine.state() != State::Connecting {
            return;
        }
        self.engine.timeline.handle_time(now);
        let is_final = matches!(status, 401 | 403);
        if is_final && !self.config.retry_refusals {
            return self.finish(Ending::Refused { status });
        }
        let retry_after = retry_after.or(is_final.then_some(REFUSED_WAIT));
        self.reconnect_after(Loss::Refused { status }, retry_after, now, random);
    }

    fn handle_outcome(&mut self, outcome: JobOutcome, now: Now) {
        self.engine.timeline.handle_time(now);
        match outcome {
            JobOutcome::History(result) => self.handle_history(result, now),
            JobOutcome::Upload(id, outcome) => self.handle_upload(&id, outcome, now),
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        if let Some(due) = self.engine.handle_timeout(now) {
            self.perform(due, now);
        }
        let failed = self.engine.expire_messages(now);
        self.release_attachments(&failed);
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
        self.update_attachments(|attachments| attachments.handle_timeout(now.instant));
        self.advance_history(now);
    }

    fn poll_command(&mut self) -> Option<Command> {
        if let Some(command) = self.engine.command.take() {
            return Some(command);
        }
        let (step, command) = if let Some(upload) = self.attachments.poll_upload() {
            let id = Some(upload.id.clone());
            (
                "uploading a file",
                Command::Run(id, Job::Upload(Box::new(upload))),
            )
        } else {
            let call = self.history.as_mut()?.command.take()?;
            ("reading the history", Command::Run(None, Job::ReadHistory(call)))
        };
        self.engine.timeline.record(TimelineEvent::Step(step));
        Some(command)
    }

    fn wants(&self, upload: &Option<AttachmentId>) -> bool {
        let upload = upload.as_ref();
        upload.is_none_or(|id| self.attachment(id) == Some(Stage::Uploading))
    }

    fn poll_transmit(&mut self, now: Now) -> Option<Transmit> {
        self.engine.timeline.handle_time(now);
        if let Some(transmit) = self.engine.poll_transmit() {
            return Some(transmit);
        }
        if !self.engine.may_transmit() {
            return None;
        }
        self.poll_ready(now);
        let transmit = self.engine.poll_transmit();
        if transmit.is_none() && self.engine.has_drained() {
            self.clear_or_close(now);
            return self.engine.poll_transmit();
        }
        transmit
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.engine.events.pop_front()
    }

    fn backlog(&self) -> usize {
        self.engine.events.len()
    }

    fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        let ready = self.engine.is_ready();
        let expiry = self.expiry.poll_timeout().filter(|_| ready);
        let history = self.history.as_ref().filter(|_| ready);
        let history = history.and_then(|history| history.poll_timeout());
        let attachment = self.attachments.poll_timeout().filter(|_| self.engine.is_open());
        earliest([
            self.engine.poll_timeout(),
            expiry.map(|at| (at, Reason::Expiry)),
            history.map(|at| (at, Reason::History)),
            attachment.map(|at| (at, Reason::Attachment)),
        ])
    }

    fn is_over(&self) -> bool {
        self.engine.state().is_over()
    }
}

impl GuestMachine for Conversation {
    fn engine(&self) -> &Engine {
        &self.engine
    }

    fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    fn perform(&mut self, due: Due, now: Now) {
        match due {
            Due::Configure => self.configure(now),
            Due::Clear => self.clear_or_close(now),
            Due::Close => self.close(now),
            Due::Finish(ending) => self.finish(ending),
        }
    }

    /// The attachments must be uploaded. If the message is refused, they can be sent with another one.
    fn send(&mut self, id: MessageId, message: &OutgoingMessage, now: Now) -> Result<(), SendError> {
        self.engine.can_send()?;
        let attachments = message.attachments();
        if !attachments.is_empty() {
            self.attachments.attach_to(id, attachments)?;
        }
        let queued = self.engine.send(id, message.clone(), now);
        if queued.is_err() {
            self.resolve_attachments(id, Err(None));
        }
        queued
    }

    /// It does nothing where the deployment does not show it.
    fn send_typing(&mut self, now: Now) {
        if self.config.rules.typing && self.engine.take_typing(now) {
            self.transmit_typing();
        }
    }

    /// Replaces the JWT of a signed-in guest, also after [`ConnectionEvent::SignInLost`](crate::ConnectionEvent::SignInLost).
    /// Does nothing for an anonymous guest, whose token is the session itself.
    fn update_token(&mut self, token: SecretString) {
        if self.config.jwt.is_some() || self.engine.awaits_sign_in() {
            self.config.jwt = Some(token);
        }
        self.engine.handle_token();
    }

    /// [`CloseMode::Clear`] is requested after the unacknowledged messages, and only if the session is configured.
    /// [`SessionEvent::Cleared`] confirms it, [`SessionEvent::Refused`] reports a refusal; the conversation ends in any
    /// case.
    fn end_within(&mut self, within: Duration, now: Now) {
        let due = self.engine.shut_down(within, now);
        self.abandon_history();
        if let Some(due) = due {
            self.perform(due, now);
        }
    }
}
