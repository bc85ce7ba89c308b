//! Actions of guests: what each requires of its frame, and its reply.

use genesys_api::{Now, limits};
use serde::Serialize;
use serde_json::{Value, json};

use crate::cloud::{
    Cloud, ECHOES, Fields, HISTORY, Kind, MESSAGES, Message, MessageContent, REQUESTS, Refusal, Request,
    SECOND, Session, SessionKey, Socket, SocketId, ViolationKind, frame, jwt, session,
};
use crate::config::User;
use crate::script::{Script, Trigger};

const BUTTON_TYPES: [&str; 5] = ["Button", "DatePicker", "Form", "ListPicker", "QuickReply"];

pub(super) type ActionResult = Result<(), Refusal>;

impl Cloud {
    pub(super) fn handle_action(&mut self, socket: SocketId, text: &str, now: Now) {
        let request = Request::parse(socket, text, now);
        let done = match self.filter_inbound(socket, (text, request.as_ref()), now) {
            Ok(false) => return,
            filtered => filtered
                .and_then(|_| self.check_request_rate(socket, now))
                .and_then(|()| match &request {
                    Some(request) => self.dispatch(request),
                    None => {
                        self.violations.add(ViolationKind::BrokenFrame, "", now.utc);
                        Err(Refusal::FAILED)
                    }
                }),
        };
        if let Err(refusal) = done {
            self.counters.rate_limited += u64::from(matches!(refusal, Refusal::TooMany(..)));
            let tracing_id = request.as_ref().and_then(Request::tracing_id);
            self.send(socket, refusal.frame(tracing_id));
        }
    }

    fn check_request_rate(&mut self, socket: SocketId, now: Now) -> ActionResult {
        let limit = self.rules.limits.requests_per_minute;
        let socket = self.sockets.get_mut(&socket).ok_or(Refusal::NOT_FOUND)?;
        socket.requests.take(limit, now, Refusal::too_many(REQUESTS))?;
        Ok(())
    }

    fn dispatch(&mut self, request: &Request) -> ActionResult {
        self.violations.check(request);
        match request.action.as_str() {
            "closeSession" => self.close_session(request),
            "configureAuthenticatedSession" => self.configure_authenticated(request),
            "configureSession" => self.configure_session(request),
            "deleteAttachment" => self.delete_attachment(request),
            // answered as `closeSession` is (inference: no client uses it)
            "disconnectCustomer" => self.end_conversation(self.session_of(request)?, true, request),
            "echo" => self.echo(request),
            "getAttachment" => self.fetch_attachment(request),
            "getConfiguration" => self.configuration(request),
            "getJwt" => self.issue_jwt(request),
            "onAttachment" => self.on_attachment(request),
            "onMessage" => self.on_message(request),
            "resumeToken" => self.resume_token(request),
            _ => Err(Refusal::FAILED),
        }
    }

    pub(super) fn reply(
        &mut self,
        request: &Request,
        class: &'static str,
        body: &impl Serialize,
    ) -> ActionResult {
        let frame = frame::reply(class, request.tracing_id(), body);
        self.send(request.socket, frame);
        Ok(())
    }

    /// Returns the session for which the socket is configured, which the frame has to name.
    pub(super) fn session_of(&self, request: &Request) -> Result<SessionKey, Refusal> {
        self.configured(request.socket, request.fields().text("token")?)
    }

    fn configure_session(&mut self, request: &Request) -> ActionResult {
        let fields = request.fields();
        let token = fields.text("token")?;
        let start_new = fields.optional("startNew", Value::as_bool)? == Some(true);
        self.check_named_deployment(request)?;
        let signed_in = |session: &Session| session.user.is_some();
        if self.session_by_token(token).is_some_and(signed_in) {
            return Err(Refusal::DOWNGRADE);
        }
        let (key, new) = self.configure(request, token, start_new)?;
        let body = self.session_response(key, new, false);
        self.reply(request, "SessionResponse", &body)
    }

    fn configuration(&mut self, request: &Request) -> ActionResult {
        request.fields().text("token")?;
        self.check_named_deployment(request)?;
        let body = json!({
            "allowedMedia": session::allowed_media(&self.rules.attachments),
            "blockedExtensions": self.rules.attachments.blocked_extensions,
            "maxCustomDataBytes": limits::ATTRIBUTE_BYTES,
            "messageRoutingEnabled": true,
            "sessionDurationSeconds": self.rules.session_duration.as_secs(),
        });
        self.reply(request, "GetConfigurationResponse", &body)
    }

    /// The URL and the frame both have to name our deployment.
    pub(super) fn check_named_deployment(&self, request: &Request) -> ActionResult {
        let named = request.fields().text("deploymentId")?;
        let socket = self.sockets.get(&request.socket);
        if socket.is_some_and(|it| it.deployment_known) && named == self.deployment.as_str() {
            return Ok(());
        }
        Err(Refusal::coded(400, "Deployment not found"))
    }

    fn echo(&mut self, request: &Request) -> ActionResult {
        let key = self.session_of(request)?;
        let text = request.fields().object("message")?.text("text")?;
        check_length(text)?;
        let limit = self.rules.limits.echoes_per_minute;
        if let Some(Socket { echoes, .. }) = self.sockets.get_mut(&request.socket) {
            echoes.take(limit, request.now, Refusal::too_many(ECHOES))?;
        }
        let ends = self.sessions.get(&key).map_or(0, |it| it.ends.unix_timestamp());
        let body = json!({
            "text": text,
            "type": "Text",
            "direction": "Inbound",
            "id": self.rng.uuid().to_string(),
            "metadata": {
                "durationSeconds": self.rules.session_duration.as_secs().to_string(),
                "expirationDate": ends.to_string(),
            },
        });
        self.reply(request, "StructuredMessage", &body)
    }

    fn issue_jwt(&mut self, request: &Request) -> ActionResult {
        let key = self.session_of(request)?;
        let expires = request.now.utc + limits::HISTORY_JWT;
        let jwt = jwt::issue(&self.jwt_key, HISTORY.to_owned(), key.0, request.now, expires);
        let body = json!({"jwt": jwt, "exp": expires.unix_timestamp()});
        self.reply(request, "JwtResponse", &body)
    }

    /// Ends the conversation permanently. That it becomes read-only is an inference from `readOnly` in the reply.
    fn close_session(&mut self, request: &Request) -> ActionResult {
        let key = self.session_of(request)?;
        let close_all = request.fields().required("closeAllConnections", Value::as_bool)?;
        request.fields().text("tracingId")?;
        self.end_conversation(key, close_all, request)
    }

    fn end_conversation(&mut self, key: SessionKey, close_all: bool, request: &Request) -> ActionResult {
        self.cancel_steps(key);
        self.detach(request.socket);
        let mut others = Vec::new();
        if let Some(session) = self.sessions.get_mut(&key) {
            session.conversation.read_only = true;
            others.clone_from(&session.sockets);
        }
        let body = json!({"connected": false, "readOnly": true});
        self.reply(request, "SessionResponse", &body)?;
        for other in others.into_iter().filter(|_| close_all) {
            self.close_with_event(other, &json!({}));
        }
        Ok(())
    }

    /// Answered with a token that nothing accepts (inference: no client uses it).
    fn resume_token(&mut self, request: &Request) -> ActionResult {
        self.session_of(request)?;
        let exp = request.now.utc.unix_timestamp() + 60;
        let body = json!({"resumeToken": self.rng.secret(), "exp": exp});
        self.reply(request, "ResumeTokenResponse", &body)
    }

    fn on_message(&mut self, request: &Request) -> ActionResult {
        let key = self.session_of(request)?;
        let now = request.now;
        let fields = request.fields();
        let message = fields.object("message")?;
        let attributes = custom_attributes([fields, message])?;
        let content = message.list("content")?;
        let kind = match message.optional("type", Value::as_str)? {
            Some("Event") => return self.on_event(key, request, message, &attributes),
            Some("Structured") => Kind::Structured,
            Some("Text") => Kind::Text,
            // the browser's SDK names no type for an attachment without text
            None if !content.is_empty() => Kind::Text,
            None => return Err(message.missing("type")),
            Some(_) => return Err(Refusal::FAILED),
        };
        let text = message.optional("text", Value::as_str)?;
        let prompt = text.filter(|text| !text.is_empty());
        if content.is_empty() && prompt.is_none() {
            return Err(message.missing("text"));
        }
        check_length(text.unwrap_or_default())?;
        let metadata = message.texts("metadata")?;
        let label = self.check_content(key, content, now)?;
        self.check_message_rate(key, now)?;
        let mut sent = MessageContent {
            kind,
            text: text.map(str::to_owned),
            items: self.send_attachments(key, content, now),
            events: Vec::new(),
            metadata,
        };
        let user = self.sessions.get(&key).and_then(|session| session.user.clone());
        if user.is_some() {
            sent = sent.with_metadata("authenticated", "true");
        }
        self.counters.guest_messages += 1;
        if let Some(session) = self.sessions.get_mut(&key) {
            session.attributes = attributes.iter().cloned().collect();
        }
        self.post(key, request, sent, user);
        let prompt = prompt.or(label).unwrap_or_default();
        self.choose_agent(key, &attributes, now.instant);
        self.prompt_agent(key, prompt, content, now.instant);
        Ok(())
    }

    fn on_event(
        &mut self,
        key: SessionKey,
        request: &Request,
        message: Fields<'_>,
        attributes: &[(String, String)],
    ) -> ActionResult {
        let event = match message.list("events")? {
            [] => return Err(message.missing("events")),
            [event] => event,
            _ => return Err(Refusal::FAILED),
        };
        let sent = MessageContent::event(event.clone());
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
                self.check_message_rate(key, request.now)?;
                self.post(key, request, sent, None);
                if let Some(session) = self.sessions.get_mut(&key) {
                    session.conversation.auto_started = true;
                }
                self.choose_agent(key, attributes, request.now.instant);
                let join = |script: &Script| script.first(|on| matches!(on, Trigger::Join));
                self.schedule_rule(key, "", request.now.instant, join);
            }
            "Clear" if !self.rules.conversation_clear => return Err(Refusal::NO_CLEAR),
            "Clear" => {
                self.post(key, request, sent, None);
                self.clear(key);
            }
            _ => return Err(Refusal::FAILED),
        }
        Ok(())
    }

    fn check_message_rate(&mut self, key: SessionKey, now: Now) -> ActionResult {
        self.check_writable(key)?;
        let limit = self.rules.limits.messages_per_second;
        let session = self.sessions.get_mut(&key).ok_or(Refusal::NOT_FOUND)?;
        let messages = &mut session.messages;
        messages.take_within(SECOND, limit, now, Refusal::too_many(MESSAGES))?;
        Ok(())
    }

    pub(super) fn check_writable(&self, key: SessionKey) -> ActionResult {
        match self.sessions.get(&key) {
            Some(session) if session.conversation.read_only => Err(Refusal::READ_ONLY),
            _ => Ok(()),
        }
    }

    fn post(&mut self, key: SessionKey, request: &Request, content: MessageContent, user: Option<User>) {
        if let Some(session) = self.sessions.get_mut(&key) {
            let time = session.next_timestamp(request.now.utc);
            let message = Message::from_guest(&mut self.rng, content, user, time);
            self.publish_message(key, message, Some(request), request.now);
        }
    }

    /// Checks the items beside the text, and returns the label of the first button pressed.
    fn check_content<'a>(
        &self,
        key: SessionKey,
        content: &'a [Value],
        now: Now,
    ) -> Result<Option<&'a str>, Refusal> {
        let mut label = None;
        for item in content {
            let item = Fields::of("message.content", item).ok_or(Refusal::FAILED)?;
            match item.text("contentType")? {
                "Attachment" => {
                    let id = item.object("attachment")?.text("id")?;
                    self.stored_attachment(key, id, Refusal::NOT_UPLOADED, now)?;
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

fn check_length(text: &str) -> ActionResult {
    let (bytes, limit) = (text.len(), limits::TEXT_BYTES);
    if bytes > limit {
        let text = format!("Message length {bytes} is larger than {limit}");
        return Err(Refusal::coded(4011, text));
    }
    Ok(())
}

/// Clients put custom attributes in either place: browsers inside `message`, the Java SDK beside it.
fn custom_attributes(objects: [Fields<'_>; 2]) -> Result<Vec<(String, String)>, Refusal> {
    let mut attributes = Vec::new();
    for object in objects {
        if let Some(channel) = object.optional_object("channel")?
            && let Some(metadata) = channel.optional_object("metadata")?
        {
            attributes.extend(metadata.texts("customAttributes")?);
        }
    }
    let size = |(key, value): &(String, String)| key.len() + value.len();
    let bytes: usize = attributes.iter().map(size).sum();
    let limit = limits::ATTRIBUTE_BYTES;
    if bytes > limit {
        let text = format!("Custom Attributes in channel metadata is larger than {limit} bytes");
        return Err(Refusal::coded(4013, text));
    }
    Ok(attributes)
}
