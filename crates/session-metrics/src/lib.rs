#![doc = include_str!("../README.md")]

mod group;
mod histogram;
mod journey;
mod metrics;
#[cfg(feature = "prometheus")]
mod prometheus;
mod snapshot;
mod timing;
mod window;

pub use genesys_api::{EndReason, Now, SessionStage};
pub use group::Group;
pub use journey::{Event, Journey};
pub use metrics::Metrics;
#[cfg(feature = "prometheus")]
pub use prometheus::Scrape;
pub use snapshot::{Durations, EndCounts, GroupMetrics, Snapshot, StageMetrics, WindowMetrics};
pub use timing::RefreshOutcome;
