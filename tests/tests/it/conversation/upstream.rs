//! Losses and refusals of the gateway's own socket to Genesys.

use std::time::Duration;

use genesys_sim::Rules;
use guest_suite::conversation::{ConnectionEvent, Event};
use serde_json::{Value, json};

use super::{exchange_messages, resume, session, world_at};
use crate::api::{Api, Call, path_of};
use crate::genesys::Genesys;
use crate::guests::{newcomer, next, page_origin, talk, until};
use crate::page::{Page, Received, handshake, soon, upgrade};
use crate::proxy::{ClosedPort, Proxy};
use crate::world::{CLIENT, World};

/// A gateway that reaches its simulator through a proxy.
async fn world_through(proxy: &Proxy) -> World {
    world_with(proxy, "").await
}

/// The same, with these lines in the configuration's `[genesys]`.
pub(super) async fn world_with(proxy: &Proxy, genesys: &str) -> World {
    let world = World::configured(Rules::default(), |toml| {
        let host = toml
            .lines()
            .find(|line| line.starts_with("host = "))
            .unwrap()
            .to_owned();
        toml.replace(&host, &format!("host = \"{}\"\n{genesys}", proxy.url()))
    })
    .await;
    proxy.set_target(world.simulator.address);
    world
}

#[tokio::test]
async fn gateway_reconnects_to_genesys_and_the_conversation_continues() {
    let proxy = Proxy::start().await;
    let world = world_through(&proxy).await;
    let mut page = Page::of(&session(&world).await).await;
    exchange_messages(&mut page, "one").await;
    proxy.close(true);
    proxy.cut();
    let lost = page.until("event").await;
    assert_eq!(lost["name"], "session.reconnecting");
    // messages in the meantime wait
    let id = page.message("two").await;
    proxy.close(false);
    let mut names = Vec::new();
    let reply = loop {
        match page.receive().await {
            Received::Frame(frame) if frame["type"] == "event" => names.push(frame["name"].clone()),
            Received::Frame(frame) if frame["type"] == "message.accepted" => {
                assert_eq!(frame["id"], id.as_str())
            }
            Received::Frame(frame) if frame["type"] == "message" => break frame,
            Received::Frame(frame) => assert_eq!(frame["type"], "typing"),
            Received::Closed(code) => panic!("the guest's socket closed with {code:?}"),
        }
    };
    assert_eq!(reply["text"], "You said: two");
    assert_eq!(
        names,
        ["session.restored"],
        "one loss is reported once, for any number of attempts"
    );
    let counters = world.simulator.counters();
    assert_eq!((counters.sessions, counters.guest_messages), (1, 2));
    world.stop().await;
}

#[tokio::test]
async fn client_is_notified_of_a_lost_upstream() {
    let proxy = Proxy::start().await;
    let world = world_through(&proxy).await;
    let mut session = world.suite().create(newcomer(&world.clock)).await.unwrap();
    soon(session.connect(page_origin())).await.unwrap();
    talk(&mut session, "one").await;
    proxy.cut();
    assert!(matches!(
        next(&mut session).await,
        Event::Connection(ConnectionEvent::UpstreamLost)
    ));
    assert!(matches!(
        next(&mut session).await,
        Event::Connection(ConnectionEvent::UpstreamRestored)
    ));
    talk(&mut session, "two").await;
    world.stop().await;
}

/// Time before the history is read after a lost socket.
const SETTLE: Duration = Duration::from_secs(3);

async fn restored(page: &mut Page) {
    while page.until("event").await["name"] != "session.restored" {}
}

/// Number of acknowledgements, refusals and replies that a page receives for a message.
async fn status(page: &mut Page, id: &str, text: &str) -> (usize, usize, usize) {
    let (mut accepted, mut failed, mut answered) = (0, 0, 0);
    // messages arrive in order
    let last = page.message("the last word").await;
    loop {
        match page.receive().await {
            Received::Frame(frame) if frame["type"] == "message.accepted" => {
                accepted += usize::from(frame["id"] == id);
            }
            Received::Frame(frame) if frame["type"] == "message.failed" => {
                assert_ne!(frame["id"], last.as_str(), "{frame}");
                failed += usize::from(frame["id"] == id);
            }
            Received::Frame(frame) if frame["text"] == "You said: the last word" => {
                return (accepted, failed, answered);
            }
            Received::Frame(frame) => answered += usize::from(frame["text"] == format!("You said: {text}")),
            Received::Closed(code) => panic!("the guest's socket closed with {code:?}"),
        }
    }
}

#[tokio::test]
async fn message_before_the_loss_is_acknowledged_and_answered_once() {
    let proxy = Proxy::start().await;
    let world = world_through(&proxy).await;
    let mut page = Page::of(&session(&world).await).await;
    exchange_messages(&mut page, "one").await;
    proxy.drop_replies();
    let id = page.message("two").await;
    until(async || world.simulator.counters().agent_messages == 2).await;
    proxy.cut();
    restored(&mut page).await;
    // the client does not wait: it sends it again, under the same id
    page.send_frame(&json!({ "type": "message", "id": id, "text": "two" }))
        .await;
    // the pong shows that the gateway has it before the history is read: a later one is acknowledged once more
    page.send_frame(&json!({ "type": "ping" })).await;
    page.until("pong").await;
    world.clock.advance(SETTLE);
    assert_eq!(status(&mut page, &id, "two").await, (1, 0, 1));
    assert_eq!(world.simulator.counters().guest_messages, 3, "it arrived once");
    world.stop().await;
}

#[tokio::test]
async fn message_lost_on_the_way_arrives_once() {
    let proxy = Proxy::start().await;
    let world = world_through(&proxy).await;
    let mut page = Page::of(&session(&world).await).await;
    exchange_messages(&mut page, "one").await;
    proxy.drop_requests(true);
    let id = page.message("two").await;
    proxy.request_dropped().await;
    proxy.drop_requests(false);
    proxy.cut();
    restored(&mut page).await;
    world.clock.advance(SETTLE);
    assert_eq!(status(&mut page, &id, "two").await, (1, 0, 1));
    assert_eq!(world.simulator.counters().guest_messages, 3);
    world.stop().await;
}

#[tokio::test]
async fn unreadable_history_is_reported_as_unknown_delivery_and_gap() {
    let proxy = Proxy::start().await;
    let closed = ClosedPort::reserve();
    let world = world_with(&proxy, &format!("api = \"http://{}\"", closed.address())).await;
    let session = session(&world).await;
    let mut page = Page::of(&session).await;
    let frames = exchange_messages(&mut page, "one").await;
    let read = frames.last().unwrap()["sequence"].as_u64().unwrap();
    proxy.drop_replies();
    let id = page.message("two").await;
    until(async || world.simulator.counters().guest_messages == 2).await;
    proxy.cut();
    restored(&mut page).await;
    world.clock.advance(SETTLE);
    let gap = page.until("replay.incomplete").await;
    assert_eq!(gap["readFrom"], frames.last().unwrap()["id"], "{gap}");
    let failed = page.until("message.failed").await;
    assert_eq!((&failed["id"], &failed["code"]), (&json!(id), &json!("in.doubt")));
    page.send_frame(&json!({ "type": "message", "id": id, "text": "two" }))
        .await;
    assert_eq!(
        page.until("message.failed").await,
        failed,
        "the message is not sent twice"
    );
    exchange_messages(&mut page, "three").await;
    assert_eq!(world.simulator.counters().guest_messages, 3);
    // a page that reconnects receives it as well
    let (mut late, _) = resume(&session, read).await;
    assert_eq!(late.until("replay.incomplete").await, gap);
    world.stop().await;
}

#[tokio::test]
async fn refusal_by_the_deployment_is_reported_and_ends_nothing() {
    let rules = Rules {
        allowed_domains: Some(vec!["elsewhere.example".to_owned()]),
        ..Rules::default()
    };
    let world = World::with(rules, "").await;
    let (api, session) = (Api::of(&world, CLIENT).await, session(&world).await);
    for _ in 0..2 {
        let url = session["websocketUrl"].as_str().unwrap();
        let mut page = Page::open(upgrade(url)).await.unwrap();
        page.send_frame(&handshake(&session)).await;
        assert_eq!(page.until("error").await["code"], "genesys.refused");
        assert_eq!(page.receive().await, Received::Closed(Some(1011)));
    }
    let path = path_of(&session, "");
    assert_eq!(api.ask(Call::get(&path)).await["endedAt"], Value::Null);
    until(async || world.gateway.conversations() == 0).await;
    world.stop().await;
}

#[tokio::test]
async fn session_ends_when_genesys_closes_the_conversation() {
    let genesys = Genesys::start().await;
    let world = world_at(&genesys).await;
    let (api, session) = (Api::of(&world, CLIENT).await, session(&world).await);
    let (mut page, mut upstream) = tokio::join!(Page::of(&session), genesys.configured());
    upstream
        .send_frame(&json!({
            "type": "message", "class": "ConnectionClosedEvent", "code": 200,
            "body": { "reason": "ConversationCleared" },
        }))
        .await;
    assert_eq!(page.until("session.ended").await["reason"], "server_closed");
    assert_eq!(page.receive().await, Received::Closed(Some(1000)));
    let path = path_of(&session, "");
    assert_eq!(api.ask(Call::get(&path)).await["endReason"], "server_closed");
    until(async || world.gateway.conversations() == 0).await;
    world.stop().await;
}
