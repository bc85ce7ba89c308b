//! Notification channels: events that Genesys pushes to server-side applications over their own WebSocket.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use genesys_api::{Now, rfc3339};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::world::World;
use crate::world::denial::Denial;
use crate::world::id::SocketId;
use crate::world::output::Output;
use crate::world::timers::{Timer, TimerKey};
use crate::world::violation::ViolationKind;

/// Limit of channels; the oldest is closed first.
const MAX_CHANNELS: usize = 20;

/// Limit of topics in a channel.
pub(crate) const MAX_TOPICS: usize = 1_000;

/// Longest name of a topic, in bytes. Our choice.
const MAX_TOPIC: usize = 200;

const LIFETIME: Duration = Duration::from_secs(86_400);
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Time from the warning to the end of a channel.
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
    fn parse(topic: &str, deployment: &str) -> Option<Self> {
        const TOPICS: [(&str, &str, Topic); 4] = [
            ("v2.users.", ".conversations.messages", Topic::Conversations),
            ("v2.users.", ".conversations", Topic::Conversations),
            (
                "v2.routing.queues.",
                ".conversations.messages",
                Topic::Conversations,
            ),
            (
                "v2.webmessaging.deployments.",
                ".undelivered.messages",
                Topic::Undelivered,
            ),
        ];
        TOPICS.into_iter().find_map(|(prefix, suffix, kind)| {
            let id = topic.strip_prefix(prefix)?.strip_suffix(suffix)?;
            let valid =
                uuid::Uuid::try_parse(id).is_ok() && (kind == Self::Conversations || id == deployment);
            valid.then_some(kind)
        })
    }
}

impl Channels {
    pub(super) fn has_no_listeners(&self) -> bool {
        self.listeners.is_empty()
    }

    pub(super) fn has(&self, socket: SocketId) -> bool {
        self.listeners.contains_key(&socket)
    }

    /// Removes the sockets of all channels, and returns them.
    pub(super) fn drain_listeners(&mut self) -> impl Iterator<Item = SocketId> + use<> {
        std::mem::take(&mut self.listeners).into_keys()
    }

    fn number(&self, id: &str) -> Result<u64, Denial> {
        let number = id.split('-').nth(1).and_then(|number| number.parse().ok());
        number
            .filter(|number| self.open.get(number).is_some_and(|it| it.id == id))
            .ok_or(Denial::NotFound)
    }
}

impl World {
    /// Creates a channel, and returns it as the platform API does.
    pub(crate) fn create_channel(&mut self, now: Now) -> Value {
        while self.channels.open.len() >= MAX_CHANNELS {
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

    /// Adds topics to a channel, which extends its life, and returns whether each is permitted. `replace` removes the
    /// earlier topics.
    pub(crate) fn subscribe(
        &mut self,
        id: &str,
        topics: &[String],
        replace: bool,
        now: Now,
    ) -> Result<Value, Denial> {
        let number = self.channels.number(id)?;
        let deployment = self.deployment.as_str();
        let channel = self.channels.open.get_mut(&number).ok_or(Denial::NotFound)?;
        let mut kept = if replace {
            BTreeSet::new()
        } else {
            channel.topics.clone()
        };
        let mut entities = Vec::new();
        for topic in topics {
            if topic.len() > MAX_TOPIC || Topic::parse(topic, deployment).is_none() {
                entities.push(json!({"id": topic, "state": "Rejected",
                    "rejectionReason": "The simulator does not publish this topic."}));
                continue;
            }
            kept.insert(topic.clone());
            entities.push(permitted(topic));
        }
        if kept.len() > MAX_TOPICS {
            return Err(Denial::BadRequest("A channel has at most 1000 topics."));
        }
        channel.topics = kept;
        channel.ends = now.utc + LIFETIME;
        for timer in channel.timers {
            self.timers.cancel(timer);
        }
        let timers = self.channel_timers(number, now);
        if let Some(channel) = self.channels.open.get_mut(&number) {
            channel.timers = timers;
        }
        Ok(json!({"entities": entities}))
    }

    pub(crate) fn subscriptions(&self, id: &str) -> Result<Value, Denial> {
        let number = self.channels.number(id)?;
        let topics = self.channels.open.get(&number).map(|it| &it.topics);
        let entities: Vec<_> = topics
            .into_iter()
            .flatten()
            .map(|topic| permitted(topic))
            .collect();
        Ok(json!({"entities": entities}))
    }

    /// Admits a handshake on `/channels/{id}`. A second socket of a channel closes the first (inference).
    pub(crate) fn open_channel(&mut self, id: &str, now: Now) -> Result<SocketId, Denial> {
        if self.closing {
            return Err(Denial::Unavailable);
        }
        let number = self.channels.number(id)?;
        let socket = self.next_socket();
        let channel = self.channels.open.get_mut(&number);
        if let Some(before) = channel.and_then(|channel| channel.socket.replace(socket)) {
            self.channels.listeners.remove(&before);
            self.close_listener(before);
        }
        self.listen(socket, number, now);
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

    /// Notifies the channel's socket of the end of the channel.
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
            self.close_listener(socket);
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
                if Topic::parse(topic, deployment) == Some(kind) {
                    let metadata = json!({"CorrelationId": self.seed.uuid().to_string()});
                    let frame =
                        json!({"topicName": topic, "version": "2", "eventBody": body, "metadata": metadata});
                    self.counters.notifications += 1;
                    self.outputs.push_back(Output::frame(socket, frame.to_string()));
                }
            }
        }
    }

    fn listen(&mut self, socket: SocketId, channel: u64, now: Now) {
        let at = now.instant + HEARTBEAT;
        let heartbeat = self.timers.set(at, Timer::Heartbeat(socket));
        let listener = Listener { channel, heartbeat };
        self.channels.listeners.insert(socket, listener);
    }

    fn channel_timers(&mut self, number: u64, now: Now) -> [TimerKey; 2] {
        let end = now.instant + LIFETIME;
        let warn = self.timers.set(end - NOTICE, Timer::ChannelWarning(number));
        [warn, self.timers.set(end, Timer::ChannelEnd(number))]
    }

    fn close_listener(&mut self, socket: SocketId) {
        self.emit(Output::close(socket, 1000, "the channel is closed"));
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
