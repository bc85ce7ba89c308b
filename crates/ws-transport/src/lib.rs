#![doc = include_str!("../README.md")]

mod backoff;
#[cfg(feature = "client")]
pub mod client;
mod close;
mod connect_queue;
mod handshake;
mod heartbeat;
mod machine;
mod origin;
#[cfg(feature = "client")]
pub mod server;
#[cfg(feature = "client")]
mod socket;
mod transmit;

pub use backoff::Backoff;
pub use close::CloseInfo;
pub use connect_queue::{ConnectQueue, QueueFull, Ticket};
pub use genesys_api::{Origin, ParseOriginError, SocketUrl, SocketUrlError};
pub use handshake::{ClientHandshake, HandshakeError, ServerHandshake, UpgradeError};
pub use heartbeat::{Heartbeat, HeartbeatAction};
pub use machine::{Command, Machine};
pub use origin::{AdmittedOrigin, OriginError, OriginPolicy, OriginPolicyError};
pub use transmit::Transmit;
