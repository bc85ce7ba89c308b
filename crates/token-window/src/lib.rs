#![doc = include_str!("../README.md")]

mod refresh;
mod schedule;
mod tokens;
mod window;

#[cfg(feature = "client")]
mod driver;
#[cfg(feature = "client")]
mod manager;
#[cfg(feature = "server")]
mod pair;
#[cfg(feature = "server")]
mod rotation;

#[cfg(feature = "client")]
pub use driver::{DriverLimits, RefreshDriver, Reservation};
#[cfg(feature = "client")]
pub use genesys_api::Clock;
#[doc(no_inline)]
pub use genesys_api::IdempotencyKey;
#[cfg(feature = "client")]
pub use manager::{AccessToken, Events, RefreshRequest, Refresher, TokenError, TokenManager};
#[cfg(feature = "server")]
pub use pair::{Pair, PairKey};
pub use refresh::{Event, Reason, Refresh, RefreshAttempt, RefreshError, Status};
#[cfg(feature = "server")]
pub use rotation::{AccessUse, Presented, RefreshTokenFamily, Rotation};
pub use schedule::{Full, Schedule};
#[doc(no_inline)]
pub use secrecy::{ExposeSecret, SecretString};
pub use tokens::{Tokens, TokensError};
pub use window::{Jitter, Window, WindowError};
