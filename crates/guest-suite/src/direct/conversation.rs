//! A session's conversation with Genesys Cloud, and what it does to the funnel.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use audit::{Action, Actor, Draft};
use genesys_api::SessionId;
use guest_store::{Change, Unit};
use session_metrics::{EndReason, Stage};
use tokio::sync::watch;
use ws_transport::client::{Connection, Settings};
use ws_transport::web_messaging::CustomAttributes;
use ws_transport::{
    AdmittedOrigin, Contract, Direction, Ending, Event, MessageId, SendError, SocketUrl, WebMessaging,
};

use super::update::Work;
use super::{Direct, DirectError};

/// One session's socket to Genesys Cloud. It reconnects by itself; dropping it closes the socket, and leaves the
/// session as it is. When the session ends, the conversation does.
#[derive(Debug)]
pub struct Conversation {
    direct: Direct,
    id: SessionId,
    owner: String,
    reached: Stage,
    connection: Connection,
    leash: Leash,
    /// What came and is not told yet, because the stage that it brings is being stored.
    coming: Option<Event>,
    over: bool,
}

impl Direct {
    /// Opens the session's socket to Genesys Cloud, from `origin`, which the deployment must allow. Returns at once;
    /// [`Event::Configured`] comes when messages pass.
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
        // before the session is read, so that no end is missed
        let leash = self.shared.live.leash(id);
        let record = self.load(owner, id).await?;
        record.ensure_live(self.clock().now())?;
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
            leash,
            coming: None,
            over: false,
        };
        conversation.reach(Stage::Connected).await;
        Ok(conversation)
    }

    /// Notes that the session has come as far as `stage`, and gives how far it has come then: an answer to a guest
    /// who has said nothing takes it nowhere.
    async fn reach(&self, owner: &str, id: &SessionId, stage: Stage) -> Result<Stage, DirectError> {
        self.update(owner, id, |record, now| {
            let mut journey = record.journey(now);
            let counted = match record.row.ended_at {
                None => journey.reach(stage, now.instant),
                Some(_) => None,
            };
            if counted.is_none() {
                return Ok((Work::default(), journey.stage()));
            }
            let mut changed = record.clone();
            changed.document.stage = journey.stage();
            if stage == Stage::FirstGuestMessage {
                changed.document.asked_at = Some(now.utc);
            }
            if stage == Stage::FirstReply {
                let waited = record.document.asked_at.map(|asked| now.utc - asked);
                let waited = waited.and_then(|waited| Duration::try_from(waited).ok());
                changed.document.waited_ms = waited.and_then(|waited| u64::try_from(waited.as_millis()).ok());
            }
            let entries = match stage {
                Stage::Connected => {
                    let entry = Draft::new(now.utc, Actor::system("guest-suite"), Action::WsConnected);
                    vec![entry.subject(record.subject())]
                }
                _ => Vec::new(),
            };
            let unit = Unit {
                change: Some(Change::UpdateSession(changed.into_row())),
                entries,
                events: Vec::new(),
            };
            let work = Work {
                unit,
                counted,
                ended: None,
            };
            Ok((work, journey.stage()))
        })
        .await
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

    /// The next event. `None` once the conversation is over and everything was told. If the future is dropped, no
    /// event is lost.
    pub async fn next_event(&mut self) -> Option<Event> {
        if self.over {
            return None;
        }
        if self.coming.is_none() {
            self.coming = Some(tokio::select! {
                biased;
                event = self.connection.next_event() => event?,
                reason = self.leash.ended() => Event::Ended(Ending::SessionEnded {
                    reason: reason.name().to_owned(),
                }),
            });
        }
        if let Some(stage) = self.coming.as_ref().and_then(stage_of) {
            self.reach(stage).await;
        }
        self.over = matches!(self.coming, Some(Event::Ended(_)));
        self.coming.take()
    }

    /// Leaves the conversation and closes the socket. Waits up to 7 s for messages that are on their way, and returns
    /// what came meanwhile.
    pub async fn close(mut self) -> Vec<Event> {
        self.connection.handle().end();
        let mut events = Vec::new();
        while let Some(event) = self.next_event().await {
            events.push(event);
        }
        // says the rest: the close frame
        self.connection.close().await;
        events
    }

    /// The funnel is no reason to break off a conversation: if the stage cannot be written down now, the next event
    /// tries again.
    async fn reach(&mut self, stage: Stage) {
        if stage <= self.reached {
            return;
        }
        match self.direct.reach(&self.owner, &self.id, stage).await {
            Ok(reached) => self.reached = reached,
            Err(error) => tracing::warn!(session = %self.id, %stage, %error, "the stage could not be stored"),
        }
    }
}

/// How far an event takes a session.
fn stage_of(event: &Event) -> Option<Stage> {
    match event {
        Event::Configured(_) | Event::Restored(_) => Some(Stage::Configured),
        Event::Accepted { .. } => Some(Stage::FirstGuestMessage),
        Event::Message(message) if message.direction == Direction::Outbound => Some(Stage::FirstReply),
        _ => None,
    }
}

/// The conversations of this process, each to be told when its session ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Live {
    ends: Arc<Mutex<HashMap<SessionId, watch::Sender<Option<EndReason>>>>>,
}

impl Live {
    /// Tells the conversations of a session that it has ended.
    pub(super) fn end(&self, id: &SessionId, reason: EndReason) {
        if let Some(end) = self.lock().get(id) {
            end.send_replace(Some(reason));
        }
    }

    fn leash(&self, id: &SessionId) -> Leash {
        let end = self.lock().entry(id.clone()).or_default().subscribe();
        Leash {
            live: self.clone(),
            id: id.clone(),
            end,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, watch::Sender<Option<EndReason>>>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a conversation holds of its session's end.
#[derive(Debug)]
struct Leash {
    live: Live,
    id: SessionId,
    end: watch::Receiver<Option<EndReason>>,
}

impl Leash {
    /// Waits until the session ends.
    async fn ended(&mut self) -> EndReason {
        let ended = self.end.wait_for(Option::is_some).await.map(|reason| *reason);
        match ended {
            Ok(Some(reason)) => reason,
            // the sender is taken away by the last leash alone
            _ => std::future::pending().await,
        }
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        let mut ends = self.live.lock();
        if ends.get(&self.id).is_some_and(|end| end.receiver_count() == 1) {
            ends.remove(&self.id);
        }
    }
}
