//! The conversation of a session with Genesys Cloud, and its stages in the funnel.

use std::ops::Deref;

use audit::Actor;
use genesys_api::SessionId;
use guest_conversation::client::{Connection, Handle, LiveGuard, Settings};
use guest_conversation::{CloseMode, ConnectionEvent, DeliveryStatus, Ending, Event, WebMessaging};
use guest_store::Change;
use secrecy::SecretString;
use session_metrics::{EndReason, SessionStage};
use tokio::task::JoinHandle;
use ws_transport::{AdmittedOrigin, SocketUrl};

use super::read_marker::ReadMarker;
use super::session_row::{SessionRow, custom_attributes};
use super::update::Mutation;
use super::{Admitted, Direct};
use crate::Error;

/// The socket of a session to Genesys Cloud, which reconnects by itself. It ends with the session. Dropping it closes the
/// socket and leaves the session as it is.
///
/// Its other methods are those of its [`Handle`].
#[derive(Debug)]
pub struct Conversation {
    direct: Direct,
    id: SessionId,
    owner: String,
    connection: Connection,
    // dropped before the guard, which holds the marker until it is stored
    read_marker: ReadMarker,
    guard: LiveGuard<EndReason>,
    /// The refresh token of the sign-in that configured the conversation last.
    sign_in: Option<SecretString>,
    /// The next event, whose stage is being stored.
    pending: Option<Event>,
    reached: SessionStage,
    storing: Option<JoinHandle<Result<SessionRow, Error>>>,
    /// The last version of the session that was read or written, until it is configured.
    record: Option<SessionRow>,
    is_over: bool,
}

impl Direct {
    /// Opens the session's socket to Genesys Cloud from `origin`, which the deployment must allow.
    ///
    /// [`ConnectionEvent::Ready`] reports success. The messages since the last delivered one follow, from the history;
    /// without one, all messages since the creation of the session.
    ///
    /// The public files of the deployment are read first, at most every 5 minutes. If they cannot be read within 5 s,
    /// the last known ones apply.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Ended`], [`Error::UnknownChannel`] if the configuration no longer has the
    /// session's channel, [`Error::NotAdmitted`] if Genesys Cloud would refuse the socket, or the store's.
    pub async fn connect(
        &self,
        owner: &str,
        id: &SessionId,
        origin: AdmittedOrigin,
    ) -> Result<Conversation, Error> {
        // before the session is read, so that no end is missed
        let guard = self.shared.live.guard(id);
        let record = self.load(owner, id).await?;
        self.connect_admitted(Admitted { record, guard }, origin).await
    }

    /// As [`Direct::connect`], for an admitted guest. The session is not read again.
    ///
    /// # Errors
    /// As [`Direct::connect`].
    pub async fn connect_admitted(
        &self,
        admitted: Admitted,
        origin: AdmittedOrigin,
    ) -> Result<Conversation, Error> {
        let Admitted { record, mut guard } = admitted;
        record.ensure_live(self.clock().now())?;
        let config = &self.shared.config;
        let deployment = self.deployment(&record)?;
        let url = SocketUrl::of_host(&config.hosts.messaging, web_messaging::PATH)
            .expect("a host and a plain path are a socket URL");
        let published = self.published(deployment).await;
        let rules = published.admit(origin.origin())?;
        let jwt = self.jwt(&record, deployment).await?;
        let read_marker = record.document.read_marker.max(guard.read_marker());
        let session = WebMessaging {
            rules,
            api: Some(config.hosts.api.clone()),
            resume_after: Some(read_marker.unwrap_or(record.row.created_at)),
            attributes: custom_attributes(&record.document.data),
            jwt,
            ..WebMessaging::new(deployment.clone(), record.row.secrets.genesys_token.clone())
        };
        let settings = Settings {
            http: config.http.clone(),
            url,
            origin,
            limiter: config.limiter.clone(),
        };
        let connection = Connection::open(guest_conversation::Conversation::new(session), settings);
        guard.register(connection.handle());
        let (owner, id) = (record.row.owner.clone(), record.row.id.clone());
        let mut conversation = Conversation {
            direct: self.clone(),
            connection,
            read_marker: ReadMarker::new(self.clone(), owner.clone(), id.clone()),
            guard,
            sign_in: self.held_refresh_token(&id),
            owner,
            id,
            pending: None,
            reached: record.document.stage,
            storing: None,
            record: Some(record),
            is_over: false,
        };
        conversation.reach(SessionStage::Connected).await;
        Ok(conversation)
    }

    /// Stores that the session reached `stage`, and returns its row. A reply to a guest who has sent nothing changes
    /// nothing.
    async fn reach(&self, record: SessionRow, stage: SessionStage) -> Result<SessionRow, Error> {
        self.update_record(record, |record, now| {
            let mut changed = record.clone();
            let mut journey = record.journey(now);
            let is_live = record.row.ended_at.is_none();
            let Some(metric) = is_live.then(|| journey.reach(stage, now.instant)).flatten() else {
                return Ok((Mutation::default(), changed));
            };
            changed.document.stage = journey.stage();
            if stage == SessionStage::FirstGuestMessage {
                changed.document.asked_at = Some(now.utc);
            }
            if stage == SessionStage::FirstReply {
                let waited = record.document.asked_at.map(|asked| now.utc - asked);
                changed.document.waited_ms =
                    waited.and_then(|waited| u64::try_from(waited.whole_milliseconds()).ok());
            }
            let row = changed.clone().into_row();
            changed.row.version += 1;
            let mutation = Mutation {
                change: Some(Change::UpdateSession(row)),
                entry: (stage == SessionStage::Connected)
                    .then(|| record.draft(now, Actor::system("guest-suite"), "ws.connected")),
                metric: Some(metric),
                ..Mutation::default()
            };
            Ok((mutation, changed))
        })
        .await
    }
}

impl Deref for Conversation {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.connection
    }
}

impl Conversation {
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
                reason = self.guard.ended() => {
                    if matches!(reason, EndReason::ConsentWithdrawn | EndReason::Guest) {
                        self.clear_on_close();
                    }
                    let reason = reason.name().to_owned();
                    Event::Ended(Ending::SessionEnded { reason })
                }
            };
            self.follow_sign_in(&event);
            self.pending = Some(event);
        }
        if let Some(stage) = self.pending.as_ref().and_then(stage_of) {
            self.reach(stage).await;
        }
        match &self.pending {
            Some(Event::Message(message)) => self.read_marker.advance(message.at),
            Some(Event::Ended(_)) => {
                self.read_marker.close().await;
                self.is_over = true;
            }
            _ => {}
        }
        self.pending.take()
    }

    fn follow_sign_in(&mut self, event: &Event) {
        match event {
            Event::Connection(ConnectionEvent::TokenNeeded { .. }) => {
                self.direct.supply_jwt(&self.id, self.connection.handle());
            }
            Event::Connection(
                ConnectionEvent::Ready(_) | ConnectionEvent::Restored(_) | ConnectionEvent::SignedIn(_),
            ) => self.sign_in = self.direct.held_refresh_token(&self.id),
            Event::Ended(Ending::LoggedOut) => {
                self.direct
                    .forget_sign_in(&self.owner, &self.id, self.sign_in.take());
            }
            _ => {}
        }
    }

    /// As [`Conversation::close`], for a guest who does not return: the agent need not wait.
    pub(crate) async fn close_for_good(self) -> Vec<Event> {
        self.clear_on_close();
        self.close().await
    }

    fn clear_on_close(&self) {
        self.with(|conversation, _| conversation.set_close_mode(CloseMode::Clear));
    }

    /// Ends the conversation, closes the socket and returns the remaining events. Waits up to 7 s for unacknowledged
    /// messages.
    pub async fn close(mut self) -> Vec<Event> {
        self.with(guest_conversation::Machine::end);
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
            Ok(Ok(record)) => {
                self.reached = record.document.stage;
                self.record = Some(record).filter(|_| self.reached < SessionStage::Configured);
            }
            Ok(Err(error)) => {
                tracing::warn!(session = %self.id, %stage, %error, "cannot store the stage of the session");
            }
            Err(error) => {
                tracing::error!(session = %self.id, %stage, %error, "cannot store the stage of the session");
            }
        }
    }
}

/// The stage that an event brings a session to.
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
