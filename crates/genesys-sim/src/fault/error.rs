//! Errors of fault texts, and of faults that cannot be armed.

use super::kind::FaultKind;

/// Longest text of a fault, in bytes.
pub(super) const MAX_BYTES: usize = 256;

/// Highest number of occurrences, and of frames to wait for.
pub(super) const MAX_TIMES: u32 = 1_000_000;

/// Invalid text of a fault, or a fault that cannot be armed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultError {
    /// An argument that the kind does not take.
    #[error("invalid argument {found:?} of the fault {kind:?}: use {expected}")]
    Argument {
        /// The kind, as written.
        kind: &'static str,
        /// The argument.
        found: String,
        /// Description of a valid one.
        expected: &'static str,
    },
    /// `~P%` is not a whole percentage from 1 to 100.
    #[error("invalid chance {found:?}: use a whole percentage from 1 to 100, such as ~10%")]
    Chance {
        /// The text after `~`.
        found: String,
    },
    /// A kind that needs an argument has none.
    #[error("the fault {kind:?} needs an argument: {expected}")]
    Incomplete {
        /// The kind, as written.
        kind: &'static str,
        /// Description of a valid argument.
        expected: &'static str,
    },
    /// `@inN` on a fault that does not apply to frames from a guest.
    #[error(
        "the fault {kind:?} cannot wait for a frame from the guest: use @N, or drop, hang, evict or clock"
    )]
    Inbound {
        /// The kind, as written.
        kind: &'static str,
    },
    /// Unknown kind.
    #[error("invalid fault {found:?}: use one of {}", FaultKind::all().map(FaultKind::name).collect::<Vec<_>>().join(", "))]
    Kind {
        /// The text in its place.
        found: String,
    },
    /// More than 256 bytes.
    #[error("invalid fault: it has {bytes} bytes, use at most {MAX_BYTES}")]
    Length {
        /// Bytes of the text.
        bytes: usize,
    },
    /// A fault of handshakes, armed for one session.
    #[error(
        "the fault {kind:?} cannot be limited to a session: a handshake names none, leave the session out"
    )]
    Session {
        /// The kind, as written.
        kind: &'static str,
    },
    /// `xN` or `@N` is not a whole number from 1 to 1,000,000.
    #[error("invalid number {found:?}: use a whole number from 1 to {MAX_TIMES}, as in :x5, @3 or @in3")]
    Times {
        /// The text in its place.
        found: String,
    },
    /// 64 faults are active.
    #[error("cannot arm another fault: {limit} are active, remove some with DELETE /sim/faults")]
    TooMany {
        /// The limit.
        limit: usize,
    },
}
