//! The contract of `spec/guest-sessions` as code and as served. Everything below this folder is written by
//! `cargo xtask codegen`.

mod error_code;
mod routes;

pub(crate) use error_code::ErrorCode;
pub(crate) use routes::{Operation, ROUTES};

/// The description of the REST calls.
pub(crate) const OPENAPI: &str = include_str!("generated/openapi.json");
/// The JSON Schema of the WebSocket's frames.
pub(crate) const FRAMES: &str = include_str!("generated/frames.schema.json");
/// The JSON Schema of a webhook delivery's body.
pub(crate) const EVENTS: &str = include_str!("generated/events.schema.json");
