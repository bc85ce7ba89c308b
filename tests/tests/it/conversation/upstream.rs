//! Losses and refusals of the gateway's own socket to Genesys.

use std::collections::BTreeSet;
use std::time::Duration;

use genesys_sim::Rules;
use guest_suite::conversation::{ConnectionEvent, Event};
use guest_suite::webhook::{EventName, Subscription};
use serde_json::{Value, json};

use super::{exchange_messages, resume, session, world_at};
use crate::api::{Api, Call, path_of};
use crate::crm::{Crm, Delivery};
use crate::genesys::Genesys;
use crate::guests::{newcomer, next, page_origin, talk, until};
use crate::page::{Page, Received, handshake, soon, upgrade};
use crate::proxy::{ClosedPort, Proxy};
use crate::world::{CLIENT, World};

/// A gateway that reaches its simulator through a proxy.
pub(crate) async fn world_through(proxy: &Proxy, rules: Rules) -> World {
    world_with(proxy, rules, "").await
}

/// The same, with these lines in the configuration's `[genesys]`.
pub(super) async fn world_with(proxy: &Proxy, rules: Rules, genesys: &str) -> World {
    let world = World::configured(rules, |toml| {
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

/// The frame of a message that is not decided.
fn delivery(id: &str, state: &str) -> Value {
    json!({ "type": "delivery", "id": id, "state": state })
}

#[tokio::test]
async fn gateway_reconnects_to_genesys_and_the_conversation_continues() {
    let proxy = Proxy::start().await;
    let world = world_through(&proxy, Rules::default()).await;
    let mut page = Page::of(&session(&world).await).await;
    exchange_messages(&mut page, "one").await;
    proxy.close(true);
    proxy.cut();
    let lost = page.until("conversation").await;
    assert_eq!(lost["outage"]["reason"], "genesys.unreachable");
    assert!(lost["outage"]["since"].is_string() && lost["outage"]["nextAttemptAt"].is_string());
    assert_eq!(lost["actions"], json!(["send"]));
    // messages in the meantime wait
    let id = page.message("two").await;
    assert_eq!(page.until("delivery").await, delivery(&id, "queued"));
    // under its id it is the same message
    page.send_frame(&json!({ "type": "message", "id": id, "text": "two" }))
        .await;
    assert_eq!(page.until("delivery").await, delivery(&id, "queued"));
    proxy.close(false);
    let (mut outages, mut states) = (Vec::new(), Vec::new());
    let reply = loop {
        match page.receive().await {
            Received::Frame(frame) if frame["type"] == "conversation" => {
                outages.push(frame["outage"]["since"].clone());
            }
            Received::Frame(frame) if frame["type"] == "delivery" => {
                assert_eq!(frame["id"], id.as_str());
                states.push(frame["state"].clone());
            }
            Received::Frame(frame) if frame["type"] == "message" => break frame,
            Received::Frame(frame) => assert_eq!(frame["type"], "typing"),
            Received::Closed(code) => panic!("the guest's socket closed with {code:?}"),
        }
    };
    assert_eq!(reply["text"], "You said: two");
    assert_eq!(states, ["sending", "sent"]);
    assert_eq!(outages.pop(), Some(Value::Null));
    for since in outages {
        assert_eq!(since, lost["outage"]["since"], "an outage has one begin");
    }
    let counters = world.simulator.counters();
    assert_eq!((counters.sessions, counters.guest_messages), (1, 2));
    world.stop().await;
}

#[tokio::test]
async fn client_is_notified_of_a_lost_upstream() {
    let proxy = Proxy::start().await;
    let world = world_through(&proxy, Rules::default()).await;
    let mut session = world.suite().create(newcomer(&world.clock)).await.unwrap();
    soon(session.connect(page_origin())).await.unwrap();
    talk(&mut session, "one").await;
    proxy.cut();
    assert!(matches!(
        next(&mut session).await,
        Event::Connection(ConnectionEvent::UpstreamLost {
            reason: "genesys.unreachable",
            ..
        })
    ));
    // further attempts are reported as well
    loop {
        match next(&mut session).await {
            Event::Connection(ConnectionEvent::UpstreamLost { .. }) => {}
            Event::Connection(ConnectionEvent::UpstreamRestored) => break,
            other => panic!("{other:?}"),
        }
    }
    talk(&mut session, "two").await;
    world.stop().await;
}

#[tokio::test]
async fn webhook_gets_messages_and_reconnects_if_it_names_them() {
    let proxy = Proxy::start().await;
    let world = world_through(&proxy, Rules::default()).await;
    let (crm, suite) = (Crm::start(&world.clock).await, world.suite());
    let mut subscription = crm.subscription("/sync");
    subscription.events = [EventName::MessageReceived, EventName::Reconnected].into();
    let all = [EventName::Created, EventName::Ended];
    suite.ensure_webhook(&subscription).await.unwrap();
    let other = Crm::start(&world.clock).await;
    let other_subscription = Subscription {
        name: "other".parse().unwrap(),
        events: all.into(),
        ..other.subscription("/sync")
    };
    suite.ensure_webhook(&other_subscription).await.unwrap();
    let mut session = suite.create(newcomer(&world.clock)).await.unwrap();
    soon(session.connect(page_origin())).await.unwrap();
    talk(&mut session, "one").await;
    crm.received(1).await;
    proxy.cut();
    loop {
        if let Event::Connection(ConnectionEvent::UpstreamRestored) = next(&mut session).await {
            break;
        }
    }
    crm.received(2).await;
    session.end().await.unwrap();
    let mut received: Vec<_> = crm.received(2).await.iter().map(Delivery::body).collect();
    received.sort_by_key(|body| body["data"]["sequence"].as_u64());
    let names: Vec<_> = received.iter().map(|body| body["type"].clone()).collect();
    assert_eq!(
        names,
        [EventName::MessageReceived, EventName::Reconnected].map(EventName::as_str)
    );
    for body in &received {
        assert_eq!(body["data"]["id"], session.id().as_str());
        assert!(
            !body.to_string().contains("You said"),
            "the text stays here: {body}"
        );
    }
    let others = other.received(2).await;
    let names: BTreeSet<_> = others.iter().map(Delivery::event).collect();
    assert_eq!(names, all.map(|event| event.to_string()).into());
    world.stop().await;
}

/// Time before the history is read after a lost socket.
const SETTLE: Duration = Duration::from_secs(3);

async fn restored(page: &mut Page) {
    while page.until("conversation").await["outage"].is_object() {}
}

/// Number of acknowledgements, refusals and replies that a page receives for a message.
async fn status(page: &mut Page, id: &str, text: &str) -> (usize, usize, usize) {
    let (mut accepted, mut failed, mut answered) = (0, 0, 0);
    // messages arrive in order
    let last = page.message("the last word").await;
    loop {
        match page.receive().await {
            Received::Frame(frame) if frame["state"] == "sent" => {
                accepted += usize::from(frame["id"] == id);
            }
            Received::Frame(frame) if frame["state"] == "failed" || frame["state"] == "unknown" => {
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
    let world = world_through(&proxy, Rules::default()).await;
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
    let world = world_through(&proxy, Rules::default()).await;
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
    let world = world_with(
        &proxy,
        Rules::default(),
        &format!("api = \"http://{}\"", closed.address()),
    )
    .await;
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
    let unknown = page.delivery("unknown").await;
    assert_eq!(
        (&unknown["id"], &unknown["code"]),
        (&json!(id), &json!("in.doubt"))
    );
    page.send_frame(&json!({ "type": "message", "id": id, "text": "two" }))
        .await;
    assert_eq!(
        page.delivery("unknown").await,
        unknown,
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
        let status = page.until("conversation").await;
        assert_eq!(status["outage"]["reason"], "genesys.refused", "{status}");
        assert!(status["outage"]["nextAttemptAt"].is_string(), "{status}");
        // the socket stays open
        page.send_frame(&json!({ "type": "ping" })).await;
        page.until("pong").await;
    }
    let path = path_of(&session, "");
    assert_eq!(api.ask(Call::get(&path)).await["endedAt"], Value::Null);
    world.stop().await;
}

#[tokio::test]
async fn page_that_connects_in_an_outage_gets_its_state_and_its_messages_wait() {
    let proxy = Proxy::start().await;
    let world = world_through(&proxy, Rules::default()).await;
    let session = session(&world).await;
    proxy.close(true);
    let mut page = Page::open(upgrade(session["websocketUrl"].as_str().unwrap()))
        .await
        .unwrap();
    page.send_frame(&handshake(&session)).await;
    let status = page.until("conversation").await;
    assert_eq!(status["outage"]["reason"], "genesys.unreachable", "{status}");
    let id = page.message("from the outage").await;
    assert_eq!(page.until("delivery").await, delivery(&id, "queued"));
    // another one during it
    let mut other = Page::open(upgrade(session["websocketUrl"].as_str().unwrap()))
        .await
        .unwrap();
    other.send_frame(&handshake(&session)).await;
    let status = other.until("conversation").await;
    assert_eq!(status["outage"]["reason"], "genesys.unreachable", "{status}");
    proxy.close(false);
    world.clock.advance(Duration::from_secs(60));
    page.until("handshake.accepted").await;
    assert_eq!(page.until("delivery").await, delivery(&id, "sending"));
    assert_eq!(page.delivery("sent").await["id"], id.as_str());
    other.until("handshake.accepted").await;
    assert_eq!(world.simulator.counters().guest_messages, 1);
    world.stop().await;
}

#[tokio::test]
async fn message_fails_after_ten_minutes_without_genesys() {
    let proxy = Proxy::start().await;
    let world = world_through(&proxy, Rules::default()).await;
    let session = session(&world).await;
    let open = async || {
        let mut page = Page::open(upgrade(session["websocketUrl"].as_str().unwrap()))
            .await
            .unwrap();
        page.send_frame(&handshake(&session)).await;
        page
    };
    // of a conversation that cannot be opened, and of one that was open
    for is_new in [true, false] {
        proxy.close(is_new);
        let mut page = open().await;
        if is_new {
            page.until("conversation").await;
        } else {
            page.until("handshake.accepted").await;
            proxy.close(true);
            proxy.cut();
            while !page.until("conversation").await["outage"].is_object() {}
        }
        let id = page.message("from the outage").await;
        assert_eq!(page.until("delivery").await, delivery(&id, "queued"));
        world.clock.advance(Duration::from_secs(600));
        let failed = page.until("delivery").await;
        assert_eq!(
            (&failed["id"], &failed["state"], &failed["code"]),
            (&json!(id), &json!("failed"), &json!("queue.timeout"))
        );
        // the guest decides to send it again, under the same id
        page.send_frame(&json!({ "type": "message", "id": id, "text": "from the outage" }))
            .await;
        assert_eq!(page.until("delivery").await, delivery(&id, "queued"));
        proxy.close(false);
        world.clock.advance(Duration::from_secs(60));
        assert_eq!(page.delivery("sent").await["id"], id.as_str());
        page.leave().await;
    }
    assert_eq!(world.simulator.counters().guest_messages, 2);
    world.stop().await;
}

#[tokio::test]
async fn silent_genesys_is_an_outage_within_20_seconds() {
    let genesys = Genesys::start().await;
    let world = world_at(&genesys).await;
    let session = session(&world).await;
    // it accepts the connection, and answers nothing
    let open = async {
        let mut page = Page::open(upgrade(session["websocketUrl"].as_str().unwrap()))
            .await
            .unwrap();
        page.send_frame(&handshake(&session)).await;
        page
    };
    let (mut page, upstream) = tokio::join!(open, genesys.accept());
    world.clock.advance(Duration::from_secs(10));
    let status = page.until("conversation").await;
    assert_eq!(status["outage"]["reason"], "genesys.unreachable", "{status}");
    drop(upstream);
    world.stop().await;
}

#[tokio::test]
async fn rate_limit_of_genesys_is_an_outage_until_it_has_passed() {
    let genesys = Genesys::start().await;
    let world = world_at(&genesys).await;
    let session = session(&world).await;
    let (mut page, mut upstream) = tokio::join!(Page::of(&session), genesys.configured());
    let id = page.message("hello").await;
    let sent = upstream.receive().await.unwrap();
    upstream
        .send_frame(&json!({
            "type": "response", "class": "TooManyRequestsErrorMessage", "code": 429, "tracingId": sent["tracingId"],
            "body": { "retryAfter": 30, "errorCode": 4029, "errorMessage": "Message rate too high for this session" },
        }))
        .await;
    let status = page.until("conversation").await;
    assert_eq!(status["outage"]["reason"], "genesys.throttled", "{status}");
    world.clock.advance(Duration::from_secs(31));
    assert_eq!(page.until("conversation").await["outage"], Value::Null);
    let (accepted, _) = tokio::join!(page.delivery("sent"), upstream.take_message());
    assert_eq!(accepted["id"], id.as_str());
    drop(upstream);
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
