//! Units of work on SQLite: a session, an audit entry and an event each, by 64 writers, acknowledged when durable.
//!
//! With the feature `postgres` and a server on this machine, a store of the smallest size is in PostgreSQL. Its figures are those
//! of both processes.
//!
//! Fills one store per size, then measures them in turn, beside the same statements by SQLite alone: on one thread, with
//! nothing sealed or hashed. Then each store is opened again. Prints medians: of units per second, of CPU per unit, user and
//! system, of pages that are written per unit, and how much CPU a unit costs more than in the smallest store.
//!
//! ```sh
//! cargo bench -p guest-store --bench units -- [SESSIONS OF A STORE]...
//! ```
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

mod peer;
mod process;
#[cfg(feature = "postgres")]
mod server;

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use audit::{Actor, Draft, Signer};
use genesys_api::{Clock, entropy};
use guest_store::{
    Change, Event, Keys, Limits, SealKey, Session, SqliteStore, Store, StoreError, Unit, Webhook,
};
use tokio::task::JoinSet;

use self::peer::Peer;
use self::process::{Usage, median};

const SIZES: [usize; 3] = [10_000, 100_000, 1_000_000];
const WRITERS: usize = 64;
/// Writers that fill a store: as many as a transaction can have units.
const FILLERS: usize = 256;
/// Units of a measurement, which are few beside the smallest store.
const UNITS: usize = 1_024;
const ROUNDS: usize = 9;

/// A store under measurement, with what its rounds used.
struct Subject {
    name: String,
    /// Of the file, if it is one.
    path: Option<PathBuf>,
    store: Arc<dyn Store>,
    processes: Vec<u32>,
    rounds: Vec<Usage>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = std::env::args().skip(1);
    let mut sizes: Vec<usize> = arguments.filter_map(|argument| argument.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = SIZES.to_vec();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(&sizes))
}

async fn run(sizes: &[usize]) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let mut subjects = Vec::new();
    for size in sizes {
        let path = folder.path().join(format!("{size}.db"));
        let store = fill(Arc::new(open(&path)?), *size).await?;
        subjects.push(Subject {
            name: format!("{size} sessions"),
            path: Some(path),
            store,
            processes: vec![std::process::id()],
            rounds: Vec::new(),
        });
    }
    let smallest = sizes.iter().min().copied().unwrap_or_default();
    #[cfg(feature = "postgres")]
    let _cluster = match server::start(smallest).await? {
        Some((cluster, subject)) => {
            subjects.push(subject);
            Some(cluster)
        }
        None => None,
    };
    let connection = peer::open(&folder.path().join("peer.db"))?;
    let mut peer = Peer::new(&connection);
    peer.run(smallest)?;
    let mut of_peer = Vec::new();
    for _ in 0..ROUNDS {
        for subject in &mut subjects {
            let before = Usage::of(&subject.processes)?;
            commit(&subject.store, WRITERS, UNITS).await?;
            subject.rounds.push(Usage::of(&subject.processes)? - before);
        }
        let before = Usage::now()?;
        peer.run(UNITS)?;
        of_peer.push(Usage::now()? - before);
    }
    let base = report("the same statements, SQLite alone", &of_peer, None);
    let mut first = None;
    for Subject {
        name,
        path,
        store,
        rounds,
        ..
    } in subjects
    {
        let cpu = report(&name, &rounds, first);
        first.get_or_insert(cpu);
        drop(store);
        let Some(path) = path else { continue };
        let before = Usage::now()?;
        drop(open(&path)?);
        let used = Usage::now()? - before;
        println!(
            "{:>36}  opened again in {:.0} ms, {:.0} ms of CPU; {:.2} of the peer's rate by CPU",
            "",
            used.seconds * 1e3,
            used.cpu * 1e3,
            base / cpu
        );
    }
    Ok(())
}

async fn fill(store: Arc<dyn Store>, size: usize) -> Result<Arc<dyn Store>, Box<dyn Error>> {
    store.commit(Change::PutWebhook(webhook()?).into()).await?;
    commit(&store, FILLERS, size).await?;
    Ok(store)
}

fn open(path: &PathBuf) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(path, keys(), limits())
}

fn limits() -> Limits {
    Limits {
        webhook_queue_rows: u64::MAX,
        ..Limits::default()
    }
}

/// Returns the CPU time per unit.
fn report(what: &str, rounds: &[Usage], first: Option<f64>) -> f64 {
    let each = |used: fn(&Usage) -> f64| median(rounds.iter().map(used)) / UNITS as f64;
    let (seconds, cpu, pages) = (
        each(|used| used.seconds),
        each(|used| used.cpu),
        each(|used| used.pages),
    );
    let growth = 100.0 * (cpu / first.unwrap_or(cpu) - 1.0);
    println!(
        "{what:>36}: {:>6.0} units/s, {:>5.1} us of CPU and {pages:.1} pages a unit, {growth:+.0} %",
        1.0 / seconds,
        cpu * 1e6
    );
    cpu
}

/// Keys that open a file again.
fn keys() -> Keys {
    Keys {
        seal: SealKey::new(&[1; 32]),
        signer: Signer::from_seed("bench", &[2; 32]).expect("a valid name and seed"),
    }
}

/// Commits units by concurrent writers.
async fn commit(store: &Arc<dyn Store>, writers: usize, units: usize) -> Result<(), Box<dyn Error>> {
    let mut writing = JoinSet::new();
    for _ in 0..writers {
        let store = Arc::clone(store);
        writing.spawn(async move {
            for _ in 0..units / writers {
                store.commit(unit()).await?;
            }
            Ok::<_, StoreError>(())
        });
    }
    while let Some(written) = writing.join_next().await {
        written??;
    }
    Ok(())
}

fn unit() -> Unit {
    let now = Clock::system().now().utc;
    let channel = "web".parse().expect("a valid id");
    let mut session = Session::new(
        "shop",
        entropy::uuid().to_string().parse().expect("a valid id"),
        channel,
        now,
    );
    session.document = vec![b'x'; 600].into();
    Unit {
        entries: vec![Draft::new(now, Actor::client("shop"), "session.created").subject(session.pseudonym())],
        events: vec![Event {
            id: session.id.as_str().to_owned(),
            owner: "shop".to_owned(),
            session: session.id.clone(),
            sequence: 1,
            name: "created".to_owned(),
            at: now,
        }],
        change: Some(Change::CreateSession(session)),
        ..Unit::default()
    }
}

fn webhook() -> Result<Webhook, Box<dyn Error>> {
    Ok(Webhook {
        id: "w-1".parse()?,
        name: "crm".to_owned(),
        owner: "shop".to_owned(),
        events: vec!["created".to_owned()],
        enabled: true,
        ordered: false,
        failing_since: None,
        failures: 0,
        rest_until: None,
        version: 0,
        secrets: "secret".into(),
        document: Default::default(),
    })
}
