//! Why a text is no fault, or a fault cannot be armed.

use super::text::{FaultKind, LONGEST, MOST_TIMES};

/// A text is no fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultError {
    /// An argument does not fit its kind.
    #[error("the fault {kind:?} cannot take {found:?}: it takes {expected}")]
    Argument {
        /// The kind, as written.
        kind: &'static str,
        /// The argument.
        found: String,
        /// What fits.
        expected: &'static str,
    },
    /// `~P%` is no whole percentage from 1 to 100.
    #[error("the chance {found:?} is no whole percentage from 1 to 100: write it like ~10%")]
    Chance {
        /// What stands after `~`.
        found: String,
    },
    /// A kind that needs an argument has none.
    #[error("the fault {kind:?} needs an argument: {expected}")]
    Incomplete {
        /// The kind, as written.
        kind: &'static str,
        /// What fits.
        expected: &'static str,
    },
    /// `@inN` on a fault that strikes no frame from a guest.
    #[error(
        "the fault {kind:?} does not wait for a frame from the guest: write @N, or use drop, hang, evict or clock"
    )]
    Inward {
        /// The kind, as written.
        kind: &'static str,
    },
    /// No kind is called so.
    #[error("{found:?} is no fault: use one of {}", names())]
    Kind {
        /// What stands in its place.
        found: String,
    },
    /// More than 256 bytes.
    #[error("the fault has {bytes} bytes: write it in at most {LONGEST}")]
    Length {
        /// Bytes of the text.
        bytes: usize,
    },
    /// Nowhere near a session.
    #[error("the fault {kind:?} cannot be of one session: a handshake names none; leave the session out")]
    Session {
        /// The kind, as written.
        kind: &'static str,
    },
    /// `xN` or `@N` is no whole number from 1 to 1,000,000.
    #[error("{found:?} is no whole number from 1 to {MOST_TIMES}: write :x5, @3 or @in3")]
    Times {
        /// What stands in its place.
        found: String,
    },
    /// 64 faults are active.
    #[error("{most} faults are active, which is the most: remove some with DELETE /sim/faults")]
    TooMany {
        /// The bound.
        most: usize,
    },
}

fn names() -> String {
    FaultKind::ALL.map(FaultKind::name).join(", ")
}
