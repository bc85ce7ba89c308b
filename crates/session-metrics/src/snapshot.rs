//! The figures of one moment, as the gateway serves them.

use std::iter::Sum;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{EndReason, SessionStage};

/// All figures at one moment.
///
/// `sessions = open + ended`, and the same holds by stage: each session stands in exactly one row of `stages`, either
/// as open or as ended. As JSON the names are in camelCase, durations in whole milliseconds, and no data is `null`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Snapshot {
    /// Sessions created.
    pub sessions: u64,
    /// Those still open: in no rate and no duration below.
    pub open: u64,
    /// Those that have ended.
    pub ended: u64,
    /// Those that have ended, by reason.
    pub ended_by: EndCounts,
    /// Share of the ended sessions in which the guest never said a word, from 0 to 1. `None` while none has ended.
    pub drop_off: Option<f64>,
    /// The founding tutorial's formula, for comparison only: sessions with a message count of 0, of all sessions.
    /// It counts the handshake as a message, so that these are the sessions that never connected; and it counts open
    /// sessions, so that one created a moment ago is lost. `None` without sessions, where the tutorial has 0.0.
    pub tutorial_drop_off_rate: Option<f64>,
    /// The funnel, in order.
    pub stages: [StageFigures; 5],
    /// Durations of ended sessions, from creation to end.
    pub durations: Option<Durations>,
    /// From the guest's first message to the first reply, over all sessions that had one.
    pub time_to_first_reply: Option<Durations>,
}

impl Snapshot {
    /// The figures of one stage.
    #[must_use]
    pub fn stage(&self, stage: SessionStage) -> &StageFigures {
        &self.stages[stage as usize]
    }
}

/// One stage of the funnel.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct StageFigures {
    /// The stage.
    pub stage: SessionStage,
    /// Sessions that came at least here.
    pub reached: u64,
    /// Open sessions that have come exactly here.
    pub open: u64,
    /// Ended sessions that came exactly here.
    pub ended: u64,
    /// The same by reason.
    pub ended_by: EndCounts,
    /// Of the ended sessions that came at least here, the share that came no further. `None` without such sessions,
    /// and for the last stage, which leads nowhere.
    pub drop_off: Option<f64>,
}

impl StageFigures {
    pub(crate) fn empty(stage: SessionStage) -> Self {
        Self {
            stage,
            reached: 0,
            open: 0,
            ended: 0,
            ended_by: EndCounts::default(),
            drop_off: None,
        }
    }
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
}

impl EndCounts {
    /// Those that ended for `reason`.
    #[must_use]
    pub fn get(&self, reason: EndReason) -> u64 {
        match reason {
            EndReason::Agent => self.agent,
            EndReason::ConsentWithdrawn => self.consent_withdrawn,
            EndReason::Error => self.error,
            EndReason::Expired => self.expired,
            EndReason::Guest => self.guest,
            EndReason::ServerClosed => self.server_closed,
        }
    }

    /// Those that ended for any reason.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.agent + self.consent_withdrawn + self.error + self.expired + self.guest + self.server_closed
    }
}

impl Sum for EndCounts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |a, b| Self {
            agent: a.agent + b.agent,
            consent_withdrawn: a.consent_withdrawn + b.consent_withdrawn,
            error: a.error + b.error,
            expired: a.expired + b.expired,
            guest: a.guest + b.guest,
            server_closed: a.server_closed + b.server_closed,
        })
    }
}

/// Durations of at least one session. Quantiles are within 0.8 % of the true value; durations over 50 days count as
/// 50 days.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[non_exhaustive]
pub struct Durations {
    /// Number of durations.
    pub count: u64,
    /// Their mean.
    #[serde(rename = "meanMs", with = "millis")]
    pub mean: Duration,
    /// Half of them took at most this long.
    #[serde(rename = "p50Ms", with = "millis")]
    pub p50: Duration,
    /// 95 of 100 took at most this long.
    #[serde(rename = "p95Ms", with = "millis")]
    pub p95: Duration,
    /// 99 of 100 took at most this long.
    #[serde(rename = "p99Ms", with = "millis")]
    pub p99: Duration,
    /// All of them together.
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
