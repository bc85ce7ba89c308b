//! The simulator on real sockets, plain and over TLS.

#![expect(clippy::unwrap_used, reason = "a test ends where its own setup fails")]

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use genesys_api::{Clock, Host, Hosts};
use genesys_http::{Client, Proxy, Stream};
use genesys_sim::{Agent, Config, LOOPBACK, Limits, Rules, Simulator, StartError, Tls, throwaway_ca};
use http::{Request, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

const TOKEN: &str = "7d1f0c3e-8f0e-4e0c-9a37-3f1f2f6b1c11";

type Guest = WebSocketStream<Stream>;

fn client(sim: &Simulator) -> Client {
    let tls = match &sim.ca_pem {
        Some(ca) => genesys_http::Tls::only_ca(ca.as_bytes()),
        None => genesys_http::Tls::system(),
    };
    Client::builder(tls.unwrap()).build()
}

async fn connect(sim: &Simulator, origin: Option<&str>) -> Result<Guest, Error> {
    let stream = client(sim).connect(sim.host()).await.unwrap();
    let url = format!("{}?deploymentId={}", sim.websocket_url(), sim.deployment_id());
    let mut request = url.into_client_request().unwrap();
    if let Some(origin) = origin {
        request.headers_mut().insert("origin", origin.parse().unwrap());
    }
    client_async(request, stream).await.map(|(guest, _)| guest)
}

async fn configured(sim: &Simulator) -> Guest {
    let mut guest = connect(sim, None).await.unwrap();
    let configure =
        json!({"action": "configureSession", "token": TOKEN, "deploymentId": sim.deployment_id()});
    send_frame(&mut guest, configure).await;
    assert_eq!(received(&mut guest).await["body"]["connected"], true);
    guest
}

async fn send_frame(guest: &mut Guest, frame: Value) {
    guest.send(Message::text(frame.to_string())).await.unwrap();
}

async fn received(guest: &mut Guest) -> Value {
    match guest.next().await.unwrap().unwrap() {
        Message::Text(text) => serde_json::from_str(&text).unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn closed(guest: &mut Guest) -> u16 {
    match guest.next().await.unwrap().unwrap() {
        Message::Close(Some(CloseFrame { code, .. })) => code.into(),
        other => panic!("{other:?}"),
    }
}

async fn call(sim: &Simulator, request: http::request::Builder, body: &str) -> (Response<Bytes>, Value) {
    let request = request.body(Bytes::from(body.to_owned())).unwrap();
    let response = client(sim).send(request).await.unwrap();
    let body = serde_json::from_slice(response.body()).unwrap_or_default();
    (response, body)
}

async fn exchange_messages(config: Config) {
    let sim = Simulator::start(config).await.unwrap();
    let mut guest = configured(&sim).await;
    send_frame(
        &mut guest,
        json!({"action": "onMessage", "token": TOKEN, "tracingId": "t-1", "message": {"type": "Text", "text": "hello"}}),
    )
    .await;
    assert_eq!(received(&mut guest).await["tracingId"], "t-1");
    assert_eq!(
        received(&mut guest).await["body"]["events"][0]["eventType"],
        "Typing"
    );
    assert_eq!(received(&mut guest).await["body"]["text"], "You said: hello");

    send_frame(&mut guest, json!({"action": "getJwt", "token": TOKEN})).await;
    let jwt = received(&mut guest).await["body"]["jwt"]
        .as_str()
        .unwrap()
        .to_owned();
    let history = Request::get(sim.host().uri("/api/v2/webmessaging/messages?pageSize=100"))
        .header("authorization", format!("bearer {jwt}"));
    let (response, page) = call(&sim, history, "").await;
    assert_eq!((response.status().as_u16(), &page["total"]), (200, &json!(2)));
    assert!(response.headers().contains_key("inin-correlation-id"));

    let (_, clock) = call(&sim, Request::get(sim.host().uri("/sim/clock")), "").await;
    let (_, moved) = call(
        &sim,
        Request::post(sim.host().uri("/sim/clock")),
        r#"{"advance":"73h"}"#,
    )
    .await;
    assert!(moved["utc"].as_str() > clock["utc"].as_str());
    assert_eq!(received(&mut guest).await["class"], "SessionExpiredEvent");

    guest.close(None).await.unwrap();
    assert!(sim.violations().is_empty());
    sim.stop().await;
}

#[tokio::test]
async fn conversation_works_over_tls() {
    exchange_messages(Config::default()).await;
}

#[tokio::test]
async fn conversation_works_without_tls() {
    exchange_messages(Config::plain()).await;
}

#[tokio::test]
async fn foreign_origin_is_refused_before_the_upgrade() {
    let sim = Simulator::start(Config {
        rules: Rules {
            allowed_domains: Some(vec!["example.com".to_owned()]),
            ..Rules::default()
        },
        ..Config::plain()
    })
    .await
    .unwrap();
    for origin in [Some("https://evil.test"), None] {
        match connect(&sim, origin).await {
            Err(Error::Http(response)) => assert_eq!(response.status(), 403),
            other => panic!("{other:?}"),
        }
    }
    assert!(connect(&sim, Some("https://app.example.com")).await.is_ok());
    assert_eq!(sim.counters().refused, 2);
}

#[tokio::test]
async fn stop_closes_every_socket_with_1001() {
    let sim = Simulator::start(Config::plain()).await.unwrap();
    let mut guest = configured(&sim).await;
    let mut other = connect(&sim, None).await.unwrap();
    let host = sim.host().clone();
    let http = client(&sim);
    let ((), code, other) = tokio::join!(sim.stop(), closed(&mut guest), closed(&mut other));
    assert_eq!((code, other), (1001, 1001));
    assert!(http.connect(&host).await.is_err(), "the listener is closed");
}

#[tokio::test]
async fn dropped_simulator_closes_its_sockets() {
    let sim = Simulator::start(Config::plain()).await.unwrap();
    let mut guest = configured(&sim).await;
    drop(sim);
    assert_eq!(closed(&mut guest).await, 1001);
}

#[tokio::test]
async fn oversized_message_closes_only_its_socket() {
    let sim = Simulator::start(Config::plain()).await.unwrap();
    let mut guest = configured(&sim).await;
    guest
        .send(Message::text("x".repeat(128 * 1024 + 1)))
        .await
        .unwrap();
    assert_eq!(closed(&mut guest).await, 1009);
    configured(&sim).await;
}

#[tokio::test]
async fn binary_frame_is_refused_like_malformed_json() {
    let sim = Simulator::start(Config::plain()).await.unwrap();
    let mut guest = configured(&sim).await;
    guest.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    assert_eq!(received(&mut guest).await["body"], "Request failed.");
}

#[tokio::test]
async fn fourth_socket_of_a_session_closes_the_first() {
    let sim = Simulator::start(Config::plain()).await.unwrap();
    let mut first = configured(&sim).await;
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(configured(&sim).await);
    }
    assert_eq!(received(&mut first).await["class"], "ConnectionClosedEvent");
    assert_eq!(closed(&mut first).await, 1000);
    assert_eq!(sim.counters().evicted, 1);
}

#[tokio::test]
async fn delayed_reply_arrives_when_the_clock_is_moved() {
    let clock = Clock::system();
    let sim = Simulator::start(Config {
        clock: clock.clone(),
        rules: Rules {
            agent: Agent::Replies(vec!["at last".to_owned()]),
            agent_delay: Duration::from_secs(3_600),
            limits: Limits::none(),
            ..Rules::default()
        },
        ..Config::plain()
    })
    .await
    .unwrap();
    let mut guest = configured(&sim).await;
    send_frame(
        &mut guest,
        json!({"action": "onMessage", "token": TOKEN, "message": {"type": "Text", "text": "hello"}}),
    )
    .await;
    received(&mut guest).await;
    received(&mut guest).await;
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(received(&mut guest).await["body"]["text"], "at last");
}

#[tokio::test]
async fn rest_refuses_large_bodies_and_malformed_handshakes() {
    let sim = Simulator::start(Config::plain()).await.unwrap();
    let large = "x".repeat(64 * 1024 + 1);
    let (response, body) = call(&sim, Request::post(sim.host().uri("/sim/clock")), &large).await;
    assert_eq!(
        (response.status().as_u16(), &body["code"]),
        (413, &json!("body.too.large"))
    );
    let path = format!("/v1?deploymentId={}", sim.deployment_id());
    let (response, _) = call(&sim, Request::get(sim.host().uri(&path)), "").await;
    assert_eq!(response.status(), 400);
    assert_eq!(sim.counters().open, 0);
}

#[tokio::test]
async fn ready_line_has_urls_ids_and_secrets() {
    let sim = Simulator::start(Config::plain()).await.unwrap();
    let line = sim.ready_line(None);
    assert!(
        line.starts_with(r#"{"event":"ready","http":"http://127.0.0.1:"#),
        "{line}"
    );
    let line: Value = serde_json::from_str(&line).unwrap();
    let port = sim.address.port();
    assert_eq!(line["event"], "ready");
    assert_eq!(line["http"], format!("http://127.0.0.1:{port}"));
    assert_eq!(line["websocket"], format!("ws://127.0.0.1:{port}/v1"));
    assert_eq!(line["deployment_id"], sim.deployment_id().as_str());
    assert_eq!(line["client_id"], sim.client_id);
    assert_eq!(line["ca"], Value::Null);
    let secret = line["client_secret"].as_str().unwrap();
    assert!(!format!("{sim:?}").contains(secret));
    assert_eq!(line.as_object().unwrap().len(), 8);
    let with_ca: Value = serde_json::from_str(&sim.ready_line(Some("/tmp/ca.pem".as_ref()))).unwrap();
    assert_eq!(with_ca["ca"], "/tmp/ca.pem");
}

#[tokio::test]
async fn simulators_share_an_authority() {
    let pki = throwaway_ca(&LOOPBACK).unwrap();
    let config = || Config {
        tls: Tls::Given(pki.clone()),
        ..Config::default()
    };
    let one = Simulator::start(config()).await.unwrap();
    let other = Simulator::start(config()).await.unwrap();
    assert_eq!(one.ca_pem, other.ca_pem);
    let http = client(&one);
    for name in ["localhost", "127.0.0.1"] {
        let host: Host = format!("https://{name}:{}", other.host().port()).parse().unwrap();
        assert!(http.connect(&host).await.is_ok(), "{name}");
    }
}

/// A proxy that connects every host to one address.
async fn proxy(address: SocketAddr) -> Proxy {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(client.read_u8().await.unwrap());
            }
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            let mut server = TcpStream::connect(address).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
        }
    });
    Proxy::new(&url.into(), "").unwrap()
}

#[tokio::test]
async fn certificate_covers_derived_hosts_and_given_names() {
    let mut config = Config::default();
    config.tls_names.push("*.cloud.example".to_owned());
    let sim = Simulator::start(config).await.unwrap();
    let tls = genesys_http::Tls::only_ca(sim.ca_pem.as_ref().unwrap().as_bytes()).unwrap();
    let http = Client::builder(tls).proxy(proxy(sim.address).await).build();
    let hosts = Hosts::of_domain("sim.test").unwrap();
    let given = "https://webmessaging.cloud.example".parse().unwrap();
    for host in [&hosts.login, &hosts.api, &hosts.messaging, &hosts.cdn, &given] {
        let connected = http.connect(host).await;
        assert!(connected.is_ok(), "{host}: {connected:?}");
    }
    let stream = http.connect(&hosts.messaging).await.unwrap();
    let url = format!(
        "wss://webmessaging.sim.test/v1?deploymentId={}",
        sim.deployment_id()
    );
    assert!(client_async(url, stream).await.is_ok());
    let other = "https://webmessaging.other.example".parse().unwrap();
    assert!(http.connect(&other).await.is_err());
}

#[tokio::test]
async fn start_error_has_a_kind_and_a_cause() {
    let sim = Simulator::start(Config::plain()).await.unwrap();
    let taken = Simulator::start(Config {
        listen: sim.address,
        ..Config::plain()
    })
    .await
    .unwrap_err();
    assert!(matches!(taken, StartError::Bind { address, .. } if address == sim.address));
    assert!(std::error::Error::source(&taken).is_some());

    let mut pki = throwaway_ca(&LOOPBACK).unwrap();
    pki.key_pem = "no key".into();
    let broken = Simulator::start(Config {
        tls: Tls::Given(pki),
        ..Config::default()
    })
    .await
    .unwrap_err();
    assert!(matches!(broken, StartError::Certificate(_)));
}
