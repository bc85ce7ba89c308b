//! Requests of the application: new conversations, clearing, health, tokens.

use std::time::Duration;

use guest_conversation::{
    CloseMode, Command, ConnectionEvent, DeploymentRules, Ending, Event, GuestMachine as _, Machine as _,
    Reason, Request, RequestError, RequestKind, SessionEvent, State, WebMessaging,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use ws_transport::Transmit;

use crate::virtual_peer::{
    VirtualPeer, agent_message, autostart, echo, id, refused, session_response, web_messaging, with_history,
};

const SECOND: Duration = Duration::from_secs(1);

fn session(peer: &VirtualPeer, expires_in: i64) -> Value {
    let mut frame = session_response(false);
    frame["body"]["expirationDate"] = (peer.now.utc.unix_timestamp() + expires_in).into();
    frame
}

fn healthy(expiration: Option<i64>) -> Value {
    let metadata = expiration.map_or(json!({}), |at| json!({"expirationDate": at.to_string()}));
    json!({"type": "response", "class": "StructuredMessage", "code": 200,
        "body": {"type": "Text", "text": "ping", "direction": "Inbound", "id": "h", "metadata": metadata}})
}

#[test]
fn start_new_leaves_a_read_only_conversation() {
    let mut peer = VirtualPeer::new(WebMessaging {
        rules: autostart(),
        ..web_messaging()
    });
    assert_eq!(
        peer.conversation.request(Request::StartNew, peer.now),
        Err(RequestError::NotReady { state: State::Idle })
    );
    peer.connect();
    peer.frames();
    let mut read_only = session_response(false);
    read_only["body"]["readOnly"] = true.into();
    peer.receive(&read_only);
    peer.events();
    assert_eq!(peer.state(), State::ReadOnly);
    peer.conversation.request(Request::StartNew, peer.now).unwrap();
    assert_eq!(
        peer.conversation.request(Request::StartNew, peer.now),
        Err(RequestError::Busy { waiting: 1 })
    );
    let frames = peer.frames();
    assert_eq!(
        (&frames[0]["action"], &frames[0]["closeAllConnections"]),
        (&json!("closeSession"), &json!(true))
    );
    read_only["body"]["connected"] = false.into();
    peer.receive(&read_only);
    let frames = peer.frames();
    assert_eq!(
        (&frames[0]["action"], &frames[0]["startNew"]),
        (&json!("configureSession"), &json!(true))
    );
    peer.receive(&session_response(true));
    assert!(
        matches!(peer.events()[..], [Event::Connection(ConnectionEvent::Ready(session))] if session.new_session)
    );
    assert_eq!(peer.state(), State::Configured);
    assert_eq!(
        peer.frames()[0]["message"]["events"][0]["presence"]["type"],
        "Join"
    );
}

/// A conversation that leaves its read-only session, with a page of the history requested meanwhile. Returns its frames too.
fn leaving(read_only: &Value) -> (VirtualPeer, Vec<Value>) {
    let mut peer = VirtualPeer::new(with_history());
    peer.connect();
    peer.frames();
    peer.receive(read_only);
    peer.conversation.request(Request::StartNew, peer.now).unwrap();
    let read = Request::ReadHistory { page: 1 };
    peer.conversation.request(read, peer.now).unwrap();
    let frames = peer.frames();
    (peer, frames)
}

#[test]
fn history_is_read_in_the_session_that_follows_or_stays() {
    let mut read_only = session_response(true);
    read_only["body"]["readOnly"] = true.into();
    let actions =
        |frames: &[Value]| -> Vec<Value> { frames.iter().map(|frame| frame["action"].clone()).collect() };
    let (mut peer, frames) = leaving(&read_only);
    assert_eq!(actions(&frames), ["closeSession"]);
    peer.receive(&json!({"type": "response", "class": "string", "code": 400,
        "body": "Unable to close the session", "tracingId": frames[0]["tracingId"]}));
    assert_eq!(actions(&peer.frames()), ["getJwt"]);

    let (mut peer, _) = leaving(&read_only);
    read_only["body"]["connected"] = false.into();
    peer.receive(&read_only);
    assert_eq!(actions(&peer.frames()), ["configureSession"]);
    peer.receive(&session_response(true));
    assert_eq!(actions(&peer.frames()), ["getJwt"]);
}

#[test]
fn start_new_without_an_answer_continues_on_another_socket() {
    let mut peer = VirtualPeer::web_messaging();
    peer.receive(&refused(409, None));
    peer.events();
    peer.conversation.request(Request::StartNew, peer.now).unwrap();
    peer.frames();
    let due = peer.conversation.poll_timeout().unwrap();
    assert_eq!(due, (peer.now.instant + 10 * SECOND, Reason::StartNew));
    peer.pass(10 * SECOND);
    assert_eq!(peer.conversation.poll_command(), Some(Command::Disconnect));
    peer.drop_socket();
    peer.reconnect();
    assert_eq!(peer.frames()[0]["startNew"], true);
}

#[test]
fn clear_is_requested_only_if_allowed() {
    let rules = DeploymentRules {
        clear: false,
        ..DeploymentRules::default()
    };
    let mut peer = VirtualPeer::configured(WebMessaging {
        rules,
        close_mode: CloseMode::Clear,
        ..web_messaging()
    });
    assert_eq!(
        peer.conversation.request(Request::Clear, peer.now),
        Err(RequestError::NotAllowed)
    );
    peer.conversation.end(peer.now);
    assert!(
        matches!(peer.transmits()[..], [Transmit::Close { .. }]),
        "nor does the shutdown clear it"
    );

    let mut peer = VirtualPeer::web_messaging();
    peer.conversation.request(Request::Clear, peer.now).unwrap();
    assert!(peer.frames()[0].to_string().contains("Clear"));
    peer.receive(&json!({"type": "response", "class": "string", "code": 403,
        "body": "Presence events Conversation Clear are not supported"}));
    assert!(matches!(
        peer.events()[..],
        [Event::Session(SessionEvent::Refused {
            request: Some(RequestKind::Clear),
            ..
        })]
    ));
    assert_eq!(peer.state(), State::Configured);
    peer.conversation.request(Request::Clear, peer.now).unwrap();
    peer.receive(&json!({"type": "message", "class": "SessionClearedEvent", "code": 200, "body": {}}));
    peer.receive(&json!({"type": "message", "class": "ConnectionClosedEvent", "code": 200, "body": {}}));
    assert!(matches!(
        peer.events()[..],
        [
            Event::Session(SessionEvent::Cleared),
            Event::Ended(Ending::ClosedByServer { .. })
        ]
    ));
    assert_eq!(
        peer.conversation.request(Request::Clear, peer.now),
        Err(RequestError::Ended)
    );
}

#[test]
fn typing_is_not_sent_if_the_deployment_hides_it() {
    let rules = DeploymentRules {
        typing: false,
        ..DeploymentRules::default()
    };
    let mut peer = VirtualPeer::new(WebMessaging {
        rules,
        ..web_messaging()
    });
    peer.connect();
    peer.frames();
    peer.receive(&session_response(true));
    peer.conversation.send_typing(peer.now);
    assert!(peer.frames().is_empty());
}

#[test]
fn typing_is_sent_again_after_a_message() {
    let mut peer = VirtualPeer::web_messaging();
    peer.conversation.send_typing(peer.now);
    peer.send(1, "x");
    assert_eq!(peer.frames().len(), 2);
    peer.receive(&echo(1));
    peer.conversation.send_typing(peer.now);
    assert_eq!(peer.frames().len(), 1);
}

#[test]
fn health_checks_are_deferred_and_not_dropped() {
    let mut peer = VirtualPeer::web_messaging();
    let mut left = 0;
    for _ in 0..2 {
        peer.conversation.request(Request::CheckHealth, peer.now).unwrap();
        left += peer.frames().len();
        peer.receive(&healthy(Some(peer.now.utc.unix_timestamp() + 259_200)));
        assert!(matches!(
            peer.events()[..],
            [Event::Session(SessionEvent::Health { expires_at: Some(_) })]
        ));
    }
    for _ in 0..5 {
        peer.conversation.request(Request::CheckHealth, peer.now).unwrap();
        left += peer.frames().len();
    }
    assert_eq!(left, 2);
    peer.conversation.handle_alive();
    peer.pass(59 * SECOND);
    assert!(peer.frames().is_empty());
    peer.conversation.handle_alive();
    peer.pass(2 * SECOND);
    assert_eq!(
        peer.frames()[0]["action"],
        "echo",
        "one stands for all that waited"
    );
    // the answer is lost with its socket
    peer.drop_socket();
    peer.events();
    peer.reconnect();
    peer.frames();
    peer.receive(&session_response(false));
    assert_eq!(peer.frames()[0]["action"], "echo");
}

#[test]
fn expiry_follows_from_the_duration_of_the_deployment() {
    let rules = DeploymentRules {
        session_duration: Some(900 * SECOND),
        ..DeploymentRules::default()
    };
    let mut peer = VirtualPeer::new(WebMessaging {
        rules,
        ..web_messaging()
    });
    peer.connect();
    peer.frames();
    let mut silent = session_response(true);
    silent["body"].as_object_mut().unwrap().remove("expirationDate");
    peer.receive(&silent);
    let begun = peer.now.utc;
    assert_eq!(peer.conversation.expires_at(), Some(begun + 900 * SECOND));
    peer.pass(60 * SECOND);
    peer.receive(&agent_message("a1", "hello"));
    assert_eq!(peer.conversation.expires_at(), Some(begun + 960 * SECOND));
    peer.receive(&session(&peer, 300));
    peer.receive(&agent_message("a2", "still there?"));
    assert_eq!(peer.conversation.expires_at(), Some(begun + 360 * SECOND));
}

#[test]
fn expiry_is_announced_and_ends_the_conversation() {
    for contradicted in [false, true] {
        let mut peer = VirtualPeer::new(web_messaging());
        peer.connect();
        peer.frames();
        peer.receive(&session(&peer, 900));
        peer.events();
        let mut seen = Vec::new();
        let start = peer.now.instant;
        while peer.state() == State::Configured && peer.now.instant - start < 1200 * SECOND {
            let (at, _) = peer.conversation.poll_timeout().unwrap();
            peer.pass(at - peer.now.instant);
            peer.conversation.handle_alive();
            let seconds = (peer.now.instant - start).as_secs();
            for frame in peer.frames() {
                assert_eq!(frame["action"], "echo");
                seen.push((seconds, "echo"));
                if contradicted {
                    peer.receive(&healthy(None));
                }
            }
            for event in peer.events() {
                match event {
                    Event::Session(SessionEvent::Expiring { at: Some(_) }) => {
                        seen.push((seconds, "expiring"))
                    }
                    Event::Ended(Ending::SessionExpired) => seen.push((seconds, "expired")),
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!(seen[..3], [(590, "echo"), (600, "expiring"), (902, "echo")]);
        if contradicted {
            assert_eq!(
                seen[3],
                (962, "echo"),
                "the session continues: checked again later"
            );
            assert_eq!(peer.state(), State::Configured);
        } else {
            assert_eq!(seen[3..], [(912, "expired")]);
            assert_eq!(peer.state(), State::Failed);
        }
    }
}

#[test]
fn extended_expiry_is_announced_at_its_new_time() {
    let mut peer = VirtualPeer::new(web_messaging());
    peer.connect();
    peer.frames();
    peer.receive(&session(&peer, 900));
    peer.events();
    for _ in 0..100 {
        peer.pass(15 * SECOND);
        peer.receive(&healthy(Some(peer.now.utc.unix_timestamp() + 900)));
    }
    assert!(peer.events().is_empty() && peer.frames().is_empty());
    let expires_at = peer.conversation.expires_at().unwrap();
    assert_eq!(expires_at - peer.now.utc, time::Duration::seconds(900));
}

fn signed_in() -> VirtualPeer {
    let mut peer = VirtualPeer::new(WebMessaging {
        jwt: Some(SecretString::from("canary-jwt-1")),
        ..web_messaging()
    });
    peer.connect();
    peer
}

#[test]
fn jwt_is_requested_at_most_three_times() {
    let mut peer = signed_in();
    for attempt in 1..=4_u8 {
        let frames = peer.frames();
        assert_eq!(frames[0]["action"], "configureAuthenticatedSession");
        assert_eq!(frames[0]["data"]["code"], format!("canary-jwt-{attempt}"));
        peer.receive(&refused(401, None));
        if attempt == 4 {
            break;
        }
        assert!(
            matches!(peer.events()[..], [Event::Connection(ConnectionEvent::TokenNeeded { attempt: known })] if known == attempt)
        );
        assert_eq!(peer.conversation.poll_timeout().unwrap().1, Reason::Heartbeat);
        let jwt = SecretString::from(format!("canary-jwt-{}", attempt + 1));
        peer.conversation.update_token(jwt);
        let (at, reason) = peer.conversation.poll_timeout().unwrap();
        assert_eq!((at, reason), (peer.now.instant, Reason::Configure));
        peer.pass(Duration::ZERO);
    }
    let events = peer.events();
    assert!(
        matches!(&events[..], [Event::Ended(Ending::AuthorizationRequired(refusal))] if refusal.code == "401")
    );
    assert_eq!(peer.state(), State::Failed);
    assert!(!format!("{events:?} {:?}", peer.conversation).contains("canary-jwt"));
}

#[test]
fn jwt_request_without_an_answer_ends_the_conversation() {
    for decline in [false, true] {
        let mut peer = signed_in();
        peer.frames();
        peer.receive(&json!({"type": "response", "class": "string", "code": 403,
            "body": "Try to authenticate again"}));
        peer.events();
        if decline {
            peer.conversation.decline_token(peer.now);
        } else {
            for _ in 0..8 {
                peer.pass(15 * SECOND);
                peer.conversation.handle_alive();
            }
        }
        assert!(matches!(
            peer.events()[..],
            [Event::Ended(Ending::AuthorizationRequired(_))]
        ));
    }
}

#[test]
fn lost_sign_in_waits_for_the_next_one_without_a_connection() {
    let anonymous = WebMessaging {
        retry_refusals: true,
        ..web_messaging()
    };
    let signed_in = WebMessaging {
        jwt: Some(SecretString::from("canary-jwt-1")),
        ..anonymous.clone()
    };
    for (session, code) in [(signed_in, 401), (anonymous, 4017)] {
        let mut peer = VirtualPeer::new(session);
        peer.connect();
        peer.frames();
        peer.send(1, "waits");
        peer.receive(&refused(code, None));
        peer.conversation.decline_token(peer.now);
        assert_eq!(peer.conversation.poll_command(), Some(Command::Disconnect));
        peer.drop_socket();
        let events = peer.events();
        assert!(
            events.iter().any(|event| matches!(
                event,
                Event::Connection(ConnectionEvent::SignInLost { refusal }) if refusal.code == code.to_string()
            )),
            "{events:?}"
        );
        let due = peer.conversation.poll_timeout().map(|(_, reason)| reason);
        assert_eq!(due, Some(Reason::Queue), "no attempt is scheduled");
        let jwt = SecretString::from("canary-jwt-2");
        peer.conversation
            .request(Request::SignIn { jwt }, peer.now)
            .unwrap();
        peer.pass(Duration::ZERO);
        assert_eq!(peer.conversation.poll_command(), Some(Command::Connect));
        peer.conversation.handle_connected(peer.now);
        let frames = peer.frames();
        assert_eq!(frames[0]["data"]["code"], "canary-jwt-2", "{code}");
        peer.receive(&session_response(false));
        assert_eq!(peer.frames()[0]["tracingId"], id(1).to_string());
    }
}

#[test]
fn sign_in_during_the_configuration_opens_another_connection() {
    let mut peer = VirtualPeer::new(web_messaging());
    peer.connect();
    peer.frames();
    let jwt = SecretString::from("canary-jwt");
    peer.conversation
        .request(Request::SignIn { jwt }, peer.now)
        .unwrap();
    assert_eq!(peer.conversation.poll_command(), Some(Command::Disconnect));
    peer.drop_socket();
    peer.reconnect();
    assert_eq!(peer.frames()[0]["action"], "configureAuthenticatedSession");
}

#[test]
fn message_refused_for_the_jwt_is_sent_again() {
    let mut peer = signed_in();
    peer.receive(&session_response(false));
    peer.events();
    peer.send(1, "x");
    peer.frames();
    peer.receive(&refused(401, Some(id(1))));
    assert!(matches!(
        peer.events()[..],
        [Event::Connection(ConnectionEvent::TokenNeeded { attempt: 1 })]
    ));
    assert_eq!(peer.state(), State::Configuring);
    peer.conversation.update_token(SecretString::from("canary-jwt-2"));
    peer.pass(Duration::ZERO);
    assert_eq!(peer.frames()[0]["action"], "configureAuthenticatedSession");
    peer.receive(&session_response(false));
    assert_eq!(peer.frames()[0]["tracingId"], id(1).to_string());
}

#[test]
fn sign_in_on_an_open_session_succeeds_or_is_refused() {
    for (answer, event) in [
        (session_response(false), "SignedIn"),
        (refused(400, None), "Refused"),
    ] {
        let mut peer = VirtualPeer::web_messaging();
        peer.conversation
            .request(
                Request::SignIn {
                    jwt: SecretString::from("canary-jwt"),
                },
                peer.now,
            )
            .unwrap();
        assert_eq!(peer.frames()[0]["action"], "configureAuthenticatedSession");
        peer.send(1, "waits");
        assert!(peer.frames().is_empty());
        peer.receive(&answer);
        let events = peer.events();
        assert_eq!(events.len(), 1);
        assert!(format!("{events:?}").contains(event));
        assert_eq!(peer.frames().len(), 1);
        peer.drop_socket();
        peer.reconnect();
        let signed_in = peer.frames()[0]["action"] == "configureAuthenticatedSession";
        assert_eq!(signed_in, event == "SignedIn");
    }
}
