//! A thousand random simulations in virtual time.

use std::collections::BTreeSet;

use end_to_end::simulation::{Plan, run, run_pages, run_plan};
use guest_conversation::State;

#[test]
fn simulation_loses_and_duplicates_no_message_in_a_thousand_runs() {
    let (mut messages, mut received, mut reconnects, mut faults) = (0, 0, 0, 0);
    let mut drawn = BTreeSet::new();
    for seed in 0..1000 {
        match run(seed) {
            Ok(report) => {
                messages += report.messages;
                received += report.received;
                reconnects += report.reconnects;
                faults += report.faults;
                drawn.extend(Plan::draw(seed).faults);
            }
            Err(breach) => panic!("{breach}"),
        }
    }
    // the runs had losses and faults
    assert!(
        messages > 10_000 && received > 10_000,
        "{messages} sent, {received} received"
    );
    assert!(
        reconnects > 3_000 && faults > 3_000,
        "{reconnects} reconnects, {faults} faults"
    );
    assert_eq!(drawn.len(), 19, "{drawn:?}");
}

#[test]
fn simulation_repeats_for_the_same_seed() {
    for seed in 0..20 {
        let trace = || run(seed).map(|report| report.trace).unwrap();
        assert_eq!(trace(), trace(), "seed {seed}");
    }
}

#[test]
fn simulation_ends_in_the_expected_state_for_each_fault() {
    // temporary faults, and faults that end a conversation: a final one is not retried
    for (fault, times, final_state) in [
        ("clock:+14m@in3", 1, State::Configured),
        ("clock:+80h@in3", 1, State::Failed),
        ("delay:30s:x3", 3, State::Configured),
        ("drop", 1, State::Configured),
        ("drop:1011:x3", 3, State::Configured),
        ("drop:abrupt:x3@4", 3, State::Configured),
        ("drop@in3", 1, State::Configured),
        ("duplicate:always", 20, State::Configured),
        ("evict@in4", 1, State::Closed),
        ("expired-jwt", 1, State::Configured),
        ("fragment:5:always", 20, State::Configured),
        ("hang:50s@5", 1, State::Configured),
        ("hang@5", 1, State::Configured),
        ("refuse-handshake", 1, State::Failed),
        ("refuse-handshake:429:x2", 2, State::Configured),
        ("refuse-handshake:503:x5", 5, State::Configured),
        ("reorder:x8@4", 8, State::Configured),
        ("rest:401:x2", 2, State::Configured),
        ("rest:403", 1, State::Configured),
        ("rest:503", 1, State::Configured),
        ("slow-handshake:15s", 1, State::Configured),
        ("slow-handshake:40s", 1, State::Configured),
        ("throttle:9s:x12", 12, State::Configured),
        ("throttle:x30", 30, State::Configured),
        ("unknown-class:always", 20, State::Configured),
        ("unknown-fields:always", 20, State::Configured),
    ] {
        let report =
            run_plan(&Plan::with(fault, final_state)).unwrap_or_else(|breach| panic!("{fault}: {breach}"));
        assert!(
            report.faults >= times,
            "{fault}: happened {} times",
            report.faults
        );
    }
}

#[test]
fn simulation_of_pages_loses_and_doubles_nothing_without_a_gap_in_two_hundred_runs() {
    let (mut shown, mut gaps, mut connections, mut starts, mut stalled) = (0, 0, 0, 0, 0);
    for seed in 0..200 {
        match run_pages(seed) {
            Ok(report) => {
                shown += report.shown;
                gaps += report.gaps;
                connections += report.connections;
                starts += report.starts;
                stalled += report.stalled;
            }
            Err(breach) => panic!("{breach}"),
        }
    }
    // the runs had losses on both sides, histories longer than a recovery reads, and slow pages
    let had = [
        shown > 2_000,
        connections > 500,
        gaps > 10,
        starts > 210,
        stalled > 0,
    ];
    let report =
        format!("{shown} shown, {connections} connections, {gaps} gaps, {starts} starts, {stalled} stalled");
    assert_eq!(had, [true; 5], "{report}");
    assert_eq!(run_pages(7).unwrap().trace, run_pages(7).unwrap().trace);
}
