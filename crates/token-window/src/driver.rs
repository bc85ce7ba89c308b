//! The driver: one task that keeps any number of tokens fresh.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use genesys_api::{Clock, Gcra, MAX_DURATION, Rate, entropy};
use tokio::sync::mpsc;
use tokio::task::{self, AbortHandle, JoinError, JoinSet};

use crate::manager::{RefreshRequest, Refresher, Shared, TokenManager, View};
use crate::{Full, Refresh, RefreshAttempt, RefreshError, Schedule, Tokens};

/// Limits of a [`RefreshDriver`].
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by the caller")]
pub struct DriverLimits {
    /// Maximum number of tokens.
    pub tokens: usize,
    /// Maximum number of attempts in flight. 0 counts as 1.
    pub in_flight: usize,
    /// Maximum number of attempts that start in one minute, of which a fifteenth start at once. 0 counts as 1.
    pub per_minute: u32,
    /// Deadline of an attempt, at most ten years. Its outcome is then [`RefreshError::Unknown`].
    pub attempt_timeout: Duration,
}

impl Default for DriverLimits {
    /// 1,000,000 tokens, 64 attempts in flight, 18,000 in a minute, and 60 seconds for each. Our choice: the time is twice
    /// the deadline of a call of `genesys-http`.
    fn default() -> Self {
        Self {
            tokens: 1_000_000,
            in_flight: 64,
            per_minute: 18_000,
            attempt_timeout: Duration::from_secs(60),
        }
    }
}

/// One task that keeps many tokens fresh, with bounded concurrency and rate. Clones share it; it stops with the last clone
/// and the last [`TokenManager`].
///
/// An attempt above a limit waits in a queue. One that a caller waits for goes first. An attempt that does not end is
/// canceled at its deadline, so that it delays no other for longer.
#[derive(Clone, Debug)]
pub struct RefreshDriver {
    pub(crate) clock: Clock,
    commands: mpsc::UnboundedSender<Command>,
    slots: Arc<Mutex<Slots>>,
}

impl RefreshDriver {
    /// Starts the task.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn spawn(limits: DriverLimits, clock: Clock) -> Self {
        // bounded by the tokens: a manager sends the request for one attempt once
        let (commands, receiver) = mpsc::unbounded_channel();
        let slots = Arc::new(Mutex::new(Slots {
            capacity: limits.tokens,
            ..Slots::default()
        }));
        let driver = Driver {
            schedule: Schedule::new(limits.tokens, clock.now().instant),
            rate: Gcra::new(Rate::within(limits.per_minute, Duration::from_secs(60))),
            in_flight: limits.in_flight.max(1),
            attempt_timeout: limits.attempt_timeout.min(MAX_DURATION),
            clock: clock.clone(),
            commands: receiver,
            slots: Arc::clone(&slots),
            sessions: Vec::new(),
            queue: Queue::default(),
            flights: JoinSet::new(),
            slot_of: HashMap::new(),
        };
        tokio::spawn(driver.run());
        Self {
            clock,
            commands,
            slots,
        }
    }

    /// Whether the task has ended, because its runtime was shut down.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.commands.is_closed()
    }

    /// Keeps the token of `refresh` fresh until the last clone of the manager is dropped.
    ///
    /// # Errors
    /// If the driver has its maximum number of tokens.
    pub fn manage(&self, refresh: Refresh, refresher: impl Refresher) -> Result<TokenManager, Full> {
        Ok(self.reserve()?.manage(refresh, refresher))
    }

    /// Reserves capacity for one token, before a call that issues it.
    ///
    /// # Errors
    /// If the driver has its maximum number of tokens.
    pub fn reserve(&self) -> Result<Reservation, Full> {
        let slot = lock(&self.slots).take()?;
        Ok(Reservation {
            driver: self.clone(),
            slot,
        })
    }
}

/// Capacity for one token in a [`RefreshDriver`]. Dropping it frees the capacity.
#[derive(Debug)]
pub struct Reservation {
    pub(crate) driver: RefreshDriver,
    slot: u32,
}

impl Reservation {
    /// Keeps the token of `refresh` fresh until the last clone of the manager is dropped.
    #[must_use]
    pub fn manage(self, mut refresh: Refresh, refresher: impl Refresher) -> TokenManager {
        refresh.ensure_idempotency_key();
        let view = View::of(&refresh, 0);
        let shared = Arc::new(Shared::new(self, view));
        let session = Session {
            refresh,
            start: starts_of(refresher),
            shared: Arc::downgrade(&shared),
            failures: 0,
            position: None,
            flight: None,
        };
        let reservation = &shared.reservation;
        // without the task the session is dropped; the manager reports it
        let _ = reservation.send(Command::Add(reservation.slot, Box::new(session)));
        TokenManager { shared }
    }

    /// Requests the attempt with this number, counted from 1 over all generations. `false` if the task has ended.
    pub(crate) fn request(&self, attempt: u64) -> bool {
        self.send(Command::Refresh(self.slot, attempt))
    }

    fn send(&self, command: Command) -> bool {
        self.driver.commands.send(command).is_ok()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let _ = self.send(Command::Remove(self.slot));
    }
}

/// A message to the task. The number is the slot of a session.
#[derive(Debug)]
enum Command {
    Add(u32, Box<Session>),
    /// A caller waits for the attempt with this number, counted from 1 over all generations.
    Refresh(u32, u64),
    Remove(u32),
}

/// The numbers of the sessions. A number is used again.
#[derive(Debug, Default)]
struct Slots {
    capacity: usize,
    used: u32,
    free: Vec<u32>,
}

impl Slots {
    fn take(&mut self) -> Result<u32, Full> {
        let capacity = self.capacity;
        if let Some(slot) = self.free.pop() {
            return Ok(slot);
        }
        if self.used as usize >= capacity {
            return Err(Full { capacity });
        }
        self.used += 1;
        Ok(self.used - 1)
    }
}

fn lock(slots: &Mutex<Slots>) -> std::sync::MutexGuard<'_, Slots> {
    slots.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Session {
    refresh: Refresh,
    start: Start,
    /// Nothing once the last manager was dropped.
    shared: Weak<Shared>,
    failures: u64,
    /// Its position in the queue, if it is queued.
    position: Option<Position>,
    flight: Option<AbortHandle>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("refresh", &self.refresh)
            .finish_non_exhaustive()
    }
}

type Outcome = (RefreshAttempt, Result<Tokens, RefreshError>);
type Flight = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// Starts an attempt of a session, which is canceled after the duration.
type Start = Box<dyn Fn(RefreshAttempt, RefreshRequest, Clock, Duration) -> Flight + Send + Sync>;

fn starts_of(refresher: impl Refresher) -> Start {
    let refresher = Arc::new(refresher);
    Box::new(move |attempt, request, clock, timeout| {
        let refresher = Arc::clone(&refresher);
        Box::pin(async move {
            let outcome = tokio::select! {
                biased;
                outcome = refresher.refresh(&request) => outcome,
                () = clock.sleep(timeout) => Err(RefreshError::Unknown { retry_after: None }),
            };
            let outcome = match outcome {
                Err(RefreshError::Unknown { .. }) if !refresher.retries_unknown() => {
                    Err(RefreshError::Refused)
                }
                outcome => outcome,
            };
            (attempt, outcome)
        })
    })
}

/// Sessions whose attempt is due and has not started, those that a caller waits for first.
#[derive(Debug, Default)]
struct Queue {
    slots: BTreeMap<Position, u32>,
    next: u64,
}

type Position = (Priority, u64);

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Priority {
    Awaited,
    Due,
}

impl Queue {
    fn push(&mut self, priority: Priority, slot: u32) -> Position {
        let position = (priority, self.next);
        self.next += 1;
        self.slots.insert(position, slot);
        position
    }
}

struct Driver {
    clock: Clock,
    commands: mpsc::UnboundedReceiver<Command>,
    slots: Arc<Mutex<Slots>>,
    sessions: Vec<Option<Box<Session>>>,
    schedule: Schedule,
    queue: Queue,
    in_flight: usize,
    attempt_timeout: Duration,
    rate: Gcra,
    flights: JoinSet<Outcome>,
    slot_of: HashMap<task::Id, u32>,
}

impl Driver {
    async fn run(mut self) {
        loop {
            let now = self.clock.now().instant;
            while let Some(slot) = self.schedule.pop_due(now) {
                self.update(slot, now);
            }
            let free_at = self.start_attempts(now);
            let deadline = free_at.into_iter().chain(self.schedule.next_deadline()).min();
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.handle_command(command),
                    None => return,
                },
                Some(ended) = self.flights.join_next_with_id() => self.handle_ended(ended),
                () = self.clock.sleep_until(deadline) => {}
            }
        }
    }

    fn session(&mut self, slot: u32) -> Option<&mut Session> {
        self.sessions.get_mut(slot as usize)?.as_deref_mut()
    }

    fn handle_command(&mut self, command: Command) {
        let now = self.clock.now().instant;
        match command {
            Command::Add(slot, session) => {
                let needed = slot as usize + 1;
                if self.sessions.len() < needed {
                    self.sessions.resize_with(needed, || None);
                }
                self.sessions[slot as usize] = Some(session);
                self.update(slot, now);
            }
            Command::Refresh(slot, attempt) => {
                let Some(session) = self.session(slot) else { return };
                if attempt <= session.ended() {
                    return;
                }
                session.refresh.refresh_now(now);
                self.update(slot, now);
                self.prioritize(slot);
            }
            Command::Remove(slot) => {
                self.remove(slot);
                lock(&self.slots).free.push(slot);
            }
        }
    }

    /// Moves a queued session to those that a caller waits for.
    fn prioritize(&mut self, slot: u32) {
        if let Some(session) = self.sessions.get_mut(slot as usize).and_then(Option::as_mut)
            && let Some(position @ (Priority::Due, _)) = session.position
        {
            self.queue.slots.remove(&position);
            session.position = Some(self.queue.push(Priority::Awaited, slot));
        }
    }

    fn remove(&mut self, slot: u32) {
        let session = self.sessions.get_mut(slot as usize).and_then(Option::take);
        self.schedule.remove(slot);
        if let Some(session) = session {
            if let Some(position) = session.position {
                self.queue.slots.remove(&position);
            }
            if let Some(flight) = &session.flight {
                flight.abort();
                self.slot_of.remove(&flight.id());
            }
        }
    }

    /// Queues the attempt of a session if it is due, publishes its state, and schedules its next deadline.
    fn update(&mut self, slot: u32, now: Instant) {
        let Some(session) = self.sessions.get_mut(slot as usize).and_then(Option::as_mut) else {
            return;
        };
        session.refresh.handle_timeout(now);
        if session.refresh.is_due(now) && session.position.is_none() {
            session.position = Some(self.queue.push(Priority::Due, slot));
        }
        session.publish();
        let deadline = match session.position.is_some() {
            true => session.refresh.expiry_timeout(),
            false => session.refresh.poll_timeout().map(|(at, _)| at),
        };
        if let Some(at) = deadline {
            // a slot is below the capacity of both
            let _ = self.schedule.insert(slot, at);
        }
    }

    /// Starts queued attempts within the limits. Returns the time at which the rate allows the next one.
    fn start_attempts(&mut self, now: Instant) -> Option<Instant> {
        while self.flights.len() < self.in_flight {
            let next = self.queue.slots.first_entry()?;
            if let Err(free_at) = self.rate.try_acquire(now) {
                return Some(free_at);
            }
            let slot = next.remove();
            let Some(session) = self.sessions.get_mut(slot as usize).and_then(Option::as_mut) else {
                continue;
            };
            session.position = None;
            if let Some(attempt) = session.refresh.poll_attempt(now) {
                let request = RefreshRequest {
                    idempotency_key: session.refresh.ensure_idempotency_key(),
                    current: session.refresh.tokens().clone(),
                };
                let (clock, timeout) = (self.clock.clone(), self.attempt_timeout);
                let flight = (session.start)(attempt, request, clock, timeout);
                let flight = self.flights.spawn(flight);
                self.slot_of.insert(flight.id(), slot);
                session.flight = Some(flight);
            }
            self.update(slot, now);
        }
        None
    }

    fn handle_ended(&mut self, ended: Result<(task::Id, Outcome), JoinError>) {
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        // a removed session has none
        let Some(slot) = self.slot_of.remove(&id) else {
            return;
        };
        let Ok((_, (attempt, outcome))) = ended else {
            // the refresher panicked: the end of the session stops its manager
            self.remove(slot);
            return;
        };
        let now = self.clock.now().instant;
        if let Some(session) = self.session(slot) {
            session.flight = None;
            match outcome {
                Ok(tokens) => {
                    session.refresh.handle_refreshed(attempt, tokens);
                    session.refresh.ensure_idempotency_key();
                }
                Err(error) => {
                    session.failures += 1;
                    session
                        .refresh
                        .handle_failed(attempt, error, entropy::number(), now);
                }
            }
        }
        self.update(slot, now);
    }
}

impl Session {
    fn ended(&self) -> u64 {
        self.refresh.generation() + self.failures
    }

    fn publish(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            let events = std::iter::from_fn(|| self.refresh.poll_event()).collect();
            shared.publish(View::of(&self.refresh, self.failures), events);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.stop();
        }
    }
}

#[cfg(test)]
mod tests;
