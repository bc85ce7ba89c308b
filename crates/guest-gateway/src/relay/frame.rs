//! Frames of refusals, failures and gaps.

use guest_conversation::MessageId;
use guest_sessions::{ErrorCode, ServerFrame};
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

pub(super) fn failed_frame(id: MessageId, code: ErrorCode, message: &str) -> Payload {
    let frame = ServerFrame::MessageFailed {
        id,
        code: code.as_str().into(),
        message: message.into(),
    };
    frame.to_json().into()
}

pub(super) fn unknown_status(id: MessageId) -> Payload {
    let text =
        "cannot determine the delivery status: the connection to Genesys was lost before the acknowledgement";
    failed_frame(id, ErrorCode::InDoubt, text)
}
