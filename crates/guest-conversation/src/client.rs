//! A conversation on a real socket: one task a session, driven by the process' clock.

mod task;
mod uploads;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use genesys_api::{Clock, Now, entropy};
use secrecy::SecretString;
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use self::task::Task;
use crate::attachments::{AttachError, AttachmentId, DeleteError, File, Stage};
use crate::conversation::LONGEST_GOODBYE;
use crate::timeline::Timeline;
use crate::{
    Contract, Conversation, Delivery, Event, Farewell, MessageId, RequestError, Said, SendError, State,
};
use web_messaging::CustomAttributes;
pub use ws_transport::client::ConnectLimiter;
use ws_transport::{AdmittedOrigin, SocketUrl};

/// Events that may wait for the application. When they are that many the socket is no longer read, until some are.
const BACKLOG: usize = 64;

/// What a connection needs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Makes the TCP and TLS connections, and has the clock.
    pub http: genesys_http::Client,
    /// Where the socket is, without a token; what the contract puts in the query it adds itself.
    pub url: SocketUrl,
    /// Whence the guest comes.
    pub origin: AdmittedOrigin,
    /// Whose frames are spoken.
    pub contract: Contract,
    /// Spreads new connections: give every connection of the process a clone of one.
    pub limiter: ConnectLimiter,
}

/// A guest's conversation, connected and kept connected by a task of its own. Dropping it drops the socket at once;
/// [`Connection::close`] says goodbye first.
///
/// Events must be read: when 64 wait, the socket is not read any more, which slows the service down.
#[derive(Debug)]
pub struct Connection {
    handle: Handle,
    task: JoinHandle<()>,
}

impl Connection {
    /// Starts to connect, on the tokio runtime of the caller. That it succeeded is told by
    /// [`Event::Configured`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn open(settings: Settings) -> Self {
        let clock = settings.http.clock().clone();
        let mut conversation = Conversation::new(settings.contract);
        conversation.connect(clock.now());
        let handle = Handle {
            shared: Arc::new(Shared {
                conversation: Mutex::new(conversation),
                clock,
                to_task: Notify::new(),
                to_application: Notify::new(),
                stopped: AtomicBool::new(false),
            }),
        };
        let task = Task::new(
            handle.shared.clone(),
            settings.http,
            settings.url,
            settings.origin,
            settings.limiter,
        );
        Self {
            handle,
            task: tokio::spawn(task.run()),
        }
    }

    /// Speaks for this conversation from elsewhere; clones are cheap.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits for the next event; `None` after the last one, [`Event::Ended`].
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, as in a `tokio::select!` that another branch wins, no event is
    /// lost: the next call gives it.
    pub async fn next_event(&mut self) -> Option<Event> {
        let shared = &*self.handle.shared;
        loop {
            // read before the events: what the task does last is to set it
            let stopped = shared.stopped.load(Ordering::Acquire);
            {
                let mut conversation = shared.lock();
                if let Some(event) = conversation.poll_event() {
                    if conversation.backlog() + 1 == BACKLOG {
                        shared.to_task.notify_one();
                    }
                    return Some(event);
                }
                if stopped || conversation.state().is_over() {
                    return None;
                }
            }
            shared.to_application.notified().await;
        }
    }

    /// As [`Handle::send`].
    ///
    /// # Errors
    /// As there.
    pub fn send(&self, text: &str) -> Result<MessageId, SendError> {
        self.handle.send(text)
    }

    /// As [`Handle::typing`].
    pub fn typing(&self) {
        self.handle.typing();
    }

    /// As [`Handle::set_farewell`].
    pub fn set_farewell(&self, farewell: Farewell) {
        self.handle.set_farewell(farewell);
    }

    /// As [`Handle::update_attributes`].
    pub fn update_attributes(&self, attributes: CustomAttributes) {
        self.handle.update_attributes(attributes);
    }

    /// As [`Handle::update_token`].
    pub fn update_token(&self, token: SecretString) {
        self.handle.update_token(token);
    }

    /// Where the conversation stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.handle.state()
    }

    /// As [`Handle::explain`].
    #[must_use]
    pub fn explain(&self) -> String {
        self.handle.explain()
    }

    /// As [`Handle::timeline`].
    #[must_use]
    pub fn timeline(&self) -> Option<Timeline> {
        self.handle.timeline()
    }

    /// Ends the conversation and waits until it is over, at most 7 s; returns the events that came meanwhile.
    pub async fn close(self) -> Vec<Event> {
        self.close_within(LONGEST_GOODBYE).await
    }

    /// As [`Self::close`], but takes no longer than `within`, by the process' clock: see [`Conversation::end_within`].
    pub async fn close_within(mut self, within: Duration) -> Vec<Event> {
        let clock = self.handle.shared.clock.clone();
        let latest = clock.now().instant + within.min(LONGEST_GOODBYE);
        self.handle.end_within(within);
        let mut events = Vec::new();
        while let Some(event) = self.next_event().await {
            events.push(event);
        }
        tokio::select! {
            // it still puts the close frame on the socket
            _ = &mut self.task => {}
            () = clock.sleep_until(latest) => {}
        }
        events
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.handle.end();
        self.task.abort();
    }
}

/// Speaks for a conversation whose events are read elsewhere.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// Takes a message, to be sent as soon as the session and the limits of the service allow.
    ///
    /// # Errors
    /// If it was not taken: see [`Conversation::send_text`].
    pub fn send(&self, text: &str) -> Result<MessageId, SendError> {
        let id = MessageId::from(entropy::uuid());
        self.send_as(id, text).map(|()| id)
    }

    /// Takes a message that has an id already, one fresh and random.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn send_as(&self, id: MessageId, text: &str) -> Result<(), SendError> {
        self.shared.lock().send_text(id, text)?;
        self.shared.to_task.notify_one();
        Ok(())
    }

    /// Takes whatever the guest says: words with attachments, or a choice among what was offered.
    ///
    /// # Errors
    /// If it was not taken: see [`Conversation::send`].
    pub fn say(&self, said: &Said) -> Result<MessageId, SendError> {
        let id = MessageId::from(entropy::uuid());
        self.say_as(id, said).map(|()| id)
    }

    /// As [`Self::say`], with an id that the message has already, one fresh and random.
    ///
    /// # Errors
    /// As [`Self::say`].
    pub fn say_as(&self, id: MessageId, said: &Said) -> Result<(), SendError> {
        self.shared.lock().send(id, said)?;
        self.shared.to_task.notify_one();
        Ok(())
    }

    /// Takes a file, and uploads it: see [`Conversation::attach`].
    ///
    /// # Errors
    /// If it was not taken.
    pub fn attach(&self, file: File) -> Result<AttachmentId, AttachError> {
        let id = AttachmentId::from(entropy::uuid());
        self.shared.lock().attach(id.clone(), file)?;
        self.shared.to_task.notify_one();
        Ok(id)
    }

    /// Removes an attachment that was not sent: see [`Conversation::delete_attachment`].
    ///
    /// # Errors
    /// If it is not held, or a message has it already.
    pub fn delete_attachment(&self, id: &AttachmentId) -> Result<(), DeleteError> {
        self.shared.lock().delete_attachment(id)?;
        self.shared.to_task.notify_one();
        Ok(())
    }

    /// Asks for a fresh download link: see [`Conversation::refresh_attachment`].
    ///
    /// # Errors
    /// If it cannot be asked for.
    pub fn refresh_attachment(&self, id: AttachmentId) -> Result<(), RequestError> {
        self.ask(|conversation, _| conversation.refresh_attachment(id))
    }

    /// Where an attachment stands: see [`Conversation::attachment`].
    #[must_use]
    pub fn attachment(&self, id: &AttachmentId) -> Option<Stage> {
        self.shared.lock().attachment(id)
    }

    /// Shows that the guest is typing; more than once in 5 s it does nothing.
    pub fn typing(&self) {
        let now = self.shared.clock.now();
        self.shared.lock().send_typing(now);
        self.shared.to_task.notify_one();
    }

    /// There is no other token: see [`Conversation::decline_token`].
    pub fn decline_token(&self) {
        self.shared.lock().decline_token();
        self.shared.to_task.notify_one();
        self.shared.to_application.notify_one();
    }

    /// Where a message stands: see [`Conversation::delivery`].
    #[must_use]
    pub fn delivery(&self, id: MessageId) -> Option<Delivery> {
        self.shared.lock().delivery(id)
    }

    /// Asks whether the service is well: see [`Conversation::check_health`].
    ///
    /// # Errors
    /// If it cannot be asked.
    pub fn check_health(&self) -> Result<(), RequestError> {
        self.ask(|conversation, _| conversation.check_health())
    }

    /// Reads a page of the history, from 1: see [`Conversation::read_history`].
    ///
    /// # Errors
    /// If it cannot be asked for.
    pub fn read_history(&self, page: u32) -> Result<(), RequestError> {
        self.ask(|conversation, now| conversation.read_history(page, now))
    }

    /// Clears the conversation: see [`Conversation::clear`].
    ///
    /// # Errors
    /// If it cannot be asked for.
    pub fn clear(&self) -> Result<(), RequestError> {
        self.ask(Conversation::clear)
    }

    /// Leaves a read-only conversation for a new one: see [`Conversation::start_new`].
    ///
    /// # Errors
    /// If it is not read-only, or not connected.
    pub fn start_new(&self) -> Result<(), RequestError> {
        self.ask(Conversation::start_new)
    }

    /// Signs the guest in on the present session: see [`Conversation::step_up`].
    ///
    /// # Errors
    /// If the session is not ready for it.
    pub fn step_up(&self, jwt: SecretString) -> Result<(), RequestError> {
        self.ask(|conversation, now| conversation.step_up(jwt, now))
    }

    /// Keeps the frame behind each event: see [`Conversation::keep_frames`].
    pub fn keep_frames(&self) {
        self.shared.lock().keep_frames();
    }

    /// The frame behind the event read last: see [`Conversation::raw`].
    #[must_use]
    pub fn raw(&self) -> Option<String> {
        self.shared.lock().raw().map(str::to_owned)
    }

    /// Connects anew, at once: drops the connection, or the wait before the next one. See [`Conversation::reconnect`].
    pub fn reconnect_now(&self) {
        let now = self.shared.clock.now();
        self.shared.lock().reconnect(now);
        self.shared.to_task.notify_one();
    }

    fn ask(
        &self,
        ask: impl FnOnce(&mut Conversation, Now) -> Result<(), RequestError>,
    ) -> Result<(), RequestError> {
        let now = self.shared.clock.now();
        ask(&mut self.shared.lock(), now)?;
        self.shared.to_task.notify_one();
        Ok(())
    }

    /// Uses another token from the next connection on, or at once if [`Event::TokenNeeded`] asked for it; the socket
    /// stays open. Whoever renews the token calls this, before the old one expires.
    pub fn update_token(&self, token: SecretString) {
        self.shared.lock().update_token(token);
        self.shared.to_task.notify_one();
    }

    /// Replaces the custom attributes that go out with the next message, so that what the guest no longer agrees to
    /// travels no more: see [`Conversation::update_attributes`].
    pub fn update_attributes(&self, attributes: CustomAttributes) {
        self.shared.lock().update_attributes(attributes);
    }

    /// Changes what ending means: [`Farewell::Clear`] when the guest leaves for good, [`Farewell::Leave`] when the
    /// process does.
    pub fn set_farewell(&self, farewell: Farewell) {
        self.shared.lock().set_farewell(farewell);
    }

    /// Ends the conversation, in up to 7 s; events follow until [`Event::Ended`].
    pub fn end(&self) {
        self.end_within(LONGEST_GOODBYE);
    }

    /// As [`Self::end`], in up to `within`: see [`Conversation::end_within`].
    pub fn end_within(&self, within: Duration) {
        let now = self.shared.clock.now();
        self.shared.lock().end_within(within, now);
        self.shared.to_task.notify_one();
        self.shared.to_application.notify_one();
    }

    /// Where the conversation stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.shared.lock().state()
    }

    /// Why did it disconnect? In a few words, also when the conversation is over: see [`Conversation::explain`].
    #[must_use]
    pub fn explain(&self) -> String {
        self.shared.lock().explain()
    }

    /// What happened to the conversation so far, without anything that was said: see [`Conversation::timeline`].
    #[must_use]
    pub fn timeline(&self) -> Option<Timeline> {
        self.shared.lock().timeline().cloned()
    }

    /// When the session expires, as far as the service said.
    #[must_use]
    pub fn expires_at(&self) -> Option<OffsetDateTime> {
        self.shared.lock().expires_at()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

/// What the task, the connection and its handles share. The lock is held for one turn, never across a wait.
struct Shared {
    conversation: Mutex<Conversation>,
    clock: Clock,
    to_task: Notify,
    to_application: Notify,
    stopped: AtomicBool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Conversation> {
        self.conversation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
