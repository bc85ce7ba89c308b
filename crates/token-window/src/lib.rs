#![doc = include_str!("../README.md")]

pub mod guest_sessions;
mod rotation;
mod schedule;
mod tokens;
mod window;

#[cfg(feature = "client")]
mod keeper;

#[cfg(feature = "client")]
pub use keeper::{Events, KeepError, Keeper, Renew, Renewed, Token};
pub use rotation::{Event, Failure, Intent, Reason, Renewal, Rotation, Status};
pub use schedule::{Full, Schedule};
pub use tokens::{Tokens, TokensError};
pub use window::{Jitter, Window, WindowError};
