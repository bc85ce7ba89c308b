//! The client: one attempt at a request, and connections for other protocols.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use genesys_api::retry::{RetryBudget, RetryPolicy};
use genesys_api::{Clock, Host};
use http::header::{AUTHORIZATION, Entry, USER_AGENT};
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::{self, connect::capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::connect::{Connector, Settings};
use crate::error::Reason;
use crate::place::Place;
use crate::{Egress, Error, Proxy, Stream, Tls};

/// How long a connection that nobody uses is kept.
const POOL_IDLE: Duration = Duration::from_secs(60);
/// How many such connections are kept for one host: what a burst opened is there for the next one.
const POOL_SIZE: usize = 256;
/// Upper bound of a connection's read buffer, and so of a response's head.
pub(crate) const HEAD_LIMIT: usize = 64 * 1024;
/// What this client calls itself.
pub(crate) const PRODUCT: &str = concat!("guest-suite/", env!("CARGO_PKG_VERSION"));
/// A longer time limit means this: it keeps arithmetic on deadlines from overflowing.
const LONGEST: Duration = Duration::from_secs(86_400);

/// An HTTP/1.1 client with a pool of connections. Clones share it.
///
/// It follows no redirect, uses no proxy but one that is set, keeps no cookies, and asks for no compression.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    deadline: Duration,
}

struct Shared {
    pool: legacy::Client<Connector, Full<Bytes>>,
    connector: Connector,
    clock: Clock,
    body_limit: usize,
    retry: RetryPolicy,
    budget: Mutex<RetryBudget>,
}

impl Client {
    /// A client that trusts whom `tls` trusts.
    pub fn builder(tls: Tls) -> ClientBuilder {
        ClientBuilder {
            tls,
            deadline: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            body_limit: 1024 * 1024,
            egress: Egress::Anywhere,
            proxy: None,
            retry: RetryPolicy::default(),
            clock: Clock::system(),
        }
    }

    /// The same client, which gives a `send` or a `call` another time: see [`ClientBuilder::deadline`].
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline.min(LONGEST);
        self
    }

    /// Sends `request` once and reads the whole response, whatever its status.
    ///
    /// A pooled connection that turns out to be dead before a byte of the request was written is replaced, which is
    /// no second attempt.
    ///
    /// # Errors
    /// See [`ErrorKind`](crate::ErrorKind). [`Error::was_sent`] tells whether the server may have acted on it.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        self.attempt(request, self.clock().now().instant + self.deadline)
            .await
    }

    /// Opens a connection of its own, with TLS if the host has it: for WebSockets.
    ///
    /// # Errors
    /// If no connection is had within the connect timeout.
    pub async fn connect(&self, host: &Host) -> Result<Stream, Error> {
        let place = Place::of_host(host).ok_or_else(|| Error::new(Reason::Request, None))?;
        self.shared.connector.open(&place).await
    }

    /// The clock that deadlines and waits are measured on.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    pub(crate) fn retry(&self) -> RetryPolicy {
        self.shared.retry
    }

    pub(crate) fn with_budget<T>(&self, act: impl FnOnce(&mut RetryBudget) -> T) -> T {
        act(&mut self.shared.budget.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) async fn attempt(
        &self,
        mut request: Request<Bytes>,
        deadline: Instant,
    ) -> Result<Response<Bytes>, Error> {
        let place = Place::of_uri(request.uri()).ok_or_else(|| Error::new(Reason::Request, None))?;
        let headers = request.headers_mut();
        if let Entry::Occupied(mut secrets) = headers.entry(AUTHORIZATION) {
            secrets.iter_mut().for_each(|secret| secret.set_sensitive(true));
        }
        headers
            .entry(USER_AGENT)
            .or_insert(HeaderValue::from_static(PRODUCT));
        let mut request = request.map(Full::new);
        let connection = capture_connection(&mut request);
        let handed_over = || connection.connection_metadata().is_some();
        tokio::select! {
            biased;
            response = self.exchange(request, &place, handed_over) => response,
            () = self.clock().sleep_until(deadline) => {
                Err(Error::sent(Reason::Deadline(self.deadline), &place, handed_over()))
            }
        }
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        place: &Place,
        handed_over: impl Fn() -> bool,
    ) -> Result<Response<Bytes>, Error> {
        let limit = self.shared.body_limit;
        let response = self
            .shared
            .pool
            .request(request)
            .await
            .map_err(|error| Error::of_exchange(error, place, handed_over()))?;
        let (head, body) = response.into_parts();
        let body = match Limited::new(body, limit).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return Err(Error::sent(Reason::BodyTooLarge(limit), place, true));
            }
            Err(error) => return Err(Error::of_exchange(error, place, true)),
        };
        Ok(Response::from_parts(head, body))
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
    tls: Tls,
    deadline: Duration,
    connect_timeout: Duration,
    body_limit: usize,
    egress: Egress,
    proxy: Option<Proxy>,
    retry: RetryPolicy,
    clock: Clock,
}

impl ClientBuilder {
    /// How long a `send` may take, or a `call` with its retries and waits, until the body is read. Default: 30 s; a day
    /// at most.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline.min(LONGEST);
        self
    }

    /// How long resolving, TCP, a proxy's answer and TLS may take together. Default: 10 s; a day at most.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout.min(LONGEST);
        self
    }

    /// How many bytes of a response's body are accepted. Default: 1 MiB.
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// Which addresses may be connected to. Default: [`Egress::Anywhere`].
    pub fn egress(mut self, egress: Egress) -> Self {
        self.egress = egress;
        self
    }

    /// The proxies to go through; [`Proxy::from_env`] gives those of the environment. Default: none.
    ///
    /// With [`Egress::PublicOnly`] none is used, whatever is set: a proxy resolves names itself, so where it connects to
    /// cannot be checked.
    pub fn proxy(mut self, proxy: impl Into<Option<Proxy>>) -> Self {
        self.proxy = proxy.into();
        self
    }

    /// How `call` retries. Default: [`RetryPolicy::default`].
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// The clock for deadlines and waits. Default: the system's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The client. Nothing is connected yet.
    #[must_use]
    pub fn build(self) -> Client {
        let connector = Connector::new(Settings {
            tls: self.tls,
            egress: self.egress,
            proxy: self.proxy,
            timeout: self.connect_timeout,
            clock: self.clock.clone(),
        });
        let pool = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(POOL_SIZE)
            .http1_max_buf_size(HEAD_LIMIT)
            .retry_canceled_requests(true)
            .build(connector.clone());
        Client {
            shared: Arc::new(Shared {
                pool,
                connector,
                clock: self.clock,
                body_limit: self.body_limit,
                retry: self.retry,
                budget: Mutex::default(),
            }),
            deadline: self.deadline,
        }
    }
}
