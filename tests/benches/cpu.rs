//! CPU time of measured processes.
#![expect(clippy::print_stdout, reason = "a bench prints its figures on stdout")]

use std::fs;
use std::time::Duration;

use crate::process::Outcome;

/// CPU time of `work` in each process per request, in µs.
pub(crate) fn cpu_per_request<const N: usize>(
    requests: usize,
    processes: [u32; N],
    work: impl FnOnce() -> Outcome<()>,
) -> Outcome<[f64; N]> {
    let clocks = || -> Outcome<Vec<Duration>> { processes.iter().map(|process| cpu(*process)).collect() };
    let before = clocks()?;
    work()?;
    let after = clocks()?;
    let mut costs = [0.0; N];
    for ((cost, after), before) in costs.iter_mut().zip(after).zip(before) {
        *cost = (after - before).as_secs_f64() * 1e6 / requests as f64;
    }
    Ok(costs)
}

/// The CPU time of all threads of a process. `stat` has a resolution of only 10 ms.
fn cpu(process: u32) -> Outcome<Duration> {
    let mut total = Duration::ZERO;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let spent = fs::read_to_string(thread?.path().join("schedstat"))?;
        let nanoseconds = spent.split(' ').next().ok_or("no schedstat")?;
        total += Duration::from_nanos(nanoseconds.parse()?);
    }
    Ok(total)
}

/// One figure of the table, in µs.
pub(crate) struct Row {
    what: &'static str,
    pub(crate) rounds: Vec<f64>,
}

impl Row {
    pub(crate) fn new(what: &'static str) -> Self {
        Self {
            what,
            rounds: Vec::new(),
        }
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.rounds.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    pub(crate) fn median(&self) -> f64 {
        self.sorted()[self.rounds.len() / 2]
    }

    pub(crate) fn report(&self, baseline: f64) {
        let (sorted, median) = (self.sorted(), self.median());
        let range = format!("{:.1} to {:.1}", sorted[0], sorted[sorted.len() - 1]);
        println!(
            "{:40}{median:>9.1} µs{range:>16}{:>10.2}",
            self.what,
            median / baseline
        );
    }
}
