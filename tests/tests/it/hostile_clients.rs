//! Clients that hold connections, send requests slowly, or send what is no request.

use std::net::SocketAddr;

use fastrand::Rng;
use http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::admin::{TOKEN, send};
use crate::api::{Api, Call, SESSIONS, guest};
use crate::guests::until;
use crate::page::soon;
use crate::world::{CLIENT, World};

const SLOW: usize = 1_000;
const MALFORMED: usize = 10_000;
const RANDOM_BODIES: usize = 10_000;
/// Tasks that send at the same time.
const SENDERS: usize = 8;

/// A connection from this address of loopback.
async fn connect_from(address: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
    socket.connect(to).await.unwrap()
}

/// Sends a request, and reads until the connection is closed.
async fn exchange(stream: &mut TcpStream, request: &[u8]) -> String {
    let mut answer = Vec::new();
    // a reset ends the answer too
    let _ = stream.write_all(request).await;
    let _ = soon(stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn idle_connections_of_one_address_leave_slots_to_others() {
    let world = World::configured(genesys_sim::Rules::default(), |toml| {
        let limits = "connections = 40\nconnections_per_address = 6\ntrusted_proxies = []\n";
        let toml = toml.replace("[listen]\n", &format!("[listen]\n{limits}"));
        format!("{toml}\n[admin]\naddress = \"127.0.0.1:0\"\ntoken = {TOKEN:?}\n")
    })
    .await;
    let gateway = world.gateway.address();
    let request = b"GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let mut idle = Vec::new();
    for _ in 0..6 {
        idle.push(connect_from("127.0.0.2", gateway).await);
    }
    let refused = exchange(&mut connect_from("127.0.0.2", gateway).await, request).await;
    assert!(refused.starts_with("HTTP/1.1 429 "), "{refused}");
    assert!(refused.contains("\"code\":\"too.many.requests\""), "{refused}");
    assert!(refused.contains("connections_per_address"), "{refused}");
    for _ in 0..100 {
        idle.push(connect_from("127.0.0.2", gateway).await);
    }
    let served = exchange(&mut connect_from("127.0.0.3", gateway).await, request).await;
    assert!(served.starts_with("HTTP/1.1 200 "), "{served}");
    let metrics = async || send(&world, Call::get("/metrics").bearer(TOKEN)).await.text;
    until(async || {
        metrics()
            .await
            .contains("guest_gateway_connections_refused_total 101\n")
    })
    .await;
    drop(idle);
    until(async || {
        let answer = exchange(&mut connect_from("127.0.0.2", gateway).await, request).await;
        answer.starts_with("HTTP/1.1 200 ")
    })
    .await;
    world.stop().await;
}

/// A request with one to four random changes, which may be none in effect.
fn malformed(random: &mut Rng) -> Vec<u8> {
    let mut request = format!(
        "POST {SESSIONS} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: 2\r\n\r\n{{}}"
    )
    .into_bytes();
    for _ in 0..random.usize(1..5) {
        let at = random.usize(..request.len());
        match random.u8(..4) {
            0 => request[at] = random.u8(..),
            1 => request.insert(at, random.u8(..)),
            2 if request.len() > 1 => drop(request.remove(at)),
            _ => request.truncate(at.max(1)),
        }
    }
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_malformed_clients_cause_no_fault_and_delay_nobody_for_long() {
    let world = World::configured(genesys_sim::Rules::default(), |toml| {
        toml.replace("[listen]\n", "[listen]\nrequests_per_minute = 10000000\n")
    })
    .await;
    let gateway = world.gateway.address();
    let api = Api::of(&world, CLIENT).await;
    let mut slow = JoinSet::new();
    for number in 0..SLOW {
        let head = format!("POST {SESSIONS} HTTP/1.1\r\nhost: localhost\r\nx-slow: ");
        let sent = &head[..number % head.len()];
        let mut stream = TcpStream::connect(gateway).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        slow.spawn(async move { exchange(&mut stream, b"").await });
    }
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let mut random = Rng::with_seed(sender as u64);
        let (http, url, token) = (world.http(), world.url(SESSIONS), api.token.clone());
        senders.spawn(async move {
            for _ in 0..MALFORMED / SENDERS {
                let request = malformed(&mut random);
                let mut stream = TcpStream::connect(gateway).await.unwrap();
                let _ = stream.write_all(&request).await;
                // the gateway waits for the rest of a cut one
                let _ = stream.shutdown().await;
                let answer = exchange(&mut stream, b"").await;
                let is_refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
                assert!(is_refused, "{request:?}: {answer}");
            }
            for _ in 0..RANDOM_BODIES / SENDERS {
                let body: Vec<u8> = (0..random.usize(..300)).map(|_| random.u8(..)).collect();
                let request = http::Request::post(&url)
                    .header("authorization", format!("Bearer {token}"))
                    .header("content-type", "application/json")
                    .body(body.clone().into())
                    .unwrap();
                let status = http.send(request).await.unwrap().status();
                assert!(status.is_client_error(), "{status}: {body:?}");
            }
        });
    }
    // others are served meanwhile
    while let Some(ended) = senders.join_next().await {
        ended.unwrap();
        api.create(&guest()).await;
    }
    while let Some(answer) = slow.join_next().await {
        let answer = answer.unwrap();
        assert!(!answer.starts_with("HTTP/1.1 5"), "{answer}");
    }
    let live = api.send(Call::get("/health/live")).await;
    assert_eq!(live.status, StatusCode::OK);
    world.stop().await;
}
