//! The frame of a gateway that is about to stop.

use guest_conversation::{Command, Machine as _, Reason};
use serde_json::json;
use ws_transport::CloseInfo;

use crate::peer::VirtualPeer;

#[test]
fn moved_session_is_resumed_at_once() {
    let mut peer = VirtualPeer::ready();
    peer.jitter = u64::MAX;
    let from = json!({"kind": "agent"});
    peer.receive(
        &json!({"type": "message", "sequence": 1, "id": "m-1", "text": "hi", "from": from,
        "timestamp": "2026-11-22T12:00:00Z"}),
    );
    peer.receive(&json!({"type": "session.moved"}));
    assert_eq!(peer.conversation.poll_command(), Some(Command::Disconnect));
    peer.close(CloseInfo::abnormal("disconnected"));
    let (at, reason) = peer.conversation.poll_timeout().unwrap();
    assert_eq!((at, reason), (peer.now.instant, Reason::Reconnect));
    peer.reconnect();
    let handshake = &peer.frames()[0];
    assert_eq!(
        (&handshake["lastSequence"], &handshake["lastMessageId"]),
        (&json!(1), &json!("m-1"))
    );
}
