//! The sliding window: when a token is renewed.

use std::time::{Duration, Instant};

use genesys_api::retry;

/// No token is renewed sooner than this after it was asked for, however short its life. Our choice: a service that
/// issues tokens of no use is asked once a second, not in a loop.
pub(crate) const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// The last part of a token's life, in which it is renewed.
///
/// Its length, the lead, is `min(longest lead, lifetime / divisor)`: 15 minutes, or a quarter of the lifetime where
/// that is less, unless set otherwise. The window belongs to one token: each renewal brings a new lifetime, and the
/// window slides to that one's end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Window {
    longest_lead: Duration,
    divisor: u32,
}

impl Default for Window {
    /// 15 minutes, at most a quarter of the lifetime. The 15 minutes are the founding tutorial's; the quarter is our
    /// choice, and keeps a token that lives for 15 minutes from being renewed for ever.
    fn default() -> Self {
        Self {
            longest_lead: Duration::from_secs(15 * 60),
            divisor: 4,
        }
    }
}

impl Window {
    /// A window of at most `longest_lead`, and at most one `divisor`th of the lifetime.
    ///
    /// # Errors
    /// If the lead is nothing, or the divisor is outside 2 to 100: a window longer than half the lifetime renews
    /// tokens that are still young, one shorter than a hundredth leaves no time to try again.
    pub fn new(longest_lead: Duration, divisor: u32) -> Result<Self, WindowError> {
        if longest_lead.is_zero() {
            return Err(WindowError::Lead);
        }
        if !(2..=100).contains(&divisor) {
            return Err(WindowError::Divisor { divisor });
        }
        Ok(Self {
            longest_lead,
            divisor,
        })
    }

    /// How long before its end a token of this lifetime is renewed at the latest.
    #[must_use]
    pub fn lead(&self, lifetime: Duration) -> Duration {
        self.longest_lead.min(lifetime / self.divisor)
    }

    /// When to renew a token that was asked for at `sent_at` and lives for `lifetime` from then: up to a fifth of the
    /// lead before the window opens, never after. At the earliest one second after `sent_at`.
    #[must_use]
    pub fn renew_at(&self, lifetime: Duration, jitter: Jitter, sent_at: Instant) -> Instant {
        let lead = self.lead(lifetime);
        let early = lead + jitter.share_of(lead / 5);
        sent_at + lifetime.saturating_sub(early).max(SHORTEST_PAUSE)
    }
}

/// The window cannot be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WindowError {
    /// The share of the lifetime is too large or too small.
    #[error("a window of 1/{divisor} of the lifetime: give a divisor from 2 to 100")]
    Divisor {
        /// What was given.
        divisor: u32,
    },
    /// A lead of nothing.
    #[error("a window of no length would never renew: give a lead above zero")]
    Lead,
}

/// Where in the spread a session stands: the same for ever for the same id, on every machine, and unlike for others.
/// So sessions that were created together are not renewed together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Jitter(u64);

impl Jitter {
    /// The jitter of a session. The id is not kept.
    #[must_use]
    pub fn of(id: &str) -> Self {
        // FNV-1a, then the finalizer of MurmurHash3, as FNV's high bits hardly differ for ids that end differently
        let mut hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        Self(hash ^ (hash >> 33))
    }

    fn share_of(self, spread: Duration) -> Duration {
        retry::full_jitter(spread, spread, 0, self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tokens::tests::epoch;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn an_hour_is_renewed_between_18_and_15_minutes_before_its_end() {
        let start = epoch();
        let end = start + 60 * MINUTE;
        let mut early = 0;
        for i in 0..10_000 {
            let at = Window::default().renew_at(60 * MINUTE, Jitter::of(&format!("guest-{i}")), start);
            assert!(
                end - at >= 15 * MINUTE && end - at <= 18 * MINUTE,
                "{:?}",
                end - at
            );
            early += usize::from(end - at > 15 * MINUTE + 90 * Duration::from_secs(1));
        }
        assert!((4_500..5_500).contains(&early), "{early} of 10,000 in one half");
    }

    #[test]
    fn a_short_life_is_not_all_window() {
        let start = epoch();
        let at = |seconds| Window::default().renew_at(Duration::from_secs(seconds), Jitter(0), start) - start;
        assert_eq!(at(15 * 60), Duration::from_secs(15 * 60 * 3 / 4));
        assert_eq!(at(60), Duration::from_secs(45));
        assert_eq!(at(0), Duration::from_secs(1), "never in a loop");
    }

    #[test]
    fn the_jitter_of_an_id_never_changes() {
        assert_eq!(Jitter::of("guest-1"), Jitter(0x5df9_a6a4_1478_b9bc));
        assert_ne!(Jitter::of("guest-1"), Jitter::of("guest-2"));
    }

    #[test]
    fn a_window_is_parsed() {
        assert_eq!(Window::new(Duration::ZERO, 4), Err(WindowError::Lead));
        for divisor in [0, 1, 101, u32::MAX] {
            assert_eq!(
                Window::new(MINUTE, divisor),
                Err(WindowError::Divisor { divisor })
            );
        }
        assert_eq!(Window::new(15 * MINUTE, 4), Ok(Window::default()));
    }

    proptest! {
        #[test]
        fn the_jitter_only_ever_renews_earlier(
            longest in 1_u64..10_000, divisor in 2_u32..=100, lifetime in 5_000_u64..200_000_000, id in ".*",
        ) {
            let start = epoch();
            let lifetime = Duration::from_millis(lifetime);
            let window = Window::new(Duration::from_secs(longest), divisor).unwrap();
            let lead = window.lead(lifetime);
            let left = start + lifetime - window.renew_at(lifetime, Jitter::of(&id), start);
            prop_assert!(left >= lead && left <= lead + lead / 5);
            prop_assert!(lead <= lifetime / 2);
        }
    }
}
