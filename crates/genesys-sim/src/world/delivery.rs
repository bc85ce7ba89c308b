//! What an agent sends on its way to the guest, and what is told to servers about it.

use genesys_api::Now;
use serde_json::{Value, json};

use crate::world::World;
use crate::world::channel::Topic;
use crate::world::history::Message;
use crate::world::session::SessionKey;

impl World {
    /// Tells all sockets of a session, and keeps the message. One that no socket can receive is counted and
    /// announced.
    pub(super) fn deliver(&mut self, key: SessionKey, message: Message, now: Now) {
        self.counters.agent_messages += 1;
        let alone = self.sessions.get(&key).is_some_and(|it| it.sockets.is_empty());
        self.fan_out(key, None, |_| message.frame(None));
        let id = message.id().to_owned();
        self.keep(key, message, now);
        self.announce(key, &id, now);
        if alone {
            self.counters.undelivered += 1;
            self.announce_undelivered(key, &id, now);
        }
    }

    /// Tells who follows a user's or a queue's conversations, in the smallest form that clients read (inference).
    pub(super) fn announce(&mut self, key: SessionKey, message: &str, now: Now) {
        if self.channels.is_silent() {
            return;
        }
        let Some(session) = self.sessions.get(&key) else {
            return;
        };
        let body = json!({
            "id": session.conversation,
            "participants": [{
                "id": session.participant,
                "purpose": "customer",
                "messages": [{
                    "id": session.participant,
                    "state": "connected",
                    "messages": [{"messageId": message, "messageTime": genesys_api::rfc3339(now.utc)}],
                }],
            }],
        });
        self.publish(Topic::Conversations, &body);
    }

    /// What the platform API tells of a message; fields beside `conversationId` are the fewest that make sense
    /// (inference).
    pub(crate) fn message_details(&self, id: &str) -> Option<Value> {
        self.sessions.iter().find_map(|(_, session)| {
            session.history.find(id)?;
            Some(json!({
                "id": id,
                "conversationId": session.conversation,
                "messengerType": "webmessaging",
                "selfUri": format!("/api/v2/conversations/messages/{id}/details"),
            }))
        })
    }

    /// Several ids of the body stand for the one conversation of its guest (inference).
    fn announce_undelivered(&mut self, key: SessionKey, message: &str, now: Now) {
        let Some(session) = self.sessions.get(&key) else {
            return;
        };
        let millis = i64::try_from(now.utc.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX);
        let body = json!({
            "conversationId": session.conversation,
            "deploymentId": self.deployment,
            "participantId": session.participant,
            "externalContactId": session.participant,
            "communicationId": session.participant,
            "sessionExpiry": session.ends_in_epoch_seconds(),
            "messages": [{"id": message, "eventTimeMs": millis}],
            "eventTimeMs": millis,
        });
        self.publish(Topic::Undelivered, &body);
    }
}
