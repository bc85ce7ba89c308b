//! The report of the demo: a line for each step, or one JSON object at the end.

use std::future::Future;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use genesys_api::{Clock, error_chain};
use serde::Serialize;

/// Longest wait for an effect.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The outcome of all steps.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    steps: Vec<Step>,
    /// Whether every step was verified by its effect.
    pub(crate) ok: bool,
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
pub(crate) enum OutputFormat {
    /// A line on stdout for each step.
    Lines,
    /// One JSON object at the end.
    Json,
}

/// A step without the expected effect.
#[derive(Debug)]
pub(crate) struct CheckFailed(pub(crate) String);

impl<E: std::error::Error> From<E> for CheckFailed {
    fn from(error: E) -> Self {
        Self(error_chain(&error))
    }
}

pub(super) fn failed(reason: impl Into<String>) -> CheckFailed {
    CheckFailed(reason.into())
}

/// Fails with a reason unless a condition holds.
pub(super) fn ensure(holds: bool, reason: impl Into<String>) -> Result<(), CheckFailed> {
    holds.then_some(()).ok_or_else(|| failed(reason))
}

/// Waits for an effect, at most 5 s of real time.
pub(super) async fn within_timeout<T>(effect: impl Future<Output = T>) -> Result<T, CheckFailed> {
    let effect = tokio::time::timeout(TIMEOUT, effect).await;
    effect.map_err(|_| failed("timeout: no effect within 5 s"))
}

impl Report {
    pub(super) fn new(format: OutputFormat) -> Self {
        Self {
            steps: Vec::new(),
            ok: true,
            format,
        }
    }

    /// Runs a step, which returns a description of its effect. A failed step ends the scenario.
    pub(super) async fn step(
        &mut self,
        name: &'static str,
        work: impl Future<Output = Result<String, CheckFailed>>,
    ) -> Result<(), Stopped> {
        self.step_with(name, async { Ok(((), work.await?)) }).await
    }

    /// Runs a step that also returns a value for later steps.
    pub(super) async fn step_with<T>(
        &mut self,
        name: &'static str,
        work: impl Future<Output = Result<(T, String), CheckFailed>>,
    ) -> Result<T, Stopped> {
        // in real time, because the clock of the demo jumps
        let clock = Clock::system();
        let started = clock.now().instant;
        let outcome = work.await;
        let ms = clock.now().instant.duration_since(started).as_secs_f64() * 1e3;
        let (result, ok, detail) = match outcome {
            Ok((value, detail)) => (Ok(value), true, detail),
            Err(CheckFailed(reason)) => (Err(Stopped), false, reason),
        };
        self.ok &= ok;
        let ms = (ms * 10.0).round() / 10.0;
        let step = Step { name, ok, ms, detail };
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
        let (mark, color) = if self.ok { ("✓", 32) } else { ("✗", 31) };
        let mark = match out.is_terminal() {
            true => format!("\x1b[{color}m{mark}\x1b[0m"),
            false => mark.to_owned(),
        };
        let (name, ms, detail) = (self.name, self.ms, &self.detail);
        let _gone = writeln!(out, "{mark} {name:<28} {ms:>8.1} ms  {detail}");
    }
}
