//! The simulated world, without a socket or a clock: inputs, outputs, deadlines.

mod access;
mod actions;
mod age;
mod agent;
mod attachment;
mod channel;
mod complaint;
mod counters;
mod delivery;
mod fault;
mod frame;
mod history;
mod jwt;
pub(crate) mod limits;
mod output;
mod record;
mod request;
mod seed;
mod session;
mod sign_in;
#[cfg(test)]
pub(crate) mod tests;
mod timers;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use genesys_api::{DeploymentId, Host, Now};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::config::Rules;
use crate::rest;
use crate::script::Script;
use crate::world::access::Access;
use crate::world::age::Age;
use crate::world::attachment::Attachments;
use crate::world::channel::Channels;
use crate::world::fault::Faults;
use crate::world::limits::{Usage, Window};
use crate::world::session::{SessionKey, Sessions};
use crate::world::sign_in::SignIns;
use crate::world::timers::{Timer, Timers};

pub use age::SocketAges;
pub use agent::Agent;
pub use complaint::{Complaint, Oddity};
pub use counters::Counters;
pub use fault::{Fault, FaultError, FaultKind, Injected};
pub use limits::Limits;
pub use output::Output;
pub use record::Said;
pub use timers::Reason;

pub(crate) use access::AccessRefusal;
pub(crate) use attachment::{Denied, Verb};
pub(crate) use complaint::Complaints;
pub(crate) use jwt::JwtError;
pub(crate) use output::moved;
pub(crate) use seed::Seed;
pub(crate) use sign_in::{Approval, Proof};

/// Longest lifetime of a session: ten years.
const LONGEST_SESSION: Duration = Duration::from_secs(10 * 365 * 86_400);

/// A Genesys Cloud with one deployment, as a state machine.
///
/// Each input first lets happen what was due, then acts, and leaves its outputs for [`poll_output`](Self::poll_output).
/// The same seed, inputs and times give the same outputs.
pub struct World {
    pub(crate) rules: Rules,
    pub(crate) base: Host,
    pub(crate) deployment: DeploymentId,
    pub(crate) client_id: String,
    pub(crate) client_secret: SecretString,
    pub(crate) seed: Seed,
    pub(crate) complaints: Complaints,
    pub(crate) counters: Counters,
    pub(crate) tokens: Window,
    pub(crate) access: Access,
    pub(crate) sign_ins: SignIns,
    attachments: Attachments,
    channels: Channels,
    jwt_key: hmac::Key,
    handshakes: Window,
    sockets: BTreeMap<SocketId, Socket>,
    opened: u64,
    sessions: Sessions,
    timers: Timers,
    /// As the world says it; faults are still to come.
    outputs: VecDeque<Output>,
    ready: VecDeque<Output>,
    /// At least one.
    agents: Vec<Arc<Script>>,
    faults: Faults,
    seed_text: String,
    /// The time of the last input.
    settled: Option<Now>,
    /// How far the clock was moved since then.
    moved: Duration,
    closing: bool,
}

/// Names one socket of a world.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SocketId(u64);

struct Socket {
    /// Whether the handshake named our deployment; told only in answer to `configureSession`.
    deployment_known: bool,
    binding: Binding,
    requests: Window,
    echoes: Window,
    age: Age,
}

#[derive(Default)]
enum Binding {
    /// The session of this token ended while the socket was open.
    Expired(String),
    #[default]
    None,
    Session(SessionKey),
}

impl World {
    /// A world reached at `base`. `seed` has to be secret wherever the ids and keys have to be.
    #[must_use]
    pub fn new(mut rules: Rules, base: Host, seed: [u8; 32]) -> Self {
        rules.session_duration = rules.session_duration.min(LONGEST_SESSION);
        let seed_text = seed::text(&seed);
        let faults = Faults::new(Seed::branch(&seed, "faults"), std::mem::take(&mut rules.faults));
        let agents = std::mem::take(&mut rules.agent).scripts();
        let mut seed = Seed::new(seed);
        let jwt_key = hmac::Key::new(hmac::HMAC_SHA256, &seed.bytes());
        let deployment = rules.deployment.clone().unwrap_or_else(|| seed.uuid().into());
        let client_id = rules.client_id.clone();
        let client_secret = rules.client_secret.clone();
        Self {
            client_id: client_id.unwrap_or_else(|| seed.uuid().to_string()),
            client_secret: client_secret.unwrap_or_else(|| seed.secret().into()),
            access: Access::default(),
            sign_ins: SignIns::new(seed.bytes(), seed.bytes()),
            attachments: Attachments::new(seed.bytes(), &seed.uuid().to_string(), &deployment),
            channels: Channels::default(),
            rules,
            base,
            deployment,
            seed,
            complaints: Complaints::default(),
            counters: Counters::default(),
            tokens: Window::default(),
            jwt_key,
            handshakes: Window::default(),
            sockets: BTreeMap::new(),
            opened: 0,
            sessions: Sessions::default(),
            timers: Timers::default(),
            outputs: VecDeque::new(),
            ready: VecDeque::new(),
            agents,
            faults,
            seed_text,
            settled: None,
            moved: Duration::ZERO,
            closing: false,
        }
    }

    /// The one deployment.
    #[must_use]
    pub fn deployment_id(&self) -> &DeploymentId {
        &self.deployment
    }

    /// The one API client.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The API client's secret.
    #[must_use]
    pub fn client_secret(&self) -> &SecretString {
        &self.client_secret
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            open: self.sockets.len() as u64,
            alive: self.sessions.len() as u64,
            faults: self.faults.injected(),
            ..self.counters
        }
    }

    /// What clients sent that no official client sends.
    #[must_use]
    pub fn complaints(&self) -> Vec<Complaint> {
        self.complaints.list()
    }

    /// Judges a WebSocket handshake. On `/v1`: its query, its origin, the limits. An unknown deployment is let in,
    /// as Genesys does, and told later. On `/channels/{id}`, for servers: whether there is such a channel.
    ///
    /// # Errors
    /// The refusal: 400 without a deployment, 403 for the origin or where the deployment is inactive, 404 for a
    /// channel, 429 or 503 at a limit.
    pub fn handle_handshake<B>(
        &mut self,
        request: &http::Request<B>,
        now: Now,
    ) -> Result<SocketId, Box<http::Response<Bytes>>> {
        self.settle(now);
        let judged = match channel::named(request.uri().path()) {
            Some(id) => self.open_channel(id, now),
            None => self.strike_handshake().and_then(|late| {
                let known = self.judge(request, now)?;
                let socket = self.open_socket(known, now);
                self.open_late(socket, late, now.instant);
                Ok(socket)
            }),
        };
        judged.map_err(|problem| {
            self.counters.refused += 1;
            Box::new(rest::refuse(self, &problem))
        })
    }

    /// Takes a text frame from a socket. One from a socket that is closed counts for nothing.
    pub fn handle_frame(&mut self, socket: SocketId, text: &str, now: Now) {
        self.settle(now);
        if !self.hear_listener(socket, text, now) && self.sockets.contains_key(&socket) {
            self.hear(socket, now);
            self.take_frame(socket, text, now);
            self.settle(now);
        }
    }

    /// Forgets a socket that is gone. Its session lives on.
    pub fn handle_closed(&mut self, socket: SocketId, now: Now) {
        self.settle(now);
        self.faults.forget(socket);
        self.forget(socket);
        self.forget_listener(socket);
    }

    /// Answers a REST request.
    pub fn handle_request(&mut self, request: http::Request<Bytes>, now: Now) -> http::Response<Bytes> {
        self.settle(now);
        rest::answer(self, &request, now)
    }

    /// Lets happen what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.settle(now);
    }

    /// Closes all sockets with 1001, and refuses new ones.
    pub fn handle_shutdown(&mut self) {
        self.closing = true;
        let listeners = self.drain_listeners();
        for socket in std::mem::take(&mut self.sockets).into_keys().chain(listeners) {
            self.outputs.push_back(Output::Close {
                socket,
                code: 1001,
                reason: "the simulator stops",
            });
        }
    }

    /// The next thing to do; frames of one socket stand in their order.
    pub fn poll_output(&mut self) -> Option<Output> {
        loop {
            if let Some(output) = self.ready.pop_front() {
                if let (Output::Advance(by), Some(now)) = (&output, self.settled) {
                    let by = self.moved.saturating_add(*by);
                    if moved(now, by).is_none() {
                        continue;
                    }
                    self.moved = by;
                }
                return Some(output);
            }
            let output = self.outputs.pop_front()?;
            self.suffer(output);
        }
    }

    /// The seed of all ids, keys and random faults, as 64 hexadecimal digits. Whoever knows it knows every secret of
    /// this world.
    #[must_use]
    pub fn seed(&self) -> &str {
        &self.seed_text
    }

    /// Once there is no more output: when to call [`handle_timeout`](Self::handle_timeout), and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        self.timers.next()
    }

    pub(crate) fn order(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// A page of the history that `jwt` opens, and the use of its limit.
    pub(crate) fn history(
        &mut self,
        jwt: &str,
        (size, number): (usize, usize),
        now: Now,
    ) -> Result<(Value, Option<Usage>), HistoryRefusal> {
        let key = jwt::verify(&self.jwt_key, jwt, now.utc).map_err(HistoryRefusal::Jwt)?;
        let limit = self.rules.limits.histories_per_minute;
        let session = self
            .sessions
            .get_mut(&key)
            .ok_or(HistoryRefusal::Jwt(JwtError::Invalid))?;
        let usage = session
            .histories
            .take(limit, limits::MINUTE, now.instant)
            .map_err(HistoryRefusal::TooMany)?;
        self.counters.histories += 1;
        let mut page = session.history.page(size, number);
        self.refresh_links(key, &mut page, now);
        Ok((page, usage))
    }

    fn judge<B>(&mut self, request: &http::Request<B>, now: Now) -> Result<bool, rest::Problem> {
        if self.closing || self.sockets.len() >= self.rules.max_connections {
            return Err(rest::Problem::unavailable());
        }
        if !self.rules.deployment_active {
            return Err(rest::Problem::inactive());
        }
        let deployment = rest::parameter(request.uri().query().unwrap_or_default(), "deploymentId")
            .filter(|id| !id.is_empty())
            .ok_or_else(rest::Problem::no_deployment)?;
        let origin = request
            .headers()
            .get(http::header::ORIGIN)
            .map(|origin| origin.to_str().unwrap_or_default());
        if !rest::admits(self.rules.allowed_domains.as_deref(), origin) {
            return Err(rest::Problem::origin());
        }
        self.handshakes
            .take(
                self.rules.limits.connections_per_minute,
                limits::MINUTE,
                now.instant,
            )
            .map_err(|usage| {
                rest::Problem::too_many("web.messaging", "connections.rate.per.minute", usage)
            })?;
        Ok(deployment == self.deployment.as_str())
    }

    fn open_socket(&mut self, deployment_known: bool, now: Now) -> SocketId {
        self.counters.connections += 1;
        let socket = self.next_socket();
        let state = Socket {
            deployment_known,
            binding: Binding::None,
            requests: Window::default(),
            echoes: Window::default(),
            age: self.begin_age(socket, now),
        };
        self.sockets.insert(socket, state);
        socket
    }

    fn next_socket(&mut self) -> SocketId {
        self.opened += 1;
        SocketId(self.opened)
    }

    fn settle(&mut self, now: Now) {
        self.settled = Some(now);
        self.moved = Duration::ZERO;
        while let Some((key, timer)) = self.timers.take_due(now.instant) {
            match timer {
                Timer::Expiry(session) => self.expire(session),
                Timer::Release(socket) => self.release(socket, now),
                Timer::Turn(session, turn) => {
                    if let Some(session) = self.sessions.get_mut(&session) {
                        session.turns.retain(|other| *other != key);
                    }
                    // when it was due: a clock that was moved further does not keep a session alive
                    let late = now.instant.saturating_duration_since(key.at);
                    let due = Now {
                        instant: now.instant - late,
                        utc: now
                            .utc
                            .checked_sub(late.try_into().unwrap_or_default())
                            .unwrap_or(now.utc),
                    };
                    self.take_turn(session, turn, due);
                }
                Timer::Age(socket) => self.retire(socket, "the socket is old"),
                Timer::ChannelEnd(channel) => self.close_channel(channel),
                Timer::ChannelWarning(channel) => self.warn_channel(channel),
                Timer::Heartbeat(socket) => self.heartbeat(socket, now),
                Timer::Idle(socket) => self.check_idle(socket, now),
                Timer::Upload(session, id) => self.expire_grant(session, &id),
            }
        }
    }

    fn send(&mut self, socket: SocketId, text: String) {
        self.outputs.push_back(Output::Frame {
            socket,
            text,
            fragments: 1,
        });
    }

    /// Sends to every socket of a session; `frame` is told whether the socket is `own`.
    fn fan_out(&mut self, key: SessionKey, own: Option<SocketId>, frame: impl Fn(bool) -> String) {
        let Some(session) = self.sessions.get(&key) else {
            return;
        };
        for socket in &session.sockets {
            self.outputs.push_back(Output::Frame {
                socket: *socket,
                text: frame(own == Some(*socket)),
                fragments: 1,
            });
        }
    }

    /// Tells a socket that its connection is over, and closes it.
    fn drop_with_notice(&mut self, socket: SocketId) {
        self.send(socket, frame::pushed("ConnectionClosedEvent", None, &json!({})));
        self.hang_up_guest(socket);
    }

    fn hang_up_guest(&mut self, socket: SocketId) {
        self.forget(socket);
        self.outputs.push_back(Output::Close {
            socket,
            code: 1000,
            reason: "",
        });
    }

    fn forget(&mut self, socket: SocketId) {
        self.detach(socket);
        if let Some(state) = self.sockets.remove(&socket) {
            self.end_age(&state);
        }
    }

    pub(crate) fn is_client(&self, id: &str) -> bool {
        id == self.client_id
    }

    pub(crate) fn is_secret(&self, secret: &str) -> bool {
        secret == self.client_secret.expose_secret()
    }
}

/// Why a history is not shown.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HistoryRefusal {
    Jwt(JwtError),
    TooMany(Usage),
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("base", &self.base)
            .field("deployment", &self.deployment)
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}
