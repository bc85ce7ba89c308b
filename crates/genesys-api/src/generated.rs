//! Facts of `spec/` as code. Everything below this folder is written by `cargo xtask codegen`.
pub mod limits;
pub(crate) mod regions;
