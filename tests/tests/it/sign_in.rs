//! Signed-in guests in direct mode, with the simulator as their identity provider.

pub(crate) mod gateway;

use std::sync::Arc;
use std::time::Duration;

use genesys_api::{Clock, Host, Hosts};
use genesys_http::{Client, Tls};
use genesys_sim::{Rules, SignInRules, Simulator};
use guest_store::{EntryQuery, Keys, Limits, SqliteStore, Store};
use guest_suite::api::SessionId;
use guest_suite::audit::Entry;
use guest_suite::contract::ErrorCode;
use guest_suite::conversation::{ConnectionEvent, DeliveryStatus, Ending, Event};
use guest_suite::direct::{Conversation, Direct, DirectConfig};
use guest_suite::web_messaging::rest::sign_in::OauthResult;
use guest_suite::{Error, SignIn};
use secrecy::SecretString;
use url::Url;

use crate::guests::{newcomer, page_origin, until};
use crate::page::soon;
use crate::proxy::Proxy;
use crate::world::{CHANNEL, simulator};

/// A guest in direct mode, whose sockets go through a proxy.
struct Guest {
    simulator: Simulator,
    proxy: Proxy,
    store: Arc<dyn Store>,
    direct: Direct,
    id: SessionId,
}

impl Guest {
    async fn new(rules: SignInRules) -> Self {
        let simulator = simulator(Rules {
            sign_in: rules,
            ..Rules::default()
        })
        .await;
        let proxy = Proxy::start().await;
        proxy.set_target(simulator.address);
        let store = SqliteStore::open(":memory:", Keys::ephemeral(), Limits::default()).unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let direct = direct(&simulator, &proxy, &store).await;
        let created = direct
            .create("shop", newcomer(simulator.clock()), None)
            .await
            .unwrap();
        Self {
            id: created.session.id,
            simulator,
            proxy,
            store,
            direct,
        }
    }

    fn clock(&self) -> &Clock {
        self.simulator.clock()
    }

    async fn sign_in(&self) {
        let result = authorization(&self.simulator).await;
        self.direct.sign_in("shop", &self.id, result).await.unwrap();
    }

    async fn connect(&self) -> Conversation {
        let mut conversation = soon(self.direct.connect("shop", &self.id, page_origin()))
            .await
            .unwrap();
        assert!(matches!(
            next(&mut conversation).await,
            Event::Connection(ConnectionEvent::Ready(_))
        ));
        conversation
    }

    /// The audited actions of sign-ins, in the order of their names.
    async fn audited(&self) -> Vec<String> {
        let entries = self.store.entries(EntryQuery::From(0), 1_000).await.unwrap();
        let entries = entries.iter().map(|entry| Entry::parse(&entry.bytes).unwrap());
        let mut actions: Vec<String> = entries.map(|entry| entry.draft.action.into_owned()).collect();
        actions.retain(|action| action.starts_with("guest."));
        actions.sort();
        actions
    }

    async fn stop(self) {
        let violations = self.simulator.violations();
        assert!(violations.is_empty(), "{violations:?}");
        self.simulator.stop().await;
    }
}

/// Visits the provider, and returns the begun sign-in with its state and code.
async fn approved(simulator: &Simulator) -> (SignIn, String, SecretString) {
    let begun = SignIn::begin(&"https://shop.example/signed-in".parse().unwrap());
    let provider: Url = format!("{}/oauth/authorize", simulator.host()).parse().unwrap();
    let url = begun.request.url(&provider, "shop-app", "openid profile");
    let request = http::Request::get(url.as_str())
        .body(bytes::Bytes::new())
        .unwrap();
    let sent_back = http(simulator.clock()).send(request).await.unwrap();
    let location: Url = sent_back.headers()["location"].to_str().unwrap().parse().unwrap();
    assert_eq!(location.path(), "/signed-in");
    let given = |name: &str| {
        let mut pairs = location.query_pairs();
        pairs.find(|(key, _)| key == name).unwrap().1.into_owned()
    };
    (begun, given("state"), given("code").into())
}

/// The result of a sign-in at the provider.
pub(crate) async fn authorization(simulator: &Simulator) -> OauthResult {
    let (begun, state, code) = approved(simulator).await;
    begun.result(&state, code).unwrap()
}

fn http(clock: &Clock) -> Client {
    Client::builder(Tls::system().unwrap())
        .clock(clock.clone())
        .build()
}

async fn direct(simulator: &Simulator, proxy: &Proxy, store: &Arc<dyn Store>) -> Direct {
    let messaging: Host = proxy.url().parse().unwrap();
    let hosts = Hosts {
        messaging,
        ..Hosts::single(simulator.host())
    };
    let mut config = DirectConfig {
        store: Arc::clone(store),
        ..DirectConfig::new(hosts).unwrap()
    };
    config.organization.http = http(simulator.clock());
    let config = config.with_channel(CHANNEL.parse().unwrap(), simulator.deployment_id().clone());
    Direct::open(config).await.unwrap()
}

async fn next(conversation: &mut Conversation) -> Event {
    soon(conversation.next_event())
        .await
        .expect("the conversation is over")
}

/// Sends a message, and waits for the reply.
async fn talk(conversation: &mut Conversation, text: &str) {
    conversation.send(text).unwrap();
    loop {
        match next(conversation).await {
            Event::Message(message) if message.text == format!("You said: {text}") => return,
            Event::Ended(ending) => panic!("the conversation ended: {ending}"),
            Event::Delivery {
                status: DeliveryStatus::Failed(reason),
                ..
            } => panic!("the message failed: {reason}"),
            _ => {}
        }
    }
}

async fn ending(conversation: &mut Conversation) -> Ending {
    loop {
        if let Event::Ended(ending) = next(conversation).await {
            return ending;
        }
    }
}

#[tokio::test]
async fn signed_in_guest_stays_connected_beyond_the_jwt() {
    let guest = Guest::new(SignInRules {
        jwt_lifetime: Duration::from_secs(60),
        ..SignInRules::default()
    })
    .await;
    guest.sign_in().await;
    let mut conversation = guest.connect().await;
    talk(&mut conversation, "one").await;
    guest.clock().advance(Duration::from_secs(61));
    guest.proxy.cut();
    let mut asked = 0;
    loop {
        match next(&mut conversation).await {
            Event::Connection(ConnectionEvent::TokenNeeded { .. }) => asked += 1,
            Event::Connection(ConnectionEvent::Restored(session)) => break assert!(!session.new_session),
            Event::Ended(ending) => panic!("the conversation ended: {ending}"),
            _ => {}
        }
    }
    assert_eq!(asked, 1, "the old one was refused, the next one taken");
    talk(&mut conversation, "two").await;
    drop(conversation);
    guest.stop().await;
}

#[tokio::test]
async fn guest_steps_up_and_signs_out() {
    let guest = Guest::new(SignInRules::default()).await;
    let mut conversation = guest.connect().await;
    talk(&mut conversation, "who am I?").await;
    let error = guest.direct.sign_out("shop", &guest.id).await.unwrap_err();
    assert!(matches!(error, Error::NotSignedIn), "{error}");
    guest.sign_in().await;
    while !matches!(
        next(&mut conversation).await,
        Event::Connection(ConnectionEvent::SignedIn(_))
    ) {}
    talk(&mut conversation, "it is me").await;

    // the JWT is too old for that, and is refreshed
    guest.clock().advance(Duration::from_secs(1_000));
    soon(guest.direct.sign_out("shop", &guest.id)).await.unwrap();
    let ending = ending(&mut conversation).await;
    let signed_out = Ending::SessionEnded {
        reason: "signed_out".to_owned(),
    };
    assert!(ending == Ending::LoggedOut || ending == signed_out, "{ending}");
    let error = guest.direct.sign_out("shop", &guest.id).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::SessionEnded), "{error}");
    let ended = guest.direct.session("shop", &guest.id).await.unwrap();
    assert_eq!(ended.end_reason.as_deref(), Some("signed_out"));
    guest.stop().await;
}

#[tokio::test]
async fn sign_in_that_cannot_be_refreshed_ends_and_is_deleted() {
    let guest = Guest::new(SignInRules {
        refresh_lifetime: Duration::from_secs(120),
        ..SignInRules::default()
    })
    .await;
    guest.sign_in().await;
    let mut conversation = guest.connect().await;
    guest.clock().advance(Duration::from_secs(121));
    guest.proxy.cut();
    let ending = ending(&mut conversation).await;
    assert!(
        matches!(ending, Ending::AuthorizationRequired(_) | Ending::Rejected(_)),
        "{ending:?}"
    );
    drop(conversation);
    // the window opens, and neither token can be used any more
    guest.clock().advance(Duration::from_secs(720));
    until(async || guest.audited().await == ["guest.signed_in", "guest.token_deleted"]).await;
    soon(guest.direct.sign_out("shop", &guest.id)).await.unwrap();
    guest.stop().await;
}

#[tokio::test]
async fn older_sign_in_does_not_affect_the_newer_one() {
    let mut guest = Guest::new(SignInRules {
        refresh_lifetime: Duration::from_secs(1_000),
        ..SignInRules::default()
    })
    .await;
    let (begun, ..) = approved(&guest.simulator).await;
    let shown = format!("{begun:?}");
    for (name, value) in begun.request.parameters() {
        let secret = matches!(name, "nonce" | "state" | "code_challenge");
        assert!(!(secret && shown.contains(value)), "{shown}");
    }
    guest.sign_in().await;
    guest.clock().advance(Duration::from_secs(500));
    // the guest signs in again, by another process
    let newer = direct(&guest.simulator, &guest.proxy, &guest.store).await;
    let older = std::mem::replace(&mut guest.direct, newer);
    guest.sign_in().await;
    // the older refresh token is refused
    guest.clock().advance(Duration::from_secs(600));
    until(async || {
        let Ok(mut conversation) = older.connect("shop", &guest.id, page_origin()).await else {
            return false;
        };
        matches!(
            next(&mut conversation).await,
            Event::Connection(ConnectionEvent::Ready(_))
        )
    })
    .await;
    guest.stop().await;
}

#[tokio::test]
async fn guest_stays_signed_in_after_a_restart() {
    let mut guest = Guest::new(SignInRules::default()).await;
    guest.sign_in().await;
    let mut conversation = guest.connect().await;
    talk(&mut conversation, "one").await;
    conversation.close().await;
    guest.direct = direct(&guest.simulator, &guest.proxy, &guest.store).await;
    // an anonymous guest is refused in this session
    let mut conversation = guest.connect().await;
    talk(&mut conversation, "two").await;
    drop(conversation);
    soon(guest.direct.sign_out("shop", &guest.id)).await.unwrap();
    assert_eq!(guest.audited().await, ["guest.signed_in", "guest.signed_out"]);
    guest.stop().await;
}

#[tokio::test]
async fn sign_in_needs_its_own_state_and_code() {
    let guest = Guest::new(SignInRules::default()).await;
    let (begun, _, code) = approved(&guest.simulator).await;
    let error = begun.result("another", code).unwrap_err();
    assert!(matches!(error, Error::SignInForged), "{error}");
    let (begun, state, _) = approved(&guest.simulator).await;
    let result = begun.result(&state, "1.canary".into()).unwrap();
    let error = guest.direct.sign_in("shop", &guest.id, result).await.unwrap_err();
    assert!(matches!(error, Error::SignIn(_)), "{error}");
    assert!(!format!("{error:?}").contains("canary"));
    guest.stop().await;
}

#[tokio::test]
async fn sign_in_is_not_attempted_if_the_deployment_disables_it() {
    let guest = Guest::new(SignInRules {
        enabled: false,
        ..SignInRules::default()
    })
    .await;
    let result = OauthResult {
        code: Some("1.x".into()),
        ..OauthResult::default()
    };
    let refused = guest.direct.sign_in("shop", &guest.id, result).await;
    assert!(matches!(refused, Err(Error::SignInOff)));
    guest.stop().await;
}
