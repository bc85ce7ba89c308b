//! Wrong methods on every path, and unknown paths.

use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Fixture, Rejection, path_of, rejection};
use crate::api::{Call, SESSIONS, WEBHOOKS};
use crate::world::World;

pub(super) fn rows(fixture: &Fixture) -> Vec<Rejection> {
    let live = |rest: &str| path_of(&fixture.live, rest);
    let one_webhook = format!("{WEBHOOKS}/{}", fixture.webhook["id"].as_str().unwrap());
    let mut rows = Vec::new();
    for (path, allow) in [
        ("/oauth/token", "POST"),
        ("/health/live", "GET"),
        ("/health/ready", "GET"),
        ("/api/v2/audit/entries", "GET"),
        ("/api/v2/audit/proof", "GET"),
        (SESSIONS, "POST"),
        (&format!("{SESSIONS}/metrics"), "GET"),
        (&live(""), "GET, DELETE"),
        (&live("/refresh"), "POST"),
        (&live("/consent"), "PATCH"),
        (&live("/audit"), "GET"),
        (&live("/socket"), "GET"),
        (&live("/attachments/one"), "GET, PUT, DELETE"),
        (WEBHOOKS, "GET, POST"),
        (&one_webhook, "GET, PUT, DELETE"),
    ] {
        for method in [
            "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW",
        ] {
            if !allow.split(", ").any(|allowed| allowed == method) {
                let call = Call::new(Method::from_bytes(method.as_bytes()).unwrap(), path);
                rows.push(
                    rejection(
                        format!("{method} {path}"),
                        call.bearer(&fixture.api.token),
                        405,
                        "method.not.allowed",
                    )
                    .with("allow", allow),
                );
            }
        }
    }
    for path in [
        "/",
        "/api",
        "/api/v2",
        &format!("{SESSIONS}/"),
        &live("/"),
        &live("/everything"),
        &live("/socket/more"),
        "//oauth/token",
        "/oauth/token/",
        "/api/v3/webhooks",
        &format!("{WEBHOOKS}/"),
    ] {
        rows.push(rejection(
            format!("GET {path}"),
            Call::get(path).bearer(&fixture.api.token),
            404,
            "not.found",
        ));
    }
    rows
}

#[tokio::test]
async fn request_without_one_host_or_with_another_coding_is_refused() {
    let world = World::start().await;
    let answer = async |head: &str| {
        let mut stream = TcpStream::connect(world.gateway.address()).await.unwrap();
        let request = format!("POST /oauth/token HTTP/1.1\r\nconnection: close\r\n{head}\r\n0\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let chunked = "host: a\r\ntransfer-encoding: chunked\r\n";
    assert!(answer(chunked).await.starts_with("HTTP/1.1 415 "), "it is read");
    for head in [
        "transfer-encoding: chunked\r\n",
        "host: a\r\nhost: a\r\ntransfer-encoding: chunked\r\n",
        "host: a b\r\ntransfer-encoding: chunked\r\n",
        "host: a\r\ntransfer-encoding: gzip, chunked\r\n",
        "host: a\r\ntransfer-encoding: chunked, chunked\r\n",
    ] {
        let answer = answer(head).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{head}: {answer}");
        assert!(answer.contains("\"code\":\"bad.request\""), "{answer}");
    }
    world.stop().await;
}
