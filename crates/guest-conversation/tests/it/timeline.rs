//! The timeline of a conversation.

use std::time::Duration;

use guest_conversation::{Conversation, GuestMachine as _, Machine as _, WebMessaging};
use secrecy::SecretString;
use ws_transport::CloseInfo;

use crate::virtual_peer::{
    TOKEN, VirtualPeer, agent_message, echo, epoch, refused, session_response, too_many, web_messaging,
};

const SECOND: Duration = Duration::from_secs(1);

fn lines(conversation: &Conversation) -> Vec<String> {
    let timeline = &conversation.engine().timeline;
    timeline.entries().map(|(_, what)| what.to_string()).collect()
}

#[test]
fn timeline_of_a_new_conversation_is_empty() {
    let conversation = Conversation::new(web_messaging());
    assert!(conversation.engine().timeline.entries().count() == 0);
    assert!(
        conversation
            .engine()
            .timeline
            .explain()
            .starts_with("Nothing has happened")
    );
}

#[test]
fn timeline_records_events_without_texts() {
    let mut peer = VirtualPeer::web_messaging();
    peer.send(1, "canary of the guest");
    peer.frames();
    peer.receive(&echo(1));
    peer.receive(&agent_message("a", "canary of the agent"));
    peer.pass(SECOND);
    peer.receive(&too_many(7, None));
    peer.close(CloseInfo::with_code(1001, "canary of the service"));
    peer.reconnect();
    peer.pass(7 * SECOND);
    peer.frames();
    peer.receive(&session_response(false));
    let text = format!(
        "{}{:?}",
        peer.conversation.engine().timeline,
        peer.conversation.engine().timeline
    );
    for secret in ["canary", TOKEN, "Ann"] {
        assert!(!text.contains(secret), "{text}");
    }
    let lines = lines(&peer.conversation);
    let is_frame = |line: &str| line.starts_with("->") || line.starts_with("<-");
    let turns: Vec<_> = lines.iter().filter(|line| !is_frame(line)).collect();
    assert_eq!(
        turns,
        [
            "state: Connecting",
            "state: Configuring",
            "state: Configured",
            "the service limited the rate",
            "the limit of the service: waits 7.0 s",
            "lost: the service closed the connection with code 1001 (going away, or the connection was idle or old)",
            "state: Reconnecting",
            "attempt 1 to reconnect in 0.0 s",
            "state: Connecting",
            "state: Configuring",
            "state: Configured",
        ]
    );
    let frames: Vec<_> = lines.iter().filter(|line| is_frame(line)).collect();
    let names: Vec<_> = frames
        .iter()
        .map(|line| line.split(", ").next().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "-> configureSession x1",
            "<- SessionResponse x1",
            "-> onMessage x1",
            "<- StructuredMessage x2",
            "<- TooManyRequestsErrorMessage x1",
            "-> configureSession x1",
            "<- SessionResponse x1",
        ]
    );
    assert!(
        peer.conversation
            .engine()
            .timeline
            .explain()
            .contains("connected again"),
        "{}",
        peer.conversation.engine().timeline.explain()
    );
}

#[test]
fn timeline_explains_silence() {
    let mut peer = VirtualPeer::web_messaging();
    for _ in 0..3 {
        let (at, _) = peer.conversation.poll_timeout().unwrap();
        peer.pass(at - peer.now.instant);
        peer.transmits();
    }
    peer.drop_socket();
    let lines = lines(&peer.conversation);
    assert!(lines.contains(&"a ping was not answered".to_owned()), "{lines:?}");
    let account = peer.conversation.engine().timeline.explain();
    assert!(account.contains("neither of two pings"), "{account}");
}

#[test]
fn timeline_explains_a_message_without_echo() {
    let mut peer = VirtualPeer::web_messaging();
    peer.send(1, "hello");
    assert_eq!(peer.frames().len(), 1);
    let explain = |peer: &VirtualPeer| peer.conversation.engine().timeline.explain();
    assert_eq!(explain(&peer), "The connection has not failed.");
    for _ in 0..6 {
        peer.pass(15 * SECOND);
        peer.transmits();
        peer.conversation.engine_mut().handle_alive();
    }
    let account = explain(&peer);
    assert!(
        account.ends_with(", but a message was not acknowledged in time."),
        "{account}"
    );
}

#[test]
fn timeline_explains_a_read_only_conversation_after_a_loss() {
    let mut peer = VirtualPeer::web_messaging();
    peer.drop_socket();
    peer.reconnect();
    let mut session = session_response(false);
    session["body"]["readOnly"] = true.into();
    peer.receive(&session);
    let account = peer.conversation.engine().timeline.explain();
    assert!(account.contains("has ended and is read-only"), "{account}");
}

#[test]
fn timeline_explains_a_refused_token() {
    let mut peer = VirtualPeer::new(WebMessaging {
        jwt: Some(SecretString::from("jwt-canary")),
        ..web_messaging()
    });
    peer.connect();
    peer.frames();
    for _ in 0..4 {
        peer.receive(&refused(401, None));
        peer.conversation.update_token(SecretString::from("jwt-canary"));
        peer.pass(Duration::ZERO);
        peer.frames();
    }
    let lines = lines(&peer.conversation);
    for line in [
        "a token was requested",
        "a token was given",
        "the token was refused",
        "over: the service accepts no token of this guest: code 401: sign in again",
        "state: Failed",
    ] {
        assert!(lines.iter().any(|known| known == line), "{line} in {lines:?}");
    }
    let account = peer.conversation.engine().timeline.explain();
    assert!(account.contains("the token was refused"), "{account}");
    assert!(!account.contains("canary"));
}

#[test]
fn timeline_records_a_wait_once() {
    let mut peer = VirtualPeer::web_messaging();
    for n in 0..7 {
        peer.send(n, "x");
    }
    for _ in 0..3 {
        peer.frames();
    }
    let waits = |peer: &VirtualPeer| {
        let lines = lines(&peer.conversation);
        lines.iter().filter(|line| line.contains("waits")).count()
    };
    assert_eq!(waits(&peer), 1);
    let mut conversation = Conversation::new(web_messaging());
    let now = epoch();
    conversation.engine_mut().connect(now);
    conversation.handle_connect_deferred(now.instant + 3 * SECOND, now);
    assert!(
        lines(&conversation).contains(&"the limit of new connections: waits 3.0 s".to_owned()),
        "{:?}",
        lines(&conversation)
    );
}
