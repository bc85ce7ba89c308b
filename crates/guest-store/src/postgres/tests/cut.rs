//! A connection that is cut at the moment of a COMMIT.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use super::*;

/// The part of a COMMIT that is lost with its connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Loss {
    Request,
    Answer,
}

type Next = Arc<Mutex<Option<Loss>>>;

/// Passes connections on to the socket of a server. Returns the port.
fn proxy(socket: PathBuf, next: Next) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let (socket, next) = (socket.clone(), Arc::clone(&next));
            thread::spawn(move || pass(client, &socket, &next));
        }
    });
    port
}

fn pass(mut client: TcpStream, socket: &Path, next: &Next) {
    let mut server = UnixStream::connect(socket).unwrap();
    let (mut answers, mut receiver) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let is_cut = Arc::new(Mutex::new(false));
    thread::spawn({
        let is_cut = Arc::clone(&is_cut);
        move || {
            let mut bytes = [0; 8192];
            while let Ok(read @ 1..) = answers.read(&mut bytes) {
                if *is_cut.lock().unwrap() || receiver.write_all(&bytes[..read]).is_err() {
                    break;
                }
            }
            let _closed = (
                receiver.shutdown(Shutdown::Both),
                answers.shutdown(Shutdown::Both),
            );
        }
    });
    let mut bytes = [0; 8192];
    while let Ok(read @ 1..) = client.read(&mut bytes) {
        let request = &bytes[..read];
        if request.windows(7).any(|part| part == b"COMMIT\0") {
            match next.lock().unwrap().take() {
                Some(Loss::Request) => break,
                Some(Loss::Answer) => *is_cut.lock().unwrap() = true,
                None => {}
            }
        }
        if server.write_all(request).is_err() {
            break;
        }
    }
    let _closed = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Write));
}

#[tokio::test]
async fn cut_commit_is_answered_as_it_ended() {
    if is_left_out() {
        return;
    }
    let cluster = Cluster::shared().expect("it is not left out");
    let local = cluster.create_database();
    let (server, database) = local.split_once(" port=5432 ").expect("it has the port");
    let folder = server.strip_prefix("host=").expect("it has the folder");
    let next = Next::default();
    let port = proxy(Path::new(folder).join(".s.PGSQL.5432"), Arc::clone(&next));
    let connection = format!("host=127.0.0.1 port={port} {database}").into();
    let store = PostgresStore::open(&connection, &Trust::System, keys(), Limits::default()).unwrap();
    let unit = || Unit {
        entries: vec![draft("g-1")],
        ..Unit::default()
    };
    let mut stored = 0;
    for loss in [Loss::Answer, Loss::Request, Loss::Request, Loss::Answer] {
        *next.lock().unwrap() = Some(loss);
        let outcome = store.commit(unit()).await;
        assert_eq!(*next.lock().unwrap(), None, "nothing was cut");
        match loss {
            Loss::Answer => {
                assert_eq!(outcome.unwrap().entries, stored..stored + 1);
                stored += 1;
            }
            Loss::Request => assert_eq!(outcome.unwrap_err().kind(), StoreErrorKind::Unavailable),
        }
        assert_eq!(store.stats().await.unwrap().audit_entries, stored);
    }
    assert_eq!(store.commit(unit()).await.unwrap().entries, stored..stored + 1);
    crate::verify(&store, |_| {}).await.unwrap();
}
