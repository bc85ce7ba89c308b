//! Lost connections: retries, backoff and final causes.

use std::time::Duration;

use genesys_api::Rate;
use guest_conversation::{
    Command, ConnectionEvent, DeliveryStatus, Ending, Event, FailureReason, GuestMachine as _, Loss,
    Machine as _, QUEUE_TIMEOUT, Reason, State, WebMessaging,
};
use serde_json::json;
use ws_transport::{CloseInfo, ConnectQueue, Transmit};

use crate::virtual_peer::{VirtualPeer, echo, id, refused, session_response, web_messaging};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn lost_connection_is_restored_and_unacknowledged_messages_are_unknown() {
    let mut peer = VirtualPeer::web_messaging();
    peer.send(1, "sent");
    peer.frames();
    peer.drop_socket();
    peer.send(2, "queued while away");
    assert!(matches!(
        &peer.events()[..],
        [Event::Connection(ConnectionEvent::Reconnecting {
            attempt: 1,
            cause: Loss::Closed(_),
            ..
        })]
    ));
    assert_eq!(peer.state(), State::Reconnecting);
    assert!(peer.frames().is_empty());
    peer.reconnect();
    assert_eq!(peer.frames()[0]["action"], "configureSession");
    peer.receive(&session_response(false));
    let events = peer.events();
    let [
        Event::Connection(ConnectionEvent::Restored(_)),
        Event::Delivery {
            id: unknown,
            status: DeliveryStatus::Unknown,
        },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(*unknown, id(1));
    let frames = peer.frames();
    assert_eq!(
        (frames.len(), &frames[0]["tracingId"]),
        (1, &json!(id(2).to_string()))
    );
    peer.receive(&echo(1));
    assert!(
        matches!(peer.events()[..], [Event::Delivery { id: late, status: DeliveryStatus::Delivered { .. } }] if late == id(1))
    );
}

#[test]
fn message_fails_ten_minutes_after_it_was_queued_unless_it_was_sent() {
    for queue_timeout in [QUEUE_TIMEOUT, 60 * SECOND] {
        let mut peer = VirtualPeer::configured(WebMessaging {
            queue_timeout,
            ..web_messaging()
        });
        peer.jitter = u64::MAX;
        peer.send(1, "sent");
        peer.frames();
        peer.drop_socket();
        peer.send(2, "queued while away");
        peer.pass(SECOND);
        peer.send(3, "queued later");
        peer.deliveries();
        let end = peer.now.instant + queue_timeout - SECOND;
        while peer.now.instant < end {
            assert_eq!(peer.deliveries(), []);
            let (at, _) = peer.conversation.poll_timeout().unwrap();
            peer.pass(at - peer.now.instant);
            // no connection can be opened
            if peer.conversation.poll_command().is_some() {
                peer.drop_socket();
            }
        }
        assert_eq!(peer.now.instant, end);
        let reason = FailureReason::NotSentInTime {
            timeout: queue_timeout,
        };
        assert_eq!(peer.deliveries(), [(id(2), DeliveryStatus::Failed(reason))]);
        assert_eq!(
            peer.conversation.engine().delivery(id(3)),
            Some(DeliveryStatus::Queued)
        );
    }
}

#[test]
fn backoff_grows_and_applies_to_the_first_connection() {
    let mut peer = VirtualPeer::new(web_messaging());
    peer.jitter = u64::MAX;
    peer.conversation.engine_mut().connect(peer.now);
    let mut waits = Vec::new();
    for _ in 0..8 {
        assert_eq!(peer.conversation.poll_command(), Some(Command::Connect));
        peer.drop_socket();
        let [Event::Connection(ConnectionEvent::Reconnecting { after, .. })] = peer.events()[..] else {
            panic!()
        };
        waits.push(after.as_millis() + 1);
        peer.pass(after);
    }
    assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
}

#[test]
fn retry_after_takes_precedence_over_jitter() {
    let mut peer = VirtualPeer::new(web_messaging());
    peer.conversation.engine_mut().connect(peer.now);
    peer.conversation
        .handle_refused(503, Some(20 * SECOND), peer.now, 0);
    assert!(matches!(
        peer.events()[..],
        [Event::Connection(ConnectionEvent::Reconnecting { after, cause: Loss::Refused { status: 503 }, .. })] if after == 20 * SECOND
    ));
}

#[test]
fn silent_peer_is_dropped_within_35_seconds_without_losing_the_message() {
    let mut peer = VirtualPeer::web_messaging();
    let silent_since = peer.now.instant;
    loop {
        let (at, reason) = peer.conversation.poll_timeout().unwrap();
        assert_eq!(reason, Reason::Heartbeat);
        peer.pass(at - peer.now.instant);
        if peer.conversation.poll_command() == Some(Command::Disconnect) {
            break;
        }
        assert_eq!(peer.transmits(), [Transmit::Ping]);
        let reported = matches!(peer.events()[..], [Event::Connection(ConnectionEvent::Silent)]);
        assert_eq!(reported, peer.now.instant - silent_since == 20 * SECOND);
    }
    assert!(peer.now.instant - silent_since <= 35 * SECOND);
    peer.drop_socket();
    assert!(matches!(
        peer.events()[..],
        [Event::Connection(ConnectionEvent::Reconnecting {
            cause: Loss::Silent,
            ..
        })]
    ));
}

#[test]
fn peer_that_answers_late_is_reported_as_responding() {
    let mut peer = VirtualPeer::web_messaging();
    for _ in 0..2 {
        let (at, _) = peer.conversation.poll_timeout().unwrap();
        peer.pass(at - peer.now.instant);
        assert_eq!(peer.transmits(), [Transmit::Ping]);
    }
    assert!(matches!(
        peer.events()[..],
        [Event::Connection(ConnectionEvent::Silent)]
    ));
    peer.conversation.handle_alive();
    peer.conversation.handle_alive();
    assert!(matches!(
        peer.events()[..],
        [Event::Connection(ConnectionEvent::Responding)]
    ));
}

#[test]
fn moved_clock_costs_one_ping() {
    let mut peer = VirtualPeer::web_messaging();
    peer.send(1, "x");
    peer.frames();
    for _ in 0..4 {
        peer.pass(Duration::from_secs(14 * 60));
        assert_eq!(peer.transmits(), [Transmit::Ping]);
        peer.conversation.handle_alive();
        assert_eq!(peer.conversation.poll_command(), None);
    }
    assert!(peer.events().is_empty());
    assert_eq!(peer.state(), State::Configured);
    for _ in 0..1 {
        peer.pass(15 * SECOND);
        peer.conversation.handle_alive();
    }
    assert!(
        matches!(&peer.events()[..], [Event::Delivery { id: unknown, status: DeliveryStatus::Unknown }] if *unknown == id(1)),
        "the service answered five pings and never the message"
    );
}

#[test]
fn configuring_times_out_after_ten_seconds() {
    let mut peer = VirtualPeer::new(web_messaging());
    peer.connect();
    assert_eq!(
        peer.conversation.poll_timeout(),
        Some((peer.now.instant + 10 * SECOND, Reason::ConfigureTimeout))
    );
    peer.pass(10 * SECOND);
    assert_eq!(peer.conversation.poll_command(), Some(Command::Disconnect));
    peer.drop_socket();
    assert!(matches!(
        peer.events()[..],
        [Event::Connection(ConnectionEvent::Reconnecting {
            cause: Loss::NoAnswer,
            ..
        })]
    ));
}

#[test]
fn deferred_connection_times_out_after_the_deferral() {
    let mut peer = VirtualPeer::new(web_messaging());
    peer.conversation.engine_mut().connect(peer.now);
    assert_eq!(peer.conversation.poll_command(), Some(Command::Connect));
    let until = peer.now.instant + 90 * SECOND;
    peer.conversation.handle_connect_deferred(until, peer.now);
    let due = peer.conversation.poll_timeout();
    assert_eq!(due, Some((until + 20 * SECOND, Reason::ConnectTimeout)));
}

#[test]
fn connection_that_no_queue_takes_is_tried_again_when_there_is_room() {
    let mut peer = VirtualPeer::new(web_messaging());
    peer.conversation.engine_mut().connect(peer.now);
    assert_eq!(peer.conversation.poll_command(), Some(Command::Connect));
    let (mut queue, owner) = (ConnectQueue::new(Rate::within(1, 60 * SECOND), 1), "shop".into());
    queue.enqueue(&owner, (), peer.now.instant).unwrap();
    queue.poll_slot(peer.now.instant);
    queue.enqueue(&owner, (), peer.now.instant).unwrap();
    let full = queue.enqueue(&owner, (), peer.now.instant).unwrap_err();
    peer.conversation.handle_queue_full(full, peer.now, 0);
    assert!(matches!(
        peer.events()[..],
        [Event::Connection(ConnectionEvent::Reconnecting { after, cause: Loss::QueueFull(_), .. })]
            if after >= 120 * SECOND
    ));
    peer.pass(full.retry_after + SECOND);
    assert_eq!(peer.conversation.poll_command(), Some(Command::Connect));
}

#[test]
fn connecting_times_out() {
    let mut peer = VirtualPeer::new(web_messaging());
    peer.conversation.engine_mut().connect(peer.now);
    peer.conversation.poll_command();
    peer.pass(20 * SECOND);
    assert_eq!(peer.conversation.poll_command(), Some(Command::Disconnect));
    peer.conversation.handle_connected(peer.now);
    assert_eq!(peer.state(), State::Connecting, "too late");
    peer.drop_socket();
    assert_eq!(peer.state(), State::Reconnecting);
}

#[test]
fn server_error_while_configuring_is_retried() {
    for code in [408, 500, 503, 5000] {
        let mut peer = VirtualPeer::new(web_messaging());
        peer.connect();
        peer.receive(&refused(code, None));
        assert_eq!(peer.conversation.poll_command(), Some(Command::Disconnect));
        peer.drop_socket();
        assert_eq!(peer.state(), State::Reconnecting, "{code}");
    }
    let mut peer = VirtualPeer::web_messaging();
    for code in [1000, 1001, 1008, 1011, 1012] {
        peer.close(CloseInfo::with_code(code, ""));
        assert_eq!(peer.state(), State::Reconnecting, "{code}");
        peer.reconnect();
        peer.receive(&session_response(false));
    }
}

/// Ends the peer's conversation and returns how.
fn ending(mut peer: VirtualPeer, act: impl FnOnce(&mut VirtualPeer)) -> (State, Ending) {
    act(&mut peer);
    let Some(Event::Ended(ending)) = peer.events().pop() else {
        panic!("{:?}", peer.conversation)
    };
    peer.drop_socket();
    peer.pass(Duration::from_secs(3600));
    assert_eq!(peer.conversation.poll_command(), None, "{ending:?} must not loop");
    assert_eq!(peer.conversation.poll_timeout(), None);
    assert!(peer.events().is_empty(), "nothing follows the end");
    assert!(!format!("{ending:?} {ending}").contains("canary"));
    (peer.state(), ending)
}

#[test]
fn final_causes_end_the_conversation() {
    let connecting = |contract: WebMessaging| {
        let mut peer = VirtualPeer::new(contract);
        peer.conversation.engine_mut().connect(peer.now);
        peer.conversation.poll_command();
        peer
    };
    for status in [401, 403] {
        let peer = connecting(web_messaging());
        assert_eq!(
            ending(peer, |peer| peer
                .conversation
                .handle_refused(status, None, peer.now, 0)),
            (State::Failed, Ending::Refused { status })
        );
    }
    let event =
        |class: &str| json!({"type": "message", "class": class, "code": 200, "body": {"reason": "signedIn"}});
    for (frame, expected_state) in [
        (refused(4006, None), State::Failed),
        (refused(4007, None), State::Failed),
        (refused(4017, None), State::Failed),
        (refused(401, None), State::Failed),
        (event("SessionExpiredEvent"), State::Failed),
        (event("LogoutEvent"), State::Failed),
        (event("ConnectionClosedEvent"), State::Closed),
    ] {
        let peer = VirtualPeer::web_messaging();
        let (state, _) = ending(peer, |peer| {
            peer.receive(&frame);
            assert_eq!(
                peer.transmits(),
                [Transmit::Close {
                    code: 1000,
                    reason: "the guest has left"
                }]
            );
        });
        assert_eq!(state, expected_state, "{frame}");
    }
    for code in [400, 403, 404, 4006, 4007, 4017, 4020] {
        let mut peer = VirtualPeer::new(web_messaging());
        peer.connect();
        assert_eq!(
            ending(peer, |peer| peer.receive(&refused(code, None))).0,
            State::Failed
        );
    }
}

#[test]
fn reconnect_opens_a_new_connection() {
    let mut peer = VirtualPeer::web_messaging();
    peer.jitter = u64::MAX;
    peer.conversation.engine_mut().reconnect(peer.now);
    assert_eq!(peer.conversation.poll_command(), Some(Command::Disconnect));
    peer.conversation.engine_mut().reconnect(peer.now);
    assert_eq!(peer.conversation.poll_command(), None);
    peer.drop_socket();
    assert!(matches!(
        peer.events()[..],
        [Event::Connection(ConnectionEvent::Reconnecting {
            attempt: 1,
            after: Duration::ZERO,
            cause: Loss::Requested
        })]
    ));
    peer.reconnect();
    peer.frames();
    peer.receive(&session_response(false));
    let explained = peer.conversation.engine().timeline.explain();
    assert!(
        explained.starts_with("A new connection was requested."),
        "{explained}"
    );
}
