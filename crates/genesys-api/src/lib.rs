#![doc = include_str!("../README.md")]

mod end_reason;
mod error_chain;
mod generated;
mod id;
mod idempotency;
mod log_limit;
mod now;
mod region;
mod stage;
pub mod timestamp;

#[cfg(feature = "http")]
pub mod breaker;
#[cfg(feature = "http")]
mod call;
#[cfg(feature = "driver")]
mod clock;
#[cfg(feature = "driver")]
pub mod entropy;
#[cfg(feature = "http")]
mod gcra;
#[cfg(feature = "http")]
mod host;
#[cfg(feature = "http")]
pub mod json;
#[cfg(feature = "url")]
mod origin;
#[cfg(feature = "http")]
mod problem;
#[cfg(feature = "http")]
pub mod retry;
#[cfg(feature = "url")]
mod socket_url;
#[cfg(feature = "http")]
pub mod strict_json;
#[cfg(feature = "http")]
pub mod wire;

pub use end_reason::EndReason;
pub use error_chain::error_chain;
pub use generated::limits;
pub use id::{ChannelId, DeploymentId, GuestId, IdError, SessionId, WebhookId};
pub use idempotency::{IdempotencyKey, IdempotencyKeyError};
pub use log_limit::LogLimit;
pub use now::{MAX_DURATION, Now, parse_rfc3339, rfc3339};
pub use region::{Region, UnknownRegion};
pub use stage::{SessionStage, SessionState};

#[cfg(feature = "driver")]
pub use clock::{Clock, Timer};
#[cfg(feature = "http")]
pub use {
    call::{Call, ReplyError},
    gcra::{Gcra, Rate},
    host::{Host, HostError, Hosts},
    problem::{Detail, Problem},
};
#[cfg(feature = "url")]
pub use {
    origin::{Origin, ParseOriginError},
    socket_url::{SocketUrl, SocketUrlError},
};
