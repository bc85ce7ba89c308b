//! The REST calls around a guest's socket, as values: whatever HTTP client there is moves them.

pub mod deployment;
pub mod history;
pub mod sign_in;
mod upload;

pub use upload::{Upload, UploadError};
