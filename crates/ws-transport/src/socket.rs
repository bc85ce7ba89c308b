//! Parts that both ends of a socket share: buffers, limits, close codes.

use genesys_api::error_chain;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error as WsError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};

use crate::CloseInfo;

/// A small read buffer, which an idle socket keeps: the default one of 128 KiB is zero-filled at every read. The write
/// buffer grows with the queued frames, so that a batch is one write.
pub(crate) fn config(message_limit: usize, write_limit: usize) -> WebSocketConfig {
    const READ_BUFFER: usize = 1024;
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

/// The reason of a connection that an error ended.
pub(crate) fn broken(error: &WsError) -> CloseInfo {
    match error {
        WsError::Capacity(CapacityError::MessageTooLong { size, max_size }) => CloseInfo::abnormal(&format!(
            "a frame of {size} bytes arrived, at most {max_size} are read"
        )),
        error => CloseInfo::abnormal(&error_chain(error)),
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

#[cfg(test)]
mod tests {
    //! Reasons of broken connections.

    use super::*;

    #[test]
    fn large_frame_is_named_with_its_size() {
        let error = WsError::Capacity(CapacityError::MessageTooLong {
            size: 200_000,
            max_size: 131_072,
        });
        let close = broken(&error);
        assert_eq!(
            (close.code(), close.reason()),
            (None, "a frame of 200000 bytes arrived, at most 131072 are read")
        );
    }
}
