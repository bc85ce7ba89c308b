//! Random simulations in virtual time: one guest, one network that fails, one simulated Genesys Cloud with faults.
//!
//! Every input of a [`run`] derives from its seed: the guest's messages, the latency, the failures of the network,
//! the faults of the cloud. There is no socket, clock or task: the same seed gives the same run, to the last byte of its
//! [`trace`](Report::trace). Invariants:
//!
//! - Every message that the conversation accepted ends as delivered or failed. Its status is unknown only if the history
//!   could not be read.
//! - A delivered message is in the cloud's transcript exactly once, a failed one never.
//! - Every agent message is emitted exactly once, in the order of the cloud's clock, and nothing else.
//! - The conversation ends in the state that the faults allow.

mod invariants;
mod network;
mod page;
mod plan;
mod state;

pub use invariants::BrokenInvariant;
pub use page::{PageReport, replay_pages, run_pages};
pub use plan::Plan;
pub use state::Report;
use state::Simulation;

/// Runs the simulation of `seed`.
///
/// # Errors
/// The invariant that did not hold, with the seed.
pub fn run(seed: u64) -> Result<Report, BrokenInvariant> {
    run_plan(&Plan::draw(seed))
}

/// Runs a plan.
///
/// # Errors
/// An invariant that did not hold.
pub fn run_plan(plan: &Plan) -> Result<Report, BrokenInvariant> {
    let mut simulation = Simulation::new(plan);
    let report = simulation.run(plan);
    invariants::check(plan, &simulation, report)
}

/// As [`run`], with all events, line by line.
pub fn replay(seed: u64) -> (Vec<String>, Result<Report, BrokenInvariant>) {
    let plan = Plan::draw(seed);
    let mut simulation = Simulation::new(&plan);
    simulation.log = Some(Vec::new());
    let report = simulation.run(&plan);
    let lines = simulation.log.take().unwrap_or_default();
    (lines, invariants::check(&plan, &simulation, report))
}
