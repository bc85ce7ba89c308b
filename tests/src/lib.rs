//! Simulations for end-to-end tests and for `cargo xtask simulate`.

pub mod simulation;
