//! CPU time of a webhook delivery over TLS: leased, rendered, signed, sent, settled and audited on SQLite. It stands beside the
//! signed call alone, and beside the same with 1,000 webhooks in the store, in the same run. Then the rate and the latency of
//! 99 endpoints beside one that hangs.
//!
//! CPU is what the scheduler counted for all threads of this process, user and system. The receiver is another process. Rounds
//! are interleaved, and of each figure the median is printed.
//!
//! ```sh
//! cargo bench -p end-to-end --bench deliveries
//! ```
#![expect(clippy::print_stdout, reason = "a bench prints its figures on stdout")]

#[expect(dead_code, reason = "the other benches use the rest")]
mod bare;
mod hanging;
#[expect(dead_code, reason = "the other benches use the rest")]
mod process;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use genesys_api::{Clock, Hosts, entropy};
use genesys_http::{Client, ClientBuilder, Egress, Tls};
use genesys_sim::{LOOPBACK, Pki, throwaway_ca};
use guest_payload::{Attributes, Choice, Consent, Evidence, NewGuest};
use guest_sessions::{PreviewBody, SubscriptionBody};
use guest_store::{Keys, Limits, SqliteStore};
use guest_suite::direct::{Direct, DirectConfig};
use secrecy::ExposeSecret as _;
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use webhook::{Attempt, Dispatcher, MessageId, Secret, Subscription};

use self::bare::{CERTIFICATE, KEY, SESSION};
use self::process::{Outcome, Process};

/// Deliveries of a round.
const DELIVERIES: usize = 512;
/// Deliveries at once.
const AT_ONCE: usize = 16;
/// Webhooks in the stores.
const WEBHOOKS: [usize; 2] = [1, 1_000];
/// Webhooks of an owner, as a gateway allows.
const OF_OWNER: usize = 20;
/// Rounds that are counted, after one that is not.
const ROUNDS: usize = 5;
/// The argument that makes this program the receiver.
const RECEIVER: &str = "receiver";
const OWNER: &str = "shop";
const CHANNEL: &str = "web-channel";

fn main() -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [RECEIVER, folder] => bare::serve(&runtime, Path::new(folder)),
        _ => bench(&runtime),
    }
}

fn bench(runtime: &Runtime) -> Outcome<()> {
    let (pki, folder) = (throwaway_ca(&LOOPBACK)?, tempfile::tempdir()?);
    fs::write(folder.path().join(CERTIFICATE), &pki.cert_pem)?;
    fs::write(folder.path().join(KEY), pki.key_pem.expose_secret())?;
    fs::write(folder.path().join(SESSION), "")?;
    let mut command = Command::new(std::env::current_exe()?);
    let mut receiver = Process::start(command.arg(RECEIVER).arg(folder.path()))?;
    let url = format!("https://{}/crm", receiver.line()?);
    let dispatcher = Dispatcher::new(client(&pki)?);
    let mut senders = Vec::new();
    for webhooks in WEBHOOKS {
        senders.push(runtime.block_on(Sender::open(&folder, &url, webhooks))?);
    }
    let body = runtime.block_on(senders[0].body())?;
    let mut rows = vec![Vec::new(); 1 + senders.len()];
    for round in 0..=ROUNDS {
        let mut costs = vec![cpu_each(|| runtime.block_on(call(&dispatcher, &url, &body)))?];
        for sender in &senders {
            runtime.block_on(sender.create())?;
            costs.push(cpu_each(|| runtime.block_on(sender.deliver(&dispatcher)))?);
        }
        if round > 0 {
            rows.iter_mut().zip(costs).for_each(|(row, cost)| row.push(cost));
        }
    }
    println!("CPU per delivery, {AT_ONCE} at once; medians of {ROUNDS} rounds:\n");
    let medians: Vec<f64> = rows.iter_mut().map(|row| median(row)).collect();
    let names = WEBHOOKS.map(|count| format!("delivery, webhooks in the store: {count}"));
    let names = std::iter::once("signed call alone".to_owned()).chain(names);
    for (name, median) in names.zip(&medians) {
        println!("{name:40}{median:>9.1} µs{:>10.2}", median / medians[0]);
    }
    hanging::bench(runtime, folder.path(), &url, &pki)
}

/// A new guest.
fn guest(clock: &Clock) -> Outcome<NewGuest> {
    let evidence = Evidence::at(clock.now().utc);
    let consent = Consent::together([Choice::Granted; 3], evidence);
    let mut attributes = Attributes::default();
    attributes.insert("source", "web")?;
    Ok(NewGuest {
        attributes,
        ..NewGuest::new(CHANNEL.parse()?, "EU".parse()?, consent)
    })
}

fn client(pki: &Pki) -> Outcome<ClientBuilder> {
    let allow = vec!["127.0.0.0/8".parse()?];
    let client = Client::builder(Tls::only_ca(pki.ca_pem.as_bytes())?);
    Ok(client.egress(Egress::PublicOnly { allow }))
}

/// A webhook for created sessions, or for ended ones, of which there are none.
fn subscription(name: &str, url: &str, event: &str) -> Outcome<Subscription> {
    let values = [format!("webmessaging.guestsession.{event}")];
    let body = json!({
        "name": name, "uri": url, "eventFilters": [{ "predicate": { "type": "event", "values": values } }],
    });
    Ok(SubscriptionBody::parse(body.to_string().as_bytes())?)
}

/// Calls without a store, as a delivery makes them.
async fn call(dispatcher: &Dispatcher, url: &str, body: &Bytes) -> Outcome<()> {
    let mut calls = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (dispatcher, body) = (dispatcher.clone(), body.clone());
        let subscription = subscription("crm", url, "created")?;
        calls.spawn(async move {
            let secret = Secret::generate(entropy::bytes());
            for _ in 0..DELIVERIES / AT_ONCE {
                let attempt = Attempt {
                    id: &MessageId::generate(entropy::bytes()),
                    target: &subscription.target,
                    headers: &subscription.headers,
                    secret: &secret,
                    old_secrets: &[],
                    body: body.clone(),
                };
                let (outcome, _) = dispatcher.deliver_and_read(&attempt).await;
                outcome.status().ok_or("no answer")?;
            }
            Outcome::Ok(())
        });
    }
    finished(calls).await
}

/// A store with a number of webhooks, one of which gets what is created.
struct Sender {
    direct: Direct,
    clock: Clock,
}

impl Sender {
    async fn open(folder: &TempDir, url: &str, webhooks: usize) -> Outcome<Self> {
        let limits = Limits {
            webhook_leases: AT_ONCE,
            ..Limits::default()
        };
        let path = folder.path().join(format!("{webhooks}.db"));
        let store = Arc::new(SqliteStore::open(path, Keys::ephemeral(), limits)?);
        let hosts = Hosts::of_domain("mypurecloud.de")?;
        let config = DirectConfig::with_store(hosts, store)?;
        let config = config.with_channel(CHANNEL.parse()?, "none".parse()?);
        let (clock, direct) = (Clock::system(), Direct::open(config).await?);
        let wanted = subscription("crm", url, "created")?;
        direct.ensure_webhook(OWNER, wanted, None).await?;
        for number in 1..webhooks {
            let idle = subscription(&format!("idle-{number}"), url, "ended")?;
            let owner = format!("owner-{}", number / OF_OWNER);
            direct.ensure_webhook(&owner, idle, None).await?;
        }
        Ok(Self { direct, clock })
    }

    /// Creates the sessions of a round.
    async fn create(&self) -> Outcome<()> {
        for _ in 0..DELIVERIES {
            self.direct.create(OWNER, guest(&self.clock)?, None).await?;
        }
        Ok(())
    }

    /// Makes the deliveries of a round.
    async fn deliver(&self, dispatcher: &Dispatcher) -> Outcome<()> {
        let (mut delivering, mut made) = (JoinSet::new(), 0);
        while made < DELIVERIES {
            for leased in self.direct.lease_due(AT_ONCE).await?.deliveries {
                let (direct, dispatcher) = (self.direct.clone(), dispatcher.clone());
                delivering.spawn(async move { direct.deliver(&dispatcher, leased).await });
            }
            delivering.join_next().await.ok_or("nothing is due")???;
            made += 1;
        }
        Ok(())
    }

    /// The body of an event.
    async fn body(&self) -> Outcome<Bytes> {
        let session = self.direct.create("owner-0", guest(&self.clock)?, None).await?;
        let session = session.session;
        let idle = subscription("preview", "https://crm.invalid/", "ended")?;
        let id = self
            .direct
            .ensure_webhook("owner-0", idle, None)
            .await?
            .webhook
            .id;
        let preview = self
            .direct
            .preview_webhook("owner-0", &id, &PreviewBody::Session(session.id))
            .await?;
        Ok(preview.body.ok_or("no body")?.to_string().into())
    }
}

async fn finished(mut tasks: JoinSet<Outcome<()>>) -> Outcome<()> {
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// CPU time of `work` in this process per delivery, in µs.
fn cpu_each(work: impl FnOnce() -> Outcome<()>) -> Outcome<f64> {
    let before = cpu()?;
    work()?;
    Ok((cpu()? - before).as_secs_f64() * 1e6 / DELIVERIES as f64)
}

/// The CPU time of all threads of this process.
fn cpu() -> Outcome<Duration> {
    let mut total = Duration::ZERO;
    for thread in fs::read_dir("/proc/self/task")? {
        let spent = fs::read_to_string(thread?.path().join("schedstat"))?;
        let nanoseconds = spent.split(' ').next().ok_or("no schedstat")?;
        total += Duration::from_nanos(nanoseconds.parse()?);
    }
    Ok(total)
}

fn median(row: &mut [f64]) -> f64 {
    row.sort_by(f64::total_cmp);
    row[row.len() / 2]
}
