#![doc = include_str!("../README.md")]

mod attributes;
mod client_frame;
pub mod content;
mod error_code;
mod generated;
mod journey;
pub mod message;
pub mod rest;
mod server_frame;

pub use attributes::{AttributesError, CustomAttributes};
pub use client_frame::{ClientAction, ClientFrame, GuestMessage};
pub use error_code::{ErrorCode, Remedy};
pub use journey::{ActionMap, JourneyAction, JourneyContext, JourneySession};
pub use rest::deployment::DeploymentRules;
pub use server_frame::{
    AllowedMedia, Body, Channel, Configuration, ErrorBody, FileType, FrameError, FrameKind, IssuedToken,
    MediaRules, MessageEvent, Metadata, Offer, OfferState, Participant, Presence, PresenceKind, PresignedUrl,
    ReceiptReason, ServerFrame, SessionResponse, StructuredMessage, Typing, UploadSuccess,
};

/// Path of the socket on the messaging host.
pub const PATH: &str = "/v1";

/// Name of the query parameter that names the deployment; the service requires it.
pub const DEPLOYMENT_QUERY: &str = "deploymentId";
