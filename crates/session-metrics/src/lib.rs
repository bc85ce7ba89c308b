#![doc = include_str!("../README.md")]

mod end_reason;
mod histogram;
mod journey;
mod metrics;
mod prometheus;
mod snapshot;

pub use end_reason::EndReason;
pub use genesys_api::SessionStage;
pub use journey::{Event, Journey};
pub use metrics::{Metrics, StoredSession};
pub use prometheus::render_prometheus;
pub use snapshot::{Durations, EndCounts, Snapshot, StageMetrics};
