#![doc = include_str!("../README.md")]

mod error_chain;
mod generated;
mod id;
mod now;
mod rate;
mod region;
mod stage;
pub mod timestamp;

#[cfg(feature = "http")]
mod call;
#[cfg(feature = "driver")]
mod clock;
#[cfg(feature = "driver")]
pub mod entropy;
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

#[cfg(feature = "http")]
pub use call::{Call, ReplyError};
#[cfg(feature = "driver")]
pub use clock::{Clock, Timer};
pub use error_chain::error_chain;
pub use generated::limits;
#[cfg(feature = "http")]
pub use host::{Host, HostError, Hosts};
pub use id::{ChannelId, DeploymentId, GuestId, IdError, SessionId, WebhookId};
pub use now::{Now, parse_rfc3339, rfc3339};
#[cfg(feature = "url")]
pub use origin::{Origin, ParseOriginError};
#[cfg(feature = "http")]
pub use problem::{Detail, Problem};
pub use rate::SlidingWindow;
pub use region::{Region, UnknownRegion};
#[cfg(feature = "url")]
pub use socket_url::{SocketUrl, SocketUrlError};
pub use stage::{SessionStage, SessionState};
