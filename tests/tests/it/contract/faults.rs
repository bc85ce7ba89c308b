//! Slow bodies, and a store that fails.

use std::io::{Seek as _, Write as _};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::api::{Answer, Call};
use crate::page::soon;
use crate::world::World;

/// Sends all but the end of the body, and moves the clock beyond the gateway's timeout.
pub(super) async fn slow(world: &World, call: Call) -> Answer {
    let request = call.request();
    let mut head = format!(
        "{} {} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n",
        request.method(),
        request.uri(),
        request.body().len() + 1
    );
    for (name, value) in request.headers() {
        head += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    let mut tcp = TcpStream::connect(world.gateway.address()).await.unwrap();
    tcp.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    tcp.write_all(request.body()).await.unwrap();
    timed_out(world, tcp, &call).await
}

/// The answer to a call whose body is not complete, while the clock is moved beyond the gateway's timeout.
pub(super) async fn timed_out(world: &World, mut tcp: TcpStream, call: &Call) -> Answer {
    let mut text = String::new();
    let answered = async {
        let mut read = std::pin::pin!(tcp.read_to_string(&mut text));
        // the start of the wait is not visible, so the clock is moved until it ends
        let mut again = tokio::time::interval(Duration::from_millis(10));
        loop {
            tokio::select! {
                read = &mut read => return read.map(|_| ()),
                _ = again.tick() => world.clock.advance(Duration::from_secs(10)),
            }
        }
    };
    soon(answered).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let answer = Answer {
        status: status.parse().unwrap(),
        headers: lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| {
                (
                    name.parse::<HeaderName>().unwrap(),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect::<HeaderMap>(),
        text: body.to_owned(),
    };
    call.check(&answer);
    answer
}

/// Writes over the gateway's database, below its feet.
pub(super) fn destroy(world: &World) {
    if world.is_in_postgres() {
        return world.execute("ALTER SCHEMA guest_store RENAME TO moved");
    }
    for name in ["gateway.db", "gateway.db-wal", "gateway.db-shm"] {
        let path = world.folder.path().join(name);
        let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        let length = file.metadata().unwrap().len();
        file.rewind().unwrap();
        file.write_all(&vec![0xA5; usize::try_from(length).unwrap()])
            .unwrap();
    }
}
