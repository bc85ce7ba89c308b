#![doc = include_str!("../README.md")]

pub mod cli;
pub mod config;
#[cfg(feature = "sim")]
pub mod demo;
mod gateway;
mod generated;
mod guest_sessions;
mod hub;
mod journal;
mod keys;
mod simulator;

pub use gateway::{Gateway, StartError};
