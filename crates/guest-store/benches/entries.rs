//! Durable audit entries on SQLite, by 64 writers, each acknowledged. Beside them, in the same run: SQLite with entries only,
//! 64 a transaction, and a file to which 64 lines are appended and synced.
//!
//! ```sh
//! cargo bench -p guest-store --bench entries
//! # the calls of fsync, of all but the last peer
//! strace -fc -e trace=fsync target/release/deps/entries-*
//! ```
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

mod process;

use std::error::Error;
use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;

use audit::{Actor, Draft};
use genesys_api::Clock;
use guest_store::{Keys, Limits, SqliteStore, Store, StoreError, Unit};
use rusqlite::{Connection, params};
use tokio::task::JoinSet;

use self::process::{Usage, median};

const WRITERS: usize = 64;
/// Entries of a measurement.
const ENTRIES: usize = 64 * WRITERS;
const ROUNDS: usize = 9;
/// Bytes of an entry of the peers.
const BYTES: usize = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    let store = SqliteStore::open(path("store.db"), Keys::ephemeral(), Limits::default())?;
    let store = Arc::new(store);
    let mut only_entries = OnlyEntries::open(Connection::open(path("peer.db"))?)?;
    let mut file = File::create(path("peer.jsonl"))?;
    let mut rounds = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        let before = Usage::now()?;
        runtime.block_on(log(&store))?;
        rounds[0].push(Usage::now()? - before);
        let before = Usage::now()?;
        only_entries.append()?;
        rounds[1].push(Usage::now()? - before);
        let before = Usage::now()?;
        append(&mut file)?;
        rounds[2].push(Usage::now()? - before);
    }
    let names = ["guest-store", "SQLite, entries only", "raw append"];
    for (name, rounds) in names.iter().zip(&rounds) {
        let each = |used: fn(&Usage) -> f64| median(rounds.iter().map(used)) / ENTRIES as f64;
        println!(
            "{name:>24}: {:>7.0} entries/s, {:>5.2} us of CPU and {:.2} pages an entry",
            1.0 / each(|used| used.seconds),
            each(|used| used.cpu) * 1e6,
            each(|used| used.pages)
        );
    }
    Ok(())
}

async fn log(store: &Arc<SqliteStore>) -> Result<(), Box<dyn Error>> {
    let mut writing = JoinSet::new();
    for _ in 0..WRITERS {
        let store = Arc::clone(store);
        writing.spawn(async move {
            for _ in 0..ENTRIES / WRITERS {
                let now = Clock::system().now().utc;
                let unit = Unit {
                    entries: vec![Draft::new(now, Actor::client("shop"), "session.read")],
                    ..Unit::default()
                };
                store.commit(unit).await?;
            }
            Ok::<_, StoreError>(())
        });
    }
    while let Some(written) = writing.join_next().await {
        written??;
    }
    Ok(())
}

/// SQLite with the table of the entries.
struct OnlyEntries {
    connection: Connection,
    entries: i64,
}

impl OnlyEntries {
    fn open(connection: Connection) -> rusqlite::Result<Self> {
        connection.execute_batch(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=4000;
             CREATE TABLE entries (seq INTEGER PRIMARY KEY, bytes BLOB NOT NULL, mac BLOB NOT NULL) STRICT;",
        )?;
        Ok(Self {
            connection,
            entries: 0,
        })
    }

    fn append(&mut self) -> rusqlite::Result<()> {
        let mut insert = self
            .connection
            .prepare("INSERT INTO entries VALUES (?1, ?2, ?3)")?;
        for _ in 0..ENTRIES / WRITERS {
            self.connection.execute_batch("BEGIN IMMEDIATE")?;
            for _ in 0..WRITERS {
                self.entries += 1;
                insert.execute(params![self.entries, [1_u8; BYTES], [2_u8; 32]])?;
            }
            self.connection.execute_batch("COMMIT")?;
        }
        Ok(())
    }
}

fn append(file: &mut File) -> std::io::Result<()> {
    for _ in 0..ENTRIES / WRITERS {
        file.write_all(&[b'x'; BYTES * WRITERS])?;
        file.sync_data()?;
    }
    Ok(())
}
