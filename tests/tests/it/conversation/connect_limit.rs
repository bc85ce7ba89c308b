//! The limit of new sockets to a deployment of Genesys.

use std::time::Duration;

use genesys_sim::Rules;
use http::Method;
use serde_json::Value;

use crate::api::{Api, Call, guest, path_of};
use crate::page::{Page, handshake, upgrade};
use crate::world::{CLIENT, NEIGHBOR, World};

/// Time between two slots.
const SLOT: Duration = Duration::from_secs(3);

async fn open(session: &Value) -> Page {
    let url = session["websocketUrl"].as_str().unwrap();
    let mut page = Page::open(upgrade(url)).await.unwrap();
    page.send_frame(&handshake(session)).await;
    page
}

#[tokio::test]
async fn guest_of_another_client_and_those_behind_ended_sessions_do_not_wait_for_a_crowd() {
    let world = World::configured(Rules::default(), |toml| {
        toml.replace("[sessions]", "connections_per_minute = 20\n[sessions]")
    })
    .await;
    let (api, neighbor) = (Api::of(&world, CLIENT).await, Api::of(&world, NEIGHBOR).await);
    let mut crowd = Vec::new();
    for _ in 0..30 {
        let session = api.create(&guest()).await;
        let page = open(&session).await;
        crowd.push((session, page));
    }
    crowd[0].1.until("handshake.accepted").await;
    let (_, last) = crowd.last_mut().unwrap();
    let status = last.until("conversation").await;
    assert_eq!(status["outage"]["reason"], "genesys.throttled", "{status}");
    let time = |status: &Value| {
        let text = status["outage"]["nextAttemptAt"].as_str().unwrap();
        genesys_api::parse_rfc3339(text).unwrap()
    };
    let last_at = time(&status);

    let mut other = open(&neighbor.create(&guest()).await).await;
    let status = other.until("conversation").await;
    assert!(last_at - time(&status) > SLOT * 20, "{status}");
    world.clock.advance(2 * SLOT);
    other.until("handshake.accepted").await;
    let configured = world.simulator.counters().sessions;
    assert!(configured <= 10, "{configured} sessions were not spread");

    for (session, _) in &crowd[1..29] {
        let path = path_of(session, "");
        api.ask(Call::new(Method::DELETE, &path)).await;
    }
    world.clock.advance(2 * SLOT);
    crowd[29].1.until("handshake.accepted").await;
    world.stop().await;
}
