//! `cargo xtask simulate`: many random simulations, or one of them line by line.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool prints on its terminal"
)]

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use end_to_end::simulation::{BrokenInvariant, replay, replay_pages, run, run_pages};
use indicatif::{ProgressBar, ProgressStyle};

const USAGE: &str =
    "usage: cargo xtask simulate --seeds N [--from SEED]   runs N simulations of the guest and N of its pages, from seed 0 or SEED on
       cargo xtask simulate --seed SEED              runs one of the guest, and prints its events
       cargo xtask simulate --pages SEED             runs one of its pages, and prints its events";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["--seed", seed] => seed.parse().ok().map(one),
        ["--pages", seed] => seed.parse().ok().map(pages),
        ["--seeds", count] => count.parse().ok().map(|count| many(0, count)),
        ["--seeds", count, "--from", from] => count
            .parse()
            .ok()
            .zip(from.parse().ok())
            .map(|(count, from)| many(from, count)),
        _ => None,
    };
    match done {
        Some(true) => ExitCode::SUCCESS,
        Some(false) => ExitCode::FAILURE,
        None => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn one(seed: u64) -> bool {
    let (lines, outcome) = replay(seed);
    for line in lines {
        println!("{line}");
    }
    match outcome {
        Ok(report) => {
            println!("{report:#?}");
            true
        }
        Err(error) => {
            eprintln!("{error}");
            false
        }
    }
}

fn pages(seed: u64) -> bool {
    let (lines, outcome) = replay_pages(seed, true);
    for line in lines {
        println!("{line}");
    }
    match outcome {
        Ok(report) => {
            println!("{report:#?}");
            true
        }
        Err(error) => {
            eprintln!("{error}");
            false
        }
    }
}

fn many(from: u64, count: u64) -> bool {
    let bar = ProgressBar::new(count).with_style(
        ProgressStyle::with_template("{wide_bar} {pos}/{len} runs, {per_sec}, {eta} to go")
            .expect("the template is well formed"),
    );
    let next = AtomicU64::new(0);
    let workers = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let broken: Vec<BrokenInvariant> = thread::scope(|scope| {
        let work = || {
            let mut broken = Vec::new();
            loop {
                let done = next.fetch_add(1, Ordering::Relaxed);
                let Some(seed) = (done < count).then(|| from.wrapping_add(done)) else {
                    return broken;
                };
                let outcome = run(seed).map(drop).and_then(|()| run_pages(seed).map(drop));
                if let Err(error) = outcome {
                    bar.suspend(|| eprintln!("{error}"));
                    broken.push(error);
                }
                bar.inc(1);
            }
        };
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("a simulation does not panic"))
            .collect()
    });
    bar.finish_and_clear();
    println!(
        "{count} simulations from seed {from} on: {} broke an invariant",
        broken.len()
    );
    broken.is_empty()
}
