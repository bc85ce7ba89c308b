#![doc = include_str!("../README.md")]

mod config;
mod duration;
mod generated;
mod pki;
mod rest;
mod script;
mod serve;
mod socket;
mod world;

pub use config::{AttachmentRules, Config, Disconnect, Rules, SignInRules, Tls, User};
pub use pki::{LOOPBACK, Pki, PkiError, throwaway_ca};
pub use script::{Script, ScriptError};
pub use serve::{Simulator, StartError, StartErrorKind};
pub use world::{
    Agent, Complaint, Counters, Fault, FaultError, FaultKind, Injected, Limits, Oddity, Output, Reason, Said,
    SocketAges, SocketId, World,
};
