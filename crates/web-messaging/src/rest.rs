//! REST calls around a guest's socket, as values for any HTTP client.

pub mod deployment;
pub mod history;
pub mod sign_in;
mod upload;

pub use upload::{Upload, UploadError};
