//! Codes and routes of `spec/guest-sessions`. `cargo xtask codegen` writes everything below this folder.

mod error_code;
mod routes;

pub use error_code::{DetailCode, ErrorCode};
pub use routes::{Operation, ROUTES, Route};
