//! Server-Sent Events of a page without a backend, read from the reply of a raw HTTP request.

mod connection;

use std::time::Duration;

use futures_util::future::join_all;
use genesys_sim::Rules;
use guest_store::EntryQuery;
use http::{Method, StatusCode};
use serde_json::{Value, json};

pub(crate) use self::connection::{EventStream, frame_call, new_stream, stream_call, stream_handshake};

use self::connection::StreamEvent;
use crate::api::{Api, Call};
use crate::conversation::world_at;
use crate::genesys::Genesys;
use crate::guests::until;
use crate::page::{Page, Received};
use crate::spa::{Visit, cross_site};
use crate::world::{CLIENT, World};

async fn start() -> (World, Api, Visit) {
    let world = World::with(Rules::default(), "").await;
    let api = Api::of(&world, CLIENT).await;
    let visit = Visit::create(&api).await;
    (world, api, visit)
}

/// The numbered frames up to the reply to `text`.
async fn of_stream(stream: &mut EventStream, text: &str) -> Vec<Value> {
    let mut frames = Vec::new();
    loop {
        let frame = stream.numbered().await;
        let is_last = frame["text"] == format!("You said: {text}");
        frames.push(frame);
        if is_last {
            return frames;
        }
    }
}

/// The same of a socket.
async fn of_socket(page: &mut Page, text: &str) -> Vec<Value> {
    let mut frames = Vec::new();
    loop {
        let Received::Frame(frame) = page.receive().await else {
            panic!("the socket closed");
        };
        if frame["sequence"].is_u64() {
            frames.push(frame.clone());
        }
        if frame["text"] == format!("You said: {text}") {
            return frames;
        }
    }
}

#[tokio::test]
async fn event_stream_has_the_frames_and_numbers_of_a_socket() {
    let (world, api, visit) = start().await;
    let mut socket = visit.open(&api).await;
    let mut stream = EventStream::open(&world, &visit).await;
    for text in ["one", "two"] {
        stream.message(&api, text).await;
        let frames = of_stream(&mut stream, text).await;
        assert!(frames.iter().any(|frame| frame["state"] == "sent"), "{frames:?}");
        assert_eq!(frames, of_socket(&mut socket, text).await);
    }
    socket.message("three").await;
    assert_eq!(
        of_socket(&mut socket, "three").await,
        of_stream(&mut stream, "three").await
    );
    world.stop().await;
}

#[tokio::test]
async fn page_of_another_site_opens_a_stream_by_its_access_token() {
    let (world, api) = cross_site::world().await;
    let session = cross_site::create(&api).await;
    let body = stream_handshake(&session);
    let path = format!("/spa/session/stream?stream={}", new_stream());
    let call = cross_site::with_token(Call::post(&path), &session).json(&body);
    let (answer, stream) = EventStream::ask(&world, &call).await;
    let mut stream = stream.unwrap_or_else(|| panic!("{} {}", answer.status, answer.text));
    stream.until("handshake.accepted").await;
    assert!(answer.headers.get("access-control-allow-credentials").is_none());
    stream.message(&api, "hello").await;
    of_stream(&mut stream, "hello").await;
    world.stop().await;
}

#[tokio::test]
async fn event_stream_resumes_after_the_last_event_without_loss_or_doubles() {
    let (world, api, visit) = start().await;
    let mut socket = visit.open(&api).await;
    let mut stream = EventStream::open(&world, &visit).await;
    stream.message(&api, "one").await;
    let read = of_stream(&mut stream, "one").await;
    let position = stream.position(read.last().unwrap());
    drop(stream);
    of_socket(&mut socket, "one").await;
    socket.message("two").await;
    let missed = of_socket(&mut socket, "two").await;
    let mut resumed = EventStream::resume(&world, &visit, &position).await;
    assert_eq!(of_stream(&mut resumed, "two").await, missed);
    world.stop().await;
}

#[tokio::test]
async fn message_posted_twice_is_sent_once() {
    let (world, api, visit) = start().await;
    let mut stream = EventStream::open(&world, &visit).await;
    let message = json!({ "type": "message", "id": "c0ffee00-0000-4000-8000-000000000001", "text": "once" });
    for _ in 0..2 {
        assert_eq!(stream.send(&api, &message).await.status, StatusCode::ACCEPTED);
    }
    of_stream(&mut stream, "once").await;
    stream.message(&api, "next").await;
    let frames = of_stream(&mut stream, "next").await;
    assert!(
        frames.iter().all(|frame| frame["text"] != "You said: once"),
        "{frames:?}"
    );
    world.stop().await;
}

#[tokio::test]
async fn end_of_the_session_is_the_last_frame_of_its_stream() {
    let (world, api, visit) = start().await;
    let mut stream = EventStream::open(&world, &visit).await;
    let end = visit.call(Call::new(Method::DELETE, "/spa/session"));
    assert_eq!(api.send(end).await.status, StatusCode::NO_CONTENT);
    stream.until("session.ended").await;
    assert_eq!(stream.closed().await, Some(1000));
    let late = stream.send(&api, &json!({ "type": "typing" })).await;
    assert_eq!(late.json()["code"], "session.gone");
    let again = EventStream::ask(&world, &stream_call(&visit, &new_stream()))
        .await
        .0;
    assert_eq!(again.json()["code"], "session.gone");
    world.stop().await;
}

#[tokio::test]
async fn stream_counts_as_a_socket_of_its_session() {
    let (world, api, visit) = start().await;
    let mut oldest = EventStream::open(&world, &visit).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(EventStream::open(&world, &visit).await);
    }
    assert_eq!(oldest.closed().await, Some(1008));
    until(async || {
        let sent = oldest.send(&api, &json!({ "type": "typing" })).await;
        sent.status == StatusCode::CONFLICT
    })
    .await;
    streams[2].message(&api, "hello").await;
    let frames = of_stream(&mut streams[2], "hello").await;
    assert_eq!(of_stream(&mut streams[0], "hello").await, frames);
    world.stop().await;
}

#[tokio::test]
async fn lost_streams_free_their_slots_and_are_audited() {
    let (world, api, visit) = start().await;
    let mut stream = EventStream::open(&world, &visit).await;
    for _ in 0..4 {
        let lost = EventStream::open(&world, &visit).await;
        let id = lost.id.clone();
        drop(lost);
        // its loss is noticed without another event
        until(async || {
            let typing = frame_call(&visit, &id, &json!({ "type": "typing" }));
            api.send(typing).await.status == StatusCode::CONFLICT
        })
        .await;
    }
    stream.message(&api, "still here").await;
    of_stream(&mut stream, "still here").await;
    // repeated entries are counted for a minute
    world.clock.advance(Duration::from_secs(61));
    let entries = async || {
        let store = world.gateway.store();
        let entries = store.entries(EntryQuery::From(0), 1_000).await.unwrap();
        let texts = entries
            .iter()
            .map(|entry| String::from_utf8_lossy(&entry.bytes).into_owned());
        texts.collect::<Vec<_>>()
    };
    until(async || {
        let entries = entries().await;
        let has = |parts: [&str; 2]| {
            entries
                .iter()
                .any(|entry| parts.iter().all(|part| entry.contains(part)))
        };
        has(["ws.opened", r#""transport":"event-stream""#]) && has(["ws.closed", r#""reason":"lost""#])
    })
    .await;
    world.stop().await;
}

#[tokio::test]
async fn frames_are_refused_in_the_reply_or_on_the_stream() {
    let (world, api, visit) = start().await;
    let mut stream = EventStream::open(&world, &visit).await;
    let send = async |body: &str| {
        let call = frame_call(&visit, &stream.id, &Value::Null).with_body("application/json", body);
        api.send(call).await
    };
    for body in [
        "",
        "{}",
        r#"{"type":"shout"}"#,
        r#"{"type":"message","text":"no id"}"#,
        r#"{"type":"typing","on":true}"#,
        &stream_handshake(&visit.session).to_string(),
    ] {
        let refused = send(body).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(refused.json()["code"], "bad.frame", "{body}");
    }
    // an invalid frame closes no stream, and a refusal of the conversation is a frame
    stream.send(&api, &json!({ "type": "ping", "id": "p" })).await;
    assert_eq!(stream.until("pong").await["id"], "p");
    stream.send(&api, &json!({ "type": "conversation.start" })).await;
    assert_eq!(stream.until("error").await["code"], "action.unavailable");
    world.stop().await;
}

#[tokio::test]
async fn frames_of_a_stream_are_limited_as_on_a_socket() {
    let (world, api, visit) = start().await;
    let stream = EventStream::open(&world, &visit).await;
    let typing = json!({ "type": "typing" });
    let answers = join_all((0..100).map(|_| stream.send(&api, &typing))).await;
    let limited = answers
        .iter()
        .find(|answer| answer.status == StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(limited.unwrap().header("retry-after"), "1");
    let accepted = answers
        .iter()
        .filter(|answer| answer.status == StatusCode::ACCEPTED);
    assert!(accepted.count() >= 20);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(stream.send(&api, &typing).await.status, StatusCode::ACCEPTED);
    world.stop().await;
}

#[tokio::test]
async fn silent_stream_has_comments_and_extends_its_session() {
    let (world, api, visit) = start().await;
    let mut stream = EventStream::open(&world, &visit).await;
    stream.until("conversation").await;
    until(async || {
        world.clock.advance(Duration::from_secs(15));
        stream.try_comment().await
    })
    .await;
    for _ in 0..30 {
        world.clock.advance(Duration::from_secs(3_600));
        stream.message(&api, "still here").await;
        of_stream(&mut stream, "still here").await;
    }
    world.stop().await;
}

#[tokio::test]
async fn stream_continues_after_a_restart_of_the_gateway() {
    let (world, api, visit) = start().await;
    let mut stream = EventStream::open(&world, &visit).await;
    stream.message(&api, "before").await;
    let frames = of_stream(&mut stream, "before").await;
    let mut position = stream.position(frames.last().unwrap());
    position["lastMessageId"] = frames.last().unwrap()["id"].clone();
    let closed = tokio::spawn(async move { stream.closed().await });
    let world = world.restart().await;
    assert_eq!(closed.await.unwrap(), Some(1001));
    let api = Api::of(&world, CLIENT).await;
    let mut stream = EventStream::resume(&world, &visit, &position).await;
    stream.message(&api, "after").await;
    let frames = of_stream(&mut stream, "after").await;
    assert!(
        frames
            .iter()
            .all(|frame| frame["text"] != "You said: before" && frame["type"] != "replay.incomplete"),
        "{frames:?}"
    );
    world.stop().await;
}

#[tokio::test]
async fn slow_stream_is_dropped_and_resumes_with_a_reported_gap() {
    const TEXTS: usize = 2_000;
    let genesys = Genesys::start().await;
    let world = world_at(&genesys).await;
    let api = Api::of(&world, CLIENT).await;
    let visit = Visit::create(&api).await;
    let (mut slow, mut upstream) = tokio::join!(EventStream::open(&world, &visit), genesys.configured());
    let mut fast = EventStream::open(&world, &visit).await;
    let text = "x".repeat(4_000);
    let flood = async {
        for number in 1..=TEXTS {
            upstream.agent(&format!("a-{number}"), &text).await;
        }
    };
    let reading = async {
        for number in 1..=TEXTS {
            assert_eq!(
                fast.numbered().await["sequence"],
                number,
                "a reading page misses no frame"
            );
        }
    };
    tokio::join!(flood, reading);
    let mut last = 0;
    let code = loop {
        match slow.event().await {
            StreamEvent::Frame(frame) if frame["sequence"].is_u64() => {
                last += 1;
                assert_eq!(frame["sequence"], last);
            }
            StreamEvent::Closed(code) => break code,
            _ => {}
        }
    };
    assert!(last < TEXTS as u64, "the flood is too small");
    assert!(matches!(code, Some(1013) | None), "{code:?}");
    let position = json!({ "epoch": slow.epoch, "lastSequence": last });
    let mut resumed = EventStream::resume(&world, &visit, &position).await;
    resumed.until("replay.incomplete").await;
    while resumed.numbered().await["sequence"] != TEXTS {}
    drop(upstream);
    world.stop().await;
}
