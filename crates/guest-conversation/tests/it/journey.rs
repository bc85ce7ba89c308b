//! The journey context of a session, which is sent only if it is set.

use guest_conversation::WebMessaging;
use serde_json::{Value, json};
use web_messaging::{JourneyContext, JourneySession};

use crate::virtual_peer::{VirtualPeer, web_messaging};

fn sent_journey(contract: WebMessaging) -> Value {
    let mut peer = VirtualPeer::new(contract);
    peer.connect();
    peer.frames()[0]["journeyContext"].clone()
}

#[test]
fn journey_is_sent_only_if_set() {
    assert_eq!(sent_journey(web_messaging()), Value::Null);
    let visitor = WebMessaging {
        journey: Some(JourneyContext {
            cookie: "visitor".into(),
            session: None,
            action: None,
        }),
        ..web_messaging()
    };
    let expected = json!({"customer": {"id": "visitor", "idType": "cookie"}});
    assert_eq!(sent_journey(visitor.clone()), expected);
    let signed_in = WebMessaging {
        jwt: Some("jwt".into()),
        ..visitor
    };
    assert_eq!(sent_journey(signed_in), Value::Null, "it belongs to the exchange");
}

#[test]
fn debug_of_a_journey_shows_no_visitor() {
    let visitor = JourneyContext {
        cookie: "canary".into(),
        session: Some(JourneySession::App { id: "canary".into() }),
        action: None,
    };
    let config = WebMessaging {
        journey: Some(visitor.clone()),
        ..web_messaging()
    };
    assert!(!format!("{visitor:?} {config:?}").contains("canary"));
}
