#![doc = include_str!("../README.md")]

mod chat;
#[cfg(feature = "client")]
mod client;

pub use chat::{Chat, Line, Look, Reason, Request, Tone, Writer};
#[cfg(feature = "client")]
pub use client::{ChatError, ChatErrorKind, Place, Surface, run};
