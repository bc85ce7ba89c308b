//! Sessions: one for each token, with up to three sockets. A session expires some time after its last message.

use std::collections::BTreeMap;
use std::sync::Arc;

use genesys_api::{Now, limits};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::cloud::{
    AgentState, Attachment, Binding, CONFIGURES, Cloud, FixedWindow, History, LimitKey, Message,
    MessageContent, Problem, Refusal, Request, ScheduledStep, SeededRng, SocketId, Timer, Usage, frame, jwt,
    later,
};
use crate::config::{AttachmentRules, User};
use crate::json::without_null;

pub(super) const HISTORY: &str = "genesys-sim/history";

/// Id of one session. A token whose session has ended gets a new one.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct SessionKey(pub(crate) u64);

pub(crate) struct Session {
    pub(super) token: String,
    /// Oldest first.
    pub(super) sockets: Vec<SocketId>,
    pub(super) conversation: Conversation,
    pub(super) user: Option<User>,
    /// Custom attributes of the last message of the guest.
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) messages: FixedWindow,
    histories: FixedWindow,
    /// Rules of the agent's script that wait, by the number of their timer.
    pub(super) scheduled: BTreeMap<u64, ScheduledStep>,
    pub(super) last_step: u64,
    pub(super) agent: AgentState,
    configures: FixedWindow,
    pub(super) ends: OffsetDateTime,
    last_timestamp: OffsetDateTime,
}

/// The state of a session that a new conversation resets.
#[derive(Default)]
pub(crate) struct Conversation {
    /// Its id in the platform API.
    pub(super) id: String,
    /// Id of the guest in the platform API.
    pub(super) participant: String,
    pub(super) read_only: bool,
    /// Whether the guest began with a presence event `Join`.
    pub(super) auto_started: bool,
    pub(super) history: History,
    /// By id.
    pub(super) attachments: BTreeMap<String, Attachment>,
}

impl Session {
    /// Returns the time of a new message: now, or a millisecond after the last message, so that times give the order.
    pub(super) fn next_timestamp(&mut self, utc: OffsetDateTime) -> OffsetDateTime {
        let next = self
            .last_timestamp
            .saturating_add(time::Duration::milliseconds(1));
        self.last_timestamp = utc.max(next);
        self.last_timestamp
    }

    pub(super) fn agent_message(
        &mut self,
        rng: &mut SeededRng,
        content: MessageContent,
        utc: OffsetDateTime,
    ) -> Message {
        let time = self.next_timestamp(utc);
        Message::from_agent(rng, content, &self.agent.sender, time)
    }
}

impl Cloud {
    pub(super) fn session_by_token(&self, token: &str) -> Option<&Session> {
        self.sessions.get(self.session_keys.get(token)?)
    }

    /// Attaches a socket to the session of `token`, new or resumed, and returns whether it is new.
    pub(super) fn configure(
        &mut self,
        request: &Request,
        token: &str,
        start_new: bool,
    ) -> Result<(SessionKey, bool), Refusal> {
        let now = request.now;
        let (key, new) = match self.session_keys.get(token) {
            Some(key) => (*key, start_new),
            None => (self.open_session(token, now)?, true),
        };
        let limit = self.rules.limits.configures_per_minute;
        if let Some(session) = self.sessions.get_mut(&key) {
            let configures = &mut session.configures;
            configures.take(limit, now, Refusal::too_many(CONFIGURES))?;
        }
        if new {
            self.start_conversation(key, now);
        }
        self.attach(request.socket, key);
        Ok((key, new))
    }

    fn open_session(&mut self, token: &str, now: Now) -> Result<SessionKey, Refusal> {
        if self.sessions.len() >= self.rules.max_sessions {
            return Err(Refusal::coded(
                5000,
                "cannot start a session: the simulator is at its limit",
            ));
        }
        let key = SessionKey(self.next_number());
        let session = Session {
            token: token.to_owned(),
            sockets: Vec::new(),
            conversation: Conversation::default(),
            user: None,
            attributes: BTreeMap::new(),
            messages: FixedWindow::default(),
            histories: FixedWindow::default(),
            scheduled: BTreeMap::new(),
            last_step: 0,
            agent: AgentState::new(&self.agents[0], &self.rules.agent_name),
            configures: FixedWindow::default(),
            ends: now.utc,
            last_timestamp: now.utc - time::Duration::milliseconds(1),
        };
        self.timers.set(Timer::Expiry(key), now.instant);
        self.session_keys.insert(token.to_owned(), key);
        self.sessions.insert(key, session);
        Ok(key)
    }

    /// Starts a conversation, also in a session that had one: nothing of the old one remains (inference).
    fn start_conversation(&mut self, key: SessionKey, now: Now) {
        self.counters.sessions += 1;
        self.cancel_steps(key);
        if let Some(session) = self.sessions.get_mut(&key) {
            session.conversation = Conversation {
                id: self.rng.uuid().to_string(),
                participant: self.rng.uuid().to_string(),
                ..Conversation::default()
            };
        }
        self.extend(key, now);
        self.assign_agent(key, &Arc::clone(&self.agents[0]), now.instant);
    }

    fn attach(&mut self, socket: SocketId, key: SessionKey) {
        let attached = self.sessions.get(&key).map_or(&[][..], |it| &it.sockets);
        if attached.contains(&socket) {
            return;
        }
        let full = attached.len() >= limits::CONNECTIONS_PER_SESSION as usize;
        let oldest = attached.first().copied().filter(|_| full);
        self.detach(socket);
        if let Some(oldest) = oldest {
            self.counters.evicted += 1;
            self.close_with_event(oldest, &json!({}));
        }
        if let Some(session) = self.sessions.get_mut(&key) {
            session.sockets.push(socket);
        }
        if let Some(socket) = self.sockets.get_mut(&socket) {
            socket.binding = Binding::Session(key);
        }
    }

    pub(super) fn detach(&mut self, socket: SocketId) {
        if let Some(state) = self.sockets.get_mut(&socket)
            && let Binding::Session(key) = std::mem::take(&mut state.binding)
            && let Some(session) = self.sessions.get_mut(&key)
        {
            session.sockets.retain(|other| *other != socket);
        }
    }

    pub(super) fn configured(&self, socket: SocketId, token: &str) -> Result<SessionKey, Refusal> {
        match self.sockets.get(&socket).map(|socket| &socket.binding) {
            Some(Binding::Session(key)) if self.sessions.get(key).is_some_and(|it| it.token == token) => {
                Ok(*key)
            }
            Some(Binding::Expired(expired)) if expired == token => {
                Err(Refusal::coded(4006, "Session has expired"))
            }
            _ => Err(Refusal::NOT_FOUND),
        }
    }

    /// Adds a message to the history, which extends the session.
    pub(super) fn store(&mut self, key: SessionKey, message: Message, now: Now) {
        if let Some(session) = self.sessions.get_mut(&key) {
            session.conversation.history.push(message);
        }
        self.extend(key, now);
    }

    fn extend(&mut self, key: SessionKey, now: Now) {
        if let Some(session) = self.sessions.get_mut(&key) {
            let end = later(now, self.rules.session_duration);
            self.timers.set(Timer::Expiry(key), end.instant);
            session.ends = end.utc;
        }
    }

    pub(super) fn expire(&mut self, key: SessionKey) {
        let Some(session) = self.remove_session(key) else {
            return;
        };
        self.counters.expired += 1;
        for socket in session.sockets {
            self.send(socket, frame::reply("SessionExpiredEvent", None, &json!({})));
            if let Some(socket) = self.sockets.get_mut(&socket) {
                socket.binding = Binding::Expired(session.token.clone());
            }
        }
    }

    /// Clears a session: its history is deleted, its sockets are notified and closed.
    pub(super) fn clear(&mut self, key: SessionKey) {
        self.broadcast(key, "SessionClearedEvent", &json!({}));
        let sockets = self.remove_session(key).map(|session| session.sockets);
        for socket in sockets.into_iter().flatten() {
            self.close_with_event(socket, &json!({}));
        }
    }

    fn remove_session(&mut self, key: SessionKey) -> Option<Session> {
        self.cancel_steps(key);
        let session = self.sessions.remove(&key)?;
        self.session_keys.remove(&session.token);
        self.timers.cancel(Timer::Expiry(key));
        Some(session)
    }

    pub(super) fn session_of_jwt(&self, jwt: &str, now: Now) -> Result<SessionKey, Problem> {
        match jwt::verify(&self.jwt_key, HISTORY, jwt, now) {
            None => Err(Problem::BAD_CREDENTIALS),
            Some((_, true)) => Err(Problem::CREDENTIALS_EXPIRED),
            Some((key, false)) => Ok(SessionKey(key)),
        }
    }

    /// Returns a page of the history that `jwt` opens, and the usage of its limit.
    pub(crate) fn history_page(
        &mut self,
        jwt: &str,
        (size, number): (usize, usize),
        now: Now,
    ) -> Result<(Value, Option<Usage>), Problem> {
        let key = self.session_of_jwt(jwt, now)?;
        let limit = self.rules.limits.histories_per_minute;
        let session = self.sessions.get_mut(&key).ok_or(Problem::BAD_CREDENTIALS)?;
        let histories = &mut session.histories;
        let usage = histories.take(limit, now, Problem::too_many(LimitKey::HISTORY))?;
        self.counters.histories += 1;
        let mut page = session.conversation.history.page(size, number);
        self.refresh_links(key, &mut page, now);
        Ok((page, usage))
    }

    pub(super) fn cancel_steps(&mut self, key: SessionKey) {
        if let Some(session) = self.sessions.get_mut(&key) {
            for number in std::mem::take(&mut session.scheduled).into_keys() {
                self.timers.cancel(Timer::Step(key, number));
            }
        }
    }

    pub(super) fn session_response(&self, key: SessionKey, new: bool, cleared: bool) -> Value {
        let session = self.sessions.get(&key);
        // present once the guest has joined (inference)
        let joined = session.is_some_and(|it| it.conversation.auto_started);
        without_null(json!({
            "connected": true,
            "newSession": new,
            "readOnly": session.is_some_and(|it| it.conversation.read_only),
            "maxCustomDataBytes": limits::ATTRIBUTE_BYTES,
            "allowedMedia": allowed_media(&self.rules.attachments),
            "blockedExtensions": self.rules.attachments.blocked_extensions,
            "clearedExistingSession": cleared,
            "durationSeconds": self.rules.session_duration.as_secs(),
            "expirationDate": session.map_or(0, |it| it.ends.unix_timestamp()),
            "autoStarted": joined.then_some(true),
        }))
    }
}

/// Nothing is allowed if uploads are off (inference).
pub(super) fn allowed_media(rules: &AttachmentRules) -> Value {
    let allowed = rules.file_types.iter().filter(|_| rules.enabled);
    let types: Vec<_> = allowed.map(|kind| json!({"type": kind})).collect();
    json!({"inbound": {"fileTypes": types, "maxFileSizeKB": rules.max_file_kb}})
}
