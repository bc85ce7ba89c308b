//! An ordered webhook.

use serde_json::Value;

use super::*;

#[tokio::test]
async fn failing_delivery_holds_back_later_events_of_its_session_only() {
    let world = World::start().await;
    let (crm, suite) = (Crm::start(&world.clock).await, world.suite());
    let mut subscription = crm.subscription("/sync");
    subscription.ordered = true;
    suite.ensure_webhook(&subscription).await.unwrap();
    let webhook = suite.webhooks().await.unwrap().remove(0);
    assert!(webhook.subscription.ordered);
    crm.respond_with(&[500]);
    let mut held = suite.create(newcomer(&world.clock)).await.unwrap();
    failed(&world, 1).await;
    let change = ConsentChange::new(Evidence::at(world.clock.now().utc)).withdrawing(Purpose::Analytics);
    held.update_consent(&change).await.unwrap();
    held.end().await.unwrap();
    let mut other = suite.create(newcomer(&world.clock)).await.unwrap();
    other.end().await.unwrap();
    let received = crm.received(3).await;
    assert_eq!(sequences(&received[1..], other.id().as_str()).len(), 2);
    until(async || pending(&world).await == 3).await;

    let path = format!("{WEBHOOKS}/{}/deliveries?state=waiting", webhook.id);
    let waiting = Api::of(&world, CLIENT).await.ask(Call::get(&path)).await;
    let waits_for = |delivery: &Value| delivery["waitsFor"].as_str().map(str::to_owned);
    let waiting = waiting["deliveries"].as_array().unwrap().iter().map(waits_for);
    let first = Some(received[0].id().to_owned());
    let mut waiting: Vec<_> = waiting.collect();
    waiting.sort();
    assert_eq!(waiting, [None, first.clone(), first]);

    let world = world.restart().await;
    world.clock.advance(Duration::from_secs(7));
    let received = crm.received(6).await;
    until(async || pending(&world).await == 0).await;
    let retried = received[3..].iter().map(Delivery::event);
    let expected = [EventName::Created, EventName::Updated, EventName::Ended];
    assert_eq!(
        retried.collect::<Vec<_>>(),
        expected.map(|event| event.to_string())
    );
    assert_eq!(received[3].id(), received[0].id());
    let sequences = sequences(&received[3..], held.id().as_str());
    assert!(
        sequences.len() == 3 && sequences.is_sorted_by(|a, b| a < b),
        "{sequences:?}"
    );
    world.stop().await;
}

/// The sequence numbers of the deliveries, all of which are of this session.
fn sequences(received: &[Delivery], session: &str) -> Vec<u64> {
    let sequence = |delivery: &Delivery| {
        let data = &delivery.body()["data"];
        assert_eq!(data["id"], session);
        data["sequence"].as_u64().unwrap()
    };
    received.iter().map(sequence).collect()
}
