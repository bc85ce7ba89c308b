//! Webhooks: delivery, signatures, retries, and forbidden targets.

mod choice;
mod hanging;
mod order;
mod pause;

use std::collections::BTreeMap;
use std::time::Duration;

use genesys_sim::Rules;
use guest_suite::audit::Entry;
use guest_suite::payload::{ConsentChange, Evidence, Purpose};
use guest_suite::store::StoredEntry;
use guest_suite::webhook::{EventName, Secret};
use http::{Method, StatusCode};
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::api::{Api, Call, WEBHOOKS};
use crate::crm::{Crm, Delivery, subscription};
use crate::guests::{newcomer, page_origin, until};
use crate::page::soon;
use crate::proxy::ClosedPort;
use crate::world::{CLIENT, World};

/// Waits until this many failed attempts in a row are recorded. Then the clock may be moved: an attempt in progress
/// would time out.
async fn failed(world: &World, attempts: u32) {
    until(async || {
        let webhooks = world.gateway.store().webhooks().await.unwrap();
        webhooks.iter().any(|webhook| webhook.failures == attempts)
    })
    .await;
}

async fn pending(world: &World) -> u64 {
    world.gateway.store().stats().await.unwrap().outbox_pending
}

/// Whether the audit log has an entry of this action.
async fn is_audited(world: &World, action: &str) -> bool {
    let mut seen = 0;
    loop {
        let query = guest_store::EntryQuery::From(seen);
        let page = world.gateway.store().entries(query, 1_000).await.unwrap();
        if page.is_empty() {
            return false;
        }
        seen += page.len() as u64;
        let is_of_action = |entry: &StoredEntry| Entry::parse(&entry.bytes).unwrap().draft.action == action;
        if page.iter().any(is_of_action) {
            return true;
        }
    }
}

#[tokio::test]
async fn webhook_is_redelivered_unchanged_after_an_outage() {
    let world = World::start().await;
    let closed = ClosedPort::reserve();
    let address = closed.address();
    let suite = world.suite();
    let secret = suite
        .ensure_webhook(&subscription(address, "/sync"))
        .await
        .unwrap()
        .unwrap();
    let session = suite.create(newcomer(&world.clock)).await.unwrap();
    failed(&world, 1).await;
    drop(closed);
    let crm = Crm::at(address, &world.clock).await;
    crm.respond_with(&[500, 503, 400]);
    // the waits of Standard Webhooks, each up to a fifth longer
    for (attempts, wait) in [(2, 5), (3, 300), (4, 1_800)] {
        world.clock.advance(Duration::from_secs(wait * 6 / 5 + 1));
        failed(&world, attempts).await;
    }
    world.clock.advance(Duration::from_secs(7_200 * 6 / 5 + 1));
    until(async || pending(&world).await == 0).await;
    let received = crm.received(4).await;
    assert_eq!(received.len(), 4);
    let times: Vec<&str> = received
        .iter()
        .map(|delivery| delivery.header("webhook-timestamp"))
        .collect();
    assert!(
        times.is_sorted_by(|a, b| a < b),
        "each attempt is signed for its own time: {times:?}"
    );
    for delivery in &received {
        delivery.verify(&secret);
        assert_eq!(delivery.id(), received[0].id(), "one message, one id");
        assert_eq!(delivery.body(), received[0].body());
        assert_eq!(delivery.header("x-source"), "GenesysWebMessaging");
        assert_eq!(delivery.header("content-type"), "application/json");
    }
    assert_eq!(received[0].body()["data"]["id"], session.id().as_str());
    let healthy = world.gateway.store().webhooks().await.unwrap();
    assert_eq!(healthy[0].failing_since, None);
    world.stop().await;
}

#[tokio::test]
async fn delivery_that_fails_for_the_whole_schedule_is_dead_until_it_is_replayed() {
    let world = World::start().await;
    let (crm, suite) = (Crm::start(&world.clock).await, world.suite());
    let mut subscription = crm.subscription("/sync");
    subscription.events = [EventName::Created].into_iter().collect();
    suite.ensure_webhook(&subscription).await.unwrap().unwrap();
    crm.respond_with(&[500; 8]);
    suite.create(newcomer(&world.clock)).await.unwrap();
    failed(&world, 1).await;
    let minutes = [5, 30, 120, 300, 600, 600];
    let waits = std::iter::once(5).chain(minutes.map(|minutes| minutes * 60));
    for (attempts, wait) in (2..).zip(waits) {
        assert!(!is_audited(&world, "webhook.dead").await, "{attempts}");
        world.clock.advance(Duration::from_secs(wait * 6 / 5 + 1));
        failed(&world, attempts).await;
    }
    until(async || is_audited(&world, "webhook.dead").await).await;
    // the snapshot of the session is delivered
    until(async || world.gateway.store().stats().await.unwrap().queues.is_empty()).await;
    let api = Api::of(&world, CLIENT).await;
    let webhook = api.ask(Call::get(WEBHOOKS)).await["entities"][0].clone();
    let path = format!("{WEBHOOKS}/{}", webhook["id"].as_str().unwrap());
    let dead = api.ask(Call::get(&format!("{path}/deliveries?state=dead"))).await;
    let delivery = &dead["deliveries"][0];
    let attempts = delivery["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 8);
    assert!(
        attempts.iter().all(|attempt| attempt["status"] == 500),
        "{attempts:?}"
    );
    let before = crm.received(9).await;
    assert_eq!(delivery["id"], before[0].id());
    let replayed = api
        .ask(Call::post(&format!("{path}/replay")).json(&json!({})))
        .await;
    assert_eq!(replayed, json!({ "replayed": 1, "remaining": 0 }));
    let received = crm.received(before.len() + 1).await;
    let last = received.last().unwrap();
    assert_eq!(
        (last.id(), last.event()),
        (before[0].id(), EventName::Created.to_string())
    );
    world.stop().await;
}

#[tokio::test]
async fn webhook_is_disabled_after_five_days_of_only_failures() {
    let world = World::start().await;
    let (crm, suite) = (Crm::start(&world.clock).await, world.suite());
    suite
        .ensure_webhook(&crm.subscription("/sync"))
        .await
        .unwrap()
        .unwrap();
    crm.respond_with(&[500; 20]);
    suite.create(newcomer(&world.clock)).await.unwrap();
    failed(&world, 1).await;
    for (attempts, seconds) in (2..).zip([6, 360, 2_160, 8_640]) {
        world.clock.advance(Duration::from_secs(seconds + 1));
        failed(&world, attempts).await;
    }
    assert!(world.gateway.store().webhooks().await.unwrap()[0].enabled);
    world.clock.advance(Duration::from_secs(5 * 86_400));
    until(async || is_audited(&world, "webhook.disabled").await).await;
    assert!(!world.gateway.store().webhooks().await.unwrap()[0].enabled);
    world.stop().await;
}

#[tokio::test]
async fn webhook_receives_the_specific_events_that_it_names() {
    let world = World::start().await;
    let (crm, suite) = (Crm::start(&world.clock).await, world.suite());
    let mut subscription = crm.subscription("/sync");
    let events = [
        EventName::Configured,
        EventName::ConsentChanged,
        EventName::Expired,
    ];
    subscription.events = events.into();
    let secret = suite.ensure_webhook(&subscription).await.unwrap().unwrap();
    let mut session = suite.create(newcomer(&world.clock)).await.unwrap();
    soon(session.connect(page_origin())).await.unwrap();
    let evidence = Evidence::at(world.clock.now().utc);
    let change = ConsentChange::new(evidence).withdrawing(Purpose::Personalization);
    session.update_consent(&change).await.unwrap();
    drop(session);
    crm.received(2).await;
    // an attempt in progress would time out
    until(async || pending(&world).await == 0).await;
    world.clock.advance(Duration::from_secs(2 * 86_400));
    let received = in_order(crm.received(3).await, &secret);
    let names = received.iter().map(|event| event["type"].as_str().unwrap());
    assert_eq!(names.collect::<Vec<_>>(), events.map(EventName::as_str));
    assert_eq!(received[2]["data"]["endReason"], "expired");
    world.stop().await;
}

#[tokio::test]
async fn webhook_is_disabled_by_410() {
    let world = World::start().await;
    let (crm, suite) = (Crm::start(&world.clock).await, world.suite());
    let secret = suite
        .ensure_webhook(&crm.subscription("/sync"))
        .await
        .unwrap()
        .unwrap();
    crm.respond_with(&[410]);
    let mut session = suite.create(newcomer(&world.clock)).await.unwrap();
    crm.received(1).await;
    until(async || is_audited(&world, "webhook.disabled").await).await;
    let api = Api::of(&world, CLIENT).await;
    let webhooks = api.ask(Call::get(WEBHOOKS)).await;
    let webhook = webhooks["entities"].as_array().or(webhooks.as_array()).unwrap()[0].clone();
    assert_eq!(webhook["enabled"], false);
    assert!(
        suite
            .ensure_webhook(&crm.subscription("/sync"))
            .await
            .unwrap()
            .is_none()
    );

    session.end().await.unwrap();
    world.clock.advance(Duration::from_secs(86_400));
    let body = json!({
        "name": webhook["name"], "uri": webhook["uri"], "method": "POST", "enabled": true,
        "eventFilters": [{ "predicate": { "type": "event", "values": [EventName::Created.as_str()] } }],
    });
    let api = Api::of(&world, CLIENT).await;
    let path = format!("{WEBHOOKS}/{}", webhook["id"].as_str().unwrap());
    let replaced = api.ask(Call::new(Method::PUT, &path).json(&body)).await;
    assert_eq!(replaced["enabled"], true, "who replaces it switches it on again");
    let again = suite.create(newcomer(&world.clock)).await.unwrap();
    let received = crm.received(4).await;
    for delivery in &received {
        delivery.verify(&secret);
    }
    let data = |delivery: &Delivery| delivery.body()["data"].clone();
    let last: BTreeMap<_, _> = received[1..]
        .iter()
        .map(|delivery| (delivery.id(), delivery))
        .collect();
    // what it refused, what followed while it was disabled, and what followed then
    assert_eq!(data(last[received[0].id()])["id"], session.id().as_str());
    let ended = received
        .iter()
        .find(|delivery| delivery.event() == EventName::Ended.as_str());
    assert_eq!(data(ended.unwrap())["id"], session.id().as_str());
    assert!(
        received[1..]
            .iter()
            .any(|delivery| data(delivery)["id"] == again.id().as_str())
    );
    world.stop().await;
}

#[tokio::test]
async fn replaced_secret_signs_for_a_day_and_is_dropped() {
    let world = World::start().await;
    let (crm, suite) = (Crm::start(&world.clock).await, world.suite());
    let subscription = crm.subscription("/sync");
    let old = suite.ensure_webhook(&subscription).await.unwrap().unwrap();
    let id = suite.webhooks().await.unwrap().remove(0).id;
    let new = suite.rotate_webhook_secret(&id).await.unwrap().secret.unwrap();
    suite.create(newcomer(&world.clock)).await.unwrap();
    let received = crm.received(1).await;
    for secret in [&old, &new] {
        received[0].verify(secret);
    }
    until(async || pending(&world).await == 0).await;

    world.clock.advance(Duration::from_secs(86_400));
    until(async || is_audited(&world, "webhook.secret_dropped").await).await;
    let stored = world.gateway.store().webhooks().await.unwrap().remove(0);
    assert_eq!(stored.secrets.expose_secret(), new.expose());
    let before = crm.received(0).await.len();
    suite.create(newcomer(&world.clock)).await.unwrap();
    let received = crm.received(before + 1).await;
    let last = received.last().unwrap();
    last.verify(&new);
    assert_eq!(last.header("webhook-signature").split(' ').count(), 1);
    assert!(suite.ensure_webhook(&subscription).await.unwrap().is_none());
    world.stop().await;
}

#[tokio::test]
async fn webhook_redirect_is_not_followed() {
    let world = World::start().await;
    let (crm, suite) = (Crm::start(&world.clock).await, world.suite());
    suite.ensure_webhook(&crm.subscription("/sync")).await.unwrap();
    crm.respond_with(&[302, 307]);
    suite.create(newcomer(&world.clock)).await.unwrap();
    failed(&world, 1).await;
    world.clock.advance(Duration::from_secs(7));
    failed(&world, 2).await;
    world.clock.advance(Duration::from_secs(361));
    until(async || pending(&world).await == 0).await;
    let received = crm.received(3).await;
    assert!(
        received.iter().all(|delivery| delivery.path == "/sync"),
        "{received:?}"
    );
    world.stop().await;
}

/// The configuration without the network of loopback.
fn without_loopback(toml: &str) -> String {
    toml.replace(
        "allow_networks = [\"127.0.0.0/8\"]",
        "allow_networks = [\"10.0.0.0/8\"]",
    )
}

#[tokio::test]
async fn webhook_to_a_private_address_is_refused_with_the_setting() {
    let world = World::configured(Rules::default(), |toml| without_loopback(&toml)).await;
    let (crm, api) = (Crm::start(&world.clock).await, Api::of(&world, CLIENT).await);
    let mut body = json!({
        "name": "crm", "uri": crm.subscription("/sync").target.as_str(), "method": "POST", "enabled": true,
        "eventFilters": [{ "predicate": { "type": "event", "values": ["webmessaging.guestsession.created"] } }],
    });
    let refused = async |call: Call| {
        let answer = api.send(call.bearer(&api.token)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);
        let problem = answer.json();
        assert_eq!(problem["details"][0]["fieldName"], "uri");
        let message = problem["message"].as_str().unwrap();
        assert!(message.contains("`allow_networks` of [webhooks]"), "{message}");
    };
    refused(Call::post(WEBHOOKS).json(&body)).await;
    // a name that does not resolve now may do so later
    body["uri"] = "https://crm.invalid/sync".into();
    let registered = api.ask(Call::post(WEBHOOKS).json(&body)).await;
    let path = format!("{WEBHOOKS}/{}", registered["id"].as_str().unwrap());
    body["uri"] = "https://10.0.0.1/sync".into();
    api.ask(Call::new(Method::PUT, &path).json(&body)).await;
    body["uri"] = "https://localhost/sync".into();
    refused(Call::new(Method::PUT, &path).json(&body)).await;
    body["enabled"] = false.into();
    api.ask(Call::new(Method::PUT, &path).json(&body)).await;
    world.stop().await;
}

#[tokio::test]
async fn events_of_a_webhook_wait_until_its_network_is_allowed() {
    let mut world = World::start().await;
    let (crm, suite) = (Crm::start(&world.clock).await, world.suite());
    suite.ensure_webhook(&crm.subscription("/sync")).await.unwrap();
    world.toml = without_loopback(&world.toml);
    let world = world.restart().await;
    world.suite().create(newcomer(&world.clock)).await.unwrap();
    failed(&world, 1).await;
    world.clock.advance(Duration::from_secs(7));
    failed(&world, 2).await;
    assert_eq!(
        pending(&world).await,
        1,
        "it is kept, should the network be allowed one day"
    );
    assert!(crm.received(0).await.is_empty());
    world.stop().await;
}

/// All events of one session, by their sequence.
fn in_order(mut received: Vec<Delivery>, secret: &Secret) -> Vec<serde_json::Value> {
    for delivery in &received {
        delivery.verify(secret);
    }
    received.sort_by_key(|delivery| delivery.body()["data"]["sequence"].as_u64().unwrap());
    received.iter().map(Delivery::body).collect()
}

#[tokio::test]
async fn session_events_contain_only_consented_data() {
    let world = World::start().await;
    let (crm, suite) = (Crm::start(&world.clock).await, world.suite());
    let secret = suite
        .ensure_webhook(&crm.subscription("/sync"))
        .await
        .unwrap()
        .unwrap();
    let mut session = suite.create(newcomer(&world.clock)).await.unwrap();
    for purpose in [Purpose::Marketing, Purpose::Personalization] {
        // an attempt in progress would time out
        until(async || pending(&world).await == 0).await;
        world.clock.advance(Duration::from_secs(60));
        let change = ConsentChange::new(Evidence::at(world.clock.now().utc)).withdrawing(purpose);
        session.update_consent(&change).await.unwrap();
    }
    until(async || pending(&world).await == 0).await;
    session.end().await.unwrap();
    let received = crm.received(4).await;
    assert_eq!(received.len(), 4);
    let events = in_order(received, &secret);
    let names: Vec<_> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    let expected = [
        EventName::Created,
        EventName::Updated,
        EventName::Updated,
        EventName::Ended,
    ];
    assert_eq!(names, expected.map(EventName::as_str));
    let attributes = events
        .iter()
        .map(|event| event["data"]["guestAttributes"].clone());
    assert_eq!(
        attributes.collect::<Vec<_>>(),
        [
            json!({
                "source": "web", "region": "EU", "marketing.segment": "spring-campaign", "favouriteColour": "blue",
            }),
            json!({ "source": "web", "region": "EU", "favouriteColour": "blue" }),
            json!({ "source": "web", "region": "EU" }),
            json!({ "source": "web", "region": "EU" }),
        ]
    );
    let marketing = events
        .iter()
        .map(|event| event["data"]["consent"]["marketing"].clone());
    assert_eq!(
        marketing.collect::<Vec<_>>(),
        ["granted", "denied", "denied", "denied"]
    );
    assert_eq!(
        (&events[0]["data"]["state"], &events[3]["data"]["state"]),
        (&json!("created"), &json!("ended"))
    );
    assert_eq!(events[3]["data"]["endReason"], "guest");
    let times: Vec<_> = events
        .iter()
        .map(|event| event["timestamp"].as_str().unwrap())
        .collect();
    assert!(times.is_sorted(), "{times:?}");

    // withdrawn attributes are in no later delivery and not in the session row
    let stored = world
        .gateway
        .store()
        .session(session.id())
        .await
        .unwrap()
        .unwrap();
    assert!(!String::from_utf8_lossy(&stored.document).contains("spring-campaign"));
    world.stop().await;
}

#[tokio::test]
async fn webhook_gets_events_of_its_owner_only() {
    let world = World::start().await;
    let (crm, suite) = (Crm::start(&world.clock).await, world.suite());
    let secret = suite
        .ensure_webhook(&crm.subscription("/sync"))
        .await
        .unwrap()
        .unwrap();
    let neighbor = Api::of(&world, crate::world::NEIGHBOR).await;
    neighbor.create(&crate::api::guest()).await;
    let session = suite.create(newcomer(&world.clock)).await.unwrap();
    let received = crm.received(1).await;
    let events = in_order(received, &secret);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["data"]["id"], session.id().as_str());
    until(async || pending(&world).await == 0).await;
    assert_eq!(crm.received(1).await.len(), 1);
    world.stop().await;
}
