//! Random journeys on virtual time: one guest, one network that fails, one simulated Genesys Cloud that has faults.
//!
//! Everything in a [`journey`] is drawn from its seed: what the guest says and when, how long the network takes, when
//! it breaks and how, what faults the cloud has. No socket, no clock, no task: the same seed gives the same journey,
//! to the last byte of its [`trace`](Report::trace). What must hold, whatever happened:
//!
//! - every message that the conversation took ends as delivered or failed, and as in doubt only where the history
//!   could not be read;
//! - a delivered one stands in the cloud's own record exactly once, a failed one never;
//! - what the agent said is told exactly once, in the order of the cloud's clock, and nothing that it did not say;
//! - the conversation ends in the state that the faults allow, and only there.

mod network;
mod plan;
mod stage;
mod verdict;

pub use plan::Plan;
pub use stage::Report;
use stage::Stage;
pub use verdict::Breach;

/// Plays the journey of `seed`.
///
/// # Errors
/// What did not hold, with the seed to play it again.
pub fn journey(seed: u64) -> Result<Report, Breach> {
    play(&Plan::draw(seed))
}

/// Plays a journey as planned.
///
/// # Errors
/// What did not hold.
pub fn play(plan: &Plan) -> Result<Report, Breach> {
    let mut stage = Stage::set(plan);
    let report = stage.play(plan);
    verdict::judge(plan, &stage, report)
}

/// As [`journey`], with all that happened, line by line.
pub fn replay(seed: u64) -> (Vec<String>, Result<Report, Breach>) {
    let plan = Plan::draw(seed);
    let mut stage = Stage::set(&plan);
    stage.script = Some(Vec::new());
    let report = stage.play(&plan);
    let lines = stage.script.take().unwrap_or_default();
    (lines, verdict::judge(&plan, &stage, report))
}
