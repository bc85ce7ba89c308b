//! Clients of the contract: the REST calls as values, a client that sends them, and the conversation over the socket.

pub mod calls;
mod conversation;
mod gateway_session;
mod rest;

pub use conversation::GatewayConversation;
pub use gateway_session::GatewaySession;
pub use rest::RestClient;
