//! Notification channels: what Genesys pushes to server-side applications over a WebSocket of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use genesys_api::{Now, rfc3339};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::rest::Problem;
use crate::world::timers::{Timer, TimerKey};
use crate::world::{Oddity, Output, SocketId, World};

/// Most channels; the oldest goes first.
const MOST_CHANNELS: usize = 20;

/// Most topics of a channel.
const MOST_TOPICS: usize = 1_000;

/// Longest name of a topic, in bytes. Our choice.
const LONGEST_TOPIC: usize = 200;

const LIFETIME: Duration = Duration::from_secs(86_400);
const HEARTBEAT: Duration = Duration::from_secs(30);

/// How long before its end a channel's socket is told.
const NOTICE: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(crate) struct Channels {
    /// Oldest first.
    open: BTreeMap<u64, Channel>,
    opened: u64,
    listeners: BTreeMap<SocketId, Listener>,
}

struct Channel {
    id: String,
    topics: BTreeSet<String>,
    ends: OffsetDateTime,
    timers: [TimerKey; 2],
    socket: Option<SocketId>,
}

#[derive(Clone, Copy)]
struct Listener {
    channel: u64,
    heartbeat: TimerKey,
}

/// A kind of topic that the simulator publishes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Topic {
    Conversations,
    Undelivered,
}

impl Topic {
    /// Users and queues of any id stand for those of the one deployment. Our choice.
    fn of(topic: &str, deployment: &str) -> Option<Self> {
        let one_id = |prefix, suffix| {
            topic
                .strip_prefix(prefix)
                .and_then(|rest: &str| rest.strip_suffix(suffix))
                .filter(|id: &&str| uuid::Uuid::try_parse(id).is_ok())
        };
        let conversations = one_id("v2.users.", ".conversations.messages")
            .or_else(|| one_id("v2.users.", ".conversations"))
            .or_else(|| one_id("v2.routing.queues.", ".conversations.messages"));
        if conversations.is_some() {
            return Some(Self::Conversations);
        }
        one_id("v2.webmessaging.deployments.", ".undelivered.messages")
            .filter(|id| *id == deployment)
            .map(|_| Self::Undelivered)
    }
}

/// The channel that a path names.
pub(super) fn named(path: &str) -> Option<&str> {
    path.strip_prefix("/channels/")
}

impl Channels {
    /// Whether nobody listens.
    pub(super) fn is_silent(&self) -> bool {
        self.listeners.is_empty()
    }

    pub(super) fn has(&self, socket: SocketId) -> bool {
        self.listeners.contains_key(&socket)
    }

    fn number(&self, id: &str) -> Result<u64, Problem> {
        id.split('-')
            .nth(1)
            .and_then(|number| number.parse().ok())
            .filter(|number| self.open.get(number).is_some_and(|it| it.id == id))
            .ok_or_else(Problem::not_found)
    }
}

impl World {
    /// A new channel, as the platform API tells of it.
    pub(crate) fn create_channel(&mut self, now: Now) -> Value {
        while self.channels.open.len() >= MOST_CHANNELS {
            let Some(oldest) = self.channels.open.keys().next().copied() else {
                break;
            };
            self.close_channel(oldest);
        }
        self.channels.opened += 1;
        let number = self.channels.opened;
        let channel = Channel {
            id: format!("streaming-{number}-{}", self.seed.hex()),
            topics: BTreeSet::new(),
            ends: now.utc + LIFETIME,
            timers: self.channel_timers(number, now),
            socket: None,
        };
        let body = json!({
            "id": channel.id,
            "connectUri": self.base.websocket_url(&format!("/channels/{}", channel.id)),
            "expires": rfc3339(channel.ends),
        });
        self.channels.open.insert(number, channel);
        body
    }

    /// Adds topics to a channel, which lengthens its life, and tells of each whether it is permitted. `replace`
    /// drops those that were there.
    pub(crate) fn subscribe(
        &mut self,
        id: &str,
        topics: &[String],
        replace: bool,
        now: Now,
    ) -> Result<Value, Problem> {
        let number = self.channels.number(id)?;
        let timers = self.channel_timers(number, now);
        let deployment = self.deployment.as_str();
        let Some(channel) = self.channels.open.get_mut(&number) else {
            return Err(Problem::not_found());
        };
        let mut kept = if replace {
            BTreeSet::new()
        } else {
            channel.topics.clone()
        };
        let mut entities = Vec::new();
        for topic in topics {
            if topic.len() > LONGEST_TOPIC || Topic::of(topic, deployment).is_none() {
                entities.push(json!({"id": topic, "state": "Rejected",
                    "rejectionReason": "The simulator does not publish this topic."}));
                continue;
            }
            kept.insert(topic.clone());
            entities.push(json!({"id": topic, "state": "Permitted"}));
        }
        if kept.len() > MOST_TOPICS {
            for timer in timers {
                self.timers.cancel(timer);
            }
            return Err(Problem::bad_request("A channel has at most 1000 topics."));
        }
        channel.topics = kept;
        channel.ends = now.utc + LIFETIME;
        for timer in std::mem::replace(&mut channel.timers, timers) {
            self.timers.cancel(timer);
        }
        Ok(json!({"entities": entities}))
    }

    pub(crate) fn subscriptions(&self, id: &str) -> Result<Value, Problem> {
        let number = self.channels.number(id)?;
        let topics = self.channels.open.get(&number).map(|it| &it.topics);
        let entities: Vec<_> = topics
            .into_iter()
            .flatten()
            .map(|topic| json!({"id": topic, "state": "Permitted"}))
            .collect();
        Ok(json!({"entities": entities}))
    }

    /// Judges a handshake on `/channels/{id}`. A second socket of a channel puts the first out (inference).
    pub(super) fn open_channel(&mut self, id: &str, now: Now) -> Result<SocketId, Problem> {
        if self.closing {
            return Err(Problem::unavailable());
        }
        let number = self.channels.number(id)?;
        let socket = self.next_socket();
        let before = self
            .channels
            .open
            .get_mut(&number)
            .and_then(|channel| channel.socket.replace(socket));
        if let Some(before) = before {
            self.channels.listeners.remove(&before);
            self.hang_up(before);
        }
        self.listen(socket, number, now);
        Ok(socket)
    }

    /// Takes a frame from a channel's socket, and says whether `socket` is one.
    pub(super) fn hear_listener(&mut self, socket: SocketId, text: &str, now: Now) -> bool {
        if !self.channels.listeners.contains_key(&socket) {
            return false;
        }
        let frame: Value = serde_json::from_str(text).unwrap_or_default();
        if frame == json!({"message": "ping"}) {
            self.send(socket, metadata("pong"));
        } else {
            self.complaints.add(Oddity::BrokenFrame, "/channels", now.utc);
        }
        true
    }

    pub(super) fn forget_listener(&mut self, socket: SocketId) {
        let Some(listener) = self.channels.listeners.remove(&socket) else {
            return;
        };
        self.timers.cancel(listener.heartbeat);
        if let Some(channel) = self.channels.open.get_mut(&listener.channel) {
            channel.socket = None;
        }
    }

    pub(super) fn heartbeat(&mut self, socket: SocketId, now: Now) {
        if let Some(listener) = self.channels.listeners.get(&socket) {
            let channel = listener.channel;
            self.send(socket, metadata("WebSocket Heartbeat"));
            self.listen(socket, channel, now);
        }
    }

    /// Tells the channel's socket that its time is nearly over.
    pub(super) fn warn_channel(&mut self, number: u64) {
        if let Some(socket) = self.channels.open.get(&number).and_then(|it| it.socket) {
            let body = json!({"message": "The channel expires"});
            self.send(socket, event("v2.system.socket_closing", &body));
        }
    }

    pub(super) fn close_channel(&mut self, number: u64) {
        let Some(channel) = self.channels.open.remove(&number) else {
            return;
        };
        for timer in channel.timers {
            self.timers.cancel(timer);
        }
        if let Some(socket) = channel.socket {
            self.forget_listener(socket);
            self.hang_up(socket);
        }
    }

    /// Sends an event to every socket whose channel has a topic of this kind.
    pub(super) fn publish(&mut self, kind: Topic, body: &Value) {
        let deployment = self.deployment.as_str();
        for channel in self.channels.open.values() {
            let Some(socket) = channel.socket else {
                continue;
            };
            for topic in &channel.topics {
                if Topic::of(topic, deployment) == Some(kind) {
                    let correlation = json!({"CorrelationId": self.seed.uuid().to_string()});
                    let frame = json!({"topicName": topic, "version": "2", "eventBody": body,
                        "metadata": correlation});
                    self.counters.notifications += 1;
                    self.outputs.push_back(Output::Frame {
                        socket,
                        text: frame.to_string(),
                        fragments: 1,
                    });
                }
            }
        }
    }

    /// The sockets of all channels, which are then forgotten.
    pub(super) fn drain_listeners(&mut self) -> Vec<SocketId> {
        std::mem::take(&mut self.channels.listeners).into_keys().collect()
    }

    fn listen(&mut self, socket: SocketId, channel: u64, now: Now) {
        let at = now.instant + HEARTBEAT;
        let heartbeat = self.timers.set(at, Timer::Heartbeat(socket));
        self.channels
            .listeners
            .insert(socket, Listener { channel, heartbeat });
    }

    fn channel_timers(&mut self, number: u64, now: Now) -> [TimerKey; 2] {
        let end = now.instant + LIFETIME;
        let warn = self.timers.set(end - NOTICE, Timer::ChannelWarning(number));
        [warn, self.timers.set(end, Timer::ChannelEnd(number))]
    }

    fn hang_up(&mut self, socket: SocketId) {
        self.outputs.push_back(Output::Close {
            socket,
            code: 1000,
            reason: "the channel is closed",
        });
    }
}

fn metadata(message: &str) -> String {
    event("channel.metadata", &json!({"message": message}))
}

fn event(topic: &str, body: &Value) -> String {
    json!({"topicName": topic, "eventBody": body}).to_string()
}
