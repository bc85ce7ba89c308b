//! Calls with retries.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use genesys_api::breaker::Permit;
use genesys_api::retry::{Outcome, RetryPolicy, retry_after};
use genesys_api::{Call, Host, IdempotencyKey, Now, Problem, ReplyError, entropy, rfc3339};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use secrecy::{ExposeSecret, SecretString};

use crate::client::Extent;
use crate::{Client, Error, ErrorKind};

impl Client {
    /// Sends `call`, and retries it until the deadline if that is safe and can succeed.
    ///
    /// Retries follow the client's [`RetryPolicy`] and one retry budget. `Retry-After` is obeyed; if it ends after the
    /// deadline, the error is returned at once. A call that is not idempotent is repeated only if its request has an
    /// `Idempotency-Key`, no byte of it was sent, or it was answered 429. While most calls of a type to a host fail, a
    /// [`Breaker`](genesys_api::breaker::Breaker) refuses the others without sending them.
    ///
    /// After a call that failed in all its attempts by a fault of the service, calls of its type to the host are sent once
    /// until one succeeds. With 3 attempts a full outage therefore causes at most `calls + 2` requests, and 2 more for each
    /// other call that was in flight when it began, at most the 35 of the budget. A single retry exceeds 1.1 requests per
    /// call for fewer than 10 calls, two for fewer than 20.
    ///
    /// # Errors
    /// If the service refused the call, did not respond, or sent a body that does not match the contract, or if the breaker
    /// is open.
    pub async fn call<C: Call + Sync>(
        &self,
        call: &C,
        host: &Host,
        bearer: Option<&SecretString>,
    ) -> Result<C::Reply, CallError> {
        let bearer = match bearer.map(|token| authorization(token, host)).transpose() {
            Ok(bearer) => bearer,
            Err(error) => return Err(CallError::new(Failure::Unanswered(error), host, 0, false, false)),
        };
        let operation = std::any::type_name::<C>();
        let breakers = &self.shared.breakers;
        let deadline = self.clock().now().instant + self.deadline;
        let mut previous: Option<Failure> = None;
        let mut unknown = false;
        let mut attempt = 1;
        loop {
            let permit = match self.permit(host, operation, deadline).await {
                Ok(permit) => permit,
                Err(failure) => {
                    let failure = previous.unwrap_or(failure);
                    let failure = failure.with_retry_date(self.clock().now());
                    return Err(CallError::new(failure, host, attempt - 1, true, unknown));
                }
            };
            let mut request = call.request(host);
            let repeatable = C::IDEMPOTENT || request.headers().contains_key(IdempotencyKey::HEADER);
            if let Some(bearer) = &bearer {
                request.headers_mut().insert(AUTHORIZATION, bearer.clone());
            }
            let result = self.attempt(request, repeatable, Extent::Whole, deadline).await;
            let now = self.clock().now();
            let failure = match result {
                Ok(response) => {
                    let (status, headers) = (response.status(), response.headers().clone());
                    if let Some(limiter) = &self.rate_limiter {
                        limiter.observe(status, &headers, now);
                    }
                    match call.reply(response) {
                        Ok(reply) => {
                            breakers.record(host, operation, permit, false, now.instant);
                            let previous = previous.as_ref().and_then(Failure::outcome);
                            self.with_budget(|budget| budget.deposit(previous));
                            return Ok(reply);
                        }
                        Err(error) => Failure::Answered {
                            status,
                            headers,
                            error,
                        },
                    }
                }
                Err(error) => Failure::Unanswered(error),
            };
            breakers.record(host, operation, permit, failure.is_fault(), now.instant);
            unknown |= failure.is_unknown();
            let wait = failure
                .wait(&self.shared.retry, attempt, repeatable, now)
                .filter(|wait| now.instant + *wait < deadline)
                .filter(|_| !failure.is_fault() || !breakers.is_down(host, operation, now.instant))
                .filter(|_| self.allows_retry_of(&failure));
            let Some(wait) = wait else {
                let (retryable, is_fault) = (failure.is_retryable(repeatable, now), failure.is_fault());
                let error = CallError::new(failure.with_retry_date(now), host, attempt, retryable, unknown);
                breakers.explain(host, operation, &error, is_fault, now.instant);
                return Err(error);
            };
            tracing::debug!(%host, attempt, ?wait, "call failed, retrying");
            self.clock().sleep(wait).await;
            previous = Some(failure);
            attempt += 1;
        }
    }

    /// Waits for the rate limit and asks the breaker. A call that the breaker refuses takes no slot of the rate limit.
    async fn permit(
        &self,
        host: &Host,
        operation: &'static str,
        deadline: Instant,
    ) -> Result<Permit, Failure> {
        let not_allowed = |kind, wait, cause| Failure::NotAllowed {
            kind,
            wait,
            until: rfc3339(self.clock().now().utc + wait),
            cause,
        };
        let suspended = |(wait, cause)| not_allowed(CallErrorKind::Suspended, wait, cause);
        let breakers = &self.shared.breakers;
        if let Some(limiter) = &self.rate_limiter {
            let checked = breakers.check(host, operation, self.clock().now().instant);
            checked.map_err(suspended)?;
            let acquired = limiter.acquire(self.clock(), deadline).await;
            acquired.map_err(|wait| not_allowed(CallErrorKind::RateLimited, wait, None))?;
        }
        let admitted = breakers.admit(host, operation, self.clock().now().instant);
        admitted.map_err(suspended)
    }

    fn allows_retry_of(&self, failure: &Failure) -> bool {
        failure
            .outcome()
            .is_some_and(|outcome| self.with_budget(|budget| budget.withdraw(outcome)))
    }
}

/// A failed call. Clones share it.
#[derive(Clone)]
pub struct CallError {
    inner: Arc<Inner>,
}

struct Inner {
    host: Host,
    attempts: u32,
    retryable: bool,
    unknown: bool,
    failure: Failure,
}

impl CallError {
    /// The class of the error.
    pub fn kind(&self) -> CallErrorKind {
        match &self.inner.failure {
            Failure::Answered { error, .. } => match error.problem() {
                Some(_) => CallErrorKind::Refused,
                None => CallErrorKind::Malformed,
            },
            Failure::NotAllowed { kind, .. } => *kind,
            Failure::Unanswered(error) => CallErrorKind::Transport(error.kind()),
        }
    }

    /// The error body of the service, if it refused the call. `retry_after` is parsed from seconds or a date.
    pub fn problem(&self) -> Option<&Problem> {
        match &self.inner.failure {
            Failure::Answered { error, .. } => error.problem(),
            Failure::NotAllowed { .. } | Failure::Unanswered(_) => None,
        }
    }

    /// The wait before the next attempt that the service, an open breaker or the rate limit requires.
    pub fn retry_after(&self) -> Option<Duration> {
        match &self.inner.failure {
            Failure::Answered { error, .. } => error.problem()?.retry_after,
            Failure::NotAllowed { wait, .. } => Some(*wait),
            Failure::Unanswered(_) => None,
        }
    }

    /// Whether a retry is safe and can succeed later: the call may be repeated, or the service certainly did not act.
    pub fn is_retryable(&self) -> bool {
        self.inner.retryable
    }

    /// Whether the service may have acted on one of the attempts: the answer was lost or is malformed, 408, or a server
    /// error.
    pub fn is_outcome_unknown(&self) -> bool {
        self.inner.unknown
    }

    /// Number of attempts.
    pub fn attempts(&self) -> u32 {
        self.inner.attempts
    }

    fn new(failure: Failure, host: &Host, attempts: u32, retryable: bool, unknown: bool) -> Self {
        Self {
            inner: Arc::new(Inner {
                host: host.clone(),
                attempts,
                retryable,
                unknown,
                failure,
            }),
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.inner.host;
        match self.kind() {
            CallErrorKind::Malformed => {
                write!(f, "invalid response of {host}: it does not match the contract")?
            }
            CallErrorKind::Refused => write!(f, "{host} refused the call")?,
            CallErrorKind::RateLimited => write!(f, "cannot call {host}: the rate limit is reached")?,
            CallErrorKind::Suspended => write!(f, "cannot call {host}: most calls failed")?,
            CallErrorKind::Transport(_) => write!(f, "no response from {host}")?,
        }
        if let Failure::NotAllowed { until, .. } = &self.inner.failure {
            return write!(f, ", the next attempt is allowed at {until}");
        }
        match self.inner.attempts {
            0 | 1 => Ok(()),
            attempts => write!(f, " in {attempts} attempts"),
        }
    }
}

impl fmt::Debug for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source: &dyn fmt::Debug = match &self.inner.failure {
            Failure::Answered { error, .. } => error,
            Failure::NotAllowed { cause, .. } => cause,
            Failure::Unanswered(error) => error,
        };
        f.debug_struct("CallError")
            .field("host", &self.inner.host)
            .field("attempts", &self.inner.attempts)
            .field("source", source)
            .finish_non_exhaustive()
    }
}

impl StdError for CallError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(match &self.inner.failure {
            Failure::Answered { error, .. } => error,
            Failure::NotAllowed { cause, .. } => cause.as_ref()?,
            Failure::Unanswered(error) => error,
        })
    }
}

/// The class of a [`CallError`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum CallErrorKind {
    /// The response does not match the contract.
    Malformed,
    /// The service refused the call: see [`CallError::problem`].
    Refused,
    /// The rate limit of the client allows no call before the deadline. Nothing was sent.
    RateLimited,
    /// Most calls of this type to the host failed, and the time of the next probe has not come. Nothing was sent. The
    /// source is the last failure.
    Suspended,
    /// The service did not respond.
    Transport(ErrorKind),
}

/// A failed attempt, or one that was not allowed.
enum Failure {
    Answered {
        status: StatusCode,
        headers: HeaderMap,
        error: ReplyError,
    },
    /// By a rate limit or an open breaker.
    NotAllowed {
        kind: CallErrorKind,
        wait: Duration,
        until: String,
        cause: Option<CallError>,
    },
    Unanswered(Error),
}

impl Failure {
    /// The input of the retry policy. `None` if a retry cannot succeed.
    fn outcome(&self) -> Option<Outcome<'_>> {
        match self {
            Self::Answered { status, headers, .. } => Some(Outcome::Answered {
                status: *status,
                headers,
            }),
            Self::NotAllowed { .. } => None,
            Self::Unanswered(error) => {
                let may_pass = match error.kind() {
                    ErrorKind::Closed | ErrorKind::Connect | ErrorKind::Timeout => true,
                    ErrorKind::Tls => error.tls_fault().is_some_and(|fault| !fault.is_permanent()),
                    ErrorKind::Blocked | ErrorKind::Protocol | ErrorKind::Proxy | ErrorKind::TooLarge => {
                        false
                    }
                };
                may_pass.then_some(match error.was_sent() {
                    true => Outcome::Unknown,
                    false => Outcome::NotSent,
                })
            }
        }
    }

    /// Whether the service may have acted on this attempt.
    fn is_unknown(&self) -> bool {
        match self {
            Self::Answered { status, .. } if status.is_success() => true,
            Self::Unanswered(error) => error.was_sent(),
            Self::Answered { .. } | Self::NotAllowed { .. } => {
                self.outcome().is_some_and(|outcome| outcome.is_unknown())
            }
        }
    }

    /// Whether the service did not work, for the breaker. It does not look at 4xx except 408.
    fn is_fault(&self) -> bool {
        match self {
            Self::Answered { status, .. } => !status.is_success() && self.is_unknown(),
            Self::NotAllowed { .. } | Self::Unanswered(_) => true,
        }
    }

    fn wait(&self, policy: &RetryPolicy, attempt: u32, repeatable: bool, now: Now) -> Option<Duration> {
        policy.decide(attempt, repeatable, self.outcome()?, entropy::number(), now.utc)
    }

    /// Whether the policy would allow a retry without a limit of attempts.
    fn is_retryable(&self, repeatable: bool, now: Now) -> bool {
        let unlimited = RetryPolicy {
            attempts: u32::MAX,
            ..RetryPolicy::default()
        };
        self.wait(&unlimited, 1, repeatable, now).is_some()
    }

    /// Parses a `Retry-After` that is a date, which needs a clock.
    fn with_retry_date(mut self, now: Now) -> Self {
        if let Self::Answered {
            headers,
            error: ReplyError::Refused(problem),
            ..
        } = &mut self
        {
            problem.retry_after = retry_after(headers, now.utc);
        }
        self
    }
}

fn authorization(token: &SecretString, host: &Host) -> Result<HeaderValue, Error> {
    let mut value =
        HeaderValue::from_maybe_shared(bytes::Bytes::from(format!("Bearer {}", token.expose_secret())))
            .map_err(|_| {
                let message = format!(
                    "cannot send the request to {host}: a header has characters that HTTP does not allow"
                );
                Error::new(ErrorKind::Protocol, message)
            })?;
    value.set_sensitive(true);
    Ok(value)
}
