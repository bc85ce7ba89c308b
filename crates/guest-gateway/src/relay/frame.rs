//! Frames of refusals, deliveries and gaps.

use genesys_api::rfc3339;
use guest_conversation::{DeliveryStatus, FailureReason, MessageId};
use guest_sessions::{DeliveryBody, ErrorCode, ServerFrame};
use ws_transport::server::Payload;

pub(super) fn gap<'a>(
    sequence: Option<u64>,
    after: Option<&'a str>,
    before: Option<&'a str>,
) -> ServerFrame<'a> {
    let text = "cannot replay all missed messages: read the history of the conversation";
    ServerFrame::ReplayIncomplete {
        sequence,
        read_from: after.map(Into::into),
        read_until: before.map(Into::into),
        message: text.into(),
    }
}

pub(super) fn error_frame(code: ErrorCode, message: &str) -> Payload {
    ServerFrame::error(code.as_str(), message).to_json().into()
}

/// The frame of a delivery status. `sequence` is the number of one that is delivered, and `text` its text.
pub(super) fn delivery<'a>(
    id: MessageId,
    status: &'a DeliveryStatus,
    sequence: u64,
    text: Option<&'a str>,
) -> ServerFrame<'a> {
    let status = match status {
        DeliveryStatus::Delivered { at, message, .. } => DeliveryBody::Sent {
            sequence,
            timestamp: rfc3339(*at).into(),
            message_id: message.as_deref().map(Into::into),
            text: text.map(Into::into),
        },
        DeliveryStatus::Failed(reason) => DeliveryBody::Failed {
            code: failure_code(reason).as_str().into(),
            message: reason.to_string().into(),
        },
        DeliveryStatus::Queued => DeliveryBody::Queued,
        DeliveryStatus::Sending => DeliveryBody::Sending,
        _ => DeliveryBody::Unknown {
            code: ErrorCode::InDoubt.as_str().into(),
            message: UNKNOWN.into(),
        },
    };
    ServerFrame::Delivery { id, status }
}

pub(super) fn failed(id: MessageId, code: ErrorCode, message: &str) -> Payload {
    let status = DeliveryBody::Failed {
        code: code.as_str().into(),
        message: message.into(),
    };
    ServerFrame::Delivery { id, status }.to_json().into()
}

fn failure_code(reason: &FailureReason) -> ErrorCode {
    match reason {
        FailureReason::ReadOnly => ErrorCode::ConversationReadOnly,
        FailureReason::Refused(_) => ErrorCode::MessageRefused,
        FailureReason::NotSentInTime { .. } => ErrorCode::QueueTimeout,
        FailureReason::NotDelivered => ErrorCode::NotDelivered,
        _ => ErrorCode::NotSent,
    }
}

const UNKNOWN: &str =
    "cannot determine the delivery status: the connection to Genesys was lost before the acknowledgement";
