//! One endpoint among a hundred that never answers: what it costs the others.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use genesys_api::{Clock, Hosts, WebhookId};
use genesys_sim::Pki;
use guest_sessions::{DeliveryPageQuery, DeliveryState};
use guest_store::{Keys, Limits, SqliteStore};
use guest_suite::direct::{Direct, DirectConfig};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use webhook::Dispatcher;

use crate::process::Outcome;
use crate::{CHANNEL, OF_OWNER, ROUNDS, client, guest, median, subscription};

/// Owners, each with as many webhooks as a gateway allows.
const OWNERS: usize = 5;
/// Sessions that each owner creates in a round.
const SESSIONS: usize = 8;

/// Measures a store with a paused webhook, and one in which it is enabled and hangs, in turn.
pub(crate) fn bench(runtime: &Runtime, folder: &Path, url: &str, pki: &Pki) -> Outcome<()> {
    // the system accepts its connections, and nobody answers
    let hanging = TcpListener::bind("127.0.0.1:0")?;
    let hanging_url = format!("https://{}/crm", hanging.local_addr()?);
    let mut fleets = Vec::new();
    for hangs in [false, true] {
        let dispatcher = Dispatcher::new(client(pki)?);
        let path = folder.join(format!("hangs-{hangs}.db"));
        let urls = [url, &hanging_url];
        fleets.push(runtime.block_on(Fleet::open(&path, urls, hangs, dispatcher))?);
    }
    // deliveries a second, and the latencies at the median and at 99 %, each in both stores
    let mut figures: [[Vec<f64>; 2]; 3] = Default::default();
    for round in 0..=ROUNDS {
        for (index, fleet) in fleets.iter().enumerate() {
            let found = runtime.block_on(fleet.round())?;
            if round > 0 {
                figures
                    .iter_mut()
                    .zip(found)
                    .for_each(|(row, figure)| row[index].push(figure));
            }
        }
    }
    let of = OWNERS * OF_OWNER;
    println!("\nthe others beside one of {of} endpoints that hangs; medians of {ROUNDS} rounds:\n");
    println!("{:34}{:>12}{:>12}{:>12}", "", "paused", "hangs", "");
    let names = ["deliveries a second", "latency, median, ms", "latency, 99 %, ms"];
    for (name, [paused, hangs]) in names.iter().zip(&mut figures) {
        let (paused, hangs) = (median(paused), median(hangs));
        println!("{name:34}{paused:>12.1}{hangs:>12.1}{:>12.3}", hangs / paused);
    }
    Ok(())
}

/// A store with webhooks of several owners, whose deliveries a background task makes.
struct Fleet {
    direct: Direct,
    clock: Clock,
    /// The webhooks that answer, with their owners.
    others: Vec<(String, WebhookId)>,
    task: JoinHandle<()>,
}

impl Fleet {
    async fn open(path: &Path, urls: [&str; 2], hangs: bool, dispatcher: Dispatcher) -> Outcome<Self> {
        let store = Arc::new(SqliteStore::open(path, Keys::ephemeral(), Limits::default())?);
        let config = DirectConfig::with_store(Hosts::of_domain("mypurecloud.de")?, store)?;
        let config = config.with_channel(CHANNEL.parse()?, "none".parse()?);
        let direct = Direct::open(config).await?;
        let mut others = Vec::new();
        for number in 0..OWNERS * OF_OWNER {
            let owner = format!("owner-{}", number / OF_OWNER);
            let is_other = number > 0;
            let url = urls[usize::from(!is_other)];
            let mut wanted = subscription(&format!("crm-{number}"), url, "created")?;
            wanted.enabled = is_other || hangs;
            let registered = direct.ensure_webhook(&owner, wanted, None).await?;
            others.extend(is_other.then_some((owner, registered.webhook.id)));
        }
        let running = direct.clone();
        let task = tokio::spawn(async move { running.background_tasks(dispatcher).await });
        Ok(Self {
            direct,
            clock: Clock::system(),
            others,
            task,
        })
    }

    /// Creates sessions, and waits until the others have their events. Returns deliveries a second, and the latencies.
    async fn round(&self) -> Outcome<[f64; 3]> {
        let start = self.clock.now().utc;
        for _ in 0..SESSIONS {
            for owner in 0..OWNERS {
                let owner = format!("owner-{owner}");
                self.direct.create(&owner, guest(&self.clock)?, None).await?;
            }
        }
        let waits: BTreeSet<_> = self.others.iter().map(|(_, id)| id).collect();
        while self
            .direct
            .store()
            .stats()
            .await?
            .queues
            .keys()
            .any(|id| waits.contains(id))
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (mut latencies, mut end) = (Vec::new(), start);
        for (owner, id) in &self.others {
            let delivered = DeliveryPageQuery {
                state: DeliveryState::Delivered,
                after: None,
            };
            let page = self.direct.deliveries(owner, id, delivered).await?;
            for delivery in page.deliveries.iter().take(SESSIONS) {
                let at = delivery.attempts.last().ok_or("no attempt")?.at;
                latencies.push((at - delivery.timestamp).as_seconds_f64() * 1e3);
                end = end.max(at);
            }
        }
        latencies.sort_by(f64::total_cmp);
        let count = latencies.len();
        let rate = count as f64 / (end - start).as_seconds_f64();
        Ok([rate, latencies[count / 2], latencies[count * 99 / 100]])
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.task.abort();
    }
}
