//! Sockets of guests that are closed because they are idle, or old.

use std::time::{Duration, Instant};

use genesys_api::{Now, limits};

use crate::world::timers::{Timer, TimerKey};
use crate::world::{Output, Socket, SocketId, World};

/// When a guest's socket is closed with 1001 whatever it does. `None`, the default, is never: clients keep their
/// sockets alive, and a clock that is moved would close them all at once.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SocketAges {
    /// After so long without a frame or ping from the guest.
    pub idle: Option<Duration>,
    /// After so long since its handshake.
    pub most: Option<Duration>,
}

impl SocketAges {
    /// Ten minutes idle, two hours in all: the rules of AWS API Gateway, which Genesys' socket resembles
    /// (inference: Genesys documents none).
    #[must_use]
    pub const fn like_api_gateway() -> Self {
        Self {
            idle: Some(limits::IDLE),
            most: Some(limits::CONNECTION),
        }
    }
}

/// How old a socket is.
pub(super) struct Age {
    heard: Instant,
    idle: Option<TimerKey>,
    most: Option<TimerKey>,
}

impl World {
    pub(super) fn begin_age(&mut self, socket: SocketId, now: Now) -> Age {
        let SocketAges { idle, most } = self.rules.socket_ages;
        let mut set = |after: Option<Duration>, timer| {
            let at = now.instant.checked_add(after?)?;
            Some(self.timers.set(at, timer))
        };
        Age {
            heard: now.instant,
            idle: set(idle, Timer::Idle(socket)),
            most: set(most, Timer::Age(socket)),
        }
    }

    /// Notes that a guest's socket is in use: by a frame, or by a ping.
    pub fn handle_ping(&mut self, socket: SocketId, now: Now) {
        self.settle(now);
        self.hear(socket, now);
    }

    pub(super) fn hear(&mut self, socket: SocketId, now: Now) {
        if let Some(socket) = self.sockets.get_mut(&socket) {
            socket.age.heard = now.instant;
        }
    }

    pub(super) fn end_age(&mut self, socket: &Socket) {
        for timer in [socket.age.idle, socket.age.most].into_iter().flatten() {
            self.timers.cancel(timer);
        }
    }

    /// Closes a socket if it was silent for long, or looks again when that may be so.
    pub(super) fn check_idle(&mut self, socket: SocketId, now: Now) {
        let (Some(state), Some(idle)) = (self.sockets.get_mut(&socket), self.rules.socket_ages.idle) else {
            return;
        };
        match state.age.heard.checked_add(idle) {
            Some(at) if at > now.instant => {
                state.age.idle = Some(self.timers.set(at, Timer::Idle(socket)));
            }
            _ => self.retire(socket, "the socket is idle"),
        }
    }

    pub(super) fn retire(&mut self, socket: SocketId, reason: &'static str) {
        self.forget(socket);
        self.outputs.push_back(Output::Close {
            socket,
            code: 1001,
            reason,
        });
    }
}
