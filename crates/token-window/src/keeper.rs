//! The driver: one task that keeps one token alive.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use genesys_api::{Clock, entropy};
use secrecy::SecretString;
use tokio::sync::{broadcast, watch};
use tokio::task::AbortHandle;

use crate::{Event, Failure, Reason, Renewal, Rotation, Status, Tokens};

/// Events kept for a listener that lags behind; then it loses the oldest.
const MOST_EVENTS: usize = 8;

/// Makes one attempt to renew a token.
pub trait Renew: Send + Sync + 'static {
    /// Presents `current`, and brings what the service issued, or how that failed. It should have its own deadline:
    /// until it ends there is no other attempt.
    fn renew(
        &self,
        current: &Tokens,
        renewal: &Renewal,
    ) -> impl Future<Output = Result<Renewed, Failure>> + Send;
}

/// What an attempt brought.
#[derive(Clone, Debug)]
pub struct Renewed {
    /// The new tokens.
    pub tokens: Tokens,
    /// When they were asked for: their lifetime counts from here.
    pub sent_at: Instant,
}

/// Keeps a token alive by a task of its own. Clones share it; the task stops with the last of them.
#[derive(Clone, Debug)]
pub struct Keeper {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    view: watch::Receiver<View>,
    /// The generation that callers want at least.
    wanted: watch::Sender<u64>,
    events: broadcast::WeakSender<Event>,
    task: AbortHandle,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the task has published last.
#[derive(Clone, Debug)]
struct View {
    tokens: Tokens,
    expires_at: Instant,
    generation: u64,
    status: Status,
    /// Attempts that have failed, in all: a waiter sees by it that the one it waited for has ended.
    failures: u64,
}

impl Keeper {
    /// Starts the task that drives `rotation` with `renew`.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn spawn(rotation: Rotation, renew: impl Renew, clock: Clock) -> Self {
        let (publish, view) = watch::channel(View::of(&rotation, 0));
        let (wanted, asked) = watch::channel(0);
        let events = broadcast::Sender::new(MOST_EVENTS);
        let weak = events.downgrade();
        let task = tokio::spawn(
            Task {
                rotation,
                renew,
                clock: clock.clone(),
                publish,
                events,
                failures: 0,
            }
            .run(asked),
        );
        Self {
            shared: Arc::new(Shared {
                clock,
                view,
                wanted,
                events: weak,
                task: task.abort_handle(),
            }),
        }
    }

    /// The token. One that has not expired is served at once, whatever becomes of its renewal; otherwise this waits
    /// for the attempt that is in flight or due, and all who wait share its outcome. Cancelling it cancels nothing.
    ///
    /// # Errors
    /// If the token has expired and the attempt failed, or the next is not due yet, or there can be none.
    pub async fn token(&self) -> Result<Token, KeepError> {
        let mut view = self.shared.view.clone();
        let failures = view.borrow().failures;
        loop {
            let seen = view.borrow_and_update().clone();
            let now = self.shared.clock.now().instant;
            if now < seen.expires_at {
                return Ok(seen.token(now));
            }
            seen.check(failures, now)?;
            view.changed().await.map_err(|_| KeepError::Stopped)?;
        }
    }

    /// Renews without waiting for the window, or joins the attempt that is in flight, and waits for its end. A wait
    /// after a failure is not cut short.
    ///
    /// # Errors
    /// If the attempt failed, or the next is not due yet, or there can be none.
    pub async fn renew_now(&self) -> Result<Token, KeepError> {
        let mut view = self.shared.view.clone();
        let before = view.borrow_and_update().clone();
        before.check(before.failures, self.shared.clock.now().instant)?;
        self.shared
            .wanted
            .send_modify(|wanted| *wanted = (*wanted).max(before.generation + 1));
        loop {
            view.changed().await.map_err(|_| KeepError::Stopped)?;
            let seen = view.borrow_and_update().clone();
            let now = self.shared.clock.now().instant;
            if seen.generation > before.generation {
                return Ok(seen.token(now));
            }
            seen.check(before.failures, now)?;
        }
    }

    /// Listens to what happens from now on. A listener that lags more than 8 events behind loses the oldest.
    #[must_use]
    pub fn events(&self) -> Events {
        Events {
            // without the task there are no events to come
            receiver: self
                .shared
                .events
                .upgrade()
                .map_or_else(|| broadcast::channel(1).1, |sender| sender.subscribe()),
        }
    }

    /// The tokens as they stand, for those who save them to go on after a restart. Saved ones are void once this
    /// keeper has renewed them.
    #[must_use]
    pub fn tokens(&self) -> Tokens {
        self.shared.view.borrow().tokens.clone()
    }

    /// What the rotation is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.view.borrow().status
    }
}

/// What happens to a token, as it happens.
#[derive(Debug)]
pub struct Events {
    receiver: broadcast::Receiver<Event>,
}

impl Events {
    /// The next event; `None` once the keeper has stopped.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            match self.receiver.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

/// An access token as a keeper hands it out.
#[derive(Clone)]
#[non_exhaustive]
pub struct Token {
    /// What calls and handshakes carry.
    pub secret: SecretString,
    /// How often it had been renewed.
    pub generation: u64,
    /// How long it was to live when it was handed out.
    pub remaining: Duration,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("secret", &format_args!("[redacted]"))
            .field("generation", &self.generation)
            .field("remaining", &self.remaining)
            .finish()
    }
}

/// A keeper has no token to give.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeepError {
    /// The last attempt failed, and the next is not due yet.
    #[error("attempt {attempt} to renew the token failed: the next is due in {next_in:?}, ask again then")]
    Failed {
        /// Which attempt since the last success, from 1.
        attempt: u32,
        /// How long until the next.
        next_in: Duration,
    },
    /// The token cannot be renewed.
    #[error("the token cannot be renewed any more: create a new session, or have the guest sign in again")]
    ReauthRequired,
    /// The task has ended, as its runtime did or as its `Renew` panicked.
    #[error("the task that renews the token has stopped: look for a panic above, and create a new session")]
    Stopped,
}

impl View {
    fn of(rotation: &Rotation, failures: u64) -> Self {
        Self {
            tokens: rotation.tokens().clone(),
            expires_at: rotation.expires_at(),
            generation: rotation.generation(),
            status: rotation.status(),
            failures,
        }
    }

    fn token(&self, now: Instant) -> Token {
        Token {
            secret: self.tokens.access().clone(),
            generation: self.generation,
            remaining: self.expires_at.saturating_duration_since(now),
        }
    }

    /// Whether there is an attempt to wait for, for one who began to wait after `failures` of them.
    fn check(&self, failures: u64, now: Instant) -> Result<(), KeepError> {
        match self.status {
            Status::ReauthRequired => Err(KeepError::ReauthRequired),
            Status::BackingOff { attempt, until } if self.failures > failures || now < until => {
                Err(KeepError::Failed {
                    attempt,
                    next_in: until.saturating_duration_since(now),
                })
            }
            _ => Ok(()),
        }
    }
}

struct Task<R> {
    rotation: Rotation,
    renew: R,
    clock: Clock,
    publish: watch::Sender<View>,
    events: broadcast::Sender<Event>,
    failures: u64,
}

type Flight = Pin<Box<dyn Future<Output = (Renewal, Result<Renewed, Failure>)> + Send>>;

impl<R: Renew> Task<R> {
    async fn run(self, mut asked: watch::Receiver<u64>) {
        let Self {
            mut rotation,
            renew,
            clock,
            publish,
            events,
            mut failures,
        } = self;
        let renew = Arc::new(renew);
        let mut flight: Option<Flight> = None;
        loop {
            let now = clock.now().instant;
            rotation.handle_timeout(now);
            if let Some(renewal) = rotation.poll_renewal(now) {
                flight = Some(begin(Arc::clone(&renew), rotation.tokens().clone(), renewal));
            }
            publish.send_replace(View::of(&rotation, failures));
            while let Some(event) = rotation.poll_event() {
                // no listener is no fault
                let _ = events.send(event);
            }
            let deadline = rotation.poll_timeout();
            tokio::select! {
                (renewal, outcome) = landed(&mut flight) => {
                    flight = None;
                    let now = clock.now().instant;
                    match outcome {
                        Ok(Renewed { tokens, sent_at }) => rotation.handle_renewed(renewal, tokens, sent_at, now),
                        Err(failure) => {
                            failures += 1;
                            rotation.handle_failed(renewal, failure, entropy::number(), now);
                        }
                    }
                }
                Ok(()) = asked.changed() => {
                    if *asked.borrow_and_update() > rotation.generation() {
                        rotation.renew_now(clock.now().instant);
                    }
                }
                () = sleep(&clock, deadline) => {}
            }
        }
    }
}

fn begin<R: Renew>(renew: Arc<R>, current: Tokens, renewal: Renewal) -> Flight {
    Box::pin(async move {
        let outcome = renew.renew(&current, &renewal).await;
        (renewal, outcome)
    })
}

async fn landed(flight: &mut Option<Flight>) -> (Renewal, Result<Renewed, Failure>) {
    match flight {
        Some(flight) => flight.await,
        None => std::future::pending().await,
    }
}

async fn sleep(clock: &Clock, deadline: Option<(Instant, Reason)>) {
    match deadline {
        Some((at, _)) => clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use secrecy::ExposeSecret;

    use super::*;
    use crate::tokens::tests::issue;
    use crate::{Intent, Jitter, Window};

    const HOUR: Duration = Duration::from_secs(3600);
    const BUSY: Failure = Failure::Transient { retry_after: None };

    /// A service that fails as its script says, and then succeeds.
    #[derive(Debug)]
    struct Service {
        clock: Clock,
        lifetime: Duration,
        latency: Duration,
        script: Mutex<VecDeque<Failure>>,
        attempts: AtomicU64,
        in_flight: AtomicU64,
    }

    impl Service {
        fn new(lifetime: Duration, script: impl IntoIterator<Item = Failure>) -> Arc<Self> {
            Arc::new(Self {
                clock: Clock::system(),
                lifetime,
                latency: Duration::from_secs(2),
                script: Mutex::new(script.into_iter().collect()),
                attempts: AtomicU64::new(0),
                in_flight: AtomicU64::new(0),
            })
        }

        fn keep(self: &Arc<Self>) -> Keeper {
            let rotation = Rotation::new(
                issue(0, self.lifetime),
                Intent::RefreshByRest,
                Window::default(),
                Jitter::of("guest-1"),
                self.clock.now().instant,
            );
            Keeper::spawn(rotation, Client(Arc::clone(self)), self.clock.clone())
        }

        fn attempts(&self) -> u64 {
            self.attempts.load(Ordering::SeqCst)
        }
    }

    struct Client(Arc<Service>);

    impl Renew for Client {
        async fn renew(&self, current: &Tokens, _: &Renewal) -> Result<Renewed, Failure> {
            let service = &self.0;
            let n = service.attempts.fetch_add(1, Ordering::SeqCst) + 1;
            assert_eq!(service.in_flight.fetch_add(1, Ordering::SeqCst), 0);
            assert!(current.refresh().is_some());
            let sent_at = service.clock.now().instant;
            service.clock.sleep(service.latency).await;
            service.in_flight.fetch_sub(1, Ordering::SeqCst);
            match service.script.lock().unwrap().pop_front() {
                Some(failure) => Err(failure),
                None => Ok(Renewed {
                    tokens: issue(n, service.lifetime),
                    sent_at,
                }),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_tasks_are_served_the_valid_token_during_a_renewal() {
        let service = Service::new(HOUR, []);
        let keeper = service.keep();
        let mut events = keeper.events();
        service.clock.advance(HOUR - Duration::from_secs(14 * 60));
        while keeper.status() != Status::Renewing {
            tokio::task::yield_now().await;
        }
        for task in every_token(&keeper, 100) {
            assert_eq!(task.await.unwrap().unwrap().generation, 0);
        }
        assert_eq!(keeper.status(), Status::Renewing, "none of them waited for it");
        assert_eq!(events.next().await, Some(Event::Renewed { generation: 1 }));
        assert_eq!(keeper.token().await.unwrap().secret.expose_secret(), "access-1");
        assert_eq!(service.attempts(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_tasks_wait_for_one_flight_when_the_token_has_expired() {
        let service = Service::new(HOUR, []);
        let keeper = service.keep();
        service.clock.advance(2 * HOUR);
        let tasks = every_token(&keeper, 100);
        let cancelled = tokio::spawn({
            let keeper = keeper.clone();
            async move { keeper.token().await }
        });
        tokio::task::yield_now().await;
        cancelled.abort();
        for task in tasks {
            assert_eq!(task.await.unwrap().unwrap().generation, 1);
        }
        assert_eq!(service.attempts(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_wait_share_the_failure() {
        let service = Service::new(HOUR, [BUSY]);
        let keeper = service.keep();
        service.clock.advance(2 * HOUR);
        for task in every_token(&keeper, 100) {
            assert!(matches!(
                task.await.unwrap(),
                Err(KeepError::Failed { attempt: 1, .. })
            ));
        }
        assert_eq!(service.attempts(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_looks_late_waits_for_no_second_attempt() {
        let service = Service::new(HOUR, [BUSY]);
        let keeper = service.keep();
        service.clock.advance(2 * HOUR);
        let mut waiting = std::pin::pin!(keeper.token());
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("the token has expired"),
            () = std::future::ready(()) => {}
        }
        while !matches!(keeper.status(), Status::BackingOff { .. }) {
            service.clock.sleep(Duration::from_millis(1)).await;
        }
        service.clock.advance(Duration::from_secs(60));
        assert!(matches!(waiting.await, Err(KeepError::Failed { attempt: 1, .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn a_minute_is_renewed_once_a_lifetime() {
        let service = Service::new(Duration::from_secs(60), []);
        let keeper = service.keep();
        service.clock.sleep(HOUR).await;
        // renewed each 42 to 45 seconds
        assert!((80..=86).contains(&service.attempts()), "{}", service.attempts());
        assert!(keeper.token().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_keep_the_old_token_served() {
        let service = Service::new(HOUR, [BUSY, BUSY]);
        let keeper = service.keep();
        let mut events = keeper.events();
        assert!(matches!(
            events.next().await,
            Some(Event::Failed { attempt: 1, .. })
        ));
        assert!(matches!(
            events.next().await,
            Some(Event::Failed { attempt: 2, .. })
        ));
        assert_eq!(keeper.token().await.unwrap().generation, 0);
        assert_eq!(events.next().await, Some(Event::Renewed { generation: 1 }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reply_lost_twice_asks_for_a_new_session() {
        let service = Service::new(HOUR, [Failure::Unknown, Failure::Unknown]);
        let keeper = service.keep();
        let mut events = keeper.events();
        assert!(matches!(
            keeper.renew_now().await,
            Err(KeepError::Failed { attempt: 1, .. })
        ));
        assert!(matches!(
            events.next().await,
            Some(Event::InDoubt { attempt: 1, .. })
        ));
        assert_eq!(events.next().await, Some(Event::ReauthRequired));
        assert_eq!(keeper.renew_now().await.unwrap_err(), KeepError::ReauthRequired);
        assert!(keeper.token().await.is_ok(), "served until its own end");
        assert_eq!(events.next().await, Some(Event::Expired));
        assert_eq!(keeper.token().await.unwrap_err(), KeepError::ReauthRequired);
        assert_eq!(service.attempts(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn renewing_at_once_is_one_flight() {
        let service = Service::new(HOUR, []);
        let keeper = service.keep();
        let tasks: Vec<_> = (0..100)
            .map(|_| {
                let keeper = keeper.clone();
                tokio::spawn(async move { keeper.renew_now().await })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap().unwrap().generation, 1);
        }
        assert_eq!(service.attempts(), 1);
        assert_eq!(keeper.renew_now().await.unwrap().generation, 2);

        // one who asked before the second renewal, and is heard after it
        keeper.shared.wanted.send_modify(|wanted| *wanted = 2);
        service.clock.sleep(Duration::from_secs(10)).await;
        assert_eq!(service.attempts(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_task_stops_with_the_last_keeper() {
        let service = Service::new(HOUR, []);
        let keeper = service.keep();
        let mut events = keeper.events();
        let clone = keeper.clone();
        drop(keeper);
        assert!(clone.renew_now().await.is_ok());
        assert_eq!(events.next().await, Some(Event::Renewed { generation: 1 }));
        drop(clone);
        assert_eq!(events.next().await, None);
        assert_eq!(Arc::strong_count(&service), 1, "the task has let go of it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_told() {
        struct Panic;
        impl Renew for Panic {
            async fn renew(&self, _: &Tokens, _: &Renewal) -> Result<Renewed, Failure> {
                tokio::task::yield_now().await;
                panic!("as the test asks")
            }
        }
        let clock = Clock::system();
        let rotation = Rotation::new(
            issue(0, HOUR),
            Intent::FetchJwt,
            Window::default(),
            Jitter::of("guest-1"),
            clock.now().instant,
        );
        let keeper = Keeper::spawn(rotation, Panic, clock.clone());
        assert_eq!(keeper.renew_now().await.unwrap_err(), KeepError::Stopped);
        assert!(keeper.token().await.is_ok(), "it has not expired");
        clock.advance(HOUR);
        assert_eq!(keeper.token().await.unwrap_err(), KeepError::Stopped);
        assert_eq!(keeper.events().next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_shows_its_time_and_not_itself() {
        let keeper = Service::new(HOUR, []).keep();
        let token = keeper.token().await.unwrap();
        assert_eq!(
            format!("{token:?}"),
            "Token { secret: [redacted], generation: 0, remaining: 3600s }"
        );
        assert!(!format!("{keeper:?}").contains("access-0"));
    }

    fn every_token(keeper: &Keeper, tasks: usize) -> Vec<tokio::task::JoinHandle<Result<Token, KeepError>>> {
        std::iter::repeat_with(|| {
            let keeper = keeper.clone();
            tokio::spawn(async move { keeper.token().await })
        })
        .take(tasks)
        .collect()
    }
}
