//! Facts of `spec/` as code. Everything below this folder is written by `cargo xtask codegen`.
pub(crate) mod error_code;
