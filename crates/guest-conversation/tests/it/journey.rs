//! What led the guest here: told when the session is configured, and only if the application says so.

use guest_conversation::WebMessaging;
use secrecy::SecretString;
use serde_json::{Value, json};
use web_messaging::{JourneyContext, JourneySession};

use crate::virtual_peer::{TOKEN, VirtualPeer, web_messaging};

fn told(contract: WebMessaging) -> Value {
    let mut peer = VirtualPeer::new(contract);
    peer.connect();
    peer.frames()[0]["journeyContext"].clone()
}

#[test]
fn a_journey_is_told_only_if_the_application_gives_one() {
    assert_eq!(told(web_messaging()), Value::Null);
    let own = JourneyContext::of_session(&SecretString::from(TOKEN));
    assert_eq!(
        told(web_messaging().with_journey(own)),
        json!({"customer": {"id": TOKEN, "idType": "cookie"}, "customerSession": {"id": "", "type": "web"}})
    );
}

#[test]
fn a_journey_does_not_show_who_it_is() {
    let visitor = JourneyContext {
        cookie: "canary".into(),
        session: JourneySession::App { id: "canary".into() },
        action: None,
    };
    assert!(!format!("{visitor:?} {:?}", web_messaging().with_journey(visitor.clone())).contains("canary"));
}
