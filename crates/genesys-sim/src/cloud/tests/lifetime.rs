//! Expiry of sessions and JWTs, and shutdown.

use super::*;
use crate::Reason;

const HOUR: Duration = Duration::from_secs(3_600);

fn harness() -> Harness {
    Harness::new(Rules {
        agent: Agent::Silent,
        session_duration: HOUR,
        limits: Limits::none(),
        ..rules()
    })
}

fn expired() -> Received {
    Received::Frame(json!({"type": "response", "class": "SessionExpiredEvent", "code": 200, "body": {}}))
}

#[test]
fn session_expires_after_its_last_message() {
    let mut harness = harness();
    let socket = harness.guest();
    harness.advance(HOUR / 2);
    harness.ask(socket, text("still here"));
    assert_eq!(
        harness.cloud.poll_timeout(),
        Some((harness.now.instant + HOUR, Reason::Expiry))
    );
    harness.advance(HOUR - Duration::from_millis(1));
    assert_eq!(harness.received(), []);
    harness.advance(Duration::from_millis(1));
    assert_eq!(harness.received(), [(socket, expired())]);
    for frame in [text("late"), json!({"action": "getJwt", "token": TOKEN})] {
        assert_eq!(code(&harness.ask(socket, frame)), 4006);
    }
    assert_eq!(
        harness.ask(socket, configure())["body"]["newSession"],
        true,
        "the token starts a new session"
    );
    assert_eq!(harness.cloud.counters().expired, 1);
}

#[test]
fn agent_message_extends_a_session_and_other_traffic_does_not() {
    let mut active = Harness::new(Rules {
        session_duration: HOUR,
        agent_delay: HOUR / 2,
        ..rules()
    });
    let socket = active.guest();
    active.send_frame(socket, text("hi"));
    active.advance(HOUR / 2);
    active.received();
    active.advance(HOUR - Duration::from_secs(1));
    assert_eq!(active.received(), []);

    let mut harness = harness();
    let socket = harness.guest();
    harness.advance(HOUR / 2);
    let echo = json!({"action": "echo", "token": TOKEN, "message": {"type": "Text", "text": "ping"}});
    let answer = harness.ask(socket, echo);
    let ends = (now().utc + HOUR).unix_timestamp().to_string();
    assert_eq!(
        answer["body"]["metadata"],
        json!({"durationSeconds": "3600", "expirationDate": ends})
    );
    harness.ask(socket, configure());
    harness.jwt(socket);
    harness.advance(HOUR / 2);
    assert_eq!(harness.received(), [(socket, expired())]);
}

#[test]
fn due_timers_fire_before_a_late_frame() {
    let mut harness = harness();
    let socket = harness.guest();
    harness.now = at(harness.now, HOUR * 2);
    harness.send_frame(socket, text("late"));
    let received = harness.received_by(socket);
    assert_eq!(received[0], expired());
    let Received::Frame(refused) = &received[1] else {
        panic!("{received:?}")
    };
    assert_eq!(code(refused), 4006);
}

#[test]
fn short_session_names_its_lifetime_and_leaves_no_transcript() {
    let mut harness = Harness::new(Rules {
        session_duration: Duration::from_secs(900),
        ..rules()
    });
    let (socket, start) = (harness.connect(), harness.now.utc.unix_timestamp());
    let session = harness.ask(socket, configure())["body"].clone();
    let lifetime = (&session["durationSeconds"], &session["expirationDate"]);
    assert_eq!(lifetime, (&json!(900), &json!(start + 900)));
    let path = format!("/webdeployments/v1/deployments/{DEPLOYMENT}/config.json");
    let document = get(&mut harness.cloud, &path, harness.now).1;
    let conversations = &document["messenger"]["apps"]["conversations"];
    assert_eq!(conversations["sessionDurationSeconds"], 900);
    harness.send_frame(socket, text("hello"));
    harness.advance(Duration::from_secs(899));
    let jwt = harness.jwt(socket);
    assert_eq!(harness.history(&jwt, "").1["total"], 2);
    assert_eq!(harness.cloud.transcript(TOKEN).len(), 2);
    harness.advance(Duration::from_secs(1));
    assert_eq!(harness.received_by(socket), [expired()]);
    assert!(harness.cloud.transcript(TOKEN).is_empty());
    assert_eq!(harness.history(&jwt, "").0, 401);
    assert_eq!(harness.ask(socket, configure())["body"]["newSession"], true);
    let jwt = harness.jwt(socket);
    assert_eq!(harness.history(&jwt, "").1["total"], 0);
}

#[test]
fn expired_session_without_a_socket_is_removed() {
    let mut harness = harness();
    let socket = harness.guest();
    harness.cloud.handle_closed(socket, harness.now);
    harness.advance(HOUR);
    assert_eq!(harness.cloud.counters().alive, 0);
    assert_eq!(harness.cloud.poll_timeout(), None);
    let socket = harness.connect();
    assert_eq!(harness.ask(socket, configure())["body"]["newSession"], true);
}

#[test]
fn history_needs_a_fresh_jwt() {
    let mut harness = harness();
    let socket = harness.guest();
    let jwt = harness.jwt(socket);
    harness.advance(Duration::from_secs(59));
    assert_eq!(harness.history(&jwt, "").0, 200);
    harness.advance(Duration::from_secs(1));
    let (status, body) = harness.history(&jwt, "");
    assert_eq!((status, &body["code"]), (401, &json!("credentials.expired")));
    let (status, body) = harness.history("forged", "");
    assert_eq!((status, &body["code"]), (401, &json!("bad.credentials")));
    let (response, body) = get(&mut harness.cloud, "/api/v2/webmessaging/messages", harness.now);
    assert_eq!(
        (response.status().as_u16(), &body["code"]),
        (401, &json!("authentication.required"))
    );
}

#[test]
fn shutdown_closes_all_sockets_and_admits_none() {
    let mut harness = harness();
    let sockets = [harness.guest(), harness.connect()];
    harness.cloud.handle_shutdown();
    assert_eq!(
        harness.received(),
        sockets.map(|socket| (socket, Received::Closed(1001)))
    );
    assert_eq!(harness.handshake(DEPLOYMENT, None).unwrap_err().status(), 503);
    for socket in sockets {
        harness.cloud.handle_closed(socket, harness.now);
    }
}
