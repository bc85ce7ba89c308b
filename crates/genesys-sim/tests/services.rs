//! Uploads, sign-in and notifications on real sockets.

#![expect(clippy::unwrap_used, reason = "a test ends where its own setup fails")]

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use genesys_api::Host;
use genesys_http::{Client, Stream};
use genesys_sim::{Agent, Config, Rules, Simulator};
use http::{Request, Response, Uri};
use ring::digest;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

const TOKEN: &str = "7d1f0c3e-8f0e-4e0c-9a37-3f1f2f6b1c11";

type Socket = WebSocketStream<Stream>;

fn client(sim: &Simulator) -> Client {
    let tls = match &sim.ca_pem {
        Some(ca) => genesys_http::Tls::only_ca(ca.as_bytes()),
        None => genesys_http::Tls::system(),
    };
    Client::builder(tls.unwrap()).build()
}

async fn open(sim: &Simulator, url: &str) -> Socket {
    let stream = client(sim).connect(sim.host()).await.unwrap();
    client_async(url, stream).await.unwrap().0
}

async fn guest(sim: &Simulator) -> Socket {
    let url = format!("{}?deploymentId={}", sim.websocket_url(), sim.deployment_id());
    open(sim, &url).await
}

async fn ask(socket: &mut Socket, frame: Value) -> Value {
    socket.send(Message::text(frame.to_string())).await.unwrap();
    received(socket).await
}

async fn received(socket: &mut Socket) -> Value {
    match socket.next().await.unwrap().unwrap() {
        Message::Text(text) => serde_json::from_str(&text).unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn call(sim: &Simulator, request: http::request::Builder, body: Bytes) -> (Response<Bytes>, Value) {
    let response = client(sim).send(request.body(body).unwrap()).await.unwrap();
    let body = serde_json::from_slice(response.body()).unwrap_or_default();
    (response, body)
}

fn at(host: &Host, path: &str) -> Uri {
    host.uri(path)
}

#[tokio::test]
async fn file_is_uploaded_and_downloaded() {
    let sim = Simulator::start(Config::default()).await.unwrap();
    let mut guest = guest(&sim).await;
    let configure =
        json!({"action": "configureSession", "token": TOKEN, "deploymentId": sim.deployment_id()});
    ask(&mut guest, configure).await;
    let file = Bytes::from(vec![7; 200_000]);
    let grant = ask(
        &mut guest,
        json!({"action": "onAttachment", "token": TOKEN, "fileName": "a.bin",
            "fileType": "application/octet-stream", "fileSize": file.len()}),
    )
    .await;
    let grant = &grant["body"];
    let mut put = Request::put(grant["url"].as_str().unwrap());
    for (name, value) in grant["headers"].as_object().unwrap() {
        put = put.header(name, value.as_str().unwrap());
    }
    let (response, _) = call(&sim, put, file.clone()).await;
    assert_eq!(response.status(), 200);
    let event = received(&mut guest).await;
    assert_eq!(event["class"], "UploadSuccessEvent");
    let get = Request::get(event["body"]["downloadUrl"].as_str().unwrap());
    let (response, _) = call(&sim, get, Bytes::new()).await;
    assert_eq!(response.body(), &file);

    let elsewhere = Request::put(at(sim.host(), "/upload/x"));
    let (response, _) = call(&sim, elsewhere, file).await;
    assert_eq!(response.status(), 413, "large bodies are for granted uploads");
    assert_eq!(sim.violations(), []);
}

#[tokio::test]
async fn guest_signs_in_and_out() {
    let sim = Simulator::start(Config::plain()).await.unwrap();
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
    let place = "https://app.test/back";
    let path = format!(
        "/oauth/authorize?response_type=code&client_id=app&redirect_uri={place}&code_challenge={challenge}\
         &code_challenge_method=S256&state=s"
    );
    let (response, _) = call(&sim, Request::get(at(sim.host(), &path)), Bytes::new()).await;
    assert_eq!(response.status(), 302);
    let location = response.headers()["location"].to_str().unwrap();
    let code = location
        .strip_prefix("https://app.test/back?code=")
        .unwrap()
        .strip_suffix("&state=s")
        .unwrap();
    let body = json!({"deploymentId": sim.deployment_id(), "oauth": {"code": code, "redirectUri": place,
        "codeVerifier": verifier}});
    let path = "/api/v2/webdeployments/token/oauthcodegrantjwtexchange";
    let (_, tokens) = call(&sim, Request::post(at(sim.host(), path)), body.to_string().into()).await;

    let mut guest = guest(&sim).await;
    let configure = json!({"action": "configureAuthenticatedSession", "token": TOKEN,
        "deploymentId": sim.deployment_id(), "data": {"code": tokens["jwt"]}});
    assert_eq!(ask(&mut guest, configure).await["body"]["connected"], true);
    let revoke = Request::delete(at(sim.host(), "/api/v2/webdeployments/token/revoke")).header(
        "authorization",
        format!("bearer {}", tokens["jwt"].as_str().unwrap()),
    );
    assert_eq!(call(&sim, revoke, Bytes::new()).await.0.status(), 204);
    assert_eq!(received(&mut guest).await["class"], "LogoutEvent");
    assert_eq!(sim.violations(), []);
}

#[tokio::test]
async fn server_is_notified_of_undelivered_messages() {
    let sim = Simulator::start(Config {
        rules: Rules {
            agent: Agent::Replies(vec!["too late".to_owned()]),
            agent_delay: Duration::from_secs(60),
            ..Rules::default()
        },
        ..Config::default()
    })
    .await
    .unwrap();
    let secret = sim.client_secret.expose_secret();
    let basic = STANDARD.encode(format!("{}:{secret}", sim.client_id));
    let login = Request::post(at(sim.host(), "/oauth/token"))
        .header("authorization", format!("Basic {basic}"))
        .header("content-type", "application/x-www-form-urlencoded");
    let (_, token) = call(&sim, login, Bytes::from_static(b"grant_type=client_credentials")).await;
    let bearer = format!("bearer {}", token["access_token"].as_str().unwrap());
    let channels = "/api/v2/notifications/channels";
    let create = Request::post(at(sim.host(), channels)).header("authorization", &bearer);
    let (response, channel) = call(&sim, create, Bytes::new()).await;
    assert_eq!(response.headers()["inin-ratelimit-allowed"], "300");
    let path = format!("{channels}/{}/subscriptions", channel["id"].as_str().unwrap());
    let topic = format!(
        "v2.webmessaging.deployments.{}.undelivered.messages",
        sim.deployment_id()
    );
    let subscribe = Request::post(at(sim.host(), &path)).header("authorization", &bearer);
    let (_, answer) = call(&sim, subscribe, json!([{"id": topic}]).to_string().into()).await;
    assert_eq!(answer["entities"][0]["state"], "Permitted");
    let mut server = open(&sim, channel["connectUri"].as_str().unwrap()).await;
    let pong = ask(&mut server, json!({"message": "ping"})).await;
    assert_eq!(pong["eventBody"]["message"], "pong");

    let mut guest = guest(&sim).await;
    let configure =
        json!({"action": "configureSession", "token": TOKEN, "deploymentId": sim.deployment_id()});
    ask(&mut guest, configure).await;
    let hello = json!({"action": "onMessage", "token": TOKEN, "message": {"type": "Text", "text": "hello"}});
    ask(&mut guest, hello).await;
    guest.close(None).await.unwrap();
    while guest.next().await.is_some() {}
    // the cloud detects the end of a socket after the guest
    while sim.counters().open > 0 {
        tokio::task::yield_now().await;
    }
    sim.clock().advance(Duration::from_secs(60));
    let event = loop {
        let frame = received(&mut server).await;
        if frame["topicName"] == topic.as_str() {
            break frame;
        }
    };
    assert_eq!(event["eventBody"]["messages"].as_array().unwrap().len(), 1);
    sim.stop().await;
}

#[tokio::test]
async fn malformed_http_is_a_bad_request() {
    let sim = Simulator::start(Config::plain()).await.unwrap();
    let chunked = "POST /sim/clock HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n";
    for request in [
        "GET /sim/clock HTTP/1.1\r\nconnection: close\r\n\r\n".to_owned(),
        format!("{chunked}connection: close\r\n\r\nxyz\r\n\r\n"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(sim.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        assert_eq!(&status, b"HTTP/1.1 400", "{request}");
    }
    sim.stop().await;
}
