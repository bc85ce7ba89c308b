//! Limits on many, slow and malformed requests, and by configuration.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::rejection;
use crate::api::{Api, Call, SESSIONS, guest, path_of};
use crate::page::{Page, handshake, soon, upgrade, upgrade_with_token};
use crate::world::{CLIENT, NEIGHBOR, World};

fn token_call() -> Call {
    let (id, secret) = CLIENT;
    Call::post("/oauth/token").form(&format!(
        "grant_type=client_credentials&client_id={id}&client_secret={secret}"
    ))
}

#[tokio::test]
async fn rate_limited_client_gets_retry_after() {
    let world = World::configured(genesys_sim::Rules::default(), |toml| {
        toml.replacen("[listen]\n", "[listen]\nrequests_per_minute = 3\n", 1)
    })
    .await;
    let api = Api::of(&world, CLIENT).await;
    let metrics = || Call::get(&format!("{SESSIONS}/metrics"));
    api.ask(metrics()).await;
    world.clock.advance(Duration::from_secs(10));
    api.ask(metrics()).await;
    for call in [metrics().bearer(&api.token), token_call()] {
        let refused = rejection("the fourth request", call.clone(), 429, "too.many.requests");
        let answer = api.send(call).await;
        assert_eq!(refused.faults(&answer), "", "{answer:?}");
        let wait: u64 = answer.header("retry-after").parse().unwrap();
        assert!(
            (1..=20).contains(&wait),
            "{wait} s, and a slot follows every 20 s"
        );
    }
    // a request with a wrong secret does not count against the client
    let (id, _) = CLIENT;
    let guess = Call::post("/oauth/token").form(&format!(
        "grant_type=client_credentials&client_id={id}&client_secret=guess"
    ));
    assert_eq!(api.send(guess).await.status, 401);
    // each client has a limit of its own
    Api::of(&world, NEIGHBOR).await.ask(metrics()).await;

    let wait: u64 = api
        .send(metrics().bearer(&api.token))
        .await
        .header("retry-after")
        .parse()
        .unwrap();
    world.clock.advance(Duration::from_secs(wait));
    api.ask(metrics()).await;
    world.stop().await;
}

#[tokio::test]
async fn session_limit_of_the_configuration_is_enforced() {
    let world = World::with(genesys_sim::Rules::default(), "limit = 1").await;
    let api = Api::of(&world, CLIENT).await;
    let session = api.create(&guest()).await;
    let call = Call::post(SESSIONS).json(&guest()).bearer(&api.token);
    let answer = api.send(call.clone()).await;
    let refused = rejection("a session too many", call, 503, "service.unavailable").with("retry-after", "5");
    assert_eq!(refused.faults(&answer), "", "{answer:?}");
    api.ask(Call::new(http::Method::DELETE, &path_of(&session, "")))
        .await;
    api.create(&guest()).await;
    world.stop().await;
}

#[tokio::test]
async fn token_in_the_query_is_refused_if_disabled() {
    let world = World::with(genesys_sim::Rules::default(), "token_in_query = false").await;
    let api = Api::of(&world, CLIENT).await;
    let session = api.create(&guest()).await;
    let (url, token) = (
        session["websocketUrl"].as_str().unwrap(),
        session["accessToken"].as_str().unwrap(),
    );
    let (status, body) = Page::open(upgrade(&format!("{url}?access_token={token}")))
        .await
        .err()
        .unwrap();
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["code"]), (400, &"bad.request".into()));

    let mut page = Page::open(upgrade_with_token(url, token)).await.unwrap();
    let mut frame = handshake(&session);
    frame.as_object_mut().unwrap().remove("accessToken");
    page.send_frame(&frame).await;
    page.until("handshake.accepted").await;
    world.stop().await;
}

/// Sends raw bytes, and returns the first line of the response.
async fn raw(world: &World, bytes: &[u8]) -> String {
    let mut tcp = TcpStream::connect(world.gateway.address()).await.unwrap();
    // the gateway may refuse before it has read all of it
    let _refused = tcp.write_all(bytes).await;
    let mut line = String::new();
    soon(BufReader::new(tcp).read_line(&mut line)).await.unwrap();
    line
}

#[tokio::test]
async fn malformed_http_is_refused_and_the_gateway_continues() {
    let world = World::start().await;
    let head = "POST /oauth/token HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\n";
    let chunk = format!("400\r\n{}\r\n", "x".repeat(1_024));
    for (what, bytes, status) in [
        ("no HTTP", "HELO gateway\r\n\r\n".to_owned(), "400"),
        ("no version", "GET /health/live\r\n\r\n".to_owned(), "400"),
        (
            "an invalid header",
            "GET /health/live HTTP/1.1\r\nno colon\r\n\r\n".to_owned(),
            "400",
        ),
        (
            "two lengths",
            format!("{head}content-length: 3\r\ncontent-length: 4\r\n\r\nabcd"),
            "400",
        ),
        (
            "an invalid length",
            format!("{head}content-length: -1\r\n\r\n"),
            "400",
        ),
        (
            "a head of 20 KiB",
            format!("GET /health/live HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(20_480)),
            "431",
        ),
        (
            "a hundred headers",
            format!("GET /health/live HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(100)),
            "431",
        ),
        (
            "64 KiB and more in chunks",
            format!(
                "{head}transfer-encoding: chunked\r\n\r\n{}0\r\n\r\n",
                chunk.repeat(65)
            ),
            "413",
        ),
    ] {
        let line = raw(&world, bytes.as_bytes()).await;
        assert_eq!(line.split(' ').nth(1), Some(status), "{what}: {line:?}");
    }
    Api::of(&world, CLIENT).await.create(&guest()).await;
    world.stop().await;
}

#[tokio::test]
async fn body_that_does_not_arrive_times_out() {
    let world = World::start().await;
    let head = "POST /oauth/token HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 100\r\n\r\ngrant_type=";
    let mut tcp = TcpStream::connect(world.gateway.address()).await.unwrap();
    tcp.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    let answered = async {
        let mut read = std::pin::pin!(tcp.read_exact(&mut answer));
        // the start of the wait is not visible, so the clock is moved until it ends
        let mut again = tokio::time::interval(Duration::from_millis(10));
        loop {
            tokio::select! {
                read = &mut read => return read.map(|_| ()),
                _ = again.tick() => world.clock.advance(Duration::from_secs(10)),
            }
        }
    };
    soon(answered).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    world.stop().await;
}
