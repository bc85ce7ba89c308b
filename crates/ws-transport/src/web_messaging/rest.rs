//! The REST calls around a guest's socket, as values.

pub mod history;
