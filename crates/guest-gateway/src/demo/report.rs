//! What the demo tells: a line a step, or one JSON object at the end.

use std::fmt;
use std::future::Future;
use std::io::{IsTerminal as _, Write as _};

use genesys_api::{Clock, error_chain};
use serde::Serialize;

/// The outcome of all steps.
#[derive(Debug, Serialize)]
pub struct Report {
    steps: Vec<Step>,
    /// Whether every step was verified by its effect.
    pub ok: bool,
    #[serde(skip)]
    told: Told,
}

#[derive(Debug, Serialize)]
struct Step {
    name: &'static str,
    ok: bool,
    ms: f64,
    detail: String,
}

/// How the steps are told while they run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Told {
    /// A line each, on stdout.
    Lines,
    /// Not at all: the report follows as a whole.
    AsOne,
}

/// A step did not have the effect that it should have had.
#[derive(Debug)]
pub struct Unverified(pub String);

impl fmt::Display for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Unverified {
    fn from(error: E) -> Self {
        Self(error_chain(&error))
    }
}

impl Report {
    pub(super) fn new(told: Told) -> Self {
        Self {
            steps: Vec::new(),
            ok: true,
            told,
        }
    }

    /// Runs a step, whose text says what was seen. After a failed step the rest is not run.
    ///
    /// # Errors
    /// If the step was not verified. It is in the report already.
    pub(super) async fn step<T>(
        &mut self,
        name: &'static str,
        work: impl Future<Output = Result<(T, String), Unverified>>,
    ) -> Result<T, Stopped> {
        // the demo's own clock jumps; how long a step took is the real time
        let clock = Clock::system();
        let started = clock.now().instant;
        let outcome = work.await;
        let ms = clock.now().instant.duration_since(started).as_secs_f64() * 1e3;
        let (result, ok, detail) = match outcome {
            Ok((value, detail)) => (Ok(value), true, detail),
            Err(Unverified(why)) => (Err(Stopped), false, why),
        };
        self.ok &= ok;
        let step = Step {
            name,
            ok,
            ms: (ms * 10.0).round() / 10.0,
            detail,
        };
        if self.told == Told::Lines {
            step.print();
        }
        self.steps.push(step);
        result
    }
}

/// A step failed, and the report says why.
#[derive(Debug)]
pub(super) struct Stopped;

impl Step {
    fn print(&self) {
        let mut out = std::io::stdout().lock();
        let (mark, colour) = if self.ok {
            ("✓", "\x1b[32m")
        } else {
            ("✗", "\x1b[31m")
        };
        let (on, off) = if out.is_terminal() {
            (colour, "\x1b[0m")
        } else {
            ("", "")
        };
        let _gone = writeln!(
            out,
            "{on}{mark}{off} {:<28} {:>8.1} ms  {}",
            self.name, self.ms, self.detail
        );
    }
}
