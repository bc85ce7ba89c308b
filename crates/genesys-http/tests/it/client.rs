//! Single requests and their errors.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use genesys_api::{Clock, Host};
use genesys_http::{Client, Egress, Error, ErrorKind, Stream};
use http::Request;
use http::header::{LOCATION, USER_AGENT};
use tokio::io::AsyncReadExt;

use crate::loopback::{Loopback, Raw, answer, builder, client, closed_port, get, write};

#[tokio::test]
async fn requests_share_one_connection() {
    let (server, peers) = Loopback::recording_peers().await;
    let client = client();
    for _ in 0..2 {
        let response = client.send(server.get("/")).await.unwrap();
        assert_eq!(response.body(), "hello");
    }
    let peers = peers.lock().unwrap();
    assert_eq!(peers.len(), 2);
    assert_eq!(peers.iter().collect::<BTreeSet<_>>().len(), 1, "{peers:?}");
}

#[tokio::test]
async fn closed_pooled_connection_is_replaced() {
    let server = Raw::bind().await;
    let client = client();
    let sending = tokio::spawn({
        let (client, request) = (client.clone(), get(&server.host, "/"));
        async move { client.send(request).await }
    });
    let mut first = server.accept_request().await;
    write(&mut first, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    sending.await.unwrap().unwrap();
    let (mut reading, writing) = first.into_split();
    drop(writing);
    assert_eq!(
        reading.read(&mut [0]).await.unwrap(),
        0,
        "the client closed its side"
    );

    let sending = tokio::spawn(async move { client.send(get(&server.host, "/")).await });
    let (mut second, _) = server.listener.accept().await.unwrap();
    write(&mut second, "HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(sending.await.unwrap().unwrap().status(), 204);
}

#[tokio::test]
async fn body_over_limit_closes_connection() {
    let server = Loopback::plain(|request| async move {
        match request.uri().path() {
            "/5" => answer(200, "12345"),
            _ => answer(200, "123456"),
        }
    })
    .await;
    let client = builder().body_limit(5).build();
    assert_eq!(client.send(server.get("/5")).await.unwrap().body(), "12345");
    let error = client.send(server.get("/6")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.was_sent());
    assert!(error.to_string().contains("more than 5 bytes"), "{error}");
    assert_eq!(client.send(server.get("/5")).await.unwrap().body(), "12345");
}

#[tokio::test]
async fn body_without_length_is_bounded() {
    let server = Raw::bind().await;
    let sending = tokio::spawn({
        let (client, request) = (builder().body_limit(5).build(), get(&server.host, "/"));
        async move { client.send(request).await }
    });
    let mut tcp = server.accept_request().await;
    write(
        &mut tcp,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n",
    )
    .await;
    assert_eq!(sending.await.unwrap().unwrap_err().kind(), ErrorKind::TooLarge);
}

#[tokio::test]
async fn slow_server_hits_deadline() {
    let server = Raw::bind().await;
    let clock = Clock::system();
    let sending = tokio::spawn({
        let (client, request) = (builder().clock(clock.clone()).build(), get(&server.host, "/"));
        async move { client.send(request).await }
    });
    let _silent = server.accept_request().await;
    clock.advance(Duration::from_secs(31));
    let error = sending.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.was_sent()), (ErrorKind::Timeout, true));
    assert!(error.to_string().contains("30s"), "{error}");
}

#[tokio::test]
async fn slow_body_hits_deadline() {
    let server = Raw::bind().await;
    let clock = Clock::system();
    let sending = tokio::spawn({
        let (client, request) = (builder().clock(clock.clone()).build(), get(&server.host, "/"));
        async move { client.send(request).await }
    });
    let mut tcp = server.accept_request().await;
    write(&mut tcp, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await;
    clock.advance(Duration::from_secs(31));
    assert_eq!(sending.await.unwrap().unwrap_err().kind(), ErrorKind::Timeout);
}

#[tokio::test]
async fn head_is_returned_with_the_start_of_an_incomplete_body() {
    let server = Raw::bind().await;
    for (body, start) in [
        ("content-length: 9\r\n\r\ncut", "cut"),
        ("content-length: 9\r\n\r\ntoo long.", "too "),
        ("transfer-encoding: chunked\r\n\r\n2\r\nok\r\nzz", "ok"),
    ] {
        let sending = tokio::spawn({
            let client = builder().body_limit(4).build();
            let request = get(&server.host, "/");
            async move { client.send_for_head(request).await }
        });
        let mut tcp = server.accept_request().await;
        write(&mut tcp, &format!("HTTP/1.1 200 OK\r\n{body}")).await;
        drop(tcp);
        let response = sending.await.unwrap().unwrap();
        assert_eq!(
            (response.status().as_u16(), response.body().as_ref()),
            (200, start.as_bytes())
        );
    }
}

#[tokio::test]
async fn connection_is_reused_after_a_head_with_a_complete_body() {
    let (server, peers) = Loopback::recording_peers().await;
    let client = builder().body_limit(5).build();
    for _ in 0..2 {
        let response = client.send_for_head(server.get("/")).await.unwrap();
        assert_eq!(response.body(), "hello");
    }
    assert_eq!(peers.lock().unwrap().iter().collect::<BTreeSet<_>>().len(), 1);
}

#[tokio::test]
async fn unfinished_handshake_hits_connect_timeout() {
    let server = Raw::bind().await;
    let address = server.listener.local_addr().unwrap();
    let host: Host = format!("https://{address}").parse().unwrap();
    let clock = Clock::system();
    let client = builder().clock(clock.clone()).build();
    let sending = tokio::spawn(async move {
        let sent = client.send(get(&host, "/")).await.unwrap_err();
        let connected = client.connect(&host).await.unwrap_err();
        (sent, connected)
    });
    for _ in 0..2 {
        let (_silent, _) = server.listener.accept().await.unwrap();
        clock.advance(Duration::from_secs(11));
    }
    let (sent, connected) = sending.await.unwrap();
    for error in [sent, connected] {
        assert_eq!((error.kind(), error.was_sent()), (ErrorKind::Timeout, false));
        assert!(error.to_string().contains("10s"), "{error}");
    }
}

#[tokio::test]
async fn closed_port_is_connect_error() {
    let (_port, host) = closed_port();
    let error = client().send(get(&host, "/")).await.unwrap_err();
    assert_eq!((error.kind(), error.was_sent()), (ErrorKind::Connect, false));
    let source = error.source().unwrap().downcast_ref::<std::io::Error>().unwrap();
    assert_eq!(source.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(
        !error.to_string().contains(&source.to_string()),
        "the message does not repeat the source"
    );
}

#[tokio::test]
async fn connection_closed_before_response_leaves_outcome_unknown() {
    let server = Raw::bind().await;
    let sending = tokio::spawn({
        let request = get(&server.host, "/");
        async move { client().send(request).await }
    });
    drop(server.accept_request().await);
    let error = sending.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.was_sent()), (ErrorKind::Closed, true));
    assert!(error.to_string().contains("unknown"), "{error}");
}

#[tokio::test]
async fn truncated_body_is_an_error() {
    let server = Raw::bind().await;
    let sending = tokio::spawn({
        let request = get(&server.host, "/");
        async move { client().send(request).await }
    });
    let mut tcp = server.accept_request().await;
    write(&mut tcp, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await;
    drop(tcp);
    assert_eq!(sending.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn response_that_is_not_http_is_protocol_error() {
    for nonsense in [
        "SSH-2.0-OpenSSH_9.2\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(70_000)),
    ] {
        let server = Raw::bind().await;
        let sending = tokio::spawn({
            let request = get(&server.host, "/");
            async move { client().send(request).await }
        });
        let mut tcp = server.accept_request().await;
        write(&mut tcp, &nonsense).await;
        assert_eq!(sending.await.unwrap().unwrap_err().kind(), ErrorKind::Protocol);
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let server = Loopback::plain(|_| async {
        let mut answer = answer(302, "");
        answer
            .headers_mut()
            .insert(LOCATION, "/elsewhere".parse().unwrap());
        answer
    })
    .await;
    let response = client().send(server.get("/")).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()[LOCATION]),
        (302, &"/elsewhere".parse().unwrap())
    );
}

#[tokio::test]
async fn user_agent_is_added_unless_set() {
    let server = Loopback::plain(|request| async move {
        let mut answer = answer(200, "");
        let agent = request.headers()[USER_AGENT].clone();
        answer.headers_mut().insert("seen", agent);
        answer
    })
    .await;
    let client = client();
    let response = client.send(server.get("/")).await.unwrap();
    assert!(
        response.headers()["seen"]
            .to_str()
            .unwrap()
            .starts_with("guest-suite/")
    );
    let mut request = server.get("/");
    request.headers_mut().insert(USER_AGENT, "mine".parse().unwrap());
    assert_eq!(client.send(request).await.unwrap().headers()["seen"], "mine");
}

#[tokio::test]
async fn request_uri_must_be_absolute_without_credentials() {
    for uri in [
        "/relative",
        "ftp://127.0.0.1/",
        "http://joe:hunter2@127.0.0.1/",
        "https://[localhost]/",
    ] {
        let Ok(request) = Request::get(uri).body(Bytes::new()) else {
            continue;
        };
        let error = client().send(request).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.was_sent()),
            (ErrorKind::Protocol, false),
            "{uri}"
        );
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn public_egress_blocks_local_addresses_in_every_notation() {
    let server = Raw::bind().await;
    let port = server.listener.local_addr().unwrap().port();
    let guarded = builder().egress(Egress::PublicOnly { allow: Vec::new() }).build();
    let mut errors = Vec::new();
    // the notations after 0.0.0.0 are addresses for some resolvers only
    for host in [
        "127.0.0.1",
        "localhost",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::1]",
        "[::]",
        "0.0.0.0",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
    ] {
        let request = Request::get(format!("http://{host}:{port}/"))
            .body(Bytes::new())
            .unwrap();
        let error = guarded.send(request).await.unwrap_err();
        assert!(!error.was_sent(), "{host}");
        errors.push(error.kind());
    }
    assert_eq!(errors[..7], [ErrorKind::Blocked; 7]);
    assert!(
        errors[7..]
            .iter()
            .all(|kind| matches!(kind, ErrorKind::Blocked | ErrorKind::Connect)),
        "{errors:?}"
    );
    let connected = guarded.connect(&server.host).await.unwrap_err();
    assert_eq!(connected.kind(), ErrorKind::Blocked);
    let listener = server.listener.into_std().unwrap();
    assert_eq!(
        listener.accept().unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock,
        "no connection arrived"
    );
}

#[tokio::test]
async fn allow_list_permits_network() {
    let server = Loopback::plain(|_| async { answer(200, "hello") }).await;
    let allow = vec!["127.0.0.0/8".parse().unwrap()];
    let client = builder().egress(Egress::PublicOnly { allow }).build();
    assert_eq!(client.send(server.get("/")).await.unwrap().body(), "hello");
}

#[tokio::test]
async fn connector_tries_all_addresses_of_name() {
    // localhost may resolve to ::1 first, which is closed
    let server = Loopback::plain(|_| async { answer(200, "hello") }).await;
    let uri = format!("http://localhost:{}/", server.address.port());
    let response = client()
        .send(Request::get(uri).body(Bytes::new()).unwrap())
        .await
        .unwrap();
    assert_eq!(response.body(), "hello");
}

#[test]
fn client_types_are_send_and_sync() {
    fn assert<T: Clone + Send + Sync + std::fmt::Debug + 'static>() {}
    fn assert_stream<T: Send + Unpin + std::fmt::Debug + 'static>() {}
    assert::<Client>();
    assert::<Error>();
    assert::<genesys_http::CallError>();
    assert_stream::<Stream>();
    assert!(size_of::<Error>() <= 8 && size_of::<genesys_http::CallError>() <= 8);
}
