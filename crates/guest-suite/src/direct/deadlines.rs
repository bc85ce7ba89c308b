//! The deadlines of live sessions: end of the idle timeout, and next re-evaluation of consent.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use audit::Actor;
use genesys_api::{Now, SessionId};
use guest_payload::Policy;
use guest_sessions::ErrorCode;
use guest_store::{Change, SessionPages, SessionQuery};
use session_metrics::EndReason;
use time::OffsetDateTime;
use token_window::Schedule;
use tokio::task::JoinSet;

use super::Direct;
use super::requests::KEPT;
use super::session_row::SessionRow;
use crate::Error;

/// Sessions that are ended or re-evaluated at the same time. Our choice: the store commits them together.
const CONCURRENT: usize = 64;
/// Time for which attempts are kept, and for which events wait for a disabled webhook. Our choice: longer than the schedule.
pub(super) const DELIVERIES_KEPT: Duration = Duration::from_secs(7 * 86_400);
/// Shortest time between two removals of old deliveries. Our choice.
const DELIVERIES_INTERVAL: Duration = Duration::from_secs(3_600);
/// Time until a deadline that could not be met is tried again. Our choice.
const RETRY: Duration = Duration::from_secs(60);

/// One deadline of each live session, on one timer wheel.
///
/// A refresh moves the idle timeout of its session on and leaves the deadline as it is: when that has passed, the session is
/// read and gets the next one. A session therefore costs the wheel two insertions for most of its life.
///
/// Ended sessions and idempotency keys are not on the wheel, because a restart would read all of them. The store has them in
/// the order of their age, and its counts have the oldest one, whose deadline is kept here.
pub(super) struct Deadlines {
    wheel: Mutex<Wheel>,
    /// Number of times that the live sessions were to be read.
    wanted: AtomicU64,
    /// That number when they were read.
    filled: tokio::sync::Mutex<u64>,
    /// When the next session is to be erased, or the next key removed.
    removal: Mutex<Option<OffsetDateTime>>,
}

struct Wheel {
    start: Instant,
    schedule: Schedule,
    /// The session of each number of the schedule.
    sessions: Vec<Option<Arc<str>>>,
    numbers: HashMap<Arc<str>, u32>,
    free: Vec<u32>,
    /// The numbers whose deadline has passed and that have only the one of the next try.
    due: HashSet<u32>,
}

impl Deadlines {
    pub(super) fn new(start: Instant) -> Self {
        let wheel = Wheel {
            start,
            schedule: Schedule::new(usize::MAX, start),
            sessions: Vec::new(),
            numbers: HashMap::new(),
            free: Vec::new(),
            due: HashSet::new(),
        };
        Self {
            wheel: wheel.into(),
            wanted: 1.into(),
            filled: 0.into(),
            removal: Some(OffsetDateTime::UNIX_EPOCH).into(),
        }
    }

    /// Sets the deadline of a session, unless it has an earlier one: `at` may be of a row that was changed meanwhile. A
    /// deadline that is too early only leads to another read.
    pub(super) fn set(&self, id: &SessionId, at: OffsetDateTime, now: Now) {
        let mut wheel = self.lock();
        let number = wheel.number(id.as_str());
        // one that has passed is not rounded up
        let deadline = match at <= now.utc {
            true => wheel.start,
            false => now.deadline(at),
        };
        // the memory for the session ends before the capacity
        let _ = match wheel.due.remove(&number) {
            true => wheel.schedule.insert(number, deadline),
            false => wheel.schedule.insert_earlier(number, deadline),
        };
    }

    /// Removes the deadline of a session.
    pub(super) fn remove(&self, id: &SessionId) {
        let mut wheel = self.lock();
        if let Some(number) = wheel.numbers.remove(id.as_str()) {
            wheel.schedule.remove(number);
            wheel.due.remove(&number);
            wheel.sessions[number as usize] = None;
            wheel.free.push(number);
        }
    }

    /// The next call of [`Direct::expire_idle`].
    pub(super) fn next(&self) -> Option<Instant> {
        self.lock().schedule.next_deadline()
    }

    /// Requests that the live sessions are read again, because the clock was set or the policy changed.
    pub(super) fn refill(&self) {
        self.wanted.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of such requests.
    pub(super) fn refills(&self) -> u64 {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Moves the next removal to `at`, unless it is earlier.
    pub(super) fn remove_by(&self, at: OffsetDateTime) {
        let mut removal = lock(&self.removal);
        *removal = Some(removal.map_or(at, |earlier| earlier.min(at)));
    }

    /// Returns a session whose deadline has passed, which is due again after a pause unless it gets another deadline.
    fn pop_due(&self, now: Instant) -> Option<SessionId> {
        let mut wheel = self.lock();
        loop {
            let number = wheel.schedule.pop_due(now)?;
            let id = wheel.sessions[number as usize].clone();
            if let Some(id) = id.and_then(|id| id.parse().ok()) {
                let _ = wheel.schedule.insert(number, now + RETRY);
                wheel.due.insert(number);
                return Some(id);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Wheel> {
        lock(&self.wheel)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Wheel {
    fn number(&mut self, id: &str) -> u32 {
        if let Some(number) = self.numbers.get(id) {
            return *number;
        }
        let id: Arc<str> = id.into();
        let number = self.free.pop().unwrap_or_else(|| {
            self.sessions.push(None);
            (self.sessions.len() - 1) as u32
        });
        self.sessions[number as usize] = Some(Arc::clone(&id));
        self.numbers.insert(id, number);
        number
    }
}

impl fmt::Debug for Deadlines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadlines")
            .field("sessions", &self.lock().numbers.len())
            .finish_non_exhaustive()
    }
}

impl Direct {
    /// Ends the live sessions whose idle timeout has passed, re-evaluates those whose decision may differ by now, and
    /// returns the number of ended ones. A failure of one session does not affect the others; it is repeated after a minute.
    ///
    /// The first call reads the live sessions of the store. Those whose decision is of another policy are re-evaluated.
    ///
    /// # Errors
    /// If the live sessions cannot be read.
    pub async fn expire_idle(&self) -> Result<usize, Error> {
        self.fill_deadlines().await?;
        let (mut ended, mut running) = (0, JoinSet::new());
        loop {
            let now = self.clock().now().instant;
            while running.len() < CONCURRENT
                && let Some(id) = self.shared.deadlines.pop_due(now)
            {
                let direct = self.clone();
                running.spawn(async move {
                    direct.meet_deadline(&id).await.unwrap_or_else(|error| {
                        if let Some(unlogged) = direct.admit_fault_line() {
                            tracing::error!(session = %id, %error, unlogged, "cannot end or re-evaluate a session, trying again in a minute");
                        }
                        false
                    })
                });
            }
            match running.join_next().await {
                None => return Ok(ended),
                Some(Ok(is_ended)) => ended += usize::from(is_ended),
                Some(Err(error)) => {
                    tracing::error!(%error, "the end of a session failed, trying again in a minute")
                }
            }
        }
    }

    /// Ends or re-evaluates a session, or sets its next deadline. Returns whether it was ended.
    async fn meet_deadline(&self, id: &SessionId) -> Result<bool, Error> {
        // a decision may end while it is re-evaluated
        let now = self.clock().now();
        let reevaluated = match self.load_any(id).await {
            Ok(record) if record.row.ended_at.is_some() => Err(Error::Refused(ErrorCode::NotFound)),
            Ok(record) => self.reevaluated(record).await,
            error => error,
        };
        match reevaluated {
            Ok(record) => {
                if record.has_lapsed(now.utc) {
                    return self
                        .end_if(
                            record,
                            EndReason::Expired,
                            Actor::system("guest-suite"),
                            Some(now.utc),
                        )
                        .await;
                }
                let at = record.next_deadline(&self.policy(), now);
                self.shared.deadlines.set(id, at, now);
            }
            Err(Error::Refused(ErrorCode::NotFound)) => self.shared.deadlines.remove(id),
            Err(error) => return Err(error),
        }
        Ok(false)
    }

    async fn fill_deadlines(&self) -> Result<(), Error> {
        let deadlines = &self.shared.deadlines;
        let mut filled = deadlines.filled.lock().await;
        let wanted = deadlines.refills();
        if *filled == wanted {
            return Ok(());
        }
        let mut reevaluated = 0_u64;
        let mut pages = SessionPages::of(SessionQuery::Live(None));
        while let Some(page) = pages.next(&**self.store()).await? {
            let now = self.clock().now();
            for session in page {
                let (id, idle) = (session.id.clone(), session.idle_deadline);
                let deadline = match SessionRow::load(session) {
                    Ok(record) if self.reevaluation(&record, now).is_some() => {
                        reevaluated += 1;
                        now.utc
                    }
                    Ok(record) => record.next_deadline(&self.policy(), now),
                    Err(_) => idle,
                };
                deadlines.set(&id, deadline, now);
            }
        }
        *filled = wanted;
        if reevaluated > 0 {
            let Policy { id, version, .. } = &*self.policy();
            tracing::info!(sessions = reevaluated, policy = %id, version, "re-evaluating the consent of live sessions");
        }
        Ok(())
    }

    /// Erases the sessions, and removes the idempotency keys, the replaced secrets of webhooks and the deliveries that are
    /// due. It looks for them only if there are any.
    pub(super) async fn remove_due(&self) -> Result<(), Error> {
        let deadlines = &self.shared.deadlines;
        let now = self.clock().now().utc;
        if lock(&deadlines.removal).is_none_or(|at| now < at) {
            return Ok(());
        }
        self.erase_old().await?;
        self.forget_requests().await?;
        let secrets = self.drop_ended_secrets().await?;
        *lock(&deadlines.removal) = None;
        let stats = self
            .store()
            .stats()
            .await
            .inspect_err(|_| deadlines.remove_by(now))?;
        let ends = stats.oldest_end.map(|at| at + self.shared.config.retention);
        let keys = stats.oldest_request.map(|at| at + KEPT);
        let attempts = stats.oldest_attempt.map(|at| at + DELIVERIES_KEPT);
        let mut waiting = stats.outbox_oldest.map(|at| at + DELIVERIES_KEPT);
        if attempts.into_iter().chain(waiting).any(|at| at <= now) {
            let before = now - DELIVERIES_KEPT;
            let removal = Change::RemoveOldDeliveries { before };
            let removed = self.commit(removal.into()).await;
            removed.inspect_err(|_| deadlines.remove_by(now))?;
            // an old snapshot may stay, old attempts beyond those of one removal are removed by the next run
            waiting = waiting.map(|at| at.max(now + DELIVERIES_INTERVAL));
        }
        ends.into_iter()
            .chain(keys)
            .chain(attempts)
            .chain(waiting)
            .chain(secrets)
            .for_each(|at| deadlines.remove_by(at));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use genesys_api::Clock;

    use super::*;

    #[test]
    fn deadline_is_moved_removed_and_repeated() {
        let clock = Clock::system();
        let now = clock.now();
        let deadlines = Deadlines::new(now.instant);
        let ids = ["a", "b", "c"].map(|id| id.parse::<SessionId>().unwrap());
        let minute = Duration::from_secs(60);
        for id in &ids {
            deadlines.set(id, now.utc + minute, now);
        }
        assert!(deadlines.pop_due(now.instant).is_none());
        deadlines.remove(&ids[0]);
        deadlines.set(&ids[0], now.utc + minute * 3, now);
        deadlines.remove(&ids[1]);
        deadlines.remove(&ids[1]);
        let due = |minutes| deadlines.pop_due(now.instant + minute * minutes + Duration::from_secs(1));
        assert_eq!((due(0), due(1), due(1)), (None, Some(ids[2].clone()), None));
        assert_eq!(due(2), Some(ids[2].clone()), "it was not met");
        deadlines.remove(&ids[2]);
        assert_eq!((due(2), due(3)), (None, Some(ids[0].clone())));
        // a number is used again
        deadlines.set(&ids[1], now.utc + minute * 3, now);
        assert_eq!(deadlines.lock().sessions.len(), 3);
        assert_eq!(due(3), Some(ids[1].clone()));
    }

    #[test]
    fn deadline_of_an_earlier_read_replaces_no_earlier_deadline() {
        let clock = Clock::system();
        let now = clock.now();
        let deadlines = Deadlines::new(now.instant);
        let id: SessionId = "a".parse().unwrap();
        let minute = Duration::from_secs(60);
        let due = |minutes| deadlines.pop_due(now.instant + minute * minutes + Duration::from_secs(1));
        deadlines.set(&id, now.utc, now);
        assert_eq!(due(0), Some(id.clone()));
        // a change is committed while the session is read, then the deadline of the row before it is set
        deadlines.set(&id, now.utc + minute * 5, now);
        deadlines.set(&id, now.utc + minute * 30, now);
        assert_eq!((due(4), due(5)), (None, Some(id.clone())));
        // the deadline that was met is replaced by a later one
        deadlines.set(&id, now.utc + minute * 30, now);
        assert_eq!((due(7), due(29), due(30)), (None, None, Some(id)));
    }
}
