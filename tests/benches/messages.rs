//! CPU time of the gateway for a guest's message: page, gateway, Genesys, the reply, and back to the page. All over TLS.
//!
//! Simulator and guests are one process, the gateway is another. All guests talk at once, and each waits for
//! a reply before its next message. Gateways are measured in turn, and of each the median of the rounds is printed.
//!
//! ```sh
//! cargo bench -p end-to-end --bench messages
//! # beside the gateway of another revision
//! GUEST_GATEWAY_BEFORE=../before/target/release/guest-gateway cargo bench -p end-to-end --bench messages
//! ```
#![expect(clippy::print_stdout, reason = "a bench prints its figures on stdout")]

mod cpu;
mod gateway;
mod guests;
#[expect(dead_code, reason = "its processes get no requests")]
mod process;

use genesys_sim::{LOOPBACK, throwaway_ca};
use guest_suite::GuestSession;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use self::cpu::{Row, cpu_per_request};
use self::gateway::{Gateway, suite};
use self::guests::{exchange, open_sessions, unlimited_simulator};
use self::process::Outcome;

/// Guests of a gateway.
const GUESTS: usize = 200;
/// Messages of a guest in a round. The gateway's own pace allows as many in a burst.
const MESSAGES: usize = 3;
/// Rounds that are counted, after one that is not.
const ROUNDS: usize = 9;

fn main() -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let pki = throwaway_ca(&LOOPBACK)?;
    let simulator = runtime.block_on(unlimited_simulator(&pki))?;
    let (genesys, deployment) = (simulator.host(), simulator.deployment_id());
    let mut measured = vec![(
        Row::new("guest-gateway"),
        Gateway::start(&pki, genesys, deployment)?,
        Vec::new(),
    )];
    if let Some(gateway) = Gateway::start_earlier(&pki, genesys, deployment)? {
        measured.push((Row::new("guest-gateway, other revision"), gateway, Vec::new()));
    }
    for (_, gateway, guests) in &mut measured {
        let suite = suite(&gateway.host, &pki)?;
        runtime.block_on(open_sessions(&suite, guests, GUESTS))?;
    }
    for round in 0..=ROUNDS {
        for (row, gateway, guests) in &mut measured {
            let [cost] = cpu_per_request(GUESTS * MESSAGES, [gateway.process.id()], || {
                talk(&runtime, guests)
            })?;
            if round > 0 {
                row.rounds.push(cost);
            }
        }
    }
    println!("CPU per message and reply, {GUESTS} guests at once; medians of {ROUNDS} rounds:\n");
    let baseline = measured.last().map_or(1.0, |(row, ..)| row.median());
    measured.iter().for_each(|(row, ..)| row.report(baseline));
    Ok(())
}

/// Each guest sends its messages and waits for each reply.
fn talk(runtime: &Runtime, guests: &mut Vec<GuestSession>) -> Outcome<()> {
    runtime.block_on(async {
        let mut talking = JoinSet::new();
        for mut guest in guests.drain(..) {
            talking.spawn(async move {
                for _ in 0..MESSAGES {
                    exchange(&mut guest).await?;
                }
                Outcome::Ok(guest)
            });
        }
        while let Some(talked) = talking.join_next().await {
            guests.push(talked??);
        }
        Ok(())
    })
}
