//! The frames of `guest-sessions`, our own contract, which `guest-gateway` serves.
//!
//! Both directions: the client writes [`ClientFrame`] and reads [`ServerFrame`], the gateway the other way round. The
//! gateway is strict (an unknown type or field is an error), the client is not.
//!
//! Events are numbered, and a handshake with `lastSequence` gets those missed. The `id` of a message is chosen by the
//! client and names it for good: sent again after a lost connection, it is the same message, and the gateway must
//! answer for it without passing it on twice.

mod access_token;
mod client_frame;
mod server_frame;

pub use access_token::{PROTOCOL, TokenPlacement, offered_token, query_token};
pub use client_frame::{BadFrame, ClientFrame};
pub use server_frame::{EventName, Sender, SenderKind, ServerFrame, SuggestedReply};

/// Query parameter that may carry the access token, as the founding tutorial does.
pub const TOKEN_QUERY: &str = "access_token";

/// Prefix of the WebSocket subprotocol that may carry the access token.
pub const TOKEN_PROTOCOL_PREFIX: &str = "access_token.";
