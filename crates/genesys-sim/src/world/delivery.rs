//! Delivery of agent messages to guests, and notifications to servers about messages.

use genesys_api::{Now, rfc3339};
use serde_json::{Value, json};

use crate::world::World;
use crate::world::channel::Topic;
use crate::world::history::Message;
use crate::world::id::SessionKey;

impl World {
    /// Sends a message to all sockets of a session, and stores it. If there is no socket, it is counted and announced
    /// as undelivered.
    pub(super) fn deliver(&mut self, key: SessionKey, message: Message, now: Now) {
        self.counters.agent_messages += 1;
        let undelivered = self.sessions.get(&key).is_some_and(|it| it.sockets.is_empty());
        self.fan_out(key, None, |_| message.frame(None));
        let id = message.id().to_owned();
        self.store(key, message, now);
        self.announce(key, &id, now);
        if undelivered {
            self.counters.undelivered += 1;
            self.announce_undelivered(key, &id, now);
        }
    }

    /// Notifies subscribers of a user's or a queue's conversations, in the smallest form that clients read
    /// (inference).
    pub(super) fn announce(&mut self, key: SessionKey, message: &str, now: Now) {
        if self.channels.has_no_listeners() {
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
                    "messages": [{"messageId": message, "messageTime": rfc3339(now.utc)}],
                }],
            }],
        });
        self.publish(Topic::Conversations, &body);
    }

    /// Returns the platform API's details of a message. Fields beside `conversationId` are an inference.
    pub(crate) fn message_details(&self, id: &str) -> Option<Value> {
        let mut sessions = self.sessions.iter();
        let (_, session) = sessions.find(|(_, session)| session.history.contains(id))?;
        Some(json!({
            "id": id,
            "conversationId": session.conversation,
            "messengerType": "webmessaging",
            "selfUri": format!("/api/v2/conversations/messages/{id}/details"),
        }))
    }

    /// Several ids of the body are the id of the guest (inference).
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
