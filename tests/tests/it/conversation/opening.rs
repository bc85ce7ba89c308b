//! A conversation whose opening takes long: the files of its deployment are not served.

use std::io::ErrorKind;
use std::time::Duration;

use genesys_sim::Rules;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use super::session;
use super::upstream::world_with;
use crate::page::{Page, handshake, soon, upgrade};
use crate::proxy::Proxy;
use crate::world::World;

/// A world whose gateway waits for the files of its deployment, the listener that serves none, and the proxy to its
/// simulator.
async fn slow_world() -> (World, TcpListener, Proxy) {
    let files = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start().await;
    let cdn = format!("cdn = \"http://{}\"", files.local_addr().unwrap());
    let world = world_with(&proxy, Rules::default(), &cdn).await;
    (world, files, proxy)
}

/// Opens a socket of a session, and waits until the gateway requests both files.
async fn open(world: &World, files: &TcpListener) -> (Page, [TcpStream; 2]) {
    let session = session(world).await;
    let mut page = Page::open(upgrade(session["websocketUrl"].as_str().unwrap()))
        .await
        .unwrap();
    page.send_frame(&handshake(&session)).await;
    let asked = async || soon(files.accept()).await.unwrap().0;
    let requests = [asked().await, asked().await];
    (page, requests)
}

/// Whether the gateway still waits for an answer.
async fn is_awaited(request: &TcpStream) -> bool {
    request.readable().await.unwrap();
    let mut bytes = [0; 4096];
    while let Ok(read) = request.try_read(&mut bytes) {
        if read == 0 {
            return false;
        }
    }
    request.try_read(&mut bytes).unwrap_err().kind() == ErrorKind::WouldBlock
}

#[tokio::test]
async fn relay_serves_its_sockets_while_the_conversation_is_opened() {
    let (world, files, _proxy) = slow_world().await;
    let (mut page, requests) = open(&world, &files).await;
    let id = page.message("early").await;
    let queued = page.until("delivery").await;
    assert_eq!(queued, json!({ "type": "delivery", "id": id, "state": "queued" }));
    for request in &requests {
        assert!(is_awaited(request).await);
    }
    world.clock.advance(Duration::from_secs(5));
    page.until("handshake.accepted").await;
    assert_eq!(page.delivery("sent").await["id"], id.as_str());
    world.stop().await;
}

#[tokio::test]
async fn shutdown_does_not_wait_until_the_conversation_is_opened() {
    let (world, files, _proxy) = slow_world().await;
    let (mut page, _requests) = open(&world, &files).await;
    let id = page.message("early").await;
    page.until("delivery").await;
    let (simulator, gateway) = (world.simulator, world.gateway);
    let (failed, ()) = tokio::join!(
        async {
            let failed = page.delivery("failed").await;
            assert_eq!(page.closed().await, Some(1001));
            failed
        },
        gateway.stop(),
    );
    assert_eq!(failed["id"], id.as_str());
    assert_eq!(failed["code"], "not.sent");
    assert_eq!(simulator.counters().sessions, 0);
    simulator.stop().await;
}
