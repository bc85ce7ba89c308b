//! The sliding window: the time at which a token is refreshed.

use std::time::{Duration, Instant};

use genesys_api::{MAX_DURATION, retry};

/// Shortest time between two requests, however short the lifetime. Our choice: a service that issues unusable tokens
/// gets one request per second.
const MIN_PAUSE: Duration = Duration::from_secs(1);

/// The last part of a token's lifetime, in which it is refreshed.
///
/// Its length, the lead, is `min(longest lead, lifetime / divisor)`: by default 15 minutes, or a quarter of the
/// lifetime if that is shorter. Each refresh brings a new lifetime, and the window moves to the end of that one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Window {
    longest_lead: Duration,
    divisor: u32,
}

impl Default for Window {
    /// 15 minutes, at most a quarter of the lifetime. The 15 minutes come from the founding tutorial. The quarter is our
    /// choice: it keeps a token of 15 minutes from being refreshed continuously.
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
    /// If the lead is zero, or the divisor is outside 2 to 100. A window longer than half the lifetime refreshes young
    /// tokens, one shorter than a hundredth leaves no time for retries.
    pub fn new(longest_lead: Duration, divisor: u32) -> Result<Self, WindowError> {
        if longest_lead.is_zero() || !(2..=100).contains(&divisor) {
            return Err(WindowError);
        }
        Ok(Self {
            longest_lead,
            divisor,
        })
    }

    /// Minimum time between the first refresh and the expiry of a token with this lifetime.
    pub(crate) fn lead(&self, lifetime: Duration) -> Duration {
        self.longest_lead.min(lifetime / self.divisor)
    }

    /// Time of the first refresh of a token whose request was sent at `sent_at`: up to a fifth of the lead before the
    /// window opens, and at least one second after `sent_at`. A lifetime counts as at most ten years.
    #[must_use]
    pub fn refresh_at(&self, lifetime: Duration, jitter: Jitter, sent_at: Instant) -> Instant {
        let lifetime = lifetime.min(MAX_DURATION);
        let lead = self.lead(lifetime);
        let early = lead + retry::jitter(lead / 5, jitter.0);
        sent_at + lifetime.saturating_sub(early).max(MIN_PAUSE)
    }
}

/// An invalid window.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("invalid window: give a lead above zero and a divisor from 2 to 100")]
pub struct WindowError;

/// The position of a session in the spread of refresh times, as a hash of its id: the same on every machine and after
/// every restart. Sessions that were created together are not refreshed together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Jitter(pub(crate) u64);

impl Jitter {
    /// The jitter of a session.
    #[must_use]
    pub fn of(id: &str) -> Self {
        // FNV-1a, then the finalizer of MurmurHash3: FNV's high bits hardly differ for ids that end differently
        let mut hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        Self(hash ^ (hash >> 33))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tokens::tests::epoch;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn token_of_one_hour_is_refreshed_18_to_15_minutes_before_expiry() {
        let start = epoch();
        let end = start + 60 * MINUTE;
        let mut early = 0;
        for i in 0..10_000 {
            let at = Window::default().refresh_at(60 * MINUTE, Jitter::of(&format!("guest-{i}")), start);
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
    fn sessions_of_one_second_are_refreshed_at_most_twice_as_often_as_the_mean() {
        let start = epoch();
        for lifetime in [15 * MINUTE, 60 * MINUTE, 1_440 * MINUTE] {
            let mut per_second = std::collections::BTreeMap::<_, u32>::new();
            for i in 0..10_000 {
                let born = start + Duration::from_micros(100 * i);
                let at = Window::default().refresh_at(lifetime, Jitter::of(&format!("guest-{i}")), born);
                *per_second.entry((at - start).as_secs()).or_default() += 1;
            }
            let mean = 10_000 / per_second.len() as u32;
            let peak = per_second.values().max().unwrap();
            assert!(*peak <= 2 * mean, "{peak} in a second, {mean} on average");
        }
    }

    #[test]
    fn window_is_a_quarter_of_short_lifetime() {
        let start = epoch();
        let at =
            |seconds| Window::default().refresh_at(Duration::from_secs(seconds), Jitter(0), start) - start;
        assert_eq!(at(15 * 60), Duration::from_secs(15 * 60 * 3 / 4));
        assert_eq!(at(60), Duration::from_secs(45));
        assert!(at(u64::MAX) < MAX_DURATION, "the sum does not overflow");
        assert_eq!(
            at(0),
            Duration::from_secs(1),
            "at least one second after the request"
        );
    }

    #[test]
    fn jitter_of_id_is_stable() {
        assert_eq!(Jitter::of("guest-1"), Jitter(0x5df9_a6a4_1478_b9bc));
        assert_ne!(Jitter::of("guest-1"), Jitter::of("guest-2"));
    }

    #[test]
    fn window_rejects_lead_of_zero_and_divisor_out_of_range() {
        assert_eq!(Window::new(Duration::ZERO, 4), Err(WindowError));
        for divisor in [0, 1, 101, u32::MAX] {
            assert_eq!(Window::new(MINUTE, divisor), Err(WindowError));
        }
        assert_eq!(Window::new(15 * MINUTE, 4), Ok(Window::default()));
    }

    proptest! {
        #[test]
        fn jitter_moves_refresh_earlier_by_at_most_a_fifth(
            longest in 1_u64..10_000, divisor in 2_u32..=100, lifetime in 5_000_u64..200_000_000, id in ".*",
        ) {
            let start = epoch();
            let lifetime = Duration::from_millis(lifetime);
            let window = Window::new(Duration::from_secs(longest), divisor).unwrap();
            let lead = window.lead(lifetime);
            let left = start + lifetime - window.refresh_at(lifetime, Jitter::of(&id), start);
            prop_assert!(left >= lead && left <= lead + lead / 5);
            prop_assert!(lead <= lifetime / 2);
        }
    }
}
