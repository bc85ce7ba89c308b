//! A protocol on a WebSocket that reconnects, as a state machine without I/O.

use std::time::{Duration, Instant};

use genesys_api::Now;

use crate::{AdmittedOrigin, ClientHandshake, CloseInfo, QueueFull, SocketUrl, Transmit};

/// A protocol on a WebSocket that reconnects, as a state machine without I/O: `client::Driver` runs it.
///
/// A driver passes inputs to it (`handle_*`) and polls its outputs (`poll_*`). After each input it polls commands, then
/// transmits, then events, until all are empty. Then it waits until [`Self::poll_timeout`].
pub trait Machine: Send + 'static {
    /// An event for the application.
    type Event: Send + 'static;
    /// Work beside the socket, such as an HTTP call.
    type Job: Send + 'static;
    /// Identity of a job.
    type JobId: Eq + Send + 'static;
    /// Result of a job.
    type Outcome: Send + 'static;
    /// Reason of a deadline.
    type Reason;

    /// Returns the upgrade request of the next connection.
    fn handshake(&mut self, url: &SocketUrl, origin: &AdmittedOrigin) -> ClientHandshake;
    /// Handles an opened socket.
    fn handle_connected(&mut self, now: Now);
    /// Handles a limit on new connections that delays [`Command::Connect`]. The timeout begins then. It can be delayed again.
    fn handle_connect_deferred(&mut self, until: Instant, now: Now);
    /// Handles [`Command::Connect`] that was refused, because too many connections wait. `random` is a fresh random number.
    fn handle_queue_full(&mut self, full: QueueFull, now: Now, random: u64);
    /// Handles a text frame.
    fn handle_frame(&mut self, text: &str, now: Now);
    /// Handles any other sign of life of the peer: a ping, a pong, a byte.
    fn handle_alive(&mut self);
    /// Handles a connection that ended or could not be opened. `random` is a fresh random number.
    fn handle_closed(&mut self, close: CloseInfo, now: Now, random: u64);
    /// Handles an upgrade that was answered with another status than 101, and perhaps `Retry-After`. `random` is a
    /// fresh random number.
    fn handle_refused(&mut self, status: u16, retry_after: Option<Duration>, now: Now, random: u64);
    /// Handles the result of a job.
    fn handle_outcome(&mut self, outcome: Self::Outcome, now: Now);
    /// Handles a deadline of [`Self::poll_timeout`] that has passed.
    fn handle_timeout(&mut self, now: Now);
    /// Returns the next command for the driver.
    fn poll_command(&mut self) -> Option<Command<Self::JobId, Self::Job>>;
    /// Whether the result of a running job is still wanted. If not, the driver drops the job.
    fn wants(&self, job: &Self::JobId) -> bool;
    /// Returns the next frame to send, if the limits let it pass.
    fn poll_transmit(&mut self, now: Now) -> Option<Transmit>;
    /// Returns the next event for the application.
    fn poll_event(&mut self) -> Option<Self::Event>;
    /// Number of events that wait. The driver stops reading the socket at 64.
    fn backlog(&self) -> usize;
    /// Deadline of the next [`Self::handle_timeout`], and its reason.
    fn poll_timeout(&self) -> Option<(Instant, Self::Reason)>;
    /// Whether nothing more can happen.
    fn is_over(&self) -> bool;
}

/// A command of a [`Machine`] to its driver.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a driver handles each")]
pub enum Command<I, J> {
    /// Opens a connection with [`Machine::handshake`]; then [`Machine::handle_connected`], `handle_refused` or
    /// `handle_closed` follows.
    Connect,
    /// Drops the connection, or the attempt; [`Machine::handle_closed`] follows.
    Disconnect,
    /// Runs a job beside the socket, in place of one with the same id; [`Machine::handle_outcome`] follows.
    Run(I, J),
}
