//! The client and the server against each other, and each against a peer that misbehaves, on real sockets.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod authority;
mod call;
mod client;
mod loopback;
mod proxy;
mod server;
mod tls;
