#![doc = include_str!("../README.md")]

mod checkpoint;
mod entry;
mod export;
#[cfg(feature = "client")]
pub mod files;
mod hash;
mod log;
pub mod proof;
mod pseudonym;
mod tree;
mod value;
mod verifier;

pub use checkpoint::{Checkpoint, CheckpointError, KeyError, Signer, VerifierKey};
pub use entry::{Actor, ActorKind, Draft, DraftError, Entry, EntryError, Outcome};
pub use export::Line;
pub use hash::{Hash, leaf_hash};
pub use log::Log;
pub use pseudonym::{Pseudonym, PseudonymError};
pub use tree::Tree;
pub use value::Value;
pub use verifier::{Failure, Fault, Report, Verifier, verify};
