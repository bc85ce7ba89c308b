//! The guest's sockets: their number, lifetime and backpressure.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::{exchange_messages, numbered, resume, session, world_at};
use crate::api::{Api, Call, SESSIONS};
use crate::genesys::Genesys;
use crate::page::{Page, Received, handshake, upgrade};
use crate::world::{CLIENT, World};

#[tokio::test]
async fn fourth_socket_closes_the_oldest() {
    let world = World::start().await;
    let session = session(&world).await;
    let mut oldest = Page::of(&session).await;
    let mut pages = [
        Page::of(&session).await,
        Page::of(&session).await,
        Page::of(&session).await,
    ];
    assert_eq!(oldest.receive().await, Received::Closed(Some(1008)));
    let sent = exchange_messages(&mut pages[0], "hello").await;
    for page in &mut pages[1..] {
        for frame in &sent {
            assert_eq!(&numbered(page).await, frame);
        }
    }
    assert_eq!(
        world.gateway.conversations(),
        1,
        "they share one socket to Genesys"
    );
    assert_eq!(world.simulator.counters().connections, 1);
    world.stop().await;
}

#[tokio::test]
async fn message_is_delivered_with_its_text_to_the_other_sockets() {
    let world = World::start().await;
    let session = session(&world).await;
    let (mut page, mut other) = (Page::of(&session).await, Page::of(&session).await);
    let id = page.message("from one tab").await;
    let sent = other.delivery("sent").await;
    assert_eq!(sent["id"], id.as_str());
    assert_eq!(sent["text"], "from one tab");
    assert_eq!(page.delivery("sent").await, sent);
    let reply = other.until("message").await;
    assert_eq!(
        reply["sequence"].as_u64(),
        sent["sequence"].as_u64().map(|last| last + 1)
    );
    world.stop().await;
}

#[tokio::test]
async fn closed_sockets_free_their_slots() {
    let world = World::start().await;
    let session = session(&world).await;
    let mut page = Page::of(&session).await;
    for _ in 0..5 {
        Page::of(&session).await.leave().await;
    }
    exchange_messages(&mut page, "still here").await;
    world.stop().await;
}

#[tokio::test]
async fn waiting_sockets_are_bounded_and_all_notified() {
    let genesys = Genesys::start().await;
    let world = world_at(&genesys).await;
    let session = session(&world).await;
    let waiting = async || {
        let url = session["websocketUrl"].as_str().unwrap();
        let mut page = Page::open(upgrade(url)).await.unwrap();
        page.send_frame(&handshake(&session)).await;
        page
    };
    let mut oldest = waiting().await;
    let mut upstream = genesys.accept().await;
    let mut pages = [waiting().await, waiting().await, waiting().await];
    assert_eq!(oldest.receive().await, Received::Closed(Some(1008)));
    upstream.configure(true).await;
    for page in &mut pages {
        page.until("handshake.accepted").await;
    }
    upstream.agent("a-1", "hello").await;
    for page in &mut pages {
        assert_eq!(numbered(page).await["text"], "hello");
    }
    drop(upstream);
    world.stop().await;
}

#[tokio::test]
async fn socket_outlives_its_token_only_after_a_refresh() {
    let world = World::start().await;
    let session = session(&world).await;
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let mut page = Page::of(&session).await;
    world.clock.advance(minutes(50));
    let api = Api::of(&world, CLIENT).await;
    let path = format!("{SESSIONS}/{}/refresh", session["id"].as_str().unwrap());
    let body = json!({ "refreshToken": session["refreshToken"] });
    let rotated = api.ask(Call::post(&path).json(&body)).await;
    world.clock.advance(minutes(20));
    exchange_messages(&mut page, "after the old token's end").await;

    world.clock.advance(minutes(40));
    assert_eq!(page.until("error").await["code"], "credentials.expired");
    assert_eq!(page.receive().await, Received::Closed(Some(1008)));

    // neither token opens a socket any more
    let url = session["websocketUrl"].as_str().unwrap();
    for (token, code) in [
        (&session["accessToken"], "bad.credentials"),
        (&rotated["accessToken"], "credentials.expired"),
    ] {
        let refused = Page::open(upgrade(&format!(
            "{url}?access_token={}",
            token.as_str().unwrap()
        )));
        let Err((status, body)) = refused.await else {
            panic!("the socket was opened");
        };
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert!(body.contains(code), "{body}");
    }
    world.stop().await;
}

/// More bytes than the buffers of two sockets hold on any tested system.
const FLOOD: usize = 8 * 1024 * 1024;

#[tokio::test]
async fn slow_page_is_dropped_and_can_reconnect() {
    let genesys = Genesys::start().await;
    let world = world_at(&genesys).await;
    let session = session(&world).await;
    let (mut slow, mut upstream) = tokio::join!(Page::of(&session), genesys.configured());
    let mut fast = Page::of(&session).await;
    let text = "x".repeat(4_000);
    let count = FLOOD / text.len();
    let flood = async {
        for number in 1..=count {
            upstream.agent(&format!("a-{number}"), &text).await;
        }
    };
    let reading = async {
        let mut last = 0;
        while last < count as u64 {
            let frame = numbered(&mut fast).await;
            assert_eq!(frame["sequence"], last + 1, "a reading page misses no frame");
            last += 1;
        }
    };
    tokio::join!(flood, reading);

    let mut received = 0;
    let code = loop {
        match slow.receive().await {
            Received::Frame(frame) => {
                assert_eq!(frame["sequence"], received + 1);
                received += 1;
            }
            Received::Closed(code) => break code,
        }
    };
    assert!(received < count as u64, "the flood is too small");
    assert!(matches!(code, Some(1013) | None), "{code:?}");

    let (mut page, accepted) = resume(&session, received).await;
    assert_eq!(accepted["sequence"], count);
    let Received::Frame(first) = page.receive().await else {
        panic!("the socket closed");
    };
    assert_eq!(first["type"], "replay.incomplete", "the loss is reported");
    let mut last: Option<u64> = None;
    while last != Some(count as u64) {
        let sequence = numbered(&mut page).await["sequence"].as_u64().unwrap();
        assert!(last.is_none_or(|last| sequence == last + 1) && sequence > received);
        last = Some(sequence);
    }
    upstream.agent("a-last", "hello again").await;
    let frame: Value = numbered(&mut page).await;
    assert_eq!(
        (&frame["text"], &frame["sequence"]),
        (&json!("hello again"), &json!(count + 1))
    );
    drop(upstream);
    world.stop().await;
}
