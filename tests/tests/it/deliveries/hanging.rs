//! Endpoints that never answer.

use std::sync::mpsc;

use guest_sessions::SubscriptionBody;
use tokio::net::TcpListener;

use super::*;
use crate::api::guest;
use crate::world::NEIGHBOR;

#[tokio::test]
async fn delivery_of_another_owner_leaves_within_a_second_beside_hanging_endpoints() {
    let world = World::start().await;
    let (crm, suite) = (Crm::start(&world.clock).await, world.suite());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for number in 0..20 {
        let mut hanging = subscription(listener.local_addr().unwrap(), "/sync");
        hanging.name = format!("hanging-{number}").parse().unwrap();
        suite.ensure_webhook(&hanging).await.unwrap();
    }
    let neighbor = Api::of(&world, NEIGHBOR).await;
    let mut wanted = serde_json::to_value(SubscriptionBody(&crm.subscription("/sync"))).unwrap();
    wanted["headers"] = json!({});
    neighbor.ask(Call::post(WEBHOOKS).json(&wanted)).await;

    // the paused clock does not move by itself while a blocking task runs
    let (running, end) = mpsc::channel::<()>();
    tokio::task::spawn_blocking(move || end.recv_timeout(Duration::from_secs(240)));
    tokio::time::pause();
    for _ in 0..4 {
        suite.create(newcomer(&world.clock)).await.unwrap();
    }
    let mut hanging = Vec::new();
    while hanging.len() < 64 {
        hanging.push(soon(listener.accept()).await.unwrap());
    }
    let session = neighbor.create(&guest()).await;
    world.clock.advance(Duration::from_secs(1));
    let received = crm.received(1).await;
    assert_eq!(received[0].body()["data"]["id"], session["id"]);
    let webhooks = world.gateway.store().webhooks().await.unwrap();
    assert!(
        webhooks.iter().all(|webhook| webhook.failures == 0),
        "all attempts are in flight"
    );
    drop(running);
    tokio::time::resume();
    world.stop().await;
}
