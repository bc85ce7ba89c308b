//! Webhooks that choose sessions, fields, and the version of their signatures.

use guest_suite::webhook::{FieldSource, PublicKey, SignatureVersion, Subscription};
use guest_suite::{GuestSession, GuestSessions, NewGuest};

use super::*;

async fn withdraw(world: &World, session: &GuestSession, purpose: Purpose) {
    let change = ConsentChange::new(Evidence::at(world.clock.now().utc)).withdrawing(purpose);
    session.update_consent(&change).await.unwrap();
}

#[tokio::test]
async fn webhook_gets_sessions_that_meet_its_conditions_until_their_end() {
    let world = World::start().await;
    let (crm, suite) = (Crm::start(&world.clock).await, world.suite());
    let mut subscription = crm.subscription("/sync");
    let values = |value: &str| [value.to_owned()].into();
    subscription.conditions.regions = values("EEA");
    let attributes = &mut subscription.conditions.attributes;
    attributes.insert("marketing.segment".to_owned(), values("spring-campaign"));
    let secret = suite.ensure_webhook(&subscription).await.unwrap().unwrap();
    assert_eq!(suite.webhooks().await.unwrap()[0].subscription, subscription);

    let elsewhere = NewGuest {
        jurisdictions: "US-CA".parse().unwrap(),
        ..newcomer(&world.clock)
    };
    suite.create(elsewhere).await.unwrap();
    let mut session = suite.create(newcomer(&world.clock)).await.unwrap();
    until(async || pending(&world).await == 0).await;
    withdraw(&world, &session, Purpose::Marketing).await;
    until(async || pending(&world).await == 0).await;
    session.end().await.unwrap();
    until(async || pending(&world).await == 0).await;

    let events = in_order(crm.received(0).await, &secret);
    let names = events.iter().map(|event| event["type"].as_str().unwrap());
    let expected = [EventName::Created, EventName::Updated, EventName::Ended];
    assert_eq!(names.collect::<Vec<_>>(), expected.map(EventName::as_str));
    for (event, segment) in events
        .iter()
        .zip([json!("spring-campaign"), json!(null), json!(null)])
    {
        assert_eq!(event["data"]["id"], session.id().as_str());
        assert_eq!(event["data"]["guestAttributes"]["marketing.segment"], segment);
    }
    world.stop().await;
}

#[tokio::test]
async fn removed_webhooks_follow_no_session() {
    let world = World::start().await;
    let (crm, suite) = (Crm::start(&world.clock).await, world.suite());
    let mut subscription = crm.subscription("/sync");
    let value = ["spring-campaign".to_owned()].into();
    let attributes = &mut subscription.conditions.attributes;
    attributes.insert("marketing.segment".to_owned(), value);
    let session = suite.create(newcomer(&world.clock)).await.unwrap();
    for purpose in [Purpose::Analytics, Purpose::Personalization] {
        suite.ensure_webhook(&subscription).await.unwrap();
        let id = suite.webhooks().await.unwrap().remove(0).id;
        withdraw(&world, &session, purpose).await;
        until(async || pending(&world).await == 0).await;
        let row = world
            .gateway
            .store()
            .session(session.id())
            .await
            .unwrap()
            .unwrap();
        let document: serde_json::Value = serde_json::from_slice(&row.document).unwrap();
        assert_eq!(document["followers"].as_array().map(Vec::len), Some(1));
        let api = Api::of(&world, CLIENT).await;
        let removal = Call::new(Method::DELETE, &format!("{WEBHOOKS}/{id}"));
        let removed = api.send(removal.bearer(&api.token)).await;
        assert_eq!(removed.status, StatusCode::NO_CONTENT);
    }
    world.stop().await;
}

#[tokio::test]
async fn session_is_followed_at_the_url_that_got_it_only() {
    let world = World::start().await;
    let (crm, suite) = (Crm::start(&world.clock).await, world.suite());
    let wanted = |path: &str, segment: &str| {
        let mut subscription = crm.subscription(path);
        let attributes = &mut subscription.conditions.attributes;
        attributes.insert("marketing.segment".to_owned(), [segment.to_owned()].into());
        subscription
    };
    suite
        .ensure_webhook(&wanted("/sync", "spring-campaign"))
        .await
        .unwrap();
    let id = suite.webhooks().await.unwrap().remove(0).id;
    let session = suite.create(newcomer(&world.clock)).await.unwrap();
    until(async || pending(&world).await == 0).await;
    let api = Api::of(&world, CLIENT).await;
    for (path, purpose) in [
        ("/moved", Purpose::Analytics),
        ("/sync", Purpose::Personalization),
    ] {
        let subscription = wanted(path, "another");
        let body = serde_json::to_value(guest_suite::contract::SubscriptionBody(&subscription)).unwrap();
        api.ask(Call::new(Method::PUT, &format!("{WEBHOOKS}/{id}")).json(&body))
            .await;
        withdraw(&world, &session, purpose).await;
        until(async || pending(&world).await == 0).await;
    }
    let received = crm.received(0).await;
    let received: Vec<_> = received
        .iter()
        .map(|delivery| (delivery.path.as_str(), delivery.event()))
        .collect();
    let expected = [EventName::Created, EventName::Updated].map(|event| ("/sync", event.as_str().to_owned()));
    assert_eq!(received, expected);
    world.stop().await;
}

#[tokio::test]
async fn attribute_that_is_withdrawn_before_it_is_sent_meets_no_condition() {
    let world = World::start().await;
    let (crm, suite) = (Crm::start(&world.clock).await, world.suite());
    let mut subscription = crm.subscription("/sync");
    let value = ["spring-campaign".to_owned()].into();
    let attributes = &mut subscription.conditions.attributes;
    attributes.insert("marketing.segment".to_owned(), value);
    subscription.enabled = false;
    suite.ensure_webhook(&subscription).await.unwrap();
    let id = suite.webhooks().await.unwrap().remove(0).id;
    let session = suite.create(newcomer(&world.clock)).await.unwrap();
    withdraw(&world, &session, Purpose::Marketing).await;
    assert_eq!(pending(&world).await, 2);
    let api = Api::of(&world, CLIENT).await;
    api.ask(Call::post(&format!("{WEBHOOKS}/{id}/resume"))).await;
    until(async || pending(&world).await == 0).await;
    assert!(crm.received(0).await.is_empty());
    world.stop().await;
}

#[tokio::test]
async fn chosen_fields_are_previewed_and_sent() {
    let world = World::start().await;
    let (crm, suite) = (Crm::start(&world.clock).await, world.suite());
    crm.expect_chosen_fields();
    let path = |path: &str| FieldSource::Path(path.to_owned());
    let subscription = Subscription {
        enabled: false,
        fields: BTreeMap::from([
            ("campaign".to_owned(), path("guestAttributes.marketing.segment")),
            ("color".to_owned(), path("guestAttributes.favouriteColour")),
            ("mayAdvertise".to_owned(), path("consent.marketing")),
            ("origin".to_owned(), FieldSource::Constant("web chat".to_owned())),
        ]),
        ..crm.subscription("/sync")
    };
    suite.ensure_webhook(&subscription).await.unwrap();
    let id = suite.webhooks().await.unwrap().remove(0).id;
    let session = suite.create(newcomer(&world.clock)).await.unwrap();
    withdraw(&world, &session, Purpose::Personalization).await;

    let api = Api::of(&world, CLIENT).await;
    let path = format!("{WEBHOOKS}/{id}");
    let preview = Call::post(&format!("{path}/preview")).json(&json!({ "sessionId": session.id() }));
    let preview = api.ask(preview).await;
    assert_eq!(preview["isWanted"], true);
    let expected = json!({
        "id": session.id(), "sequence": 2, "campaign": "spring-campaign", "mayAdvertise": "granted",
        "origin": "web chat",
    });
    assert_eq!(preview["body"]["data"], expected);
    assert!(is_audited(&world, "webhook.previewed").await);
    assert!(crm.received(0).await.is_empty(), "nothing is sent");

    api.ask(Call::post(&format!("{path}/resume"))).await;
    let received = crm.received(2).await;
    let updated = received
        .iter()
        .find(|delivery| delivery.event() == EventName::Updated.as_str());
    assert_eq!(updated.unwrap().body()["data"], expected);
    world.stop().await;
}

#[tokio::test]
async fn constants_are_sent_until_the_attribute_of_a_condition_is_withdrawn() {
    let world = World::start().await;
    let (crm, suite) = (Crm::start(&world.clock).await, world.suite());
    crm.expect_chosen_fields();
    let constant = FieldSource::Constant("reached".to_owned());
    let mut subscription = Subscription {
        fields: BTreeMap::from([("campaign".to_owned(), constant)]),
        ..crm.subscription("/sync")
    };
    let value = ["spring-campaign".to_owned()].into();
    let attributes = &mut subscription.conditions.attributes;
    attributes.insert("marketing.segment".to_owned(), value);
    let secret = suite.ensure_webhook(&subscription).await.unwrap().unwrap();
    let id = suite.webhooks().await.unwrap().remove(0).id;
    let mut session = suite.create(newcomer(&world.clock)).await.unwrap();
    until(async || pending(&world).await == 0).await;
    withdraw(&world, &session, Purpose::Marketing).await;
    until(async || pending(&world).await == 0).await;

    let api = Api::of(&world, CLIENT).await;
    let preview = Call::post(&format!("{WEBHOOKS}/{id}/preview"));
    let preview = api.ask(preview.json(&json!({ "sessionId": session.id() }))).await;
    assert_eq!(preview["body"]["data"]["campaign"], json!(null));
    session.end().await.unwrap();
    until(async || pending(&world).await == 0).await;

    let events = in_order(crm.received(0).await, &secret);
    let campaigns = events.iter().map(|event| event["data"].get("campaign"));
    assert_eq!(
        campaigns.collect::<Vec<_>>(),
        [Some(&json!("reached")), None, None]
    );
    world.stop().await;
}

/// The public key of the only webhook.
async fn public_key(suite: &GuestSessions) -> PublicKey {
    let webhook = suite.webhooks().await.unwrap().remove(0);
    assert!(webhook.secret.is_none());
    webhook.public_key.unwrap()
}

#[tokio::test]
async fn webhook_signs_by_a_private_key_that_is_never_shown() {
    let world = World::start().await;
    let (crm, suite) = (Crm::start(&world.clock).await, world.suite());
    let subscription = Subscription {
        signature: SignatureVersion::V1a,
        ..crm.subscription("/sync")
    };
    let api = Api::of(&world, CLIENT).await;
    let body = serde_json::to_value(guest_suite::contract::SubscriptionBody(&subscription)).unwrap();
    let answer = api
        .send(Call::post(WEBHOOKS).json(&body).bearer(&api.token))
        .await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    assert!(!answer.text.contains("whsk_") && answer.json().get("secret").is_none());
    assert!(suite.ensure_webhook(&subscription).await.unwrap().is_none());
    let old = public_key(&suite).await;
    let id = suite.webhooks().await.unwrap().remove(0).id;
    suite.create(newcomer(&world.clock)).await.unwrap();
    crm.received(1).await[0].verify(&old);

    let rotated = suite.rotate_webhook_secret(&id).await.unwrap();
    assert!(rotated.secret.is_none());
    let new = public_key(&suite).await;
    assert_eq!(rotated.public_key, Some(new));
    suite.create(newcomer(&world.clock)).await.unwrap();
    let received = crm.received(2).await;
    for key in [&old, &new] {
        received[1].verify(key);
    }

    // another version is a rotation too
    let mut body = body;
    body["signature"] = "v1".into();
    let path = format!("{WEBHOOKS}/{id}");
    let replaced = api.ask(Call::new(Method::PUT, &path).json(&body)).await;
    assert!(replaced.get("publicKey").is_none());
    let secret: Secret = replaced["secret"].as_str().unwrap().parse().unwrap();
    suite.create(newcomer(&world.clock)).await.unwrap();
    let received = crm.received(3).await;
    received[2].verify(&secret);
    received[2].verify(&new);
    world.stop().await;
}
