//! The client's end of a socket: the driver of a state machine, and a plain socket that reconnects.

mod connection;
mod driver;
mod limiter;
mod link;
mod web_socket;

pub use self::connection::{Event, Loss, SendError};
pub use self::driver::{Driver, Handle, RunningJob, Settings};
pub use self::limiter::ConnectLimiter;
pub use self::web_socket::WebSocket;
