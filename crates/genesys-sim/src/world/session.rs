//! Sessions: one for each token, with up to three sockets. A session expires some time after its last message.

use std::collections::{BTreeMap, HashMap};

use genesys_api::{Now, limits};
use serde::Serialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::config::{AttachmentRules, User};
use crate::world::agent_state::AgentState;
use crate::world::denial::Denial;
use crate::world::frame::{self, Limited, Refusal};
use crate::world::history::{History, Message};
use crate::world::id::{SessionKey, SocketId};
use crate::world::limits::{LimitKey, MINUTE, Usage, Window};
use crate::world::socket::Binding;
use crate::world::timers::{Timer, TimerKey};
use crate::world::{World, jwt};

pub(crate) struct Session {
    pub(super) token: String,
    /// Oldest first.
    pub(super) sockets: Vec<SocketId>,
    pub(super) read_only: bool,
    /// Whether the guest began with a presence event `Join`.
    pub(super) auto_started: bool,
    /// Id of the conversation in the platform API.
    pub(super) conversation: String,
    /// Id of the guest in the platform API.
    pub(super) participant: String,
    /// The user who has signed in.
    pub(super) user: Option<User>,
    pub(super) history: History,
    /// Custom attributes of the last message of the guest.
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) messages: Window,
    histories: Window,
    /// Timers of the agent's next steps.
    pub(super) scheduled: Vec<TimerKey>,
    pub(super) agent: AgentState,
    configures: Window,
    ends: OffsetDateTime,
    expiry: TimerKey,
    stamped: OffsetDateTime,
}

impl Session {
    /// Returns the time of a new message: now, or a millisecond after the last message, so that times give the order.
    pub(super) fn stamp(&mut self, utc: OffsetDateTime) -> OffsetDateTime {
        let next = self.stamped.saturating_add(time::Duration::milliseconds(1));
        self.stamped = utc.max(next);
        self.stamped
    }

    pub(super) fn ends_in_epoch_seconds(&self) -> i64 {
        self.ends.unix_timestamp()
    }
}

/// The sessions of a world, by token and by key.
#[derive(Default)]
pub(super) struct Sessions {
    by_key: HashMap<SessionKey, Session>,
    by_token: HashMap<String, SessionKey>,
    opened: u64,
}

impl Sessions {
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(super) fn by_token(&self, token: &str) -> Option<&Session> {
        self.by_key.get(self.by_token.get(token)?)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SessionKey, &Session)> {
        self.by_key.iter().map(|(key, session)| (*key, session))
    }

    pub(super) fn get(&self, key: &SessionKey) -> Option<&Session> {
        self.by_key.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &SessionKey) -> Option<&mut Session> {
        self.by_key.get_mut(key)
    }

    fn remove(&mut self, key: SessionKey) -> Option<Session> {
        let session = self.by_key.remove(&key)?;
        self.by_token.remove(&session.token);
        Some(session)
    }
}

impl World {
    /// Attaches a socket to the session of `token`, new or resumed, and returns whether it is new.
    pub(super) fn configure(
        &mut self,
        socket: SocketId,
        token: &str,
        start_new: bool,
        now: Now,
    ) -> Result<(SessionKey, bool), Refusal> {
        let (key, new) = match self.sessions.by_token.get(token) {
            Some(key) => (*key, start_new),
            None => (self.open_session(token, now)?, true),
        };
        let limit = self.rules.limits.configures_per_minute;
        if let Some(session) = self.sessions.get_mut(&key) {
            session
                .configures
                .take(limit, MINUTE, now.instant)
                .map_err(Refusal::too_many(Limited::Configure))?;
        }
        if new {
            self.start_conversation(key, now);
        }
        self.attach(socket, key);
        Ok((key, new))
    }

    fn open_session(&mut self, token: &str, now: Now) -> Result<SessionKey, Refusal> {
        if self.sessions.len() >= self.rules.max_sessions {
            return Err(Refusal::FULL);
        }
        self.sessions.opened += 1;
        let key = SessionKey(self.sessions.opened);
        let session = Session {
            token: token.to_owned(),
            sockets: Vec::new(),
            read_only: false,
            auto_started: false,
            conversation: String::new(),
            participant: String::new(),
            user: None,
            history: History::default(),
            attributes: BTreeMap::new(),
            messages: Window::default(),
            histories: Window::default(),
            scheduled: Vec::new(),
            agent: AgentState::new(&self.agents[0], &self.rules.agent_name),
            configures: Window::default(),
            ends: now.utc,
            expiry: self.timers.set(now.instant, Timer::Expiry(key)),
            stamped: now.utc - time::Duration::milliseconds(1),
        };
        self.sessions.by_token.insert(token.to_owned(), key);
        self.sessions.by_key.insert(key, session);
        Ok(key)
    }

    /// Starts a conversation, also in a session that had one: nothing of the old one remains (inference).
    fn start_conversation(&mut self, key: SessionKey, now: Now) {
        self.counters.sessions += 1;
        self.cancel_steps(key);
        self.forget_attachments(key);
        let conversation = self.seed.uuid().to_string();
        let participant = self.seed.uuid().to_string();
        if let Some(session) = self.sessions.get_mut(&key) {
            session.conversation = conversation;
            session.participant = participant;
            session.read_only = false;
            session.auto_started = false;
            session.history.clear();
        }
        self.extend(key, now);
        self.start_agent(key, now.instant);
    }

    fn attach(&mut self, socket: SocketId, key: SessionKey) {
        let attached = |session: &Session| session.sockets.contains(&socket);
        if self.sessions.get(&key).is_some_and(attached) {
            return;
        }
        self.detach(socket);
        let oldest = self
            .sessions
            .get(&key)
            .filter(|session| session.sockets.len() >= limits::CONNECTIONS_PER_SESSION as usize)
            .map(|session| session.sockets[0]);
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

    /// Removes a socket from its session, and leaves it open.
    pub(super) fn detach(&mut self, socket: SocketId) {
        let Some(state) = self.sockets.get_mut(&socket) else {
            return;
        };
        if let Binding::Session(key) = std::mem::take(&mut state.binding)
            && let Some(session) = self.sessions.get_mut(&key)
        {
            session.sockets.retain(|other| *other != socket);
        }
    }

    /// Returns the session for which `socket` is configured with `token`.
    pub(super) fn configured(&self, socket: SocketId, token: &str) -> Result<SessionKey, Refusal> {
        match self.sockets.get(&socket).map(|socket| &socket.binding) {
            Some(Binding::Session(key)) if self.sessions.get(key).is_some_and(|it| it.token == token) => {
                Ok(*key)
            }
            Some(Binding::Expired(expired)) if expired == token => Err(Refusal::EXPIRED),
            _ => Err(Refusal::NOT_FOUND),
        }
    }

    /// Adds a message to the history, which extends the session.
    pub(super) fn store(&mut self, key: SessionKey, message: Message, now: Now) {
        if let Some(session) = self.sessions.get_mut(&key) {
            session.history.push(message);
        }
        self.extend(key, now);
    }

    fn extend(&mut self, key: SessionKey, now: Now) {
        let duration = self.rules.session_duration;
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        self.timers.cancel(session.expiry);
        let at = now.instant.checked_add(duration).unwrap_or(now.instant);
        session.expiry = self.timers.set(at, Timer::Expiry(key));
        session.ends = now
            .utc
            .saturating_add(time::Duration::try_from(duration).unwrap_or(time::Duration::MAX));
    }

    /// Ends a session, at its time or before.
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
        let Some(session) = self.remove_session(key) else {
            return;
        };
        for socket in session.sockets {
            self.close_with_event(socket, &json!({}));
        }
    }

    fn remove_session(&mut self, key: SessionKey) -> Option<Session> {
        self.cancel_steps(key);
        self.forget_attachments(key);
        let session = self.sessions.remove(key)?;
        self.timers.cancel(session.expiry);
        Some(session)
    }

    /// Returns a page of the history that `jwt` opens, and the usage of its limit.
    pub(crate) fn history_page(
        &mut self,
        jwt: &str,
        (size, number): (usize, usize),
        now: Now,
    ) -> Result<(Value, Option<Usage>), Denial> {
        let key = jwt::verify(&self.jwt_key, jwt, now.utc)?;
        let limit = self.rules.limits.histories_per_minute;
        let session = self.sessions.get_mut(&key).ok_or(Denial::BadCredentials)?;
        let usage = session
            .histories
            .take(limit, MINUTE, now.instant)
            .map_err(Denial::too_many(LimitKey::HISTORY))?;
        self.counters.histories += 1;
        let mut page = session.history.page(size, number);
        self.refresh_links(key, &mut page, now);
        Ok((page, usage))
    }

    pub(super) fn cancel_steps(&mut self, key: SessionKey) {
        if let Some(session) = self.sessions.get_mut(&key) {
            for step in std::mem::take(&mut session.scheduled) {
                self.timers.cancel(step);
            }
        }
    }

    pub(super) fn session_response(&self, key: SessionKey, new: bool) -> SessionResponse {
        let session = self.sessions.get(&key);
        SessionResponse {
            connected: true,
            new_session: new,
            read_only: session.is_some_and(|it| it.read_only),
            max_custom_data_bytes: limits::ATTRIBUTE_BYTES,
            allowed_media: allowed_media(&self.rules.attachments),
            blocked_extensions: self.rules.attachments.blocked_extensions.clone(),
            cleared_existing_session: false,
            duration_seconds: self.rules.session_duration.as_secs(),
            expiration_date: session.map_or(0, Session::ends_in_epoch_seconds),
            auto_started: session.is_some_and(|it| it.auto_started).then_some(true),
        }
    }
}

/// The body of the `SessionResponse` to `configureSession`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SessionResponse {
    connected: bool,
    new_session: bool,
    read_only: bool,
    max_custom_data_bytes: usize,
    allowed_media: Value,
    blocked_extensions: Vec<String>,
    pub(super) cleared_existing_session: bool,
    duration_seconds: u64,
    expiration_date: i64,
    /// Present once the guest has joined (inference).
    #[serde(skip_serializing_if = "Option::is_none")]
    auto_started: Option<bool>,
}

/// Nothing is allowed if uploads are off (inference).
pub(super) fn allowed_media(rules: &AttachmentRules) -> Value {
    let types: Vec<_> = rules
        .file_types
        .iter()
        .filter(|_| rules.enabled)
        .map(|kind| json!({"type": kind}))
        .collect();
    json!({"inbound": {"fileTypes": types, "maxFileSizeKB": rules.max_file_kb()}})
}
