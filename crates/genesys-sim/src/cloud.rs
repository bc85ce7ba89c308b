//! The simulated Genesys Cloud as a state machine, without sockets, clock or HTTP: inputs, outputs, deadlines.

mod access_token;
mod actions;
mod agent;
mod attachment;
mod channel;
mod counters;
mod faults;
mod frame;
mod history;
mod jwt;
mod limits;
mod origin;
mod output;
mod problem;
mod request;
mod rng;
mod session;
mod sign_in;
mod socket;
#[cfg(test)]
pub(crate) mod tests;
mod timers;
mod violation;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use genesys_api::{DeploymentId, Host, MAX_DURATION, Now, limits as published};
use ring::hmac;
use secrecy::SecretString;
use serde_json::Value;

use crate::config::Rules;
use crate::script::Script;
use access_token::AccessTokens;
use actions::ActionResult;
use agent::{AgentState, ScheduledStep, Sender};
use attachment::Attachment;
use channel::Channels;
use faults::{ActiveFaults, DelayQueue};
use frame::{CONFIGURES, ECHOES, MESSAGES, REQUESTS, Refusal};
use history::{History, Kind, Message, MessageContent};
use limits::SECOND;
use request::{Fields, Request};
use rng::hex;
use session::{HISTORY, Session, SessionKey};
use sign_in::SignIns;
use socket::{Binding, Socket};
use timers::{Timer, Timers};

pub use counters::Counters;
pub use history::TranscriptEntry;
pub use output::Output;
pub use socket::SocketId;
pub use timers::Reason;
pub use violation::{Violation, ViolationKind};

pub(crate) use channel::MAX_TOPICS;
pub(crate) use limits::{FixedWindow, LimitKey, Usage};
pub(crate) use origin::admits;
pub(crate) use output::{advanced, later};
pub(crate) use problem::Problem;
pub(crate) use rng::SeededRng;
pub(crate) use sign_in::AuthorizationRequest;
pub(crate) use violation::Violations;

/// A Genesys Cloud with one deployment, as a state machine.
///
/// Each input first handles the timers that are due, then takes effect. Its outputs are read with
/// [`poll_output`](Self::poll_output). The same seed, inputs and times give the same outputs.
pub struct Cloud {
    pub(crate) rules: Rules,
    pub(crate) base: Host,
    pub(crate) deployment: DeploymentId,
    pub(crate) client_id: String,
    pub(crate) client_secret: SecretString,
    pub(crate) rng: SeededRng,
    pub(crate) violations: Violations,
    pub(crate) counters: Counters,
    pub(crate) token_requests: FixedWindow,
    pub(crate) access_tokens: AccessTokens,
    pub(crate) sign_ins: SignIns,
    /// The header that every upload has to have, verbatim.
    pub(crate) tagging: String,
    /// The registered devices for push messages.
    pub(crate) devices: BTreeSet<String>,
    channels: Channels,
    jwt_key: hmac::Key,
    handshakes: FixedWindow,
    sockets: BTreeMap<SocketId, Socket>,
    sessions: HashMap<SessionKey, Session>,
    session_keys: HashMap<String, SessionKey>,
    /// The last number of a socket, session, channel or sign-in.
    last_number: u64,
    timers: Timers,
    /// Outputs before faults.
    outputs: VecDeque<Output>,
    /// Outputs after faults.
    ready: VecDeque<Output>,
    /// At least one.
    agents: Vec<Arc<Script>>,
    pub(crate) active_faults: ActiveFaults,
    /// Outputs that faults hold back.
    delayed: BTreeMap<SocketId, DelayQueue>,
    /// The seed of all ids, secrets and random faults, as 64 hexadecimal digits.
    pub(crate) seed_text: String,
    last_input: Option<Now>,
    /// Distance by which the clock was moved since then.
    advanced: Duration,
    closing: bool,
}

impl Cloud {
    /// Creates a cloud that clients reach at `base`. All ids and secrets derive from `seed`.
    #[must_use]
    pub fn new(mut rules: Rules, base: Host, seed: [u8; 32]) -> Self {
        rules.session_duration = rules.session_duration.min(MAX_DURATION);
        rules.attachments.max_file_kb = rules.attachments.max_file_kb.min(published::ATTACHMENT_KILOBYTES);
        rules.sign_in.jwt_lifetime = rules.sign_in.jwt_lifetime.min(published::SIGNED_IN_JWT);
        let seed_text = hex(&seed);
        let faults = std::mem::take(&mut rules.faults);
        let active_faults = ActiveFaults::new(SeededRng::labeled(seed, "faults"), faults);
        let agents = std::mem::take(&mut rules.agent).scripts();
        let mut rng = SeededRng::new(seed);
        let jwt_key = hmac::Key::new(hmac::HMAC_SHA256, &rng.bytes());
        let deployment = rules.deployment.clone().unwrap_or_else(|| rng.uuid().into());
        let client_id = rules.client_id.clone();
        let client_secret = rules.client_secret.clone();
        Self {
            client_id: client_id.unwrap_or_else(|| rng.uuid().to_string()),
            client_secret: client_secret.unwrap_or_else(|| rng.secret().into()),
            access_tokens: AccessTokens::default(),
            sign_ins: SignIns::default(),
            tagging: format!(
                "organizationId={}&originPlatform=PureCloud&deploymentId={}",
                rng.uuid(),
                deployment.as_str()
            ),
            devices: BTreeSet::new(),
            channels: Channels::default(),
            rules,
            base,
            deployment,
            rng,
            violations: Violations::default(),
            counters: Counters::default(),
            token_requests: FixedWindow::default(),
            jwt_key,
            handshakes: FixedWindow::default(),
            sockets: BTreeMap::new(),
            sessions: HashMap::new(),
            session_keys: HashMap::new(),
            last_number: 0,
            timers: Timers::default(),
            outputs: VecDeque::new(),
            ready: VecDeque::new(),
            agents,
            active_faults,
            delayed: BTreeMap::new(),
            seed_text,
            last_input: None,
            advanced: Duration::ZERO,
            closing: false,
        }
    }

    /// The one deployment.
    pub fn deployment_id(&self) -> &DeploymentId {
        &self.deployment
    }

    /// Counters since the start.
    pub fn counters(&self) -> Counters {
        Counters {
            open: self.sockets.len() as u64,
            alive: self.sessions.len() as u64,
            faults: self.active_faults.counts.clone(),
            ..self.counters.clone()
        }
    }

    pub(crate) fn attributes(&self) -> Vec<&BTreeMap<String, String>> {
        let sessions = self.sessions.values();
        sessions.map(|session| &session.attributes).collect()
    }

    /// Handles a text frame from a socket. One from a closed socket is ignored.
    pub fn handle_frame(&mut self, socket: SocketId, text: &str, now: Now) {
        self.handle_timeout(now);
        if !self.handle_listener_frame(socket, text, now) && self.sockets.contains_key(&socket) {
            self.mark_active(socket, now);
            self.receive(socket, text, now);
            self.handle_timeout(now);
        }
    }

    /// Handles a ping from a guest's socket, which is not idle then.
    pub(crate) fn handle_ping(&mut self, socket: SocketId, now: Now) {
        self.handle_timeout(now);
        self.mark_active(socket, now);
    }

    /// Removes a socket that has closed. Its session stays.
    pub fn handle_closed(&mut self, socket: SocketId, now: Now) {
        self.handle_timeout(now);
        self.delayed.remove(&socket);
        self.forget(socket);
        self.forget_listener(socket);
    }

    /// Closes all sockets with 1001, and refuses new ones.
    pub(crate) fn handle_shutdown(&mut self) {
        self.closing = true;
        let listeners = self.channels.drain_listeners();
        for socket in std::mem::take(&mut self.sockets).into_keys().chain(listeners) {
            self.emit(Output::close(socket, 1001, "the simulator stops"));
        }
    }

    /// The next output. Frames of one socket are in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        loop {
            if let Some(output) = self.ready.pop_front() {
                if let (Output::Advance(by), Some(now)) = (&output, self.last_input) {
                    let by = self.advanced.saturating_add(*by);
                    if advanced(now, by).is_none() {
                        continue;
                    }
                    self.advanced = by;
                }
                return Some(output);
            }
            let output = self.outputs.pop_front()?;
            self.apply_faults(output);
        }
    }

    /// The time of the next call to [`handle_timeout`](Self::handle_timeout) and its reason, once there is no more output.
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        self.timers.next()
    }

    /// Returns the texts of a session, oldest first, without events. Empty if there is no such session any more.
    pub fn transcript(&self, token: &str) -> Vec<TranscriptEntry> {
        let session = self.session_by_token(token);
        session.map_or_else(Vec::new, |session| session.conversation.history.transcript())
    }

    pub(crate) fn check_deployment(&self, id: &str) -> Result<(), Problem> {
        if id == self.deployment.as_str() {
            return Ok(());
        }
        Err(Problem::NOT_FOUND)
    }

    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Handles the timers that are due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.last_input = Some(now);
        self.advanced = Duration::ZERO;
        while let Some((timer, due)) = self.timers.take_due(now.instant) {
            match timer {
                Timer::ChannelEnd(channel) => self.close_channel(channel),
                Timer::ChannelWarning(channel) => self.warn_channel(channel, due),
                Timer::Expiry(session) => self.expire(session),
                Timer::Heartbeat(socket) => self.heartbeat(socket, now),
                Timer::Idle(socket) => self.check_idle(socket, now),
                Timer::Lifetime(socket) => self.close_going_away(socket, "the socket is old"),
                Timer::Release(socket, _) => self.release(socket, now),
                Timer::Step(session, number) => {
                    // at the time when it was due: a clock that moved further does not keep a session alive
                    let late = now.instant.saturating_duration_since(due);
                    let due = Now {
                        instant: due,
                        utc: now.utc.saturating_sub(late.try_into().unwrap_or_default()),
                    };
                    self.run_steps(session, number, due);
                }
            }
        }
    }

    pub(crate) fn emit(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    fn send(&mut self, socket: SocketId, text: String) {
        self.emit(Output::frame(socket, text));
    }

    /// Sends a frame to every socket of a session. `frame` takes the tracing id of the request for its own socket.
    fn fan_out(
        &mut self,
        key: SessionKey,
        request: Option<&Request>,
        frame: impl Fn(Option<&str>) -> String,
    ) {
        let Some(session) = self.sessions.get(&key) else {
            return;
        };
        for socket in &session.sockets {
            let own = request.filter(|request| request.socket == *socket);
            let text = frame(own.and_then(Request::tracing_id));
            self.outputs.push_back(Output::frame(*socket, text));
        }
    }

    fn broadcast(&mut self, key: SessionKey, class: &'static str, body: &Value) {
        self.fan_out(key, None, |_| frame::event(class, None, body));
    }

    fn close_with_event(&mut self, socket: SocketId, body: &Value) {
        self.send(socket, frame::event("ConnectionClosedEvent", None, body));
        self.forget(socket);
        self.emit(Output::close(socket, 1000, ""));
    }
}

impl fmt::Debug for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cloud")
            .field("base", &self.base)
            .field("deployment", &self.deployment)
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}
