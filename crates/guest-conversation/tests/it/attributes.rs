//! Sending of custom attributes.

use guest_conversation::WebMessaging;
use serde_json::{Value, json};
use web_messaging::CustomAttributes;

use crate::virtual_peer::{
    VirtualPeer, autostart, echo, id, refused, session_response, too_many, web_messaging,
};

fn of(pairs: &[(&str, &str)]) -> CustomAttributes {
    let pairs = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    CustomAttributes::new(pairs.collect()).unwrap()
}

/// Configured, with attributes that need a consent.
fn configured() -> VirtualPeer {
    let attributes = of(&[("accountId", "42"), ("interest", "chess")]);
    VirtualPeer::configured(WebMessaging {
        attributes,
        ..web_messaging()
    })
}

/// The attributes of the next message.
fn sent_attributes(peer: &mut VirtualPeer, n: u128) -> Value {
    peer.send(n, "x");
    let frames = peer.frames();
    assert_eq!(frames.len(), 1);
    frames[0]["message"]["channel"]["metadata"]["customAttributes"].clone()
}

#[test]
fn attributes_withdrawn_before_the_first_message_are_not_sent() {
    let mut peer = configured();
    peer.conversation.update_attributes(of(&[("accountId", "42")]));
    assert_eq!(sent_attributes(&mut peer, 1), json!({"accountId": "42"}));
    peer.receive(&echo(1));
    assert_eq!(sent_attributes(&mut peer, 2), Value::Null);

    let mut peer = configured();
    peer.conversation.update_attributes(CustomAttributes::default());
    assert!(peer.frames().is_empty(), "an update is no message");
    assert_eq!(sent_attributes(&mut peer, 1), Value::Null);
}

#[test]
fn waiting_message_is_sent_without_withdrawn_attributes() {
    let mut peer = configured();
    for n in 1..=2 {
        peer.send(n, "x");
    }
    peer.conversation.update_attributes(CustomAttributes::default());
    for frame in peer.frames() {
        assert!(!frame.to_string().contains("chess"));
    }

    // thrown back, and therefore sent again
    let mut peer = configured();
    assert_eq!(sent_attributes(&mut peer, 1)["interest"], "chess");
    peer.receive(&too_many(1, Some(id(1))));
    peer.conversation.update_attributes(of(&[("accountId", "42")]));
    peer.pass(std::time::Duration::from_secs(1));
    let frames = peer.frames();
    assert_eq!(frames.len(), 1);
    assert_eq!(
        frames[0]["message"]["channel"]["metadata"]["customAttributes"],
        json!({"accountId": "42"})
    );

    // lost with its socket
    let mut peer = configured();
    sent_attributes(&mut peer, 1);
    peer.drop_socket();
    peer.conversation.update_attributes(CustomAttributes::default());
    peer.reconnect();
    peer.frames();
    peer.receive(&session_response(false));
    assert_eq!(sent_attributes(&mut peer, 2), Value::Null);
}

#[test]
fn join_event_has_the_attributes_of_the_moment_of_sending() {
    let mut peer = VirtualPeer::new(WebMessaging {
        attributes: of(&[("interest", "chess")]),
        rules: autostart(),
        ..web_messaging()
    });
    peer.connect();
    peer.frames();
    peer.receive(&session_response(true));
    peer.conversation.update_attributes(CustomAttributes::default());
    let frames = peer.frames();
    assert_eq!(frames[0]["message"]["events"][0]["presence"]["type"], "Join");
    assert!(!frames[0].to_string().contains("chess"));
}

#[test]
fn attributes_are_sent_again_only_if_changed() {
    let mut peer = configured();
    sent_attributes(&mut peer, 1);
    peer.receive(&echo(1));
    for (n, update, expected) in [
        (2, of(&[("accountId", "42"), ("interest", "chess")]), Value::Null),
        (3, of(&[("accountId", "43")]), json!({"accountId": "43"})),
        (4, of(&[("accountId", "43")]), Value::Null),
        (5, CustomAttributes::default(), Value::Null),
        (6, of(&[("accountId", "44")]), json!({"accountId": "44"})),
    ] {
        peer.pass(std::time::Duration::from_secs(1));
        peer.conversation.update_attributes(update);
        assert_eq!(sent_attributes(&mut peer, n), expected, "{n}");
        peer.receive(&echo(n));
    }
}

#[test]
fn new_session_receives_the_attributes_again() {
    let mut peer = configured();
    sent_attributes(&mut peer, 1);
    peer.receive(&echo(1));
    for (n, new_session) in [(2, false), (3, true)] {
        peer.drop_socket();
        peer.reconnect();
        peer.frames();
        peer.receive(&session_response(new_session));
        assert_eq!(sent_attributes(&mut peer, n).is_object(), new_session);
    }
}

#[test]
fn attributes_are_sent_until_delivered_and_dropped_if_too_large() {
    let attributes = CustomAttributes::new([("accountId".to_owned(), "42".to_owned())].into()).unwrap();
    let contract = || WebMessaging {
        attributes: attributes.clone(),
        ..web_messaging()
    };
    let sent_attributes = |frame: &Value| frame["message"]["channel"]["metadata"]["customAttributes"].clone();
    for (answer, again) in [
        (echo(1), false),
        (refused(4013, Some(id(1))), false),
        (refused(4011, Some(id(1))), true),
    ] {
        let mut peer = VirtualPeer::new(contract());
        peer.connect();
        peer.receive(&session_response(true));
        peer.frames();
        peer.send(1, "x");
        assert_eq!(sent_attributes(&peer.frames()[0]), json!({"accountId": "42"}));
        peer.receive(&answer);
        peer.send(2, "x");
        assert_eq!(sent_attributes(&peer.frames()[0]).is_object(), again, "{answer}");
    }
}

#[test]
fn autostart_joins_a_new_session_only() {
    for new_session in [true, false] {
        let mut peer = VirtualPeer::new(WebMessaging {
            rules: autostart(),
            ..web_messaging()
        });
        peer.connect();
        peer.frames();
        peer.receive(&session_response(new_session));
        let frames = peer.frames();
        assert_eq!(frames.len(), usize::from(new_session));
        if new_session {
            assert_eq!(frames[0]["message"]["events"][0]["presence"]["type"], "Join");
        }
    }
}

#[test]
fn attributes_of_the_join_event_are_sent_once() {
    let mut peer = VirtualPeer::new(WebMessaging {
        attributes: of(&[("interest", "chess")]),
        rules: autostart(),
        ..web_messaging()
    });
    peer.connect();
    peer.frames();
    peer.receive(&session_response(true));
    let join = peer.frames().remove(0);
    assert!(join.to_string().contains("chess"));
    peer.receive(
        &json!({"type": "message", "class": "StructuredMessage", "code": 200, "tracingId": join["tracingId"],
        "body": {"type": "Event", "direction": "Inbound", "id": "j",
            "events": [{"eventType": "Presence", "presence": {"type": "Join"}}]}}),
    );
    peer.send(1, "x");
    assert!(!peer.frames()[0].to_string().contains("chess"));
}
