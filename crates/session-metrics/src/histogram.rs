//! A histogram of durations that threads record without a lock.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use histogram::AtomicHistogram;

use crate::Durations;

/// 2^6 buckets for each power of two: a bucket is 1.6 % wide.
const GROUPING_POWER: u8 = 6;
/// As many bits for the copies of a window: a bucket is 12.5 % wide.
const COARSE_POWER: u8 = 3;
/// Longer durations count as 2^42 µs, which are 50.9 days.
const MAX_POWER: u8 = 42;

/// Durations in microseconds.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: AtomicHistogram,
    sum: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: AtomicHistogram::new(GROUPING_POWER, MAX_POWER).expect("the powers are in range"),
            sum: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    pub(crate) fn record(&self, duration: Duration) {
        let micros = micros(duration);
        // before the bucket: a counted duration is rarely missing from the sum
        self.sum.fetch_add(micros, Relaxed);
        let counted = self.buckets.increment(micros);
        debug_assert!(counted.is_ok(), "{micros} is in range");
    }

    /// The totals to which a duration adds, with its additions: the sum, and the bucket that its shortest duration names.
    pub(crate) fn totals(duration: Duration) -> [(String, u64); 2] {
        let micros = micros(duration);
        let excess = micros
            .checked_ilog2()
            .map_or(0, |power| power.saturating_sub(GROUPING_POWER.into()));
        [
            ("sum".to_owned(), micros),
            ((micros >> excess << excess).to_string(), 1),
        ]
    }

    /// Adds a total of [`Histogram::totals`]. An unknown name gives `None`.
    pub(crate) fn restore(&self, name: &str, total: u64) -> Option<()> {
        if name == "sum" {
            self.sum.fetch_add(total, Relaxed);
            return Some(());
        }
        self.buckets.add(name.parse().ok()?, total).ok()
    }

    /// The recorded durations.
    pub(crate) fn load(&self) -> Recorded {
        Recorded {
            buckets: self.buckets.load(),
            sum: self.sum.load(Relaxed),
        }
    }
}

/// Durations that were recorded until one time, or between two.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    buckets: histogram::Histogram,
    pub(crate) sum: u64,
}

impl Recorded {
    /// The same in fewer buckets.
    pub(crate) fn coarse(&self) -> Self {
        Self {
            buckets: self
                .buckets
                .downsample(COARSE_POWER)
                .expect("the power is smaller"),
            sum: self.sum,
        }
    }

    /// The durations since an earlier time, of which coarse copies are known.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            buckets: self
                .buckets
                .wrapping_sub(&earlier.buckets)
                .expect("both are coarse"),
            sum: self.sum.saturating_sub(earlier.sum),
        }
    }

    /// The figures, or `None` without any duration. A quantile is the middle of its bucket.
    pub(crate) fn figures(&self) -> Option<Durations> {
        let quantiles = self.buckets.quantiles(&[0.50, 0.95, 0.99]).ok()??;
        let count = u64::try_from(quantiles.total_count()).ok()?;
        let mut middles = quantiles.entries().values().map(|bucket| {
            let middle = bucket.start().midpoint(bucket.end());
            Duration::from_micros(middle)
        });
        Some(Durations {
            count,
            mean: Duration::from_micros(self.sum.checked_div(count)?),
            p50: middles.next()?,
            p95: middles.next()?,
            p99: middles.next()?,
            sum: Duration::from_micros(self.sum),
        })
    }

    /// Returns the number of durations up to each bound and above the one before, to 1.6 %, then of those above the last. The
    /// bounds are in microseconds and ascending.
    #[cfg(feature = "prometheus")]
    pub(crate) fn count_between(&self, bounds: &[u64]) -> Vec<u64> {
        let mut counts = vec![0; bounds.len() + 1];
        for bucket in &self.buckets {
            counts[bounds.partition_point(|bound| *bound < bucket.end())] += bucket.count();
        }
        counts
    }
}

fn micros(duration: Duration) -> u64 {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    micros.min((1 << MAX_POWER) - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn empty_histogram_reads_none() {
        assert_eq!(Histogram::default().load().figures(), None);
    }

    #[test]
    fn histogram_saturates_at_extreme_durations() {
        let histogram = Histogram::default();
        histogram.record(Duration::MAX);
        histogram.record(Duration::ZERO);
        let read = histogram.load().figures().unwrap();
        assert_eq!(read.count, 2);
        assert!(read.p99 > Duration::from_secs(50 * 86_400));
        assert_eq!(read.p50, Duration::ZERO);
    }

    #[test]
    fn quantile_is_within_one_percent_of_a_single_value() {
        for power in 0..42 {
            for micros in [1 << power, (1 << power) + 1, (2 << power) - 1] {
                let histogram = Histogram::default();
                histogram.record(Duration::from_micros(micros));
                let read = histogram.load().figures().unwrap().p50.as_micros() as u64;
                assert!(
                    read.abs_diff(micros) * 125 <= micros,
                    "{micros} is read as {read}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn quantiles_equal_those_of_hdrhistogram(values in proptest::collection::vec(0_u64..3_600_000_000, 1..400)) {
            let histogram = Histogram::default();
            let mut reference = hdrhistogram::Histogram::<u64>::new_with_bounds(1, 1 << 42, 4).unwrap();
            for value in &values {
                histogram.record(Duration::from_micros(*value));
                reference.record(*value).unwrap();
            }
            let read = histogram.load().figures().unwrap();
            prop_assert_eq!(read.sum.as_micros(), u128::from(values.iter().sum::<u64>()));
            for (actual, quantile) in [(read.p50, 0.50), (read.p95, 0.95), (read.p99, 0.99)] {
                let expected = reference.value_at_quantile(quantile);
                let actual = actual.as_micros() as u64;
                prop_assert!(actual.abs_diff(expected) * 100 <= expected.max(100), "{quantile}: {actual} for {expected}");
            }
        }
    }
}
