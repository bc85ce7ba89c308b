#![doc = include_str!("../README.md")]

mod chat;
#[cfg(feature = "client")]
mod client;

pub use chat::{Chat, InputMode, Line, Reason, Request, Style};
#[cfg(feature = "client")]
pub use client::{ChatError, ConnectTarget, Frontend, run};
