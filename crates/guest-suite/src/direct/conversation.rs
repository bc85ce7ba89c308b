//! The conversation of a session with Genesys Cloud, and its stages in the funnel.

use std::ops::Deref;
use std::time::{Duration, Instant};

use audit::Actor;
use genesys_api::SessionId;
use guest_conversation::client::{Connection, Handle, LiveGuard, Settings};
use guest_conversation::{CloseMode, ConnectionEvent, Ending, Event, WebMessaging};
use guest_store::{Change, StoreErrorKind};
use secrecy::SecretString;
use session_metrics::{EndReason, SessionStage};
use time::OffsetDateTime;
use tokio::task::JoinHandle;
use ws_transport::{AdmittedOrigin, SocketUrl};

use super::session_row::{SessionRow, custom_attributes, with_lists};
use super::update::Mutation;
use super::{Admitted, Direct};
use crate::Error;

/// Shortest time between two writes during a conversation. Our choice.
const STORE_INTERVAL: Duration = Duration::from_secs(60);

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
    refresh_token: Option<SecretString>,
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
    /// [`ConnectionEvent::Ready`] reports success. The messages since the last delivered one, or else since the creation
    /// of the session, follow from the history. The first connection of a session is recorded before it is opened.
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
        let at = self.clock().now().utc;
        self.connect_admitted(Admitted { record, guard, at }, origin)
            .await
    }

    /// As [`Direct::connect`], for an admitted guest.
    ///
    /// # Errors
    /// As [`Direct::connect`].
    pub async fn connect_admitted(
        &self,
        admitted: Admitted,
        origin: AdmittedOrigin,
    ) -> Result<Conversation, Error> {
        let Admitted {
            record, mut guard, ..
        } = admitted;
        record.ensure_live(self.clock().now())?;
        let record = self.reevaluated(record).await?;
        let config = &self.shared.config;
        let deployment = self.deployment(&record.row.channel)?;
        let url = SocketUrl::of_host(&config.hosts.messaging, web_messaging::PATH)
            .expect("a host and a plain path are a socket URL");
        let published = self.shared.deployments.published(deployment).await;
        let rules = published.admit(origin.origin())?;
        let jwt = self.jwt(&record).await?;
        // the conversation sends attributes, so that it is opened only once their disclosure is recorded
        let record = self.reach(record, SessionStage::Connected).await?;
        record.ensure_live(self.clock().now())?;
        let read_marker = record.document.read_marker.max(guard.read_marker());
        let session = WebMessaging {
            rules,
            api: Some(config.hosts.api.clone()),
            resume_after: Some(read_marker.unwrap_or(record.row.created_at)),
            attributes: custom_attributes(&record.document.data)?,
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
        let reached = record.document.stage;
        Ok(Conversation {
            direct: self.clone(),
            connection,
            read_marker: ReadMarker {
                direct: self.clone(),
                owner: owner.clone(),
                id: id.clone(),
                delivered: None,
                stored: None,
                store_at: None,
            },
            guard,
            refresh_token: self.shared.signed_in.refresh_token(&id),
            owner,
            id,
            pending: None,
            reached,
            storing: None,
            record: Some(record).filter(|_| reached < SessionStage::Configured),
            is_over: false,
        })
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
                changed.document.first_message_at = Some(now.utc);
            }
            if stage == SessionStage::FirstReply {
                let reply_time = record.document.first_message_at.map(|sent| now.utc - sent);
                changed.document.reply_time_ms =
                    reply_time.and_then(|time| u64::try_from(time.whole_milliseconds()).ok());
            }
            let row = changed.clone().into_row();
            changed.row.version += 1;
            let mutation = Mutation {
                change: Some(Change::UpdateSession(row)),
                entries: match record.document.stage < SessionStage::Connected {
                    true => {
                        let entry = record.draft(now, Actor::system("guest-suite"), "ws.connected");
                        // what a conversation sends to Genesys, now or later: attributes are never added
                        vec![with_lists(entry, record.document.data.disclosure_details())]
                    }
                    false => Vec::new(),
                },
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
        if let Some(stage) = self.pending.as_ref().and_then(Event::stage) {
            // boxed, since it is large and rare
            Box::pin(self.reach(stage)).await;
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

    fn handle_token_event(&mut self, event: &Event) {
        match event {
            Event::Connection(ConnectionEvent::TokenNeeded { .. }) => {
                let guests = &self.direct.shared.signed_in;
                guests.supply(&self.id, self.connection.handle());
            }
            Event::Connection(
                ConnectionEvent::Ready(_) | ConnectionEvent::Restored(_) | ConnectionEvent::SignedIn(_),
            ) => self.refresh_token = self.direct.shared.signed_in.refresh_token(&self.id),
            Event::Ended(Ending::LoggedOut) => {
                let refresh_token = self.refresh_token.take();
                let storage = self.direct.sign_in_storage(&self.owner, &self.id);
                self.direct
                    .shared
                    .signed_in
                    .forget(&self.id, &storage, refresh_token);
            }
            _ => {}
        }
    }

    /// Ends the conversation, closes the socket and returns the remaining events. Waits up to 7 s for unacknowledged
    /// messages.
    pub async fn close(mut self) -> Vec<Event> {
        self.with(guest_conversation::GuestMachine::end);
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
        // the task is lost only with its runtime
        let stored = storing
            .await
            .unwrap_or_else(|_| Err(StoreErrorKind::Unavailable.into()));
        self.storing = None;
        match stored {
            Ok(record) => {
                self.reached = record.document.stage;
                self.record = Some(record).filter(|_| self.reached < SessionStage::Configured);
            }
            Err(error) => {
                tracing::warn!(session = %self.id, %stage, %error, "cannot store the stage of the session");
            }
        }
    }
}

/// The read marker of one conversation: the timestamp of its last delivered message. Dropping it stores it. A later
/// conversation of the session resumes from it.
#[derive(Debug)]
struct ReadMarker {
    direct: Direct,
    owner: String,
    id: SessionId,
    delivered: Option<OffsetDateTime>,
    stored: Option<OffsetDateTime>,
    store_at: Option<Instant>,
}

impl ReadMarker {
    /// Advances to the timestamp of a message, and stores it at most once a minute.
    fn advance(&mut self, at: OffsetDateTime) {
        self.delivered = self.delivered.max(Some(at));
        self.direct.shared.live.advance_read_marker(&self.id, at);
        let now = self.direct.clock().now().instant;
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
        let delivered = self.delivered.filter(|_| self.delivered > self.stored)?;
        let runtime = tokio::runtime::Handle::try_current().ok()?;
        self.stored = Some(delivered);
        let (direct, owner, id) = (self.direct.clone(), self.owner.clone(), self.id.clone());
        // a conversation that opens before the marker is stored reads it from the live session
        let guard = direct.shared.live.guard(&id);
        Some(runtime.spawn(async move {
            let stored = direct.update(&owner, &id, |record, _| {
                if record.row.ended_at.is_some() || record.document.read_marker >= Some(delivered) {
                    return Ok((Mutation::default(), ()));
                }
                let mut changed = record.clone();
                changed.document.read_marker = Some(delivered);
                Ok((Change::UpdateSession(changed.into_row()).into(), ()))
            });
            match stored.await {
                // an erased session needs no marker
                Ok(()) | Err(Error::NotFound) => {}
                Err(error) => {
                    tracing::warn!(session = %id, %error, "cannot store the read marker: messages may be delivered twice");
                }
            }
            drop(guard);
        }))
    }
}

impl Drop for ReadMarker {
    fn drop(&mut self) {
        drop(self.store());
    }
}
