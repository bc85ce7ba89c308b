#![doc = include_str!("../README.md")]

mod attributes;
mod client_frame;
pub mod content;
mod deployment_rules;
mod error_code;
mod generated;
mod journey;
pub mod message;
pub mod rest;
mod server_frame;

pub use attributes::{AttributesError, CustomAttributes};
pub use client_frame::{ClientFrame, GuestMessage};
pub use deployment_rules::DeploymentRules;
pub use error_code::{ErrorCode, Remedy};
pub use journey::{JourneyAction, JourneyContext, JourneySession};
pub use server_frame::{
    AllowedMedia, AttachmentError, Body, Channel, CoBrowse, Configuration, ErrorBody, FileType, FrameError,
    FrameKind, Jwt, MediaRules, MessageEvent, Metadata, Offer, Participant, Presence, PresenceKind,
    PresignedUrl, ReceiptReason, ResumeToken, ServerFrame, SessionResponse, StructuredMessage,
    TooManyRequests, Typing, UploadSuccess, Video,
};

/// Path of the socket on the messaging host.
pub const PATH: &str = "/v1";

/// Name of the query parameter that names the deployment; the service requires it.
pub const DEPLOYMENT_QUERY: &str = "deploymentId";
