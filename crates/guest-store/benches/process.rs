//! Measurement of processes.

use std::error::Error;
use std::fs;
use std::ops::Sub;
use std::time::Instant;

use genesys_api::Clock;

/// Use of processes: at a moment since its start, or between two moments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    at: Instant,
    /// Seconds that passed.
    pub(crate) seconds: f64,
    /// Seconds of CPU of all threads, user and system.
    pub(crate) cpu: f64,
    /// Pages of 4 KiB that were written, to any file.
    pub(crate) pages: f64,
}

impl Usage {
    pub(crate) fn now() -> Result<Self, Box<dyn Error>> {
        Self::of(&[std::process::id()])
    }

    pub(crate) fn of(processes: &[u32]) -> Result<Self, Box<dyn Error>> {
        let (mut nanos, mut written) = (0, 0.0);
        for process in processes {
            for thread in fs::read_dir(format!("/proc/{process}/task"))? {
                let text = fs::read_to_string(thread?.path().join("schedstat"))?;
                nanos += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
            }
            let io = fs::read_to_string(format!("/proc/{process}/io"))?;
            let bytes = io.lines().find_map(|line| line.strip_prefix("wchar: "));
            written += bytes.ok_or("no wchar in /proc/PID/io")?.parse::<f64>()?;
        }
        Ok(Self {
            at: Clock::system().now().instant,
            seconds: 0.0,
            cpu: nanos as f64 / 1e9,
            pages: written / 4096.0,
        })
    }
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            at: self.at,
            seconds: (self.at - before.at).as_secs_f64(),
            cpu: self.cpu - before.cpu,
            pages: self.pages - before.pages,
        }
    }
}

pub(crate) fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
