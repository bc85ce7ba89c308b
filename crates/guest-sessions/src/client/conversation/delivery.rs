//! The delivery of the guest's messages, as the gateway reports it.

use genesys_api::Now;
use guest_conversation::{
    Author, AuthorKind, DeliveryStatus, Direction, Event, FailureReason, Message, MessageId, ServiceRefusal,
    SessionEvent,
};
use time::OffsetDateTime;

use super::{GatewayConversation, time_or_now};
use crate::{DeliveryBody, ErrorCode};

impl GatewayConversation {
    pub(super) fn handle_delivery(&mut self, id: MessageId, status: DeliveryBody<'_>, now: Now) {
        match status {
            DeliveryBody::Queued => self.engine.handle_queued(id),
            DeliveryBody::Sending => self.engine.handle_forwarded(id),
            DeliveryBody::Sent {
                sequence,
                timestamp,
                message_id,
                text,
            } => {
                let is_own = self.engine.delivery(id).is_some();
                // read even if its number is old: whether the message is delivered is known by its id
                let is_new = self.session.is_new(sequence);
                let (at, sequence) = (time_or_now(&timestamp, now), Some(sequence));
                let message = message_id.map(|id| id.to_string());
                if self.engine.handle_delivered(id, at, sequence) {
                    self.resolve_files(id, true);
                    if let Some(message) = &message {
                        self.engine.is_new(message);
                    }
                    let status = DeliveryStatus::Delivered {
                        at,
                        sequence,
                        message,
                    };
                    self.engine.emit(Event::Delivery { id, status });
                } else if let Some(text) = text.filter(|_| is_new && !is_own) {
                    self.handle_other(message.unwrap_or_else(|| id.to_string()), &text, at, sequence);
                }
            }
            // of another client of the session, unless it was sent by this one
            DeliveryBody::Unknown { .. } => {
                self.engine.handle_unknown(id);
            }
            // the gateway closes the socket
            DeliveryBody::Failed { code, .. } if *code == *ErrorCode::NotSent.as_str() => {
                self.engine.handle_untaken(id);
            }
            DeliveryBody::Failed { code, message } => {
                self.resolve_files(id, false);
                let refusal = ServiceRefusal::new(&*code, &message);
                self.engine
                    .handle_failed(id, FailureReason::Refused(Box::new(refusal)));
            }
        }
    }

    /// A message of the guest from another client of the session.
    fn handle_other(&mut self, id: String, text: &str, at: OffsetDateTime, sequence: Option<u64>) {
        if self.engine.is_new(&id) {
            self.engine.emit(SessionEvent::OwnMessage(Box::new(Message {
                id,
                text: text.to_owned(),
                from: Author {
                    kind: AuthorKind::Guest,
                    name: None,
                },
                at,
                direction: Direction::Inbound,
                content: Vec::new(),
                sequence,
            })));
        }
    }
}
