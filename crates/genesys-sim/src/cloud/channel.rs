//! Delivery of messages, and notification channels: events that Genesys pushes to servers over a WebSocket.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use genesys_api::{Host, Now, rfc3339};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::cloud::{Cloud, Message, Output, Problem, Request, SessionKey, SocketId, Timer, ViolationKind};

/// Limit of channels; the oldest is closed first.
const MAX_CHANNELS: usize = 20;

pub(crate) const MAX_TOPICS: usize = 1_000;

/// Longest name of a topic, in bytes. Our choice.
const MAX_TOPIC: usize = 200;
const LIFETIME: Duration = Duration::from_secs(86_400);
const HEARTBEAT: Duration = Duration::from_secs(30);
const WARNING_LEAD: Duration = Duration::from_secs(60);
const WARNING_AFTER: Duration = Duration::from_secs(86_400 - 60);

#[derive(Default)]
pub(crate) struct Channels(BTreeMap<u64, Channel>);

struct Channel {
    id: String,
    expires: OffsetDateTime,
    topics: BTreeSet<String>,
    listener: Option<SocketId>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Topic {
    Conversations,
    Undelivered,
}

impl Topic {
    /// Users and queues of any id stand for those of the one deployment. Our choice.
    fn parse(topic: &str, deployment: &str) -> Option<Self> {
        let parts: Vec<_> = topic.split('.').collect();
        let (id, kind) = match *parts {
            ["v2", "users", id, "conversations"]
            | ["v2", "users", id, "conversations", "messages"]
            | ["v2", "routing", "queues", id, "conversations", "messages"] => (id, Self::Conversations),
            ["v2", "webmessaging", "deployments", id, "undelivered", "messages"] if id == deployment => {
                (id, Self::Undelivered)
            }
            _ => return None,
        };
        uuid::Uuid::try_parse(id).is_ok().then_some(kind)
    }
}

impl Channels {
    pub(super) fn has_listeners(&self) -> bool {
        self.0.values().any(|channel| channel.listener.is_some())
    }

    pub(super) fn has(&self, socket: SocketId) -> bool {
        self.0.values().any(|channel| channel.listener == Some(socket))
    }

    pub(super) fn drain_listeners(&mut self) -> Vec<SocketId> {
        let channels = self.0.values_mut();
        channels.filter_map(|channel| channel.listener.take()).collect()
    }

    fn get(&mut self, id: &str) -> Result<(u64, &mut Channel), Problem> {
        let mut channels = self.0.iter_mut();
        let found = channels.find(|(_, channel)| channel.id == id);
        let (number, channel) = found.ok_or(Problem::NOT_FOUND)?;
        Ok((*number, channel))
    }
}

impl Channel {
    fn body(&self, base: &Host) -> Value {
        json!({
            "id": self.id,
            "connectUri": base.websocket_url(&format!("/channels/{}", self.id)),
            "expires": rfc3339(self.expires),
        })
    }
}

impl Cloud {
    pub(crate) fn create_channel(&mut self, now: Now) -> Value {
        while self.channels.0.len() >= MAX_CHANNELS
            && let Some(oldest) = self.channels.0.keys().next()
        {
            self.close_channel(*oldest);
        }
        let number = self.next_number();
        self.timers
            .set(Timer::ChannelWarning(number), now.instant + WARNING_AFTER);
        let channel = Channel {
            id: format!("streaming-{number}-{}", self.rng.hex()),
            expires: now.utc + LIFETIME,
            topics: BTreeSet::new(),
            listener: None,
        };
        let body = channel.body(&self.base);
        self.channels.0.insert(number, channel);
        body
    }

    /// Lists all channels of the one API client, oldest first, whichever token created them (our choice).
    pub(crate) fn list_channels(&self) -> Value {
        let entities: Vec<_> = self.channels.0.values().map(|it| it.body(&self.base)).collect();
        json!({"entities": entities})
    }

    /// Adds topics to a channel, or replaces them, which extends its life. Returns whether each is permitted.
    pub(crate) fn subscribe(
        &mut self,
        id: &str,
        topics: &[String],
        replace: bool,
        now: Now,
    ) -> Result<Value, Problem> {
        let (number, channel) = self.channels.get(id)?;
        let mut kept = if replace {
            BTreeSet::new()
        } else {
            channel.topics.clone()
        };
        let mut entities = Vec::new();
        for topic in topics {
            if topic.len() > MAX_TOPIC || Topic::parse(topic, self.deployment.as_str()).is_none() {
                entities.push(json!({"id": topic, "state": "Rejected",
                    "rejectionReason": "The simulator does not publish this topic."}));
                continue;
            }
            kept.insert(topic.clone());
            entities.push(permitted(topic));
        }
        if kept.len() > MAX_TOPICS {
            return Err(Problem::bad_request(
                "cannot add the topics: a channel has at most 1000",
            ));
        }
        channel.topics = kept;
        channel.expires = now.utc + LIFETIME;
        self.timers.cancel(Timer::ChannelEnd(number));
        self.timers
            .set(Timer::ChannelWarning(number), now.instant + WARNING_AFTER);
        Ok(json!({"entities": entities}))
    }

    pub(crate) fn subscriptions(&mut self, id: &str) -> Result<Value, Problem> {
        let (_, channel) = self.channels.get(id)?;
        let entities: Vec<_> = channel.topics.iter().map(|topic| permitted(topic)).collect();
        Ok(json!({"entities": entities}))
    }

    /// Admits a handshake on `/channels/{id}`. A second socket of a channel closes the first (inference).
    pub(crate) fn open_channel(&mut self, id: &str, now: Now) -> Result<SocketId, Problem> {
        if self.closing {
            return Err(Problem::UNAVAILABLE);
        }
        let socket = SocketId(self.next_number());
        let (_, channel) = self.channels.get(id)?;
        self.timers.set(Timer::Heartbeat(socket), now.instant + HEARTBEAT);
        if let Some(before) = channel.listener.replace(socket) {
            self.timers.cancel(Timer::Heartbeat(before));
            self.emit(Output::close(before, 1000, "the channel is closed"));
        }
        Ok(socket)
    }

    /// Handles a frame from a channel's socket, and returns whether `socket` is one.
    pub(super) fn handle_listener_frame(&mut self, socket: SocketId, text: &str, now: Now) -> bool {
        if !self.channels.has(socket) {
            return false;
        }
        let frame: Value = serde_json::from_str(text).unwrap_or_default();
        if frame == json!({"message": "ping"}) {
            self.send(socket, metadata("pong"));
        } else {
            self.violations
                .add(ViolationKind::BrokenFrame, "/channels", now.utc);
        }
        true
    }

    pub(super) fn forget_listener(&mut self, socket: SocketId) {
        self.timers.cancel(Timer::Heartbeat(socket));
        for channel in self.channels.0.values_mut() {
            channel.listener.take_if(|listener| *listener == socket);
        }
    }

    pub(super) fn heartbeat(&mut self, socket: SocketId, now: Now) {
        if self.channels.has(socket) {
            self.timers.set(Timer::Heartbeat(socket), now.instant + HEARTBEAT);
            self.send(socket, metadata("WebSocket Heartbeat"));
        }
    }

    /// Notifies the channel's socket of the end of the channel. `due` is the time of the warning.
    pub(super) fn warn_channel(&mut self, number: u64, due: Instant) {
        self.timers.set(Timer::ChannelEnd(number), due + WARNING_LEAD);
        if let Some(socket) = self.channels.0.get(&number).and_then(|it| it.listener) {
            let body = json!({"message": "The channel expires"});
            self.send(socket, event("v2.system.socket_closing", &body));
        }
    }

    pub(super) fn close_channel(&mut self, number: u64) {
        self.timers.cancel(Timer::ChannelWarning(number));
        self.timers.cancel(Timer::ChannelEnd(number));
        if let Some(socket) = self.channels.0.remove(&number).and_then(|it| it.listener) {
            self.timers.cancel(Timer::Heartbeat(socket));
            self.emit(Output::close(socket, 1000, "the channel is closed"));
        }
    }

    /// Delivers an agent's message. If the session has no socket, it is counted and announced as undelivered. Several ids
    /// of the announcement are the id of the guest (inference).
    pub(super) fn deliver(&mut self, key: SessionKey, message: Message, now: Now) {
        self.counters.agent_messages += 1;
        let id = message.id.clone();
        self.publish_message(key, message, None, now);
        let Some(session) = self.sessions.get(&key).filter(|it| it.sockets.is_empty()) else {
            return;
        };
        self.counters.undelivered += 1;
        let millis = i64::try_from(now.utc.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX);
        let body = json!({
            "conversationId": session.conversation.id,
            "deploymentId": self.deployment,
            "participantId": session.conversation.participant,
            "externalContactId": session.conversation.participant,
            "communicationId": session.conversation.participant,
            "sessionExpiry": session.ends.unix_timestamp(),
            "messages": [{"id": id, "eventTimeMs": millis}],
            "eventTimeMs": millis,
        });
        self.publish(Topic::Undelivered, &body);
    }

    /// Sends a message to all sockets of a session, stores it, and announces it to subscribers of a user's or a queue's
    /// conversations, in the smallest form that clients read (inference).
    pub(super) fn publish_message(
        &mut self,
        key: SessionKey,
        message: Message,
        request: Option<&Request>,
        now: Now,
    ) {
        self.fan_out(key, request, |tracing_id| message.frame(tracing_id));
        let id = message.id.clone();
        self.store(key, message, now);
        let Some(session) = self.sessions.get(&key).filter(|_| self.channels.has_listeners()) else {
            return;
        };
        let body = json!({
            "id": session.conversation.id,
            "participants": [{
                "id": session.conversation.participant,
                "purpose": "customer",
                "messages": [{
                    "id": session.conversation.participant,
                    "state": "connected",
                    "messages": [{"messageId": id, "messageTime": rfc3339(now.utc)}],
                }],
            }],
        });
        self.publish(Topic::Conversations, &body);
    }

    /// Returns the platform API's details of a message. Fields beside `conversationId` are an inference.
    pub(crate) fn message_details(&self, id: &str) -> Option<Value> {
        let mut sessions = self.sessions.values();
        let session = sessions.find(|session| session.conversation.history.contains(id))?;
        Some(json!({
            "id": id,
            "conversationId": session.conversation.id,
            "messengerType": "webmessaging",
            "selfUri": format!("/api/v2/conversations/messages/{id}/details"),
        }))
    }

    /// Sends an event to every socket whose channel has a topic of this kind.
    pub(super) fn publish(&mut self, kind: Topic, body: &Value) {
        let deployment = self.deployment.as_str();
        for channel in self.channels.0.values() {
            let Some(socket) = channel.listener else {
                continue;
            };
            let topics = channel.topics.iter();
            for topic in topics.filter(|topic| Topic::parse(topic, deployment) == Some(kind)) {
                let frame = json!({
                    "topicName": topic,
                    "version": "2",
                    "eventBody": body,
                    "metadata": {"CorrelationId": self.rng.uuid().to_string()},
                });
                self.counters.notifications += 1;
                self.outputs.push_back(Output::frame(socket, frame.to_string()));
            }
        }
    }
}

fn permitted(topic: &str) -> Value {
    json!({"id": topic, "state": "Permitted"})
}

fn metadata(message: &str) -> String {
    event("channel.metadata", &json!({"message": message}))
}

fn event(topic: &str, body: &Value) -> String {
    json!({"topicName": topic, "eventBody": body}).to_string()
}
