//! Tests of the driver.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use secrecy::ExposeSecret;

use super::*;
use crate::tokens::tests::issue;

const HOUR: Duration = Duration::from_secs(3600);
const BUSY: RefreshError = RefreshError::Transient { retry_after: None };

/// A service that fails as scripted, then succeeds.
#[derive(Debug)]
struct Service {
    clock: Clock,
    lifetime: Duration,
    latency: Duration,
    script: Mutex<VecDeque<RefreshError>>,
    attempts: AtomicU64,
    keys: Mutex<Vec<IdempotencyKey>>,
    in_flight: AtomicU64,
}

impl Service {
    fn new(lifetime: Duration, script: impl IntoIterator<Item = RefreshError>) -> Arc<Self> {
        Arc::new(Self {
            clock: Clock::system(),
            lifetime,
            latency: Duration::from_secs(2),
            script: Mutex::new(script.into_iter().collect()),
            attempts: AtomicU64::new(0),
            keys: Mutex::default(),
            in_flight: AtomicU64::new(0),
        })
    }

    fn refresh(&self) -> Refresh {
        Refresh::new(
            issue(0, self.lifetime),
            Window::default(),
            Jitter::of("guest-1"),
            self.clock.now().instant,
        )
    }

    fn manage(self: &Arc<Self>) -> TokenManager {
        let refresh = self.refresh();
        TokenManager::spawn_with(refresh, Client(Arc::clone(self)), self.clock.clone())
    }

    fn attempts(&self) -> u64 {
        self.attempts.load(Ordering::SeqCst)
    }
}

struct Client(Arc<Service>);

impl Refresher for Client {
    async fn refresh(&self, request: &RefreshRequest) -> Result<Tokens, RefreshError> {
        let service = &self.0;
        let n = service.attempts.fetch_add(1, Ordering::SeqCst) + 1;
        assert_eq!(service.in_flight.fetch_add(1, Ordering::SeqCst), 0);
        assert!(request.current.refresh().is_some());
        service.keys.lock().unwrap().push(request.idempotency_key.clone());
        service.clock.sleep(service.latency).await;
        service.in_flight.fetch_sub(1, Ordering::SeqCst);
        match service.script.lock().unwrap().pop_front() {
            Some(failure) => Err(failure),
            None => Ok(issue(n, service.lifetime)),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn token_is_served_to_all_tasks_during_refresh() {
    let service = Service::new(HOUR, []);
    let manager = service.manage();
    let mut events = manager.events();
    service.clock.advance(HOUR - Duration::from_secs(14 * 60));
    while manager.status() != Status::Refreshing {
        tokio::task::yield_now().await;
    }
    for task in token_tasks(&manager, 100) {
        assert_eq!(task.await.unwrap().unwrap().generation, 0);
    }
    assert_eq!(manager.status(), Status::Refreshing, "no task waited for it");
    assert_eq!(events.next().await, Some(Event::Refreshed { generation: 1 }));
    assert_eq!(manager.token().await.unwrap().secret.expose_secret(), "access-1");
    assert_eq!(service.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn expired_token_is_refreshed_once_for_all_tasks() {
    let service = Service::new(HOUR, []);
    let manager = service.manage();
    service.clock.advance(2 * HOUR);
    let tasks = token_tasks(&manager, 100);
    let canceled = tokio::spawn({
        let manager = manager.clone();
        async move { manager.token().await }
    });
    tokio::task::yield_now().await;
    canceled.abort();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap().generation, 1);
    }
    assert_eq!(service.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn failure_is_shared_by_all_waiting_tasks() {
    let service = Service::new(HOUR, [BUSY]);
    let manager = service.manage();
    service.clock.advance(2 * HOUR);
    for task in token_tasks(&manager, 100) {
        assert!(matches!(
            task.await.unwrap(),
            Err(TokenError::Failed { attempt: 1, .. })
        ));
    }
    assert_eq!(service.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn late_poll_after_failure_does_not_wait_for_second_attempt() {
    let service = Service::new(HOUR, [BUSY]);
    let manager = service.manage();
    service.clock.advance(2 * HOUR);
    let mut waiting = std::pin::pin!(manager.token());
    tokio::select! {
        biased;
        _ = &mut waiting => panic!("the token has expired"),
        () = std::future::ready(()) => {}
    }
    while !matches!(manager.status(), Status::BackingOff { .. }) {
        service.clock.sleep(Duration::from_millis(1)).await;
    }
    service.clock.advance(Duration::from_secs(60));
    assert!(matches!(
        waiting.await,
        Err(TokenError::Failed { attempt: 1, .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn token_of_one_minute_is_refreshed_once_per_lifetime() {
    let service = Service::new(Duration::from_secs(60), []);
    let manager = service.manage();
    service.clock.sleep(HOUR).await;
    // refreshed every 42 to 45 seconds
    assert!((80..=86).contains(&service.attempts()), "{}", service.attempts());
    assert!(manager.token().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn token_is_served_while_refreshes_fail() {
    let service = Service::new(HOUR, [BUSY, BUSY]);
    let manager = service.manage();
    let mut events = manager.events();
    assert!(matches!(
        events.next().await,
        Some(Event::Failed { attempt: 1, .. })
    ));
    assert!(matches!(
        events.next().await,
        Some(Event::Failed { attempt: 2, .. })
    ));
    assert_eq!(manager.token().await.unwrap().generation, 0);
    assert_eq!(events.next().await, Some(Event::Refreshed { generation: 1 }));
}

#[tokio::test(start_paused = true)]
async fn idempotency_key_stays_until_the_tokens_are_replaced() {
    let service = Service::new(HOUR, [BUSY, RefreshError::Unknown { retry_after: None }]);
    let manager = service.manage();
    let mut events = manager.events();
    while !matches!(events.next().await, Some(Event::Refreshed { generation: 1 })) {}
    manager.refresh_now().await.unwrap();
    let keys = service.keys.lock().unwrap();
    assert_eq!(keys.len(), 4);
    assert!(keys[0] == keys[1] && keys[1] == keys[2] && keys[2] != keys[3]);
}

#[tokio::test(start_paused = true)]
async fn unknown_outcome_is_retried_past_expiry_until_success() {
    let service = Service::new(HOUR, [RefreshError::Unknown { retry_after: None }; 40]);
    let manager = service.manage();
    let mut events = manager.events();
    let mut expired = 0;
    loop {
        match events.next().await.unwrap() {
            Event::OutcomeUnknown { .. } => {}
            Event::Expired => {
                expired += 1;
                assert!(matches!(manager.token().await, Err(TokenError::Failed { .. })));
            }
            event => {
                assert_eq!(event, Event::Refreshed { generation: 1 });
                break;
            }
        }
    }
    assert_eq!(expired, 1);
    assert!(manager.token().await.is_ok());
    assert_eq!(service.attempts(), 41);
}

#[tokio::test(start_paused = true)]
async fn refresher_that_does_not_retry_unknown_outcomes_requires_reauth() {
    struct Once(Arc<Service>);

    impl Refresher for Once {
        async fn refresh(&self, request: &RefreshRequest) -> Result<Tokens, RefreshError> {
            Client(Arc::clone(&self.0)).refresh(request).await
        }

        fn retries_unknown(&self) -> bool {
            false
        }
    }

    let service = Service::new(HOUR, [BUSY, RefreshError::Unknown { retry_after: None }]);
    let refresh = service.refresh();
    let manager = TokenManager::spawn_with(refresh, Once(Arc::clone(&service)), service.clock.clone());
    let mut events = manager.events();
    assert!(matches!(
        events.next().await,
        Some(Event::Failed { attempt: 1, .. })
    ));
    assert_eq!(events.next().await, Some(Event::ReauthRequired));
    assert_eq!(
        manager.refresh_now().await.unwrap_err(),
        TokenError::ReauthRequired
    );
    assert!(manager.token().await.is_ok(), "served until its expiry");
    assert_eq!(events.next().await, Some(Event::Expired));
    assert_eq!(manager.token().await.unwrap_err(), TokenError::ReauthRequired);
    assert_eq!(service.attempts(), 2);
}

#[tokio::test(start_paused = true)]
async fn idempotency_key_is_known_before_it_is_sent_and_survives_a_restart() {
    let service = Service::new(HOUR, [RefreshError::Unknown { retry_after: None }]);
    let manager = service.manage();
    let first = manager.tokens();
    assert!(manager.refresh_now().await.is_err());
    // the client stops while its request is on its way
    drop(manager);
    let stored = first.idempotency_key().unwrap().clone();
    let refresh = Refresh::new(
        issue(0, HOUR).with_idempotency_key(stored.clone()),
        Window::default(),
        Jitter::of("guest-1"),
        service.clock.now().instant,
    );
    let manager = TokenManager::spawn_with(refresh, Client(Arc::clone(&service)), service.clock.clone());
    manager.refresh_now().await.unwrap();
    let next = manager.tokens().idempotency_key().unwrap().clone();
    manager.refresh_now().await.unwrap();
    assert_eq!(*service.keys.lock().unwrap(), [stored.clone(), stored, next]);
}

#[tokio::test(start_paused = true)]
async fn refresh_now_calls_share_one_attempt() {
    let service = Service::new(HOUR, []);
    let manager = service.manage();
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let manager = manager.clone();
            tokio::spawn(async move { manager.refresh_now().await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap().generation, 1);
    }
    assert_eq!(service.attempts(), 1);
    assert_eq!(manager.refresh_now().await.unwrap().generation, 2);

    // a request made before the second refresh and received after it
    assert!(manager.shared.reservation.request(2));
    service.clock.sleep(Duration::from_secs(10)).await;
    assert_eq!(service.attempts(), 2);
}

#[tokio::test(start_paused = true)]
async fn task_stops_with_last_clone() {
    let service = Service::new(HOUR, []);
    let manager = service.manage();
    let mut events = manager.events();
    let clone = manager.clone();
    drop(manager);
    assert!(clone.refresh_now().await.is_ok());
    assert_eq!(events.next().await, Some(Event::Refreshed { generation: 1 }));
    drop(clone);
    assert_eq!(events.next().await, None);
    // the task drops its refresher in its next turn
    while Arc::strong_count(&service) > 1 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn panic_of_refresher_stops_manager() {
    let clock = Clock::system();
    let refresher = async |_: RefreshRequest| -> Result<Tokens, RefreshError> {
        tokio::task::yield_now().await;
        panic!("as the test asks")
    };
    let refresh = Refresh::new(
        issue(0, HOUR),
        Window::default(),
        Jitter::of("guest-1"),
        clock.now().instant,
    );
    let manager = TokenManager::spawn_with(refresh, refresher, clock.clone());
    assert_eq!(manager.refresh_now().await.unwrap_err(), TokenError::Stopped);
    assert!(manager.token().await.is_ok(), "it has not expired");
    clock.advance(HOUR);
    assert_eq!(manager.token().await.unwrap_err(), TokenError::Stopped);
    assert_eq!(manager.events().next().await, None);
}

#[tokio::test(start_paused = true)]
async fn access_token_debug_redacts_secret() {
    let manager = Service::new(HOUR, []).manage();
    let token = manager.token().await.unwrap();
    assert_eq!(
        format!("{token:?}"),
        "AccessToken { secret: SecretBox<str>([REDACTED]), generation: 0, remaining: 3600s }"
    );
    assert!(!format!("{manager:?}").contains("access-0"));
}

fn token_tasks(
    manager: &TokenManager,
    tasks: usize,
) -> Vec<tokio::task::JoinHandle<Result<AccessToken, TokenError>>> {
    std::iter::repeat_with(|| {
        let manager = manager.clone();
        tokio::spawn(async move { manager.token().await })
    })
    .take(tasks)
    .collect()
}
