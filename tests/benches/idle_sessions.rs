//! Resident memory of an idle guest session, and of a token that is kept fresh.
//!
//! Each guest has sent one message over TLS and has read the reply, then is idle. Simulator, guests and the measured
//! program are separate processes. The figure is resident memory (`Rss` of `smaps_rollup`, which is exact where `VmRSS`
//! is not) at two sizes, without the first 1,000 sessions.
//!
//! ```sh
//! cargo bench -p end-to-end --bench idle_sessions
//! # beside the gateway of another revision
//! GUEST_GATEWAY_BEFORE=../before/target/release/guest-gateway cargo bench -p end-to-end --bench idle_sessions
//! ```
#![expect(clippy::print_stdout, reason = "a bench prints its figures on stdout")]

mod gateway;
mod guests;
mod process;

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU32;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use audit::Signer;
use genesys_api::{Clock, DeploymentId, Host, Hosts, entropy};
use genesys_http::{Client, Tls};
use genesys_sim::{LOOPBACK, Pki, Simulator, throwaway_ca};
use guest_store::{Keys, SealKey, SqliteStore};
use guest_suite::GuestSessions;
use guest_suite::direct::{DirectConfig, Organization, Rules};
use token_window::{
    DriverLimits, ExposeSecret as _, Jitter, Refresh, RefreshDriver, RefreshError, RefreshRequest, Tokens,
    Window,
};
use tokio::runtime::Runtime;

use self::gateway::{CHANNEL, Gateway, suite};
use self::guests::{open_sessions, unlimited_simulator};
use self::process::{Outcome, Process, answer};

/// Sessions opened before the measurement. They fill bounded caches: the two page
/// caches of SQLite, of 2 MiB each, are full by then.
const FIRST: usize = 1_000;
/// Sessions that are counted.
const SIZES: [usize; 2] = [500, 1_000];
/// Managed tokens that are counted.
const TOKENS: [usize; 2] = [50_000, 100_000];
/// Allowed difference of the two sizes, in percent.
const MAX_DIFFERENCE: f64 = 5.0;
/// The argument that makes this program the process that holds the conversations itself.
const DIRECT: &str = "direct";
/// The argument that makes this program the process that manages tokens.
const MANAGED: &str = "managed";

fn main() -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [DIRECT, genesys, deployment, folder] => run_direct(
            &runtime,
            &genesys.parse()?,
            deployment.parse()?,
            Path::new(folder),
        ),
        [MANAGED] => run_managed(&runtime),
        _ => bench(&runtime),
    }
}

fn bench(runtime: &Runtime) -> Outcome<()> {
    let pki = throwaway_ca(&LOOPBACK)?;
    let simulator = runtime.block_on(unlimited_simulator(&pki))?;

    println!("KiB resident per idle guest session, after one message and its reply, all over TLS:\n");
    println!("{:44}{:>10}{:>10}", "", SIZES[0], SIZES[1]);
    let (genesys, deployment) = (simulator.host(), simulator.deployment_id());
    let gateway = Gateway::start(&pki, genesys, deployment)?;
    let figures = sessions_of(runtime, &gateway, &pki)?;
    report("gateway: the guest's socket and Genesys'", figures);
    drop(gateway);
    if let Some(gateway) = Gateway::start_earlier(&pki, genesys, deployment)? {
        let figures = sessions_of(runtime, &gateway, &pki)?;
        report("gateway, other revision", figures);
    }
    let figures = with_direct_mode(&simulator, &pki)?;
    report("guest-suite, direct mode: Genesys' socket", figures);
    println!("\n{:44}{:>10}{:>10}", "", TOKENS[0], TOKENS[1]);
    let mut process = Process::start(Command::new(std::env::current_exe()?).arg(MANAGED))?;
    let figures = per_session(process.id(), TOKENS, |count| {
        process.ask(&count.to_string()).map(drop)
    })?;
    report("token-window: a token, refreshed once", figures);
    Ok(())
}

/// Memory of a session in the gateway.
fn sessions_of(runtime: &Runtime, gateway: &Gateway, pki: &Pki) -> Outcome<[f64; 2]> {
    let suite = suite(&gateway.host, pki)?;
    let mut guests = Vec::new();
    per_session(gateway.process.id(), SIZES, |count| {
        runtime.block_on(open_sessions(&suite, &mut guests, count))
    })
}

/// Memory of a session in a process in direct mode.
fn with_direct_mode(simulator: &Simulator, pki: &Pki) -> Outcome<[f64; 2]> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("ca.pem"), &pki.ca_pem)?;
    let mut process = Process::start(
        Command::new(std::env::current_exe()?)
            .args([
                DIRECT,
                &simulator.host().to_string(),
                simulator.deployment_id().as_str(),
            ])
            .arg(folder.path()),
    )?;
    per_session(process.id(), SIZES, |count| {
        process.ask(&count.to_string()).map(drop)
    })
}

/// Calls `grow` with each size in turn.
fn per_session(
    process: u32,
    sizes: [usize; 2],
    mut grow: impl FnMut(usize) -> Outcome<()>,
) -> Outcome<[f64; 2]> {
    grow(FIRST)?;
    let before = resident(process)?;
    let mut figures = [0.0; 2];
    for (size, figure) in sizes.into_iter().zip(&mut figures) {
        grow(FIRST + size)?;
        *figure = (resident(process)? - before) / size as f64;
    }
    Ok(figures)
}

/// KiB of memory that a process has in use.
fn resident(process: u32) -> Outcome<f64> {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let rss = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
    let rss = rss
        .and_then(|rss| rss.trim().strip_suffix(" kB"))
        .ok_or("no Rss in smaps_rollup")?;
    Ok(rss.parse()?)
}

fn report(what: &str, [small, large]: [f64; 2]) {
    let difference = 100.0 * (large - small).abs() / large;
    let verdict = if difference <= MAX_DIFFERENCE {
        format!("they agree within {difference:.1} %")
    } else {
        format!("{difference:.1} % DIFFERENT: not one figure")
    };
    println!("{what:44}{small:>10.2}{large:>10.2}   {verdict}");
}

/// The measured process of [`with_direct_mode`].
fn run_direct(runtime: &Runtime, genesys: &Host, deployment: DeploymentId, folder: &Path) -> Outcome<()> {
    let ca = fs::read(folder.join("ca.pem"))?;
    let keys = Keys {
        seal: SealKey::new(&entropy::bytes()),
        signer: Signer::from_seed("bench", &entropy::bytes())?,
    };
    let store = SqliteStore::open(folder.join("guests.db"), keys, guest_store::Limits::default())?;
    let http = Client::builder(Tls::only_ca(&ca)?).build();
    let organization = Organization {
        deployments: BTreeMap::from([(CHANNEL.parse()?, deployment)]),
        // a thousand guests at once, against a simulated deployment
        connections_per_minute: NonZeroU32::MAX,
        ..Organization::new(http, Hosts::single(genesys))
    };
    let suite = runtime.block_on(GuestSessions::direct(
        DirectConfig {
            store: Arc::new(store),
            organization,
            further: Vec::new(),
            rules: Rules::default(),
            access_token_lifetime: Duration::from_secs(3_600),
            idle_timeout: Duration::from_secs(86_400),
            queue_timeout: guest_suite::conversation::QUEUE_TIMEOUT,
            retention: Duration::from_secs(86_400),
        },
        "bench",
    ))?;
    let mut guests = Vec::new();
    answer(|count| {
        runtime.block_on(open_sessions(&suite, &mut guests, count.parse()?))?;
        Ok("done".to_owned())
    })
}

/// The measured process of managed tokens, as long as those of the gateway.
fn run_managed(runtime: &Runtime) -> Outcome<()> {
    async fn refresh_call(request: RefreshRequest) -> Result<Tokens, RefreshError> {
        tokens(
            request
                .current
                .refresh()
                .map_or(0, |token| token.expose_secret().len()),
        )
    }
    fn tokens(length: usize) -> Result<Tokens, RefreshError> {
        let token = || "t".repeat(length).into();
        Ok(Tokens::new(token(), Some(token()), Duration::from_secs(3_600))?)
    }

    let limits = DriverLimits {
        per_minute: u32::MAX,
        ..DriverLimits::default()
    };
    let clock = Clock::system();
    let driver = runtime.block_on(async { RefreshDriver::spawn(limits, clock.clone()) });
    let mut managers = Vec::new();
    answer(|count| {
        while managers.len() < count.parse()? {
            let jitter = Jitter::of(&managers.len().to_string());
            let refresh = Refresh::new(tokens(75)?, Window::default(), jitter, clock.now().instant);
            let manager = driver.manage(refresh, refresh_call)?;
            runtime.block_on(manager.refresh_now())?;
            managers.push(manager);
        }
        Ok("done".to_owned())
    })
}
