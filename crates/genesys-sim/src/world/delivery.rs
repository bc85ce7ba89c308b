//! Delivery of messages to guests, and notifications to servers about them.

use genesys_api::{Now, rfc3339};
use serde_json::{Value, json};

use crate::world::World;
use crate::world::channel::Topic;
use crate::world::history::Message;
use crate::world::request::Request;
use crate::world::session::SessionKey;

impl World {
    /// Delivers an agent's message. If the session has no socket, it is counted and announced as undelivered.
    pub(super) fn deliver(&mut self, key: SessionKey, message: Message, now: Now) {
        self.counters.agent_messages += 1;
        let undelivered = self.sessions.get(&key).is_some_and(|it| it.sockets.is_empty());
        let id = message.id.clone();
        self.publish_message(key, message, None, now);
        if undelivered {
            self.counters.undelivered += 1;
            self.announce_undelivered(key, &id, now);
        }
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

    /// Several ids of the body are the id of the guest (inference).
    fn announce_undelivered(&mut self, key: SessionKey, message: &str, now: Now) {
        let Some(session) = self.sessions.get(&key) else {
            return;
        };
        let millis = i64::try_from(now.utc.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX);
        let body = json!({
            "conversationId": session.conversation.id,
            "deploymentId": self.deployment,
            "participantId": session.conversation.participant,
            "externalContactId": session.conversation.participant,
            "communicationId": session.conversation.participant,
            "sessionExpiry": session.ends.unix_timestamp(),
            "messages": [{"id": message, "eventTimeMs": millis}],
            "eventTimeMs": millis,
        });
        self.publish(Topic::Undelivered, &body);
    }
}
