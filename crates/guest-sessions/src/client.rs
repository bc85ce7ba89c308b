//! Clients of the contract: the REST calls as values, a client that sends them, and the conversation over the socket.

pub mod calls;
mod conversation;
mod error_kind;
mod files;
mod gateway_connection;
mod gateway_session;
mod rest;

pub use conversation::GatewayConversation;
pub use error_kind::ErrorKind;
pub use gateway_connection::{GatewayConnection, GatewayRefresher};
pub use gateway_session::GatewaySession;
pub use rest::RestClient;
