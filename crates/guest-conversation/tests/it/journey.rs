//! The journey context of a session, which is sent only if it is set.

use guest_conversation::WebMessaging;
use secrecy::SecretString;
use serde_json::{Value, json};
use web_messaging::{JourneyContext, JourneySession};

use crate::virtual_peer::{TOKEN, VirtualPeer, web_messaging};

fn sent_journey(contract: WebMessaging) -> Value {
    let mut peer = VirtualPeer::new(contract);
    peer.connect();
    peer.frames()[0]["journeyContext"].clone()
}

#[test]
fn journey_is_sent_only_if_set() {
    assert_eq!(sent_journey(web_messaging()), Value::Null);
    let own = JourneyContext::of_session(&SecretString::from(TOKEN));
    assert_eq!(
        sent_journey(WebMessaging {
            journey: Some(own),
            ..web_messaging()
        }),
        json!({"customer": {"id": TOKEN, "idType": "cookie"}, "customerSession": {"id": "", "type": "web"}})
    );
}

#[test]
fn debug_of_a_journey_shows_no_visitor() {
    let visitor = JourneyContext {
        cookie: "canary".into(),
        session: JourneySession::App { id: "canary".into() },
        action: None,
    };
    let config = WebMessaging {
        journey: Some(visitor.clone()),
        ..web_messaging()
    };
    assert!(!format!("{visitor:?} {config:?}").contains("canary"));
}
