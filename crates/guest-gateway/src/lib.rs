#![doc = include_str!("../README.md")]

mod admin;
mod api;
mod audit_log;
mod checkpoints;
pub mod cli;
pub mod config;
#[cfg(feature = "sim")]
mod demo;
mod demo_page;
mod gateway;
mod health;
mod input_file;
mod keys;
mod metrics;
mod policy_file;
mod private_file;
pub mod relay;
mod resources;
mod settings;
mod simulator;
mod spa;
#[cfg(feature = "otlp")]
mod telemetry;

pub use gateway::{Gateway, StartError};
pub use settings::{ReloadError, Reloaded};
