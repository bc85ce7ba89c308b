//! Frames from Genesys Cloud.

use std::time::Duration;

use genesys_api::wire::sanitize;
use genesys_api::{Now, limits, retry};
use web_messaging::{
    Body, ErrorCode, FrameKind, MessageEvent, PresenceKind, Remedy, ServerFrame, SessionResponse,
    StructuredMessage,
};

use super::Conversation;
use super::frames::{ControlRequest, Subject};
use super::recovery::DELIVERY_DELAY;
use crate::attachments::Rules;
use crate::engine::shutdown::ClosingStep;
use crate::event::{
    Ending, Event, FailureReason, Loss, RequestKind, ServiceRefusal, SessionEvent, SessionInfo,
};
use crate::state::{Configured, Progress, Stage, State, Wait};
use crate::timeline::TimelineEvent;
use crate::{Direction, Message, MessageId};

impl Conversation {
    /// Returns `None` if the frame is unknown.
    pub(super) fn handle_body(&mut self, frame: &ServerFrame<'_>, now: Now) -> Option<()> {
        let tracing_id = frame.tracing_id.as_deref();
        match &frame.body {
            Body::Session(session) if session.connected => self.handle_session(session, now),
            Body::Structured(message) => {
                return self.handle_structured(frame.kind, tracing_id, message, now);
            }
            Body::TooManyRequests(limit) => {
                let code = limit.error_code.unwrap_or(429);
                let refusal = ServiceRefusal::new(code, limit.error_message.as_deref().unwrap_or_default());
                let seconds = limit.retry_after.and_then(|seconds| u64::try_from(seconds).ok());
                let retry_after = seconds.map_or(limits::RETRY_AFTER, Duration::from_secs);
                let subject = Subject::of(tracing_id, ErrorCode::TooManyRequests, "");
                self.handle_throttled(&subject, &refusal, retry_after.min(retry::MAX_RETRY_AFTER), now);
            }
            Body::Error(error) => {
                let code = error.error_code.unwrap_or(frame.code);
                self.handle_error(code, error.text(), tracing_id, now);
            }
            Body::Plain(text) if frame.code >= 400 => self.handle_error(frame.code, text, tracing_id, now),
            Body::Session(session) if session.read_only => {
                if let Some(Stage::ReadOnly { leaving: Some(_) }) = self.engine.stage() {
                    self.engine.enter(Stage::Configuring(Wait::Retry(now.instant)));
                    self.configure(now);
                }
            }
            Body::Jwt(jwt) => self.handle_jwt(jwt.token.to_secret(), jwt.expires_at?, now),
            Body::ConnectionClosed { reason } => self.handle_ended(Ending::ClosedByServer {
                reason: reason.as_deref().map(sanitize),
            }),
            Body::LoggedOut => self.handle_ended(Ending::LoggedOut),
            Body::SessionCleared => {
                let cleared = TimelineEvent::Warning("the conversation was cleared", None);
                self.engine.timeline.record(cleared);
                self.engine.emit(SessionEvent::Cleared);
                self.handle_clear_answered(now);
            }
            Body::SessionExpired => self.handle_ended(Ending::SessionExpired),
            other => return self.handle_attachment_body(other, tracing_id, now),
        }
        Some(())
    }

    /// Handles a session that the service ended. During a shutdown that is its result.
    fn handle_ended(&mut self, ending: Ending) {
        if self.engine.state() == State::Closing {
            self.finish(Ending::ByUs);
        } else {
            self.finish(ending);
        }
    }

    fn handle_session(&mut self, session: &SessionResponse<'_>, now: Now) {
        if session.new_session {
            self.attributes.handle_new_session();
        }
        let rules = match self.config.rules.attachments {
            true => Rules::of(session),
            false => Rules::off(),
        };
        let session = SessionInfo {
            new_session: session.new_session,
            read_only: session.read_only,
            expires_at: session.expires_at,
        };
        self.expiry.set(session.expires_at, now);
        self.extend_expiry(now);
        let Some(configured) = self.engine.handle_configured(session, now) else {
            return;
        };
        if configured != Configured::SignedIn {
            self.begin_recovery(configured == Configured::Again, session.new_session, now);
        }
        self.handle_attachment_rules(rules, session.new_session);
        if session.read_only {
            self.handle_read_only();
        } else if session.new_session && self.config.rules.autostart {
            self.engine.progress = Progress::Joining;
        }
    }

    fn extend_expiry(&mut self, now: Now) {
        self.expiry.extend(self.config.rules.session_duration, now);
    }

    fn handle_structured(
        &mut self,
        kind: FrameKind,
        tracing_id: Option<&str>,
        message: &StructuredMessage<'_>,
        now: Now,
    ) -> Option<()> {
        let expires_at = message.metadata.as_ref().and_then(|metadata| metadata.expires_at);
        if kind == FrameKind::Response {
            // the answer to a health check
            if self.expiry.handle_echo(expires_at, now) {
                let expires_at = self.expiry.expires_at();
                self.engine.emit(SessionEvent::Health { expires_at });
            }
            return Some(());
        }
        let inbound = message.direction()? == Direction::Inbound;
        let id = tracing_id.and_then(|id| id.parse::<MessageId>().ok());
        if let Some(id) = id.filter(|_| inbound) {
            self.attributes.handle_delivered(id);
        }
        if &*message.kind == "Event" {
            return self.handle_message_event(message, inbound);
        }
        let message = message.to_message(now.utc)?;
        if inbound {
            self.expiry.set(expires_at, now);
        }
        self.extend_expiry(now);
        self.observe_time(message.at);
        if inbound {
            self.handle_echo(id, message);
        } else if self.engine.recent.insert(&message.id) {
            self.emit_in_order(Event::Message(Box::new(message)));
        }
        Some(())
    }

    /// The echo of a message of the guest, from this socket or another one of the session.
    fn handle_echo(&mut self, id: Option<MessageId>, message: Message) {
        let at = message.at;
        let new = self.engine.recent.insert(&message.id);
        let known = id
            .filter(|id| self.engine.handle_delivered(*id, at, None))
            .or_else(|| {
                // it arrived by a lost connection: its echo on this one has no tracing id
                let late = id.is_none() && new;
                late.then(|| self.match_entry(&message)).flatten()
            });
        if let Some(id) = known {
            self.emit_delivered(id, &message);
            self.resolve_attachments(id, Ok(()));
        } else if id.is_none_or(|id| self.engine.recent.insert(&id.to_string())) && new {
            self.emit_in_order(SessionEvent::OwnMessage(Box::new(message)).into());
        }
    }

    fn handle_message_event(&mut self, message: &StructuredMessage<'_>, inbound: bool) -> Option<()> {
        match message.events.first()? {
            // the guest's own typing, joining and clearing come back; SessionClearedEvent reports the clearing
            MessageEvent::Presence(_) | MessageEvent::Typing(_) if inbound => {}
            MessageEvent::Presence(presence) if presence.kind == PresenceKind::Disconnect => {
                let metadata = message.metadata.as_ref();
                let read_only = metadata.is_some_and(|metadata| metadata.read_only);
                self.engine.emit(SessionEvent::ConversationEnded { read_only });
                if read_only {
                    self.handle_read_only();
                }
            }
            MessageEvent::Typing(typing) if &*typing.kind == "On" => {
                let during = typing
                    .duration
                    .map_or(limits::TYPING_SHOWN, Duration::from_millis);
                let from = message.author();
                self.engine.emit(SessionEvent::Typing { from, during });
            }
            MessageEvent::Typing(_) => {}
            _ => return None,
        }
        Some(())
    }

    fn handle_error(&mut self, code: i64, text: &str, tracing_id: Option<&str>, now: Now) {
        let refusal = ServiceRefusal::new(code, text);
        let code = ErrorCode::new(code);
        let subject = Subject::of(tracing_id, code, text);
        let remedy = code.remedy(text);
        match remedy {
            Remedy::RefreshJwt | Remedy::Authenticate if self.config.jwt.is_some() => {
                return self.handle_token_needed(&subject, refusal, now);
            }
            Remedy::NewSession if code == ErrorCode::SessionExpired => {
                return self.handle_ended(Ending::SessionExpired);
            }
            Remedy::NewSession | Remedy::RefreshJwt => return self.handle_ended(Ending::Rejected(refusal)),
            Remedy::Wait => return self.handle_throttled(&subject, &refusal, limits::RETRY_AFTER, now),
            Remedy::DropAttributes => {
                let message = tracing_id.and_then(|id| id.parse().ok());
                self.attributes.handle_too_large(message);
            }
            _ => {}
        }
        self.handle_refusal(subject, refusal, remedy, now);
    }

    fn handle_token_needed(&mut self, subject: &Subject, refusal: ServiceRefusal, now: Now) {
        match self.engine.state() {
            State::Configuring => {}
            State::Closing => return self.finish(Ending::ByUs),
            State::Configured | State::ReadOnly => {
                let code = ErrorCode::TooManyRequests.number();
                if !self.handle_attachment_refused(subject, code, &refusal)
                    && let Subject::Message(id) = subject
                {
                    self.engine.outbox.requeue(*id);
                }
                self.abandon_history();
                self.engine.enter(Stage::Configuring(Wait::Retry(now.instant)));
                self.engine.report_queued();
            }
            State::Idle | State::Connecting | State::Reconnecting | State::Closed | State::Failed => return,
        }
        if let Err(ending) = self.engine.request_token(refusal, now) {
            self.finish(ending);
        }
    }

    fn handle_throttled(
        &mut self,
        subject: &Subject,
        refusal: &ServiceRefusal,
        retry_after: Duration,
        now: Now,
    ) {
        let until = self.engine.handle_throttled(retry_after, now);
        let code = ErrorCode::TooManyRequests.number();
        if self.handle_attachment_refused(subject, code, refusal) {
            return;
        }
        match subject {
            _ if self.engine.state() == State::Configuring => self.engine.retry_session(until),
            Subject::Message(id) => {
                self.engine.outbox.requeue(*id);
            }
            Subject::SomeMessage => {
                if let Some(id) = self.engine.outbox.only_sent() {
                    self.engine.outbox.requeue(id);
                }
            }
            Subject::Control(ControlRequest::Echo) => self.expiry.handle_refused(),
            Subject::Control(ControlRequest::Jwt) => {
                if let Some(history) = &mut self.history {
                    history.handle_jwt_deferred(until);
                }
            }
            Subject::Control(ControlRequest::CloseSession) => self.stop_leaving(now),
            Subject::Attachment(_) | Subject::Control(ControlRequest::Clear) | Subject::Other => {}
        }
        // a message is sent again, and the application decides about its own requests
        if let Some(request) = subject.request().filter(|_| self.engine.is_ready()) {
            let (request, refusal) = (Some(request), refusal.clone());
            self.engine.emit(SessionEvent::Refused { request, refusal });
        }
        if !matches!(subject, Subject::Message(_)) {
            self.handle_clear_answered(now);
        }
    }

    /// The read-only conversation is not left.
    fn stop_leaving(&mut self, now: Now) {
        self.engine.progress = Progress::Established;
        self.engine.set_leaving(None);
        self.advance_history(now);
    }

    fn handle_refusal(&mut self, subject: Subject, refusal: ServiceRefusal, remedy: Remedy, now: Now) {
        let code = refusal.code.parse().ok();
        if let Some(code) = code
            && self.handle_attachment_refused(&subject, code, &refusal)
        {
            return;
        }
        match self.engine.stage() {
            Some(Stage::Configuring(_) | Stage::SigningIn(_)) if remedy == Remedy::Retry => {
                return self.engine.disconnect(Loss::Rejected(refusal));
            }
            Some(Stage::SigningIn(_)) if remedy != Remedy::StopSending => {
                // the guest stays anonymous
                self.config.jwt = None;
                self.engine.enter(Stage::Configured);
                let request = Some(RequestKind::SignIn);
                return self.engine.emit(SessionEvent::Refused { request, refusal });
            }
            Some(Stage::Configuring(_) | Stage::SigningIn(_)) if self.config.retry_refusals => {
                return self.engine.disconnect(Loss::Rejected(refusal));
            }
            Some(Stage::Configuring(_) | Stage::SigningIn(_)) => {
                return self.finish(Ending::Rejected(refusal));
            }
            _ => {}
        }
        if let (Remedy::Retry, Subject::Message(id)) = (remedy, &subject)
            && self.engine.outbox.mark_unknown(*id)
        {
            // it may have arrived all the same
            return self.recover_overdue(now.instant + DELIVERY_DELAY, now);
        }
        let request = subject.request();
        let message = match subject {
            Subject::Message(id) => Some(id),
            Subject::SomeMessage => self.engine.outbox.only_sent(),
            Subject::Control(ControlRequest::Jwt) => {
                self.report_unread(&refusal.to_string());
                None
            }
            Subject::Control(ControlRequest::CloseSession) => {
                self.stop_leaving(now);
                None
            }
            Subject::Attachment(_) | Subject::Control(_) | Subject::Other => None,
        };
        let reason = match remedy {
            Remedy::StopSending => FailureReason::ReadOnly,
            _ => FailureReason::Refused(Box::new(refusal.clone())),
        };
        if let Some(id) = message.filter(|id| self.engine.handle_failed(*id, reason)) {
            self.resolve_attachments(id, Err(code));
        } else {
            self.engine.emit(SessionEvent::Refused { request, refusal });
            if message.is_none() {
                self.handle_clear_answered(now);
            }
        }
        if remedy == Remedy::StopSending {
            if self.engine.state() == State::Configured {
                self.engine
                    .emit(SessionEvent::ConversationEnded { read_only: true });
            }
            self.handle_read_only();
        }
    }

    pub(super) fn handle_read_only(&mut self) {
        let failed = self.engine.handle_read_only();
        self.release_attachments(&failed);
        if !self.is_resolving() {
            self.engine.report_unknown();
        }
    }

    /// The service cleared the conversation, or refused to: a shutdown that waits for it goes on.
    fn handle_clear_answered(&mut self, now: Now) {
        if self.engine.closing_step() == Some(ClosingStep::Clearing) {
            self.close(now);
        }
    }
}
