//! The statements of a store, which run in SQLite and in PostgreSQL, and the threads that run them.

mod changes;
mod deliveries;
pub(crate) mod delivery_log;
pub(crate) mod error;
pub(crate) mod keyed_requests;
pub(crate) mod live_guests;
pub(crate) mod log;
pub(crate) mod memory;
pub(crate) mod outbox;
pub(crate) mod personal;
pub(crate) mod prepared;
pub(crate) mod reader;
pub(crate) mod rows;
pub(crate) mod shared_tokens;
mod subjects;
pub(crate) mod threads;
pub(crate) mod transaction;
pub(crate) mod turns;
pub(crate) mod values;
pub(crate) mod writer;
