#![doc = include_str!("../README.md")]

mod access_token;
mod client_frame;
mod generated;
mod server_frame;

pub use access_token::{PROTOCOL, TokenPlacement, offered_token, query_token};
pub use client_frame::{BadFrame, ClientFrame};
pub use generated::{DetailCode, ErrorCode, Operation, ROUTES, Route};
pub use server_frame::{EventName, Sender, SenderKind, ServerFrame, SuggestedReply};

/// Query parameter that may carry the access token, as the founding tutorial does.
pub const TOKEN_QUERY: &str = "access_token";

/// Prefix of the WebSocket subprotocol that may carry the access token.
pub const TOKEN_PROTOCOL_PREFIX: &str = "access_token.";
