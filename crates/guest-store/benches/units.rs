//! Units of work on SQLite: a session, an audit entry and an event each, by 64 writers, acknowledged when durable.
//!
//! Fills one store per size, then measures them in turn. Prints the median of units per second and of CPU per unit, user
//! and system, and how much CPU a unit costs more than in the smallest store.
//!
//! ```sh
//! cargo bench -p guest-store --bench units -- [SESSIONS OF A STORE]...
//! ```
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::error::Error;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use audit::{Actor, Draft};
use genesys_api::{Clock, entropy};
use guest_store::{Change, Event, Keys, Limits, Session, SqliteStore, Store, StoreError, Unit, Webhook};
use tokio::task::JoinSet;

const SIZES: [usize; 3] = [10_000, 100_000, 300_000];
const WRITERS: usize = 64;
/// Writers that fill a store: as many as a transaction can have units.
const FILLERS: usize = 256;
/// Units of a measurement, which are few beside the smallest store.
const UNITS: usize = 1_024;
const ROUNDS: usize = 9;

/// A store under measurement, with the seconds and the CPU time per unit of each round.
struct Subject {
    size: usize,
    store: Arc<SqliteStore>,
    seconds: Vec<f64>,
    cpu: Vec<f64>,
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
        let limits = Limits {
            webhook_queue_rows: u64::MAX,
            ..Limits::default()
        };
        let path = folder.path().join(format!("{size}.db"));
        let store = Arc::new(SqliteStore::open(path, Keys::ephemeral(), limits)?);
        store.commit(Change::PutWebhook(webhook()?).into()).await?;
        commit(&store, FILLERS, *size).await?;
        subjects.push(Subject {
            size: *size,
            store,
            seconds: Vec::new(),
            cpu: Vec::new(),
        });
    }
    for _ in 0..ROUNDS {
        for subject in &mut subjects {
            let (begun, spent) = (Clock::system().now().instant, cpu()?);
            commit(&subject.store, WRITERS, UNITS).await?;
            let lasted = Clock::system().now().instant - begun;
            subject.seconds.push(lasted.as_secs_f64() / UNITS as f64);
            subject.cpu.push((cpu()? - spent).as_secs_f64() / UNITS as f64);
        }
    }
    let mut smallest = None;
    for subject in &mut subjects {
        let (seconds, cpu) = (median(&mut subject.seconds), median(&mut subject.cpu));
        let growth = cpu / *smallest.get_or_insert(cpu) - 1.0;
        println!(
            "{:>8} sessions: {:.0} units/s, {:.1} us of CPU a unit, {:+.0} %",
            subject.size,
            1.0 / seconds,
            cpu * 1e6,
            growth * 100.0
        );
    }
    Ok(())
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Commits units by concurrent writers.
async fn commit(store: &Arc<SqliteStore>, writers: usize, units: usize) -> Result<(), Box<dyn Error>> {
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
        failing_since: None,
        failures: 0,
        rest_until: None,
        version: 0,
        secrets: "secret".into(),
        document: Default::default(),
    })
}

/// CPU time of the threads of this process so far.
fn cpu() -> Result<Duration, Box<dyn Error>> {
    let mut spent = 0;
    for thread in fs::read_dir("/proc/self/task")? {
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        let nanos = text.split(' ').next().unwrap_or_default();
        spent += nanos.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(spent))
}
