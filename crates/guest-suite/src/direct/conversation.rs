//! A session's conversation with Genesys Cloud, and what it does to the funnel.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use audit::{Actor, Draft};
use genesys_api::SessionId;
use guest_conversation::client::{Connection, Handle, Settings};
use guest_conversation::{
    CloseMode, ConnectionEvent, DeliveryStatus, Ending, Event, Machine as _, MessageId, Request,
    RequestError, SendError, State, WebMessaging,
};
use guest_payload::GuestData;
use guest_store::{Change, Unit};
use secrecy::SecretString;
use session_metrics::{EndReason, SessionStage};
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use web_messaging::CustomAttributes;
use ws_transport::{AdmittedOrigin, SocketUrl};

use super::read_marker::ReadMarker;
use super::session_row::SessionRow;
use super::update::Mutation;
use super::{Admitted, Direct, DirectError};

/// One session's socket to Genesys Cloud. It reconnects by itself; dropping it closes the socket, and leaves the
/// session as it is. When the session ends, the conversation does.
#[derive(Debug)]
pub struct Conversation {
    direct: Direct,
    id: SessionId,
    owner: String,
    reached: SessionStage,
    connection: Connection,
    // dropped before the guard, which keeps the unstored marker
    read_marker: ReadMarker,
    guard: LiveGuard,
    /// The refresh token of the guest's sign-in that the conversation was configured with last.
    sign_in: Option<SecretString>,
    /// What came and is not told yet, because the stage that it brings is being stored.
    coming: Option<Event>,
    storing: Option<JoinHandle<Result<Reached, DirectError>>>,
    /// The last version of the session that was read or written, until it is configured.
    record: Option<SessionRow>,
    over: bool,
}

/// A session whose stage is stored.
#[derive(Debug)]
struct Reached {
    stage: SessionStage,
    record: SessionRow,
}

impl Direct {
    /// Opens the session's socket to Genesys Cloud, from `origin`, which the deployment must allow.
    /// [`ConnectionEvent::Ready`] comes when messages pass. What was said since the last message that a conversation of
    /// this session told comes next, from the history; of a session that was told nothing, all since its creation.
    ///
    /// What the deployment publishes (`config.json` and `domains.json`) is read first, at most every 5 minutes, and
    /// obeyed. If it does not come within 5 s, what was known of it counts, or else the defaults.
    ///
    /// # Errors
    /// [`DirectError::NotFound`], [`DirectError::Ended`], [`DirectError::UnknownChannel`] if the configuration no
    /// longer has the session's channel, [`DirectError::NotAdmitted`] if Genesys Cloud would refuse the socket, or the
    /// store's.
    pub async fn connect(
        &self,
        owner: &str,
        id: &SessionId,
        origin: AdmittedOrigin,
    ) -> Result<Conversation, DirectError> {
        let admitted = self.admit_owner(owner, id).await?;
        self.connect_admitted(admitted, origin).await
    }

    /// As [`Direct::connect`], for a guest who was admitted. The session is not read again.
    ///
    /// # Errors
    /// As [`Direct::connect`].
    pub async fn connect_admitted(
        &self,
        admitted: Admitted,
        origin: AdmittedOrigin,
    ) -> Result<Conversation, DirectError> {
        let Admitted { record, mut guard } = admitted;
        record.ensure_live(self.clock().now())?;
        let config = &self.shared.config;
        let deployment = self.deployment(&record)?;
        let url = SocketUrl::of_host(&config.hosts.messaging, "/v1")
            .expect("a host and a plain path are a socket URL");
        let published = self.published(deployment).await;
        let rules = published.admit(origin.origin())?;
        let jwt = self.jwt(&record, deployment).await?;
        let read_marker = record.document.read_marker.max(guard.read_marker());
        let mut session = WebMessaging::new(deployment.clone(), record.upstream().clone())
            .with_rules(rules)
            .with_history_at(config.hosts.api.clone())
            // what an earlier conversation told is not told again
            .resume_after(read_marker.unwrap_or(record.row.created_at))
            .with_attributes(custom_attributes(&record.document.data));
        if let Some(jwt) = jwt {
            session = session.with_jwt(jwt);
        }
        let settings = Settings {
            http: config.http.clone(),
            url,
            origin,
            limiter: config.limiter.clone(),
        };
        let connection = Connection::open(guest_conversation::Conversation::new(session), settings);
        guard.register(connection.handle());
        let (owner, id) = (record.owner().to_owned(), record.row.id.clone());
        let mut conversation = Conversation {
            direct: self.clone(),
            reached: record.document.stage,
            connection,
            read_marker: ReadMarker::new(self.clone(), owner.clone(), id.clone()),
            guard,
            sign_in: self.held_refresh_token(&id),
            owner,
            id,
            coming: None,
            storing: None,
            record: Some(record),
            over: false,
        };
        conversation.reach(SessionStage::Connected).await;
        Ok(conversation)
    }

    /// Notes that the session has come as far as `stage`, and gives how far it has come then: an answer to a guest
    /// who has said nothing takes it nowhere.
    async fn reach(&self, record: SessionRow, stage: SessionStage) -> Result<Reached, DirectError> {
        self.update_record(record, |record, now| {
            let mut journey = record.journey(now);
            let metric = match record.row.ended_at {
                None => journey.reach(stage, now.instant),
                Some(_) => None,
            };
            let mut changed = record.clone();
            if metric.is_none() {
                let (stage, record) = (journey.stage(), changed);
                return Ok((Mutation::default(), Reached { stage, record }));
            }
            changed.document.stage = journey.stage();
            if stage == SessionStage::FirstGuestMessage {
                changed.document.asked_at = Some(now.utc);
            }
            if stage == SessionStage::FirstReply {
                let waited = record.document.asked_at.map(|asked| now.utc - asked);
                let waited = waited.and_then(|waited| Duration::try_from(waited).ok());
                changed.document.waited_ms = waited.and_then(|waited| u64::try_from(waited.as_millis()).ok());
            }
            let entries = match stage {
                SessionStage::Connected => {
                    let entry = Draft::new(now.utc, Actor::system("guest-suite"), "ws.connected");
                    vec![entry.subject(record.subject())]
                }
                _ => Vec::new(),
            };
            let row = changed.clone().into_row();
            changed.row.version += 1;
            let unit = Unit {
                change: Some(Change::UpdateSession(row)),
                entries,
                events: Vec::new(),
            };
            let mutation = Mutation {
                unit,
                metric,
                update: None,
            };
            let (stage, record) = (journey.stage(), changed);
            Ok((mutation, Reached { stage, record }))
        })
        .await
    }
}

impl Conversation {
    /// Queues a message of the guest. [`Event::Delivery`] with its id says that Genesys has it.
    ///
    /// # Errors
    /// If it cannot be queued: it is too long, too much waits already, or the conversation is over.
    pub fn send(&self, id: MessageId, text: impl Into<String>) -> Result<(), SendError> {
        self.connection
            .with(|machine, _| machine.send_text(id, text.into()))
    }

    /// The delivery status of a message; `None` if it is not known.
    #[must_use]
    pub fn delivery(&self, id: MessageId) -> Option<DeliveryStatus> {
        self.connection.with(|machine, _| machine.delivery(id))
    }

    /// Shows that the guest is typing. At most one in 5 s travels on.
    pub fn typing(&self) {
        self.connection.typing();
    }

    /// Asks for the rest of what a conversation offers: its history, health checks, a fresh conversation after a
    /// read-only one, clearing. Attributes that the guest took back stay so, whoever sends.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.connection.handle()
    }

    /// The next event. `None` once the conversation is over and everything was told. If the future is dropped, no
    /// event is lost.
    pub async fn next_event(&mut self) -> Option<Event> {
        if self.over {
            return None;
        }
        while self.coming.is_none() {
            tokio::select! {
                biased;
                event = self.connection.next_event() => {
                    let event = event?;
                    match &event {
                        Event::Connection(ConnectionEvent::TokenNeeded { .. }) => self.direct.mend(&self.id, self.connection.handle()),
                        Event::Connection(ConnectionEvent::Ready(_)) | Event::Connection(ConnectionEvent::Restored(_)) | Event::Connection(ConnectionEvent::SignedIn(_)) => {
                            self.sign_in = self.direct.held_refresh_token(&self.id);
                        }
                        Event::Ended(Ending::LoggedOut) => {
                            self.direct.forget_sign_in(&self.owner, &self.id, self.sign_in.take());
                        }
                        _ => {}
                    }
                    self.coming = Some(event);
                }
                reason = self.guard.ended() => {
                    if matches!(reason, EndReason::ConsentWithdrawn | EndReason::Guest) {
                        // the guest does not come back: the agent need not wait
                        self.clear_on_close();
                    }
                    let reason = reason.name().to_owned();
                    self.coming = Some(Event::Ended(Ending::SessionEnded { reason }));
                }
            }
        }
        if let Some(stage) = self.coming.as_ref().and_then(stage_of) {
            self.reach(stage).await;
        }
        match &self.coming {
            Some(Event::Message(message)) => self.read_marker.advance(message.at),
            Some(Event::Ended(_)) => {
                self.read_marker.close().await;
                self.over = true;
            }
            _ => {}
        }
        self.coming.take()
    }

    /// As [`Conversation::close`], for a guest who does not come back: the agent need not wait.
    pub(crate) async fn close_for_good(self) -> Vec<Event> {
        self.clear_on_close();
        self.close().await
    }

    /// Has the conversation cleared when it is closed.
    fn clear_on_close(&self) {
        self.connection
            .with(|conversation, _| conversation.set_close_mode(CloseMode::Clear));
    }

    /// Leaves the conversation and closes the socket. Waits up to 7 s for messages that are on their way, and returns
    /// what came meanwhile.
    pub async fn close(mut self) -> Vec<Event> {
        self.connection.with(guest_conversation::Machine::end);
        let mut events = Vec::new();
        while let Some(event) = self.next_event().await {
            events.push(event);
        }
        // says the rest: the close frame
        self.connection.close().await;
        events
    }

    /// The funnel is no reason to break off a conversation: if the stage cannot be written down now, the next event
    /// tries again. If the future is dropped, the storing goes on, and the next call waits for it.
    async fn reach(&mut self, stage: SessionStage) {
        if self.storing.is_none() && stage > self.reached {
            let (direct, owner, id) = (self.direct.clone(), self.owner.clone(), self.id.clone());
            let record = self.record.take();
            self.storing = Some(tokio::spawn(async move {
                let record = match record {
                    Some(record) => record,
                    None => direct.load(&owner, &id).await?,
                };
                direct.reach(record, stage).await
            }));
        }
        let Some(storing) = &mut self.storing else {
            return;
        };
        let stored = storing.await;
        self.storing = None;
        match stored {
            Ok(Ok(Reached { stage, record })) => {
                self.reached = stage;
                self.record = Some(record).filter(|_| stage < SessionStage::Configured);
            }
            Ok(Err(error)) => {
                tracing::warn!(session = %self.id, %stage, %error, "the stage could not be stored");
            }
            Err(gone) => tracing::error!(session = %self.id, %stage, %gone, "the stage could not be stored"),
        }
    }
}

/// How far an event takes a session.
fn stage_of(event: &Event) -> Option<SessionStage> {
    match event {
        Event::Connection(ConnectionEvent::Ready(_) | ConnectionEvent::Restored(_)) => {
            Some(SessionStage::Configured)
        }
        Event::Delivery {
            status: DeliveryStatus::Delivered { .. },
            ..
        } => Some(SessionStage::FirstGuestMessage),
        Event::Message(_) => Some(SessionStage::FirstReply),
        _ => None,
    }
}

/// What may be told of a guest to Genesys, in the form it takes there.
pub(super) fn custom_attributes(data: &GuestData) -> CustomAttributes {
    let owned = data
        .attributes()
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
    // within Genesys' limit, since the attributes of a guest are within the same
    CustomAttributes::new(owned.collect()).unwrap_or_default()
}

/// A change that the conversations of a session apply.
#[derive(Clone, Debug)]
pub(super) enum SessionUpdate {
    /// The attributes that may be sent from now on.
    Attributes(CustomAttributes),
    /// The session has ended.
    Ended(EndReason),
}

/// The sessions with conversations in this process.
#[derive(Clone, Debug, Default)]
pub(super) struct LiveSessions {
    sessions: Arc<Mutex<HashMap<SessionId, LiveSession>>>,
}

/// A session with conversations in this process.
#[derive(Debug, Default)]
struct LiveSession {
    /// The attributes that may be sent, once they changed.
    attributes: Option<CustomAttributes>,
    ended: watch::Sender<Option<EndReason>>,
    /// Service timestamp of the last message delivered here.
    read_marker: Option<OffsetDateTime>,
    handles: Vec<(u64, Handle)>,
    registered: u64,
}

impl LiveSessions {
    /// Notifies the conversations of a session. Once this returns, withdrawn attributes are no longer sent.
    pub(super) fn notify(&self, id: &SessionId, update: SessionUpdate) {
        let mut sessions = self.lock();
        let Some(live) = sessions.get_mut(id) else {
            return;
        };
        match update {
            SessionUpdate::Attributes(attributes) => {
                for (_, handle) in &live.handles {
                    handle.with(|conversation, _| conversation.update_attributes(attributes.clone()));
                }
                live.attributes = Some(attributes);
            }
            SessionUpdate::Ended(reason) => live.ended.send_modify(|ended| *ended = ended.or(Some(reason))),
        }
    }

    /// Hands a signed-in guest's JWT to the conversations of a session.
    pub(super) fn update_token(&self, id: &SessionId, jwt: &SecretString) {
        if let Some(live) = self.lock().get(id) {
            for (_, handle) in &live.handles {
                handle.with(|conversation, _| conversation.update_token(jwt.clone()));
            }
        }
    }

    /// Signs the guest in on the newest conversation of a session; Genesys Cloud closes the others then.
    pub(super) fn step_up(&self, id: &SessionId, jwt: &SecretString) -> Result<(), RequestError> {
        let newest = self
            .lock()
            .get(id)
            .and_then(|live| Some(live.handles.last()?.1.clone()));
        let newest = newest.ok_or(RequestError::NotReady { state: State::Idle })?;
        newest.request(Request::SignIn { jwt: jwt.clone() })
    }

    /// Notes the timestamp of a delivered message.
    pub(super) fn advance_read_marker(&self, id: &SessionId, at: OffsetDateTime) {
        if let Some(live) = self.lock().get_mut(id) {
            live.read_marker = live.read_marker.max(Some(at));
        }
    }

    pub(super) fn guard(&self, id: &SessionId) -> LiveGuard {
        let ended = self.lock().entry(id.clone()).or_default().ended.subscribe();
        LiveGuard {
            live: self.clone(),
            id: id.clone(),
            number: None,
            ended,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, LiveSession>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The registration of a conversation at its live session.
#[derive(Debug)]
pub(super) struct LiveGuard {
    live: LiveSessions,
    id: SessionId,
    /// Number of the conversation's handle, once it is registered.
    number: Option<u64>,
    ended: watch::Receiver<Option<EndReason>>,
}

impl LiveGuard {
    /// Registers the open conversation and applies what changed meanwhile.
    fn register(&mut self, handle: Handle) {
        let mut sessions = self.live.lock();
        let Some(live) = sessions.get_mut(&self.id) else {
            return;
        };
        if let Some(attributes) = &live.attributes {
            handle.with(|conversation, _| conversation.update_attributes(attributes.clone()));
        }
        live.registered += 1;
        live.handles.push((live.registered, handle));
        self.number = Some(live.registered);
    }

    /// The read marker, unless it is stored.
    fn read_marker(&self) -> Option<OffsetDateTime> {
        self.live.lock().get(&self.id)?.read_marker
    }

    pub(super) fn end_reason(&self) -> Option<EndReason> {
        *self.ended.borrow()
    }

    /// Waits for the end of the session.
    async fn ended(&mut self) -> EndReason {
        if let Ok(ended) = self.ended.wait_for(Option::is_some).await
            && let Some(reason) = *ended
        {
            return reason;
        }
        // the last guard alone removes the sender
        std::future::pending().await
    }
}

impl Drop for LiveGuard {
    fn drop(&mut self) {
        let mut sessions = self.live.lock();
        let Some(live) = sessions.get_mut(&self.id) else {
            return;
        };
        live.handles.retain(|(number, _)| Some(*number) != self.number);
        if live.ended.receiver_count() == 1 {
            sessions.remove(&self.id);
        }
    }
}
