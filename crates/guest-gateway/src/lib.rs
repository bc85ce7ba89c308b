#![doc = include_str!("../README.md")]

mod api;
mod audit_log;
pub mod cli;
pub mod config;
#[cfg(feature = "sim")]
pub mod demo;
mod gateway;
mod generated;
mod keys;
mod relay;
mod simulator;

pub use gateway::{Gateway, StartError};
