//! Every frame that the gateway can send, with every field.

use std::collections::BTreeSet;
use std::time::Duration;

use genesys_api::entropy;
use http::Method;
use serde_json::{Value, json};

use crate::api::{Api, Call, SESSIONS, guest};
use crate::conversation::upstream::world_through;
use crate::conversation::world_at;
use crate::document::{frame_properties, see_frame};
use crate::genesys::Genesys;
use crate::page::{Page, Received, handshake, upgrade};
use crate::proxy::Proxy;
use crate::sign_in::gateway::sign_in;
use crate::world::CLIENT;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../spec/web-messaging/golden/server");

#[tokio::test]
async fn documented_frames_are_sent_with_all_fields() {
    let mut seen = BTreeSet::new();
    for frame in with_the_simulator()
        .await
        .iter()
        .chain(&frames_of_all_kinds().await)
    {
        see_frame(frame, &mut seen);
    }
    let unseen: Vec<String> = frame_properties().difference(&seen).cloned().collect();
    assert!(unseen.is_empty(), "no frame has these fields: {unseen:#?}");
}

async fn with_the_simulator() -> Vec<Value> {
    let rules = genesys_sim::Rules {
        session_duration: Duration::from_secs(1_800),
        ..genesys_sim::Rules::default()
    };
    let proxy = Proxy::start().await;
    let world = world_through(&proxy, rules).await;
    let api = Api::of(&world, CLIENT).await;
    let session = api.create(&guest()).await;
    let mut page = Page::open(upgrade(session["websocketUrl"].as_str().unwrap()))
        .await
        .unwrap();
    let mut received = Vec::new();
    page.send_frame(&handshake(&session)).await;
    until(&mut page, "handshake.accepted", &mut received).await;
    api.ask(sign_in(&world, &session).await).await;
    while received.last().unwrap()["signedIn"].is_null() {
        until(&mut page, "conversation", &mut received).await;
    }
    // the last one exceeds the rate limit, and waits
    for number in 0..6 {
        page.message(&format!("hello {number}")).await;
    }
    until(&mut page, "message", &mut received).await;
    page.send_unchecked(&json!({ "type": "message", "id": session["id"], "text": "" }))
        .await;
    until(&mut page, "delivery", &mut received).await;
    let unreadable = json!({ "type": "message", "id": entropy::uuid().to_string(), "text": 7 });
    page.send_unchecked(&unreadable).await;
    until(&mut page, "error", &mut received).await;
    page.send_frame(&json!({ "type": "ping", "id": "1" })).await;
    until(&mut page, "pong", &mut received).await;
    // the session expires soon, then Genesys is lost
    world.clock.advance(Duration::from_secs(1_501));
    until(&mut page, "conversation", &mut received).await;
    while !received.last().unwrap()["expiresAt"].is_string() {
        until(&mut page, "conversation", &mut received).await;
    }
    proxy.cut();
    until(&mut page, "conversation", &mut received).await;
    let path = format!("{SESSIONS}/{}", session["id"].as_str().unwrap());
    api.ask(Call::new(Method::DELETE, &path)).await;
    until(&mut page, "session.ended", &mut received).await;
    world.stop().await;
    received
}

async fn frames_of_all_kinds() -> Vec<Value> {
    let genesys = Genesys::start().await;
    let world = world_at(&genesys).await;
    let session = Api::of(&world, CLIENT).await.create(&guest()).await;
    let (mut page, mut line) = tokio::join!(Page::of(&session), genesys.configured());
    let sent = |kind: &str, more: Value| {
        let mut body = json!({
            "type": kind, "direction": "Outbound", "id": kind, "originatingEntity": "Bot",
            "channel": { "time": "2026-11-22T12:30:00.000Z", "from": { "nickname": "Robot" } },
        });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!({ "type": "message", "class": "StructuredMessage", "code": 200, "body": body })
    };
    let mut received = Vec::new();
    let typing =
        json!({ "events": [{ "eventType": "Typing", "typing": { "type": "On", "duration": 3_000 } }] });
    line.send_frame(&sent("Event", typing)).await;
    until(&mut page, "typing", &mut received).await;
    // each kind of content with each of its fields, as Genesys writes it
    for golden in [
        "attachment",
        "card",
        "carousel",
        "card-bare",
        "date-picker",
        "form",
        "list-picker",
        "quick-replies",
        "text-content",
        "other-content",
        "own-echo-quick-reply",
        "form-response",
    ] {
        let path = format!("{GOLDEN}/{golden}.json");
        let mut frame: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        if golden == "card" {
            let actions = frame["body"]["content"][0]["card"]["actions"]
                .as_array_mut()
                .unwrap();
            actions.push(json!({ "type": "Novelty", "text": "Try" }));
        }
        // a message of its own, from elsewhere
        frame["body"]["id"] = golden.into();
        frame["body"]["channel"]["messageId"] = golden.into();
        frame.as_object_mut().unwrap().remove("tracingId");
        line.send_frame(&frame).await;
        until(&mut page, "message", &mut received).await;
    }
    // the history is refused after a lost connection
    drop(line);
    let mut line = genesys.configured_again().await;
    line.agent("a-1", "hello").await;
    let asked = line.receive().await.unwrap();
    assert_eq!(asked["action"], "getJwt");
    line.send_frame(&json!({
        "type": "response", "class": "string", "code": 403, "tracingId": asked["tracingId"], "body": "no",
    }))
    .await;
    until(&mut page, "replay.incomplete", &mut received).await;
    drop(line);
    tokio::join!(world.stop(), until(&mut page, "session.moved", &mut received));
    received
}

/// Collects frames up to the first one of this type.
async fn until(page: &mut Page, kind: &str, received: &mut Vec<Value>) {
    loop {
        let Received::Frame(frame) = page.receive().await else {
            panic!("the socket closed before a frame {kind} came: {received:#?}");
        };
        let found = frame["type"] == kind;
        received.push(frame);
        if found {
            return;
        }
    }
}
