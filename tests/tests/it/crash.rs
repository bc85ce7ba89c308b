//! Crash cycles of the store and of the file log, as `cargo xtask crash` runs them.

use std::path::Path;

use end_to_end::crash::{Plan, Target, run};

/// Runs 30 cycles.
fn cycles_lose_nothing(target: Target) {
    let plan = Plan {
        program: Path::new(env!("CARGO_BIN_EXE_crash")),
        target,
        seed: 1,
        cycles: 30,
    };
    let report = run(&plan, |_| ()).unwrap();
    println!("{target}: {report}");
    assert!(report.is_sound(), "{report}");
    assert!(report.cycles == 30 && report.acknowledged > 30, "{report}");
}

#[test]
fn store_loses_nothing_when_it_is_killed() {
    cycles_lose_nothing(Target::Store);
}

#[test]
fn file_log_loses_nothing_when_it_is_killed() {
    cycles_lose_nothing(Target::Log);
}
