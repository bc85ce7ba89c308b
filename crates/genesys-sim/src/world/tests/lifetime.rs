//! What ends by time.

use super::*;

const HOUR: Duration = Duration::from_secs(3_600);

fn stage() -> Stage {
    Stage::new(Rules {
        agent: Agent::Silent,
        session_duration: HOUR,
        limits: Limits::none(),
        ..rules()
    })
}

fn expired() -> Seen {
    Seen::Frame(json!({"type": "response", "class": "SessionExpiredEvent", "code": 200, "body": {}}))
}

#[test]
fn a_session_ends_a_while_after_its_last_message() {
    let mut stage = stage();
    let socket = stage.guest();
    stage.pass(HOUR / 2);
    stage.ask(socket, text("still here"));
    assert_eq!(
        stage.world.poll_timeout(),
        Some((stage.now.instant + HOUR, Reason::SessionExpiry))
    );
    stage.pass(HOUR - Duration::from_millis(1));
    assert_eq!(stage.seen(), []);
    stage.pass(Duration::from_millis(1));
    assert_eq!(stage.seen(), [(socket, expired())]);
    for frame in [text("late"), json!({"action": "getJwt", "token": TOKEN})] {
        assert_eq!(code(&stage.ask(socket, frame)), 4006);
    }
    assert_eq!(
        stage.ask(socket, configure())["body"]["newSession"],
        true,
        "the token may begin again"
    );
    assert_eq!(stage.world.counters().expired, 1);
}

#[test]
fn an_agents_message_keeps_a_session_and_other_traffic_does_not() {
    let mut talkative = Stage::new(Rules {
        session_duration: HOUR,
        agent_delay: HOUR / 2,
        ..rules()
    });
    let socket = talkative.guest();
    talkative.tell(socket, text("hi"));
    talkative.pass(HOUR / 2);
    talkative.seen();
    talkative.pass(HOUR - Duration::from_secs(1));
    assert_eq!(talkative.seen(), []);

    let mut stage = stage();
    let socket = stage.guest();
    stage.pass(HOUR / 2);
    let echo = json!({"action": "echo", "token": TOKEN, "message": {"type": "Text", "text": "ping"}});
    let answer = stage.ask(socket, echo);
    let ends = (now().utc + HOUR).unix_timestamp().to_string();
    assert_eq!(
        answer["body"]["metadata"],
        json!({"durationSeconds": "3600", "expirationDate": ends})
    );
    stage.ask(socket, configure());
    stage.jwt(socket);
    stage.pass(HOUR / 2);
    assert_eq!(stage.seen(), [(socket, expired())]);
}

#[test]
fn what_was_due_happens_before_a_late_frame() {
    let mut stage = stage();
    let socket = stage.guest();
    stage.now = at(stage.now, HOUR * 2);
    stage.tell(socket, text("late"));
    let seen = stage.seen_by(socket);
    assert_eq!(seen[0], expired());
    let Seen::Frame(refused) = &seen[1] else {
        panic!("{seen:?}")
    };
    assert_eq!(code(refused), 4006);
}

#[test]
fn an_expired_session_without_a_socket_is_forgotten() {
    let mut stage = stage();
    let socket = stage.guest();
    stage.world.handle_closed(socket, stage.now);
    stage.pass(HOUR);
    assert_eq!(stage.world.counters().alive, 0);
    assert_eq!(stage.world.poll_timeout(), None);
    let socket = stage.connect();
    assert_eq!(stage.ask(socket, configure())["body"]["newSession"], true);
}

#[test]
fn history_opens_to_a_fresh_jwt_only() {
    let mut stage = stage();
    let socket = stage.guest();
    let jwt = stage.jwt(socket);
    stage.pass(Duration::from_secs(59));
    assert_eq!(stage.history(&jwt, "").0, 200);
    stage.pass(Duration::from_secs(1));
    let (status, body) = stage.history(&jwt, "");
    assert_eq!((status, &body["code"]), (401, &json!("credentials.expired")));
    let (status, body) = stage.history("forged", "");
    assert_eq!((status, &body["code"]), (401, &json!("bad.credentials")));
    let (response, body) = get(&mut stage.world, "/api/v2/webmessaging/messages", stage.now);
    assert_eq!(
        (response.status().as_u16(), &body["code"]),
        (401, &json!("authentication.required"))
    );
}

#[test]
fn a_shutdown_closes_all_sockets_and_admits_none() {
    let mut stage = stage();
    let sockets = [stage.guest(), stage.connect()];
    stage.world.handle_shutdown();
    assert_eq!(stage.seen(), sockets.map(|socket| (socket, Seen::Closed(1001))));
    assert_eq!(stage.handshake(DEPLOYMENT, None).unwrap_err().status(), 503);
    for socket in sockets {
        stage.world.handle_closed(socket, stage.now);
    }
}
