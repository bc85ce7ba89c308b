//! Idle timeout and maximum lifetime of sockets.

use super::*;

fn harness() -> Harness {
    Harness::new(Rules {
        agent: Agent::Silent,
        limits: Limits::none(),
        socket_timeouts: SocketTimeouts {
            idle: Some(genesys_api::limits::IDLE),
            lifetime: Some(genesys_api::limits::CONNECTION),
        },
        ..rules()
    })
}

#[test]
fn idle_socket_is_closed_after_ten_minutes_without_its_session() {
    let mut harness = harness();
    let socket = harness.guest();
    harness.advance(Duration::from_secs(599));
    harness.send_frame(socket, text("still here"));
    harness.received();
    harness.advance(Duration::from_secs(599));
    harness.cloud.handle_ping(socket, harness.now);
    harness.advance(Duration::from_secs(599));
    assert_eq!(harness.received(), [], "a frame and a ping keep it open");
    harness.advance(Duration::from_secs(1));
    assert_eq!(harness.received(), [(socket, Received::Closed(1001))]);
    let socket = harness.connect();
    assert_eq!(harness.ask(socket, configure())["body"]["newSession"], false);
}

#[test]
fn active_socket_is_closed_after_two_hours() {
    let mut harness = harness();
    let socket = harness.guest();
    for _ in 0..24 {
        assert_eq!(harness.received().len(), 0);
        harness.advance(Duration::from_secs(300));
        harness.cloud.handle_ping(socket, harness.now);
    }
    assert_eq!(harness.received(), [(socket, Received::Closed(1001))]);
    assert_eq!(harness.cloud.counters().open, 0);
}

#[test]
fn closed_socket_leaves_no_deadline() {
    let mut harness = harness();
    let socket = harness.connect();
    harness.cloud.handle_closed(socket, harness.now);
    assert_eq!(harness.cloud.poll_timeout(), None);
}
