//! The frames of `web-messaging`, Genesys Cloud's own contract (its Guest API).
//!
//! Names, limits and shapes are those of Genesys' public mobile SDK, the schema in its Java SDK and its Developer
//! Center, as of November 2026. Unknown classes and fields are no errors: the service may grow.

mod attributes;
mod client_frame;
pub mod rest;
mod server_frame;

pub use attributes::{AttributesError, CustomAttributes};
pub use client_frame::{AuthenticationData, ClientFrame, GuestMessage};
pub use server_frame::{
    Body, Channel, Content, ErrorBody, FrameError, FrameKind, Jwt, MessageEvent, Metadata, Participant,
    Presence, QuickReply, ServerFrame, SessionResponse, StructuredMessage, TooManyRequests, Typing,
};

/// Path of the socket on the messaging host.
pub const PATH: &str = "/v1";

/// Name of the query parameter that names the deployment; the service requires it.
pub const DEPLOYMENT_QUERY: &str = "deploymentId";
