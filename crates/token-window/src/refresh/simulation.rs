//! The machine against a model of the service, in virtual time: 1,000,000 refreshes with lost, late, doubled and failed
//! replies, outages, and crashes of either side.

use secrecy::ExposeSecret as _;

use super::*;
use crate::Schedule;
use crate::tokens::tests::{epoch, issue};

const SESSIONS: u32 = 10_000;
const REFRESHES: u64 = 1_000_000;
const LIFETIME: Duration = Duration::from_secs(3_600);
/// Time without a refresh after which the service ends a session.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4 * 3_600);
/// Deadline of a request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The service fails for the first part of each period. A session is then idle for up to 3 hours and a quarter: the
/// service is reachable again within its timeout.
const OUTAGE: Duration = Duration::from_secs(150 * 60);
const PERIOD: Duration = Duration::from_secs(24 * 3_600);

/// A sequence of random numbers: SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn duration(&mut self, longest: Duration) -> Duration {
        genesys_api::retry::jitter(longest, self.next())
    }
}

/// The pair of a session at the service, by its number. A pair that was never used can be replaced by another.
#[derive(Default)]
struct Family {
    current: u64,
    used: bool,
    /// The token that was replaced by the current pair, with the key of that request.
    previous: Option<(u64, u64)>,
    older: Option<(u64, u64)>,
    issued: u64,
    idle_until: Duration,
}

enum Answer {
    Pair(u64),
    /// 409: the answer to a late duplicate.
    AlreadyUsed,
    Revoked,
}

impl Family {
    fn present(&mut self, token: u64, key: u64, now: Duration) -> Answer {
        if now >= self.idle_until {
            return Answer::Revoked;
        }
        let is_replay = |rotation: &Option<(u64, u64)>| {
            rotation
                .as_ref()
                .is_some_and(|(from, with)| *from == token && *with == key)
        };
        if token == self.current {
            self.older = self.previous.take();
        } else if self.previous.as_ref().is_some_and(|(from, _)| *from == token) && !self.used {
            if is_replay(&self.previous) {
                return Answer::Pair(self.current);
            }
        } else if is_replay(&self.previous) || is_replay(&self.older) {
            return Answer::AlreadyUsed;
        } else {
            return Answer::Revoked;
        }
        self.issued += 1;
        self.previous = Some((token, key));
        (self.current, self.used) = (self.issued, false);
        self.idle_until = now + IDLE_TIMEOUT;
        Answer::Pair(self.current)
    }
}

/// One client with its attempt in flight.
struct Client {
    machine: Refresh,
    /// The idempotency key, stored with the pair.
    key: u64,
    flight: Option<(RefreshAttempt, Result<u64, RefreshError>, Crash)>,
    /// The number of the stored pair, and the time at which it was requested.
    stored: (u64, Duration),
    /// A request that is still on its way: its arrival, token and key.
    late: Option<(Duration, u64, u64)>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Crash {
    None,
    BeforeReply,
    BeforeStore,
}

struct World {
    start: Instant,
    random: Random,
    clients: Vec<Client>,
    families: Vec<Family>,
    timers: Schedule,
    refreshes: u64,
    attempts: u64,
    presented_late: u64,
    crashes: u64,
    crashes_with_late_request: u64,
}

fn machine(number: u64, session: u32, sent_at: Instant) -> Refresh {
    let jitter = Jitter::of(&format!("session-{session}"));
    Refresh::new(issue(number, LIFETIME), Window::default(), jitter, sent_at)
}

fn number(tokens: &Tokens) -> u64 {
    let token = tokens.refresh().unwrap().expose_secret();
    token.strip_prefix("refresh-").unwrap().parse().unwrap()
}

fn page(status: u16) -> RefreshError {
    RefreshError::from(&Problem::new(status, "unknown", "the page of a proxy"))
}

impl World {
    fn new() -> Self {
        let start = epoch();
        let clients = (0..SESSIONS).map(|session| Client {
            machine: machine(0, session, start),
            key: 0,
            flight: None,
            stored: (0, Duration::ZERO),
            late: None,
        });
        let mut world = Self {
            start,
            random: Random(1),
            clients: clients.collect(),
            families: Vec::new(),
            timers: Schedule::new(SESSIONS as usize, start),
            refreshes: 0,
            attempts: 0,
            presented_late: 0,
            crashes: 0,
            crashes_with_late_request: 0,
        };
        for session in 0..SESSIONS {
            world.families.push(Family {
                used: true,
                idle_until: IDLE_TIMEOUT,
                ..Family::default()
            });
            world.set_timer(session);
        }
        world
    }

    fn set_timer(&mut self, session: u32) {
        let (at, _) = self.clients[session as usize].machine.poll_timeout().unwrap();
        self.timers.insert(session, at).unwrap();
    }

    /// Delivers a request that a proxy held back, before the next one of its session.
    fn deliver_late(&mut self, session: u32, now: Duration) {
        let client = &mut self.clients[session as usize];
        if let Some((_, token, key)) = client.late.take_if(|(arrives, ..)| *arrives <= now) {
            self.presented_late += 1;
            let answer = self.families[session as usize].present(token, key, now);
            assert!(
                !matches!(answer, Answer::Revoked),
                "a late duplicate harmed session {session}"
            );
        }
    }

    /// Runs a session whose deadline has passed: ends its attempt in flight, or starts one.
    fn wake(&mut self, session: u32, at: Instant) {
        let now = at - self.start;
        self.deliver_late(session, now);
        let client = &mut self.clients[session as usize];
        client.machine.handle_timeout(at);
        if let Some((attempt, outcome, crash)) = client.flight.take() {
            self.end(session, attempt, outcome, crash, at);
        }
        let client = &mut self.clients[session as usize];
        if let Some(attempt) = client.machine.poll_attempt(at) {
            assert!(client.machine.poll_attempt(at).is_none(), "overlapping flights");
            let ends_in = self.send(session, attempt, now);
            self.timers.insert(session, at + ends_in).unwrap();
            return;
        }
        self.set_timer(session);
    }

    /// Sends a request, and returns the time until its outcome is known.
    fn send(&mut self, session: u32, attempt: RefreshAttempt, now: Duration) -> Duration {
        self.attempts += 1;
        let client = &mut self.clients[session as usize];
        let (token, key) = (number(client.machine.tokens()), client.key);
        assert_eq!(
            token, client.stored.0,
            "an old token was presented after its successor was stored"
        );
        let family = &mut self.families[session as usize];
        if token == family.current {
            family.used = true;
        }
        let is_outage = now.as_nanos() % PERIOD.as_nanos() < OUTAGE.as_nanos();
        let latency = self.random.duration(Duration::from_secs(2));
        let fault = match is_outage {
            true => 70 + self.random.next() % 30,
            false => self.random.next() % 100,
        };
        let mut deliver = || match family.present(token, key, now) {
            Answer::Pair(number) => Ok(number),
            Answer::AlreadyUsed => Err(RefreshError::Unknown { retry_after: None }),
            Answer::Revoked => Err(RefreshError::Refused),
        };
        let mut crash = Crash::None;
        let (ends_in, outcome) = match fault {
            0..60 => (latency, deliver()),
            // doubled by a proxy
            60..65 => (latency, deliver().and_then(|_| deliver())),
            // the client or its machine stops
            65..68 => {
                crash = match fault {
                    65 => Crash::BeforeReply,
                    _ => Crash::BeforeStore,
                };
                (latency, deliver())
            }
            // the reply is lost, or the service stops after it has stored the pair
            68..70 => {
                let _ = deliver();
                (TIMEOUT, Err(RefreshError::Unknown { retry_after: None }))
            }
            // the request is held back, and arrives after the client has given it up or has stopped
            70..73 if client.late.is_none() && !is_outage => {
                if fault == 72 {
                    crash = Crash::BeforeReply;
                }
                let delay = TIMEOUT + self.random.duration(Duration::from_secs(600));
                client.late = Some((now + delay, token, key));
                (TIMEOUT, Err(RefreshError::Unknown { retry_after: None }))
            }
            70..78 => (latency, Err(page([401, 403, 404, 502][(fault % 4) as usize]))),
            78..82 => {
                let mut problem = Problem::new(429, "too.many.requests", "slow down");
                problem.retry_after = (fault % 2 == 0).then_some(Duration::from_secs(30));
                (latency, Err(RefreshError::from(&problem)))
            }
            82..88 => (latency, Err(page(503))),
            88..94 => (latency, Err(page(500))),
            // the request is lost, or the service stops before it has stored the pair
            _ => (TIMEOUT, Err(RefreshError::Unknown { retry_after: None })),
        };
        client.flight = Some((attempt, outcome, crash));
        ends_in
    }

    fn end(
        &mut self,
        session: u32,
        attempt: RefreshAttempt,
        outcome: Result<u64, RefreshError>,
        crash: Crash,
        at: Instant,
    ) {
        let random = self.random.next();
        let client = &mut self.clients[session as usize];
        if crash != Crash::None {
            // it starts again with what it has stored
            self.crashes += 1;
            self.crashes_with_late_request += u64::from(client.late.is_some());
            let (number, sent_at) = client.stored;
            client.machine = machine(number, session, self.start + sent_at);
            return;
        }
        match outcome {
            Ok(number) => {
                self.refreshes += 1;
                client.machine.handle_refreshed(attempt, issue(number, LIFETIME));
                let sent_at = client.machine.expires_at() - LIFETIME - self.start;
                client.stored = (number, sent_at);
                client.key = random;
                self.families[session as usize].used = true;
            }
            Err(error) => {
                client.machine.handle_failed(attempt, error, random, at);
                let status = client.machine.status();
                assert_ne!(status, Status::ReauthRequired, "session {session} was lost");
            }
        }
    }
}

#[test]
fn million_refreshes_with_faults_lose_no_session() {
    let mut world = World::new();
    while world.refreshes < REFRESHES {
        let at = world.timers.next_deadline().unwrap();
        while let Some(session) = world.timers.pop_due(at) {
            world.wake(session, at);
        }
    }
    // the faults happened
    assert!(world.attempts > REFRESHES * 3 / 2, "{}", world.attempts);
    assert!(world.presented_late > 10_000, "{}", world.presented_late);
    assert!(world.crashes > 10_000, "{}", world.crashes);
    let both = world.crashes_with_late_request;
    assert!(both > 1_000, "{both}");
}
