//! A guest's conversation through the gateway: messages arrive once, numbered and in order.

mod connect_limit;
mod content;
mod end;
pub(crate) mod files;
pub(crate) mod history;
mod opening;
mod resume;
mod sockets;
pub(crate) mod upstream;

use genesys_sim::{Agent, Rules};
use guest_suite::contract::TokenPlacement;
use guest_suite::contract::client::{GatewayConversation, GatewaySession};
use guest_suite::conversation::client::{ConnectLimiter, Connection, Settings};
use guest_suite::conversation::{ConnectionEvent, DeliveryStatus, Event, SessionEvent};
use guest_suite::transport::SocketUrl;
use serde_json::{Value, json};

use crate::api::{Api, guest};
use crate::genesys::Genesys;
use crate::guests::page_origin;
use crate::page::{Page, Received, handshake, soon, upgrade, upgrade_with_token};
use crate::world::{CLIENT, World};

/// The same world, its gateway connected to this Genesys.
pub(crate) async fn world_at(genesys: &Genesys) -> World {
    World::configured(Rules::default(), |toml| upstream_at(genesys, &toml)).await
}

/// The configuration of a gateway that is connected to this Genesys.
pub(crate) fn upstream_at(genesys: &Genesys, toml: &str) -> String {
    let simulator = toml.find("host = ").unwrap();
    let end = toml[simulator..].find('\n').unwrap() + simulator;
    format!(
        "{}host = \"{}\"{}",
        &toml[..simulator],
        genesys.host(),
        &toml[end..]
    )
}

async fn session(world: &World) -> Value {
    Api::of(world, CLIENT).await.create(&guest()).await
}

/// The handshake of a page that read all up to `after` of this epoch.
fn resuming(session: &Value, epoch: &Value, after: u64) -> Value {
    let mut frame = handshake(session);
    frame["epoch"] = epoch.clone();
    frame["lastSequence"] = after.into();
    frame
}

/// Opens a socket of the session, resuming after `after` of the present epoch. Returns it with the reply to the handshake.
async fn resume(session: &Value, after: u64) -> (Page, Value) {
    let epoch = Page::of(session).await.epoch;
    let url = session["websocketUrl"].as_str().unwrap();
    let mut page = Page::open(upgrade(url)).await.unwrap();
    page.send_frame(&resuming(session, &epoch, after)).await;
    let accepted = page.until("handshake.accepted").await;
    page.until("conversation").await;
    (page, accepted)
}

/// The next numbered frame.
async fn numbered(page: &mut Page) -> Value {
    loop {
        match page.receive().await {
            Received::Frame(frame) if frame["sequence"].is_u64() => return frame,
            Received::Frame(_) => {}
            Received::Closed(code) => panic!("the socket closed with {code:?}"),
        }
    }
}

/// Sends a message to the echoing agent, and returns the frames up to the acknowledgement and the reply.
async fn exchange_messages(page: &mut Page, text: &str) -> Vec<Value> {
    let id = page.message(text).await;
    let mut frames = Vec::new();
    let (mut accepted, mut answered) = (false, false);
    while !(accepted && answered) {
        let frame = numbered(page).await;
        accepted |= frame["state"] == "sent" && frame["id"] == id.as_str();
        answered |= frame["type"] == "message" && frame["text"] == format!("You said: {text}");
        frames.push(frame);
    }
    frames
}

/// The frames must be numbered from `first` on, without a gap.
fn assert_in_order(frames: &[Value], first: u64) {
    let numbers: Vec<u64> = frames
        .iter()
        .map(|frame| frame["sequence"].as_u64().unwrap())
        .collect();
    let expected: Vec<u64> = (first..first + frames.len() as u64).collect();
    assert_eq!(numbers, expected, "{frames:#?}");
}

#[tokio::test]
async fn messages_are_acknowledged_and_answered_with_the_token_in_any_place() {
    let world = World::start().await;
    for placement in [
        TokenPlacement::Frame,
        TokenPlacement::Query,
        TokenPlacement::Subprotocol,
    ] {
        let session = session(&world).await;
        let url = session["websocketUrl"].as_str().unwrap();
        let token = session["accessToken"].as_str().unwrap();
        let contract = GatewaySession::new(session["id"].as_str().unwrap().parse().unwrap(), token.into());
        let mut connection = Connection::open(
            GatewayConversation::new(contract.with_token_in(placement)),
            Settings {
                http: world.http(),
                url: SocketUrl::from_peer(url, |host| host == world.gateway.host()).unwrap(),
                origin: page_origin(),
                limiter: ConnectLimiter::default(),
            },
        );
        let configured = soon(connection.next_event()).await;
        assert!(
            matches!(configured, Some(Event::Connection(ConnectionEvent::Ready(session))) if session.new_session && !session.read_only),
            "{placement:?}: {configured:?}"
        );
        let texts = ["one", "two", "three"];
        let sent = texts.map(|text| connection.send(text).unwrap());
        let (mut accepted, mut replies, mut last) = (Vec::new(), Vec::new(), 0);
        while accepted.len() < 3 || replies.len() < 3 {
            let sequence = match soon(connection.next_event()).await {
                Some(Event::Delivery {
                    id,
                    status: DeliveryStatus::Delivered { sequence, .. },
                }) => {
                    accepted.push(id);
                    sequence
                }
                Some(Event::Message(message)) => {
                    replies.push(message.text.clone());
                    message.sequence
                }
                Some(Event::Session(SessionEvent::Typing { .. })) => continue,
                other => panic!("{placement:?}: expected an answer, received {other:?}"),
            };
            assert!(sequence.unwrap() > last);
            last = sequence.unwrap();
        }
        assert_eq!(accepted, sent, "{placement:?}");
        assert_eq!(
            replies,
            texts.map(|text| format!("You said: {text}")),
            "{placement:?}"
        );
    }
    world.stop().await;
}

#[tokio::test]
async fn page_connects_with_the_token_in_any_place() {
    let world = World::start().await;
    for place in ["frame", "query", "subprotocol"] {
        let session = session(&world).await;
        let (url, token) = (
            session["websocketUrl"].as_str().unwrap(),
            session["accessToken"].as_str().unwrap(),
        );
        let (mut request, mut first) = (upgrade(url), handshake(&session));
        match place {
            "query" => request = upgrade(&format!("{url}?access_token={token}")),
            "subprotocol" => request = upgrade_with_token(url, token),
            _ => {}
        }
        if place != "frame" {
            first.as_object_mut().unwrap().remove("accessToken");
        }
        let mut page = Page::open(request).await.unwrap();
        page.send_frame(&first).await;
        let Received::Frame(accepted) = page.receive().await else {
            panic!("{place}: the socket closed");
        };
        assert_eq!(
            accepted,
            json!({
                "type": "handshake.accepted", "guestSessionId": session["id"], "epoch": accepted["epoch"],
                "newSession": true, "readOnly": false, "sequence": 0,
            }),
            "{place}"
        );
        let mut frames = Vec::new();
        for text in ["one", "two", "three"] {
            frames.extend(exchange_messages(&mut page, text).await);
        }
        assert_in_order(&frames, 1);
        let reply = frames.iter().find(|frame| frame["type"] == "message").unwrap();
        assert_eq!(reply["from"], json!({ "kind": "agent", "name": "Ann" }));
        page.send_frame(&json!({ "type": "ping", "id": "p-1" })).await;
        assert_eq!(page.until("pong").await, json!({ "type": "pong", "id": "p-1" }));
    }
    assert_eq!(world.simulator.counters().guest_messages, 9);
    world.stop().await;
}

#[tokio::test]
async fn typing_is_relayed_in_both_directions() {
    let genesys = Genesys::start().await;
    let world = world_at(&genesys).await;
    let session = session(&world).await;
    let (mut page, mut upstream) = tokio::join!(Page::of(&session), genesys.configured());
    page.send_frame(&json!({ "type": "typing" })).await;
    let frame = upstream.receive().await.unwrap();
    assert_eq!(frame["action"], "onMessage");
    assert_eq!(
        frame["message"]["events"],
        json!([{ "eventType": "Typing", "typing": { "type": "On" } }])
    );

    upstream
        .send_frame(&json!({
            "type": "message", "class": "StructuredMessage", "code": 200,
            "body": {
                "type": "Event", "direction": "Outbound", "id": "t-1", "originatingEntity": "Bot",
                "channel": { "time": "2026-11-22T12:30:00.000Z", "from": { "nickname": "Robot" } },
                "events": [{ "eventType": "Typing", "typing": { "type": "On", "duration": 3000 } }],
            },
        }))
        .await;
    let typing = page.until("typing").await;
    assert_eq!(
        typing,
        json!({ "type": "typing", "from": { "kind": "bot", "name": "Robot" }, "duration": 3_000 })
    );
    drop(upstream);
    world.stop().await;
}

#[tokio::test]
async fn repeated_message_is_acknowledged_and_not_sent_again() {
    let world = World::with(
        Rules {
            agent: Agent::Silent,
            ..Rules::default()
        },
        "",
    )
    .await;
    let session = session(&world).await;
    let mut page = Page::of(&session).await;
    let id = page.message("once").await;
    let accepted = page.delivery("sent").await;
    let again = json!({ "type": "message", "id": id, "text": "once" });
    page.send_frame(&again).await;
    assert_eq!(page.delivery("sent").await, accepted);

    // on another socket it is answered too, and only there
    let mut other = Page::of(&session).await;
    other.send_frame(&again).await;
    assert_eq!(other.delivery("sent").await, accepted);
    page.send_frame(&json!({ "type": "ping" })).await;
    assert_eq!(page.receive().await, Received::Frame(json!({ "type": "pong" })));
    assert_eq!(world.simulator.counters().guest_messages, 1);
    world.stop().await;
}

#[tokio::test]
async fn own_message_from_another_socket_is_a_message_of_the_guest() {
    let genesys = Genesys::start().await;
    let world = world_at(&genesys).await;
    let session = session(&world).await;
    let (mut page, mut upstream) = tokio::join!(Page::of(&session), genesys.configured());
    // an echo of a message that this gateway did not send
    upstream
        .send_frame(&json!({
            "type": "message", "class": "StructuredMessage", "code": 200,
            "body": {
                "type": "Text", "text": "from my telephone", "direction": "Inbound", "id": "e-1",
                "channel": { "time": "2026-11-22T12:30:00.000Z" },
            },
        }))
        .await;
    upstream.agent("a-1", "hello").await;
    let own = numbered(&mut page).await;
    assert_eq!(
        (&own["from"], &own["text"]),
        (&json!({ "kind": "guest" }), &json!("from my telephone"))
    );
    let frame = numbered(&mut page).await;
    assert_eq!(
        (&frame["from"]["kind"], &frame["text"]),
        (&json!("agent"), &json!("hello"))
    );
    drop(upstream);
    world.stop().await;
}
