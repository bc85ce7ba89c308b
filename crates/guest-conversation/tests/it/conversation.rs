//! Inputs of the state machine and their outputs.

use std::time::Duration;

use guest_conversation::{
    AuthorKind, ConnectionEvent, Content, DeliveryStatus, Direction, Event, FailureReason, GuestMachine as _,
    Machine as _, OutgoingMessage, SendError, SessionEvent, State,
};
use serde_json::json;
use ws_transport::{OriginPolicy, SocketUrl};

use crate::virtual_peer::{
    TOKEN, VirtualPeer, agent_message, echo, id, refused, session_response, web_messaging,
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn conversation_connects_configures_and_delivers() {
    let mut peer = VirtualPeer::new(web_messaging());
    peer.send(1, "queued before there is a connection");
    assert_eq!(peer.state(), State::Idle);
    peer.connect();
    assert_eq!(peer.state(), State::Configuring);
    let frames = peer.frames();
    assert_eq!(
        frames.len(),
        1,
        "nothing is sent before the session is configured"
    );
    assert_eq!(frames[0]["action"], "configureSession");
    assert_eq!(frames[0]["deploymentId"], "b3c2");
    assert_eq!(frames[0]["token"], TOKEN);
    peer.receive(&session_response(true));
    let [Event::Connection(ConnectionEvent::Ready(session))] = peer.events()[..] else {
        panic!()
    };
    assert!(session.new_session && !session.read_only);
    assert_eq!(session.expires_at.unwrap().unix_timestamp(), 1_791_139_139);
    assert_eq!(peer.conversation.expires_at(), session.expires_at);
    let frames = peer.frames();
    assert_eq!(
        frames[0]["message"]["text"],
        "queued before there is a connection"
    );
    assert_eq!(frames[0]["tracingId"], id(1).to_string());
    peer.receive(&echo(1));
    assert!(
        matches!(peer.events()[..], [Event::Delivery { id: accepted, status: DeliveryStatus::Delivered { at, .. } }]
        if accepted == id(1) && at.unix_timestamp() == 1_795_348_801)
    );
}

#[test]
fn echo_is_no_message_and_duplicates_are_dropped() {
    let mut peer = VirtualPeer::web_messaging();
    peer.send(1, "hi");
    peer.frames();
    for _ in 0..3 {
        peer.receive(&echo(1));
        peer.receive(&agent_message("a1", "hello"));
    }
    let [
        Event::Delivery {
            status: DeliveryStatus::Delivered { .. },
            ..
        },
        Event::Message(message),
    ] = &peer.events()[..]
    else {
        panic!()
    };
    assert_eq!((message.id.as_str(), message.text.as_str()), ("a1", "hello"));
    assert_eq!(
        (message.from.kind, message.from.name.as_deref()),
        (AuthorKind::Human, Some("Ann"))
    );
    assert_eq!(message.direction, Direction::Outbound);
}

#[test]
fn unknown_frame_is_emitted_and_changes_nothing() {
    let mut peer = VirtualPeer::web_messaging();
    let jwt = json!({"type": "response", "class": "NoveltyEvent", "code": 200, "body": {"jwt": "canary"}});
    peer.receive(&jwt);
    peer.conversation.handle_frame("no json", peer.now);
    let events = peer.events();
    let [
        Event::Session(SessionEvent::Unknown(unknown)),
        Event::Session(SessionEvent::Unknown(garbage)),
    ] = &events[..]
    else {
        panic!()
    };
    assert_eq!(unknown.class(), Some("NoveltyEvent"));
    assert_eq!(garbage.as_str(), "no json");
    assert!(!format!("{events:?}").contains("canary"));
    assert_eq!(peer.state(), State::Configured);
}

#[test]
fn published_frames_become_events() {
    macro_rules! receive {
        ($name:literal) => {{
            let mut peer = VirtualPeer::web_messaging();
            let frame = include_str!(concat!(
                "../../../../spec/web-messaging/golden/server/",
                $name,
                ".json"
            ));
            peer.conversation.handle_frame(frame, peer.now);
            peer.events()
        }};
    }
    let events = receive!("quick-replies");
    let [Event::Message(message)] = &events[..] else {
        panic!("{events:?}")
    };
    let payloads: Vec<_> = message.quick_replies().map(|reply| &*reply.payload).collect();
    assert_eq!(
        (payloads, message.from.kind),
        (vec!["RED", "BLUE"], AuthorKind::Bot)
    );
    let events = receive!("other-content");
    assert!(
        matches!(&events[..], [Event::Message(message)] if matches!(&message.content[0], Content::Other(raw) if raw.class() == Some("GenericTemplate")))
    );
    assert!(matches!(
        &receive!("agent-typing")[..],
        [Event::Session(SessionEvent::Typing { from, during })] if from.name.as_deref() == Some("Ann") && *during == 3 * SECOND
    ));
    assert!(matches!(&receive!("agent-text")[..], [Event::Message(message)] if message.text == "Hi"));
    assert!(matches!(
        receive!("disconnect-read-only")[..],
        [Event::Session(SessionEvent::ConversationEnded {
            read_only: true
        })]
    ));
    assert!(matches!(
        receive!("session-cleared")[..],
        [Event::Session(SessionEvent::Cleared)]
    ));
    assert!(matches!(
        receive!("too-many-4029")[..],
        [Event::Connection(ConnectionEvent::Throttled { retry_after })] if retry_after == 3 * SECOND
    ));
    assert!(
        matches!(&receive!("error-message")[..], [Event::Session(SessionEvent::Refused { request: None, refusal })] if refusal.code == "400")
    );
    assert!(receive!("health-check-answer").is_empty());
    assert!(receive!("jwt-response").is_empty(), "it was not requested");
    assert!(
        receive!("presigned-url").is_empty(),
        "it was not requested either"
    );
    let events = receive!("unknown-class");
    assert!(matches!(events[..], [Event::Session(SessionEvent::Unknown(_))]));
    assert!(!format!("{events:?}").contains("canary"));
    for (events, state) in [
        (receive!("session-expired"), "SessionExpired"),
        (receive!("logout"), "LoggedOut"),
        (receive!("connection-closed"), "ClosedByServer"),
    ] {
        assert!(format!("{events:?}").contains(state));
    }
}

#[test]
fn refused_message_fails_alone() {
    let mut peer = VirtualPeer::web_messaging();
    peer.send(1, "x");
    peer.send(2, "x");
    peer.frames();
    peer.receive(&refused(4011, Some(id(1))));
    peer.receive(&echo(2));
    let events = peer.events();
    let [
        Event::Delivery {
            id: failed,
            status: DeliveryStatus::Failed(FailureReason::Refused(refusal)),
        },
        Event::Delivery {
            status: DeliveryStatus::Delivered { .. },
            ..
        },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((*failed, refusal.code.as_str()), (id(1), "4011"));
    assert_eq!(peer.state(), State::Configured);
}

#[test]
fn read_only_conversation_refuses_messages() {
    let mut peer = VirtualPeer::web_messaging();
    for n in 0..7 {
        peer.send(n, "x");
    }
    peer.frames();
    peer.receive(
        &json!({"type": "message", "class": "StructuredMessage", "code": 200,
        "body": {"type": "Event", "direction": "Outbound", "id": "d", "metadata": {"readOnly": "true"},
            "events": [{"eventType": "Presence", "presence": {"type": "Disconnect"}}]}}),
    );
    let events = peer.events();
    assert!(matches!(
        events[..],
        [
            Event::Session(SessionEvent::ConversationEnded { read_only: true }),
            Event::Delivery {
                status: DeliveryStatus::Failed(FailureReason::ReadOnly),
                ..
            },
            Event::Delivery {
                status: DeliveryStatus::Failed(FailureReason::ReadOnly),
                ..
            },
        ]
    ));
    assert_eq!(peer.state(), State::ReadOnly);
    assert_eq!(
        peer.conversation
            .engine_mut()
            .send(id(255), OutgoingMessage::new("x".to_owned()), peer.now),
        Err(SendError::ReadOnly)
    );
    peer.receive(&echo(0));
    peer.receive(&refused(409, Some(id(1))));
    assert!(matches!(
        peer.events()[..],
        [
            Event::Delivery {
                status: DeliveryStatus::Delivered { .. },
                ..
            },
            Event::Delivery {
                status: DeliveryStatus::Failed(FailureReason::ReadOnly),
                ..
            }
        ]
    ));
}

#[test]
fn read_only_refusal_reports_the_end_of_the_conversation() {
    let mut peer = VirtualPeer::web_messaging();
    peer.send(1, "x");
    peer.frames();
    peer.receive(&refused(409, None));
    assert!(matches!(
        peer.events()[..],
        [
            Event::Delivery {
                status: DeliveryStatus::Failed(FailureReason::ReadOnly),
                ..
            },
            Event::Session(SessionEvent::ConversationEnded { read_only: true })
        ]
    ));
    assert_eq!(peer.state(), State::ReadOnly);
}

#[test]
fn debug_output_shows_no_token() {
    let mut peer = VirtualPeer::web_messaging();
    peer.send(1, "x");
    let transmits = peer.transmits();
    let contract = web_messaging();
    let shown = format!("{:?} {transmits:?} {contract:?}", peer.conversation);
    assert!(!shown.contains("canary"), "{shown}");
}

#[test]
fn deployment_is_named_in_the_query() {
    let origin = OriginPolicy::new(["https://shop.example"])
        .unwrap()
        .admit(["https://shop.example"])
        .unwrap();
    let url: SocketUrl = "wss://gateway.example/socket".parse().unwrap();
    let mut peer = VirtualPeer::new(web_messaging());
    let request = peer.conversation.handshake(&url, &origin).request([7; 16]);
    assert_eq!(request.uri().query(), Some("deploymentId=b3c2"));
}
