//! The driver: a token for whoever asks, on the workspace's HTTP client.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use genesys_api::{Call, Host, entropy};
use genesys_http::Client;
use tokio::sync::watch;

use crate::{
    AuthError, AuthorizedError, Credentials, Grant, Lookup, Scopes, Ticket, Token, TokenCache, TokenFetch,
};

/// Fetches the access token of one API client, and keeps it. Clones share it.
///
/// Lifetimes, margins and back-offs are those of [`TokenCache`], on the clock of the HTTP client. A token is fetched
/// when it is asked for, never in the background of an idle program.
#[derive(Clone, Debug)]
pub struct Authenticator {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    host: Host,
    credentials: Credentials,
    scopes: Option<Scopes>,
    cache: Mutex<TokenCache>,
    /// The error of the last fetch, if it failed. Sent under the lock of the cache, so that the two agree.
    landed: watch::Sender<Option<AuthError>>,
}

impl Authenticator {
    /// An authenticator at the login host `host`. `scopes` are for the contract `guest-sessions`; give `None` for
    /// Genesys Cloud, where the client's roles decide.
    #[must_use]
    pub fn new(client: Client, host: Host, credentials: Credentials, scopes: Option<Scopes>) -> Self {
        Self {
            shared: Arc::new(Shared {
                client,
                host,
                credentials,
                scopes,
                cache: Mutex::default(),
                landed: watch::Sender::new(None),
            }),
        }
    }

    /// The token, cached or fetched. All who wait for the same fetch share its token or its error, and it goes on if
    /// they stop waiting.
    ///
    /// # Errors
    /// If there is no valid token and the fetch failed, or failed so recently that nobody may fetch yet.
    ///
    /// # Panics
    /// Outside a tokio runtime, if there is something to fetch.
    pub async fn token(&self) -> Result<Token, AuthError> {
        let mut landed = self.shared.landed.subscribe();
        loop {
            let (lookup, error) = {
                let mut cache = self.shared.cache();
                let error = landed.borrow_and_update().clone();
                (cache.poll(self.shared.client.clock().now().instant), error)
            };
            match lookup {
                Lookup::Fresh(token) | Lookup::Stale { token, ticket: None } => return Ok(token),
                Lookup::Stale {
                    token,
                    ticket: Some(ticket),
                } => {
                    self.launch(ticket);
                    return Ok(token);
                }
                Lookup::Fetch(ticket) => self.launch(ticket),
                Lookup::InFlight => {}
                Lookup::Blocked { until } => {
                    let clock = self.shared.client.clock();
                    if let Some(error) = error {
                        return Err(error.with_retry_in(until.saturating_duration_since(clock.now().instant)));
                    }
                    // a service whose tokens live for less than a second
                    clock.sleep_until(until).await;
                    continue;
                }
            }
            // the sender lives as long as `self`, so this is always a landing
            let _ = landed.changed().await;
            if let Some(error) = landed.borrow().clone() {
                return Err(error);
            }
        }
    }

    /// A service rejected `token` (401). Says whether another one can be had, so that trying again makes sense; see
    /// [`TokenCache::invalidate`].
    pub fn invalidate(&self, token: &Token) -> bool {
        let now = self.shared.client.clock().now().instant;
        self.shared.cache().invalidate(token.generation, now)
    }

    /// Makes `call` with the token. If the service answers 401, the token is dropped and the call made once more with
    /// another one: safe for any call, as one without a valid token is not acted on.
    ///
    /// # Errors
    /// If there is no token, or the call failed. Never a 401 for a token that merely ended early, as Genesys Cloud's
    /// do after 15 idle minutes in some organizations.
    pub async fn authorized<C: Call + Sync>(
        &self,
        call: &C,
        host: &Host,
    ) -> Result<C::Reply, AuthorizedError> {
        let client = &self.shared.client;
        let token = self.token().await?;
        let error = match client.call(call, host, Some(&token.secret)).await {
            Ok(reply) => return Ok(reply),
            Err(error) => error,
        };
        if error.problem().is_none_or(|problem| problem.status != 401) || !self.invalidate(&token) {
            return Err(error.into());
        }
        let token = self.token().await?;
        Ok(client.call(call, host, Some(&token.secret)).await?)
    }

    /// How many fetches have begun: a cache hit leaves it as it is. Retries within one fetch are not counted.
    #[must_use]
    pub fn fetches(&self) -> u64 {
        self.shared.cache().fetches()
    }

    fn launch(&self, ticket: Ticket) {
        let flight = Flight {
            shared: Arc::clone(&self.shared),
            ticket: Some(ticket),
        };
        tokio::spawn(flight.run());
    }
}

impl Shared {
    fn cache(&self) -> MutexGuard<'_, TokenCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fetch under way. It lands even if it is cut off, or all who wait would wait for ever.
struct Flight {
    shared: Arc<Shared>,
    ticket: Option<Ticket>,
}

impl Flight {
    async fn run(mut self) {
        let outcome = self.fetch().await;
        self.land(outcome);
    }

    async fn fetch(&self) -> Result<Grant, AuthError> {
        let Shared {
            client,
            host,
            credentials,
            scopes,
            ..
        } = &*self.shared;
        let mut fetch = TokenFetch::new(credentials);
        if let Some(scopes) = scopes {
            fetch = fetch.with_scopes(scopes);
        }
        let grant = client
            .call(&fetch, host, None)
            .await
            .map_err(|error| AuthError::of_call(error, host, credentials.id()))?;
        match fetch.check(&grant) {
            Ok(()) => Ok(grant),
            Err(error) => Err(AuthError::of_scopes(error, host, credentials.id())),
        }
    }

    fn land(&mut self, outcome: Result<Grant, AuthError>) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        let mut cache = self.shared.cache();
        let error = match outcome {
            Ok(grant) => {
                cache.handle_granted(ticket, grant);
                None
            }
            Err(error) => {
                let now = self.shared.client.clock().now().instant;
                cache.handle_failed(ticket, error.failure(), entropy::number(), now);
                let retry_in = cache
                    .not_before()
                    .map(|until| until.saturating_duration_since(now));
                Some(error.with_retry_in(retry_in.unwrap_or_default()))
            }
        };
        self.shared.landed.send_replace(error);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.ticket.is_some() {
            let error = AuthError::abandoned(&self.shared.host, self.shared.credentials.id());
            self.land(Err(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::error::Error;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use bytes::Bytes;
    use genesys_api::retry::RetryPolicy;
    use genesys_api::{Clock, ReplyError, json};
    use genesys_http::Tls;
    use genesys_http::server::{Limits, Server};
    use http::header::AUTHORIZATION;
    use http::{Request, Response};
    use http_body_util::Full;
    use hyper::body::Incoming;
    use secrecy::ExposeSecret;

    use super::*;
    use crate::{AuthErrorKind, MissingScopes};

    /// A login host and a platform API on one loopback socket. It issues `token-1`, `token-2` and so on.
    #[derive(Debug, Default)]
    struct Platform {
        /// Tokens issued up to this one are rejected.
        revoked: AtomicU64,
        issued: AtomicU64,
        asked: AtomicU64,
        called: AtomicU64,
        /// The answer to a token request, in place of a token.
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
                    let response = platform.answer(&request);
                    async move { Ok::<_, Infallible>(response) }
                }
            });
            tokio::spawn(server.serve(service, std::future::pending()));
            (platform, host)
        }

        fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
            let authorization = request.headers()[AUTHORIZATION].to_str().unwrap();
            if request.uri().path() == "/oauth/token" {
                self.asked.fetch_add(1, Ordering::SeqCst);
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
            self.called.fetch_add(1, Ordering::SeqCst);
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
                r#"{"message":"Invalid login credentials.","code":"bad.credentials","status":401}"#
                    .to_owned(),
            )
        }
    }

    fn response(status: u16, body: String) -> Response<Full<Bytes>> {
        Response::builder().status(status).body(body.into()).unwrap()
    }

    /// Which token it was called with.
    struct Which;

    impl Call for Which {
        type Reply = u64;
        const IDEMPOTENT: bool = false;

        fn request(&self, host: &Host) -> Request<Bytes> {
            json::get(host, "/which")
        }

        fn reply(&self, response: Response<Bytes>) -> Result<u64, ReplyError> {
            json::reply(response, "a number")
        }
    }

    fn authenticator(host: &Host, clock: &Clock, scopes: Option<&str>) -> Authenticator {
        let client = Client::builder(Tls::system().unwrap())
            .clock(clock.clone())
            .retry(RetryPolicy {
                attempts: 1,
                ..RetryPolicy::default()
            })
            .build();
        let credentials = Credentials::new("client".parse().unwrap(), "hunter2".into()).unwrap();
        Authenticator::new(
            client,
            host.clone(),
            credentials,
            scopes.map(|text| text.parse().unwrap()),
        )
    }

    #[tokio::test]
    async fn a_thousand_tasks_on_an_expired_cache_make_one_request() {
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
        assert_eq!(platform.asked.load(Ordering::SeqCst), 2);
        assert_eq!(authenticator.fetches(), 2);
    }

    #[tokio::test]
    async fn a_stale_token_is_served_while_its_successor_is_fetched() {
        let (_platform, host) = Platform::start().await;
        let clock = Clock::system();
        let authenticator = authenticator(&host, &clock, None);
        authenticator.token().await.unwrap();
        clock.advance(Duration::from_secs(3_400));
        let mut landed = authenticator.shared.landed.subscribe();
        assert_eq!(authenticator.token().await.unwrap().generation, 1);
        landed.changed().await.unwrap();
        assert_eq!(authenticator.token().await.unwrap().generation, 2);
        assert_eq!(authenticator.fetches(), 2);
    }

    #[tokio::test]
    async fn cancelling_who_waits_does_not_cancel_the_fetch() {
        let (platform, host) = Platform::start().await;
        let authenticator = authenticator(&host, &Clock::system(), None);
        let mut landed = authenticator.shared.landed.subscribe();
        {
            let mut waiting = std::pin::pin!(authenticator.token());
            tokio::select! {
                biased;
                _ = &mut waiting => panic!("a socket takes more than one poll"),
                () = std::future::ready(()) => {}
            }
        }
        landed.changed().await.unwrap();
        assert_eq!(authenticator.token().await.unwrap().generation, 1);
        assert_eq!(platform.asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_rejected_token_is_replaced_and_the_call_made_once_more() {
        let (platform, host) = Platform::start().await;
        let clock = Clock::system();
        let authenticator = authenticator(&host, &clock, None);
        assert_eq!(authenticator.authorized(&Which, &host).await.unwrap(), 1);
        platform.revoked.store(1, Ordering::SeqCst);
        assert_eq!(authenticator.authorized(&Which, &host).await.unwrap(), 2);
        assert_eq!(authenticator.fetches(), 2);
        assert_eq!(platform.called.load(Ordering::SeqCst), 3);

        // nothing that is issued is accepted: two calls, and no fetch while the last is so young
        platform.revoked.store(u64::MAX, Ordering::SeqCst);
        clock.advance(Duration::from_secs(60));
        for (called, fetches) in [(5, 3), (6, 3), (7, 3)] {
            let error = authenticator.authorized(&Which, &host).await.unwrap_err();
            let AuthorizedError::Call(error) = error else {
                panic!("a token was had: {error}");
            };
            assert_eq!(error.problem().unwrap().status, 401);
            assert_eq!(platform.called.load(Ordering::SeqCst), called);
            assert_eq!(authenticator.fetches(), fetches);
        }
    }

    #[tokio::test]
    async fn a_wrong_secret_says_what_to_do_and_is_not_repeated() {
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
            let asked = platform.asked.load(Ordering::SeqCst);
            for _ in 0..2 {
                let error = authenticator.token().await.unwrap_err();
                assert_eq!(error.kind(), AuthErrorKind::Credentials);
                assert!(!error.is_retryable());
                assert!(error.retry_in() > Duration::from_secs(20));
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
                assert!(error.source().unwrap().source().is_some(), "the host's own words");
                assert!(!format!("{error:?}").contains("hunter2"));
            }
            assert_eq!(platform.asked.load(Ordering::SeqCst), asked + 1);
            clock.advance(Duration::from_secs(30));
        }
        *platform.refusal.lock().unwrap() = None;
        assert_eq!(authenticator.token().await.unwrap().generation, 1);
    }

    #[tokio::test]
    async fn all_who_wait_share_the_failure() {
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
    async fn who_looks_late_shares_it_too() {
        let (platform, host) = Platform::start().await;
        *platform.refusal.lock().unwrap() = Some((503, "{}"));
        let clock = Clock::system();
        let authenticator = authenticator(&host, &clock, None);
        let mut landed = authenticator.shared.landed.subscribe();
        let mut waiting = std::pin::pin!(authenticator.token());
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("a socket takes more than one poll"),
            () = std::future::ready(()) => {}
        }
        landed.changed().await.unwrap();
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
    fn a_fetch_that_its_runtime_cut_off_can_be_made_again() {
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
        let Lookup::Fetch(ticket) = authenticator
            .shared
            .cache()
            .poll(authenticator.shared.client.clock().now().instant)
        else {
            panic!("the cache is empty");
        };
        first.block_on(async { authenticator.launch(ticket) });
        drop(first);
        runtime().block_on(async {
            let error = authenticator.token().await.unwrap_err();
            assert_eq!(error.kind(), AuthErrorKind::Abandoned);
        });
        assert_eq!(platform.asked.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn it_can_be_shared_between_threads() {
        fn assert<T: Clone + Send + Sync + 'static>() {}
        assert::<Authenticator>();
        assert::<AuthError>();
    }
}
