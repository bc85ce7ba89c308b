//! Throw-away PostgreSQL servers for tests.
//!
//! A [`Cluster`] is a server with its own folder. It listens on a Unix socket in that folder, and on no port
//! unless a test asks for one. Its binaries
//! come from the folder that `GUEST_SUITE_POSTGRES` names, from `PATH`, or from the newest package of Debian. As root, the
//! server runs under the account `postgres` or `nobody`, because PostgreSQL refuses root.
//!
//! No server outlives its test process: a shell between the two stops the server and removes its folder when the process
//! ends, also by a SIGKILL.

mod account;
mod binaries;
mod cluster;
mod folder;
mod server;

pub use cluster::Cluster;
pub use left_out::{Missing, leave_out};
