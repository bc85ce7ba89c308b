#![doc = include_str!("../README.md")]

mod histogram;
mod journey;
mod metrics;
mod prometheus;
mod snapshot;

pub use genesys_api::{EndReason, SessionStage};
pub use journey::{Event, Journey};
pub use metrics::Metrics;
pub use prometheus::render_prometheus;
pub use snapshot::{Durations, EndCounts, Snapshot, StageMetrics};
