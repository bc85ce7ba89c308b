//! A session's conversation with Genesys Cloud, and what it does to the funnel.

use std::time::Duration;

use audit::{Action, Actor, Draft};
use genesys_api::SessionId;
use guest_store::{Change, Unit};
use session_metrics::Stage;
use ws_transport::client::{Connection, Settings};
use ws_transport::web_messaging::CustomAttributes;
use ws_transport::{AdmittedOrigin, Contract, Event, MessageId, SendError, SocketUrl, WebMessaging};

use super::{Direct, DirectError};

/// One session's socket to Genesys Cloud. It reconnects by itself; dropping it closes the socket, and leaves the
/// session as it is.
#[derive(Debug)]
pub struct Conversation {
    direct: Direct,
    id: SessionId,
    owner: String,
    reached: Stage,
    connection: Connection,
}

impl Direct {
    /// Opens the session's socket to Genesys Cloud, from `origin`, which the deployment must allow. Returns at once; [`Event::Configured`] comes when messages pass.
    ///
    /// # Errors
    /// [`DirectError::NotFound`], [`DirectError::Ended`], [`DirectError::UnknownChannel`] if the configuration no
    /// longer has the session's channel, or the store's.
    pub async fn connect(
        &self,
        owner: &str,
        id: &SessionId,
        origin: AdmittedOrigin,
    ) -> Result<Conversation, DirectError> {
        let record = self.load(owner, id).await?;
        record.ensure_live()?;
        let config = &self.shared.config;
        let channel = &record.row.channel;
        let deployment = config
            .deployments
            .get(channel)
            .ok_or_else(|| DirectError::UnknownChannel {
                channel: channel.clone(),
            })?;
        let url = SocketUrl::of_host(&config.hosts.messaging, "/v1")
            .expect("a host and a plain path are a socket URL");
        let attributes = guest_payload::web_messaging::custom_attributes(&record.lawful_attributes());
        let contract = WebMessaging::new(deployment.clone(), record.upstream().clone())
            .with_attributes(CustomAttributes::new(attributes).unwrap_or_default());
        let settings = Settings {
            http: config.http.clone(),
            url,
            origin,
            contract: Contract::WebMessaging(contract),
        };
        let mut conversation = Conversation {
            direct: self.clone(),
            id: id.clone(),
            owner: owner.to_owned(),
            reached: record.document.stage,
            connection: Connection::open(settings),
        };
        conversation.reach(Stage::Connected).await;
        Ok(conversation)
    }

    /// Notes that the session has come as far as `stage`.
    async fn reach(&self, owner: &str, id: &SessionId, stage: Stage) -> Result<(), DirectError> {
        let reached = self
            .update(owner, id, |record, now| {
                let mut journey = record.journey(now);
                if record.row.ended_at.is_some() || stage <= journey.stage() {
                    return Ok((Unit::default(), None));
                }
                let event = journey.reach(stage, now.instant);
                let mut changed = record.clone();
                changed.document.stage = journey.stage();
                if stage == Stage::FirstGuestMessage {
                    changed.document.asked_at = Some(now.utc);
                }
                if stage == Stage::FirstReply {
                    let waited = record.document.asked_at.map(|asked| now.utc - asked);
                    let waited = waited.and_then(|waited| Duration::try_from(waited).ok());
                    changed.document.waited_ms =
                        waited.and_then(|waited| u64::try_from(waited.as_millis()).ok());
                }
                let entries = match stage {
                    Stage::Connected => {
                        let entry = Draft::new(now.utc, Actor::system("guest-suite"), Action::WsConnected);
                        vec![entry.subject(record.subject())]
                    }
                    _ => Vec::new(),
                };
                let change = event.is_some().then(|| Change::UpdateSession(changed.into_row()));
                Ok((
                    Unit {
                        change,
                        entries,
                        events: Vec::new(),
                    },
                    event,
                ))
            })
            .await?;
        if let Some(event) = reached {
            self.shared.metrics.record(event);
        }
        Ok(())
    }
}

impl Conversation {
    /// Queues a message of the guest. [`Event::Accepted`] with its id says that Genesys has it.
    ///
    /// # Errors
    /// If it cannot be queued: it is too long, too much waits already, or the conversation is over.
    pub fn send(&self, id: MessageId, text: &str) -> Result<(), SendError> {
        self.connection.handle().send_as(id, text)
    }

    /// Shows that the guest is typing. At most one in 5 s travels on.
    pub fn typing(&self) {
        self.connection.typing();
    }

    /// The next event. `None` once the conversation is over and everything was told.
    pub async fn next_event(&mut self) -> Option<Event> {
        let event = self.connection.next_event().await?;
        match &event {
            Event::Configured(_) | Event::Restored(_) => self.reach(Stage::Configured).await,
            Event::Accepted { .. } => self.reach(Stage::FirstGuestMessage).await,
            Event::Message(_) => self.reach(Stage::FirstReply).await,
            _ => {}
        }
        Some(event)
    }

    /// Leaves the conversation and closes the socket.
    pub async fn close(self) {
        self.connection.close().await;
    }

    /// The funnel is no reason to break off a conversation: if the stage cannot be written down now, the next event
    /// tries again.
    async fn reach(&mut self, stage: Stage) {
        if stage <= self.reached {
            return;
        }
        match self.direct.reach(&self.owner, &self.id, stage).await {
            Ok(()) => self.reached = stage,
            Err(error) => tracing::warn!(session = %self.id, %stage, %error, "the stage could not be stored"),
        }
    }
}
