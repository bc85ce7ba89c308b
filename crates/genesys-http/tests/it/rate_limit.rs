//! A rate limit that tasks share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use genesys_api::retry::RetryPolicy;
use genesys_api::{Call, Clock, Host, Rate, ReplyError, json};
use genesys_http::{CallErrorKind, Client, RateLimiter};
use http::header::RETRY_AFTER;
use http::{Request, Response};

use crate::loopback::{Answer, Loopback, advance_until, answer, builder, closed_port};

/// A call that records the times of its attempts on `clock`.
#[derive(Clone)]
struct Read {
    clock: Clock,
    times: Arc<Mutex<Vec<Instant>>>,
}

impl Read {
    fn new(clock: &Clock) -> Self {
        Self {
            clock: clock.clone(),
            times: Arc::default(),
        }
    }

    fn times(&self) -> Vec<Instant> {
        self.times.lock().unwrap().clone()
    }
}

impl Call for Read {
    type Reply = serde_json::Value;
    const IDEMPOTENT: bool = true;

    fn request(&self, host: &Host) -> Request<Bytes> {
        self.times.lock().unwrap().push(self.clock.now().instant);
        json::get(host, "/thing")
    }

    fn reply(&self, response: Response<Bytes>) -> Result<Self::Reply, ReplyError> {
        json::reply(response, "an object")
    }
}

/// A server whose first answer is `first`.
async fn server(first: Answer) -> Loopback {
    let first = Arc::new(Mutex::new(Some(first)));
    Loopback::plain(move |_| {
        let first = first.lock().unwrap().take();
        async { first.unwrap_or_else(|| answer(200, "{}")) }
    })
    .await
}

fn limited(clock: &Clock, burst: u32) -> Client {
    let rate = Rate {
        limit: 60,
        period: Duration::from_secs(60),
        burst,
    };
    builder()
        .clock(clock.clone())
        .deadline(Duration::from_secs(3_600))
        .build()
        .with_rate_limiter(RateLimiter::new(rate))
}

/// A client that sends each call once, and has a slot an hour after the burst.
fn hourly(clock: &Clock, burst: u32) -> Client {
    let rate = Rate {
        limit: 1,
        period: Duration::from_secs(3_600),
        burst,
    };
    let retry = RetryPolicy {
        attempts: 1,
        ..RetryPolicy::default()
    };
    builder()
        .clock(clock.clone())
        .retry(retry)
        .build()
        .with_rate_limiter(RateLimiter::new(rate))
}

#[tokio::test]
async fn tasks_share_the_limit() {
    let clock = Clock::system();
    let server = server(answer(200, "{}")).await;
    let (client, read) = (limited(&clock, 5), Read::new(&clock));
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let (client, read, host) = (client.clone(), read.clone(), server.host.clone());
            tokio::spawn(async move { client.call(&read, &host, None).await })
        })
        .collect();
    for call in calls {
        advance_until(&clock, call).await.unwrap();
    }
    let times = read.times();
    assert_eq!(times.len(), 100);
    for (index, first) in times.iter().enumerate() {
        let until = *first + Duration::from_secs(60);
        let inside = times[index..].iter().take_while(|at| **at < until).count();
        assert!(inside <= 65, "{inside}");
    }
}

#[tokio::test]
async fn used_up_window_and_429_stop_other_calls_too() {
    let mut used_up = answer(200, "{}");
    let headers = used_up.headers_mut();
    headers.insert("inin-ratelimit-count", 300.into());
    headers.insert("ININ-RateLimit-Allowed", 300.into());
    headers.insert("inin-ratelimit-reset", 40.into());
    let mut refused = answer(429, "");
    refused.headers_mut().insert(RETRY_AFTER, 40.into());
    for (first, attempts) in [(used_up, 1), (refused, 2)] {
        let clock = Clock::system();
        let server = server(first).await;
        let (client, read) = (limited(&clock, 5), Read::new(&clock));
        for _ in 0..2 {
            let (client, read, host) = (client.clone(), read.clone(), server.host.clone());
            let call = tokio::spawn(async move { client.call(&read, &host, None).await });
            advance_until(&clock, call).await.unwrap();
        }
        let times = read.times();
        assert_eq!(times.len(), 1 + attempts);
        assert!(times[1] - times[0] >= Duration::from_secs(39));
    }
}

#[tokio::test]
async fn call_without_slot_before_its_deadline_is_not_sent() {
    let clock = Clock::system();
    let server = server(answer(200, "{}")).await;
    let read = Read::new(&clock);
    let client = limited(&clock, 1).with_deadline(Duration::from_millis(900));
    client.call(&read, &server.host, None).await.unwrap();
    let error = client.call(&read, &server.host, None).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (CallErrorKind::RateLimited, 0));
    assert!(error.is_retryable() && !error.is_outcome_unknown());
    assert!(error.retry_after().unwrap() <= Duration::from_secs(1));
    assert!(error.to_string().contains("the rate limit is reached"), "{error}");
    assert_eq!(read.times().len(), 1);
}

#[tokio::test]
async fn call_behind_another_gets_the_time_of_the_slot_after_it() {
    const HOUR: Duration = Duration::from_secs(3_600);
    let clock = Clock::system();
    let server = server(answer(200, "{}")).await;
    let client = hourly(&clock, 1);
    let call = |deadline| {
        let client = client.clone().with_deadline(deadline);
        let (read, host) = (Read::new(&clock), server.host.clone());
        tokio::spawn(async move { client.call(&read, &host, None).await })
    };
    call(HOUR).await.unwrap().unwrap();
    let first = call(HOUR * 2);
    let second = call(Duration::from_secs(60));
    let error = advance_until(&clock, second).await.unwrap_err();
    assert_eq!(error.kind(), CallErrorKind::RateLimited);
    let wait = error.retry_after().unwrap();
    assert!(wait > HOUR && wait < HOUR * 2, "{wait:?}");
    advance_until(&clock, first).await.unwrap();
}

#[tokio::test]
async fn call_that_the_breaker_refuses_takes_no_slot() {
    let clock = Clock::system();
    let (port, closed) = closed_port();
    let server = server(answer(200, "{}")).await;
    let client = hourly(&clock, 21);
    let read = Read::new(&clock);
    for _ in 0..20 {
        client.call(&read, &closed, None).await.unwrap_err();
    }
    for _ in 0..3 {
        let error = client.call(&read, &closed, None).await.unwrap_err();
        assert_eq!(error.kind(), CallErrorKind::Suspended);
    }
    client.call(&read, &server.host, None).await.unwrap();
    drop(port);
}

#[tokio::test]
async fn response_to_one_of_many_tokens_holds_no_other_back() {
    let clock = Clock::system();
    let mut refused = answer(429, "");
    refused.headers_mut().insert(RETRY_AFTER, 40.into());
    refused.headers_mut().insert("inin-ratelimit-allowed", 1.into());
    let server = server(refused).await;
    let retry = RetryPolicy {
        attempts: 1,
        ..RetryPolicy::default()
    };
    let client = builder().clock(clock.clone()).retry(retry).build();
    let client = client.with_rate_limiter(RateLimiter::of_organization());
    let read = Read::new(&clock);
    client.call(&read, &server.host, None).await.unwrap_err();
    for _ in 0..100 {
        client.call(&read, &server.host, None).await.unwrap();
    }
}

/// Counts the warnings of this thread.
#[derive(Clone, Default)]
struct Warnings(Arc<AtomicUsize>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn wait_is_reported_once_a_minute() {
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let clock = Clock::system();
    let server = server(answer(200, "{}")).await;
    let (client, read) = (limited(&clock, 2), Read::new(&clock));
    let start = clock.now().instant;
    let call = || {
        let (client, read, host) = (client.clone(), read.clone(), server.host.clone());
        tokio::spawn(async move { client.call(&read, &host, None).await })
    };
    let calls: Vec<_> = (0..200).map(|_| call()).collect();
    for call in calls {
        advance_until(&clock, call).await.unwrap();
    }
    let minutes = (clock.now().instant - start).as_secs() as usize / 60;
    let reported = warnings.0.load(Ordering::SeqCst);
    assert!(
        minutes >= 3 && (1..=minutes + 1).contains(&reported),
        "{reported} in {minutes} minutes"
    );
}
