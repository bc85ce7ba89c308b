//! Snapshots of the figures.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::group::{Counts, ratio};
use crate::{EndReason, SessionStage};

/// All figures at one moment.
///
/// `sessions = open + ended`. Each session is counted in exactly one row of `stages`, as open or as ended. In JSON names
/// are in camelCase, durations in whole milliseconds, and a figure without data is `null`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Snapshot {
    /// Created sessions.
    pub sessions: u64,
    /// Open sessions, which are in no rate and no duration.
    pub open: u64,
    /// Ended sessions.
    pub ended: u64,
    /// Ended sessions by reason.
    pub ended_by: EndCounts,
    /// Share of the ended sessions without a message of the guest, from 0 to 1. `None` without ended sessions.
    pub drop_off: Option<f64>,
    /// The founding tutorial's formula, for comparison only: sessions with a message count of 0, of all sessions.
    /// It counts the handshake as a message, and open sessions as lost. `None` without sessions, where the tutorial has
    /// 0.0.
    pub tutorial_drop_off_rate: Option<f64>,
    /// The founding tutorial's formula, for comparison only: mean time from the creation of each session until now, also of
    /// an ended one. `None` without sessions.
    #[serde(default)]
    pub tutorial_avg_duration_seconds: Option<f64>,
    /// The funnel, in order.
    pub stages: [StageMetrics; 5],
    /// Durations of ended sessions, from creation to end.
    pub durations: Option<Durations>,
    /// Times from the guest's first message to the first reply, of all sessions that had one.
    pub time_to_first_reply: Option<Durations>,
    /// Times from the guest's first connection to a configured session.
    #[serde(default)]
    pub connect_time: Option<Durations>,
    /// Times from the request of a refresh to its answer, since the start of the process.
    #[serde(default)]
    pub refresh_latency: Option<Durations>,
    /// Times from the acceptance of a guest's message to its acknowledgement, since the start of the process.
    #[serde(default)]
    pub delivery_latency: Option<Durations>,
    /// Figures of the last 5 minutes, hour and day.
    #[serde(default)]
    pub windows: Vec<WindowMetrics>,
    /// Figures by channel and jurisdiction. The last one, `other`, has the sessions beyond 128 groups, and those that an
    /// earlier version counted. A gateway does not show an API client the channels of others, so that a remote snapshot has
    /// none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupMetrics>,
}

/// Figures of a time until now.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct WindowMetrics {
    /// The length: 5 minutes, an hour, or a day.
    #[serde(rename = "lengthMs", with = "millis")]
    pub length: Duration,
    /// The time that the figures cover: less after a start, and up to 5 % more otherwise.
    #[serde(rename = "coveredMs", with = "millis")]
    pub covered: Duration,
    /// Sessions that were created.
    pub created: u64,
    /// Sessions that ended.
    pub ended: u64,
    /// The same by reason.
    pub ended_by: EndCounts,
    /// Share of the ended sessions without a message of the guest. `None` without ended sessions.
    pub drop_off: Option<f64>,
    /// The funnel of the sessions that ended, so that none is open.
    pub stages: [StageMetrics; 5],
    /// As in [`Snapshot`], but quantiles are within 7 %.
    pub durations: Option<Durations>,
    /// As `durations`.
    pub time_to_first_reply: Option<Durations>,
    /// As `durations`.
    pub connect_time: Option<Durations>,
    /// As `durations`.
    pub refresh_latency: Option<Durations>,
    /// As `durations`.
    pub delivery_latency: Option<Durations>,
}

/// Figures of the sessions of one channel and jurisdiction.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct GroupMetrics {
    /// The channel.
    pub channel: String,
    /// The jurisdiction.
    pub jurisdiction: String,
    /// Created sessions.
    pub sessions: u64,
    /// Open sessions.
    pub open: u64,
    /// Ended sessions.
    pub ended: u64,
    /// The same by reason.
    pub ended_by: EndCounts,
    /// Share of the ended sessions without a message of the guest. `None` without ended sessions.
    pub drop_off: Option<f64>,
    /// The funnel, in order.
    pub stages: [StageMetrics; 5],
}

impl GroupMetrics {
    pub(crate) fn new(channel: &str, jurisdiction: &str, counts: &Counts) -> Self {
        let (stages, ended_by) = (counts.stages(), counts.ended_by());
        let ended = ended_by.total();
        Self {
            channel: channel.to_owned(),
            jurisdiction: jurisdiction.to_owned(),
            sessions: stages[0].reached,
            open: stages[0].reached - ended,
            ended,
            ended_by,
            drop_off: ratio(counts.silent(), ended),
            stages,
        }
    }

    /// Ended sessions without a message of the guest.
    #[cfg(feature = "prometheus")]
    pub(crate) fn silent(&self) -> u64 {
        let silent = &self.stages[..SessionStage::FirstGuestMessage as usize];
        silent.iter().map(|stage| stage.ended).sum()
    }
}

impl Snapshot {
    /// The figures of one stage.
    #[must_use]
    pub fn stage(&self, stage: SessionStage) -> &StageMetrics {
        &self.stages[stage as usize]
    }
}

/// One stage of the funnel.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct StageMetrics {
    /// The stage.
    pub stage: SessionStage,
    /// Sessions that reached this stage.
    pub reached: u64,
    /// Open sessions at this stage.
    pub open: u64,
    /// Ended sessions whose last stage is this one.
    pub ended: u64,
    /// The same by reason.
    pub ended_by: EndCounts,
    /// Share of the ended sessions at this stage among those that reached it. `None` without such sessions, and for the
    /// last stage.
    pub drop_off: Option<f64>,
}

/// Ended sessions by reason.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[expect(missing_docs, reason = "the fields are the members of EndReason")]
#[non_exhaustive]
pub struct EndCounts {
    pub agent: u64,
    pub consent_withdrawn: u64,
    pub error: u64,
    pub expired: u64,
    pub guest: u64,
    pub server_closed: u64,
    #[serde(default)]
    pub signed_out: u64,
    #[serde(default)]
    pub token_reuse: u64,
}

impl EndCounts {
    /// The counts by reason.
    pub(crate) fn by(count: impl Fn(EndReason) -> u64) -> Self {
        Self {
            agent: count(EndReason::Agent),
            consent_withdrawn: count(EndReason::ConsentWithdrawn),
            error: count(EndReason::Error),
            expired: count(EndReason::Expired),
            guest: count(EndReason::Guest),
            server_closed: count(EndReason::ServerClosed),
            signed_out: count(EndReason::SignedOut),
            token_reuse: count(EndReason::TokenReuse),
        }
    }

    pub(crate) fn total(&self) -> u64 {
        EndReason::ALL.into_iter().map(|reason| self.get(reason)).sum()
    }

    /// Sessions that ended for `reason`.
    #[must_use]
    pub fn get(&self, reason: EndReason) -> u64 {
        match reason {
            EndReason::Agent => self.agent,
            EndReason::ConsentWithdrawn => self.consent_withdrawn,
            EndReason::Error => self.error,
            EndReason::Expired => self.expired,
            EndReason::Guest => self.guest,
            EndReason::ServerClosed => self.server_closed,
            EndReason::SignedOut => self.signed_out,
            EndReason::TokenReuse => self.token_reuse,
        }
    }
}

/// Durations of at least one session. Quantiles are within 0.8 % of the true value. Durations over 50 days count as 50
/// days.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[non_exhaustive]
pub struct Durations {
    /// Number of durations.
    pub count: u64,
    /// Mean.
    #[serde(rename = "meanMs", with = "millis")]
    pub mean: Duration,
    /// Median.
    #[serde(rename = "p50Ms", with = "millis")]
    pub p50: Duration,
    /// Quantile 0.95.
    #[serde(rename = "p95Ms", with = "millis")]
    pub p95: Duration,
    /// Quantile 0.99.
    #[serde(rename = "p99Ms", with = "millis")]
    pub p99: Duration,
    /// Sum.
    #[serde(rename = "sumMs", with = "millis")]
    pub sum: Duration,
}

mod millis {
    //! A duration as whole milliseconds, rounded to the nearest.

    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        let rounded = duration.saturating_add(Duration::from_micros(500)).as_millis();
        serializer.serialize_u64(u64::try_from(rounded).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}
