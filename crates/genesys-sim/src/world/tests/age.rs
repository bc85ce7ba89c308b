//! Sockets that grow old.

use super::*;

fn stage() -> Stage {
    Stage::new(Rules {
        agent: Agent::Silent,
        limits: Limits::none(),
        socket_timeouts: SocketTimeouts::like_api_gateway(),
        ..rules()
    })
}

#[test]
fn a_silent_socket_is_closed_after_ten_minutes_and_its_session_lives_on() {
    let mut stage = stage();
    let socket = stage.guest();
    stage.pass(Duration::from_secs(599));
    stage.tell(socket, text("still here"));
    stage.seen();
    stage.pass(Duration::from_secs(599));
    stage.world.handle_ping(socket, stage.now);
    stage.pass(Duration::from_secs(599));
    assert_eq!(stage.seen(), [], "a frame and a ping keep it open");
    stage.pass(Duration::from_secs(1));
    assert_eq!(stage.seen(), [(socket, Seen::Closed(1001))]);
    let socket = stage.connect();
    assert_eq!(stage.ask(socket, configure())["body"]["newSession"], false);
}

#[test]
fn a_busy_socket_is_closed_after_two_hours() {
    let mut stage = stage();
    let socket = stage.guest();
    for _ in 0..24 {
        assert_eq!(stage.seen().len(), 0);
        stage.pass(Duration::from_secs(300));
        stage.world.handle_ping(socket, stage.now);
    }
    assert_eq!(stage.seen(), [(socket, Seen::Closed(1001))]);
    assert_eq!(stage.world.counters().open, 0);
}

#[test]
fn a_socket_that_is_gone_leaves_no_deadline() {
    let mut stage = stage();
    let socket = stage.connect();
    stage.world.handle_closed(socket, stage.now);
    assert_eq!(stage.world.poll_timeout(), None);
}
