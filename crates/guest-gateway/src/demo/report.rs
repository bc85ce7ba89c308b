//! The report of the demo: a line for each step, or one JSON object at the end.

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
    format: OutputFormat,
}

#[derive(Debug, Serialize)]
struct Step {
    name: &'static str,
    ok: bool,
    ms: f64,
    detail: String,
}

/// A format of the report.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OutputFormat {
    /// A line on stdout for each step.
    Lines,
    /// One JSON object at the end.
    Json,
}

/// A step without the expected effect.
#[derive(Debug)]
pub struct CheckFailed(pub String);

impl fmt::Display for CheckFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for CheckFailed {
    fn from(error: E) -> Self {
        Self(error_chain(&error))
    }
}

impl Report {
    pub(super) fn new(format: OutputFormat) -> Self {
        Self {
            steps: Vec::new(),
            ok: true,
            format,
        }
    }

    /// Runs a step, whose text describes the observed effect. A failed step ends the scenario.
    ///
    /// # Errors
    /// If the check failed. The report has the step already.
    pub(super) async fn step<T>(
        &mut self,
        name: &'static str,
        work: impl Future<Output = Result<(T, String), CheckFailed>>,
    ) -> Result<T, Stopped> {
        // the clock of the demo jumps; the duration of a step is real time
        let clock = Clock::system();
        let started = clock.now().instant;
        let outcome = work.await;
        let ms = clock.now().instant.duration_since(started).as_secs_f64() * 1e3;
        let (result, ok, detail) = match outcome {
            Ok((value, detail)) => (Ok(value), true, detail),
            Err(CheckFailed(why)) => (Err(Stopped), false, why),
        };
        self.ok &= ok;
        let step = Step {
            name,
            ok,
            ms: (ms * 10.0).round() / 10.0,
            detail,
        };
        if self.format == OutputFormat::Lines {
            step.print();
        }
        self.steps.push(step);
        result
    }
}

/// A failed step. The report has the reason.
#[derive(Debug)]
pub(super) struct Stopped;

impl Step {
    fn print(&self) {
        let mut out = std::io::stdout().lock();
        let (mark, color) = if self.ok {
            ("✓", "\x1b[32m")
        } else {
            ("✗", "\x1b[31m")
        };
        let (on, off) = if out.is_terminal() {
            (color, "\x1b[0m")
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
