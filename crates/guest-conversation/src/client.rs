//! Conversations on real sockets, on the driver of `ws-transport`: one task each, on the process' clock.

mod deployments;
mod guest;
mod job;
mod live;
mod session_connection;
mod sign_in;
mod signed_in;

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use genesys_api::{Now, entropy};
use ws_transport::client::Driver;
pub use ws_transport::client::{ConnectLimiter, Settings};

pub use self::deployments::DeploymentCache;
pub use self::guest::{Connect, ConnectError};
pub use self::live::{LiveGuard, LiveSessions, SessionUpdate};
pub use self::session_connection::{Activity, ReadMarker, SessionConnection, SessionStorage, StorageFuture};
pub use self::sign_in::{RevokeError, SignInService, supply_token};
pub use self::signed_in::{GuestAccount, GuestError, SignedInGuests};
use crate::attachments::{AttachError, AttachmentId, File};
use crate::engine::shutdown::LONGEST_SHUTDOWN;
use crate::{
    Conversation, Event, GuestMachine, MessageId, OutgoingMessage, Request, RequestError, SendError, State,
};

/// A conversation that is connected, and kept connected by a task. Dropping it drops the socket at once;
/// [`Connection::close`] ends the conversation first.
///
/// Its methods beside those here are those of its [`Handle`]. Events must be read: when 64 wait, the socket is not
/// read, which slows the service down.
#[derive(Debug)]
pub struct Connection<M: GuestMachine = Conversation> {
    // dropped first
    ended: EndOnDrop<M>,
    driver: Driver<M>,
}

/// Ends a conversation when it is dropped, so that its handles report the end.
#[derive(Debug)]
struct EndOnDrop<M: GuestMachine>(Handle<M>);

impl<M: GuestMachine> Drop for EndOnDrop<M> {
    fn drop(&mut self) {
        self.0.with(GuestMachine::end);
    }
}

impl<M: GuestMachine> Connection<M> {
    /// Starts to connect, on the tokio runtime of the caller.
    /// [`ConnectionEvent::Ready`](crate::ConnectionEvent::Ready) reports success.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn open(mut machine: M, settings: Settings) -> Self {
        machine.engine_mut().connect(settings.http.clock().now());
        let driver = Driver::spawn(machine, settings, |job, http| Box::pin(job::run(job, http)));
        Self {
            ended: EndOnDrop(Handle(driver.handle())),
            driver,
        }
    }

    /// A handle for use elsewhere; clones are cheap.
    #[must_use]
    pub fn handle(&self) -> Handle<M> {
        self.ended.0.clone()
    }

    /// Waits for the next event; `None` after the last one, [`Event::Ended`].
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, no event is lost: the next call returns it.
    pub async fn next_event(&mut self) -> Option<Event> {
        self.driver.next_event().await
    }

    /// Ends the conversation and waits until it is over, at most 7 s; returns the remaining events.
    pub async fn close(self) -> Vec<Event> {
        self.close_within(LONGEST_SHUTDOWN).await
    }

    /// As [`Self::close`], within a shorter time, by the process' clock.
    pub async fn close_within(mut self, within: Duration) -> Vec<Event> {
        let latest = self.with(|machine, now| {
            machine.end_within(within, now);
            now.instant + within.min(LONGEST_SHUTDOWN)
        });
        let mut events = Vec::new();
        while let Some(event) = self.next_event().await {
            events.push(event);
        }
        // it still writes the close frame
        self.driver.stopped(latest).await;
        events
    }
}

impl<M: GuestMachine> Deref for Connection<M> {
    type Target = Handle<M>;

    fn deref(&self) -> &Handle<M> {
        &self.ended.0
    }
}

/// A handle of a conversation whose events are read elsewhere.
pub struct Handle<M: GuestMachine = Conversation>(ws_transport::client::Handle<M>);

impl<M: GuestMachine> Handle<M> {
    /// Runs one turn of the state machine at the present time, then wakes its driver. All that a
    /// [`GuestMachine`] or a [`Conversation`] offers is reached by this:
    /// `guest.with(|guest, _| guest.engine().delivery(id))`.
    pub fn with<R>(&self, turn: impl FnOnce(&mut M, Now) -> R) -> R {
        self.0.with(turn)
    }

    /// Queues a text, to be sent as soon as the session and the limits of the service allow.
    /// [`Event::Delivery`] reports the delivery of the id that this returns.
    ///
    /// # Errors
    /// If it cannot be queued.
    pub fn send(&self, text: impl Into<String>) -> Result<MessageId, SendError> {
        self.send_message(&OutgoingMessage::new(text.into()))
    }

    /// Queues a message: text, files, or an answer to content.
    ///
    /// # Errors
    /// If it cannot be queued.
    pub fn send_message(&self, message: &OutgoingMessage) -> Result<MessageId, SendError> {
        let id = MessageId::from(entropy::uuid());
        self.with(|machine, now| machine.send(id, message, now))
            .map(|()| id)
    }

    /// The state of the conversation.
    #[must_use]
    pub fn state(&self) -> State {
        self.0.read(GuestMachine::state)
    }

    /// Shows that the guest is typing; more than once in 5 s it does nothing.
    pub fn typing(&self) {
        self.with(GuestMachine::send_typing);
    }
}

impl Handle {
    /// Takes a file and uploads it: see [`Conversation::attach`].
    ///
    /// # Errors
    /// If the service would refuse it, or the session is not ready.
    pub fn attach(&self, file: File) -> Result<AttachmentId, AttachError> {
        let id = AttachmentId::from(entropy::uuid());
        self.with(|conversation, _| conversation.attach(id.clone(), file))
            .map(|()| id)
    }

    /// Makes a request: see [`Request`].
    ///
    /// # Errors
    /// If it cannot be made now, or not at all.
    pub fn request(&self, request: Request) -> Result<(), RequestError> {
        self.with(|conversation, now| conversation.request(request, now))
    }
}

impl<M: GuestMachine> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M: GuestMachine> fmt::Debug for Handle<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
