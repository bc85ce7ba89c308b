#![doc = include_str!("../README.md")]

mod causes;
pub mod chat;
pub mod cli;
pub mod config;
pub mod demo;
mod gateway;
mod generated;
mod guest_sessions;
mod hub;
mod journal;
mod keys;

pub use gateway::{Gateway, StartError};
