//! The conversation of a stored session: its stages, its read marker, its sign-in and its end.

use std::fmt::Debug;
use std::future::poll_fn;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use genesys_api::{Clock, EndReason, SessionStage};
use secrecy::SecretString;
use time::OffsetDateTime;
use token_window::RefreshError;
use tokio::task::JoinHandle;

use super::{Connection, Handle, LiveGuard, Settings, SignedInGuests};
use crate::{
    CloseMode, ConnectionEvent, Conversation, Ending, Event, GuestMachine, Request, RequestKind, SessionEvent,
};

/// Shortest time between two writes of the read marker. Our choice.
const STORE_INTERVAL: Duration = Duration::from_secs(60);

/// The future of an operation of a [`SessionStorage`].
pub type StorageFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The read marker of a session: how far its messages were delivered. A later conversation resumes from it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "made by the caller, too")]
pub struct ReadMarker {
    /// Latest timestamp of a delivered message, by the service's clock.
    pub at: OffsetDateTime,
    /// Id of the message that was delivered last.
    pub message: String,
}

/// An activity in a conversation that changes no stage.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a storage handles each")]
pub enum Activity {
    /// A message of an agent or a bot arrived.
    MessageReceived,
    /// The session is ready again after a lost connection to Genesys Cloud.
    Reconnected,
}

impl Activity {
    fn of(event: &Event) -> Option<Self> {
        match event {
            Event::Message(_) => Some(Self::MessageReceived),
            Event::Connection(ConnectionEvent::Restored(_)) => Some(Self::Reconnected),
            _ => None,
        }
    }
}

/// One session in the storage of the caller, which logs its failures.
pub trait SessionStorage: Debug + Send + Sync {
    /// Whether the session is live. The guest of another one does not stay signed in.
    ///
    /// # Errors
    /// [`RefreshError::Transient`] if it cannot be read now.
    fn is_live(&self) -> StorageFuture<'_, Result<bool, RefreshError>>;

    /// Deletes the stored refresh token, if it is this one.
    fn delete_refresh_token(&self, refresh_token: SecretString) -> StorageFuture<'_, ()>;

    /// Stores the read marker, unless one with a later timestamp is stored.
    fn store_read_marker(&self, marker: ReadMarker) -> StorageFuture<'_, ()>;

    /// Stores an activity, if it is of use. The next one waits for it.
    fn store_activity(&self, activity: Activity) -> StorageFuture<'_, ()>;

    /// Stores that the session reached this stage, and returns its stage then. `None` if it cannot be stored now.
    fn store_stage(&self, stage: SessionStage) -> StorageFuture<'_, Option<SessionStage>>;
}

/// The socket of a stored session to Genesys Cloud, which reconnects by itself. It ends with the session. Dropping it
/// closes the socket and leaves the session as it is.
///
/// Its other methods are those of its [`Handle`].
#[derive(Debug)]
pub struct SessionConnection {
    connection: Connection,
    read_marker: MarkerWriter,
    guests: SignedInGuests,
    /// The refresh token of the sign-in that configured the conversation last.
    refresh_token: Option<SecretString>,
    /// The next event, whose stage is being stored.
    pending: Option<Event>,
    reached: SessionStage,
    storing: Option<JoinHandle<Option<SessionStage>>>,
    /// The activity that is being stored. The next one waits for it.
    storing_activity: Option<JoinHandle<()>>,
    is_over: bool,
}

impl SessionConnection {
    /// Opens the socket of a session that has `reached` this stage. [`ConnectionEvent::Ready`] reports success.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn open(
        conversation: Conversation,
        settings: Settings,
        mut guard: LiveGuard,
        guests: SignedInGuests,
        storage: Arc<dyn SessionStorage>,
        reached: SessionStage,
    ) -> Self {
        let clock = settings.http.clock().clone();
        let connection = Connection::open(conversation, settings);
        guard.register(connection.handle());
        // a guest who signed in after the JWT of this conversation was read
        if !connection.with(|machine, _| machine.is_signed_in())
            && let Some(jwt) = guests.latest_jwt(guard.id())
        {
            // it fails only for a conversation that is over
            let _ = connection.request(Request::SignIn { jwt });
        }
        Self {
            refresh_token: guests.refresh_token(guard.id()),
            read_marker: MarkerWriter {
                clock,
                guard,
                storage,
                delivered: None,
                stored: true,
                store_at: None,
            },
            connection,
            guests,
            pending: None,
            reached,
            storing: None,
            storing_activity: None,
            is_over: false,
        }
    }

    /// Waits for the next event. `None` after the last one, [`Event::Ended`].
    ///
    /// # Cancel safety
    /// If the future is dropped, no event is lost.
    pub async fn next_event(&mut self) -> Option<Event> {
        if self.is_over {
            return None;
        }
        if self.pending.is_none() {
            let event = tokio::select! {
                biased;
                event = self.connection.next_event() => event?,
                reason = self.read_marker.guard.ended() => {
                    if matches!(reason, EndReason::ConsentWithdrawn | EndReason::Guest) {
                        // the agent need not wait for this guest
                        self.with(|machine, _| machine.set_close_mode(CloseMode::Clear));
                    }
                    let reason = reason.name().to_owned();
                    Event::Ended(Ending::SessionEnded { reason })
                }
            };
            self.handle_token_event(&event);
            self.pending = Some(event);
        }
        if let Some(stage) = self.pending.as_ref().and_then(Event::stage)
            && (stage > self.reached || self.storing.is_some())
        {
            // boxed, since it is large and rare
            Box::pin(self.store_stage(stage)).await;
        }
        if let Some(activity) = self.pending.as_ref().and_then(Activity::of) {
            if let Some(storing) = &mut self.storing_activity {
                // the task is lost only with its runtime
                let _ended = storing.await;
            }
            let storage = Arc::clone(&self.read_marker.storage);
            let mut storing = Box::pin(async move { storage.store_activity(activity).await });
            // most activities are of no use, which needs no task
            let is_pending = poll_fn(|cx| Poll::Ready(storing.as_mut().poll(cx).is_pending())).await;
            self.storing_activity = is_pending.then(|| tokio::spawn(storing));
        }
        match &self.pending {
            Some(Event::Message(message)) => self.read_marker.advance(message.at, &message.id),
            Some(Event::Ended(_)) => {
                self.read_marker.close().await;
                self.is_over = true;
            }
            _ => {}
        }
        self.pending.take()
    }

    fn handle_token_event(&mut self, event: &Event) {
        let (id, guests) = (self.read_marker.guard.id(), &self.guests);
        match event {
            Event::Connection(ConnectionEvent::TokenNeeded { .. }) => {
                guests.supply(id, self.connection.handle());
            }
            Event::Connection(
                ConnectionEvent::Ready(_) | ConnectionEvent::Restored(_) | ConnectionEvent::SignedIn(_),
            ) => self.refresh_token = guests.refresh_token(id),
            Event::Session(SessionEvent::Refused {
                request: Some(RequestKind::SignIn),
                ..
            }) => guests.forget(id, &self.read_marker.storage, guests.refresh_token(id)),
            Event::Ended(Ending::LoggedOut) => {
                guests.forget(id, &self.read_marker.storage, self.refresh_token.take());
            }
            _ => {}
        }
    }

    /// Ends the conversation, closes the socket and returns the remaining events. Waits up to 7 s for unacknowledged
    /// messages.
    pub async fn close(mut self) -> Vec<Event> {
        self.with(GuestMachine::end);
        let mut events = Vec::new();
        while let Some(event) = self.next_event().await {
            events.push(event);
        }
        // sends the close frame
        self.connection.close().await;
        events
    }

    /// Stores a stage. A failure is retried with the next event, and does not end the conversation. If the future is
    /// dropped, the next call waits for the result.
    async fn store_stage(&mut self, stage: SessionStage) {
        if self.storing.is_none() && stage > self.reached {
            let storage = Arc::clone(&self.read_marker.storage);
            self.storing = Some(tokio::spawn(async move { storage.store_stage(stage).await }));
        }
        let Some(storing) = &mut self.storing else {
            return;
        };
        // the task is lost only with its runtime
        let stored = storing.await.unwrap_or_default();
        self.storing = None;
        self.reached = stored.unwrap_or(self.reached);
    }
}

impl Deref for SessionConnection {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.connection
    }
}

/// The read marker of one conversation. Dropping it stores it.
#[derive(Debug)]
struct MarkerWriter {
    clock: Clock,
    guard: LiveGuard,
    storage: Arc<dyn SessionStorage>,
    delivered: Option<ReadMarker>,
    /// Whether what was delivered is stored, or being stored.
    stored: bool,
    store_at: Option<Instant>,
}

impl MarkerWriter {
    /// Advances to a delivered message, and stores the marker at most once a minute.
    fn advance(&mut self, at: OffsetDateTime, message: &str) {
        let earlier = self.delivered.as_ref();
        let marker = ReadMarker {
            at: earlier.map_or(at, |marker| marker.at.max(at)),
            message: message.to_owned(),
        };
        self.guard.advance_read_marker(&marker);
        self.delivered = Some(marker);
        self.stored = false;
        let now = self.clock.now().instant;
        match self.store_at {
            Some(at) if now < at => return,
            Some(_) => drop(self.store()),
            None => {}
        }
        self.store_at = now.checked_add(STORE_INTERVAL);
    }

    /// Waits until the marker is stored, at the end of the conversation.
    async fn close(&mut self) {
        if let Some(storing) = self.store() {
            let _ended = storing.await;
        }
    }

    fn store(&mut self) -> Option<JoinHandle<()>> {
        let delivered = self.delivered.clone().filter(|_| !self.stored)?;
        let runtime = tokio::runtime::Handle::try_current().ok()?;
        self.stored = true;
        let storage = Arc::clone(&self.storage);
        // a conversation that opens before the marker is stored reads it from the live session
        let guard = self.guard.another();
        Some(runtime.spawn(async move {
            storage.store_read_marker(delivered).await;
            drop(guard);
        }))
    }
}

impl Drop for MarkerWriter {
    fn drop(&mut self) {
        drop(self.store());
    }
}
