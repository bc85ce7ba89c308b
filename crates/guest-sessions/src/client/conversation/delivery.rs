//! The delivery of the guest's messages, as the gateway reports it.

use genesys_api::Now;
use guest_conversation::{DeliveryStatus, Event, FailureReason, MessageId, ServiceRefusal};

use super::{GatewayConversation, time_or_now};
use crate::DeliveryBody;

impl GatewayConversation {
    pub(super) fn handle_delivery(&mut self, id: MessageId, status: DeliveryBody<'_>, now: Now) {
        match status {
            DeliveryBody::Queued => self.engine.handle_queued(id),
            DeliveryBody::Sending => self.engine.handle_forwarded(id),
            DeliveryBody::Sent {
                sequence,
                timestamp,
                message_id,
            } => {
                // read even if its number is old: whether the message is delivered is known by its id
                self.session.is_new(sequence);
                let (at, sequence) = (time_or_now(&timestamp, now), Some(sequence));
                if self.engine.handle_delivered(id, at, sequence) {
                    self.resolve_files(id, true);
                    let status = DeliveryStatus::Delivered {
                        at,
                        sequence,
                        message: message_id.map(|id| id.to_string()),
                    };
                    self.engine.emit(Event::Delivery { id, status });
                }
            }
            // of another client of the session, unless it was sent by this one
            DeliveryBody::Unknown { .. } => {
                self.engine.handle_unknown(id);
            }
            DeliveryBody::Failed { code, message } => {
                self.resolve_files(id, false);
                let refusal = ServiceRefusal::new(&*code, &message);
                self.engine
                    .handle_failed(id, FailureReason::Refused(Box::new(refusal)));
            }
        }
    }
}
