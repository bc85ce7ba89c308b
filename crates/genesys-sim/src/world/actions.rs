//! Actions of guests: what each requires of its frame, and its reply.

use std::collections::BTreeMap;

use genesys_api::{Now, limits};
use serde::Serialize;
use serde_json::{Value, json};

use crate::world::frame::{self, Limited, Refusal};
use crate::world::history::{Kind, Message, MessageContent};
use crate::world::id::{SessionKey, SocketId};
use crate::world::limits::{MINUTE, SECOND};
use crate::world::request::{Fields, Request};
use crate::world::session::{self, Session};
use crate::world::violation::ViolationKind;
use crate::world::{World, jwt};

const BUTTON_TYPES: [&str; 5] = ["Button", "DatePicker", "Form", "ListPicker", "QuickReply"];

impl World {
    pub(super) fn handle_action(&mut self, socket: SocketId, text: &str, now: Now) {
        let request = Request::parse(text);
        let done = match self.filter_inbound(socket, (text, request.as_ref()), now) {
            Ok(false) => return,
            filtered => filtered
                .and_then(|_| self.check_request_rate(socket, now))
                .and_then(|()| self.dispatch(socket, request.as_ref(), now)),
        };
        if let Err(refusal) = done {
            if matches!(refusal, Refusal::TooMany(..)) {
                self.counters.rate_limited += 1;
            }
            let tracing_id = request.as_ref().and_then(Request::tracing_id);
            self.send(socket, refusal.frame(tracing_id));
        }
    }

    fn check_request_rate(&mut self, socket: SocketId, now: Now) -> Result<(), Refusal> {
        let limit = self.rules.limits.requests_per_minute;
        let socket = self.sockets.get_mut(&socket).ok_or(Refusal::NOT_FOUND)?;
        let usage = socket.requests.take(limit, MINUTE, now.instant);
        usage.map(drop).map_err(Refusal::too_many(Limited::Requests))
    }

    fn dispatch(&mut self, socket: SocketId, request: Option<&Request>, now: Now) -> Result<(), Refusal> {
        let Some(request) = request else {
            self.violations.add(ViolationKind::BrokenFrame, "", now.utc);
            return Err(Refusal::FAILED);
        };
        self.violations.check(request, now.utc);
        match request.action() {
            "closeSession" => self.close_session(socket, request),
            "configureAuthenticatedSession" => self.configure_authenticated(socket, request, now),
            "configureSession" => self.configure_session(socket, request, now),
            "deleteAttachment" => self.delete_attachment(socket, request),
            "disconnectCustomer" => self.disconnect_customer(socket, request),
            "echo" => self.echo(socket, request, now),
            "getAttachment" => self.fetch_attachment(socket, request, now),
            "getConfiguration" => self.configuration(socket, request),
            "getJwt" => self.issue_jwt(socket, request, now),
            "onAttachment" => self.on_attachment(socket, request, now),
            "onMessage" => self.on_message(socket, request, now),
            "resumeToken" => self.resume_token(socket, request, now),
            _ => Err(Refusal::FAILED),
        }
    }

    /// Sends the reply to a socket's own request.
    pub(super) fn reply(
        &mut self,
        socket: SocketId,
        request: &Request,
        class: &'static str,
        body: &impl Serialize,
    ) -> Result<(), Refusal> {
        self.send(socket, frame::reply(class, request.tracing_id(), body));
        Ok(())
    }

    /// Returns the session for which `socket` is configured, which the frame has to name.
    pub(super) fn session_of(&self, socket: SocketId, request: &Request) -> Result<SessionKey, Refusal> {
        self.configured(socket, request.fields().text("token")?)
    }

    fn configure_session(&mut self, socket: SocketId, request: &Request, now: Now) -> Result<(), Refusal> {
        let fields = request.fields();
        let token = fields.text("token")?;
        let start_new = fields.optional_flag("startNew")?.unwrap_or_default();
        self.check_named_deployment(socket, fields)?;
        self.check_downgrade(token)?;
        let (key, new) = self.configure(socket, token, start_new, now)?;
        let body = self.session_response(key, new);
        self.reply(socket, request, "SessionResponse", &body)
    }

    fn configuration(&mut self, socket: SocketId, request: &Request) -> Result<(), Refusal> {
        let fields = request.fields();
        fields.text("token")?;
        self.check_named_deployment(socket, fields)?;
        let body = json!({
            "allowedMedia": session::allowed_media(&self.rules.attachments),
            "blockedExtensions": self.rules.attachments.blocked_extensions,
            "maxCustomDataBytes": limits::ATTRIBUTE_BYTES,
            "messageRoutingEnabled": true,
            "sessionDurationSeconds": self.rules.session_duration.as_secs(),
        });
        self.reply(socket, request, "GetConfigurationResponse", &body)
    }

    /// The URL and the frame both have to name our deployment.
    pub(super) fn check_named_deployment(&self, socket: SocketId, fields: Fields<'_>) -> Result<(), Refusal> {
        let named = fields.text("deploymentId")?;
        let socket = self.sockets.get(&socket);
        if socket.is_some_and(|it| it.deployment_known) && named == self.deployment.as_str() {
            return Ok(());
        }
        Err(Refusal::DEPLOYMENT)
    }

    fn echo(&mut self, socket: SocketId, request: &Request, now: Now) -> Result<(), Refusal> {
        let key = self.session_of(socket, request)?;
        let text = request.fields().object("message")?.text("text")?;
        check_length(text)?;
        let limit = self.rules.limits.echoes_per_minute;
        if let Some(socket) = self.sockets.get_mut(&socket) {
            let usage = socket.echoes.take(limit, MINUTE, now.instant);
            usage.map_err(Refusal::too_many(Limited::Echo))?;
        }
        let ends = self.sessions.get(&key).map_or(0, Session::ends_in_epoch_seconds);
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
        self.reply(socket, request, "StructuredMessage", &body)
    }

    fn issue_jwt(&mut self, socket: SocketId, request: &Request, now: Now) -> Result<(), Refusal> {
        let key = self.session_of(socket, request)?;
        let (jwt, exp) = jwt::issue(&self.jwt_key, key, now.utc);
        self.reply(socket, request, "JwtResponse", &json!({"jwt": jwt, "exp": exp}))
    }

    /// Ends the conversation for good. The caller's socket stays open, and can be configured anew. That a conversation
    /// which was not read-only becomes so is an inference from `readOnly` in the reply.
    fn close_session(&mut self, socket: SocketId, request: &Request) -> Result<(), Refusal> {
        let key = self.session_of(socket, request)?;
        let close_all = request.fields().flag("closeAllConnections")?;
        request.fields().text("tracingId")?;
        self.end_conversation(socket, key, close_all, request)
    }

    /// Answered as `closeSession` is (inference: no client uses it).
    fn disconnect_customer(&mut self, socket: SocketId, request: &Request) -> Result<(), Refusal> {
        let key = self.session_of(socket, request)?;
        self.end_conversation(socket, key, true, request)
    }

    fn end_conversation(
        &mut self,
        socket: SocketId,
        key: SessionKey,
        close_all: bool,
        request: &Request,
    ) -> Result<(), Refusal> {
        self.cancel_steps(key);
        self.detach(socket);
        let mut others = Vec::new();
        if let Some(session) = self.sessions.get_mut(&key) {
            session.read_only = true;
            others.clone_from(&session.sockets);
        }
        let body = json!({"connected": false, "readOnly": true});
        self.reply(socket, request, "SessionResponse", &body)?;
        for other in others.into_iter().filter(|_| close_all) {
            self.close_with_event(other, &json!({}));
        }
        Ok(())
    }

    /// Answered with a token that nothing accepts (inference: no client uses it).
    fn resume_token(&mut self, socket: SocketId, request: &Request, now: Now) -> Result<(), Refusal> {
        self.session_of(socket, request)?;
        let body = json!({"resumeToken": self.seed.secret(), "exp": now.utc.unix_timestamp() + 60});
        self.reply(socket, request, "ResumeTokenResponse", &body)
    }

    fn on_message(&mut self, socket: SocketId, request: &Request, now: Now) -> Result<(), Refusal> {
        let key = self.session_of(socket, request)?;
        let fields = request.fields();
        let message = fields.object("message")?;
        let attributes = custom_attributes([fields, message])?;
        let content = message.list("content")?;
        let kind = match message.optional_text("type")? {
            Some("Event") => return self.on_event(socket, key, request, message, now),
            Some("Structured") => Kind::Structured,
            Some("Text") => Kind::Text,
            // the browser's SDK names no type for an attachment without text
            None if !content.is_empty() => Kind::Text,
            None => return Err(message.missing("type")),
            Some(_) => return Err(Refusal::FAILED),
        };
        let text = message.optional_text("text")?;
        if content.is_empty() && text.is_none_or(str::is_empty) {
            return Err(message.missing("text"));
        }
        check_length(text.unwrap_or_default())?;
        let metadata = message.texts("metadata")?;
        let label = self.check_content(key, content)?;
        self.check_message_rate(key, now)?;
        let mut sent = MessageContent {
            text: text.map(str::to_owned),
            items: self.send_attachments(key, content, now),
            events: Vec::new(),
            metadata,
        };
        let user = self.sessions.get(&key).and_then(|session| session.user.as_ref());
        let from = user.map(|user| user.name());
        if from.is_some() {
            sent = sent.with_metadata("authenticated", "true");
        }
        self.counters.guest_messages += 1;
        if let Some(session) = self.sessions.get_mut(&key) {
            session.attributes = attributes;
        }
        self.post(socket, key, request, (kind, sent, from), now);
        let prompt = text.filter(|text| !text.is_empty()).or(label).unwrap_or_default();
        self.choose_agent(key, [fields, message], now.instant);
        self.prompt_agent(key, prompt, content, now.instant);
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
        let event = match message.list("events")? {
            [] => return Err(message.missing("events")),
            [event] => event,
            _ => return Err(Refusal::FAILED),
        };
        let sent = (Kind::Event, MessageContent::event(event.clone()), None);
        let event = Fields::of("message.events", event).ok_or(Refusal::FAILED)?;
        let presence = match event.text("eventType")? {
            "Presence" => event.object("presence")?.text("type")?,
            "Typing" => {
                event.object("typing")?.text("type")?;
                return self.check_writable(key);
            }
            _ => return Err(Refusal::SWITCHED_OFF),
        };
        match presence {
            "Join" => {
                self.check_message_rate(key, now)?;
                self.post(socket, key, request, sent, now);
                if let Some(session) = self.sessions.get_mut(&key) {
                    session.auto_started = true;
                }
                self.choose_agent(key, [request.fields(), message], now.instant);
                self.join_agent(key, now.instant);
                Ok(())
            }
            "Clear" if !self.rules.conversation_clear => Err(Refusal::NO_CLEAR),
            "Clear" => {
                self.post(socket, key, request, sent, now);
                self.clear(key);
                Ok(())
            }
            _ => Err(Refusal::FAILED),
        }
    }

    fn check_message_rate(&mut self, key: SessionKey, now: Now) -> Result<(), Refusal> {
        self.check_writable(key)?;
        let limit = self.rules.limits.messages_per_second;
        let session = self.sessions.get_mut(&key).ok_or(Refusal::NOT_FOUND)?;
        let usage = session.messages.take(limit, SECOND, now.instant);
        usage.map(drop).map_err(Refusal::too_many(Limited::Messages))
    }

    pub(super) fn check_writable(&self, key: SessionKey) -> Result<(), Refusal> {
        match self.sessions.get(&key) {
            Some(session) if session.read_only => Err(Refusal::READ_ONLY),
            _ => Ok(()),
        }
    }

    /// Sends a guest's message to all sockets of the session, and stores it. That only the sender's frame has the
    /// tracing id is an inference.
    fn post(
        &mut self,
        socket: SocketId,
        key: SessionKey,
        request: &Request,
        (kind, content, from): (Kind, MessageContent, Option<Value>),
        now: Now,
    ) {
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        let time = session.stamp(now.utc);
        let message = Message::from_guest(&mut self.seed, kind, content, from, time);
        self.fan_out(key, Some(socket), |own| {
            message.frame(request.tracing_id().filter(|_| own))
        });
        let id = message.id().to_owned();
        self.store(key, message, now);
        self.announce(key, &id, now);
    }

    /// Checks the items beside the text, and returns the label of the first button pressed.
    fn check_content<'a>(&self, key: SessionKey, content: &'a [Value]) -> Result<Option<&'a str>, Refusal> {
        let mut label = None;
        for item in content {
            let item = Fields::of("message.content", item).ok_or(Refusal::FAILED)?;
            match item.text("contentType")? {
                "Attachment" => self.check_attachment(key, item.object("attachment")?.text("id")?)?,
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
    let (bytes, limit) = (text.len(), limits::TEXT_BYTES);
    if bytes > limit {
        let text = format!("Message length {bytes} is larger than {limit}");
        return Err(Refusal::coded(4011, text));
    }
    Ok(())
}

/// Returns the custom attributes of a message. Clients put them in either place: browsers inside `message`, the Java SDK
/// beside it.
fn custom_attributes(places: [Fields<'_>; 2]) -> Result<BTreeMap<String, String>, Refusal> {
    let mut all = BTreeMap::new();
    let mut bytes = 0;
    for place in places {
        let channel = place.optional_object("channel")?;
        let metadata = channel.map(|it| it.optional_object("metadata")).transpose()?;
        if let Some(metadata) = metadata.flatten() {
            let attributes = metadata.texts("customAttributes")?;
            bytes += attributes
                .iter()
                .map(|(key, value)| key.len() + value.len())
                .sum::<usize>();
            all.extend(attributes);
        }
    }
    let limit = limits::ATTRIBUTE_BYTES;
    if bytes > limit {
        let text = format!("Custom Attributes in channel metadata is larger than {limit} bytes");
        return Err(Refusal::coded(4013, text));
    }
    Ok(all)
}
