//! The client's end of a socket: connection attempts and their limiter.

mod limiter;
mod link;

pub use self::limiter::ConnectLimiter;
pub use self::link::{Link, Socket, Turn};
