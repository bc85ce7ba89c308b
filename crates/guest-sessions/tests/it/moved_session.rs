//! The frame of a gateway that is about to stop.

use std::time::Duration;

use guest_conversation::{DeliveryStatus, FailureReason, GuestMachine as _, Machine as _, Reason};
use serde_json::json;
use ws_transport::CloseInfo;

use crate::peer::{VirtualPeer, handshake_accepted, id, not_sent};

#[test]
fn moved_session_is_resumed_within_half_a_second_each_time() {
    let mut peer = VirtualPeer::ready();
    peer.jitter = u64::MAX;
    let from = json!({"kind": "agent"});
    peer.receive(
        &json!({"type": "message", "sequence": 1, "id": "m-1", "text": "hi", "from": from,
        "timestamp": "2026-11-22T12:00:00Z"}),
    );
    // without an accepted handshake it counts as a failure
    for (longest, accepts) in [(500, true), (500, false), (1_000, true)] {
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
        if accepts {
            peer.receive(&handshake_accepted(1));
        }
    }
}

#[test]
fn message_that_a_stopping_gateway_did_not_take_is_sent_by_the_next_connection_in_any_epoch() {
    let moved = || json!({"type": "session.moved"});
    for (frame, epoch) in [
        (not_sent(1), "e-1"),
        (not_sent(1), "e-2"),
        (moved(), "e-1"),
        (moved(), "e-2"),
    ] {
        let mut peer = VirtualPeer::ready();
        peer.send(1, "x");
        assert_eq!(peer.frames().len(), 1);
        peer.receive(&frame);
        assert!(peer.frames().is_empty());
        peer.close(CloseInfo::with_code(1001, "the gateway shuts down"));
        peer.reconnect();
        peer.frames();
        let mut accepted = handshake_accepted(0);
        accepted["epoch"] = epoch.into();
        peer.receive(&accepted);
        assert_eq!(peer.frames()[0]["id"], id(1).to_string(), "{frame} {epoch}");
    }
}

#[test]
fn message_that_was_sent_before_the_last_handshake_is_not_sent_twice_for_a_moved_session() {
    let mut peer = VirtualPeer::ready();
    peer.send(1, "x");
    peer.frames();
    peer.drop_socket();
    peer.reconnect();
    peer.receive(&json!({"type": "session.moved"}));
    peer.close(CloseInfo::with_code(1001, "the gateway shuts down"));
    peer.reconnect();
    peer.frames();
    let mut accepted = handshake_accepted(0);
    accepted["epoch"] = "e-2".into();
    peer.receive(&accepted);
    assert!(peer.frames().is_empty());
    assert_eq!(peer.deliveries().last(), Some(&(id(1), DeliveryStatus::Unknown)));
}

#[test]
fn message_that_did_not_leave_the_gateway_fails_with_the_end_of_the_conversation() {
    let mut peer = VirtualPeer::ready();
    peer.send(1, "x");
    peer.frames();
    peer.receive(&not_sent(1));
    peer.deliveries();
    peer.receive(&json!({"type": "session.ended", "reason": "guest", "sequence": 1}));
    assert!(peer.conversation.state().is_over());
    let failed = DeliveryStatus::Failed(FailureReason::Ended);
    assert_eq!(peer.deliveries(), [(id(1), failed)]);
}
