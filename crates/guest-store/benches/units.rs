//! Units of work on SQLite: a session, an audit entry and an event each, by 64 writers, acknowledged when durable.
//!
//! Prints units per second and CPU per unit, user and system, for each round on one file that grows.
//!
//! ```sh
//! cargo bench -p guest-store --bench units -- [UNITS OF A ROUND] [ROUNDS]
//! ```
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::error::Error;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use audit::{Actor, Draft};
use genesys_api::Clock;
use guest_store::{Change, Event, Keys, Limits, Session, SqliteStore, Store, StoreError, Unit, Webhook};

const WRITERS: usize = 64;
/// Length of a tick of `/proc/self/stat`: 100 a second on Linux.
const TICK: Duration = Duration::from_millis(10);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.parse().ok());
    let (units, rounds) = (arguments.next().unwrap_or(20_000), arguments.next().unwrap_or(3));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(units, rounds))
}

async fn run(units: usize, rounds: usize) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let limits = Limits {
        webhook_queue_rows: u64::MAX,
        ..Limits::default()
    };
    let store = SqliteStore::open(folder.path().join("guest.db"), Keys::ephemeral(), limits)?;
    let store = Arc::new(store);
    store.commit(Change::PutWebhook(webhook()?).into()).await?;
    for round in 0..rounds {
        let (begun, spent) = (Clock::system().now().instant, cpu()?);
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let store = Arc::clone(&store);
            writers.spawn(async move {
                for number in 0..units / WRITERS {
                    let unit = unit(&format!("g-{round}-{writer}-{number}"));
                    store.commit(unit).await?;
                }
                Ok::<_, StoreError>(())
            });
        }
        while let Some(written) = writers.join_next().await {
            written??;
        }
        let lasted = Clock::system().now().instant - begun;
        let spent = cpu()? - spent;
        let count = (units / WRITERS * WRITERS) as f64;
        println!(
            "round {round}: {:.0} units/s, {:.1} us of CPU a unit",
            count / lasted.as_secs_f64(),
            spent.as_secs_f64() * 1e6 / count
        );
    }
    Ok(())
}

fn unit(guest: &str) -> Unit {
    let now = Clock::system().now().utc;
    let (guest, channel) = (guest.parse(), "web".parse());
    let mut session = Session::new(
        "shop",
        guest.expect("a valid id"),
        channel.expect("a valid id"),
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

/// CPU time of this process so far.
fn cpu() -> Result<Duration, Box<dyn Error>> {
    let text = fs::read_to_string("/proc/self/stat")?;
    let after = text.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks = |index: usize| -> Result<u32, Box<dyn Error>> {
        Ok(fields
            .get(index)
            .ok_or("an unknown format of /proc/self/stat")?
            .parse()?)
    };
    Ok(TICK * (ticks(11)? + ticks(12)?))
}
