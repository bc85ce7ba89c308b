//! A webhook that its owner pauses.

use super::*;

#[tokio::test]
async fn paused_webhook_gets_its_events_when_it_is_resumed() {
    let world = World::start().await;
    let (crm, suite) = (Crm::start(&world.clock).await, world.suite());
    suite.ensure_webhook(&crm.subscription("/sync")).await.unwrap();
    let id = suite.webhooks().await.unwrap().remove(0).id;
    let api = Api::of(&world, CLIENT).await;
    let path = format!("{WEBHOOKS}/{id}");
    let paused = api.ask(Call::post(&format!("{path}/pause"))).await;
    assert_eq!(paused["enabled"], false);
    let mut session = suite.create(newcomer(&world.clock)).await.unwrap();
    session.end().await.unwrap();
    let status = api.ask(Call::get(&path)).await["status"].clone();
    assert_eq!(
        (&status["state"], &status["waiting"]),
        (&json!("paused"), &json!(2))
    );
    let tested = api.ask(Call::post(&format!("{path}/test"))).await;
    assert_eq!(tested["status"], 204);
    let resumed = api.ask(Call::post(&format!("{path}/resume"))).await;
    assert_eq!(resumed["enabled"], true);
    let received = crm.received(3).await;
    let mut events: Vec<_> = received.iter().map(Delivery::event).collect();
    events.sort();
    let expected = [EventName::Created, EventName::Ended, EventName::Test];
    assert_eq!(events, expected.map(|event| event.to_string()));
    until(async || pending(&world).await == 0).await;
    let status = api.ask(Call::get(&path)).await["status"].clone();
    assert_eq!(
        (&status["state"], &status["lagSeconds"]),
        (&json!("active"), &json!(0))
    );
    assert_eq!(status["lastAttempt"]["status"], 204);
    world.stop().await;
}
