//! Clusters with the PostgreSQL of the machine.

#![expect(clippy::unwrap_used, reason = "a test ends where its own setup fails")]

use std::io::ErrorKind::ConnectionReset;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use test_postgres::{Cluster, leave_out};

/// A cluster of its own. `None` if the machine lacks PostgreSQL.
fn start(test: &str) -> Option<Cluster> {
    Cluster::start().map_err(|missing| leave_out(test, missing)).ok()
}

fn folder(connection_string: &str) -> PathBuf {
    let (_, host) = connection_string.split_once("host=").unwrap();
    host.split_once(' ').unwrap().0.into()
}

/// A client whose session is ready for a statement, or the refusal of the socket.
fn connect(folder: &Path) -> std::io::Result<UnixStream> {
    const PROTOCOL: u32 = 3 << 16;
    const READY: [u8; 6] = *b"Z\0\0\0\x05I";
    const PARAMETERS: [u8; 15] = *b"user\0postgres\0\0";
    const LENGTH: u32 = 8 + PARAMETERS.len() as u32;
    let mut client = UnixStream::connect(folder.join(".s.PGSQL.5432"))?;
    client.write_all(&[&LENGTH.to_be_bytes()[..], &PROTOCOL.to_be_bytes(), &PARAMETERS].concat())?;
    let mut answer = Vec::new();
    while !answer.ends_with(&READY) {
        let mut part = [0; 512];
        let read = client.read(&mut part)?;
        assert!(read > 0, "{answer:?}");
        answer.extend_from_slice(&part[..read]);
    }
    Ok(client)
}

fn has_ended(mut client: UnixStream) -> bool {
    // a reset is an end too
    matches!(
        client.read_to_end(&mut Vec::new()).map_err(|error| error.kind()),
        Ok(_) | Err(ConnectionReset)
    )
}

#[test]
fn databases_of_the_shared_cluster_are_separate() {
    let shared = match Cluster::shared() {
        Ok(shared) => shared,
        Err(missing) => return leave_out("databases_of_the_shared_cluster_are_separate", missing),
    };
    let databases = [shared.create_database(), shared.create_database()];
    for database in &databases {
        shared.query(database, "CREATE TABLE visits (guest text, number int)");
        shared.query(database, "INSERT INTO visits VALUES ('é', 1), ('b', 2)");
        assert_eq!(shared.query(database, "TABLE visits"), "é|1\nb|2");
    }
    assert_eq!(folder(&databases[0]), folder(&databases[1]));
}

#[test]
fn killed_server_starts_again_with_committed_rows() {
    let Some(mut cluster) = start("killed_server_starts_again_with_committed_rows") else {
        return;
    };
    let database = cluster.create_database();
    cluster.query(&database, "CREATE TABLE visits AS SELECT 1");
    assert_eq!(cluster.query(&database, "SHOW fsync"), "on");
    let client = connect(&folder(&database)).unwrap();
    cluster.kill();
    assert!(has_ended(client));
    assert!(connect(&folder(&database)).is_err());
    assert!(folder(&database).join("data/postmaster.pid").exists());
    cluster.start_again();
    assert_eq!(cluster.query(&database, "TABLE visits"), "1");
}

#[test]
fn fast_stop_ends_cleanly_with_a_client_connected() {
    let Some(mut cluster) = start("fast_stop_ends_cleanly_with_a_client_connected") else {
        return;
    };
    let database = cluster.create_database();
    let client = connect(&folder(&database)).unwrap();
    cluster.stop_fast();
    assert!(has_ended(client));
    assert!(!folder(&database).join("data/postmaster.pid").exists());
    cluster.start_again();
    assert_eq!(cluster.query(&database, "SELECT 1"), "1");
}

#[test]
fn dropped_cluster_leaves_no_server_and_no_files() {
    let test = "dropped_cluster_leaves_no_server_and_no_files";
    for kill in [false, true] {
        let Some(mut cluster) = start(test) else {
            return;
        };
        let folder = folder(&cluster.create_database());
        let client = connect(&folder).unwrap();
        if kill {
            cluster.kill();
        }
        drop(cluster);
        assert!(has_ended(client));
        assert!(!folder.exists());
    }
}

#[test]
fn killed_test_process_leaves_no_server_and_no_files() {
    let Some(_) = start("killed_test_process_leaves_no_server_and_no_files") else {
        return;
    };
    let mut process = Command::new(env!("CARGO_BIN_EXE_test-postgres"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let folder = folder(&line);
    let client = connect(&folder).unwrap();
    process.kill().unwrap();
    process.wait().unwrap();
    // the guard of the server has it until it ends
    process
        .stderr
        .take()
        .unwrap()
        .read_to_end(&mut Vec::new())
        .unwrap();
    assert!(has_ended(client));
    assert!(!folder.exists());
}
