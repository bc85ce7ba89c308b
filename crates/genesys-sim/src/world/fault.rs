//! Faults on demand: what the world says goes through here, and suffers on its way.

mod armed;
mod error;
mod line;
mod text;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use genesys_api::Now;
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::rest::Problem;
use crate::world::frame::{self, Limited, Refusal};
use crate::world::limits::Usage;
use crate::world::request::Request;
use crate::world::seed::Seed;
use crate::world::session::SessionKey;
use crate::world::timers::Timer;
use crate::world::{Binding, Output, SocketId, World, jwt};

use armed::Armed;
use line::{Full, Line};
use text::{Cut, Effect, Reason, Site};

pub use armed::Injected;
pub use error::FaultError;
pub use text::{Fault, FaultKind};

/// The faults of a world, and what they hold back.
#[derive(Debug)]
pub(crate) struct Faults {
    armed: Armed,
    lines: BTreeMap<SocketId, Line>,
    opening: BTreeMap<SocketId, Instant>,
}

impl Faults {
    /// With these faults from the start; those beyond the most are left out.
    pub(crate) fn new(seed: Seed, faults: Vec<Fault>) -> Self {
        let mut armed = Armed::new(seed);
        for fault in faults {
            if armed.arm(fault, None).is_err() {
                break;
            }
        }
        Self {
            armed,
            lines: BTreeMap::new(),
            opening: BTreeMap::new(),
        }
    }

    pub(crate) fn injected(&self) -> Injected {
        self.armed.injected
    }

    #[cfg(test)]
    pub(crate) fn holds_nothing(&self) -> bool {
        self.lines.is_empty() && self.opening.is_empty()
    }

    pub(crate) fn forget(&mut self, socket: SocketId) {
        self.lines.remove(&socket);
        self.opening.remove(&socket);
    }
}

/// What becomes of one frame.
struct Fate {
    cut: Option<Cut>,
    evicted: Option<Option<Reason>>,
    hang: Option<Option<Duration>>,
    late: Duration,
    overtaken: bool,
}

impl World {
    /// Has a fault wait for its moment, in general or for the one session of this token, and names it.
    ///
    /// # Errors
    /// If 64 faults are active, or a fault of handshakes is to be of one session.
    pub fn arm(&mut self, fault: Fault, session: Option<&str>) -> Result<u64, FaultError> {
        self.faults.armed.arm(fault, session.map(str::to_owned))
    }

    /// Takes back one fault by its name, or all; says how many. What is held back already stays late.
    pub fn disarm(&mut self, id: Option<u64>) -> usize {
        self.faults.armed.disarm(id)
    }

    /// When the answer to an admitted handshake may leave, if that is not at once.
    #[must_use]
    pub fn opens_at(&self, socket: SocketId) -> Option<Instant> {
        self.faults.opening.get(&socket).copied()
    }

    pub(crate) fn faults(&self) -> Vec<Value> {
        self.faults.armed.list()
    }

    /// Passes an output on, unless a fault keeps, changes or doubles it. Those of notification channels are spared.
    pub(super) fn suffer(&mut self, output: Output) {
        let Some(Now { instant: now, .. }) = self.settled else {
            return self.ready.push_back(output);
        };
        match output {
            Output::Frame { socket, text, .. } if !self.channels.has(socket) => {
                self.suffer_frame(socket, text, now);
            }
            Output::Close { socket, .. } if self.closing => {
                self.faults.forget(socket);
                self.ready.push_back(output);
            }
            Output::Close { socket, .. } => match self.faults.lines.get(&socket) {
                Some(line) if line.hangs_for_ever() => self.cut(socket, Cut::Abrupt),
                Some(_) => self.pass(socket, output, Duration::ZERO, now),
                None => {
                    self.faults.forget(socket);
                    self.ready.push_back(output);
                }
            },
            Output::Advance(_) | Output::Drop { .. } | Output::Frame { .. } | Output::Hang { .. } => {
                self.ready.push_back(output);
            }
        }
    }

    /// Lets out what a socket's line holds, and reads what was left unread.
    pub(super) fn release(&mut self, socket: SocketId, now: Now) {
        for text in self.let_out(socket, now.instant) {
            self.take_frame(socket, &text, now);
        }
    }

    /// Reads a guest's frame, unless its socket hangs.
    pub(super) fn take_frame(&mut self, socket: SocketId, text: &str, now: Now) {
        if !self.sockets.contains_key(&socket) {
            return;
        }
        match self.faults.lines.get_mut(&socket).filter(|line| line.hangs()) {
            Some(line) => {
                if line.leave_unread(text) == Err(Full) {
                    self.cut(socket, Cut::Abrupt);
                }
            }
            None => self.act(socket, text, now),
        }
    }

    /// Whether a fault spares a guest's frame, and it is to be acted on.
    pub(super) fn spares(
        &mut self,
        socket: SocketId,
        (text, request): (&str, Option<&Request>),
        now: Now,
    ) -> Result<bool, Refusal> {
        let mut spared = true;
        let mut refusal = None;
        let effects = self.strike_socket(Site::FrameFromGuest, socket);
        if !effects.is_empty() {
            // what was said before the fault is on its way
            while let Some(output) = self.outputs.pop_front() {
                self.suffer(output);
            }
        }
        for effect in effects {
            match effect {
                Effect::Clock(by) => self.order(Output::Advance(by)),
                Effect::Drop(cut) => {
                    self.cut(socket, cut);
                    spared = false;
                }
                Effect::Evict(reason) if self.sockets.contains_key(&socket) => {
                    self.evict(socket, reason);
                    spared = false;
                }
                Effect::Hang(time) => {
                    self.hang(socket, time, now.instant);
                    self.take_frame(socket, text, now);
                    spared = false;
                }
                Effect::Refuse(code, class) => refusal = Some(Refusal::Simulated(code, class)),
                Effect::Throttle(time) => {
                    let limited = match request.map(Request::action) {
                        Some("configureSession" | "configureAuthenticatedSession") => Limited::Configure,
                        _ => Limited::Messages,
                    };
                    refusal = Some(Refusal::TooMany(limited, time.as_secs().max(1)));
                }
                _ => {}
            }
            if !spared {
                break;
            }
        }
        let authenticates = request.is_some_and(|it| it.action() == "configureAuthenticatedSession");
        if spared && authenticates && !self.strike_socket(Site::Jwt, socket).is_empty() {
            refusal = Some(Refusal::UNAUTHORIZED);
        }
        match refusal {
            Some(refusal) if spared => Err(refusal),
            _ => Ok(spared),
        }
    }

    /// What a handshake suffers before it is judged: how late its answer is.
    pub(super) fn strike_handshake(&mut self) -> Result<Duration, Problem> {
        let mut late = Duration::ZERO;
        for effect in self.faults.armed.strike(Site::Handshake, None, "") {
            match effect {
                Effect::RefuseHandshake(status) => return Err(problem(status)),
                Effect::SlowHandshake(time) => late = late.max(time),
                _ => {}
            }
        }
        Ok(late)
    }

    pub(super) fn open_late(&mut self, socket: SocketId, late: Duration, now: Instant) {
        if let Some(at) = now.checked_add(late).filter(|at| *at > now) {
            self.faults.opening.insert(socket, at);
        }
    }

    /// What a REST request suffers before it is looked at. The simulator's own endpoints are spared.
    pub(crate) fn strike_request(&mut self, request: &http::Request<Bytes>, now: Now) -> Result<(), Problem> {
        let path = request.uri().path();
        if self.faults.armed.is_empty() || path == "/sim" || path.starts_with("/sim/") {
            return Ok(());
        }
        let jwt = request
            .headers()
            .get(http::header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .map(|(_, jwt)| jwt.trim())
            .filter(|jwt| jwt.contains('.'));
        let session = jwt
            .and_then(|jwt| jwt::verify(&self.jwt_key, jwt, now.utc).ok())
            .and_then(|key| self.token_of(key));
        let mut struck = self.faults.armed.strike(Site::Rest, session.as_deref(), path);
        if let Some(Effect::Rest(status, _)) = struck.pop() {
            return Err(problem(status));
        }
        let expired = jwt.is_some()
            && !self
                .faults
                .armed
                .strike(Site::Jwt, session.as_deref(), path)
                .is_empty();
        if expired {
            return Err(Problem::credentials_expired());
        }
        Ok(())
    }

    /// Whether the upload whose bytes have come has to fail.
    pub(super) fn upload_fails(&mut self, session: SessionKey) -> bool {
        let session = self.token_of(session);
        !self
            .faults
            .armed
            .strike(Site::Upload, session.as_deref(), "")
            .is_empty()
    }

    fn suffer_frame(&mut self, socket: SocketId, mut text: String, now: Instant) {
        let mut fate = Fate {
            cut: None,
            evicted: None,
            hang: None,
            late: Duration::ZERO,
            overtaken: false,
        };
        let (mut copies, mut fragments, mut odd) = (1, 1, false);
        for effect in self.strike_socket(Site::FrameToGuest, socket) {
            match effect {
                Effect::Clock(by) => self.ready.push_back(Output::Advance(by)),
                Effect::Delay(time) => fate.late = fate.late.max(time),
                Effect::Drop(cut) => fate.cut = Some(cut),
                Effect::Duplicate => copies = 2,
                Effect::Evict(reason) => fate.evicted = Some(reason),
                Effect::Fragment(parts) => fragments = parts,
                Effect::Hang(time) => fate.hang = Some(time),
                Effect::Reorder => fate.overtaken = true,
                Effect::UnknownClass => odd = true,
                Effect::UnknownFields => text = with_unknown_fields(text),
                _ => {}
            }
        }
        if let Some(cut) = fate.cut {
            return self.cut(socket, cut);
        }
        if let Some(time) = fate.hang {
            self.hang(socket, time, now);
        }
        let frame = |text, fragments| Output::Frame {
            socket,
            text,
            fragments,
        };
        if odd {
            let odd = frame::pushed("SimulatedUnknownEvent", None, &json!({"simulated": true}));
            self.pass(socket, frame(odd, 1), fate.late, now);
        }
        for _ in 1..copies {
            self.pass(socket, frame(text.clone(), fragments), fate.late, now);
        }
        let last = frame(text, fragments);
        if fate.overtaken {
            self.set_back(socket, last, now);
        } else {
            self.pass(socket, last, fate.late, now);
        }
        if let Some(reason) = fate.evicted.filter(|_| self.sockets.contains_key(&socket)) {
            self.evict(socket, reason);
        }
    }

    fn evict(&mut self, socket: SocketId, reason: Option<Reason>) {
        self.counters.evicted += 1;
        let why = reason.map(|reason| (reason.name().to_owned(), json!("signedIn")));
        let body: Map<String, Value> = why.into_iter().collect();
        self.send(socket, frame::pushed("ConnectionClosedEvent", None, &body));
        self.hang_up_guest(socket);
    }

    /// Sends an output behind all that waits for its socket.
    fn pass(&mut self, socket: SocketId, output: Output, late: Duration, now: Instant) {
        if late.is_zero() && !self.faults.lines.contains_key(&socket) {
            return self.ready.push_back(output);
        }
        let line = self.faults.lines.entry(socket).or_default();
        if line.hangs_for_ever() {
            return;
        }
        match line.hold(output, late, now) {
            Ok(due) if due > now => {
                self.timers.set(due, Timer::Release(socket));
            }
            Ok(_) => {
                self.let_out(socket, now);
            }
            Err(Full) => self.cut(socket, Cut::Abrupt),
        }
    }

    fn let_out(&mut self, socket: SocketId, now: Instant) -> VecDeque<String> {
        let Some(line) = self.faults.lines.get_mut(&socket) else {
            return VecDeque::new();
        };
        let (outputs, unread) = line.release(now);
        if line.is_idle()
            || outputs
                .iter()
                .any(|output| matches!(output, Output::Close { .. }))
        {
            self.faults.forget(socket);
        }
        self.ready.extend(outputs);
        unread
    }

    fn set_back(&mut self, socket: SocketId, output: Output, now: Instant) {
        match self.faults.lines.entry(socket).or_default().overtake(output, now) {
            Ok(due) => {
                self.timers.set(due, Timer::Release(socket));
            }
            Err(output) => self.pass(socket, output, Duration::ZERO, now),
        }
    }

    fn hang(&mut self, socket: SocketId, time: Option<Duration>, now: Instant) {
        let until = self.faults.lines.entry(socket).or_default().hang(time, now);
        if let Some(until) = until {
            self.timers.set(until, Timer::Release(socket));
        }
        self.ready.push_back(Output::Hang { socket, until });
    }

    /// Ends a socket at once: what is on its way to it is lost.
    fn cut(&mut self, socket: SocketId, cut: Cut) {
        self.outputs.retain(|output| output.socket() != Some(socket));
        self.faults.forget(socket);
        self.forget(socket);
        self.ready.push_back(match cut {
            Cut::Abrupt => Output::Drop { socket },
            Cut::Close(code) => Output::Close {
                socket,
                code,
                reason: "a simulated fault",
            },
        });
    }

    fn strike_socket(&mut self, site: Site, socket: SocketId) -> Vec<Effect> {
        if self.faults.armed.is_empty() {
            return Vec::new();
        }
        let token = match self.sockets.get(&socket).map(|socket| &socket.binding) {
            Some(Binding::Session(key)) => self.token_of(*key),
            Some(Binding::Expired(token)) => Some(token.clone()),
            Some(Binding::None) | None => None,
        };
        self.faults.armed.strike(site, token.as_deref(), "")
    }

    fn token_of(&self, key: SessionKey) -> Option<String> {
        self.sessions.get(&key).map(|session| session.token.clone())
    }
}

/// The refusal of this status, with Genesys' code where there is one.
fn problem(status: StatusCode) -> Problem {
    match status {
        StatusCode::UNAUTHORIZED => Problem::bad_credentials(),
        StatusCode::TOO_MANY_REQUESTS => {
            let usage = Usage {
                count: 300,
                allowed: 300,
                reset: 3,
            };
            Problem::too_many("platform.api", "token.rate.per.minute", usage)
        }
        status => Problem::simulated(status),
    }
}

fn with_unknown_fields(text: String) -> String {
    let Ok(Value::Object(mut frame)) = serde_json::from_str::<Value>(&text) else {
        return text;
    };
    let strange = || json!({"nested": [1, null, {"deep": true}]});
    frame.insert("simulatedField".to_owned(), strange());
    if let Some(body) = frame.get_mut("body").and_then(Value::as_object_mut) {
        body.insert("simulatedField".to_owned(), strange());
        let channel = body.get_mut("channel").and_then(Value::as_object_mut);
        channel
            .unwrap_or(&mut Map::new())
            .insert("simulatedField".to_owned(), strange());
    }
    Value::Object(frame).to_string()
}
