//! The report of the demo: a line for each step, or one JSON object at the end.

use std::error::Error;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use genesys_api::{Clock, error_chain};
use serde::Serialize;

/// Longest wait for an effect.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The outcome of all steps.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    steps: Vec<Step>,
    /// Whether every step was verified by its effect.
    pub(crate) ok: bool,
    /// Whether to print a line on stdout for each step.
    #[serde(skip)]
    prints_steps: bool,
}

#[derive(Debug, Serialize)]
struct Step {
    name: &'static str,
    ok: bool,
    ms: f64,
    detail: String,
}

/// The result of a check. The error is the reason for its failure.
pub(crate) type Checked<T = String> = Result<T, Box<dyn Error + Send + Sync>>;

/// Fails with a reason unless a condition holds.
pub(super) fn ensure(holds: bool, reason: impl Into<String>) -> Checked<()> {
    holds.then_some(()).ok_or_else(|| reason.into().into())
}

/// Waits for an effect, at most 30 s of real time.
pub(super) async fn within_timeout<T>(effect: impl Future<Output = T>) -> Checked<T> {
    let effect = tokio::time::timeout(TIMEOUT, effect).await;
    effect.map_err(|_| "timeout: no effect within 30 s".into())
}

impl Report {
    pub(super) fn new(prints_steps: bool) -> Self {
        Self {
            steps: Vec::new(),
            ok: true,
            prints_steps,
        }
    }

    /// Runs a step, which returns a description of its effect. `None` if it failed.
    pub(super) async fn step(
        &mut self,
        name: &'static str,
        work: impl Future<Output = Checked>,
    ) -> Option<()> {
        self.step_with(name, async { Ok(((), work.await?)) }).await
    }

    /// Runs a step that also returns a value for later steps.
    pub(super) async fn step_with<T>(
        &mut self,
        name: &'static str,
        work: impl Future<Output = Checked<(T, String)>>,
    ) -> Option<T> {
        // in real time, because the clock of the demo jumps
        let clock = Clock::system();
        let started = clock.now().instant;
        let outcome = work.await;
        let ms = clock.now().instant.duration_since(started).as_secs_f64() * 1e3;
        let (value, detail) = match outcome {
            Ok((value, detail)) => (Some(value), detail),
            Err(error) => (None, error_chain(&*error)),
        };
        let ok = value.is_some();
        self.ok &= ok;
        let ms = (ms * 10.0).round() / 10.0;
        let step = Step { name, ok, ms, detail };
        if self.prints_steps {
            step.print();
        }
        self.steps.push(step);
        value
    }
}

impl Step {
    fn print(&self) {
        let mut out = std::io::stdout().lock();
        let (mark, color) = if self.ok { ("✓", 32) } else { ("✗", 31) };
        let mark = match out.is_terminal() {
            true => format!("\x1b[{color}m{mark}\x1b[0m"),
            false => mark.to_owned(),
        };
        let (name, ms, detail) = (self.name, self.ms, &self.detail);
        let _ = writeln!(out, "{mark} {name:<28} {ms:>8.1} ms  {detail}");
    }
}
