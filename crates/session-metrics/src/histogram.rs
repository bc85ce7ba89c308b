//! Durations in buckets of atomics: no lock to record, a bounded walk to read.
//!
//! The layout is that of `hdrhistogram`: 64 equal buckets for every power of two, from 1 µs to 50 days. What is added
//! is a total for each power, so that a quantile is found in two short walks instead of one through thousands of
//! buckets, and that threads record without a lock. The tests hold it to `hdrhistogram`'s answers.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use crate::Durations;

const SUB_BITS: u32 = 6;
const SUB: usize = 1 << SUB_BITS;
/// Longer durations, in microseconds, count as this one: 2^42 µs are 50.9 days.
const LONGEST: u64 = (1 << 42) - 1;
const GROUPS: usize = 42 - SUB_BITS as usize + 1;

#[derive(Debug)]
pub(crate) struct Histogram {
    groups: [AtomicU64; GROUPS],
    buckets: [[AtomicU64; SUB]; GROUPS],
    sum: AtomicU64,
}

impl Histogram {
    pub(crate) const fn new() -> Self {
        Self {
            groups: [const { AtomicU64::new(0) }; GROUPS],
            buckets: [const { [const { AtomicU64::new(0) }; SUB] }; GROUPS],
            sum: AtomicU64::new(0),
        }
    }

    pub(crate) fn record(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros())
            .unwrap_or(u64::MAX)
            .min(LONGEST);
        let (group, bucket) = place(micros);
        self.buckets[group][bucket].fetch_add(1, Relaxed);
        self.sum.fetch_add(micros, Relaxed);
        // last, so that whoever counts it in a group also finds it in a bucket
        self.groups[group].fetch_add(1, Release);
    }

    /// What was recorded; `None` if nothing was.
    pub(crate) fn read(&self) -> Option<Durations> {
        let groups = self.groups.each_ref().map(|group| group.load(Acquire));
        let count = groups.iter().sum::<u64>();
        if count == 0 {
            return None;
        }
        let sum = self.sum.load(Relaxed);
        let quantile = |percent: u64| {
            let rank = (u128::from(count) * u128::from(percent)).div_ceil(100).max(1);
            Duration::from_micros(self.value_at(&groups, u64::try_from(rank).unwrap_or(count)))
        };
        Some(Durations {
            count,
            mean: Duration::from_micros(sum / count),
            p50: quantile(50),
            p95: quantile(95),
            p99: quantile(99),
            sum: Duration::from_micros(sum),
        })
    }

    /// The middle of the bucket that holds the value of `rank`, counted from 1.
    fn value_at(&self, groups: &[u64; GROUPS], rank: u64) -> u64 {
        let mut left = rank;
        for (group, count) in groups.iter().enumerate() {
            if left > *count {
                left -= count;
                continue;
            }
            for (bucket, counter) in self.buckets[group].iter().enumerate() {
                match left.checked_sub(counter.load(Relaxed)) {
                    None | Some(0) => return middle(group, bucket),
                    Some(rest) => left = rest,
                }
            }
        }
        LONGEST
    }
}

/// Group and bucket of a value: the first group holds 0 to 63 exactly, each further one a power of two.
fn place(micros: u64) -> (usize, usize) {
    let exponent = micros.max(1).ilog2();
    if exponent < SUB_BITS {
        return (0, micros as usize);
    }
    let bucket = (micros >> (exponent - SUB_BITS)) as usize - SUB;
    ((exponent - SUB_BITS) as usize + 1, bucket)
}

fn middle(group: usize, bucket: usize) -> u64 {
    match group.checked_sub(1) {
        None => bucket as u64,
        Some(shift) => (((SUB + bucket) as u64) << shift) + ((1_u64 << shift) >> 1),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_value_falls_into_the_bucket_that_is_nearest() {
        for exponent in 0..42 {
            for value in [1 << exponent, (1 << exponent) + 1, (2 << exponent) - 1] {
                let (group, bucket) = place(value);
                let error = middle(group, bucket).abs_diff(value);
                assert!(error * 128 <= value, "{value} is read back {error} away");
            }
        }
        assert_eq!(place(LONGEST), (GROUPS - 1, SUB - 1));
        assert_eq!(place(0), (0, 0));
    }

    #[test]
    fn nothing_recorded_is_no_data() {
        assert_eq!(Histogram::new().read(), None);
    }

    #[test]
    fn absurd_durations_are_counted_and_do_not_panic() {
        let histogram = Histogram::new();
        histogram.record(Duration::MAX);
        histogram.record(Duration::ZERO);
        let read = histogram.read().unwrap();
        assert_eq!(read.count, 2);
        assert!(read.p99 > Duration::from_secs(50 * 86_400));
        assert_eq!(read.p50, Duration::ZERO);
    }

    proptest! {
        #[test]
        fn quantiles_are_those_of_hdrhistogram(values in proptest::collection::vec(0_u64..3_600_000_000, 1..400)) {
            let histogram = Histogram::new();
            let mut judge = hdrhistogram::Histogram::<u64>::new_with_bounds(1, 1 << 42, 4).unwrap();
            for value in &values {
                histogram.record(Duration::from_micros(*value));
                judge.record(*value).unwrap();
            }
            let read = histogram.read().unwrap();
            prop_assert_eq!(read.sum.as_micros(), u128::from(values.iter().sum::<u64>()));
            for (ours, quantile) in [(read.p50, 0.50), (read.p95, 0.95), (read.p99, 0.99)] {
                let theirs = judge.value_at_quantile(quantile);
                let ours = ours.as_micros() as u64;
                prop_assert!(ours.abs_diff(theirs) * 100 <= theirs.max(100), "{quantile}: {ours} for {theirs}");
            }
        }
    }
}
