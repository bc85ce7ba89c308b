#![doc = include_str!("../README.md")]

mod histogram;
mod journey;
mod metrics;
mod prometheus;
mod snapshot;
mod stage;

pub use journey::{Event, Journey};
pub use metrics::{Metrics, Past};
pub use prometheus::render_prometheus;
pub use snapshot::{Durations, EndCounts, Snapshot, StageFigures};
pub use stage::{EndReason, Stage, UnknownName};
