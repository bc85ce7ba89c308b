//! Limits, the reuse of slots, and isolation between sessions.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::tokens::tests::issue;
use crate::{Event, Jitter, Status, TokenError, Window};

const HOUR: Duration = Duration::from_secs(3_600);

/// Counts attempts and answers each after a second.
#[derive(Debug, Default)]
struct Service {
    attempts: AtomicUsize,
    in_flight: AtomicUsize,
    most_in_flight: AtomicUsize,
}

/// One attempt in flight, which may be canceled.
struct InFlight<'a>(&'a Service);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Client(Arc<Service>, Clock);

impl Refresher for Client {
    async fn refresh(&self, _: &RefreshRequest) -> Result<Tokens, RefreshError> {
        let Self(service, clock) = self;
        service.attempts.fetch_add(1, Ordering::SeqCst);
        let in_flight = service.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        let _in_flight = InFlight(service);
        service.most_in_flight.fetch_max(in_flight, Ordering::SeqCst);
        clock.sleep(Duration::from_secs(1)).await;
        Ok(issue(1, HOUR))
    }
}

fn start(clock: &Clock) -> Refresh {
    Refresh::new(
        issue(0, HOUR),
        Window::default(),
        Jitter::of("guest-1"),
        clock.now().instant,
    )
}

fn limits(tokens: usize, in_flight: usize, per_minute: u32) -> DriverLimits {
    DriverLimits {
        tokens,
        in_flight,
        per_minute,
        ..DriverLimits::default()
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_in_flight_are_limited() {
    let (clock, service) = (Clock::system(), Arc::new(Service::default()));
    let driver = RefreshDriver::spawn(limits(100, 4, 1_000), clock.clone());
    let client = || Client(Arc::clone(&service), clock.clone());
    let managers: Vec<_> = (0..100)
        .map(|_| driver.manage(start(&clock), client()).unwrap())
        .collect();
    assert_eq!(
        driver.manage(start(&clock), client()).unwrap_err(),
        Full { capacity: 100 }
    );
    clock.sleep(HOUR).await;
    assert_eq!(service.attempts.load(Ordering::SeqCst), 100);
    assert_eq!(service.most_in_flight.load(Ordering::SeqCst), 4);
    for manager in &managers {
        assert_eq!(manager.token().await.unwrap().generation, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_are_limited_in_rate() {
    let (clock, service) = (Clock::system(), Arc::new(Service::default()));
    let driver = RefreshDriver::spawn(limits(100, 4, 25), clock.clone());
    let _managers: Vec<_> = (0..100)
        .map(|_| {
            let client = Client(Arc::clone(&service), clock.clone());
            driver.manage(start(&clock), client).unwrap()
        })
        .collect();
    // all are due in the same minute
    clock.sleep(HOUR - Duration::from_secs(15 * 60)).await;
    let attempts = || service.attempts.load(Ordering::SeqCst);
    let in_first_minute = attempts();
    // the limit at once, and the limit within the minute
    assert!((1..=50).contains(&in_first_minute), "{in_first_minute}");
    clock.sleep(Duration::from_secs(240)).await;
    assert_eq!(attempts(), 100);
}

/// 50 tokens that are due after `age`, of which one is in flight.
async fn queue_of_50(age: Duration) -> (Arc<Service>, Vec<TokenManager>) {
    let (clock, service) = (Clock::system(), Arc::new(Service::default()));
    let driver = RefreshDriver::spawn(limits(50, 1, 1_000), clock.clone());
    let managers = (0..50)
        .map(|_| {
            let client = Client(Arc::clone(&service), clock.clone());
            driver.manage(start(&clock), client).unwrap()
        })
        .collect();
    clock.advance(age);
    while service.attempts.load(Ordering::SeqCst) == 0 {
        task::yield_now().await;
    }
    (service, managers)
}

#[tokio::test(start_paused = true)]
async fn caller_of_an_expired_token_goes_first() {
    let (service, managers) = queue_of_50(2 * HOUR).await;
    for (waiting, manager) in managers.iter().rev().take(3).enumerate() {
        assert_eq!(manager.token().await.unwrap().generation, 1);
        assert!(service.attempts.load(Ordering::SeqCst) <= 2 * waiting + 3);
    }
}

#[tokio::test(start_paused = true)]
async fn attempt_is_canceled_at_its_deadline_with_an_unknown_outcome() {
    let (clock, service) = (Clock::system(), Arc::new(Service::default()));
    let driver = RefreshDriver::spawn(limits(2, 1, 1_000), clock.clone());
    let hung = async |_: RefreshRequest| -> Result<Tokens, RefreshError> { std::future::pending().await };
    let hung = driver.manage(start(&clock), hung).unwrap();
    let mut events = hung.events();
    let sent = clock.now().instant;
    assert!(matches!(
        hung.refresh_now().await,
        Err(TokenError::Failed { attempt: 1, .. })
    ));
    assert!(matches!(events.next().await, Some(Event::OutcomeUnknown { .. })));
    let waited = clock.now().instant - sent;
    assert!((60..=61).contains(&waited.as_secs()), "{waited:?}");
    // it does not hold the only place for ever
    let other = driver
        .manage(start(&clock), Client(service, clock.clone()))
        .unwrap();
    assert_eq!(other.refresh_now().await.unwrap().generation, 1);
}

#[tokio::test(start_paused = true)]
async fn reservation_counts_as_a_token_until_it_is_dropped() {
    let (clock, service) = (Clock::system(), Arc::new(Service::default()));
    let driver = RefreshDriver::spawn(limits(1, 1, 1_000), clock.clone());
    let reservation = driver.reserve().unwrap();
    assert_eq!(driver.reserve().unwrap_err().capacity, 1);
    drop(reservation);
    let reservation = loop {
        match driver.reserve() {
            Ok(reservation) => break reservation,
            Err(_) => task::yield_now().await,
        }
    };
    let manager = reservation.manage(start(&clock), Client(service, clock));
    assert!(driver.reserve().is_err());
    assert_eq!(manager.refresh_now().await.unwrap().generation, 1);
}

#[tokio::test(start_paused = true)]
async fn attempt_that_a_caller_waits_for_goes_first() {
    let (service, managers) = queue_of_50(HOUR - Duration::from_secs(15 * 60)).await;
    managers[49].refresh_now().await.unwrap();
    // an attempt that the call makes due goes first too
    managers[49].refresh_now().await.unwrap();
    assert!(service.attempts.load(Ordering::SeqCst) <= 5);
}

#[tokio::test(start_paused = true)]
async fn slot_of_a_removed_session_is_used_again_without_its_flight() {
    let (clock, service) = (Clock::system(), Arc::new(Service::default()));
    let driver = RefreshDriver::spawn(limits(1, 4, 100), clock.clone());
    let client = || Client(Arc::clone(&service), clock.clone());
    let removed = driver.manage(start(&clock), client()).unwrap();
    {
        let mut waiting = std::pin::pin!(removed.refresh_now());
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("a refresh takes a second"),
            () = clock.sleep(Duration::from_millis(500)) => {}
        }
    }
    assert_eq!(service.in_flight.load(Ordering::SeqCst), 1);
    drop(removed);
    let next = loop {
        match driver.manage(start(&clock), client()) {
            Ok(manager) => break manager,
            Err(_) => task::yield_now().await,
        }
    };
    clock.sleep(Duration::from_secs(5)).await;
    assert_eq!(service.in_flight.load(Ordering::SeqCst), 0, "it was canceled");
    assert_eq!(next.status(), Status::Idle);
    assert_eq!(next.token().await.unwrap().generation, 0);
    assert_eq!(next.refresh_now().await.unwrap().generation, 1);
}

#[tokio::test(start_paused = true)]
async fn panic_of_one_refresher_stops_its_session_only() {
    let (clock, service) = (Clock::system(), Arc::new(Service::default()));
    let driver = RefreshDriver::spawn(DriverLimits::default(), clock.clone());
    let panicking = async |_: RefreshRequest| -> Result<Tokens, RefreshError> { panic!("as the test asks") };
    let broken = driver.manage(start(&clock), panicking).unwrap();
    let sound = driver
        .manage(start(&clock), Client(service, clock.clone()))
        .unwrap();
    assert_eq!(broken.refresh_now().await.unwrap_err(), TokenError::Stopped);
    assert_eq!(sound.refresh_now().await.unwrap().generation, 1);
    assert!(broken.token().await.is_ok(), "it has not expired");
}
