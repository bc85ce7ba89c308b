//! The verbs of a guest's conversation, under either contract.

use std::time::Duration;

use genesys_api::Now;
use secrecy::SecretString;
use ws_transport::Machine;

use crate::attachments::AttachmentId;
use crate::engine::shutdown::LONGEST_SHUTDOWN;
use crate::engine::{Due, Engine};
use crate::state::{Job, JobOutcome};
use crate::{Event, MessageId, OutgoingMessage, Reason, SendError, State};

/// A guest's conversation as a [`Machine`]: [`Conversation`](crate::Conversation) with Genesys Cloud, and the socket
/// client of the gateway.
pub trait GuestMachine:
    Machine<Event = Event, Job = Job, JobId = Option<AttachmentId>, Outcome = JobOutcome, Reason = Reason>
{
    /// The parts that do not depend on the contract.
    fn engine(&self) -> &Engine;
    /// The same parts, mutable.
    fn engine_mut(&mut self) -> &mut Engine;
    /// Performs an action that the engine returned.
    fn perform(&mut self, due: Due, now: Now);
    /// Shows that the guest is typing. Does nothing outside of a ready session, or within 5 s of the last time unless a
    /// message was delivered since.
    fn send_typing(&mut self, now: Now);
    /// Queues a message: see [`Engine::send`].
    ///
    /// # Errors
    /// If it cannot be queued.
    fn send(&mut self, id: MessageId, message: &OutgoingMessage, now: Now) -> Result<(), SendError>;
    /// Uses another token from the next connection on. If the service waits for it, it is used at once.
    fn update_token(&mut self, token: SecretString);

    /// Declares that there is no other token. A conversation that waits for one ends.
    fn decline_token(&mut self, now: Now) {
        if let Some(ending) = self.engine_mut().handle_no_token() {
            self.perform(Due::Finish(ending), now);
        }
    }
    /// Ends the conversation within this time: waits for unacknowledged messages, then closes. It can be called again to
    /// shorten it.
    fn end_within(&mut self, within: Duration, now: Now) {
        if let Some(due) = self.engine_mut().shut_down(within, now) {
            self.perform(due, now);
        }
    }
    /// Ends the conversation: waits up to 5 s for unacknowledged messages, then takes up to 2 s to close.
    fn end(&mut self, now: Now) {
        self.end_within(LONGEST_SHUTDOWN, now);
    }
    /// The state of the conversation.
    fn state(&self) -> State {
        self.engine().state()
    }
}
