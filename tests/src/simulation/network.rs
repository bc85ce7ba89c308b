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
    pub(super) packet: T,
}

/// Packets in transit, soonest first.
#[derive(Debug)]
pub(super) struct Network<T> {
    in_transit: BinaryHeap<Reverse<Arrival<T>>>,
    sent: u64,
}

impl<T> Network<T> {
    pub(super) fn new() -> Self {
        Self {
            in_transit: BinaryHeap::new(),
            sent: 0,
        }
    }

    pub(super) fn send(&mut self, packet: T, at: Instant) {
        self.sent += 1;
        self.in_transit.push(Reverse(Arrival {
            at,
            order: self.sent,
            packet,
        }));
    }

    /// Delays the matching packets in transit to `at` at the earliest, in their order.
    pub(super) fn delay(&mut self, at: Instant, is_delayed: impl Fn(&T) -> bool) {
        let delayed = std::mem::take(&mut self.in_transit)
            .into_iter()
            .map(|Reverse(mut arrival)| {
                if is_delayed(&arrival.packet) {
                    arrival.at = arrival.at.max(at);
                }
                Reverse(arrival)
            });
        self.in_transit = delayed.collect();
    }

    /// Loses the matching packets in transit.
    pub(super) fn remove(&mut self, is_lost: impl Fn(&T) -> bool) {
        self.in_transit
            .retain(|Reverse(arrival)| !is_lost(&arrival.packet));
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        self.in_transit.peek().map(|Reverse(arrival)| arrival.at)
    }

    pub(super) fn arrive(&mut self, now: Instant) -> Option<T> {
        if self.next_at()? > now {
            return None;
        }
        self.in_transit.pop().map(|Reverse(arrival)| arrival.packet)
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

/// One direction of one connection: packets arrive in the order in which they were sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Direction {
    free_at: Instant,
}

impl Direction {
    pub(super) fn new(now: Instant) -> Self {
        Self { free_at: now }
    }

    pub(super) fn arrival_time(&mut self, now: Instant, latency: Duration) -> Instant {
        self.free_at = self.free_at.max(now + latency);
        self.free_at
    }
}
