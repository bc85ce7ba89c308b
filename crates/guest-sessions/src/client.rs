//! Client of the contract: the REST calls as values, and a client that sends them.

mod calls;
mod rest;

pub use calls::{
    ChangeConsent, CreateSession, EndSession, FetchAuditTrail, FetchMetrics, FetchSession, FetchWebhook,
    ListWebhooks, RefreshSession, RegisterWebhook, Registered, RemoveWebhook, ReplaceWebhook,
};
pub use rest::RestClient;
