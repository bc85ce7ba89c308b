//! Faults on real sockets.

#![expect(clippy::unwrap_used, reason = "a test ends where its own setup fails")]

use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, StreamExt};
use genesys_http::{Client, Tls};
use genesys_sim::{Agent, Config, Rules, Script, Simulator};
use http::Request;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const TOKEN: &str = "7d1f0c3e-8f0e-4e0c-9a37-3f1f2f6b1c11";

type Guest = WebSocketStream<MaybeTlsStream<TcpStream>>;

#[tokio::test]
async fn fault_of_a_script_does_not_swallow_the_echo_before_it() {
    let script = r#"{name: break, rules: [{on: otherwise, do: [{fault: "drop:abrupt"}, {say: lost}]}]}"#;
    let rules = Rules {
        agent: Agent::Scripts(vec![Script::parse("break", script).unwrap()]),
        ..Rules::default()
    };
    let config = Config {
        rules,
        ..Config::plain()
    };
    let sim = Simulator::start(config).await.unwrap();
    let mut guest = configured(&sim).await;
    send_text(&mut guest, "hello").await;
    assert_eq!(received(&mut guest).await["body"]["text"], "hello");
    let end = guest.next().await.unwrap();
    assert!(
        matches!(
            end,
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))
        ),
        "{end:?}"
    );
}

async fn simulator() -> Simulator {
    Simulator::start(Config::plain()).await.unwrap()
}

async fn connect(sim: &Simulator) -> Result<Guest, Error> {
    let url = format!("{}?deploymentId={}", sim.websocket_url(), sim.deployment_id());
    connect_async(url).await.map(|(guest, _)| guest)
}

async fn configured(sim: &Simulator) -> Guest {
    let mut guest = connect(sim).await.unwrap();
    let deployment = sim.deployment_id();
    let configure = json!({"action": "configureSession", "token": TOKEN, "deploymentId": deployment});
    guest.send(Message::text(configure.to_string())).await.unwrap();
    assert_eq!(received(&mut guest).await["class"], "SessionResponse");
    guest
}

async fn send_text(guest: &mut Guest, text: &str) {
    let frame = json!({"action": "onMessage", "token": TOKEN, "message": {"type": "Text", "text": text}});
    guest.send(Message::text(frame.to_string())).await.unwrap();
}

async fn received(guest: &mut Guest) -> Value {
    match guest.next().await.unwrap().unwrap() {
        Message::Text(text) => serde_json::from_str(&text).unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn call(request: http::request::Builder, body: Value) -> (u16, Value) {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let request = request.body(Bytes::from(body)).unwrap();
    let client = Client::builder(Tls::system().unwrap()).build();
    let response = client.send(request).await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_slice(response.body()).unwrap())
}

async fn inject(sim: &Simulator, fault: &str) {
    let post = Request::post(sim.host().uri("/sim/faults"));
    let (status, body) = call(post, json!({"fault": fault})).await;
    assert_eq!(status, 200, "{body}");
}

async fn wait_for_fault(sim: &Simulator, kind: &str) {
    while !sim.counters().faults.contains_key(kind) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn fragment_fault_sends_fragments() {
    let sim = simulator().await;
    let mut guest = configured(&sim).await;
    inject(&sim, "fragment:3").await;
    send_text(&mut guest, "först").await;
    assert_eq!(
        received(&mut guest).await["body"]["text"],
        "först",
        "a client puts them together"
    );
    received(&mut guest).await;
    received(&mut guest).await;

    inject(&sim, "fragment:3").await;
    send_text(&mut guest, "först").await;
    let mut wire = guest.into_inner();
    let mut heads = Vec::new();
    let mut text = Vec::new();
    while text.is_empty() || heads.last().is_some_and(|head| head & 0x80 == 0) {
        heads.push(wire.read_u8().await.unwrap());
        let length = match wire.read_u8().await.unwrap() {
            126 => wire.read_u16().await.unwrap(),
            short => short.into(),
        };
        let mut part = vec![0; length.into()];
        wire.read_exact(&mut part).await.unwrap();
        text.extend(part);
    }
    assert_eq!(heads, [0x01, 0x00, 0x80], "text, continuation, last continuation");
    let echo: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(echo["body"]["text"], "först");
}

#[tokio::test]
async fn abrupt_drop_has_no_close_frame() {
    let sim = simulator().await;
    let mut guest = configured(&sim).await;
    inject(&sim, "drop:abrupt").await;
    send_text(&mut guest, "hello").await;
    match guest.next().await {
        Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(sim.counters().faults["drop"], 1);
}

#[tokio::test]
async fn hung_socket_answers_no_ping_until_the_hang_ends() {
    let sim = simulator().await;
    let mut guest = configured(&sim).await;
    inject(&sim, "hang:1h").await;
    send_text(&mut guest, "hello").await;
    wait_for_fault(&sim, "hang").await;
    guest
        .send(Message::Ping(Bytes::from_static(b"there?")))
        .await
        .unwrap();
    inject(&sim, "rest:503").await;
    assert!(guest.next().now_or_never().is_none());

    sim.clock().advance(Duration::from_secs(3_600));
    let mut observed = Vec::new();
    while observed.len() < 4 {
        observed.push(guest.next().await.unwrap().unwrap());
    }
    assert_eq!(observed.iter().filter(|message| message.is_pong()).count(), 1);
    assert_eq!(observed.iter().filter(|message| message.is_text()).count(), 3);
}

#[tokio::test]
async fn hung_socket_is_closed_when_the_simulator_stops() {
    let sim = simulator().await;
    let mut guest = configured(&sim).await;
    inject(&sim, "hang").await;
    send_text(&mut guest, "hello").await;
    wait_for_fault(&sim, "hang").await;
    let (message, ()) = tokio::join!(guest.next(), sim.stop());
    assert!(matches!(message, Some(Ok(Message::Close(Some(close)))) if close.code == 1001.into()));
}

#[tokio::test]
async fn handshake_is_delayed_or_refused_by_a_fault() {
    let sim = simulator().await;
    inject(&sim, "slow-handshake:1h").await;
    let (guest, ()) = tokio::join!(configured(&sim), async {
        wait_for_fault(&sim, "slow-handshake").await;
        assert_eq!(sim.counters().sessions, 0);
        sim.clock().advance(Duration::from_secs(3_600));
    });
    drop(guest);
    inject(&sim, "refuse-handshake").await;
    match connect(&sim).await {
        Err(Error::Http(response)) => assert_eq!(response.status(), 403),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn faults_are_listed_removed_and_validated() {
    let sim = simulator().await;
    let faults = |request: http::request::Builder, body| call(request, body);
    let at = |path: &str| sim.host().uri(path);
    let body = json!({"fault": "drop:abrupt@3", "session": TOKEN});
    let (_, first) = faults(Request::post(at("/sim/faults")), body).await;
    let (_, second) = faults(Request::post(at("/sim/faults")), json!({"fault": "rest:503:x3"})).await;
    assert_eq!((&first["id"], &second["id"]), (&json!(1), &json!(2)));

    let (_, list) = faults(Request::get(at("/sim/faults")), Value::Null).await;
    assert_eq!(
        list["faults"],
        json!([
            {"id": 1, "fault": "drop:abrupt:x1@3", "session": "…1c11", "seen": 0, "happened": 0},
            {"id": 2, "fault": "rest:503:x3@1", "session": null, "seen": 0, "happened": 0},
        ])
    );
    let ready: Value = serde_json::from_str(&sim.ready_line(None)).unwrap();
    assert_eq!(ready["seed"], list["seed"]);
    assert_eq!(list["seed"].as_str().unwrap().len(), 64);

    let (_, removed) = faults(Request::delete(at("/sim/faults?id=1")), Value::Null).await;
    assert_eq!(removed["removed"], 1);
    let (_, removed) = faults(Request::delete(at("/sim/faults")), Value::Null).await;
    assert_eq!(removed["removed"], 1);

    for (body, why) in [
        (
            json!({"fault": "explode"}),
            "invalid fault \"explode\": use one of clock",
        ),
        (json!({"fault": "evict", "extra": 1}), "invalid body: use"),
        (
            json!({"fault": "slow-handshake:1s", "session": TOKEN}),
            "cannot limit the fault",
        ),
    ] {
        let (status, problem) = faults(Request::post(at("/sim/faults")), body).await;
        assert_eq!(status, 400);
        assert!(problem["message"].as_str().unwrap().contains(why), "{problem}");
    }
    let (status, _) = faults(Request::delete(at("/sim/faults?id=x")), Value::Null).await;
    assert_eq!(status, 400);
}
