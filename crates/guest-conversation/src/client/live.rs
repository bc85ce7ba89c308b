//! The open conversations of a process, by session.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use genesys_api::{EndReason, SessionId};
use secrecy::SecretString;
use tokio::sync::watch;
use web_messaging::CustomAttributes;

use super::{Handle, ReadMarker};
use crate::{GuestMachine as _, Request, RequestError, State};

/// The sessions with open conversations in this process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct LiveSessions {
    sessions: Arc<Mutex<HashMap<SessionId, LiveSession>>>,
}

/// A session with at least one guard.
#[derive(Debug)]
struct LiveSession {
    /// The attributes, if they changed since the first guard.
    attributes: Option<CustomAttributes>,
    ended: watch::Sender<Option<EndReason>>,
    read_marker: Option<ReadMarker>,
    /// The open conversations by number, oldest first.
    handles: BTreeMap<u64, Handle>,
}

/// A change of a session that its conversations apply.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "made by the caller")]
pub enum SessionUpdate {
    /// The attributes that may be sent from now on.
    Attributes(CustomAttributes),
    /// The session has ended.
    Ended(EndReason),
}

impl LiveSessions {
    /// Registers interest in a session, until the guard is dropped.
    #[must_use]
    pub fn guard(&self, id: &SessionId) -> LiveGuard {
        let mut sessions = self.lock();
        let live = sessions.entry(id.clone()).or_insert_with(|| LiveSession {
            attributes: None,
            ended: watch::Sender::new(None),
            read_marker: None,
            handles: BTreeMap::new(),
        });
        LiveGuard {
            live: self.clone(),
            id: id.clone(),
            number: None,
            ended: live.ended.subscribe(),
        }
    }

    /// Passes an update to the conversations of a session. Once this returns, withdrawn attributes are no longer sent.
    /// The first end stands.
    pub fn notify(&self, id: &SessionId, update: SessionUpdate) {
        let mut sessions = self.lock();
        let Some(live) = sessions.get_mut(id) else {
            return;
        };
        match update {
            SessionUpdate::Attributes(attributes) => {
                for handle in live.handles.values() {
                    handle.with(|conversation, _| conversation.update_attributes(attributes.clone()));
                }
                live.attributes = Some(attributes);
            }
            SessionUpdate::Ended(reason) => live
                .ended
                .send_modify(|ended| *ended = ended.take().or(Some(reason))),
        }
    }

    /// Passes a JWT to the conversations of a session.
    pub fn update_token(&self, id: &SessionId, jwt: &SecretString) {
        if let Some(live) = self.lock().get(id) {
            for handle in live.handles.values() {
                handle.with(|conversation, _| conversation.update_token(jwt.clone()));
            }
        }
    }

    /// Signs the guest in on the newest conversation of a session.
    ///
    /// # Errors
    /// If it is not ready, or none is open.
    pub fn sign_in(&self, id: &SessionId, jwt: SecretString) -> Result<(), RequestError> {
        let sessions = self.lock();
        let newest = sessions.get(id).and_then(|live| live.handles.last_key_value());
        let (_, newest) = newest.ok_or(RequestError::NotReady { state: State::Idle })?;
        newest.request(Request::SignIn { jwt })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, LiveSession>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a session registered. The last guard removes it.
#[derive(Debug)]
pub struct LiveGuard {
    live: LiveSessions,
    id: SessionId,
    /// Number of its conversation, if it has registered one.
    number: Option<u64>,
    ended: watch::Receiver<Option<EndReason>>,
}

impl LiveGuard {
    /// Registers an open conversation and applies the updates since the first guard.
    pub fn register(&mut self, handle: Handle) {
        if let Some(live) = self.live.lock().get_mut(&self.id) {
            if let Some(attributes) = &live.attributes {
                handle.with(|conversation, _| conversation.update_attributes(attributes.clone()));
            }
            let number = live.handles.last_key_value().map_or(0, |(last, _)| last + 1);
            live.handles.insert(number, handle);
            self.number = Some(number);
        }
    }

    /// The read marker of the session, if it advanced since the first guard.
    #[must_use]
    pub fn read_marker(&self) -> Option<ReadMarker> {
        self.live.lock().get(&self.id)?.read_marker.clone()
    }

    /// Advances the read marker of the session.
    pub(super) fn advance_read_marker(&self, marker: &ReadMarker) {
        if let Some(live) = self.live.lock().get_mut(&self.id)
            && live
                .read_marker
                .as_ref()
                .is_none_or(|known| known.at <= marker.at)
        {
            live.read_marker = Some(marker.clone());
        }
    }

    /// Another guard of the session, without a conversation.
    pub(super) fn another(&self) -> Self {
        self.live.guard(&self.id)
    }

    /// The session.
    pub(super) const fn id(&self) -> &SessionId {
        &self.id
    }

    /// The reason of the end, if the session has ended since.
    #[must_use]
    pub fn end_reason(&self) -> Option<EndReason> {
        *self.ended.borrow()
    }

    /// Waits for the end of the session.
    pub async fn ended(&mut self) -> EndReason {
        if let Ok(ended) = self.ended.wait_for(Option::is_some).await
            && let Some(reason) = &*ended
        {
            return *reason;
        }
        // only the last guard removes the sender
        std::future::pending().await
    }
}

impl Drop for LiveGuard {
    fn drop(&mut self) {
        let mut sessions = self.live.lock();
        if let Some(live) = sessions.get_mut(&self.id) {
            if let Some(number) = self.number {
                live.handles.remove(&number);
            }
            if live.ended.receiver_count() == 1 {
                sessions.remove(&self.id);
            }
        }
    }
}
