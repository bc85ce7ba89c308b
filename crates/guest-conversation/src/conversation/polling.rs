//! What the driver is to move, and when it is to come back.

use std::time::Instant;

use genesys_api::Now;

use super::Conversation;
use super::dialect::Errand;
use super::event::Event;
use super::state::{Command, Reason, State};
use super::timeline::{self, Happening, Limit, Outcome};
use crate::Direction;
use ws_transport::Transmit;

impl Conversation {
    /// What to do with the connection, if anything.
    pub fn poll_command(&mut self) -> Option<Command> {
        if let Some(command) = self.command.take() {
            return Some(command);
        }
        if let Some(put) = self.next_put() {
            self.chronicle
                .record(Happening::Errand(timeline::Errand::Upload, Outcome::Begun));
            return Some(Command::Upload(Box::new(put)));
        }
        let read = self.archive.as_mut()?.command.take()?;
        self.chronicle
            .record(Happening::Errand(timeline::Errand::History, Outcome::Begun));
        Some(Command::ReadHistory(read))
    }

    /// The next thing for the socket, if there is one and the limits let it pass.
    pub fn poll_transmit(&mut self, now: Now) -> Option<Transmit> {
        self.chronicle.handle_time(now);
        let transmit = self.next_transmit(now);
        if let Some(Transmit::Frame(text)) = &transmit {
            self.chronicle.record_frame(Direction::Inbound, text);
        }
        transmit
    }

    fn next_transmit(&mut self, now: Now) -> Option<Transmit> {
        if let Some(transmit) = self.transmits.pop_front() {
            return Some(transmit);
        }
        let draining = self.state == State::Closing && matches!(self.deadline, Some((_, Reason::Drain)));
        if !self.socket || !(matches!(self.state, State::Configured | State::ReadOnly) || draining) {
            return None;
        }
        self.pace = None;
        if self.health.wants_echo() {
            match self.outbox.pacing.echo(now.instant) {
                Ok(()) => {
                    self.health.handle_asked();
                    return self.dialect.errand(Errand::Echo).map(Transmit::Frame);
                }
                Err(at) => self.pace = Some(at),
            }
        }
        if self.state == State::Configured && self.greet {
            match self.outbox.pacing.request(now.instant) {
                Ok(()) => {
                    self.greet = false;
                    if let Some(greeting) = self.dialect.greeting() {
                        return Some(Transmit::Frame(greeting));
                    }
                }
                Err(at) => self.wake_at(Limit::Requests, at),
            }
        }
        if self.wants_file_frame() {
            match self.outbox.pacing.request(now.instant) {
                Ok(()) => {
                    if let Some(frame) = self.file_frame(now) {
                        return Some(Transmit::Frame(frame));
                    }
                }
                Err(at) => self.wake_at(Limit::Requests, at),
            }
        }
        if !self.is_deciding() {
            let (pings, heard) = (self.pings(), self.heard_until());
            match self.outbox.next(now, pings, heard) {
                Ok(Some((id, said))) => return Some(Transmit::Frame(self.dialect.message(id, said))),
                Ok(None) => {}
                Err(at) => self.wake_at(Limit::Messages, at),
            }
        }
        if draining && self.outbox.is_idle() {
            self.say_farewell(now);
        }
        self.transmits.pop_front()
    }

    /// The next event, if there is one.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    /// Events that wait. A driver stops reading its socket when they are many; beyond 1,024 the socket is dropped.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.events.len()
    }

    /// When to call [`Self::handle_timeout`] at the latest, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        let heartbeat = self.heartbeat.as_ref().filter(|_| self.socket);
        let heartbeat = heartbeat.map(|heartbeat| (heartbeat.poll_timeout(), Reason::Heartbeat));
        let pace = self.pace.filter(|_| self.socket).map(|at| (at, Reason::Pace));
        let ready = self.socket && matches!(self.state, State::Configured | State::ReadOnly);
        let expiry = self.health.poll_timeout().filter(|_| ready);
        let expiry = expiry.map(|at| (at, Reason::Expiry));
        let history = self.archive.as_ref().filter(|_| ready);
        let history = history.and_then(|archive| archive.poll_timeout());
        let history = history.map(|at| (at, Reason::History));
        let attachment = self.file_timeout().filter(|_| self.socket);
        let attachment = attachment.map(|at| (at, Reason::Attachment));
        [self.deadline, heartbeat, pace, expiry, history, attachment]
            .into_iter()
            .flatten()
            .min_by_key(|(at, _)| *at)
    }
}
