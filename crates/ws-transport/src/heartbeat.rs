//! Whether the peer is still there.

use std::time::{Duration, Instant};

/// Notices a silent peer within 35 s.
///
/// It counts pings that nothing answered, not time that passed: a clock that was moved, or a laptop that slept, costs
/// one ping and never the socket. A ping goes out each [`INTERVAL`](Self::INTERVAL); a peer that sent nothing since
/// the one before last is gone.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    next: Instant,
    unanswered: u8,
    pings: u64,
}

/// What a heartbeat asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HeartbeatAction {
    /// The peer answered neither of the last two pings: drop the socket.
    Drop,
    /// Send a ping.
    Ping,
}

impl Heartbeat {
    /// Between two pings; Genesys' own mobile SDK uses the same.
    pub const INTERVAL: Duration = genesys_api::limits::PING;

    /// How long the second of two unanswered pings is waited for.
    pub const GRACE: Duration = Duration::from_secs(5);

    /// A heartbeat of a socket that opened just now.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            next: now + Self::INTERVAL,
            unanswered: 0,
            pings: 0,
        }
    }

    /// Something came from the peer, whatever it was.
    pub fn handle_alive(&mut self) {
        self.unanswered = 0;
    }

    /// What is to be done now, if anything.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<HeartbeatAction> {
        if now < self.next {
            return None;
        }
        if self.unanswered >= 2 {
            self.next = now + Self::INTERVAL;
            return Some(HeartbeatAction::Drop);
        }
        self.unanswered += 1;
        self.pings += 1;
        self.next = now
            + if self.unanswered == 2 {
                Self::GRACE
            } else {
                Self::INTERVAL
            };
        Some(HeartbeatAction::Ping)
    }

    /// When to ask again.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        self.next
    }

    /// Whether the ping before the last was not answered.
    #[must_use]
    pub fn has_missed(&self) -> bool {
        self.unanswered > 1
    }

    /// Pings since the socket opened.
    #[must_use]
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
    fn a_peer_that_answers_is_never_dead() {
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
    fn a_moved_clock_costs_one_ping() {
        let start = epoch();
        let mut heartbeat = Heartbeat::new(start);
        let later = start + Duration::from_secs(14 * 60);
        assert_eq!(heartbeat.handle_timeout(later), Some(HeartbeatAction::Ping));
        assert_eq!(heartbeat.handle_timeout(later), None);
        assert_eq!(heartbeat.poll_timeout(), later + Heartbeat::INTERVAL);
    }

    proptest! {
        #[test]
        fn silence_is_noticed_within_35_seconds(answered in 0_u32..20, last_word in 0_u64..15_000) {
            let start = epoch();
            let mut heartbeat = Heartbeat::new(start);
            let mut now = start;
            for _ in 0..answered {
                now = heartbeat.poll_timeout();
                prop_assert_eq!(heartbeat.handle_timeout(now), Some(HeartbeatAction::Ping));
                heartbeat.handle_alive();
            }
            let silent_since = (now + Duration::from_millis(last_word)).min(heartbeat.poll_timeout());
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
