//! The messages of the guest, and the frames of their delivery status.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use genesys_api::Now;
use guest_conversation::{
    Conversation, DeliveryStatus, GuestMachine as _, MessageId, OutgoingMessage, SendError,
};
use guest_sessions::ErrorCode;
use ws_transport::server::Payload;

use super::frame::{delivery, failed};
use super::replay::Subject;
use super::{Relay, SocketId};

/// Most unresolved messages that are kept: as many can wait in a conversation.
const UNRESOLVED: usize = 256;

impl Relay {
    /// Handles a message of the guest, which is sent unless its id is known. A refusal, and a status that is known already,
    /// are answered on this socket.
    pub fn handle_message(
        &mut self,
        socket: SocketId,
        id: MessageId,
        message: &OutgoingMessage,
        conversation: &mut Conversation,
        now: Now,
    ) {
        if let Some(answer) = self.send(conversation, id, message, now) {
            self.subscribers.reply(socket, self.replay.last, answer);
        }
    }

    /// Answers a message of the guest that waits until the conversation is opened.
    pub(super) fn handle_held(&mut self, socket: SocketId, id: MessageId) {
        let frame = delivery(id, &DeliveryStatus::Queued, 0, None).to_json().into();
        self.subscribers.reply(socket, self.replay.last, frame);
    }

    /// Answers a message of the guest that a relay without a conversation cannot send.
    pub fn handle_unsendable(&mut self, socket: SocketId, id: MessageId) {
        let text = "the conversation stopped before it was sent: reconnect and send it again";
        let failed = failed(id, ErrorCode::NotSent, text);
        self.subscribers.reply(socket, self.replay.last, failed);
    }

    /// Sends a message of the guest. Returns the reply, unless the status is reported by a frame for all sockets.
    fn send(
        &mut self,
        conversation: &mut Conversation,
        id: MessageId,
        message: &OutgoingMessage,
        now: Now,
    ) -> Option<Payload> {
        let status = conversation.engine().delivery(id);
        if may_send(status.as_ref()) {
            if let Err(error) = conversation.send(id, message, now) {
                return Some(failed(id, code_of(&error), &error.to_string()));
            }
            self.unresolved.insert(id, message, now.instant);
            return None;
        }
        match &status? {
            status @ DeliveryStatus::Delivered { .. } => match self.replay.accepted(id) {
                Some(kept) => Some(kept.clone()),
                None => {
                    self.handle_delivery(id, status, now);
                    None
                }
            },
            status => {
                // so that its sending is reported, too
                conversation.engine_mut().report_queued();
                Some(delivery(id, status, 0, None).to_json().into())
            }
        }
    }

    /// Sends a delivery status to all sockets. Only that of a delivered message is numbered.
    pub(super) fn handle_delivery(&mut self, id: MessageId, status: &DeliveryStatus, now: Now) {
        let decided = match status {
            DeliveryStatus::Delivered { .. } | DeliveryStatus::Failed(_) => self.unresolved.take(id),
            _ => None,
        };
        if let DeliveryStatus::Delivered { .. } = status {
            if let Some(message) = &decided {
                self.delivery_time = Some(now.instant - message.accepted_at);
            }
            let text = decided
                .map(|message| message.text)
                .filter(|text| !text.is_empty());
            let text = text.as_deref();
            let frame = |sequence| delivery(id, status, sequence, text);
            return self.publish(Subject::Accepted(id), frame);
        }
        let frame = delivery(id, status, 0, None).to_json().into();
        self.subscribers.broadcast(self.replay.last, &frame);
        // a message can be sent in an outage, before the handshake is answered
        self.subscribers.notify(&frame);
    }

    /// Reports messages of unknown delivery before a stop: one that is not reported by then was not taken.
    pub(super) fn report_unresolved(&mut self) {
        for (id, _) in std::mem::take(&mut self.unresolved).0 {
            let frame = delivery(id, &DeliveryStatus::Unknown, 0, None).to_json().into();
            self.subscribers.broadcast(self.replay.last, &frame);
        }
    }

    /// The time from the acceptance of a message to its acknowledgement, once after each event that acknowledges one.
    pub fn poll_delivery_time(&mut self) -> Option<Duration> {
        self.delivery_time.take()
    }
}

/// The messages of the guest that are not decided. The other sockets of the session get the texts.
#[derive(Debug, Default)]
pub(super) struct Unresolved(VecDeque<(MessageId, Accepted)>);

#[derive(Debug)]
struct Accepted {
    text: Box<str>,
    accepted_at: Instant,
}

impl Unresolved {
    fn insert(&mut self, id: MessageId, message: &OutgoingMessage, accepted_at: Instant) {
        if self.0.len() == UNRESOLVED {
            self.0.pop_front();
        }
        let text = (&*message.text()).into();
        self.0.push_back((id, Accepted { text, accepted_at }));
    }

    fn take(&mut self, id: MessageId) -> Option<Accepted> {
        let at = self.0.iter().position(|(known, _)| *known == id)?;
        self.0.remove(at).map(|(_, accepted)| accepted)
    }
}

fn code_of(error: &SendError) -> ErrorCode {
    match error {
        SendError::Empty => ErrorCode::MessageEmpty,
        SendError::Full { .. } => ErrorCode::TooManyMessages,
        SendError::ReadOnly => ErrorCode::ConversationReadOnly,
        SendError::NotUploaded { .. } | SendError::UnknownAttachment { .. } => ErrorCode::AttachmentUnknown,
        SendError::TooLarge { .. } | SendError::TooLong { .. } => ErrorCode::MessageTooLong,
        _ => ErrorCode::NotSent,
    }
}

/// Whether a message is sent: a new one, or one that failed and is sent again under its id.
fn may_send(status: Option<&DeliveryStatus>) -> bool {
    matches!(status, None | Some(DeliveryStatus::Failed(_)))
}

#[cfg(test)]
mod tests {
    use guest_conversation::FailureReason;
    use time::OffsetDateTime;

    use super::*;

    #[test]
    fn failed_message_can_be_sent_again_under_its_id() {
        let delivered = DeliveryStatus::Delivered {
            at: OffsetDateTime::UNIX_EPOCH,
            sequence: None,
            message: None,
        };
        for (status, expected) in [
            (None, true),
            (Some(DeliveryStatus::Failed(FailureReason::ReadOnly)), true),
            (Some(delivered), false),
            (Some(DeliveryStatus::Queued), false),
            (Some(DeliveryStatus::Sending), false),
            (Some(DeliveryStatus::Unknown), false),
        ] {
            assert_eq!(may_send(status.as_ref()), expected, "{status:?}");
        }
    }
}
