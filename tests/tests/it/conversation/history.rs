//! The history of a conversation, read by its guest.

use std::time::Duration;

use genesys_sim::Script;
use guest_conversation::Direction;
use guest_sessions::HistoryQuery;
use guest_sessions::client::calls;
use http::{Method, StatusCode};

use super::*;
use crate::api::{Answer, Call, SESSIONS};
use crate::proxy::{ClosedPort, Proxy};
use crate::world::ORIGIN;

const SCRIPT: &str = r#"
name: chatty
rules:
  - {on: {text: offer}, do: [{quick_replies: {text: "Which?", replies: [Red]}}]}
  - on: {text: flood}
    do: [FLOOD]
  - {on: otherwise, do: [{say: "You said: {text}"}]}
"#;

/// A world whose agent answers a flood with 55 messages.
pub(crate) async fn chatty_world() -> World {
    let flood: Vec<String> = (0..55).map(|n| format!("{{say: \"{n}\"}}")).collect();
    let script = SCRIPT.replace("FLOOD", &flood.join(", "));
    let rules = Rules {
        agent: Agent::Scripts(vec![Script::parse("chatty", &script).unwrap()]),
        ..Rules::default()
    };
    World::with(rules, "").await
}

/// The call of a session's guest.
pub(crate) fn messages(session: &Value, query: &str) -> Call {
    let id = session["id"].as_str().unwrap();
    Call::get(&format!("{SESSIONS}/{id}/messages{query}")).bearer(session["accessToken"].as_str().unwrap())
}

fn texts(answer: &Answer) -> Vec<String> {
    let messages = answer.json()["messages"].as_array().unwrap().clone();
    messages
        .iter()
        .map(|message| message["text"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn history_has_both_sides_with_the_ids_of_the_frames() {
    let world = World::start().await;
    let (api, session) = (Api::of(&world, CLIENT).await, session(&world).await);
    // the first request opens the conversation
    let empty = api.send(messages(&session, "")).await;
    assert_eq!((empty.status, texts(&empty)), (StatusCode::OK, vec![]));
    let mut page = Page::of(&session).await;
    let mut frames = Vec::new();
    for text in ["one", "two"] {
        frames.extend(exchange_messages(&mut page, text).await);
    }
    let newest = api.send(messages(&session, "")).await;
    assert_eq!(texts(&newest), ["You said: two", "two", "You said: one", "one"]);
    let answer = newest.json();
    assert_eq!(answer["nextPage"], Value::Null);
    let ids: Vec<&Value> = frames
        .iter()
        .filter_map(|frame| match frame["type"].as_str() {
            Some("message") => Some(&frame["id"]),
            Some("delivery") => Some(&frame["messageId"]),
            _ => None,
        })
        .collect();
    let read: Vec<&Value> = answer["messages"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|one| &one["id"])
        .collect();
    assert_eq!(read, ids);
    assert_eq!(answer["messages"][1]["from"]["kind"], "guest");
    // the frame is the model of the item
    let mut frame = frames
        .iter()
        .rfind(|frame| frame["type"] == "message")
        .unwrap()
        .clone();
    for name in ["type", "sequence"] {
        frame.as_object_mut().unwrap().remove(name);
    }
    assert_eq!(answer["messages"][0], frame);
    let from = format!("?from={}", ids[1].as_str().unwrap());
    assert_eq!(
        texts(&api.send(messages(&session, &from)).await),
        ["You said: one", "two", "You said: two"]
    );
    let absent = api.send(messages(&session, "?from=absent")).await;
    assert_eq!(
        (absent.status, &absent.json()["code"]),
        (StatusCode::NOT_FOUND, &json!("not.found"))
    );
    world.stop().await;
}

#[tokio::test]
async fn history_has_pages_newest_first() {
    let world = chatty_world().await;
    let (api, session) = (Api::of(&world, CLIENT).await, session(&world).await);
    let mut page = Page::of(&session).await;
    page.message("flood").await;
    while page.until("message").await["text"] != "54" {}
    let first = api.send(messages(&session, "")).await;
    let expected: Vec<String> = (5..55).rev().map(|n| n.to_string()).collect();
    assert_eq!((texts(&first), &first.json()["nextPage"]), (expected, &json!(2)));
    let second = api.send(messages(&session, "?page=2")).await;
    assert_eq!(texts(&second), ["4", "3", "2", "1", "0", "flood"]);
    assert_eq!(second.json()["nextPage"], Value::Null);
    let all = format!("?from={}", second.json()["messages"][5]["id"].as_str().unwrap());
    assert_eq!(texts(&api.send(messages(&session, &all)).await).len(), 56);
    world.stop().await;
}

#[tokio::test]
async fn history_of_a_long_gap_continues_and_the_eleventh_page_of_a_minute_is_refused() {
    let world = chatty_world().await;
    let (api, session) = (Api::of(&world, CLIENT).await, session(&world).await);
    let mut page = Page::of(&session).await;
    page.message("first").await;
    let first = page.until("message").await["id"].as_str().unwrap().to_owned();
    for _ in 0..4 {
        page.message("flood").await;
        while page.until("message").await["text"] != "54" {}
    }
    // two of the beginning, and four times the question with its answers
    let newest = api.send(messages(&session, &format!("?from={first}"))).await;
    assert_eq!(
        (texts(&newest).len(), &newest.json()["nextPage"]),
        (200, &json!(5))
    );
    let oldest = api.send(messages(&session, "?page=5")).await;
    assert_eq!(texts(&oldest)[24..], ["You said: first", "first"]);
    assert_eq!(oldest.json()["messages"][24]["id"], *first);
    let mut limited = oldest;
    while limited.status == StatusCode::OK {
        limited = api.send(messages(&session, "?page=5")).await;
    }
    assert_eq!(limited.status, StatusCode::TOO_MANY_REQUESTS, "{}", limited.text);
    assert!(limited.json()["message"].as_str().unwrap().contains("ten pages"));
    let wait: u64 = limited.header("retry-after").parse().unwrap();
    world.clock.advance(Duration::from_secs(wait));
    assert_eq!(
        api.send(messages(&session, "?page=5")).await.status,
        StatusCode::OK
    );
    world.stop().await;
}

#[tokio::test]
async fn history_is_for_the_guest_of_the_session_only() {
    let world = World::start().await;
    let (api, own, other) = (
        Api::of(&world, CLIENT).await,
        session(&world).await,
        session(&world).await,
    );
    let path = format!("{SESSIONS}/{}/messages", own["id"].as_str().unwrap());
    let foreign = other["accessToken"].as_str().unwrap().to_owned();
    for token in [&api.token, &foreign] {
        let refused = api.send(Call::get(&path).bearer(token)).await;
        assert_eq!(
            (refused.status, &refused.json()["code"]),
            (StatusCode::UNAUTHORIZED, &json!("bad.credentials"))
        );
    }
    let elsewhere = messages(&own, "").header("origin", "https://elsewhere.example");
    assert_eq!(api.send(elsewhere).await.json()["code"], "origin.not.allowed");
    assert_eq!(
        world.simulator.counters().connections,
        0,
        "no conversation was opened"
    );
    world.stop().await;
}

#[tokio::test]
async fn history_is_shared_with_pages_of_the_allowed_origins_only() {
    let world = World::start().await;
    let (api, session) = (Api::of(&world, CLIENT).await, session(&world).await);
    let path = format!("{SESSIONS}/{}/messages", session["id"].as_str().unwrap());
    for (origin, status, shared) in [
        (ORIGIN, StatusCode::NO_CONTENT, Some(ORIGIN)),
        ("https://elsewhere.example", StatusCode::METHOD_NOT_ALLOWED, None),
    ] {
        let preflight = Call::new(Method::OPTIONS, &path)
            .header("origin", origin)
            .header("access-control-request-method", "GET")
            .header("access-control-request-headers", "authorization");
        let answer = api.send(preflight).await;
        assert_eq!(answer.status, status);
        let allowed = |answer: &Answer| {
            let allowed = answer.headers.get("access-control-allow-origin");
            allowed.map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(allowed(&answer).as_deref(), shared);
        assert_eq!(
            answer.headers.contains_key("access-control-allow-headers"),
            shared.is_some()
        );
        // also refusals: the page learns that its token has expired
        let refused = api.send(Call::get(&path).header("origin", origin)).await;
        assert!(refused.status.is_client_error());
        assert_eq!(allowed(&refused).as_deref(), shared);
        assert_eq!(refused.header("vary"), "origin");
    }
    world.stop().await;
}

#[tokio::test]
async fn unreachable_genesys_is_no_empty_history() {
    let proxy = Proxy::start().await;
    let closed = ClosedPort::reserve();
    let world = upstream::world_with(
        &proxy,
        Rules::default(),
        &format!("api = \"http://{}\"", closed.address()),
    )
    .await;
    let (api, session) = (Api::of(&world, CLIENT).await, session(&world).await);
    let refused = api.send(messages(&session, "")).await;
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("service.unavailable"))
    );
    assert_eq!(refused.header("retry-after"), "5");
    world.stop().await;
}

#[tokio::test]
async fn rust_client_reads_the_history_page_by_page_and_from_a_message() {
    let world = chatty_world().await;
    let session = session(&world).await;
    let mut page = Page::of(&session).await;
    exchange_messages(&mut page, "first").await;
    page.message("flood").await;
    while page.until("message").await["text"] != "54" {}
    let (http, host) = (world.http(), world.url("").parse().unwrap());
    let id = session["id"].as_str().unwrap().parse().unwrap();
    let token = session["accessToken"].as_str().unwrap().into();
    let read = async |query| {
        http.call(&calls::fetch_messages(&id, &query), &host, Some(&token))
            .await
    };
    let newest = read(HistoryQuery::Page(1)).await.unwrap();
    assert_eq!((newest.messages.len(), newest.next_page), (50, Some(2)));
    assert_eq!(newest.messages[0].text, "54");
    let older = read(HistoryQuery::Page(2)).await.unwrap();
    let first = older.messages.last().unwrap();
    assert_eq!(
        (&*first.text, first.direction, older.next_page),
        ("first", Direction::Inbound, None)
    );
    let all = read(HistoryQuery::From(first.id.clone())).await.unwrap();
    assert_eq!((all.messages.len(), &*all.messages[57].text), (58, "54"));
    world.stop().await;
}
