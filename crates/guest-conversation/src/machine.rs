//! The verbs that a driver needs of a conversation.

use std::time::{Duration, Instant};

use genesys_api::Now;
use secrecy::SecretString;
use web_messaging::rest::history::HistoryPage;
use ws_transport::{AdmittedOrigin, ClientHandshake, CloseInfo, SocketUrl, Transmit};

use crate::attachments::{AttachmentId, UploadOutcome};
use crate::engine::{Due, Engine};
use crate::timeline::Timeline;
use crate::{
    Command, DeliveryStatus, Event, HistoryFailure, MessageId, OutgoingMessage, Reason, SendError, State,
};

/// Longest shutdown.
pub(crate) use crate::engine::shutdown::LONGEST_SHUTDOWN;

/// A conversation as a state machine without sockets, clock or randomness: [`Conversation`](crate::Conversation) with
/// Genesys Cloud, and the socket client of the gateway.
///
/// A driver passes inputs to it (`handle_*`), polls its outputs (`poll_*`), and calls [`Self::handle_timeout`] at
/// [`Self::poll_timeout`]. After each input it polls commands, then transmits, then events, until all are empty.
pub trait Machine: Send + 'static {
    /// The parts that do not depend on the contract.
    fn engine(&self) -> &Engine;
    /// The same parts, mutable.
    fn engine_mut(&mut self) -> &mut Engine;

    /// The upgrade for [`Command::Connect`].
    fn handshake(&mut self, url: &SocketUrl, origin: &AdmittedOrigin) -> ClientHandshake;
    /// Performs an action that the engine returned.
    fn perform(&mut self, due: Due, now: Now);
    /// Handles a text frame.
    fn handle_frame(&mut self, text: &str, now: Now);
    /// Handles a connection that ended or could not be opened. `random` is any fresh random number.
    fn handle_closed(&mut self, close: CloseInfo, now: Now, random: u64);
    /// Handles an upgrade that was answered with another status than 101, and perhaps `Retry-After`.
    fn handle_refused(&mut self, status: u16, retry_after: Option<Duration>, now: Now, random: u64);
    /// Handles a deadline of [`Self::poll_timeout`] that has passed.
    fn handle_timeout(&mut self, now: Now);
    /// The next frame for the socket, if the limits let it pass.
    fn poll_transmit(&mut self, now: Now) -> Option<Transmit>;

    /// Queues a message of 1 to 4,096 bytes, which is sent as soon as the session and the limits allow. `id` is fresh
    /// and random. [`Event::Delivery`] reports its delivery.
    ///
    /// # Errors
    /// If it cannot be queued.
    fn send_text(&mut self, id: MessageId, text: String) -> Result<(), SendError> {
        self.engine_mut().send(id, OutgoingMessage::new(text))
    }
    /// Shows that the guest is typing. Does nothing outside of a ready session, or within 5 s of the last time unless a
    /// message was delivered since.
    fn send_typing(&mut self, now: Now);
    /// Uses another token from the next connection on. If the service waits for it, it is used at once.
    fn update_token(&mut self, token: SecretString);
    /// Declares that there is no other token. A conversation that waits for one ends.
    fn decline_token(&mut self);
    /// Ends the conversation within this time: waits for messages that are on their way, then closes. It can be called
    /// again to shorten it.
    fn end_within(&mut self, within: Duration, now: Now) {
        if let Some(due) = self.engine_mut().shut_down(within, now) {
            self.perform(due, now);
        }
    }
    /// Handles an opened connection.
    fn handle_connected(&mut self, now: Now) {
        if self.engine_mut().handle_connected(now) {
            self.perform(Due::Configure, now);
        }
    }
    /// Ends the conversation: waits up to 5 s for messages that are on their way, then takes up to 2 s to close.
    fn end(&mut self, now: Now) {
        self.end_within(LONGEST_SHUTDOWN, now);
    }
    /// Connects for the first time, or ends the wait for the next attempt.
    fn connect(&mut self, now: Now) {
        self.engine_mut().connect(now);
    }
    /// Drops the connection, if there is one, and opens another one at once.
    fn reconnect(&mut self, now: Now) {
        self.engine_mut().reconnect(now);
    }
    /// Handles a limit on new connections that delays [`Command::Connect`] until `until`. The timeout begins then.
    fn handle_connect_deferred(&mut self, until: Instant) {
        self.engine_mut().handle_connect_deferred(until);
    }
    /// Handles any other sign of life of the peer: a ping, a pong, a byte.
    fn handle_alive(&mut self) {
        self.engine_mut().handle_alive();
    }
    /// Handles the result of [`Command::ReadHistory`].
    fn handle_history(&mut self, _result: Result<HistoryPage, HistoryFailure>, _now: Now) {}
    /// Handles the result of [`Command::Upload`].
    fn handle_upload(&mut self, _id: &AttachmentId, _outcome: UploadOutcome, _now: Now) {}
    /// Whether an upload is still wanted.
    fn is_uploading(&self, _id: &AttachmentId) -> bool {
        false
    }
    /// The next command.
    fn poll_command(&mut self) -> Option<Command> {
        self.engine_mut().command.take()
    }
    /// The next event.
    fn poll_event(&mut self) -> Option<Event> {
        self.engine_mut().events.pop_front()
    }
    /// The next deadline, and its reason.
    fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        self.engine().poll_timeout()
    }
    /// Number of events that wait. A driver stops reading its socket when they are many; beyond 1,024 the connection
    /// is dropped.
    fn backlog(&self) -> usize {
        self.engine().events.len()
    }
    /// The state of the conversation.
    fn state(&self) -> State {
        self.engine().state()
    }
    /// The delivery status of a message; `None` if it was never queued. The last 512 decided ones are remembered, and
    /// the last 256 unknown ones.
    fn delivery(&self, id: MessageId) -> Option<DeliveryStatus> {
        self.engine().outbox.status(id)
    }
    /// The timeline, which stays when the conversation is over. It holds no text of a message.
    fn timeline(&self) -> &Timeline {
        &self.engine().timeline
    }
    /// The last loss or ending in a few words, with what to do: see [`Timeline::explain`].
    fn explain(&self) -> String {
        self.timeline().explain()
    }
}
