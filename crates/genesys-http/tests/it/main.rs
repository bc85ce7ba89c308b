//! Client and server against each other, and against misbehaving peers, on real sockets.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod authority;
mod call;
mod client;
mod loopback;
mod pool;
mod proxy;
mod rate_limit;
mod server;
mod tls;
mod tls_faults;
