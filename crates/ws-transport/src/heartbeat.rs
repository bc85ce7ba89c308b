//! Pings, and the detection of a silent peer.

use std::time::{Duration, Instant};

/// Detects a silent peer within 35 s.
///
/// It counts pings that nothing answered, not time that passed: a clock that was moved, or a laptop that slept, costs
/// one ping and never the socket. A ping is sent each 15 s, and another one 5 s after a ping that was not answered. A
/// peer that sent nothing since the one before last is gone.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// Time of the last ping.
    pinged: Instant,
    unanswered: u8,
    pings: u64,
}

/// An action that a heartbeat requires.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HeartbeatAction {
    /// The peer answered neither of the last two pings: drop the socket.
    Drop,
    /// Send a ping.
    Ping,
}

impl Heartbeat {
    /// Time between two pings (15 s, as in Genesys' mobile SDK).
    const INTERVAL: Duration = genesys_api::limits::PING;

    /// Time that the peer has to answer before another ping is sent. Our choice.
    const GRACE: Duration = Duration::from_secs(5);

    /// A heartbeat of a socket that opened at `now`.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            pinged: now,
            unanswered: 0,
            pings: 0,
        }
    }

    /// Handles any frame or byte of the peer.
    pub fn handle_alive(&mut self) {
        self.unanswered = 0;
    }

    /// Returns the action that is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<HeartbeatAction> {
        if now < self.poll_timeout() {
            return None;
        }
        self.pinged = now;
        if self.unanswered >= 2 {
            return Some(HeartbeatAction::Drop);
        }
        self.unanswered += 1;
        self.pings += 1;
        Some(HeartbeatAction::Ping)
    }

    /// Deadline of the next [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Instant {
        self.pinged
            + match self.unanswered {
                1 => Self::GRACE,
                _ => Self::INTERVAL,
            }
    }

    /// Whether the ping before the last was not answered.
    pub fn has_missed(&self) -> bool {
        self.unanswered > 1
    }

    /// Pings sent since the socket opened.
    pub fn pings(&self) -> u64 {
        self.pings
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn epoch() -> Instant {
        #[expect(
            clippy::disallowed_methods,
            reason = "an Instant can be had from nowhere else"
        )]
        Instant::now()
    }

    #[test]
    fn answering_peer_is_never_dropped() {
        let mut now = epoch();
        let mut heartbeat = Heartbeat::new(now);
        for _ in 0..1000 {
            now = heartbeat.poll_timeout();
            assert_eq!(heartbeat.handle_timeout(now), Some(HeartbeatAction::Ping));
            heartbeat.handle_alive();
        }
        assert_eq!(heartbeat.pings(), 1000);
    }

    #[test]
    fn moved_clock_costs_one_ping() {
        let start = epoch();
        let mut heartbeat = Heartbeat::new(start);
        let later = start + Duration::from_secs(14 * 60);
        assert_eq!(heartbeat.handle_timeout(later), Some(HeartbeatAction::Ping));
        assert_eq!(heartbeat.handle_timeout(later), None);
        assert_eq!(heartbeat.poll_timeout(), later + Heartbeat::GRACE);
        heartbeat.handle_alive();
        assert_eq!(heartbeat.poll_timeout(), later + Heartbeat::INTERVAL);
    }

    proptest! {
        #[test]
        fn silent_peer_is_dropped_within_35_seconds(answered in 0_u32..20, last_frame in 0_u64..15_000) {
            let start = epoch();
            let mut heartbeat = Heartbeat::new(start);
            let mut now = start;
            for _ in 0..answered {
                now = heartbeat.poll_timeout();
                prop_assert_eq!(heartbeat.handle_timeout(now), Some(HeartbeatAction::Ping));
                heartbeat.handle_alive();
            }
            let silent_since = (now + Duration::from_millis(last_frame)).min(heartbeat.poll_timeout());
            heartbeat.handle_alive();
            loop {
                let at = heartbeat.poll_timeout();
                if heartbeat.handle_timeout(at) == Some(HeartbeatAction::Drop) {
                    prop_assert!(at - silent_since <= Duration::from_secs(35));
                    prop_assert!(at - silent_since >= Duration::from_secs(20));
                    break;
                }
            }
        }
    }
}
