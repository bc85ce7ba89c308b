//! Tests of the authenticator.

use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use genesys_api::retry::RetryPolicy;
use genesys_api::{Clock, ReplyError, json};
use genesys_http::Tls;
use genesys_http::server::{Limits, Server};
use http::header::AUTHORIZATION;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use secrecy::{ExposeSecret, SecretString};

use super::*;
use crate::MissingScopes;

/// A login host and a platform API on one loopback socket, which issue `token-1`, `token-2` and so on.
#[derive(Debug, Default)]
struct Platform {
    /// Tokens up to this number are rejected.
    revoked: AtomicU64,
    issued: AtomicU64,
    requests: AtomicU64,
    calls: AtomicU64,
    /// Response to a token request in place of a token.
    refusal: Mutex<Option<(u16, &'static str)>>,
}

impl Platform {
    async fn start() -> (Arc<Self>, Host) {
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), None, Limits::default())
            .await
            .unwrap();
        let host = format!("http://{}", server.local_addr()).parse().unwrap();
        let platform = Arc::new(Self::default());
        let service = hyper::service::service_fn({
            let platform = Arc::clone(&platform);
            move |request: Request<Incoming>| {
                let response = platform.respond(&request);
                async move { Ok::<_, Infallible>(response) }
            }
        });
        tokio::spawn(server.serve(service, std::future::pending()));
        (platform, host)
    }

    fn respond(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let authorization = request.headers()[AUTHORIZATION].to_str().unwrap();
        if request.uri().path() == "/oauth/token" {
            self.requests.fetch_add(1, Ordering::SeqCst);
            if let Some((status, body)) = *self.refusal.lock().unwrap() {
                return response(status, body.to_owned());
            }
            assert_eq!(authorization, "Basic Y2xpZW50Omh1bnRlcjI=");
            let n = self.issued.fetch_add(1, Ordering::SeqCst) + 1;
            return response(
                200,
                format!(
                    r#"{{"access_token":"token-{n}","token_type":"bearer","expires_in":3600,"scope":"a"}}"#
                ),
            );
        }
        self.calls.fetch_add(1, Ordering::SeqCst);
        let n: u64 = authorization
            .strip_prefix("Bearer token-")
            .unwrap()
            .parse()
            .unwrap();
        if n > self.revoked.load(Ordering::SeqCst) {
            return response(200, n.to_string());
        }
        response(
            401,
            r#"{"message":"Invalid login credentials.","code":"bad.credentials","status":401}"#.to_owned(),
        )
    }
}

fn response(status: u16, body: String) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(body.into()).unwrap()
}

/// Returns the number of the token in the request.
struct TokenNumber;

impl Call for TokenNumber {
    type Reply = u64;
    const IDEMPOTENT: bool = false;

    fn request(&self, host: &Host) -> Request<Bytes> {
        json::get(host, "/token-number")
    }

    fn reply(&self, response: Response<Bytes>) -> Result<u64, ReplyError> {
        json::reply(response, "a number")
    }
}

fn client(clock: &Clock) -> Client {
    Client::builder(Tls::system().unwrap())
        .clock(clock.clone())
        .retry(RetryPolicy {
            attempts: 1,
            ..RetryPolicy::default()
        })
        .build()
}

fn authenticator(host: &Host, clock: &Clock, scopes: Option<&str>) -> Authenticator {
    let credentials = Credentials::new("client".parse().unwrap(), "hunter2".into()).unwrap();
    Authenticator::new(
        client(clock),
        host.clone(),
        credentials,
        scopes.map(|text| text.parse().unwrap()),
    )
}

/// Polls a call once, which is not enough for a socket.
async fn start<T>(call: Pin<&mut impl Future<Output = T>>) {
    tokio::select! {
        biased;
        _ = call => panic!("a socket takes more than one poll"),
        () = std::future::ready(()) => {}
    }
}

#[tokio::test]
async fn expired_token_is_fetched_once_for_all_tasks() {
    let (platform, host) = Platform::start().await;
    let clock = Clock::system();
    let authenticator = authenticator(&host, &clock, None);
    assert_eq!(authenticator.token().await.unwrap().generation, 1);
    assert_eq!(authenticator.token().await.unwrap().generation, 1);
    assert_eq!(authenticator.fetches(), 1, "the second came from the cache");

    clock.advance(Duration::from_secs(3600));
    let tasks: Vec<_> = (0..1_000)
        .map(|_| {
            let authenticator = authenticator.clone();
            tokio::spawn(async move { authenticator.token().await })
        })
        .collect();
    for task in tasks {
        let token = task.await.unwrap().unwrap();
        assert_eq!((token.generation, token.secret.expose_secret()), (2, "token-2"));
    }
    assert_eq!(platform.requests.load(Ordering::SeqCst), 2);
    assert_eq!(authenticator.fetches(), 2);
}

/// A store that several processes share, with the time of each token's request.
#[derive(Clone)]
struct SharedStore {
    login: LoginHost,
    token: Arc<tokio::sync::Mutex<Option<(TokenResponse, Instant)>>>,
}

impl TokenSource for SharedStore {
    async fn fetch(&self, rejected: Option<&SecretString>) -> Result<TokenResponse, AuthError> {
        let mut token = self.token.lock().await;
        let now = self.login.client.clock().now().instant;
        if let Some((stored, sent)) = token.as_ref()
            && rejected.map(ExposeSecret::expose_secret) != Some(stored.access_token.expose_secret())
        {
            let remaining = (*sent + stored.expires_in).saturating_duration_since(now);
            if remaining > stored.expires_in / 5 {
                return Ok(TokenResponse {
                    expires_in: remaining,
                    ..stored.clone()
                });
            }
        }
        let fetched = self.login.fetch(None).await?;
        *token = Some((fetched.clone(), now));
        Ok(fetched)
    }
}

#[tokio::test]
async fn processes_with_a_shared_source_share_one_token() {
    let (platform, host) = Platform::start().await;
    let clock = Clock::system();
    let store = SharedStore {
        login: LoginHost {
            client: client(&clock),
            host: host.clone(),
            credentials: Credentials::new("client".parse().unwrap(), "hunter2".into()).unwrap(),
            scopes: None,
        },
        token: Arc::default(),
    };
    let processes = [(); 4].map(|()| Authenticator::with_source(client(&clock), store.clone()));
    let numbers = async || {
        let mut numbers = Vec::new();
        for process in &processes {
            numbers.push(process.call(&TokenNumber, &host).await.unwrap());
        }
        numbers
    };
    assert_eq!(numbers().await, [1; 4]);
    platform.revoked.store(1, Ordering::SeqCst);
    assert_eq!(numbers().await, [2; 4], "the first to be rejected fetched it");
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(numbers().await, [3; 4]);
    assert_eq!(platform.requests.load(Ordering::SeqCst), 3);
}

/// Issues tokens of an hour without a socket.
#[derive(Clone, Default)]
struct Counter(Arc<AtomicU64>);

impl TokenSource for Counter {
    async fn fetch(&self, _: Option<&SecretString>) -> Result<TokenResponse, AuthError> {
        tokio::task::yield_now().await;
        let number = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        Ok(TokenResponse {
            access_token: format!("token-{number}").into(),
            expires_in: Duration::from_secs(3_600),
            scopes: None,
        })
    }
}

/// The variable `GENESYS_AUTH_ROUNDS` sets another number of rounds.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_tasks_cause_one_fetch() {
    let rounds = std::env::var("GENESYS_AUTH_ROUNDS").ok();
    let rounds = rounds.and_then(|rounds| rounds.parse().ok()).unwrap_or(30);
    let (clock, counter) = (Clock::system(), Counter::default());
    let authenticator = Authenticator::with_source(client(&clock), counter.clone());
    for round in 1..=rounds {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..10_000 {
            let authenticator = authenticator.clone();
            tasks.spawn(async move { authenticator.token().await.unwrap().generation });
        }
        while let Some(generation) = tasks.join_next().await {
            assert_eq!(generation.unwrap(), round);
        }
        assert_eq!(counter.0.load(Ordering::SeqCst), round);
        clock.advance(Duration::from_secs(3_600));
    }
}

#[tokio::test]
async fn stale_token_is_served_during_fetch() {
    let (_platform, host) = Platform::start().await;
    let clock = Clock::system();
    let authenticator = authenticator(&host, &clock, None);
    authenticator.token().await.unwrap();
    clock.advance(Duration::from_secs(3_400));
    let mut outcome = authenticator.shared.outcome.subscribe();
    assert_eq!(authenticator.token().await.unwrap().generation, 1);
    outcome.changed().await.unwrap();
    assert_eq!(authenticator.token().await.unwrap().generation, 2);
    assert_eq!(authenticator.fetches(), 2);
}

#[tokio::test]
async fn canceled_caller_does_not_cancel_fetch() {
    let (platform, host) = Platform::start().await;
    let authenticator = authenticator(&host, &Clock::system(), None);
    let mut outcome = authenticator.shared.outcome.subscribe();
    {
        start(std::pin::pin!(authenticator.token())).await;
    }
    outcome.changed().await.unwrap();
    assert_eq!(authenticator.token().await.unwrap().generation, 1);
    assert_eq!(platform.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn call_is_repeated_once_with_new_token_after_401() {
    let (platform, host) = Platform::start().await;
    let clock = Clock::system();
    let authenticator = authenticator(&host, &clock, None);
    assert_eq!(authenticator.call(&TokenNumber, &host).await.unwrap(), 1);
    platform.revoked.store(1, Ordering::SeqCst);
    assert_eq!(authenticator.call(&TokenNumber, &host).await.unwrap(), 2);
    assert_eq!(authenticator.fetches(), 2);
    assert_eq!(platform.calls.load(Ordering::SeqCst), 3);

    // every token is rejected: two calls, and no fetch because the last token is recent
    platform.revoked.store(u64::MAX, Ordering::SeqCst);
    clock.advance(Duration::from_secs(60));
    for (called, fetches) in [(5, 3), (6, 3), (7, 3)] {
        let error = authenticator.call(&TokenNumber, &host).await.unwrap_err();
        let AuthorizedError::Call(error) = error else {
            panic!("a token was had: {error}");
        };
        assert_eq!(error.problem().unwrap().status, 401);
        assert_eq!(platform.calls.load(Ordering::SeqCst), called);
        assert_eq!(authenticator.fetches(), fetches);
    }
}

#[tokio::test]
async fn wrong_secret_is_reported_with_remedy_and_without_secret() {
    let (platform, host) = Platform::start().await;
    let clock = Clock::system();
    let authenticator = authenticator(&host, &clock, None);
    for (status, body) in [
        (
            401,
            r#"{"error":"invalid_client","description":"authentication failed"}"#,
        ),
        (
            400,
            r#"{"error":"invalid_client","description":"client not found"}"#,
        ),
    ] {
        *platform.refusal.lock().unwrap() = Some((status, body));
        let asked = platform.requests.load(Ordering::SeqCst);
        for _ in 0..2 {
            let error = authenticator.token().await.unwrap_err();
            assert_eq!(error.kind(), AuthErrorKind::Credentials);
            assert!(!error.is_retryable());
            assert!(error.retry_in > Duration::from_secs(20));
            let text = error.to_string();
            for hint in [
                "secret",
                "unknown",
                "disabled",
                "region",
                "client client",
                "127.0.0.1",
            ] {
                assert!(text.contains(hint), "{text}");
            }
            assert!(
                error.source().unwrap().source().is_some(),
                "the error body of the host"
            );
            assert!(!format!("{error:?}").contains("hunter2"));
        }
        assert_eq!(platform.requests.load(Ordering::SeqCst), asked + 1);
        clock.advance(Duration::from_secs(30));
    }
    *platform.refusal.lock().unwrap() = None;
    assert_eq!(authenticator.token().await.unwrap().generation, 1);
}

#[tokio::test]
async fn failure_is_shared_by_all_waiting_tasks() {
    let (platform, host) = Platform::start().await;
    *platform.refusal.lock().unwrap() = Some((503, "{}"));
    let authenticator = authenticator(&host, &Clock::system(), None);
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let authenticator = authenticator.clone();
            tokio::spawn(async move { authenticator.token().await })
        })
        .collect();
    for task in tasks {
        let error = task.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), AuthErrorKind::Unavailable);
        assert!(error.is_retryable());
    }
    assert_eq!(authenticator.fetches(), 1);
}

#[tokio::test]
async fn late_poll_after_failure_shares_it() {
    let (platform, host) = Platform::start().await;
    *platform.refusal.lock().unwrap() = Some((503, "{}"));
    let clock = Clock::system();
    let authenticator = authenticator(&host, &clock, None);
    let mut outcome = authenticator.shared.outcome.subscribe();
    let mut waiting = std::pin::pin!(authenticator.token());
    start(waiting.as_mut()).await;
    outcome.changed().await.unwrap();
    clock.advance(Duration::from_secs(60));
    assert_eq!(waiting.await.unwrap_err().kind(), AuthErrorKind::Unavailable);
    assert_eq!(authenticator.fetches(), 1);
}

#[tokio::test]
async fn missing_scopes_are_named() {
    let (_platform, host) = Platform::start().await;
    let authenticator = authenticator(&host, &Clock::system(), Some("a b c"));
    let error = authenticator.token().await.unwrap_err();
    assert_eq!(error.kind(), AuthErrorKind::Scopes);
    let missing: &MissingScopes = error.source().unwrap().downcast_ref().unwrap();
    assert_eq!(missing.missing, "b c".parse().unwrap());
}

#[test]
fn fetch_canceled_by_its_runtime_can_be_repeated() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let first = runtime();
    let (platform, authenticator) = first.block_on(async {
        let (platform, host) = Platform::start().await;
        (platform, authenticator(&host, &Clock::system(), None))
    });
    let Lookup::Fetch(permit) = authenticator
        .shared
        .cache()
        .poll(authenticator.shared.client.clock().now().instant)
    else {
        panic!("the cache is empty");
    };
    first.block_on(async { authenticator.spawn_fetch(permit) });
    drop(first);
    runtime().block_on(async {
        let error = authenticator.token().await.unwrap_err();
        assert_eq!(error.kind(), AuthErrorKind::Canceled);
    });
    assert_eq!(platform.requests.load(Ordering::SeqCst), 0);
}

#[test]
fn authenticator_is_send_and_sync() {
    fn assert<T: Clone + Send + Sync + 'static>() {}
    assert::<Authenticator>();
    assert::<AuthError>();
}
