//! The frame of a gateway that is about to stop.

use std::time::Duration;

use guest_conversation::{Machine as _, Reason};
use serde_json::json;
use ws_transport::CloseInfo;

use crate::peer::VirtualPeer;

#[test]
fn moved_session_is_resumed_by_the_backoff() {
    let mut peer = VirtualPeer::ready();
    peer.jitter = u64::MAX;
    let from = json!({"kind": "agent"});
    peer.receive(
        &json!({"type": "message", "sequence": 1, "id": "m-1", "text": "hi", "from": from,
        "timestamp": "2026-11-22T12:00:00Z"}),
    );
    for longest in [500, 1_000] {
        peer.receive(&json!({"type": "session.moved"}));
        peer.close(CloseInfo::with_code(1001, "the gateway shuts down"));
        let (at, reason) = peer.conversation.poll_timeout().unwrap();
        let wait = at - peer.now.instant;
        assert_eq!(reason, Reason::Reconnect);
        assert!(Duration::from_millis(longest - 1) < wait, "{wait:?}");
        assert!(wait <= Duration::from_millis(longest), "{wait:?}");
        peer.reconnect();
        let handshake = &peer.frames()[0];
        assert_eq!(
            (&handshake["lastSequence"], &handshake["lastMessageId"]),
            (&json!(1), &json!("m-1"))
        );
    }
}
