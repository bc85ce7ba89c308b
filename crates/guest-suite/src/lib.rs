#![doc = include_str!("../README.md")]

pub mod direct;
mod error;
mod session;
mod sessions;
mod sign_in;

pub use audit;
pub use error::Error;
pub use genesys_api as api;
pub use genesys_auth as auth;
pub use genesys_http as http;
pub use guest_payload as payload;
pub use guest_payload::NewGuest;
pub use guest_sessions::client::ErrorKind;
pub use guest_sessions::{AuditQuery, AuditTrail, SessionInfo};
pub use guest_store as store;
pub use session::GuestSession;
pub use session_metrics as metrics;
pub use sessions::{GuestSessions, RemoteConfig};
pub use sign_in::SignIn;
pub use token_window;
pub use webhook;
pub use ws_transport as transport;
pub use {guest_conversation as conversation, guest_sessions as contract, web_messaging};
