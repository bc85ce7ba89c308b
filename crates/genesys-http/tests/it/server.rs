//! The accept loop: upgrades, limits and shutdown.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use genesys_http::Client;
use genesys_http::server::{AboveLimit, Limits, Peer};
use http::header::{CONNECTION, UPGRADE};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::authority::Authority;
use crate::loopback::{Answer, Loopback, answer, client, read_head, write};

const UPGRADE_REQUEST: &str = "GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";

/// Upgrades the connection and echoes its bytes.
async fn echo(mut request: Request<Incoming>) -> Answer {
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let (mut reading, mut writing) = tokio::io::split(TokioIo::new(upgrade.await.unwrap()));
        let _ = tokio::io::copy(&mut reading, &mut writing).await;
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, "echo")
        .body(Full::default())
        .unwrap()
}

#[tokio::test]
async fn connection_is_upgraded_end_to_end() {
    let authority = Authority::new();
    let server = Loopback::start(Some(authority.loopback()), Limits::default(), echo).await;
    let client = Client::builder(authority.trusted()).build();
    let mut stream = client.connect(&server.host).await.unwrap();
    write(&mut stream, UPGRADE_REQUEST).await;
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 101"));
    write(&mut stream, "hello").await;
    let mut echoed = [0; 5];
    stream.read_exact(&mut echoed).await.unwrap();
    assert_eq!(&echoed, b"hello");
}

#[tokio::test]
async fn replaced_certificate_is_that_of_later_connections() {
    let (before, after) = (Authority::new(), Authority::new());
    let identity = before.loopback();
    let server = Loopback::start(Some(identity.clone()), Limits::default(), echo).await;
    let mut stream = Client::builder(before.trusted())
        .build()
        .connect(&server.host)
        .await
        .unwrap();
    identity.replace(&after.loopback());
    assert!(
        Client::builder(before.trusted())
            .build()
            .connect(&server.host)
            .await
            .is_err()
    );
    let later = Client::builder(after.trusted()).build();
    assert!(later.connect(&server.host).await.is_ok());
    write(&mut stream, UPGRADE_REQUEST).await;
    assert!(
        read_head(&mut stream).await.starts_with("HTTP/1.1 101"),
        "it stays open"
    );
}

#[tokio::test]
async fn requests_in_flight_complete_before_shutdown() {
    let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let server = Loopback::plain({
        let (entered, release) = (Arc::clone(&entered), Arc::clone(&release));
        move |_| {
            let (entered, release) = (Arc::clone(&entered), Arc::clone(&release));
            async move {
                entered.notify_one();
                release.notified().await;
                answer(200, "late")
            }
        }
    })
    .await;
    let request = server.get("/");
    let sending = tokio::spawn(async move { client().send(request).await });
    entered.notified().await;
    let idle = TcpStream::connect(server.address).await.unwrap();
    server.stop.send(()).unwrap();
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!server.ended.is_finished());
    release.notify_one();
    assert_eq!(sending.await.unwrap().unwrap().body(), "late");
    server.ended.await.unwrap();
    drop(idle);
}

#[tokio::test]
async fn first_request_of_an_accepted_connection_is_answered_during_shutdown() {
    let server = Loopback::plain(|_| async { answer(200, "hello") }).await;
    let mut tcp = TcpStream::connect(server.address).await.unwrap();
    // accepted after the first one
    client().send(server.get("/")).await.unwrap();
    server.stop.send(()).unwrap();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    write(&mut tcp, "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(read_head(&mut tcp).await.starts_with("HTTP/1.1 200"));
    server.ended.await.unwrap();
}

#[tokio::test]
async fn connections_are_closed_after_drain() {
    let entered = Arc::new(Notify::new());
    let limits = Limits {
        drain: Duration::ZERO,
        ..Limits::default()
    };
    let server = Loopback::start(None, limits, {
        let entered = Arc::clone(&entered);
        move |_| {
            let entered = Arc::clone(&entered);
            async move {
                entered.notify_one();
                std::future::pending().await
            }
        }
    })
    .await;
    let request = server.get("/");
    let sending = tokio::spawn(async move { client().send(request).await });
    entered.notified().await;
    server.stop.send(()).unwrap();
    server.ended.await.unwrap();
    assert_eq!(
        sending.await.unwrap().unwrap_err().kind(),
        genesys_http::ErrorKind::Closed
    );
}

#[tokio::test]
async fn drain_waits_for_upgraded_connections() {
    let server = Loopback::plain(echo).await;
    let mut tcp = TcpStream::connect(server.address).await.unwrap();
    write(&mut tcp, UPGRADE_REQUEST).await;
    read_head(&mut tcp).await;
    server.stop.send(()).unwrap();
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    write(&mut tcp, "still here").await;
    tcp.read_exact(&mut [0; 10]).await.unwrap();
    assert!(!server.ended.is_finished());
    drop(tcp);
    server.ended.await.unwrap();
}

#[tokio::test]
async fn panic_of_service_ends_its_connection_only() {
    let server = Loopback::plain(|request| async move {
        assert_ne!(request.uri().path(), "/panic", "as the test wants it");
        answer(200, "hello")
    })
    .await;
    let client = client();
    assert!(client.send(server.get("/panic")).await.is_err());
    assert_eq!(client.send(server.get("/")).await.unwrap().body(), "hello");
}

// The paused clock advances when all tasks wait, so it makes each of these peers late.
#[tokio::test(start_paused = true)]
async fn slow_request_head_closes_connection() {
    let authority = Authority::new();
    let plain = Loopback::plain(|_| async { answer(200, "") }).await;
    let secure = Loopback::start(Some(authority.loopback()), Limits::default(), |_| async {
        answer(200, "")
    })
    .await;
    for (address, words) in [
        (plain.address, ""),
        (plain.address, "GET / HTTP/1.1\r\nhost:"),
        (secure.address, ""),
        (secure.address, "\x16\x03\x01"),
    ] {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        write(&mut tcp, words).await;
        let mut rest = Vec::new();
        let _reset_or_end = tcp.read_to_end(&mut rest).await;
        assert!(!String::from_utf8_lossy(&rest).contains("200 OK"), "{words:?}");
    }
}

#[tokio::test]
async fn request_head_is_bounded() {
    let server = Loopback::plain(|_| async { answer(200, "hello") }).await;
    let many = |count: usize| (0..count).map(|n| format!("x-{n}: y\r\n")).collect::<String>();
    let long = |bytes: usize| format!("x: {}\r\n", "y".repeat(bytes));
    for (headers, expected) in [
        (many(60), "200"),
        (many(70), "431"),
        (long(15_000), "200"),
        (long(17_000), "431"),
    ] {
        let mut tcp = TcpStream::connect(server.address).await.unwrap();
        write(&mut tcp, &format!("GET / HTTP/1.1\r\nhost: x\r\n{headers}\r\n")).await;
        let head = read_head(&mut tcp).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {expected}")), "{head}");
    }
}

#[tokio::test]
async fn connection_limit_includes_upgraded_connections() {
    let served = Arc::new(Mutex::new(Vec::new()));
    let limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    let server = Loopback::start(None, limits, {
        let served = Arc::clone(&served);
        move |request| {
            served.lock().unwrap().push(request.uri().path().to_owned());
            let upgrades = request.headers().contains_key(UPGRADE);
            async move {
                if upgrades {
                    echo(request).await
                } else {
                    answer(200, "")
                }
            }
        }
    })
    .await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    write(&mut first, "GET /first HTTP/1.1\r\nhost: x\r\n\r\n").await;
    read_head(&mut first).await;
    let mut second = TcpStream::connect(server.address).await.unwrap();
    write(&mut second, "GET /second HTTP/1.1\r\nhost: x\r\n\r\n").await;
    write(&mut first, UPGRADE_REQUEST).await;
    read_head(&mut first).await;
    write(&mut first, "hello").await;
    first.read_exact(&mut [0; 5]).await.unwrap();
    assert_eq!(*served.lock().unwrap(), ["/first", "/"]);
    drop(first);
    read_head(&mut second).await;
    assert_eq!(*served.lock().unwrap(), ["/first", "/", "/second"]);
}

#[tokio::test]
async fn service_receives_peer_address() {
    let server = Loopback::plain(|request| async move {
        let Peer(address) = *request.extensions().get::<Peer>().unwrap();
        Response::new(Full::from(address.to_string()))
    })
    .await;
    let mut tcp = TcpStream::connect(server.address).await.unwrap();
    let address = tcp.local_addr().unwrap().to_string();
    write(&mut tcp, "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    let mut text = String::new();
    tcp.read_to_string(&mut text).await.unwrap();
    assert!(text.ends_with(&address), "{text}");
}

/// Runs in its own process, so that other tests keep their descriptors.
#[cfg(unix)]
#[test]
fn server_survives_lack_of_file_descriptors() {
    const STARVING: &str = "GENESYS_HTTP_TEST_STARVING";
    if std::env::var_os(STARVING).is_some() {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(exhaust_file_descriptors());
        return;
    }
    let child = std::process::Command::new("sh")
        .args([
            "-c",
            "ulimit -n 64; exec \"$0\" --exact server::server_survives_lack_of_file_descriptors",
        ])
        .arg(std::env::current_exe().unwrap())
        .env(STARVING, "1")
        .output()
        .unwrap();
    assert!(
        child.status.success(),
        "{}",
        String::from_utf8_lossy(&child.stdout)
    );
}

#[cfg(unix)]
async fn exhaust_file_descriptors() {
    let server = Loopback::plain(|_| async { answer(200, "hello") }).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    let descriptors: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    assert!(
        !descriptors.is_empty() && descriptors.len() < 64,
        "{}",
        descriptors.len()
    );
    let mut tcp = socket.connect(server.address).await.unwrap();
    write(&mut tcp, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert!(!server.ended.is_finished());
    drop(descriptors);
    assert!(read_head(&mut tcp).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn connections_above_the_limit_of_their_address_are_answered_once_then_closed() {
    let authority = Authority::new();
    for identity in [None, Some(authority.loopback())] {
        let limits = Limits {
            connections_per_address: 2,
            ..Limits::default()
        };
        let server = Loopback::start(identity, limits, |request| async move {
            match request.extensions().get::<AboveLimit>() {
                Some(_) => answer(429, "too many"),
                None => answer(200, "hello"),
            }
        })
        .await;
        let client = Client::builder(authority.trusted()).build();
        let connect = async || client.connect(&server.host).await.unwrap();
        let mut open = vec![connect().await, connect().await];
        let mut third = connect().await;
        let request = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
        write(&mut third, request).await;
        let mut reply = String::new();
        third.read_to_string(&mut reply).await.unwrap();
        assert!(reply.starts_with("HTTP/1.1 429"), "{reply}");
        assert!(
            reply.to_ascii_lowercase().contains("connection: close"),
            "{reply}"
        );
        drop(third);
        // those below the limit are served, and a closed one makes room
        write(&mut open[0], request).await;
        assert!(read_head(&mut open[0]).await.starts_with("HTTP/1.1 200"));
        open.pop();
        loop {
            let mut next = connect().await;
            write(&mut next, request).await;
            if read_head(&mut next).await.starts_with("HTTP/1.1 200") {
                break;
            }
        }
    }
}
