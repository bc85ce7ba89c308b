//! Frames of a guest's page outside the contract.

use std::time::Duration;

use genesys_api::entropy;
use http::Request;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::Fixture;
use crate::page::{Page, Received, handshake, upgrade};

/// A UUID, as the id of a message has to be.
const ID: &str = "c0ffee00-0000-4000-8000-000000000001";

/// Texts that are invalid frames before and after the handshake.
fn invalid_texts() -> Vec<String> {
    let mut texts: Vec<String> = ["", "hello", "{", "[]", "7", "null", "{}", r#"{"type":7}"#]
        .map(str::to_owned)
        .into();
    texts.push("[".repeat(10_000));
    texts.extend(
        [
            json!({ "type": "shout", "text": "hi" }),
            json!({ "type": "message", "id": ID }),
            json!({ "type": "message", "text": "hi" }),
            json!({ "type": "message", "id": "not-a-uuid", "text": "hi" }),
            json!({ "type": "message", "id": ID, "text": 7 }),
            json!({ "type": "message", "id": ID, "text": null }),
            json!({ "type": "message", "id": ID, "text": "hi", "to": "everyone" }),
            json!({ "type": "typing", "on": true }),
            json!({ "type": "ping", "id": 7 }),
            json!({ "type": "handshake" }),
            json!({ "type": "handshake", "guestSessionId": "a b", "timestamp": "2026-11-22T12:30:00Z" }),
            json!({ "type": "handshake", "guestSessionId": "a", "timestamp": "now", "token": "x" }),
            json!({ "type": "handshake", "guestSessionId": "a", "timestamp": "now" }),
            json!({ "type": "handshake", "guestSessionId": "a", "timestamp": "2026-11-22T12:30:00Z", "lastSequence": -1 }),
        ]
        .map(|frame| frame.to_string()),
    );
    texts
}

fn request(session: &Value) -> Request<()> {
    upgrade(session["websocketUrl"].as_str().unwrap())
}

/// A socket before its first frame.
async fn silent(session: &Value) -> Page {
    Page::open(request(session)).await.unwrap()
}

async fn receive_error(page: &mut Page, code: &str) {
    match page.receive().await {
        Received::Frame(frame) if frame["type"] == "error" && frame["code"] == code => {
            assert!(frame["message"].as_str().is_some_and(|text| text.len() > 10));
        }
        received => panic!("expected the error {code}, received {received:?}"),
    }
}

async fn assert_open(page: &mut Page) {
    page.send_frame(&json!({ "type": "ping", "id": "still there?" }))
        .await;
    let pong = page.until("pong").await;
    assert_eq!(pong["id"], "still there?");
}

async fn assert_conversation_works(page: &mut Page) {
    let id = page.message("hello").await;
    let accepted = page.delivery("sent").await;
    assert_eq!(accepted["id"], id.as_str());
    page.until("message").await;
}

#[tokio::test]
async fn invalid_frames_are_refused_and_the_session_continues() {
    let fixture = Fixture::start().await;
    let session = &fixture.live;
    assert_conversation_works(&mut Page::of(session).await).await;
    let (before, logged) = (fixture.state().await, fixture.audit_entries().await);

    invalid_frames_are_reported(session).await;
    unsendable_messages_are_reported(session).await;
    protocol_violations_close_the_socket(session).await;
    fifth_invalid_frame_closes_the_socket(session).await;
    frames_before_the_handshake_are_refused(session).await;
    mismatched_handshakes_are_refused(&fixture).await;

    assert_eq!(fixture.state().await, before);
    let mut actions = fixture.audited(logged).await;
    actions.retain(|action| !["ws.closed", "ws.opened", "ws.refused"].contains(&action.as_str()));
    assert_eq!(actions, Vec::<String>::new());
    assert_conversation_works(&mut Page::of(session).await).await;
    fixture.world.stop().await;
}

async fn invalid_frames_are_reported(session: &Value) {
    let second = handshake(session).to_string();
    let texts: Vec<String> = invalid_texts().into_iter().chain([second]).collect();
    // one more would close the socket
    for texts in texts.chunks(4) {
        let mut page = Page::of(session).await;
        for text in texts {
            page.send(Message::text(text)).await;
            receive_error(&mut page, "bad.frame").await;
        }
        assert_open(&mut page).await;
    }
}

async fn unsendable_messages_are_reported(session: &Value) {
    let mut page = Page::of(session).await;
    let id = entropy::uuid().to_string();
    let lone_surrogate = format!(r#"{{"type":"message","id":"{id}","text":"bad \ud800 half"}}"#);
    page.send(Message::text(lone_surrogate)).await;
    assert_eq!(page.until("error").await["id"], *id);
    for (text, code) in [
        (String::new(), "message.empty"),
        ("x".repeat(4_097), "message.too.long"),
        ("ü".repeat(2_049), "message.too.long"),
    ] {
        let id = entropy::uuid().to_string();
        page.send_unchecked(&json!({ "type": "message", "id": id, "text": text }))
            .await;
        let failed = page.delivery("failed").await;
        assert_eq!((&failed["id"], &failed["code"]), (&json!(id), &json!(code)));
    }
    assert_open(&mut page).await;
}

async fn protocol_violations_close_the_socket(session: &Value) {
    let text = |bytes: Vec<u8>| Message::Frame(Frame::message(bytes, OpCode::Data(Data::Text), true));
    for (message, code) in [
        (Message::binary(b"{\"type\":\"typing\"}".to_vec()), 1003),
        (text(b"\xff\xfe".to_vec()), 1007),
        (Message::text("x".repeat(64 * 1024 + 1)), 1009),
        (
            Message::Frame(Frame::message(Vec::new(), OpCode::Data(Data::Reserved(3)), true)),
            1002,
        ),
    ] {
        let mut page = Page::of(session).await;
        page.send(message.clone()).await;
        assert_eq!(page.closed().await, Some(code), "after {message:?}");
        let mut page = silent(session).await;
        page.send(message.clone()).await;
        assert_eq!(
            page.closed().await,
            Some(code),
            "before the handshake, after {message:?}"
        );
    }
}

async fn fifth_invalid_frame_closes_the_socket(session: &Value) {
    for mut page in [Page::of(session).await, silent(session).await] {
        for _ in 0..5 {
            page.send(Message::text("{}")).await;
            receive_error(&mut page, "bad.frame").await;
        }
        assert_eq!(page.receive().await, Received::Closed(Some(1008)));
    }
}

async fn frames_before_the_handshake_are_refused(session: &Value) {
    for frame in [
        json!({ "type": "message", "id": ID, "text": "hi" }),
        json!({ "type": "typing" }),
        json!({ "type": "ping" }),
    ] {
        let mut page = silent(session).await;
        page.send_unchecked(&frame).await;
        receive_error(&mut page, "handshake.expected").await;
        assert_eq!(page.receive().await, Received::Closed(Some(1008)));
    }
    for texts in invalid_texts().chunks(4) {
        let mut page = silent(session).await;
        for text in texts {
            page.send(Message::text(text)).await;
            receive_error(&mut page, "bad.frame").await;
        }
        // the socket stays open for a valid one
        page.send_frame(&handshake(session)).await;
        page.until("handshake.accepted").await;
    }
}

async fn mismatched_handshakes_are_refused(fixture: &Fixture) {
    let with = |session: &Value, field: &str, value: &Value| {
        let mut frame = handshake(session);
        frame[field] = value.clone();
        frame
    };
    let (live, expired, ended) = (&fixture.live, &fixture.with_expired_token, &fixture.ended);
    let mut no_token = handshake(live);
    no_token.as_object_mut().unwrap().remove("accessToken");
    for (session, frame, code) in [
        (live, no_token, "authentication.required"),
        (
            live,
            with(live, "accessToken", &json!("let-me-in")),
            "bad.credentials",
        ),
        (live, with(live, "accessToken", &json!("")), "bad.credentials"),
        (
            live,
            with(live, "accessToken", &live["refreshToken"]),
            "bad.credentials",
        ),
        (
            live,
            with(live, "accessToken", &expired["accessToken"]),
            "bad.credentials",
        ),
        (live, with(live, "guestSessionId", &expired["id"]), "not.found"),
        (live, handshake(&fixture.foreign), "not.found"),
        (expired, handshake(expired), "credentials.expired"),
        (ended, handshake(ended), "session.ended"),
    ] {
        let mut page = silent(session).await;
        page.send_unchecked(&frame).await;
        receive_error(&mut page, code).await;
        assert_eq!(page.receive().await, Received::Closed(Some(1008)));
    }
}

#[tokio::test]
async fn page_without_a_handshake_in_time_is_closed() {
    let fixture = Fixture::start().await;
    let mut page = silent(&fixture.live).await;
    // after this reply the gateway waits
    page.send(Message::text("{}")).await;
    receive_error(&mut page, "bad.frame").await;
    fixture.world.clock.advance(Duration::from_secs(10));
    receive_error(&mut page, "handshake.timeout").await;
    assert_eq!(page.receive().await, Received::Closed(Some(1008)));
    fixture.world.stop().await;
}
