//! Random simulations in virtual time: one guest, one network that fails, one simulated Genesys Cloud with faults.
//!
//! Every input of a [`run`](run()) derives from its seed: the guest's messages, the latency, the failures of the network,
//! the faults of the cloud. There is no socket, clock or task: the same seed gives the same run, to the last byte of its
//! [`trace`](Report::trace). Invariants:
//!
//! - Every message that the conversation accepted ends as delivered or failed. Its status is unknown only if the history
//!   could not be read.
//! - A delivered message is in the cloud's transcript exactly once, a failed one never.
//! - Every agent message is emitted exactly once, in the order of the cloud's clock, and nothing else.
//! - The conversation ends in the state that the faults allow.

mod network;
mod plan;
mod stage;
mod verdict;

pub use plan::Plan;
pub use stage::Report;
use stage::Stage;
pub use verdict::Breach;

/// Runs the simulation of `seed`.
///
/// # Errors
/// The invariant that did not hold, with the seed.
pub fn journey(seed: u64) -> Result<Report, Breach> {
    play(&Plan::draw(seed))
}

/// Runs a plan.
///
/// # Errors
/// An invariant that did not hold.
pub fn play(plan: &Plan) -> Result<Report, Breach> {
    let mut stage = Stage::set(plan);
    let report = stage.play(plan);
    verdict::judge(plan, &stage, report)
}

/// As [`run`], with all events, line by line.
pub fn replay(seed: u64) -> (Vec<String>, Result<Report, Breach>) {
    let plan = Plan::draw(seed);
    let mut stage = Stage::set(&plan);
    stage.script = Some(Vec::new());
    let report = stage.play(&plan);
    let lines = stage.script.take().unwrap_or_default();
    (lines, verdict::judge(&plan, &stage, report))
}
