//! Applies injected faults to outgoing frames, and to frames, handshakes and requests from clients.

mod active;
mod delay_queue;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use genesys_api::Now;
use serde_json::{Value, json};

use crate::cloud::{
    Binding, CONFIGURES, Cloud, MESSAGES, Output, Problem, Refusal, Request, SessionKey, SocketId, Timer,
    frame,
};
use crate::fault::{Effect, Site};

pub(crate) use active::ActiveFaults;
pub(crate) use delay_queue::DelayQueue;

impl Cloud {
    /// Removes one fault by its id, or all, and returns how many were removed. Outputs already held back stay late.
    pub fn remove_faults(&mut self, id: Option<u64>) -> usize {
        self.active_faults.remove(id)
    }

    /// Time at which the answer to an admitted handshake is due, if it is late.
    pub fn handshake_due(&self, socket: SocketId) -> Option<Instant> {
        self.sockets.get(&socket)?.handshake_due
    }

    /// Makes an output ready, after the faults that apply to it. None apply to notification channels.
    pub(super) fn apply_faults(&mut self, output: Output) {
        let Some(Now { instant: now, .. }) = self.last_input else {
            return self.ready.push_back(output);
        };
        match output {
            Output::Frame { socket, text, .. } if !self.channels.has(socket) => {
                self.apply_frame_faults(socket, text, now);
            }
            Output::Close { socket, .. } => match self.delayed.get(&socket) {
                Some(queue) if queue.hangs_forever() && !self.closing => self.cut(socket, None),
                Some(_) if !self.closing => self.enqueue(socket, output, Duration::ZERO, now),
                _ => {
                    self.delayed.remove(&socket);
                    self.ready.push_back(output);
                }
            },
            _ => self.ready.push_back(output),
        }
    }

    /// Sends the due outputs of a socket, and reads the frames that it has not read.
    pub(super) fn release(&mut self, socket: SocketId, now: Now) {
        for text in self.flush(socket, now.instant) {
            self.receive(socket, &text, now);
        }
    }

    /// Handles a guest's frame, or keeps it while the socket hangs.
    pub(super) fn receive(&mut self, socket: SocketId, text: &str, now: Now) {
        if !self.sockets.contains_key(&socket) {
            return;
        }
        match self.delayed.get_mut(&socket).filter(|queue| queue.hangs()) {
            Some(queue) => {
                if !queue.push_unread(text) {
                    self.cut(socket, None);
                }
            }
            None => self.handle_action(socket, text, now),
        }
    }

    /// Applies faults to a guest's frame. Returns `false` if the frame is lost or kept for later.
    pub(super) fn filter_inbound(
        &mut self,
        socket: SocketId,
        (text, request): (&str, Option<&Request>),
        now: Now,
    ) -> Result<bool, Refusal> {
        let action = request.map_or("", |it| it.action.as_str());
        let mut refusal = None;
        let effects = self.trigger(Site::FrameFromGuest, socket);
        if !effects.is_empty() {
            self.send_earlier_outputs();
        }
        for effect in effects {
            match effect {
                Effect::Clock(by) => self.emit(Output::Advance(by)),
                Effect::Drop(code) => {
                    self.cut(socket, code);
                    return Ok(false);
                }
                Effect::Evict(reason) if self.sockets.contains_key(&socket) => {
                    self.evict(socket, reason);
                    return Ok(false);
                }
                Effect::Hang(time) => {
                    self.hang(socket, time, now.instant);
                    self.receive(socket, text, now);
                    return Ok(false);
                }
                Effect::Refuse(code, class) => refusal = Some(Refusal::Simulated(code, class)),
                Effect::Throttle(time) => {
                    let limited = match action {
                        "configureSession" | "configureAuthenticatedSession" => CONFIGURES,
                        _ => MESSAGES,
                    };
                    refusal = Some(Refusal::TooMany(limited, time.as_secs().max(1)));
                }
                _ => {}
            }
        }
        if action == "configureAuthenticatedSession" && !self.trigger(Site::Jwt, socket).is_empty() {
            refusal = Some(Refusal::UNAUTHORIZED);
        }
        refusal.map_or(Ok(true), Err)
    }

    /// Makes the outputs from before a fault ready: they are already on their way.
    pub(super) fn send_earlier_outputs(&mut self) {
        while let Some(output) = self.outputs.pop_front() {
            self.apply_faults(output);
        }
    }

    /// Applies faults to a handshake, and returns the delay of its answer.
    pub(super) fn trigger_handshake(&mut self) -> Result<Duration, Problem> {
        let mut delay = Duration::ZERO;
        for effect in self.active_faults.trigger(Site::Handshake, None, "") {
            match effect {
                Effect::RefuseHandshake(status) => return Err(Problem::injected(status.as_u16())),
                Effect::SlowHandshake(time) => delay = delay.max(time),
                _ => {}
            }
        }
        Ok(delay)
    }

    pub(crate) fn trigger_request(
        &mut self,
        path: &str,
        bearer: Option<&str>,
        now: Now,
    ) -> Result<(), Problem> {
        let jwt = bearer.filter(|bearer| bearer.contains('.'));
        let session = jwt
            .and_then(|jwt| self.session_of_jwt(jwt, now).ok())
            .and_then(|key| self.token_of(key));
        let faults = &mut self.active_faults;
        if let Some(Effect::Rest(status, _)) = faults.trigger(Site::Rest, session.as_deref(), path).pop() {
            return Err(Problem::injected(status.as_u16()));
        }
        if jwt.is_some() && !faults.trigger(Site::Jwt, session.as_deref(), path).is_empty() {
            return Err(Problem::CREDENTIALS_EXPIRED);
        }
        Ok(())
    }

    pub(super) fn trigger_upload(&mut self, session: SessionKey) -> bool {
        let session = self.token_of(session);
        let faults = &mut self.active_faults;
        !faults.trigger(Site::Upload, session.as_deref(), "").is_empty()
    }

    fn apply_frame_faults(&mut self, socket: SocketId, mut text: String, now: Instant) {
        let (mut cut, mut evict, mut hang) = (None, None, None);
        let (mut duplicate, mut reorder, mut unknown_class) = (false, false, false);
        let (mut delay, mut fragments) = (Duration::ZERO, 1);
        for effect in self.trigger(Site::FrameToGuest, socket) {
            match effect {
                Effect::Clock(by) => self.ready.push_back(Output::Advance(by)),
                Effect::Delay(time) => delay = delay.max(time),
                Effect::Drop(code) => cut = Some(code),
                Effect::Duplicate => duplicate = true,
                Effect::Evict(reason) => evict = Some(reason),
                Effect::Fragment(parts) => fragments = parts,
                Effect::Hang(time) => hang = Some(time),
                Effect::Reorder => reorder = true,
                Effect::UnknownClass => unknown_class = true,
                Effect::UnknownFields => text = with_unknown_fields(text),
                _ => {}
            }
        }
        if let Some(code) = cut {
            return self.cut(socket, code);
        }
        if let Some(time) = hang {
            self.hang(socket, time, now);
        }
        if unknown_class {
            let unknown = frame::event("SimulatedUnknownEvent", None, &json!({"simulated": true}));
            self.enqueue(socket, Output::frame(socket, unknown), delay, now);
        }
        let output = Output::Frame {
            socket,
            text,
            fragments,
        };
        if duplicate {
            self.enqueue(socket, output.clone(), delay, now);
        }
        if reorder {
            self.reorder(socket, output, now);
        } else {
            self.enqueue(socket, output, delay, now);
        }
        if let Some(reason) = evict.filter(|_| self.sockets.contains_key(&socket)) {
            self.evict(socket, reason);
        }
    }

    fn evict(&mut self, socket: SocketId, reason: Option<&str>) {
        self.counters.evicted += 1;
        let body: BTreeMap<_, _> = reason.map(|name| (name, "signedIn")).into_iter().collect();
        self.close_with_event(socket, &json!(body));
    }

    /// Sends an output after those that wait for its socket.
    fn enqueue(&mut self, socket: SocketId, output: Output, delay: Duration, now: Instant) {
        if delay.is_zero() && !self.delayed.contains_key(&socket) {
            return self.ready.push_back(output);
        }
        let queue = self.delayed.entry(socket).or_default();
        if queue.hangs_forever() {
            return;
        }
        match queue.push(output, delay, now) {
            Some(due) if due > now => {
                self.timers.set(Timer::Release(socket, due), due);
            }
            Some(_) => {
                self.flush(socket, now);
            }
            None => self.cut(socket, None),
        }
    }

    /// Makes the due outputs of a socket ready, and returns the frames that it can read again.
    fn flush(&mut self, socket: SocketId, now: Instant) -> VecDeque<String> {
        let Some(queue) = self.delayed.get_mut(&socket) else {
            return VecDeque::new();
        };
        let (outputs, unread) = queue.flush(now);
        let closes = |output: &Output| matches!(output, Output::Close { .. });
        if queue.is_idle() || outputs.iter().any(closes) {
            self.delayed.remove(&socket);
        }
        self.ready.extend(outputs);
        unread
    }

    fn reorder(&mut self, socket: SocketId, output: Output, now: Instant) {
        match self.delayed.entry(socket).or_default().reorder(output, now) {
            Ok(due) => {
                self.timers.set(Timer::Release(socket, due), due);
            }
            Err(output) => self.enqueue(socket, output, Duration::ZERO, now),
        }
    }

    fn hang(&mut self, socket: SocketId, time: Option<Duration>, now: Instant) {
        let until = self.delayed.entry(socket).or_default().hang(time, now);
        if let Some(until) = until {
            self.timers.set(Timer::Release(socket, until), until);
        }
        self.ready.push_back(Output::Hang { socket, until });
    }

    /// Ends a socket at once, with a close frame if there is a code. Outputs that wait for it are lost.
    fn cut(&mut self, socket: SocketId, code: Option<u16>) {
        self.outputs.retain(|output| output.socket() != Some(socket));
        self.delayed.remove(&socket);
        self.forget(socket);
        self.ready.push_back(match code {
            Some(code) => Output::close(socket, code, "a simulated fault"),
            None => Output::Drop { socket },
        });
    }

    fn trigger(&mut self, site: Site, socket: SocketId) -> Vec<Effect> {
        let token = match self.sockets.get(&socket).map(|socket| &socket.binding) {
            Some(Binding::Session(key)) => self.token_of(*key),
            Some(Binding::Expired(token)) => Some(token.clone()),
            Some(Binding::None) | None => None,
        };
        self.active_faults.trigger(site, token.as_deref(), "")
    }

    fn token_of(&self, key: SessionKey) -> Option<String> {
        self.sessions.get(&key).map(|session| session.token.clone())
    }
}

fn with_unknown_fields(text: String) -> String {
    let Ok(mut frame) = serde_json::from_str::<Value>(&text) else {
        return text;
    };
    for pointer in ["", "/body", "/body/channel"] {
        if let Some(Value::Object(fields)) = frame.pointer_mut(pointer) {
            let unknown = json!({"nested": [1, null, {"deep": true}]});
            fields.insert("simulatedField".to_owned(), unknown);
        }
    }
    frame.to_string()
}
