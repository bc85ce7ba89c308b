//! Sockets of guests: admission, binding to a session, idle timeout and maximum lifetime.

use std::time::Instant;

use genesys_api::Now;
use http::Request;
use http::header::ORIGIN;

use crate::cloud::{Cloud, FixedWindow, LimitKey, Output, Problem, SessionKey, Timer, admits, later};
use crate::config::SocketTimeouts;
use crate::query::parameter;

/// Id of one socket of a cloud.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SocketId(pub(super) u64);

pub(super) struct Socket {
    /// Whether the handshake named our deployment. It is refused only in the reply to `configureSession`.
    pub(super) deployment_known: bool,
    pub(super) binding: Binding,
    pub(super) requests: FixedWindow,
    pub(super) echoes: FixedWindow,
    active: Instant,
    /// Time at which the answer to the handshake is due, if it is late.
    pub(super) handshake_due: Option<Instant>,
}

#[derive(Default)]
pub(super) enum Binding {
    /// The session of this token expired while the socket was open.
    Expired(String),
    #[default]
    None,
    Session(SessionKey),
}

impl Cloud {
    /// Admits a guest's handshake. An unknown deployment is admitted, as at Genesys, and refused later.
    pub(crate) fn open_socket<B>(&mut self, request: &Request<B>, now: Now) -> Result<SocketId, Problem> {
        let delay = self.trigger_handshake()?;
        if self.closing || self.sockets.len() >= self.rules.max_connections {
            return Err(Problem::UNAVAILABLE);
        }
        if !self.rules.deployment_active {
            return Err(Problem::forbidden("cannot connect: the deployment is not active"));
        }
        let query = request.uri().query().unwrap_or_default();
        let deployment = parameter(query, "deploymentId").filter(|id| !id.is_empty());
        let missing = Problem::bad_request("invalid URL: it needs the query parameter deploymentId");
        let deployment = deployment.ok_or(missing)?;
        let origin = request.headers().get(ORIGIN);
        let origin = origin.map(|origin| origin.to_str().unwrap_or_default());
        if !admits(self.rules.allowed_domains.as_deref(), origin) {
            let message = "invalid Origin: it is not among the allowed domains of the deployment";
            return Err(Problem::forbidden(message));
        }
        let limit = self.rules.limits.connections_per_minute;
        self.handshakes
            .take(limit, now, Problem::too_many(LimitKey::CONNECTIONS))?;
        self.counters.connections += 1;
        let socket = SocketId(self.next_number());
        let SocketTimeouts { idle, lifetime } = self.rules.socket_timeouts;
        for (timer, after) in [(Timer::Idle(socket), idle), (Timer::Lifetime(socket), lifetime)] {
            if let Some(at) = after.and_then(|after| now.instant.checked_add(after)) {
                self.timers.set(timer, at);
            }
        }
        let state = Socket {
            deployment_known: deployment == self.deployment.as_str(),
            binding: Binding::None,
            requests: FixedWindow::default(),
            echoes: FixedWindow::default(),
            active: now.instant,
            handshake_due: (!delay.is_zero()).then(|| later(now, delay).instant),
        };
        self.sockets.insert(socket, state);
        Ok(socket)
    }

    pub(super) fn mark_active(&mut self, socket: SocketId, now: Now) {
        if let Some(socket) = self.sockets.get_mut(&socket) {
            socket.active = now.instant;
        }
    }

    /// Closes a socket whose idle timeout has passed, or sets the timer again.
    pub(super) fn check_idle(&mut self, socket: SocketId, now: Now) {
        let (Some(state), Some(idle)) = (self.sockets.get(&socket), self.rules.socket_timeouts.idle) else {
            return;
        };
        match state.active.checked_add(idle) {
            Some(at) if at > now.instant => self.timers.set(Timer::Idle(socket), at),
            _ => self.close_going_away(socket, "the socket is idle"),
        }
    }

    pub(super) fn close_going_away(&mut self, socket: SocketId, reason: &'static str) {
        self.forget(socket);
        self.emit(Output::close(socket, 1001, reason));
    }

    pub(super) fn forget(&mut self, socket: SocketId) {
        self.detach(socket);
        self.sockets.remove(&socket);
        self.timers.cancel(Timer::Idle(socket));
        self.timers.cancel(Timer::Lifetime(socket));
    }
}
