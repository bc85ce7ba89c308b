#![doc = include_str!("../README.md")]

mod cloud;
mod config;
mod duration;
mod fault;
mod generated;
mod json;
mod pki;
mod query;
mod rest;
mod script;
mod server;

pub use cloud::{Cloud, Counters, Output, Reason, SocketId, TranscriptEntry, Violation, ViolationKind};
pub use config::{
    AttachmentRules, Config, Disconnect, Limits, Rules, SignInRules, SocketTimeouts, Tls, User,
};
pub use fault::{Fault, FaultError};
pub use pki::{LOOPBACK, Pki, PkiError, throwaway_ca};
pub use script::{Agent, Script, ScriptError};
pub use server::{Simulator, StartError};
