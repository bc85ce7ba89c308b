//! Parts that both ends of a socket share: buffers, limits, close codes.

use tokio_tungstenite::tungstenite::error::{Error as WsError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};

use crate::CloseInfo;

/// A small read buffer: the default one of 128 KiB is zero-filled at every read. The write buffer grows with the queued
/// frames, so that a batch is one write.
pub(crate) fn config(message_limit: usize, write_limit: usize) -> WebSocketConfig {
    const READ_BUFFER: usize = 4 * 1024;
    const WRITE_BUFFER: usize = 16 * 1024;
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(write_limit.max(2 * WRITE_BUFFER))
        .max_message_size(Some(message_limit))
        .max_frame_size(Some(message_limit))
}

pub(crate) fn close_info(frame: Option<&CloseFrame>) -> CloseInfo {
    match frame {
        Some(frame) => CloseInfo::with_code(frame.code.into(), &frame.reason),
        None => CloseInfo::abnormal("closed without a code"),
    }
}

/// The close code for a violation of the protocol (RFC 6455 section 7.4.1); `None` if the connection broke.
pub(crate) fn violation_code(error: &WsError) -> Option<CloseCode> {
    match error {
        WsError::Capacity(_) => Some(CloseCode::Size),
        WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        WsError::Protocol(_) => Some(CloseCode::Protocol),
        WsError::Utf8(_) => Some(CloseCode::Invalid),
        _ => None,
    }
}
