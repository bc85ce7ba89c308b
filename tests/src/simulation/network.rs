//! Frames in transit, in both directions, each direction in order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// Something that arrives.
#[derive(Debug)]
pub(super) struct Arrival<T> {
    pub(super) at: Instant,
    /// Of two that arrive together, the one sent first.
    order: u64,
    pub(super) what: T,
}

/// Packets in transit, soonest first.
#[derive(Debug)]
pub(super) struct Network<T> {
    under_way: BinaryHeap<Reverse<Arrival<T>>>,
    sent: u64,
}

impl<T> Network<T> {
    pub(super) fn new() -> Self {
        Self {
            under_way: BinaryHeap::new(),
            sent: 0,
        }
    }

    pub(super) fn send(&mut self, what: T, at: Instant) {
        self.sent += 1;
        self.under_way.push(Reverse(Arrival {
            at,
            order: self.sent,
            what,
        }));
    }

    /// Delays the matching packets in transit to `at` at the earliest, in their order.
    pub(super) fn delay(&mut self, at: Instant, is_meant: impl Fn(&T) -> bool) {
        let delayed = std::mem::take(&mut self.under_way)
            .into_iter()
            .map(|Reverse(mut arrival)| {
                if is_meant(&arrival.what) {
                    arrival.at = arrival.at.max(at);
                }
                Reverse(arrival)
            });
        self.under_way = delayed.collect();
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        self.under_way.peek().map(|Reverse(arrival)| arrival.at)
    }

    pub(super) fn arrive(&mut self, now: Instant) -> Option<T> {
        if self.next_at()? > now {
            return None;
        }
        self.under_way.pop().map(|Reverse(arrival)| arrival.what)
    }
}

impl<T> PartialEq for Arrival<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl<T> Eq for Arrival<T> {}

impl<T> PartialOrd for Arrival<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Arrival<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// One direction of one connection: what is sent later never arrives sooner.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane {
    free_at: Instant,
}

impl Lane {
    pub(super) fn new(now: Instant) -> Self {
        Self { free_at: now }
    }

    pub(super) fn pass(&mut self, now: Instant, latency: Duration) -> Instant {
        self.free_at = self.free_at.max(now + latency);
        self.free_at
    }
}
