//! Clients of the contract: the REST calls as values, a client that sends them, and the conversation over the socket.

mod calls;
mod conversation;
mod gateway_session;
mod rest;

pub use calls::{
    ChangeConsent, CreateSession, EndSession, FetchAuditTrail, FetchMetrics, FetchSession, FetchWebhook,
    ListWebhooks, RefreshSession, RegisterWebhook, Registered, RemoveWebhook, ReplaceWebhook,
};
pub use conversation::GatewayConversation;
pub use gateway_session::GatewaySession;
pub use rest::RestClient;
