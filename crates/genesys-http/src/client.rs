//! The client: single requests, and connections for other protocols.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use genesys_api::retry::{RetryBudget, RetryPolicy};
use genesys_api::{Clock, Host, IdempotencyKey};
use http::header::{AUTHORIZATION, Entry, USER_AGENT};
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::breakers::Breakers;
use crate::connect::{Connector, Settings};
use crate::endpoint::Endpoint;
use crate::stream::Usage;
use crate::{Egress, Error, ErrorKind, Proxy, RateLimiter, Stream, Tls};

/// Idle time after which a pooled connection is closed.
const POOL_IDLE: Duration = Duration::from_secs(60);
/// Age after which no request is sent on a connection, so that changed addresses of a name take effect.
const POOL_LIFETIME: Duration = Duration::from_secs(300);
/// Idle connections per host, enough for the next burst.
const POOL_SIZE: usize = 256;
/// Upper bound of a connection's read buffer, and so of a response head.
pub(crate) const HEAD_LIMIT: usize = 64 * 1024;
/// Default `User-Agent`.
pub(crate) const PRODUCT: &str = concat!("guest-suite/", env!("CARGO_PKG_VERSION"));
/// Wait for the start of a body that decides nothing. Our choice.
const START_WAIT: Duration = Duration::from_secs(1);
/// Longer timeouts are clamped, so that deadlines cannot overflow.
const MAX_TIMEOUT: Duration = Duration::from_secs(86_400);

/// An HTTP/1.1 client with a pool of connections. Clones share it.
///
/// It follows no redirects, stores no cookies, requests no compression, and uses a proxy only if one is set.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
    pub(crate) deadline: Duration,
    pub(crate) rate_limiter: Option<RateLimiter>,
}

type Pool = legacy::Client<Connector, Full<Bytes>>;

pub(crate) struct Shared {
    pool: Pool,
    /// Holds no idle connections, so that each request opens one.
    unpooled: Pool,
    connector: Connector,
    body_limit: usize,
    pub(crate) retry: RetryPolicy,
    budget: Mutex<RetryBudget>,
    pub(crate) breakers: Breakers,
}

impl Client {
    /// Configures a client with these TLS settings.
    pub fn builder(tls: Tls) -> ClientBuilder {
        ClientBuilder {
            settings: Settings {
                tls,
                egress: Egress::Anywhere,
                proxy: None,
                timeout: Duration::from_secs(10),
                clock: Clock::system(),
            },
            deadline: Duration::from_secs(30),
            body_limit: 1024 * 1024,
            retry: RetryPolicy::default(),
        }
    }

    /// Returns the same client with another [deadline](ClientBuilder::deadline).
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline.min(MAX_TIMEOUT);
        self
    }

    /// Returns the same client with a rate limit for each attempt of [`Self::call`].
    #[must_use]
    pub fn with_rate_limiter(mut self, limiter: RateLimiter) -> Self {
        self.rate_limiter = Some(limiter);
        self
    }

    /// Takes the TLS settings, the proxy, the egress policy and the time to connect of another client, for the connections
    /// that begin after it. Requests use the pooled ones for 5 minutes at most. All clones change.
    pub fn replace_settings(&self, other: &Self) {
        self.shared.connector.replace(&other.shared.connector);
    }

    /// Sends `request` once and reads the whole response, with any status.
    ///
    /// A pooled connection that closes before a byte of the request is written is replaced. If one closes before a byte of
    /// the response arrives, a request with an idempotent method (RFC 9110 section 9.2.2) or an `Idempotency-Key` is sent
    /// once more, on a new connection.
    ///
    /// # Errors
    /// See [`ErrorKind`](crate::ErrorKind). [`Error::was_sent`] returns whether the server may have acted on the request.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let repeatable =
            request.method().is_idempotent() || request.headers().contains_key(IdempotencyKey::HEADER);
        let deadline = self.clock().now().instant + self.deadline;
        self.attempt(request, repeatable, Extent::Whole, deadline).await
    }

    /// Sends `request`, and returns the head of the response, with any status, and the start of its body.
    ///
    /// A complete head is a response, whatever its body does. The body is read up to the
    /// [limit](ClientBuilder::body_limit), for at most a second and not beyond the deadline. One that is longer, late, cut or
    /// malformed ends there.
    ///
    /// The request must be repeatable: if a reused connection closes before a byte of the response arrives, it is sent once
    /// more, on a new connection.
    ///
    /// # Errors
    /// As [`Self::send`], for the head of the response.
    pub async fn send_for_head(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let deadline = self.clock().now().instant + self.deadline;
        self.attempt(request, true, Extent::Start, deadline).await
    }

    /// Opens a connection outside the pool, with TLS for an `https` host: for WebSockets.
    ///
    /// # Errors
    /// [`ErrorKind::Blocked`](crate::ErrorKind::Blocked), `Connect`, `Proxy`, `Timeout` or `Tls`.
    pub async fn connect(&self, host: &Host) -> Result<Stream, Error> {
        let endpoint = Endpoint::of_host(host)?;
        self.shared.connector.open(&endpoint).await
    }

    /// Whether [`Egress`] allows a connection to none of the addresses of the host of `uri`. A host that cannot be
    /// resolved now is not blocked: each connection is checked again.
    pub async fn blocks(&self, uri: &Uri) -> bool {
        match Endpoint::of_uri(uri) {
            Ok(endpoint) => self.shared.connector.settings().blocks(&endpoint).await,
            Err(_) => false,
        }
    }

    /// The clock of deadlines and waits.
    pub fn clock(&self) -> &Clock {
        &self.shared.connector.clock
    }

    pub(crate) fn with_budget<T>(&self, act: impl FnOnce(&mut RetryBudget) -> T) -> T {
        act(&mut self.shared.budget.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends `request`. If a reused connection closes before the first byte of the response, a `repeatable` one is sent once
    /// more: such a connection was most likely closed as idle when the request arrived. So may the others of the pool be.
    pub(crate) async fn attempt(
        &self,
        mut request: Request<Bytes>,
        repeatable: bool,
        extent: Extent,
        deadline: Instant,
    ) -> Result<Response<Bytes>, Error> {
        let endpoint = Endpoint::of_uri(request.uri())?;
        let headers = request.headers_mut();
        if let Entry::Occupied(mut secrets) = headers.entry(AUTHORIZATION) {
            secrets.iter_mut().for_each(|secret| secret.set_sensitive(true));
        }
        headers
            .entry(USER_AGENT)
            .or_insert(HeaderValue::from_static(PRODUCT));
        let again = repeatable.then(|| request.clone());
        let Shared { pool, unpooled, .. } = &*self.shared;
        let result = Exchange::new(request)
            .run(self, pool, &endpoint, extent, deadline)
            .await;
        match (result, again) {
            (Err(failed), Some(request)) if failed.stale => {
                tracing::debug!(%endpoint, "stale connection, sending again");
                let result = Exchange::new(request)
                    .run(self, unpooled, &endpoint, extent, deadline)
                    .await;
                result.map_err(|failed| failed.error.after_earlier_send())
            }
            (result, _) => result.map_err(|failed| failed.error),
        }
    }
}

/// The part of a response that must arrive.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Extent {
    /// The head. The start of the body is read if it arrives in time.
    Start,
    /// All of it.
    Whole,
}

/// One request on one connection. Unless its response is read completely, the connection is not used again.
struct Exchange {
    request: Option<Request<Full<Bytes>>>,
    connection: CaptureConnection,
    completed: bool,
}

struct FailedExchange {
    error: Error,
    /// Whether a reused connection closed before the first byte of the response.
    stale: bool,
}

impl Exchange {
    fn new(request: Request<Bytes>) -> Self {
        let mut request = request.map(Full::new);
        Self {
            connection: capture_connection(&mut request),
            request: Some(request),
            completed: false,
        }
    }

    async fn run(
        mut self,
        client: &Client,
        pool: &Pool,
        endpoint: &Endpoint,
        extent: Extent,
        deadline: Instant,
    ) -> Result<Response<Bytes>, FailedExchange> {
        let result = self.exchange(client, pool, endpoint, extent, deadline).await;
        let usage = self.usage();
        match result {
            Ok((response, is_complete)) => {
                if let Some(usage) = usage
                    && is_complete
                {
                    usage.handle_completed();
                    // it may wait in the pool for the idle time first
                    self.completed = usage.age(client.clock().now().instant) + POOL_IDLE < POOL_LIFETIME;
                }
                Ok(response)
            }
            Err(error) => Err(FailedExchange {
                stale: error.kind() == ErrorKind::Closed && usage.is_some_and(|usage| usage.is_stale()),
                error,
            }),
        }
    }

    /// Returns the response, and whether its body is complete.
    async fn exchange(
        &mut self,
        client: &Client,
        pool: &Pool,
        endpoint: &Endpoint,
        extent: Extent,
        deadline: Instant,
    ) -> Result<(Response<Bytes>, bool), Error> {
        let (clock, limit) = (client.clock(), client.shared.body_limit);
        let timeout = |has_connection| {
            let limit = client.deadline;
            let message = format!("no complete response from {endpoint} within {limit:?}");
            Error::sent(ErrorKind::Timeout, message, has_connection)
        };
        let request = self.request.take().unwrap_or_default();
        let response = tokio::select! {
            biased;
            response = pool.request(request) => {
                response.map_err(|error| Error::of_exchange(error, endpoint, self.has_connection()))?
            }
            () = clock.sleep_until(deadline) => return Err(timeout(self.has_connection())),
        };
        let (head, body) = response.into_parts();
        let (body, is_complete) = match extent {
            Extent::Start => {
                let until = deadline.min(clock.now().instant + START_WAIT);
                let mut start = BytesMut::new();
                let is_complete = tokio::select! {
                    biased;
                    is_complete = read_start(body, limit, &mut start) => is_complete,
                    () = clock.sleep_until(until) => false,
                };
                (start.freeze(), is_complete)
            }
            Extent::Whole => tokio::select! {
                biased;
                body = read_whole(body, limit, endpoint) => (body?, true),
                () = clock.sleep_until(deadline) => return Err(timeout(true)),
            },
        };
        Ok((Response::from_parts(head, body), is_complete))
    }

    fn has_connection(&self) -> bool {
        self.connection.connection_metadata().is_some()
    }

    fn usage(&self) -> Option<Arc<Usage>> {
        let mut extensions = http::Extensions::new();
        self.connection
            .connection_metadata()
            .as_ref()?
            .get_extras(&mut extensions);
        extensions.remove()
    }
}

async fn read_whole(body: Incoming, limit: usize, endpoint: &Endpoint) -> Result<Bytes, Error> {
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let message = format!(
                "response of {endpoint} too long: more than {limit} bytes, raise the limit if this is expected"
            );
            Err(Error::sent(ErrorKind::TooLarge, message, true))
        }
        Err(error) => Err(Error::of_exchange(error, endpoint, true)),
    }
}

/// Reads at most `limit` bytes to `start`. Returns whether the body was complete.
async fn read_start(mut body: Incoming, limit: usize, start: &mut BytesMut) -> bool {
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        let Ok(data) = frame.into_data() else { continue };
        let room = limit - start.len();
        start.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            return false;
        }
    }
    true
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.completed
            && let Some(connection) = &*self.connection.connection_metadata()
        {
            connection.poison();
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("connector", &self.shared.connector)
            .field("deadline", &self.deadline)
            .field("body_limit", &self.shared.body_limit)
            .field("retry", &self.shared.retry)
            .finish_non_exhaustive()
    }
}

/// The settings of a [`Client`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ClientBuilder {
    settings: Settings,
    deadline: Duration,
    body_limit: usize,
    retry: RetryPolicy,
}

impl ClientBuilder {
    /// Sets the time for a `send`, or for a `call` with its retries and waits, until the body is read. Default: 30 s, at
    /// most a day.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline.min(MAX_TIMEOUT);
        self
    }

    /// Sets the time for name resolution, TCP, the proxy and TLS together. Default: 10 s, at most a day.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout.min(MAX_TIMEOUT);
        self
    }

    /// Sets the maximum length of a response body. Default: 1 MiB.
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// Sets the addresses to which connections are allowed. Default: [`Egress::Anywhere`].
    pub fn egress(mut self, egress: Egress) -> Self {
        self.settings.egress = egress;
        self
    }

    /// Sets the proxies. [`Proxy::from_env`] returns those of the environment. Default: none.
    ///
    /// With [`Egress::PublicOnly`] proxies are ignored, because a proxy resolves names itself.
    pub fn proxy(mut self, proxy: impl Into<Option<Proxy>>) -> Self {
        self.settings.proxy = proxy.into();
        self
    }

    /// Sets the retry policy of `call`. Default: [`RetryPolicy::default`].
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// Sets the clock of deadlines and waits. Default: the system's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.settings.clock = clock;
        self
    }

    /// Builds the client, without connecting.
    pub fn build(self) -> Client {
        let connector = Connector::new(self.settings);
        let mut pool = legacy::Client::builder(TokioExecutor::new());
        pool.pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .http1_max_buf_size(HEAD_LIMIT)
            .retry_canceled_requests(true);
        Client {
            shared: Arc::new(Shared {
                pool: pool.pool_max_idle_per_host(POOL_SIZE).build(connector.clone()),
                unpooled: pool.pool_max_idle_per_host(0).build(connector.clone()),
                connector,
                body_limit: self.body_limit,
                retry: self.retry,
                budget: Mutex::default(),
                breakers: Breakers::default(),
            }),
            deadline: self.deadline,
            rate_limiter: None,
        }
    }
}
