//! Resume after a lost socket: missed events arrive once and in order.

use std::time::Duration;

use genesys_sim::Rules;
use guest_suite::conversation::{ConnectionEvent, Event};
use serde_json::json;

use super::{assert_in_order, exchange_messages, numbered, resume, session};
use crate::guests::{answered, newcomer, next, page_origin, talk, until};
use crate::page::{Page, Received, soon};
use crate::proxy::Proxy;
use crate::world::World;

/// A gateway that its clients reach through a proxy.
async fn world_behind(proxy: &Proxy, rules: Rules) -> World {
    let world = World::configured(rules, |toml| {
        toml.replace("[store]", &format!("public_url = \"{}\"\n[store]", proxy.url()))
    })
    .await;
    proxy.set_target(world.gateway.address());
    world
}

#[tokio::test]
async fn page_that_loses_its_socket_during_a_reply_misses_nothing() {
    let delay = Duration::from_secs(5);
    let world = World::with(
        Rules {
            agent_delay: delay,
            ..Rules::default()
        },
        "",
    )
    .await;
    let session = session(&world).await;
    let mut page = Page::of(&session).await;
    let id = page.message("hello").await;
    let mut frames = vec![numbered(&mut page).await];
    assert_eq!(
        (&frames[0]["state"], &frames[0]["id"]),
        (&json!("sent"), &json!(id))
    );
    page.until("typing").await;
    drop(page);

    world.clock.advance(delay);
    until(async || world.simulator.counters().agent_messages == 1).await;
    // the page had read the first event only when it was cut off
    let (mut page, accepted) = resume(&session, 1).await;
    assert_eq!(
        (&accepted["newSession"], &accepted["readOnly"]),
        (&json!(false), &json!(false))
    );
    frames.push(numbered(&mut page).await);
    assert_eq!(frames[1]["text"], "You said: hello");
    assert_in_order(&frames, 1);

    // a page that has read everything receives nothing again
    let (mut other, accepted) = resume(&session, 2).await;
    assert_eq!(accepted["sequence"], 2);
    other.send_frame(&json!({ "type": "ping" })).await;
    assert_eq!(other.receive().await, Received::Frame(json!({ "type": "pong" })));
    let sent = other.message("bye").await;
    for page in [&mut page, &mut other] {
        let accepted = numbered(page).await;
        assert_eq!(
            (&accepted["id"], &accepted["sequence"]),
            (&json!(sent), &json!(3))
        );
    }
    world.stop().await;
}

#[tokio::test]
async fn sequence_numbers_continue_over_sockets() {
    let world = World::start().await;
    let session = session(&world).await;
    let (mut read, mut frames) = (0, Vec::new());
    for text in ["one", "two", "three"] {
        let (mut page, accepted) = resume(&session, read).await;
        assert_eq!(accepted["sequence"], read);
        frames.extend(exchange_messages(&mut page, text).await);
        read = frames.len() as u64;
    }
    assert_in_order(&frames, 1);
    world.stop().await;
}

#[tokio::test]
async fn client_reconnects_and_emits_every_event_once() {
    let proxy = Proxy::start().await;
    let world = world_behind(&proxy, Rules::default()).await;
    let mut session = world.suite().create(newcomer(&world.clock)).await.unwrap();
    soon(session.connect(page_origin())).await.unwrap();
    talk(&mut session, "one").await;

    proxy.cut();
    assert!(matches!(
        next(&mut session).await,
        Event::Connection(ConnectionEvent::Reconnecting { .. })
    ));
    let sent = session.send("two").unwrap();
    assert!(answered(&mut session, sent, "two").await);

    // cut off between a message and its acknowledgement: it is sent again, and arrives once
    proxy.drop_replies();
    let sent = session.send("three").unwrap();
    until(async || world.simulator.counters().guest_messages == 3).await;
    proxy.cut();
    assert!(answered(&mut session, sent, "three").await);
    talk(&mut session, "four").await;
    let counters = world.simulator.counters();
    assert_eq!(
        (counters.guest_messages, counters.sessions, counters.connections),
        (4, 1, 1)
    );
    world.stop().await;
}
