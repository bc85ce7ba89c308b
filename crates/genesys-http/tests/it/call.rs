//! Calls and their retries.

use std::error::Error as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use genesys_api::retry::{Backoff, RetryPolicy};
use genesys_api::{Call, Clock, Host, IdempotencyKey, ReplyError, json};
use genesys_http::{CallErrorKind, Client, ErrorKind};
use http::header::{AUTHORIZATION, RETRY_AFTER};
use http::{Method, Request, Response};
use secrecy::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::loopback::{Answer, Loopback, Raw, advance_until, answer, builder, closed_port, write};

struct Read;

impl Call for Read {
    type Reply = serde_json::Value;
    const IDEMPOTENT: bool = true;

    fn request(&self, host: &Host) -> Request<Bytes> {
        json::get(host, "/thing")
    }

    fn reply(&self, response: Response<Bytes>) -> Result<Self::Reply, ReplyError> {
        json::reply(response, "an object")
    }
}

struct Create;

impl Call for Create {
    type Reply = serde_json::Value;
    const IDEMPOTENT: bool = false;

    fn request(&self, host: &Host) -> Request<Bytes> {
        json::with_body(Method::POST, host, "/thing", &serde_json::json!({"a": 1}))
    }

    fn reply(&self, response: Response<Bytes>) -> Result<Self::Reply, ReplyError> {
        json::reply(response, "an object")
    }
}

struct KeyedCreate(IdempotencyKey);

impl Call for KeyedCreate {
    type Reply = serde_json::Value;
    const IDEMPOTENT: bool = false;

    fn request(&self, host: &Host) -> Request<Bytes> {
        let mut request = Create.request(host);
        let headers = request.headers_mut();
        headers.insert(IdempotencyKey::HEADER, self.0.header_value());
        request
    }

    fn reply(&self, response: Response<Bytes>) -> Result<Self::Reply, ReplyError> {
        Create.reply(response)
    }
}

/// A server that sends `answers`, then status 200.
async fn scripted(answers: Vec<Answer>) -> (Loopback, Arc<AtomicU32>) {
    let requests = Arc::new(AtomicU32::new(0));
    let answers = Arc::new(Mutex::new(answers.into_iter()));
    let server = Loopback::plain({
        let requests = Arc::clone(&requests);
        move |_| {
            requests.fetch_add(1, Ordering::SeqCst);
            let next = answers.lock().unwrap().next();
            async { next.unwrap_or_else(|| answer(200, "{}")) }
        }
    })
    .await;
    (server, requests)
}

fn retry_after(status: u16, retry_after: impl AsRef<str>) -> Answer {
    let mut answer = answer(status, r#"{"code":"too.many.requests","message":"slow down"}"#);
    answer
        .headers_mut()
        .insert(RETRY_AFTER, retry_after.as_ref().parse().unwrap());
    answer
}

/// A client that retries at once.
fn retrying_client() -> Client {
    retrying(Clock::system())
}

fn retrying(clock: Clock) -> Client {
    builder()
        .retry(RetryPolicy {
            backoff: Backoff {
                base: Duration::ZERO,
                cap: Duration::ZERO,
            },
            ..RetryPolicy::default()
        })
        .clock(clock)
        .build()
}

#[tokio::test]
async fn call_is_retried_after_429_and_repeatable_call_after_503() {
    let (server, requests) = scripted(vec![answer(503, ""), answer(429, "")]).await;
    assert_eq!(
        retrying_client().call(&Read, &server.host, None).await.unwrap(),
        serde_json::json!({})
    );
    assert_eq!(requests.load(Ordering::SeqCst), 3);
    let (server, requests) = scripted(vec![answer(429, ""), answer(503, "")]).await;
    let error = retrying_client()
        .call(&Create, &server.host, None)
        .await
        .unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (CallErrorKind::Refused, 2));
    assert!(!error.is_retryable() && error.is_outcome_unknown());
    assert_eq!(requests.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn creation_with_idempotency_key_is_repeated_with_the_same_key() {
    let keys = Arc::new(Mutex::new(Vec::new()));
    let server = Loopback::plain({
        let keys = Arc::clone(&keys);
        move |request| {
            let mut keys = keys.lock().unwrap();
            keys.push(request.headers()[IdempotencyKey::HEADER].clone());
            let status = if keys.len() < 3 { 502 } else { 200 };
            async move { answer(status, "{}") }
        }
    })
    .await;
    let create = KeyedCreate(IdempotencyKey::random());
    retrying_client().call(&create, &server.host, None).await.unwrap();
    assert_eq!(*keys.lock().unwrap(), vec![create.0.header_value(); 3]);
}

#[tokio::test]
async fn idempotent_call_alone_is_retried_after_server_error() {
    for status in [500, 502, 504] {
        let (server, requests) = scripted(vec![answer(status, "")]).await;
        retrying_client().call(&Read, &server.host, None).await.unwrap();
        assert_eq!(requests.load(Ordering::SeqCst), 2, "{status}");

        let (server, requests) = scripted(vec![answer(status, "")]).await;
        let error = retrying_client()
            .call(&Create, &server.host, None)
            .await
            .unwrap_err();
        assert_eq!((error.kind(), error.attempts()), (CallErrorKind::Refused, 1));
        assert!(!error.is_retryable() && error.is_outcome_unknown());
        assert_eq!(requests.load(Ordering::SeqCst), 1, "{status}");
    }
}

#[tokio::test]
async fn creation_with_unknown_outcome_is_not_retried() {
    let server = Raw::bind().await;
    let calling = tokio::spawn({
        let host = server.host.clone();
        async move { retrying_client().call(&Create, &host, None).await }
    });
    drop(server.accept_request().await);
    let error = calling.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), CallErrorKind::Transport(ErrorKind::Closed));
    assert_eq!(error.attempts(), 1);
    assert!(!error.is_retryable() && error.is_outcome_unknown());
    let listener = server.listener.into_std().unwrap();
    assert_eq!(
        listener.accept().unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock
    );
}

#[tokio::test]
async fn read_with_unknown_outcome_is_retried() {
    let server = Raw::bind().await;
    let calling = tokio::spawn({
        let host = server.host.clone();
        async move { retrying_client().call(&Read, &host, None).await }
    });
    drop(server.accept_request().await);
    let mut second = server.accept_request().await;
    write(&mut second, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
    calling.await.unwrap().unwrap();
}

#[tokio::test]
async fn outcome_stays_unknown_if_only_the_last_attempt_was_not_sent() {
    let server = Raw::bind().await;
    let calling = tokio::spawn({
        let host = server.host.clone();
        async move { retrying_client().call(&Read, &host, None).await }
    });
    let first = server.accept_request().await;
    drop(server);
    drop(first);
    let error = calling.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), CallErrorKind::Transport(ErrorKind::Connect));
    assert!(error.attempts() == 3 && error.is_outcome_unknown());
}

#[tokio::test]
async fn unsent_call_is_always_retried() {
    let (_port, host) = closed_port();
    let error = retrying_client().call(&Create, &host, None).await.unwrap_err();
    assert_eq!(error.kind(), CallErrorKind::Transport(ErrorKind::Connect));
    assert_eq!(error.attempts(), 3);
    assert!(error.is_retryable() && !error.is_outcome_unknown());
    assert_eq!(
        error.to_string(),
        format!("no response from {host} in 3 attempts")
    );
    assert!(
        error
            .source()
            .unwrap()
            .to_string()
            .starts_with("cannot connect to")
    );
}

#[tokio::test]
async fn retry_after_is_obeyed_as_seconds_or_date() {
    for requested in [|_: &Clock| "40".to_owned(), |clock: &Clock| http_date(clock, 40)] {
        let clock = Clock::system();
        let times = Arc::new(Mutex::new(Vec::new()));
        let server = Loopback::plain({
            let (times, clock) = (Arc::clone(&times), clock.clone());
            move |_| {
                let mut times = times.lock().unwrap();
                times.push(clock.now().instant);
                let first = times.len() == 1;
                let answer = if first {
                    retry_after(429, requested(&clock))
                } else {
                    answer(200, "{}")
                };
                async { answer }
            }
        })
        .await;
        let client = builder()
            .clock(clock.clone())
            .deadline(Duration::from_secs(86_400))
            .build();
        let calling = tokio::spawn(async move { client.call(&Read, &server.host, None).await });
        advance_until(&clock, calling).await.unwrap();
        let times = times.lock().unwrap();
        // a date has whole seconds
        assert!(
            times[1] - times[0] >= Duration::from_secs(39),
            "{:?}",
            times[1] - times[0]
        );
    }
}

#[tokio::test]
async fn retry_after_beyond_deadline_fails_at_once() {
    let clock = Clock::system();
    for requested in ["60".to_owned(), http_date(&clock, 60)] {
        let (server, requests) = scripted(vec![retry_after(429, requested)]).await;
        let client = builder().clock(clock.clone()).build();
        let error = client.call(&Read, &server.host, None).await.unwrap_err();
        assert_eq!((error.kind(), error.attempts()), (CallErrorKind::Refused, 1));
        assert!(error.is_retryable());
        let problem = error.problem().unwrap();
        assert_eq!(problem.code, "too.many.requests");
        let wait = problem.retry_after.unwrap();
        assert!(
            wait > Duration::from_secs(30) && wait <= Duration::from_secs(60),
            "{wait:?}"
        );
        assert_eq!(requests.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn error_body_of_service_is_kept() {
    let body = r#"{"message":"no","code":"missing.permissions","status":403,"contextId":"c1"}"#;
    let (server, _) = scripted(vec![answer(403, body)]).await;
    let error = retrying_client()
        .call(&Read, &server.host, None)
        .await
        .unwrap_err();
    let problem = error.problem().unwrap();
    assert_eq!(
        (problem.code.as_str(), problem.context_id.as_deref()),
        ("missing.permissions", Some("c1"))
    );
    assert!(!error.is_retryable() && !error.is_outcome_unknown());
    assert_eq!(error.to_string(), format!("{} refused the call", server.host));
    assert_eq!(
        error.source().unwrap().to_string(),
        "no (403 missing.permissions)"
    );
}

#[tokio::test]
async fn malformed_response_has_its_own_kind() {
    let (server, requests) = scripted(vec![answer(200, "<html>")]).await;
    let error = retrying_client()
        .call(&Read, &server.host, None)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), CallErrorKind::Malformed);
    assert!(error.problem().is_none() && !error.is_retryable() && error.is_outcome_unknown());
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn bearer_token_is_sent_in_header_only() {
    let server = Loopback::plain(|request| async move {
        match request.headers().get(AUTHORIZATION).map(|value| value.as_bytes()) {
            Some(b"Bearer canary-token") => answer(200, "{}"),
            _ => answer(401, ""),
        }
    })
    .await;
    let client = retrying_client();
    let token = SecretString::from("canary-token");
    client.call(&Read, &server.host, Some(&token)).await.unwrap();
    assert!(client.call(&Read, &server.host, None).await.is_err());
    let broken = SecretString::from("canary-token\r\nx: y");
    let error = client.call(&Read, &server.host, Some(&broken)).await.unwrap_err();
    assert_eq!(error.kind(), CallErrorKind::Transport(ErrorKind::Protocol));
    assert!(!error.is_outcome_unknown());
    assert!(!format!("{error} {error:?} {:?} {client:?}", error.source()).contains("canary"));
}

#[tokio::test]
async fn retry_budget_limits_retries_of_calls_that_meet_an_outage_together() {
    let (server, requests) = scripted((0..400).map(|_| answer(503, "")).collect()).await;
    let client = retrying(Clock::system());
    let calls = (0..100).map(|_| {
        let (client, host) = (client.clone(), server.host.clone());
        tokio::spawn(async move { client.call(&Read, &host, None).await })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap().unwrap_err();
    }
    assert!(
        requests.load(Ordering::SeqCst) <= 100 + 35,
        "500 tokens buy 35 retries at 14 each"
    );
}

#[tokio::test]
async fn operation_whose_last_call_failed_is_retried_after_a_success() {
    let replies = [503, 503, 503, 503, 404, 503, 200];
    let (server, _) = scripted(replies.map(|status| answer(status, "{}")).into()).await;
    let client = retrying(Clock::system());
    let attempts = async || match client.call(&Read, &server.host, None).await {
        Ok(_) => 0,
        Err(error) => error.attempts(),
    };
    assert_eq!((attempts().await, attempts().await), (3, 1));
    // a refusal shows that the service works
    assert_eq!(
        (attempts().await, attempts().await),
        (1, 0),
        "retried with success"
    );
}

#[tokio::test]
async fn operation_that_failed_long_ago_is_retried() {
    let replies = [503, 503, 503, 503, 503, 200];
    let (server, _) = scripted(replies.map(|status| answer(status, "{}")).into()).await;
    let clock = Clock::system();
    let client = retrying(clock.clone());
    let failed = client.call(&Read, &server.host, None).await.unwrap_err();
    clock.advance(Duration::from_secs(500));
    let again = client.call(&Read, &server.host, None).await.unwrap_err();
    assert_eq!((failed.attempts(), again.attempts()), (3, 1));
    clock.advance(Duration::from_secs(3_600));
    client.call(&Read, &server.host, None).await.unwrap();
}

/// 10 minutes at any rate from one call a minute to 100 a second.
#[tokio::test]
async fn outage_of_ten_minutes_causes_at_most_1_1_requests_per_call_and_two_retries() {
    let gaps = [60_000, 31_000, 20_000, 11_000, 5_000, 1_000, 400, 200, 70, 10];
    for (gap, status) in gaps
        .into_iter()
        .zip([Some(503), None, Some(500)].into_iter().cycle())
    {
        let server = Loopback::plain(move |_| async move { answer(status.unwrap_or(200), "") }).await;
        let (_port, closed) = closed_port();
        let host = status.map_or(&closed, |_| &server.host);
        let clock = Clock::system();
        let client = retrying(clock.clone());
        let calls = 600_000 / gap;
        let mut requests = 0;
        for _ in 0..calls {
            requests += u64::from(client.call(&Read, host, None).await.unwrap_err().attempts());
            clock.advance(Duration::from_millis(gap));
        }
        assert!(
            requests * 10 <= calls * 11 + 20,
            "{requests} requests of {calls} calls"
        );
        assert!(
            calls < 20 || requests * 10 <= calls * 11,
            "{requests} requests of {calls} calls"
        );
        // probes go on, so that the end of the outage is noticed
        assert!(
            requests >= calls.min(20 + 600 / 65),
            "{requests} requests of {calls} calls"
        );
    }
}

#[tokio::test]
async fn suspended_call_names_its_next_attempt_and_last_failure() {
    let (server, requests) = scripted((0..20).map(|_| answer(500, "")).collect()).await;
    let clock = Clock::system();
    let client = retrying(clock.clone());
    for _ in 0..18 {
        client.call(&Read, &server.host, None).await.unwrap_err();
    }
    let error = client.call(&Read, &server.host, None).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (CallErrorKind::Suspended, 0));
    assert!(error.is_retryable() && !error.is_outcome_unknown());
    let text = error.to_string();
    assert!(text.contains("the next attempt is allowed at 20"), "{text}");
    let last = error.source().unwrap().to_string();
    assert!(last.contains("refused the call"), "{last}");
    assert_eq!(requests.load(Ordering::SeqCst), 20, "nothing was sent");
    // another operation at the same host is not affected
    client.call(&Create, &server.host, None).await.unwrap();
    clock.advance(error.retry_after().unwrap());
    client.call(&Read, &server.host, None).await.unwrap();
    client.call(&Read, &server.host, None).await.unwrap();
}

#[tokio::test]
async fn tls_fault_is_retried_if_it_may_pass() {
    // alerts of RFC 8446 section 6: internal_error, handshake_failure, unrecognized_name and protocol_version
    for (alert, passing) in [(80, true), (40, true), (112, true), (70, false)] {
        let server = Raw::bind().await;
        let host = format!("https://{}", server.listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            loop {
                let (mut tcp, _) = server.listener.accept().await.unwrap();
                tcp.write_all(&[21, 3, 3, 0, 2, 2, alert]).await.unwrap();
                // a socket that is closed with unread bytes is reset, which may destroy the alert
                tcp.shutdown().await.unwrap();
                let _ = tcp.read_to_end(&mut Vec::new()).await;
            }
        });
        let host: Host = host.parse().unwrap();
        let error = retrying_client().call(&Create, &host, None).await.unwrap_err();
        assert_eq!(error.kind(), CallErrorKind::Transport(ErrorKind::Tls), "{alert}");
        assert_eq!(
            (error.attempts() == 3, error.is_retryable()),
            (passing, passing),
            "{alert}"
        );
        assert!(!error.is_outcome_unknown(), "{alert}");
        serving.abort();
    }
}

fn http_date(clock: &Clock, seconds: u64) -> String {
    httpdate::fmt_http_date(SystemTime::from(clock.now().utc) + Duration::from_secs(seconds))
}
