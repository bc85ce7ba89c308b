#![doc = include_str!("../README.md")]

mod checkpoint;
mod coalescer;
#[cfg(test)]
mod effort;
mod entry;
mod export;
#[cfg(feature = "client")]
pub mod files;
mod hash;
mod key;
mod log;
pub mod proof;
mod pseudonym;
mod report;
mod tree;
mod value;
mod verifier;
mod witness;

pub use checkpoint::{Checkpoint, CheckpointError, Signer, VerifierKey};
pub use coalescer::Coalescer;
pub use entry::{Actor, ActorKind, Draft, DraftError, Entry, EntryError, Outcome};
pub use export::Line;
#[cfg(feature = "client")]
pub use files::FileLog;
pub use hash::{Hash, leaf_hash};
pub use key::KeyError;
pub use log::Log;
pub use pseudonym::{Pseudonym, PseudonymError};
pub use report::{Failure, Fault, Report};
pub use tree::Tree;
pub use value::Value;
pub use verifier::{Verifier, verify};
pub use witness::{Cosignatures, WitnessKey};
