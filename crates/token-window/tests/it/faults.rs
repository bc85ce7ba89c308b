//! Clients that send the key of each rotation: no fault of the network and no crash costs a session.

use std::time::{Duration, Instant};

use token_window::{IdempotencyKey, Jitter, Refresh, RefreshAttempt, RefreshError, Status, Tokens, Window};

use crate::{Random, Reply, Server, epoch, setting};

const HOUR: Duration = Duration::from_secs(3_600);
/// Time without a rotation after which the server ends a session.
const IDLE_TIMEOUT: Duration = Duration::from_secs(86_400);
/// Time after which a client takes a reply for lost.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest delay of a message. Rotations that follow each other faster than that are at most as many as keys are kept.
const MAX_DELAY: Duration = Duration::from_secs(60);
const LOST: RefreshError = RefreshError::Unknown { retry_after: None };
/// Rotations of one session.
const ROTATIONS: u64 = 100;

/// A message on its way, or a timer of the client.
#[derive(Clone, Debug)]
enum Event {
    Request {
        number: u64,
        tokens: Tokens,
        key: IdempotencyKey,
    },
    Reply {
        number: u64,
        outcome: Result<Tokens, RefreshError>,
    },
    Timeout {
        number: u64,
    },
    Access {
        tokens: Tokens,
    },
    Restart,
    RefreshNow,
}

/// The durable state of the client.
#[derive(Debug)]
struct Disk {
    tokens: Tokens,
    sent_at: Instant,
    /// The key of the rotation that will replace the tokens.
    key: IdempotencyKey,
}

#[derive(Debug)]
struct Session {
    random: Random,
    now: Instant,
    events: Vec<(Instant, Event)>,
    server: Server,
    idle_deadline: Instant,
    disk: Disk,
    refresh: Refresh,
    jitter: Jitter,
    flight: Option<(u64, RefreshAttempt, Instant)>,
    sent: u64,
    /// Until this time nothing arrives.
    outage: Instant,
    stored: u64,
    counts: Counts,
}

/// Figures of a run.
#[derive(Debug, Default)]
struct Counts {
    refreshes: u64,
    unknown: u64,
    late: u64,
    restarts: u64,
    lost_sessions: u64,
    revoked: u64,
    refused_current_tokens: u64,
}

impl Session {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let now = epoch();
        let server = Server::new(&mut random);
        let tokens = issued(server.issue()).expect("a new session has tokens");
        let disk = Disk {
            tokens: tokens.clone(),
            sent_at: now,
            key: random.key(),
        };
        let jitter = Jitter::of(&format!("session-{seed}"));
        Self {
            refresh: Refresh::new(tokens, Window::default(), jitter, now),
            events: Vec::new(),
            idle_deadline: now + IDLE_TIMEOUT,
            flight: None,
            sent: 0,
            outage: now,
            stored: 0,
            counts: Counts::default(),
            random,
            now,
            server,
            disk,
            jitter,
        }
    }

    /// Runs until the session was rotated often enough, or was lost.
    fn run(mut self) -> Counts {
        while self.stored < ROTATIONS {
            if self.server.revoked {
                self.counts.revoked += 1;
                break;
            }
            if self.refresh.status() == Status::ReauthRequired {
                self.counts.lost_sessions += 1;
                break;
            }
            self.poll_client();
            let timer = self.refresh.poll_timeout().map(|(at, _)| at);
            let next = self.events.iter().map(|(at, _)| *at).min();
            self.now = self
                .now
                .max(timer.into_iter().chain(next).min().expect("a client waits"));
            self.refresh.handle_timeout(self.now);
            while let Some(event) = self.take_due() {
                self.handle(event);
            }
        }
        self.counts.refreshes = self.stored;
        self.counts
    }

    fn take_due(&mut self) -> Option<Event> {
        let due = self.events.iter().position(|(at, _)| *at <= self.now)?;
        Some(self.events.swap_remove(due).1)
    }

    fn poll_client(&mut self) {
        let Some(attempt) = self.refresh.poll_attempt(self.now) else {
            return;
        };
        assert!(self.flight.is_none(), "one attempt at a time");
        self.sent += 1;
        let number = self.sent;
        self.flight = Some((number, attempt, self.now));
        let request = Event::Request {
            number,
            // the disk has the newest tokens: an old one is never sent after its successor was stored
            tokens: self.disk.tokens.clone(),
            key: self.disk.key.clone(),
        };
        self.send(request);
        self.push(TIMEOUT, Event::Timeout { number });
        if self.random.chance(2) {
            let delay = self.delay();
            self.push(delay, Event::Restart);
        }
    }

    /// Puts a message on its way: perhaps lost, late or doubled.
    fn send(&mut self, message: Event) {
        if self.random.chance(5) {
            return;
        }
        let copies = 1 + u64::from(self.random.chance(5));
        for _ in 0..copies {
            let delay = match self.random.chance(5) {
                true => self.delay(),
                false => Duration::from_millis(self.random.below(500)),
            };
            self.push(delay, message.clone());
        }
    }

    fn delay(&mut self) -> Duration {
        Duration::from_millis(self.random.below(MAX_DELAY.as_millis() as u64))
    }

    fn push(&mut self, delay: Duration, event: Event) {
        self.events.push((self.now + delay, event));
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Request { number, tokens, key } => self.serve(number, &tokens, &key),
            Event::Reply { number, outcome } => self.receive(number, outcome),
            Event::Timeout { number } => {
                if matches!(self.flight, Some((flying, ..)) if flying == number) {
                    self.receive(number, Err(LOST));
                }
            }
            Event::Access { tokens } => {
                if self.now >= self.outage {
                    self.server.open(tokens.access());
                }
            }
            Event::Restart => {
                self.counts.restarts += 1;
                self.flight = None;
                let (tokens, sent_at) = (self.disk.tokens.clone(), self.disk.sent_at);
                self.refresh = Refresh::new(tokens, Window::default(), self.jitter, sent_at);
            }
            Event::RefreshNow => self.refresh.refresh_now(self.now),
        }
    }

    /// The server, behind a proxy.
    fn serve(&mut self, number: u64, tokens: &Tokens, key: &IdempotencyKey) {
        if self.now < self.outage {
            return;
        }
        let busy = RefreshError::Transient { retry_after: None };
        let outcome = match self.random.below(100) {
            // nothing was stored: too many requests, a crash before the commit, a page of the proxy
            0..=2 => Err(busy),
            3..=5 => Err(LOST),
            luck => {
                let refresh = tokens.refresh().expect("each pair has one");
                let reply = match self.now < self.idle_deadline {
                    true => self.server.refresh(refresh, Some(key)),
                    false => Reply::Refused,
                };
                match issued(reply) {
                    Some(tokens) => {
                        self.idle_deadline = self.now + IDLE_TIMEOUT;
                        // a crash after the commit, or a server error in place of the reply
                        match luck < 12 {
                            true => Err(LOST),
                            false => Ok(tokens),
                        }
                    }
                    None => Err(RefreshError::Refused),
                }
            }
        };
        if self.random.chance(1) && self.random.chance(20) {
            self.outage = self.now + Duration::from_secs(self.random.below(10 * 3_600));
        }
        self.send(Event::Reply { number, outcome });
    }

    fn receive(&mut self, number: u64, outcome: Result<Tokens, RefreshError>) {
        let is_awaited = matches!(self.flight, Some((flying, ..)) if flying == number);
        let Some((_, attempt, sent_at)) = self.flight.take_if(|_| is_awaited) else {
            self.counts.late += 1;
            return;
        };
        match outcome {
            Ok(tokens) => {
                self.disk = Disk {
                    tokens: tokens.clone(),
                    sent_at,
                    key: self.random.key(),
                };
                self.stored += 1;
                self.refresh.handle_refreshed(attempt, tokens.clone());
                // the client opens a socket now and then
                if self.random.chance(50) {
                    self.send(Event::Access { tokens });
                }
                // at once, or some time before the window
                if self.random.chance(30) {
                    let delay = MAX_DELAY / 2 + self.delay();
                    self.push(delay, Event::RefreshNow);
                }
            }
            Err(error) => {
                self.counts.unknown += u64::from(error == LOST);
                self.counts.refused_current_tokens += u64::from(error == RefreshError::Refused);
                let random = self.random.next();
                self.refresh.handle_failed(attempt, error, random, self.now);
            }
        }
    }
}

fn issued(reply: Reply) -> Option<Tokens> {
    match reply {
        Reply::Issued { access, refresh } => Tokens::new(access, Some(refresh), HOUR).ok(),
        Reply::Refused => None,
    }
}

/// The variable `TOKEN_WINDOW_SESSIONS` sets another number of sessions.
#[test]
fn no_session_of_a_client_with_keys_is_lost_or_revoked() {
    let sessions = setting("TOKEN_WINDOW_SESSIONS", 500);
    let mut total = Counts::default();
    for seed in 0..sessions {
        let counts = Session::new(seed).run();
        let lost = counts.lost_sessions + counts.revoked + counts.refused_current_tokens;
        assert_eq!(lost, 0, "seed {seed}: {counts:?}");
        total.refreshes += counts.refreshes;
        total.unknown += counts.unknown;
        total.late += counts.late;
        total.restarts += counts.restarts;
    }
    assert_eq!(total.refreshes, sessions * ROTATIONS);
    for faults in [total.unknown, total.late, total.restarts] {
        assert!(faults > total.refreshes / 200, "{total:?}");
    }
}
