//! Random requests to a store.

use proptest::bool::weighted;
use proptest::prelude::*;

/// Something to ask of a store. Names are few, so that requests meet. Webhooks and events with an even id are one
/// owner's, the others another one's.
#[derive(Clone, Debug)]
pub(super) enum Request {
    Advance(i64),
    Checkpoint,
    Commit {
        change: Option<Changed>,
        entries: u8,
        events: Vec<u8>,
    },
    Lease {
        limit: usize,
        seconds: u64,
    },
    Settle {
        which: usize,
        settled: u8,
        rest: Option<i64>,
        disable: bool,
    },
}

#[derive(Clone, Debug)]
pub(super) enum Changed {
    CreateSession {
        id: u8,
        guest: u8,
    },
    PutWebhook {
        id: u8,
        name: u8,
        stale: bool,
        enabled: bool,
        ordered: bool,
    },
    RemoveSession {
        id: u8,
    },
    RemoveWebhook {
        id: u8,
    },
    UpdateSession {
        id: u8,
        guest: u8,
        stale: bool,
        ends: bool,
    },
}

pub(super) fn request() -> impl Strategy<Value = Request> {
    let change = prop_oneof![
        2 => (0..3_u8, 0..2_u8).prop_map(|(id, guest)| Changed::CreateSession { id, guest }),
        4 => (0..4_u8, 0..3_u8, weighted(0.2), weighted(0.8), any::<bool>()).prop_map(
            |(id, name, stale, enabled, ordered)| Changed::PutWebhook { id, name, stale, enabled, ordered }
        ),
        1 => (0..3_u8).prop_map(|id| Changed::RemoveSession { id }),
        1 => (0..4_u8).prop_map(|id| Changed::RemoveWebhook { id }),
        3 => (0..3_u8, 0..2_u8, weighted(0.2), any::<bool>())
            .prop_map(|(id, guest, stale, ends)| Changed::UpdateSession { id, guest, stale, ends }),
    ];
    let events = proptest::collection::vec(0..24_u8, 0..4);
    let rest = proptest::option::weighted(0.1, 0..100_i64);
    prop_oneof![
        2 => (0..200_i64).prop_map(Request::Advance),
        1 => Just(Request::Checkpoint),
        8 => (proptest::option::of(change), 0..3_u8, events)
            .prop_map(|(change, entries, events)| Request::Commit { change, entries, events }),
        4 => (0..8_usize, 0..100_u64).prop_map(|(limit, seconds)| Request::Lease { limit, seconds }),
        8 => (0..4_usize, 0..5_u8, rest, weighted(0.05))
            .prop_map(|(which, settled, rest, disable)| Request::Settle { which, settled, rest, disable }),
    ]
}
