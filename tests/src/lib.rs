//! Simulations and crash cycles, for end-to-end tests and for tasks.

pub mod crash;
pub mod simulation;
