//! Reuse of connections.

use std::time::Duration;

use bytes::Bytes;
use genesys_api::{Clock, IdempotencyKey};
use genesys_http::{Error, ErrorKind};
use http::{Method, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::loopback::{Loopback, Raw, builder, client, get, read_head, write};

const EMPTY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// Sends `request` on a connection that was used before, and returns that connection after it received the request.
async fn on_reused_connection(
    server: &Raw,
    request: Request<Bytes>,
) -> (TcpStream, JoinHandle<Result<Response<Bytes>, Error>>) {
    let client = client();
    let sending = tokio::spawn({
        let (client, first) = (client.clone(), get(&server.host, "/"));
        async move { client.send(first).await }
    });
    let mut tcp = server.accept_request().await;
    write(&mut tcp, EMPTY).await;
    sending.await.unwrap().unwrap();
    let sending = tokio::spawn(async move { client.send(request).await });
    read_head(&mut tcp).await;
    (tcp, sending)
}

fn post(server: &Raw, keyed: bool) -> Request<Bytes> {
    let mut request = get(&server.host, "/");
    *request.method_mut() = Method::POST;
    if keyed {
        let key = IdempotencyKey::random().header_value();
        request.headers_mut().insert(IdempotencyKey::HEADER, key);
    }
    request
}

#[tokio::test]
async fn repeatable_request_is_sent_once_more_if_a_reused_connection_dies() {
    let server = Raw::bind().await;
    for request in [get(&server.host, "/"), post(&server, true)] {
        let (tcp, sending) = on_reused_connection(&server, request).await;
        drop(tcp);
        let mut second = server.accept_request().await;
        write(&mut second, EMPTY).await;
        assert_eq!(sending.await.unwrap().unwrap().status(), 200);
    }
    let (tcp, sending) = on_reused_connection(&server, get(&server.host, "/")).await;
    drop(tcp);
    drop(server.accept_request().await);
    let error = sending.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.was_sent()), (ErrorKind::Closed, true));
}

#[tokio::test]
async fn request_is_sent_again_on_a_new_connection_if_all_pooled_ones_are_dead() {
    let server = Raw::bind().await;
    let client = client();
    let send = || {
        let (client, request) = (client.clone(), get(&server.host, "/"));
        tokio::spawn(async move { client.send(request).await })
    };
    let sending = [send(), send(), send()];
    let mut pooled = Vec::new();
    for _ in &sending {
        pooled.push(server.accept_request().await);
    }
    for tcp in &mut pooled {
        write(tcp, EMPTY).await;
    }
    for sending in sending {
        sending.await.unwrap().unwrap();
    }
    for mut tcp in pooled {
        tokio::spawn(async move { read_head(&mut tcp).await });
    }
    let mut sending = send();
    let mut new = tokio::select! {
        ended = &mut sending => panic!("no new connection: {ended:?}"),
        new = server.accept_request() => new,
    };
    write(&mut new, EMPTY).await;
    assert_eq!(sending.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn request_that_was_sent_before_the_last_failure_counts_as_sent() {
    let server = Raw::bind().await;
    let (tcp, sending) = on_reused_connection(&server, get(&server.host, "/")).await;
    drop(server);
    drop(tcp);
    let error = sending.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.was_sent()), (ErrorKind::Connect, true));
}

#[tokio::test]
async fn request_is_not_sent_again_if_it_may_not_be_or_the_answer_began() {
    let server = Raw::bind().await;
    let (tcp, sending) = on_reused_connection(&server, post(&server, false)).await;
    drop(tcp);
    let error = sending.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.was_sent()), (ErrorKind::Closed, true));
    let (mut tcp, sending) = on_reused_connection(&server, get(&server.host, "/")).await;
    write(&mut tcp, "HTTP/1.1 ").await;
    drop(tcp);
    let error = sending.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.was_sent()), (ErrorKind::Closed, true));
    let listener = server.listener.into_std().unwrap();
    assert_eq!(
        listener.accept().unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock
    );
}

#[tokio::test]
async fn connection_with_an_unread_body_is_not_reused() {
    for canceled in [true, false] {
        let server = Raw::bind().await;
        let clock = Clock::system();
        let client = builder().clock(clock.clone()).build();
        let sending = tokio::spawn({
            let (client, request) = (client.clone(), get(&server.host, "/"));
            async move { client.send(request).await }
        });
        let mut first = server.accept_request().await;
        write(&mut first, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await;
        if canceled {
            tokio::task::yield_now().await;
            sending.abort();
            sending.await.unwrap_err();
        } else {
            clock.advance(Duration::from_secs(31));
            assert_eq!(sending.await.unwrap().unwrap_err().kind(), ErrorKind::Timeout);
        }
        // the rest of the body, and an answer that nobody asked for; the peer may have closed already
        let _ = first.write_all(format!("-body{EMPTY}").as_bytes()).await;
        let sending = tokio::spawn(async move { client.send(get(&server.host, "/")).await });
        let (mut second, _) = server.listener.accept().await.unwrap();
        read_head(&mut second).await;
        write(&mut second, "HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(sending.await.unwrap().unwrap().status(), 204);
        assert!(
            matches!(first.read(&mut [0]).await, Ok(0) | Err(_)),
            "the first connection is closed"
        );
    }
}

#[tokio::test]
async fn connection_is_replaced_before_it_is_five_minutes_old() {
    let (server, peers) = Loopback::recording_peers().await;
    let clock = Clock::system();
    let client = builder().clock(clock.clone()).build();
    for wait in [0, 235, 10, 0] {
        clock.advance(Duration::from_secs(wait));
        client.send(server.get("/")).await.unwrap();
    }
    let peers = peers.lock().unwrap();
    let is_first: Vec<_> = peers.iter().map(|peer| *peer == peers[0]).collect();
    assert_eq!(is_first, [true, true, true, false]);
}
