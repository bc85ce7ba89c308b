//! Recovery of deliveries and of missed messages by the history.

use std::time::Duration;

use guest_conversation::{
    DeliveryStatus, FailureReason, GuestMachine as _, HistoryFailure, JobOutcome, Machine as _,
};
use serde_json::{Value, json};

use crate::history_peer::{
    answer, come_back, command, emitted, entry, fail_read, jwt, page, peer, requested_call, resumed,
};
use crate::virtual_peer::{VirtualPeer, agent_message, echo, id, session_response, too_many, web_messaging};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn recovery_matches_sent_messages_and_emits_missed_ones_in_order() {
    let mut peer = peer();
    peer.receive(&agent_message("a1", "before"));
    peer.send(1, "arrived");
    assert_eq!(peer.frames().len(), 1);
    assert_eq!(
        peer.conversation.engine().delivery(id(1)),
        Some(DeliveryStatus::Sending)
    );
    assert_eq!(emitted(&mut peer), ["message before"]);
    come_back(&mut peer);
    assert_eq!(
        peer.conversation.engine().delivery(id(1)),
        Some(DeliveryStatus::Sending)
    );
    peer.send(2, "waits until it is decided");
    let call = requested_call(&mut peer);
    assert_eq!(call.page, 1);
    // live, while the history is read: it is deferred, for something older may come
    let mut live = agent_message("a3", "live");
    live["body"]["channel"]["time"] = "2026-11-22T12:00:09.000Z".into();
    peer.receive(&live);
    assert_eq!(emitted(&mut peer), [""; 0]);
    assert!(peer.frames().is_empty());
    let history = page(
        1,
        1,
        &[
            entry("a3", 9, "live", false),
            entry("a2", 8, "missed", false),
            entry("g1", 3, " arrived ", true),
            entry("a1", 2, "before", false),
        ],
    );
    answer(&mut peer, history.clone());
    assert_eq!(
        emitted(&mut peer),
        ["accepted 1", "message missed", "message live"]
    );
    assert!(matches!(
        peer.conversation.engine().delivery(id(1)),
        Some(DeliveryStatus::Delivered { .. })
    ));
    assert_eq!(peer.frames()[0]["tracingId"], id(2).to_string());
    peer.receive(&live);
    peer.receive(&echo(1));
    answer(&mut peer, history);
    assert_eq!(emitted(&mut peer), [""; 0], "late copies are recognized");
}

#[test]
fn absent_message_is_sent_once_more_and_then_fails() {
    let mut peer = peer();
    peer.send(1, "lost");
    peer.send(2, "lost too");
    assert_eq!(peer.frames().len(), 2);
    come_back(&mut peer);
    peer.send(3, "later");
    peer.pass(2 * SECOND);
    assert!(peer.frames().is_empty(), "the lost socket may still deliver");
    requested_call(&mut peer);
    answer(&mut peer, page(1, 1, &[]));
    let sent: Vec<_> = peer
        .frames()
        .iter()
        .map(|frame| frame["tracingId"].clone())
        .collect();
    assert_eq!(sent, [id(1), id(2), id(3)].map(|id| json!(id.to_string())));
    peer.receive(&echo(2));
    assert_eq!(emitted(&mut peer), ["accepted 2"]);
    // and lost again
    come_back(&mut peer);
    peer.pass(3 * SECOND);
    assert!(peer.frames().is_empty(), "the token is valid for a minute");
    command(&mut peer);
    answer(&mut peer, page(1, 1, &[]));
    assert_eq!(emitted(&mut peer), ["failed NotDelivered"]);
    assert_eq!(
        peer.conversation.engine().delivery(id(1)),
        Some(DeliveryStatus::Failed(FailureReason::NotDelivered))
    );
    assert_eq!(peer.frames()[0]["tracingId"], id(3).to_string());
}

#[test]
fn equal_texts_are_counted_and_known_or_old_entries_ignored() {
    let mut peer = peer();
    peer.send(1, "yes");
    peer.frames();
    peer.receive(
        &json!({"type": "message", "class": "StructuredMessage", "code": 200, "tracingId": id(1).to_string(),
        "body": {"type": "Text", "text": "yes", "direction": "Inbound", "id": "e1",
            "channel": {"time": "2026-11-22T12:00:01.000Z", "messageId": "m-g1"}}}),
    );
    peer.send(2, "yes");
    peer.send(3, "yes");
    assert_eq!(peer.frames().len(), 2);
    emitted(&mut peer);
    come_back(&mut peer);
    requested_call(&mut peer);
    let mut old = entry("g0", 0, "yes", true);
    old["channel"]["time"] = "2026-11-22T11:00:00.000Z".into();
    answer(
        &mut peer,
        page(
            1,
            1,
            &[entry("g2", 4, "yes", true), entry("g1", 1, "yes", true), old],
        ),
    );
    assert_eq!(emitted(&mut peer), ["accepted 2"]);
    let frames = peer.frames();
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0]["tracingId"], id(3).to_string());
}

#[test]
fn recovery_reads_at_most_four_pages() {
    for complete in [true, false] {
        let mut peer = peer();
        peer.receive(&agent_message("a0", "before"));
        peer.send(1, "lost");
        peer.frames();
        come_back(&mut peer);
        let mut call = requested_call(&mut peer);
        for number in 1..=4 {
            assert_eq!(call.page, number);
            let name = format!("a{number}");
            let mut entry = entry(&name, 30, &name, false);
            if number == 4 && complete {
                entry["channel"]["time"] = "2026-11-22T11:58:00.000Z".into();
            }
            answer(&mut peer, page(number, 9, &[entry]));
            if number < 4 {
                call = command(&mut peer);
            }
        }
        assert_eq!(peer.conversation.poll_command(), None);
        let emitted = emitted(&mut peer);
        let unknown = emitted.contains(&"unknown 1".to_owned());
        assert_eq!(unknown, !complete, "what may stand further back stays in doubt");
        let gaps = emitted.iter().filter(|event| event.starts_with("unread"));
        assert_eq!(gaps.count(), usize::from(!complete), "{emitted:?}");
        if !complete {
            let gap = ["message before", "unread a0..a4", "message a4", "message a3"];
            assert_eq!(emitted[..4], gap, "the gap precedes the oldest message");
        }
        assert_eq!(peer.frames().len(), usize::from(complete));
    }
}

#[test]
fn recovery_requests_a_second_token_and_waits_for_a_rate_limit() {
    let mut peer = peer();
    come_back(&mut peer);
    requested_call(&mut peer);
    let unauthorized = || Err(HistoryFailure::Unauthorized);
    peer.conversation
        .handle_outcome(JobOutcome::History(unauthorized()), peer.now);
    assert_eq!(peer.frames()[0]["action"], "getJwt");
    peer.receive(&jwt(&peer, 60));
    command(&mut peer);
    let retry_after = 7 * SECOND;
    peer.conversation.handle_outcome(
        JobOutcome::History(Err(HistoryFailure::RateLimited { retry_after })),
        peer.now,
    );
    peer.pass(6 * SECOND);
    assert_eq!(peer.conversation.poll_command(), None);
    peer.pass(SECOND);
    command(&mut peer);
    peer.conversation
        .handle_outcome(JobOutcome::History(unauthorized()), peer.now);
    assert_eq!(emitted(&mut peer), ["unread .."]);
    assert_eq!(peer.conversation.poll_command(), None);
}

#[test]
fn unread_history_leaves_deliveries_unknown() {
    let mut peer = peer();
    peer.send(1, "x");
    peer.frames();
    come_back(&mut peer);
    requested_call(&mut peer);
    peer.receive(&agent_message("a1", "deferred"));
    fail_read(&mut peer);
    assert_eq!(
        emitted(&mut peer),
        ["unread ..a1", "message deferred", "unknown 1"]
    );
    assert_eq!(
        peer.conversation.engine().delivery(id(1)),
        Some(DeliveryStatus::Unknown)
    );
    peer.receive(&echo(1));
    assert_eq!(emitted(&mut peer), ["accepted 1"]);

    // nobody answers at all
    come_back(&mut peer);
    peer.pass(3 * SECOND);
    command(&mut peer);
    for _ in 0..5 {
        peer.pass(15 * SECOND);
        peer.conversation.handle_alive();
    }
    assert_eq!(emitted(&mut peer), ["unread a1.."]);
}

#[test]
fn recovery_that_more_messages_overtake_than_it_holds_ends_with_a_gap() {
    let mut peer = peer();
    peer.receive(&agent_message("a0", "before"));
    assert_eq!(emitted(&mut peer), ["message before"]);
    come_back(&mut peer);
    requested_call(&mut peer);
    let names: Vec<String> = (1..=66).map(|n| format!("b{n}")).collect();
    for name in &names[..64] {
        peer.receive(&agent_message(name, name));
    }
    assert_eq!(emitted(&mut peer), [""; 0], "something older may come");
    for name in &names[64..] {
        peer.receive(&agent_message(name, name));
    }
    let mut expected = vec!["unread a0..b1".to_owned()];
    expected.extend(names.iter().map(|name| format!("message {name}")));
    assert_eq!(emitted(&mut peer), expected, "held messages first");
    answer(&mut peer, page(1, 1, &[entry("m", 1, "missed", false)]));
    assert_eq!(emitted(&mut peer), [""; 0], "it is not awaited any more");
    // the next recovery reads it
    come_back(&mut peer);
    peer.pass(3 * SECOND);
    command(&mut peer);
    answer(&mut peer, page(1, 1, &[entry("m", 1, "missed", false)]));
    assert_eq!(emitted(&mut peer), ["message missed"]);
}

#[test]
fn throttled_history_token_is_requested_again() {
    let mut peer = peer();
    come_back(&mut peer);
    let frames = peer.frames();
    let tracing_id = frames[0]["tracingId"].as_str().unwrap().parse().unwrap();
    peer.receive(&too_many(2, Some(tracing_id)));
    assert!(peer.frames().is_empty());
    peer.pass(2 * SECOND);
    assert_eq!(peer.frames()[0]["action"], "getJwt");
}

#[test]
fn history_token_that_seems_expired_is_used() {
    let mut peer = peer();
    come_back(&mut peer);
    peer.frames();
    peer.receive(&jwt(&peer, -3600));
    command(&mut peer);
}

#[test]
fn new_session_reads_no_old_history() {
    let mut peer = peer();
    peer.send(1, "x");
    peer.frames();
    peer.drop_socket();
    peer.reconnect();
    peer.frames();
    peer.receive(&session_response(true));
    assert_eq!(emitted(&mut peer), ["unknown 1"]);
    assert!(peer.frames().is_empty());
}

#[test]
fn overdue_echo_is_looked_up_in_the_history() {
    let mut peer = peer();
    peer.send(1, "x");
    peer.frames();
    for _ in 0..5 {
        peer.pass(15 * SECOND);
        peer.conversation.handle_alive();
    }
    peer.pass(SECOND);
    assert_eq!(peer.frames()[0]["action"], "getJwt");
    peer.receive(&jwt(&peer, 60));
    command(&mut peer);
    answer(&mut peer, page(1, 1, &[entry("g", 1, "x", true)]));
    assert_eq!(emitted(&mut peer), ["accepted 1"]);
}

#[test]
fn end_does_not_wait_for_the_history() {
    let mut peer = peer();
    peer.send(1, "x");
    peer.frames();
    come_back(&mut peer);
    requested_call(&mut peer);
    peer.receive(&agent_message("a1", "deferred"));
    peer.conversation.end(peer.now);
    assert_eq!(peer.conversation.poll_command(), None);
    peer.transmits();
    peer.close(ws_transport::CloseInfo::with_code(1000, ""));
    assert_eq!(
        emitted(&mut peer),
        ["unread ..a1", "message deferred", "unknown 1"]
    );
}

#[test]
fn late_arrival_by_a_lost_socket_is_not_sent_again() {
    let mut peer = peer();
    peer.send(1, "late");
    assert_eq!(peer.frames().len(), 1);
    come_back(&mut peer);
    // the service got it meanwhile, and tells the new socket, which did not send it
    let mut late = echo(1);
    late["tracingId"] = Value::Null;
    late["body"]["text"] = "late".into();
    late["body"]["channel"]["time"] = "2026-11-22T12:00:02.000Z".into();
    peer.receive(&late);
    requested_call(&mut peer);
    let seen = json!({"id": "kept", "type": "Text", "text": "late", "direction": "Inbound",
        "channel": {"time": "2026-11-22T12:00:02.000Z", "messageId": "m1"}});
    answer(&mut peer, page(1, 1, &[seen]));
    assert_eq!(emitted(&mut peer), ["accepted 1"]);
    assert_eq!(peer.frames(), Vec::<Value>::new());
}

#[test]
fn resumed_session_emits_missed_messages_first_and_in_order() {
    let mut peer = resumed(web_messaging());
    peer.receive(&agent_message("a3", "live"));
    assert_eq!(emitted(&mut peer), [""; 0], "something older may come");
    peer.send(1, "the guest need not wait");
    assert_eq!(peer.frames().len(), 1);
    peer.receive(&jwt(&peer, 60));
    command(&mut peer);
    let mut older = entry("a0", 0, "emitted by the earlier process", false);
    older["channel"]["time"] = "2026-11-22T11:59:54.999Z".into();
    let history = [
        entry("a3", 2, "live", false),
        entry("a2", 1, "second", false),
        entry("g1", 1, "sent by the earlier process", true),
        entry("a1", 0, "first", false),
        older,
    ];
    answer(&mut peer, page(1, 1, &history));
    assert_eq!(
        emitted(&mut peer),
        ["message first", "message second", "message live"]
    );
    assert_eq!(peer.conversation.poll_command(), None);
}

#[test]
fn incomplete_recovery_leaves_newer_messages_to_the_socket() {
    let mut peer = peer();
    peer.receive(&agent_message("a0", "before"));
    assert_eq!(emitted(&mut peer), ["message before"]);
    come_back(&mut peer);
    requested_call(&mut peer);
    // the newest page ends before the messages that are on their way
    let names = (10..60).rev();
    let entries: Vec<Value> = names.map(|n| entry(&format!("a{n}"), n, "read", false)).collect();
    answer(&mut peer, page(1, 4, &entries));
    for number in 1..=65 {
        peer.receive(&agent_message(&format!("b{number}"), "held"));
    }
    let shown = emitted(&mut peer);
    assert_eq!(shown[0], "unread a0..b1", "{shown:?}");
    assert_eq!(
        shown.iter().filter(|event| *event == "message read").count(),
        0,
        "{shown:?}"
    );
}

/// Has received "before", and "deferred" on a connection that was lost before the history was read. The next one reads it.
fn interrupted_recovery() -> VirtualPeer {
    let mut peer = peer();
    peer.receive(&agent_message("a0", "before"));
    assert_eq!(emitted(&mut peer), ["message before"]);
    come_back(&mut peer);
    requested_call(&mut peer);
    peer.receive(&agent_message("b1", "deferred"));
    // the connection is lost before the history is read
    come_back(&mut peer);
    peer.pass(3 * SECOND);
    command(&mut peer);
    peer
}

#[test]
fn gap_after_what_an_earlier_connection_brought_hides_no_newer_message() {
    let mut peer = interrupted_recovery();
    answer(&mut peer, page(1, 2, &[entry("c1", 9, "missed", false)]));
    command(&mut peer);
    fail_read(&mut peer);
    assert_eq!(
        emitted(&mut peer),
        [
            "unread a0..b1",
            "message deferred",
            "unread b1..c1",
            "message missed"
        ]
    );
}

#[test]
fn gap_after_what_an_earlier_connection_brought_is_reported_without_a_newer_message() {
    let mut peer = interrupted_recovery();
    fail_read(&mut peer);
    assert_eq!(
        emitted(&mut peer),
        ["unread a0..b1", "message deferred", "unread b1.."]
    );
}

#[test]
fn gap_follows_what_each_earlier_connection_brought() {
    let mut peer = peer();
    come_back(&mut peer);
    requested_call(&mut peer);
    // each connection is lost before the history is read
    for (name, text) in [("b1", "first"), ("b2", "second")] {
        let mut message = agent_message(name, text);
        message["body"]["channel"]["time"] = format!("2026-11-22T12:00:0{}.000Z", &name[1..]).into();
        peer.receive(&message);
        come_back(&mut peer);
        peer.pass(3 * SECOND);
        command(&mut peer);
    }
    fail_read(&mut peer);
    assert_eq!(
        emitted(&mut peer),
        [
            "unread ..b1",
            "message first",
            "unread b1..b2",
            "message second",
            "unread b2.."
        ]
    );
}

#[test]
fn entry_of_an_earlier_process_is_no_message_that_is_sent_after_it_was_read() {
    let mut peer = resumed(web_messaging());
    peer.receive(&jwt(&peer, 60));
    command(&mut peer);
    answer(&mut peer, page(1, 1, &[entry("a1", 1, "ok", true)]));
    assert!(emitted(&mut peer).is_empty());
    peer.send(1, "ok");
    peer.frames();
    come_back(&mut peer);
    peer.pass(3 * SECOND);
    command(&mut peer);
    answer(&mut peer, page(1, 1, &[entry("a1", 1, "ok", true)]));
    assert!(emitted(&mut peer).is_empty());
    // it certainly did not arrive, and is sent again
    assert_eq!(peer.frames()[0]["message"]["text"], "ok");
}
