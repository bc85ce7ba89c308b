//! Messages that the service refused by an error of its own, and may have received all the same.

use std::time::Duration;

use guest_conversation::{DeliveryStatus, FailureReason, GuestMachine as _};

use crate::history_peer::{answer, command, emitted, entry, page, peer, requested_call};
use crate::virtual_peer::{VirtualPeer, echo, id, refused};

const DELIVERY_DELAY: Duration = Duration::from_secs(3);

#[test]
fn history_decides_messages_refused_by_server_errors() {
    for code in [408, 500, 503, 5000] {
        let mut peer = peer();
        peer.send(1, "arrived");
        peer.send(2, "lost");
        peer.frames();
        peer.receive(&refused(code, Some(id(1))));
        peer.receive(&refused(code, Some(id(2))));
        assert_eq!(
            peer.conversation.engine().delivery(id(1)),
            Some(DeliveryStatus::Sending)
        );
        assert_eq!(emitted(&mut peer), [""; 0], "it is being decided");
        peer.pass(Duration::from_secs(2));
        assert!(peer.frames().is_empty(), "it may still arrive");
        requested_call(&mut peer);
        let page = || page(1, 1, &[entry("g1", 1, "arrived", true)]);
        answer(&mut peer, page());
        assert_eq!(emitted(&mut peer), ["accepted 1"]);
        assert_eq!(peer.frames()[0]["tracingId"], id(2).to_string());
        // and once more, which is the last time
        peer.receive(&refused(code, Some(id(2))));
        peer.pass(DELIVERY_DELAY);
        command(&mut peer);
        answer(&mut peer, page());
        let failed = Some(DeliveryStatus::Failed(FailureReason::NotDelivered));
        assert_eq!(peer.conversation.engine().delivery(id(2)), failed);
    }
}

#[test]
fn message_stays_unknown_without_a_history_until_its_echo() {
    let mut peer = VirtualPeer::web_messaging();
    peer.send(1, "x");
    peer.frames();
    peer.receive(&refused(408, Some(id(1))));
    assert_eq!(emitted(&mut peer), ["unknown 1"]);
    peer.receive(&echo(1));
    assert_eq!(emitted(&mut peer), ["accepted 1"]);
}
