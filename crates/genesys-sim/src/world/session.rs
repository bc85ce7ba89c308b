//! Sessions: one for each token, with up to three sockets, alive until some time after the last message.

use std::collections::HashMap;
use std::time::Duration;

use genesys_api::{Now, limits};
use serde::Serialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::config::{AttachmentRules, User};
use crate::world::agent::Performer;
use crate::world::frame::{self, Refusal};
use crate::world::history::{History, Message};
use crate::world::limits::Window;
use crate::world::timers::{Timer, TimerKey};
use crate::world::{Binding, SocketId, World};

/// Names one life of a token.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct SessionKey(pub(crate) u64);

pub(crate) struct Session {
    pub(super) token: String,
    /// Oldest first.
    pub(super) sockets: Vec<SocketId>,
    pub(super) read_only: bool,
    /// Whether the guest began by joining.
    pub(super) auto_started: bool,
    /// What the platform API knows the conversation by.
    pub(super) conversation: String,
    /// What it knows the guest by.
    pub(super) participant: String,
    /// Who signed in, if anyone did.
    pub(super) user: Option<User>,
    pub(super) history: History,
    pub(super) messages: Window,
    pub(super) histories: Window,
    /// What the agent has in mind.
    pub(super) turns: Vec<TimerKey>,
    pub(super) agent: Performer,
    configures: Window,
    ends: OffsetDateTime,
    expiry: TimerKey,
    stamped: OffsetDateTime,
}

impl Session {
    /// The time of a new message: the present, or a millisecond after the last message, so that times tell the
    /// order.
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

    pub(super) fn key_of(&self, token: &str) -> Option<SessionKey> {
        self.by_token.get(token).copied()
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

    pub(super) fn remove(&mut self, key: SessionKey) -> Option<Session> {
        let session = self.by_key.remove(&key)?;
        self.by_token.remove(&session.token);
        Some(session)
    }
}

impl World {
    /// Joins a socket to the session of `token`, new or resumed, and says whether it is new.
    pub(super) fn configure(
        &mut self,
        socket: SocketId,
        token: &str,
        start_new: bool,
        now: Now,
    ) -> Result<(SessionKey, bool), Refusal> {
        let (key, new) = match self.sessions.key_of(token) {
            Some(key) => (key, start_new),
            None => (self.open(token, now)?, true),
        };
        let limit = self.rules.limits.configures_per_minute;
        if let Some(session) = self.sessions.get_mut(&key) {
            session
                .configures
                .take(limit, crate::world::limits::MINUTE, now.instant)
                .map_err(|usage| Refusal::too_many(frame::Limited::Configure, usage))?;
        }
        if new {
            self.begin(key, now);
        }
        self.attach(socket, key);
        Ok((key, new))
    }

    fn open(&mut self, token: &str, now: Now) -> Result<SessionKey, Refusal> {
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
            messages: Window::default(),
            histories: Window::default(),
            turns: Vec::new(),
            agent: Performer::new(&self.agents[0]),
            configures: Window::default(),
            ends: now.utc,
            expiry: self.timers.set(now.instant, Timer::Expiry(key)),
            stamped: now.utc - time::Duration::milliseconds(1),
        };
        self.sessions.by_token.insert(token.to_owned(), key);
        self.sessions.by_key.insert(key, session);
        Ok(key)
    }

    /// A conversation from its start, also within a session that had one: nothing of the old one remains (inference).
    fn begin(&mut self, key: SessionKey, now: Now) {
        self.counters.sessions += 1;
        self.silence_agent(key);
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
        self.slide(key, now);
        self.greet(key, now.instant);
    }

    fn attach(&mut self, socket: SocketId, key: SessionKey) {
        let already = self
            .sessions
            .get(&key)
            .is_some_and(|session| session.sockets.contains(&socket));
        if already {
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
            self.drop_with_notice(oldest);
        }
        if let Some(session) = self.sessions.get_mut(&key) {
            session.sockets.push(socket);
        }
        if let Some(socket) = self.sockets.get_mut(&socket) {
            socket.binding = Binding::Session(key);
        }
    }

    /// Leaves the socket open, and of no session.
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

    /// The session that `socket` is configured for with `token`.
    pub(super) fn configured(&self, socket: SocketId, token: &str) -> Result<SessionKey, Refusal> {
        match self.sockets.get(&socket).map(|socket| &socket.binding) {
            Some(Binding::Session(key))
                if self
                    .sessions
                    .get(key)
                    .is_some_and(|session| session.token == token) =>
            {
                Ok(*key)
            }
            Some(Binding::Expired(expired)) if expired == token => Err(Refusal::EXPIRED),
            _ => Err(Refusal::NOT_FOUND),
        }
    }

    /// Keeps a message, which lengthens the session.
    pub(super) fn keep(&mut self, key: SessionKey, message: Message, now: Now) {
        if let Some(session) = self.sessions.get_mut(&key) {
            session.history.push(message);
        }
        self.slide(key, now);
    }

    fn slide(&mut self, key: SessionKey, now: Now) {
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

    pub(super) fn expire(&mut self, key: SessionKey) {
        self.silence_agent(key);
        self.forget_attachments(key);
        let Some(session) = self.sessions.remove(key) else {
            return;
        };
        self.counters.expired += 1;
        for socket in session.sockets {
            self.send(socket, frame::answer("SessionExpiredEvent", None, &json!({})));
            if let Some(socket) = self.sockets.get_mut(&socket) {
                socket.binding = Binding::Expired(session.token.clone());
            }
        }
    }

    /// Before its time.
    pub(super) fn expire_now(&mut self, key: SessionKey) {
        if let Some(session) = self.sessions.get(&key) {
            self.timers.cancel(session.expiry);
        }
        self.expire(key);
    }

    /// Ends a session for all: its history is lost, its sockets are told and closed.
    pub(super) fn clear(&mut self, key: SessionKey) {
        self.silence_agent(key);
        self.forget_attachments(key);
        self.fan_out(key, None, |_| {
            frame::pushed("SessionClearedEvent", None, &json!({}))
        });
        let Some(session) = self.sessions.remove(key) else {
            return;
        };
        self.timers.cancel(session.expiry);
        for socket in session.sockets {
            self.drop_with_notice(socket);
        }
    }

    pub(super) fn silence_agent(&mut self, key: SessionKey) {
        if let Some(session) = self.sessions.get_mut(&key) {
            for turn in std::mem::take(&mut session.turns) {
                self.timers.cancel(turn);
            }
        }
    }

    pub(super) fn session_answer(&self, key: SessionKey, new: bool) -> SessionAnswer {
        let (read_only, auto_started, ends) = self.sessions.get(&key).map_or((false, false, 0), |it| {
            (it.read_only, it.auto_started, it.ends_in_epoch_seconds())
        });
        SessionAnswer {
            connected: true,
            new_session: new,
            read_only,
            max_custom_data_bytes: limits::ATTRIBUTE_BYTES,
            allowed_media: allowed_media(&self.rules.attachments),
            blocked_extensions: self.rules.attachments.blocked_extensions.clone(),
            cleared_existing_session: false,
            duration_seconds: seconds(self.rules.session_duration),
            expiration_date: ends,
            auto_started: auto_started.then_some(true),
        }
    }
}

/// The body of a `SessionResponse` to `configureSession`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SessionAnswer {
    connected: bool,
    new_session: bool,
    read_only: bool,
    max_custom_data_bytes: usize,
    allowed_media: Value,
    blocked_extensions: Vec<String>,
    pub(super) cleared_existing_session: bool,
    duration_seconds: u64,
    expiration_date: i64,
    /// Told once the guest has joined (inference).
    #[serde(skip_serializing_if = "Option::is_none")]
    auto_started: Option<bool>,
}

/// Nothing is allowed where uploads are off (inference).
pub(super) fn allowed_media(rules: &AttachmentRules) -> Value {
    let types: Vec<_> = rules
        .file_types
        .iter()
        .filter(|_| rules.enabled)
        .map(|kind| json!({"type": kind}))
        .collect();
    json!({"inbound": {"fileTypes": types, "maxFileSizeKB": rules.largest_kb()}})
}

pub(super) fn seconds(duration: Duration) -> u64 {
    duration.as_secs()
}
