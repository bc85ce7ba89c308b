//! Files of a guest, through the gateway to the storage of the simulator.

use std::time::Duration;

use genesys_api::entropy;
use genesys_sim::AttachmentRules;
use guest_sessions::file_name_header;
use http::{Method, Request, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::history::messages;
use super::*;
use crate::api::{Answer, Call, SESSIONS, path_of};
use crate::guests::until;
use crate::world::ORIGIN;

/// A call about a file, of the session's guest.
pub(crate) fn about_file(method: Method, session: &Value, file: &str) -> Call {
    let id = session["id"].as_str().unwrap();
    let token = session["accessToken"].as_str().unwrap();
    Call::new(method, &format!("{SESSIONS}/{id}/attachments/{file}")).bearer(token)
}

/// The upload of a file under this id.
pub(crate) fn upload(session: &Value, file: &str, name: &str, media: &str, content: Vec<u8>) -> Call {
    about_file(Method::PUT, session, file)
        .header("content-disposition", file_name_header(name).to_str().unwrap())
        .body(media, content)
}

fn fresh() -> String {
    entropy::uuid().to_string()
}

fn refused(answer: &Answer) -> (u16, String) {
    let code = answer.json()["code"].as_str().unwrap().to_owned();
    (answer.status.as_u16(), code)
}

async fn with_rules(attachments: AttachmentRules) -> World {
    let rules = Rules {
        attachments,
        ..Rules::default()
    };
    World::with(rules, "").await
}

#[tokio::test]
async fn file_is_uploaded_sent_and_downloaded_by_fresh_links() {
    let world = World::start().await;
    let (api, session) = (Api::of(&world, CLIENT).await, session(&world).await);
    let mut page = Page::of(&session).await;
    let (file, content) = (fresh(), vec![7; 300_000]);
    for _ in 0..2 {
        let uploaded = api
            .send(upload(&session, &file, "größe.png", "image/png", content.clone()))
            .await;
        assert_eq!(uploaded.status, StatusCode::NO_CONTENT, "{}", uploaded.text);
    }
    assert_eq!(
        world.simulator.counters().uploads,
        1,
        "a repetition changes nothing"
    );
    let id = entropy::uuid().to_string();
    page.send_frame(&json!({ "type": "message", "id": id, "text": "look", "attachments": [file] }))
        .await;
    assert_eq!(page.delivery("sent").await["id"], id.as_str());
    // the history has it, with a link
    let history = api.send(messages(&session, "")).await.json();
    let shown = history["messages"].as_array().unwrap().last().unwrap();
    let attachment = &shown["content"][0]["attachment"];
    assert_eq!(
        (&shown["text"], &attachment["id"]),
        (&json!("look"), &json!(file))
    );
    assert_eq!(attachment["filename"], "größe.png");
    let http = world.http();
    let download = async |url: &str| {
        let response = http
            .send(Request::get(url).body(bytes::Bytes::new()).unwrap())
            .await;
        let response = response.unwrap();
        (response.status().as_u16(), response.into_body().to_vec())
    };
    let url = attachment["url"].as_str().unwrap().to_owned();
    assert_eq!(download(&url).await, (200, content.clone()));
    world.clock.advance(Duration::from_secs(601));
    assert_eq!(download(&url).await.0, 403);
    let link = api.send(about_file(Method::GET, &session, &file)).await;
    let fresh_url = link.json()["url"].as_str().unwrap().to_owned();
    assert_eq!(download(&fresh_url).await, (200, content));
    // it was sent, and is not sent or deleted again
    let again = page.message_with(&json!({ "attachments": [file] })).await;
    let failed = page.delivery("failed").await;
    assert_eq!(
        (&failed["id"], &failed["code"]),
        (&json!(again), &json!("attachment.unknown"))
    );
    let deleted = api.send(about_file(Method::DELETE, &session, &file)).await;
    assert_eq!(refused(&deleted), (404, "attachment.unknown".to_owned()));
    world.stop().await;
}

#[tokio::test]
async fn rules_of_the_session_reach_the_page() {
    let world = with_rules(AttachmentRules {
        file_types: vec!["image/*".to_owned(), "application/pdf".to_owned()],
        max_file_kb: 7,
        ..AttachmentRules::default()
    })
    .await;
    let session = session(&world).await;
    let mut page = Page::open(upgrade(session["websocketUrl"].as_str().unwrap()))
        .await
        .unwrap();
    page.send_frame(&handshake(&session)).await;
    let rules = page.until("conversation").await["attachments"].clone();
    assert_eq!(rules["mediaTypes"], json!(["image/*", "application/pdf"]));
    assert_eq!(rules["maxBytes"], 7 * 1024);
    let blocked = rules["blockedExtensions"].as_array().unwrap();
    assert!(blocked.contains(&json!("ade")), "{rules}");
    world.stop().await;
    let world = with_rules(AttachmentRules {
        enabled: false,
        ..AttachmentRules::default()
    })
    .await;
    let (api, session) = (Api::of(&world, CLIENT).await, super::session(&world).await);
    let mut page = Page::open(upgrade(session["websocketUrl"].as_str().unwrap()))
        .await
        .unwrap();
    page.send_frame(&handshake(&session)).await;
    assert_eq!(page.until("conversation").await["attachments"], Value::Null);
    let off = api
        .send(upload(&session, &fresh(), "a.png", "image/png", vec![1]))
        .await;
    assert_eq!(refused(&off), (409, "action.unavailable".to_owned()));
    world.stop().await;
}

#[tokio::test]
async fn file_that_the_session_does_not_take_is_refused_with_its_reason() {
    let world = with_rules(AttachmentRules {
        file_types: vec!["image/*".to_owned()],
        max_file_kb: 1,
        ..AttachmentRules::default()
    })
    .await;
    let (api, session) = (Api::of(&world, CLIENT).await, session(&world).await);
    for (name, media, bytes, expected) in [
        ("a.png", "image/png", 1025, (413, "attachment.too.large")),
        ("a.png", "text/plain", 1, (415, "attachment.not.allowed")),
        ("a.ade", "image/png", 1, (415, "attachment.not.allowed")),
        ("a.png", "image/png", 0, (400, "invalid.value")),
        ("noextension", "image/png", 1, (400, "invalid.value")),
        ("a/b.png", "image/png", 1, (400, "invalid.value")),
    ] {
        let answer = api
            .send(upload(&session, &fresh(), name, media, vec![1; bytes]))
            .await;
        let (status, code) = refused(&answer);
        assert_eq!(
            (status, &*code),
            expected,
            "{name} {media} {bytes}: {}",
            answer.text
        );
    }
    let unnamed = about_file(Method::PUT, &session, &fresh()).body("image/png", vec![1]);
    let answer = api.send(unnamed).await;
    assert_eq!(answer.json()["details"][0]["fieldName"], "Content-Disposition");
    for (name, value, expected) in [
        ("content-range", "bytes 0-0/2", (400, "invalid.value")),
        ("content-encoding", "gzip", (415, "unsupported.media.type")),
    ] {
        let part = upload(&session, &fresh(), "a.png", "image/png", vec![1]).header(name, value);
        let (status, code) = refused(&api.send(part).await);
        assert_eq!((status, &*code), expected, "{name}");
    }
    let bad_id = api
        .send(upload(&session, "7", "a.png", "image/png", vec![1]))
        .await;
    assert_eq!(bad_id.json()["details"][0]["fieldName"], "attachmentId");
    assert_eq!(world.simulator.counters().uploads, 0);
    world.stop().await;
}

#[tokio::test]
async fn refusal_of_genesys_is_reported_with_its_code() {
    let rules = Rules {
        faults: vec!["upload-failure".parse().unwrap()],
        ..Rules::default()
    };
    let world = World::with(rules, "").await;
    let (api, session) = (Api::of(&world, CLIENT).await, session(&world).await);
    let file = fresh();
    let call = upload(&session, &file, "a.png", "image/png", vec![1]);
    let failed = api.send(call.clone()).await;
    assert_eq!(refused(&failed), (422, "attachment.refused".to_owned()));
    assert!(failed.text.contains("4010"), "{}", failed.text);
    assert_eq!(
        api.send(call).await.status,
        StatusCode::NO_CONTENT,
        "the next one"
    );
    world.stop().await;
}

#[tokio::test]
async fn file_is_for_the_guest_of_the_session_only() {
    let world = World::start().await;
    let (api, own, other) = (
        Api::of(&world, CLIENT).await,
        session(&world).await,
        session(&world).await,
    );
    let file = fresh();
    let mut foreign = own.clone();
    foreign["accessToken"] = other["accessToken"].clone();
    for call in [
        upload(&foreign, &file, "a.png", "image/png", vec![1]),
        about_file(Method::GET, &foreign, &file),
        about_file(Method::DELETE, &foreign, &file),
    ] {
        let elsewhere = call.clone().header("origin", "https://elsewhere.example");
        assert_eq!(
            refused(&api.send(call).await),
            (401, "bad.credentials".to_owned())
        );
        let answer = api.send(elsewhere).await;
        assert_eq!(refused(&answer), (403, "origin.not.allowed".to_owned()));
    }
    assert_eq!(
        world.simulator.counters().connections,
        0,
        "no conversation was opened"
    );
    api.send(upload(&own, &file, "a.png", "image/png", vec![1])).await;
    let mut page = Page::of(&other).await;
    page.message_with(&json!({ "attachments": [file] })).await;
    assert_eq!(page.delivery("failed").await["code"], "attachment.unknown");
    for method in [Method::GET, Method::DELETE] {
        let answer = api.send(about_file(method, &other, &file)).await;
        assert_eq!(refused(&answer), (404, "attachment.unknown".to_owned()));
    }
    let preflight = Call::new(Method::OPTIONS, about_file(Method::PUT, &own, &file).path())
        .header("origin", ORIGIN)
        .header("access-control-request-method", "PUT");
    let shared = api.send(preflight).await;
    assert!(shared.header("access-control-allow-methods").contains("PUT"));
    assert!(
        shared
            .header("access-control-allow-headers")
            .contains("content-disposition")
    );
    world.stop().await;
}

#[tokio::test]
async fn deleted_file_is_deleted_at_genesys_and_cannot_be_sent() {
    let world = World::start().await;
    let (api, session) = (Api::of(&world, CLIENT).await, session(&world).await);
    let file = fresh();
    api.send(upload(&session, &file, "a.png", "image/png", vec![1]))
        .await;
    let deleted = api.send(about_file(Method::DELETE, &session, &file)).await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT, "{}", deleted.text);
    let link = api.send(about_file(Method::GET, &session, &file)).await;
    assert_eq!(refused(&link), (404, "attachment.unknown".to_owned()));
    let mut page = Page::of(&session).await;
    page.message_with(&json!({ "text": "look", "attachments": [file] }))
        .await;
    assert_eq!(page.delivery("failed").await["code"], "attachment.unknown");
    world.stop().await;
}

/// Injects a fault of the simulator.
async fn add_fault(world: &World, fault: &str) {
    let request = Request::post(format!("{}/sim/faults", world.simulator.host()))
        .body(json!({ "fault": fault }).to_string().into())
        .unwrap();
    world.http().send(request).await.unwrap();
}

#[tokio::test]
async fn upload_fails_with_a_lost_connection_and_succeeds_after_it() {
    let world = World::start().await;
    let (api, session) = (Api::of(&world, CLIENT).await, session(&world).await);
    let kept = fresh();
    api.send(upload(&session, &kept, "a.png", "image/png", vec![1]))
        .await;
    add_fault(&world, "drop:abrupt@1").await;
    let call = upload(&session, &fresh(), "b.png", "image/png", vec![1]);
    let lost = api.send(call.clone()).await;
    assert_eq!(refused(&lost), (502, "attachment.failed".to_owned()));
    let mut page = Page::of(&session).await;
    let again = api.send(call).await;
    assert_eq!(again.status, StatusCode::NO_CONTENT, "{}", again.text);
    // a file that was uploaded before is sent after it
    let id = page.message_with(&json!({ "attachments": [kept] })).await;
    assert_eq!(page.delivery("sent").await["id"], id.as_str());
    world.stop().await;
}

#[tokio::test]
async fn restarted_gateway_refuses_an_earlier_upload_that_was_not_sent() {
    let world = World::start().await;
    let (api, session) = (Api::of(&world, CLIENT).await, session(&world).await);
    let (unsent, sent) = (fresh(), fresh());
    for file in [&unsent, &sent] {
        api.send(upload(&session, file, "a.png", "image/png", vec![1]))
            .await;
    }
    let mut page = Page::of(&session).await;
    page.message_with(&json!({ "attachments": [sent] })).await;
    page.delivery("sent").await;
    let world = world.restart().await;
    let api = Api::of(&world, CLIENT).await;
    let mut page = Page::of(&session).await;
    page.message_with(&json!({ "attachments": [unsent] })).await;
    let failed = page.delivery("failed").await;
    assert_eq!(failed["code"], "attachment.unknown");
    let link = api.send(about_file(Method::GET, &session, &sent)).await;
    assert_eq!(link.status, StatusCode::OK, "{}", link.text);
    world.stop().await;
}

/// The head of an upload as bytes, with these further headers.
fn head(session: &Value, file: &str, more: &str) -> Vec<u8> {
    let call = upload(session, file, "a.png", "image/png", Vec::new());
    let mut head = format!("PUT {} HTTP/1.1\r\nhost: gateway\r\n{more}", call.path());
    for (name, value) in call.request().headers() {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

#[tokio::test]
async fn file_without_a_length_is_refused_when_it_becomes_too_large() {
    let world = with_rules(AttachmentRules {
        max_file_kb: 100,
        ..AttachmentRules::default()
    })
    .await;
    let session = session(&world).await;
    let mut stream = start(&world, &session, "transfer-encoding: chunked\r\n").await;
    let chunk = [&b"4000\r\n"[..], &[7; 0x4000], b"\r\n"].concat();
    for _ in 0..7 {
        stream.write_all(&chunk).await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("attachment.too.large"), "{answer}");
    assert_eq!(world.simulator.counters().uploads, 0);
    world.stop().await;
}

/// Sends the head of an upload with these further headers, without a wait for the answer.
pub(crate) async fn start(world: &World, session: &Value, more: &str) -> TcpStream {
    let mut stream = TcpStream::connect(world.gateway.address()).await.unwrap();
    let head = head(session, &fresh(), &format!("{more}connection: close\r\n"));
    stream.write_all(&head).await.unwrap();
    stream
}

/// Sends the head and a part of the body of an upload of so many bytes.
async fn start_with(world: &World, session: &Value, bytes: usize, sent: usize) -> TcpStream {
    let mut stream = start(world, session, &format!("content-length: {bytes}\r\n")).await;
    stream.write_all(&vec![7; sent]).await.unwrap();
    stream
}

/// The code of an upload without content, which is refused once it has a slot.
async fn probe(world: &World, session: &Value) -> String {
    let mut stream = start(world, session, "transfer-encoding: chunked\r\n").await;
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    body["code"].as_str().unwrap().to_owned()
}

/// The sizes of the files in the audit trail of a session, the newest first.
async fn audited_sizes(api: &Api, session: &Value) -> Vec<u64> {
    let trail = api.ask(Call::get(&path_of(session, "/audit"))).await;
    let entries = trail["entries"].as_array().unwrap();
    let received = entries
        .iter()
        .filter(|entry| entry["action"] == "attachment.received");
    received
        .map(|entry| entry["detail"]["bytes"].as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn aborted_upload_is_canceled_and_frees_its_slot() {
    let world = World::start().await;
    let (api, session) = (Api::of(&world, CLIENT).await, session(&world).await);
    let warm = api
        .send(upload(&session, &fresh(), "a.png", "image/png", vec![1]))
        .await;
    assert_eq!(warm.status, StatusCode::NO_CONTENT, "{}", warm.text);
    // within the body
    for _ in 0..2 {
        drop(start_with(&world, &session, 1000, 500).await);
    }
    until(async || probe(&world, &session).await == "invalid.value").await;
    // while Genesys is asked for an upload URL
    add_fault(&world, "delay:60s@1").await;
    let mut stuck = Vec::new();
    for bytes in [1001, 1002] {
        stuck.push(start_with(&world, &session, bytes, bytes).await);
        until(async || audited_sizes(&api, &session).await.first() == Some(&(bytes as u64))).await;
    }
    assert_eq!(probe(&world, &session).await, "too.many.attachments");
    drop(stuck);
    until(async || probe(&world, &session).await == "invalid.value").await;
    world.clock.advance(Duration::from_secs(61));
    let next = api
        .send(upload(&session, &fresh(), "a.png", "image/png", vec![1]))
        .await;
    assert_eq!(next.status, StatusCode::NO_CONTENT, "{}", next.text);
    assert_eq!(
        world.simulator.counters().uploads,
        2,
        "those that were not aborted"
    );
    world.stop().await;
}

#[tokio::test]
async fn upload_that_sends_a_byte_reserves_no_memory_of_others() {
    let world = World::start().await;
    let mut stuck = Vec::new();
    for _ in 0..4 {
        let other = session(&world).await;
        for _ in 0..2 {
            let mut stream = start(&world, &other, "transfer-encoding: chunked\r\n").await;
            stream.write_all(b"1\r\n.\r\n").await.unwrap();
            stuck.push(stream);
        }
    }
    let (api, session) = (Api::of(&world, CLIENT).await, session(&world).await);
    let call = upload(&session, &fresh(), "a.png", "image/png", vec![7; 3_000_000]);
    let uploaded = api.send(call).await;
    assert_eq!(uploaded.status, StatusCode::NO_CONTENT, "{}", uploaded.text);
    drop(stuck);
    world.stop().await;
}

#[tokio::test]
async fn end_of_the_session_answers_requests_about_files() {
    let world = World::start().await;
    let (api, session) = (Api::of(&world, CLIENT).await, session(&world).await);
    let file = fresh();
    api.send(upload(&session, &file, "a.png", "image/png", vec![1]))
        .await;
    add_fault(&world, "delay:60s@1").await;
    let mut stuck = start_with(&world, &session, 1001, 1001).await;
    until(async || audited_sizes(&api, &session).await.first() == Some(&1001)).await;
    api.ask(Call::new(Method::DELETE, &path_of(&session, ""))).await;
    let mut answer = String::new();
    soon(stuck.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 409 "), "{answer}");
    assert!(answer.contains("session.ended"), "{answer}");
    world.stop().await;
}

#[tokio::test]
async fn refused_upload_that_expects_a_continue_is_not_read() {
    let world = World::start().await;
    let session = session(&world).await;
    let more = "content-length: 12000000\r\nexpect: 100-continue\r\n";
    let mut stream = start(&world, &session, more).await;
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    world.stop().await;
}
