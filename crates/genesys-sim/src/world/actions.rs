//! What a guest can ask for in a frame, and what it is answered.

use std::collections::BTreeMap;

use genesys_api::{Now, limits};
use serde_json::{Value, json};

use crate::world::complaint::Oddity;
use crate::world::frame::{self, Limited, Refusal};
use crate::world::history::{Kind, Message, Sent};
use crate::world::limits::{MINUTE, SECOND};
use crate::world::request::{Fields, Request};
use crate::world::session::{self, SessionKey};
use crate::world::{SocketId, World, jwt};

const BUTTON_TYPES: [&str; 5] = ["Button", "DatePicker", "Form", "ListPicker", "QuickReply"];

impl World {
    pub(super) fn act(&mut self, socket: SocketId, text: &str, now: Now) {
        let request = Request::parse(text);
        let done = match self.spares(socket, (text, request.as_ref()), now) {
            Ok(false) => return,
            spared => spared
                .and_then(|_| self.admit(socket, now))
                .and_then(|()| self.perform(socket, request.as_ref(), now)),
        };
        if let Err(refusal) = done {
            if matches!(refusal, Refusal::TooMany(..)) {
                self.counters.rate_limited += 1;
            }
            let tracing_id = request.as_ref().and_then(Request::tracing_id);
            self.send(socket, refusal.frame(tracing_id));
        }
    }

    fn admit(&mut self, socket: SocketId, now: Now) -> Result<(), Refusal> {
        let limit = self.rules.limits.requests_per_minute;
        let Some(socket) = self.sockets.get_mut(&socket) else {
            return Err(Refusal::NOT_FOUND);
        };
        match socket.requests.take(limit, MINUTE, now.instant) {
            Ok(_) => Ok(()),
            Err(usage) => Err(Refusal::too_many(Limited::Requests, usage)),
        }
    }

    fn perform(&mut self, socket: SocketId, request: Option<&Request>, now: Now) -> Result<(), Refusal> {
        let Some(request) = request else {
            self.complaints.add(Oddity::BrokenFrame, "", now.utc);
            return Err(Refusal::FAILED);
        };
        self.complaints.check(request, now.utc);
        match request.action() {
            "configureAuthenticatedSession" => self.configure_signed_in(socket, request, now),
            "deleteAttachment" => self.delete_attachment(socket, request),
            "disconnectCustomer" => self.disconnect_customer(socket, request),
            "getAttachment" => self.fetch_attachment(socket, request, now),
            "onAttachment" => self.on_attachment(socket, request, now),
            "resumeToken" => self.resume_token(socket, request, now),
            "closeSession" => self.close_session(socket, request),
            "configureSession" => self.configure_session(socket, request, now),
            "echo" => self.echo(socket, request, now),
            "getConfiguration" => self.configuration(socket, request),
            "getJwt" => self.issue_jwt(socket, request, now),
            "onMessage" => self.on_message(socket, request, now),
            _ => Err(Refusal::FAILED),
        }
    }

    fn configure_session(&mut self, socket: SocketId, request: &Request, now: Now) -> Result<(), Refusal> {
        let fields = request.fields();
        let token = fields.text("token")?;
        let start_new = fields.optional_flag("startNew")?.unwrap_or_default();
        self.check_deployment(socket, fields)?;
        self.check_downgrade(token)?;
        let (key, new) = self.configure(socket, token, start_new, now)?;
        let body = self.session_answer(key, new);
        self.send(
            socket,
            frame::answer("SessionResponse", request.tracing_id(), &body),
        );
        Ok(())
    }

    fn configuration(&mut self, socket: SocketId, request: &Request) -> Result<(), Refusal> {
        let fields = request.fields();
        fields.text("token")?;
        self.check_deployment(socket, fields)?;
        let body = json!({
            "allowedMedia": session::allowed_media(&self.rules.attachments),
            "blockedExtensions": self.rules.attachments.blocked_extensions,
            "maxCustomDataBytes": limits::ATTRIBUTE_BYTES,
            "messageRoutingEnabled": true,
            "sessionDurationSeconds": self.rules.session_duration.as_secs(),
        });
        self.send(
            socket,
            frame::answer("GetConfigurationResponse", request.tracing_id(), &body),
        );
        Ok(())
    }

    /// Both the deployment of the URL and that of the frame have to be ours.
    pub(super) fn check_deployment(&self, socket: SocketId, fields: Fields<'_>) -> Result<(), Refusal> {
        let named = fields.text("deploymentId")?;
        let known = self
            .sockets
            .get(&socket)
            .is_some_and(|socket| socket.deployment_known);
        if known && named == self.deployment.as_str() {
            return Ok(());
        }
        Err(Refusal::DEPLOYMENT)
    }

    fn echo(&mut self, socket: SocketId, request: &Request, now: Now) -> Result<(), Refusal> {
        let fields = request.fields();
        let key = self.configured(socket, fields.text("token")?)?;
        let text = fields.object("message")?.text("text")?;
        check_length(text)?;
        let limit = self.rules.limits.echoes_per_minute;
        if let Some(socket) = self.sockets.get_mut(&socket) {
            socket
                .echoes
                .take(limit, MINUTE, now.instant)
                .map_err(|usage| Refusal::too_many(Limited::Echo, usage))?;
        }
        let ends = self
            .sessions
            .get(&key)
            .map_or(0, session::Session::ends_in_epoch_seconds);
        let body = json!({
            "text": text,
            "type": "Text",
            "direction": "Inbound",
            "id": self.seed.uuid().to_string(),
            "metadata": {
                "durationSeconds": self.rules.session_duration.as_secs().to_string(),
                "expirationDate": ends.to_string(),
            },
        });
        self.send(
            socket,
            frame::answer("StructuredMessage", request.tracing_id(), &body),
        );
        Ok(())
    }

    fn issue_jwt(&mut self, socket: SocketId, request: &Request, now: Now) -> Result<(), Refusal> {
        let key = self.configured(socket, request.fields().text("token")?)?;
        let (jwt, exp) = jwt::issue(&self.jwt_key, key, now.utc);
        let body = json!({"jwt": jwt, "exp": exp});
        self.send(socket, frame::answer("JwtResponse", request.tracing_id(), &body));
        Ok(())
    }

    /// Ends the conversation for good; the caller's socket stays open, to be configured anew. That a conversation
    /// which was not read-only becomes so is an inference from the answer's `readOnly`.
    fn close_session(&mut self, socket: SocketId, request: &Request) -> Result<(), Refusal> {
        let fields = request.fields();
        let key = self.configured(socket, fields.text("token")?)?;
        let close_all = fields.flag("closeAllConnections")?;
        fields.text("tracingId")?;
        self.leave(socket, key, close_all, request);
        Ok(())
    }

    /// Answered as `closeSession` is (inference: no client uses it).
    fn disconnect_customer(&mut self, socket: SocketId, request: &Request) -> Result<(), Refusal> {
        let key = self.configured(socket, request.fields().text("token")?)?;
        self.leave(socket, key, true, request);
        Ok(())
    }

    /// Answered with a token that nothing takes (inference: no client uses it).
    fn resume_token(&mut self, socket: SocketId, request: &Request, now: Now) -> Result<(), Refusal> {
        self.configured(socket, request.fields().text("token")?)?;
        let body = json!({"resumeToken": self.seed.secret(), "exp": now.utc.unix_timestamp() + 60});
        self.send(
            socket,
            frame::answer("ResumeTokenResponse", request.tracing_id(), &body),
        );
        Ok(())
    }

    fn leave(&mut self, socket: SocketId, key: SessionKey, close_all: bool, request: &Request) {
        self.silence_agent(key);
        self.detach(socket);
        let others = match self.sessions.get_mut(&key) {
            Some(session) => {
                session.read_only = true;
                session.sockets.clone()
            }
            None => Vec::new(),
        };
        let body = json!({"connected": false, "readOnly": true});
        self.send(
            socket,
            frame::answer("SessionResponse", request.tracing_id(), &body),
        );
        if close_all {
            for other in others {
                self.drop_with_notice(other);
            }
        }
    }

    fn on_message(&mut self, socket: SocketId, request: &Request, now: Now) -> Result<(), Refusal> {
        let fields = request.fields();
        let key = self.configured(socket, fields.text("token")?)?;
        let message = fields.object("message")?;
        check_attributes(fields, message)?;
        let kind = match message.optional_text("type")? {
            Some("Event") => return self.on_event(socket, key, request, message, now),
            Some("Structured") => Kind::Structured,
            Some("Text") => Kind::Text,
            // the browser's SDK names no type for an attachment without text
            None if !message.list("content")?.is_empty() => Kind::Text,
            None => return Err(message.missing("type")),
            Some(_) => return Err(Refusal::FAILED),
        };
        let content = message.list("content")?;
        let text = message.optional_text("text")?;
        if content.is_empty() && text.is_none_or(str::is_empty) {
            return Err(message.missing("text"));
        }
        check_length(text.unwrap_or_default())?;
        let mut sent = Sent {
            text: text.map(str::to_owned),
            metadata: texts(message.optional_object("metadata")?)?,
            ..Sent::default()
        };
        let label = self.check_content(key, content)?;
        self.check_message_rate(key, now)?;
        sent.content = self.send_attachments(key, content, now);
        if let Some(user) = self.sessions.get(&key).and_then(|session| session.user.as_ref()) {
            sent.from = Some(user.name());
            sent.metadata
                .insert("authenticated".to_owned(), "true".to_owned());
        }
        self.counters.guest_messages += 1;
        self.tell(socket, key, request, kind, sent, now);
        let said = text.filter(|text| !text.is_empty()).or(label).unwrap_or_default();
        self.choose_agent(key, [fields, message], now.instant);
        self.prompt_agent(key, said, content, now.instant);
        Ok(())
    }

    fn on_event(
        &mut self,
        socket: SocketId,
        key: SessionKey,
        request: &Request,
        message: Fields<'_>,
        now: Now,
    ) -> Result<(), Refusal> {
        let events = message.list("events")?;
        let event = match events {
            [] => return Err(message.missing("events")),
            [event] => Fields::of("message.events", event).ok_or(Refusal::FAILED)?,
            _ => return Err(Refusal::FAILED),
        };
        let presence = match event.text("eventType")? {
            "Presence" => event.object("presence")?.text("type")?,
            "Typing" => {
                event.object("typing")?.text("type")?;
                return self.check_writable(key);
            }
            _ => return Err(Refusal::SWITCHED_OFF),
        };
        let sent = Sent {
            events: events.to_vec(),
            ..Sent::default()
        };
        match presence {
            "Join" => {
                self.check_message_rate(key, now)?;
                self.tell(socket, key, request, Kind::Event, sent, now);
                if let Some(session) = self.sessions.get_mut(&key) {
                    session.auto_started = true;
                }
                self.choose_agent(key, [request.fields(), message], now.instant);
                self.hear_join(key, now.instant);
                Ok(())
            }
            "Clear" if !self.rules.conversation_clear => Err(Refusal::NO_CLEAR),
            "Clear" => {
                self.tell(socket, key, request, Kind::Event, sent, now);
                self.clear(key);
                Ok(())
            }
            _ => Err(Refusal::FAILED),
        }
    }

    fn check_message_rate(&mut self, key: SessionKey, now: Now) -> Result<(), Refusal> {
        self.check_writable(key)?;
        let limit = self.rules.limits.messages_per_second;
        let Some(session) = self.sessions.get_mut(&key) else {
            return Err(Refusal::NOT_FOUND);
        };
        match session.messages.take(limit, SECOND, now.instant) {
            Ok(_) => Ok(()),
            Err(usage) => Err(Refusal::too_many(Limited::Messages, usage)),
        }
    }

    pub(super) fn check_writable(&self, key: SessionKey) -> Result<(), Refusal> {
        match self.sessions.get(&key) {
            Some(session) if session.read_only => Err(Refusal::READ_ONLY),
            _ => Ok(()),
        }
    }

    /// Tells all sockets of the session; that only the sender's frame carries the tracing id is an inference.
    fn tell(
        &mut self,
        socket: SocketId,
        key: SessionKey,
        request: &Request,
        kind: Kind,
        sent: Sent,
        now: Now,
    ) {
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        let time = session.stamp(now.utc);
        let message = Message::guest(&mut self.seed, kind, sent, time);
        self.fan_out(key, Some(socket), |own| {
            message.frame(if own { request.tracing_id() } else { None })
        });
        let id = message.id().to_owned();
        self.keep(key, message, now);
        self.announce(key, &id, now);
    }

    /// Checks what stands beside the text, and finds the label of the first button pressed.
    fn check_content<'a>(&self, key: SessionKey, content: &'a [Value]) -> Result<Option<&'a str>, Refusal> {
        let mut label = None;
        for item in content {
            let item = Fields::of("message.content", item).ok_or(Refusal::FAILED)?;
            match item.text("contentType")? {
                "Attachment" => {
                    self.check_attachment(key, item.object("attachment")?.text("id")?)?;
                }
                "ButtonResponse" => {
                    let button = item.object("buttonResponse")?;
                    button.text("payload")?;
                    if !BUTTON_TYPES.contains(&button.text("type")?) {
                        return Err(Refusal::FAILED);
                    }
                    label = label.or(Some(button.text("text")?));
                }
                "Form" => {
                    item.object("form")?;
                }
                _ => return Err(Refusal::FAILED),
            }
        }
        Ok(label)
    }
}

fn check_length(text: &str) -> Result<(), Refusal> {
    if text.len() > limits::TEXT_BYTES {
        return Err(Refusal::message_too_long(text.len(), limits::TEXT_BYTES));
    }
    Ok(())
}

/// Clients put them in either place: browsers inside `message`, the Java SDK beside it.
fn check_attributes(fields: Fields<'_>, message: Fields<'_>) -> Result<(), Refusal> {
    let mut bytes = 0;
    for place in [fields, message] {
        let Some(channel) = place.optional_object("channel")? else {
            continue;
        };
        let Some(metadata) = channel.optional_object("metadata")? else {
            continue;
        };
        let attributes = texts(metadata.optional_object("customAttributes")?)?;
        bytes += attributes
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum::<usize>();
    }
    if bytes > limits::ATTRIBUTE_BYTES {
        return Err(Refusal::attributes_too_large(limits::ATTRIBUTE_BYTES));
    }
    Ok(())
}

fn texts(fields: Option<Fields<'_>>) -> Result<BTreeMap<String, String>, Refusal> {
    let Some(fields) = fields else {
        return Ok(BTreeMap::new());
    };
    fields
        .iter()
        .map(|(name, value)| {
            let value = value.as_str().ok_or(Refusal::FAILED)?;
            Ok((name.clone(), value.to_owned()))
        })
        .collect()
}
