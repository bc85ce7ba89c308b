//! Connections through a proxy.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use genesys_api::{Clock, Host};
use genesys_http::server::Limits;
use genesys_http::{Client, Egress, Error, ErrorKind, Proxy};
use http::Request;
use rcgen::SanType;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::authority::Authority;
use crate::loopback::{
    Loopback, Raw, advance_until, answer, any_port, builder, closed_port, get, read_head, write,
};

/// A name that only the proxy resolves.
const NAME: &str = "genesys.test";

/// A proxy that connects every host to one server, and records requests.
struct TunnelProxy {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl TunnelProxy {
    async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind(any_port()).await.unwrap();
        let proxy_server = Self {
            address: listener.local_addr().unwrap(),
            heads: Arc::default(),
        };
        let heads = Arc::clone(&proxy_server.heads);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let heads = Arc::clone(&heads);
                tokio::spawn(async move {
                    let head = read_head(&mut client).await;
                    heads.lock().unwrap().push(head);
                    let mut server = TcpStream::connect(server).await.unwrap();
                    write(&mut client, "HTTP/1.1 200 Connection established\r\n\r\n").await;
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        proxy_server
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn proxy(address: impl std::fmt::Display) -> Proxy {
    Proxy::new(&format!("http://guest:pa55%3Aword@{address}").into(), "").unwrap()
}

fn host() -> Host {
    format!("https://{NAME}:4430").parse().unwrap()
}

#[tokio::test]
async fn tls_runs_inside_tunnel_to_host() {
    let authority = Authority::new();
    let identity = authority.issue(|params| {
        params.subject_alt_names = vec![SanType::DnsName(NAME.try_into().unwrap())];
    });
    let server = Loopback::start(Some(identity), Limits::default(), |request| async move {
        assert!(!request.headers().contains_key("proxy-authorization"));
        answer(200, "hello")
    })
    .await;
    let proxy_server = TunnelProxy::start(server.address).await;
    let client = Client::builder(authority.trusted())
        .proxy(proxy(proxy_server.address))
        .build();
    for _ in 0..2 {
        let response = client.send(get(&host(), "/")).await.unwrap();
        assert_eq!(response.body(), "hello");
    }
    let head = format!(
        "CONNECT {NAME}:4430 HTTP/1.1\r\nhost: {NAME}:4430\r\nuser-agent: guest-suite/{}\r\n\
         proxy-authorization: Basic Z3Vlc3Q6cGE1NTp3b3Jk\r\n\r\n",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(
        proxy_server.heads(),
        std::slice::from_ref(&head),
        "one tunnel serves both requests"
    );
    assert!(client.connect(&host()).await.unwrap().is_secure());
    assert_eq!(proxy_server.heads(), [head.clone(), head]);
}

#[tokio::test]
async fn plain_hosts_are_tunneled() {
    let server = Loopback::plain(|request| async move {
        assert_eq!(request.uri().to_string(), "/path", "origin form");
        answer(200, "hello")
    })
    .await;
    let proxy_server = TunnelProxy::start(server.address).await;
    let client = builder().proxy(proxy(proxy_server.address)).build();
    let request = Request::get(format!("http://{NAME}/path"));
    let response = client.send(request.body(Bytes::new()).unwrap()).await.unwrap();
    assert_eq!(response.body(), "hello");
    assert!(proxy_server.heads()[0].starts_with("CONNECT "));
}

/// A host that resolves to `server` by an address that is not local.
fn by_another_address(server: &Loopback) -> Request<Bytes> {
    let target = format!("http://0.0.0.0:{}/", server.address.port());
    Request::get(target).body(Bytes::new()).unwrap()
}

#[tokio::test]
async fn excepted_and_local_hosts_bypass_proxy() {
    let server = Loopback::plain(|_| async { answer(200, "hello") }).await;
    let proxy_server = TunnelProxy::start(server.address).await;
    let client = builder().proxy(proxy(proxy_server.address)).build();
    assert_eq!(client.send(server.get("/")).await.unwrap().body(), "hello");
    assert!(proxy_server.heads().is_empty());
    client.send(by_another_address(&server)).await.unwrap();
    assert_eq!(proxy_server.heads().len(), 1);
    let exempt = Proxy::new(&format!("http://{}", proxy_server.address).into(), "0.0.0.0/8").unwrap();
    let client = builder().proxy(exempt).build();
    client.send(by_another_address(&server)).await.unwrap();
    assert_eq!(proxy_server.heads().len(), 1);
}

/// A proxy resolves the name of a webhook's receiver itself, without the check.
#[tokio::test]
async fn public_egress_ignores_proxy() {
    let server = Loopback::plain(|_| async { answer(200, "internal") }).await;
    let proxy_server = TunnelProxy::start(server.address).await;
    let guarded = |allow| {
        builder()
            .egress(Egress::PublicOnly { allow })
            .proxy(proxy(proxy_server.address))
            .build()
    };
    let error = guarded(vec![])
        .send(by_another_address(&server))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Blocked);
    let allowed = guarded(vec!["0.0.0.0/8".parse().unwrap()]);
    allowed.send(by_another_address(&server)).await.unwrap();
    assert!(proxy_server.heads().is_empty());
}

/// Returns the error after a proxy that responds with `text` and closes.
async fn error_after(text: String) -> Error {
    let server = Raw::bind().await;
    let address = server.listener.local_addr().unwrap();
    let asking = tokio::spawn(async move {
        let client = builder().proxy(proxy(address)).build();
        client.connect(&host()).await.unwrap_err()
    });
    let mut tcp = server.accept_request().await;
    // the client may close earlier
    let _ = tcp.write_all(text.as_bytes()).await;
    let _ = tcp.shutdown().await;
    let error = asking.await.unwrap();
    let shown = format!("{error} {error:?}");
    assert!(
        shown.contains(NAME) && shown.contains(&address.to_string()),
        "{shown}"
    );
    assert!(!shown.contains("pa55") && !shown.contains("Z3Vl"), "{shown}");
    assert!(!error.was_sent());
    error
}

#[tokio::test]
async fn refusal_of_proxy_differs_from_response_that_is_not_http() {
    let refusal = |status: &str| format!("HTTP/1.1 {status}\r\ncontent-length: 4\r\n\r\nbody");
    let endless = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(16 * 1024));
    for (text, kind, expected) in [
        (
            refusal("407 Proxy Authentication Required"),
            ErrorKind::Proxy,
            "rejected the credentials",
        ),
        (
            refusal("403 Forbidden"),
            ErrorKind::Proxy,
            "(403): allow this host and port",
        ),
        (refusal("302 Found"), ErrorKind::Proxy, "refused to connect"),
        (
            refusal("502 Bad Gateway"),
            ErrorKind::Connect,
            "cannot reach genesys.test:4430 (502)",
        ),
        (refusal("504 Gateway Timeout"), ErrorKind::Connect, "cannot reach"),
        (String::new(), ErrorKind::Connect, "without a response"),
        (
            "HTTP/1.1 200".to_owned(),
            ErrorKind::Connect,
            "without a response",
        ),
        (
            "SSH-2.0-OpenSSH_9.9\r\n".to_owned(),
            ErrorKind::Proxy,
            "is not that of an HTTP proxy",
        ),
        (
            "HTTP/1.1 2000 OK\r\n\r\n".to_owned(),
            ErrorKind::Proxy,
            "is not that of an HTTP proxy",
        ),
        (endless, ErrorKind::Proxy, "is not that of an HTTP proxy"),
        (
            "HTTP/1.1 200 OK\r\n\r\nearly".to_owned(),
            ErrorKind::Proxy,
            "is not that of an HTTP proxy",
        ),
    ] {
        let error = error_after(text.clone()).await;
        assert!(error.to_string().contains(expected), "{text:?}: {error}");
        assert_eq!(error.kind(), kind, "{error}");
    }
}

#[tokio::test]
async fn proxy_response_in_pieces_is_accepted() {
    const CLIENT_HELLO: u8 = 22;
    let server = Raw::bind().await;
    let address = server.listener.local_addr().unwrap();
    let client = builder().proxy(proxy(address)).build();
    let asking = tokio::spawn(async move { client.connect(&host()).await.is_ok() });
    let mut tcp = server.accept_request().await;
    tcp.set_nodelay(true).unwrap();
    for byte in "HTTP/1.0 200 \r\nvia: many hands\r\n\r\n".chars() {
        write(&mut tcp, &byte.to_string()).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(tcp.read_u8().await.unwrap(), CLIENT_HELLO, "the tunnel is used");
    drop(tcp);
    assert!(!asking.await.unwrap());
}

#[tokio::test]
async fn unreachable_proxy_is_named_in_error() {
    let (socket, _) = closed_port();
    let client = builder().proxy(proxy(socket.local_addr().unwrap())).build();
    let error = client.send(get(&host(), "/")).await.unwrap_err();
    assert_eq!((error.kind(), error.was_sent()), (ErrorKind::Connect, false));
    assert!(
        error.to_string().contains("cannot connect to the proxy"),
        "{error}"
    );
}

#[tokio::test]
async fn connect_timeout_includes_proxy() {
    let server = Raw::bind().await;
    let clock = Clock::system();
    let client = builder()
        .clock(clock.clone())
        .proxy(proxy(server.listener.local_addr().unwrap()))
        .build();
    let asking = tokio::spawn(async move { client.connect(&host()).await.unwrap_err() });
    let mut silent = server.accept_request().await;
    write(&mut silent, "HTTP/1.1 200").await;
    clock.advance(Duration::from_secs(9));
    assert!(!asking.is_finished());
    let error = advance_until(&clock, asking).await;
    assert_eq!((error.kind(), error.was_sent()), (ErrorKind::Timeout, false));
    assert!(error.to_string().contains("through the proxy"), "{error}");
}
