//! What a conversation writes down of itself.

use std::time::Duration;

use guest_conversation::{Conversation, Machine as _};
use secrecy::SecretString;
use ws_transport::CloseInfo;

use crate::virtual_peer::{
    TOKEN, VirtualPeer, agent_says, echo, epoch, refused, session_response, too_many, web_messaging,
};

const SECOND: Duration = Duration::from_secs(1);

fn lines(conversation: &Conversation) -> Vec<String> {
    let timeline = conversation.timeline();
    timeline.entries().map(|(_, what)| what.to_string()).collect()
}

#[test]
fn a_conversation_without_a_past_has_no_timeline() {
    let conversation = Conversation::new(web_messaging());
    assert!(conversation.timeline().entries().count() == 0);
    assert!(conversation.explain().starts_with("Nothing has happened"));
}

#[test]
fn a_life_is_written_down_without_what_was_said() {
    let mut peer = VirtualPeer::web_messaging();
    peer.send(1, "canary of the guest");
    peer.frames();
    peer.hear(&echo(1));
    peer.hear(&agent_says("a", "canary of the agent"));
    peer.pass(SECOND);
    peer.hear(&too_many(7, None));
    peer.close(CloseInfo::with_code(1001, "canary of the service"));
    peer.reconnect();
    peer.pass(7 * SECOND);
    peer.frames();
    peer.hear(&session_response(false));
    let text = format!(
        "{}{:?}",
        peer.conversation.timeline(),
        peer.conversation.timeline()
    );
    for secret in ["canary", TOKEN, "Ann"] {
        assert!(!text.contains(secret), "{text}");
    }
    let lines = lines(&peer.conversation);
    let said = |line: &str| line.starts_with("->") || line.starts_with("<-");
    let turns: Vec<_> = lines.iter().filter(|line| !said(line)).collect();
    assert_eq!(
        turns,
        [
            "state: Connecting",
            "state: Configuring",
            "state: Configured",
            "the service limited the rate: waits 7.0 s",
            "lost: the service went away, or found the connection idle or old (1001)",
            "state: Reconnecting",
            "attempt 1 to reconnect in 0.0 s",
            "state: Connecting",
            "state: Configuring",
            "state: Configured",
        ]
    );
    let frames: Vec<_> = lines.iter().filter(|line| said(line)).collect();
    let names: Vec<_> = frames
        .iter()
        .map(|line| line.split(", ").next().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "-> configureSession",
            "<- SessionResponse",
            "-> onMessage",
            "<- StructuredMessage x2",
            "<- TooManyRequestsErrorMessage",
            "-> configureSession",
            "<- SessionResponse",
        ]
    );
    assert!(
        peer.conversation.explain().contains("connected again"),
        "{}",
        peer.conversation.explain()
    );
}

#[test]
fn silence_is_explained() {
    let mut peer = VirtualPeer::web_messaging();
    for _ in 0..3 {
        let (at, _) = peer.conversation.poll_timeout().unwrap();
        peer.pass(at - peer.now.instant);
        peer.transmits();
    }
    peer.drop_socket();
    let lines = lines(&peer.conversation);
    assert!(lines.contains(&"a ping was not answered".to_owned()), "{lines:?}");
    let account = peer.conversation.explain();
    assert!(account.contains("neither of two pings"), "{account}");
}

#[test]
fn a_token_and_an_ending_are_explained_when_it_is_over() {
    let contract = web_messaging().with_jwt(SecretString::from("jwt-canary"));
    let mut peer = VirtualPeer::new(contract);
    peer.connect();
    peer.frames();
    for _ in 0..4 {
        peer.hear(&refused(401, None));
        peer.conversation.update_token(SecretString::from("jwt-canary"));
        peer.pass(Duration::ZERO);
        peer.frames();
    }
    let lines = lines(&peer.conversation);
    for line in [
        "a token was requested",
        "a token was given",
        "the token was refused",
        "over: the guest's sign-in was not accepted",
        "state: Failed",
    ] {
        assert!(lines.iter().any(|known| known == line), "{line} in {lines:?}");
    }
    let account = peer.conversation.explain();
    assert!(account.contains("the token was refused"), "{account}");
    assert!(!account.contains("canary"));
}

#[test]
fn a_wait_for_the_limit_is_noted_once() {
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
    conversation.connect(now);
    conversation.handle_connect_deferred(now.instant + 3 * SECOND);
    assert!(
        lines(&conversation).contains(&"the limit of new connections: waits 3.0 s".to_owned()),
        "{:?}",
        lines(&conversation)
    );
}
