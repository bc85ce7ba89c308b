//! The documents of `spec/guest-sessions` as they are served. `cargo xtask codegen` writes everything below this
//! folder.

/// The description of the REST calls.
pub(crate) const OPENAPI: &str = include_str!("generated/openapi.json");
/// The JSON Schema of the WebSocket's frames.
pub(crate) const FRAMES: &str = include_str!("generated/frames.schema.json");
/// The JSON Schema of a webhook delivery's body.
pub(crate) const EVENTS: &str = include_str!("generated/events.schema.json");
