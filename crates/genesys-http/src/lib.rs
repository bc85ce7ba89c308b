#![doc = include_str!("../README.md")]

mod breakers;
mod call;
mod client;
mod connect;
mod egress;
mod endpoint;
mod error;
mod identity;
mod proxy;
mod rate_limiter;
mod stream;
mod tls;
mod upgrade;

#[cfg(feature = "server")]
pub mod server;

pub use call::{CallError, CallErrorKind};
pub use client::{Client, ClientBuilder};
pub use egress::Egress;
pub use error::{Error, ErrorKind};
pub use identity::{ClientIdentity, IdentityError};
#[doc(no_inline)]
pub use ipnet::IpNet;
pub use proxy::{Proxy, ProxyError};
pub use rate_limiter::RateLimiter;
pub use stream::Stream;
pub use tls::{Tls, TlsError, TlsFault, TlsSettings, TlsStream, TlsVersion, Trust};
pub use upgrade::Upgrade;
