#![doc = include_str!("../README.md")]

mod call;
mod generated;
mod host;
mod id;
pub mod json;
mod now;
#[cfg(feature = "url")]
mod origin;
mod problem;
mod rate;
mod region;
pub mod retry;
#[cfg(feature = "url")]
mod socket_url;
pub mod wire;

#[cfg(feature = "driver")]
mod clock;
#[cfg(feature = "driver")]
pub mod entropy;

pub use call::{Call, ReplyError};
#[cfg(feature = "driver")]
pub use clock::Clock;
pub use generated::limits;
pub use host::{Host, HostError, Hosts};
pub use id::{ChannelId, DeploymentId, GuestId, IdError, SessionId, WebhookId};
pub use now::{Now, parse_rfc3339, rfc3339};
#[cfg(feature = "url")]
pub use origin::{Origin, ParseOriginError};
pub use problem::{Detail, Problem};
pub use rate::SlidingWindow;
pub use region::{Region, UnknownRegion};
#[cfg(feature = "url")]
pub use socket_url::{SocketUrl, SocketUrlError};
