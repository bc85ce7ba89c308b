//! Calls: requests that know their reply, and whether they may be made again.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use genesys_api::retry::{Decision, Outcome, RetryPolicy, retry_after};
use genesys_api::{Call, Host, Now, Problem, ReplyError, entropy};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use secrecy::{ExposeSecret, SecretString};

use crate::error::Reason;
use crate::place::Place;
use crate::{Client, Error, ErrorKind};

impl Client {
    /// Makes `call`, and makes it again if that is safe and may help, until the deadline.
    ///
    /// Retries follow the client's [`RetryPolicy`] and draw on one budget, so that they cannot multiply an outage.
    /// `Retry-After` is obeyed. If it reaches beyond the deadline, the refusal is reported at once.
    ///
    /// # Errors
    /// If the service refused, did not answer, or answered with something else than the contract says.
    pub async fn call<C: Call + Sync>(
        &self,
        call: &C,
        host: &Host,
        bearer: Option<&SecretString>,
    ) -> Result<C::Reply, CallError> {
        let bearer = match bearer.map(|token| authorization(token, host)).transpose() {
            Ok(bearer) => bearer,
            Err(error) => return Err(CallError::new(Failure::Unanswered(error), host, 0, false)),
        };
        let deadline = self.clock().now().instant + self.deadline();
        let mut overcome = None;
        let mut attempt = 1;
        loop {
            let mut request = call.request(host);
            if let Some(bearer) = &bearer {
                request.headers_mut().insert(AUTHORIZATION, bearer.clone());
            }
            let failure = match self.attempt(request, deadline).await {
                Ok(response) => {
                    let (status, headers) = (response.status(), response.headers().clone());
                    match call.reply(response) {
                        Ok(reply) => {
                            let overcome = overcome.as_ref().and_then(Failure::outcome);
                            self.with_budget(|budget| budget.deposit(overcome));
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
            let now = self.clock().now();
            let wait = failure
                .wait(&self.retry(), attempt, C::IDEMPOTENT, now)
                .filter(|wait| now.instant + *wait < deadline)
                .filter(|_| self.pays_for(&failure));
            let Some(wait) = wait else {
                let retryable = failure.may_pass(C::IDEMPOTENT, now);
                return Err(CallError::new(failure.dated(now), host, attempt, retryable));
            };
            tracing::debug!(%host, attempt, ?wait, "the call failed and is made again");
            self.clock().sleep(wait).await;
            overcome = Some(failure);
            attempt += 1;
        }
    }

    fn pays_for(&self, failure: &Failure) -> bool {
        failure
            .outcome()
            .is_some_and(|outcome| self.with_budget(|budget| budget.withdraw(outcome)))
    }
}

/// A call that brought no reply. Clones share it.
#[derive(Clone)]
pub struct CallError {
    inner: Arc<Inner>,
}

struct Inner {
    host: Host,
    attempts: u32,
    retryable: bool,
    failure: Failure,
}

impl CallError {
    /// Who is to blame.
    #[must_use]
    pub fn kind(&self) -> CallErrorKind {
        match &self.inner.failure {
            Failure::Answered { error, .. } => match error.problem() {
                Some(_) => CallErrorKind::Refused,
                None => CallErrorKind::Malformed,
            },
            Failure::Unanswered(error) => CallErrorKind::Transport(error.kind()),
        }
    }

    /// The service's own account, if it refused. `retry_after` is filled, from seconds or from a date.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match &self.inner.failure {
            Failure::Answered { error, .. } => error.problem(),
            Failure::Unanswered(_) => None,
        }
    }

    /// Whether the same call may succeed later, and is safe to make again: it is idempotent, or was certainly not
    /// acted on.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.inner.retryable
    }

    /// Whether the service may have acted on the call although it brought no reply: the answer was lost or unreadable,
    /// or was an error of the server other than 503.
    #[must_use]
    pub fn is_outcome_unknown(&self) -> bool {
        match &self.inner.failure {
            Failure::Answered { status, .. } => {
                status.is_success()
                    || (status.is_server_error() && *status != StatusCode::SERVICE_UNAVAILABLE)
            }
            Failure::Unanswered(error) => error.was_sent(),
        }
    }

    /// How often the call was made.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.inner.attempts
    }

    fn new(failure: Failure, host: &Host, attempts: u32, retryable: bool) -> Self {
        Self {
            inner: Arc::new(Inner {
                host: host.clone(),
                attempts,
                retryable,
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
                write!(f, "{host} answered the call in another way than its contract")?
            }
            CallErrorKind::Refused => write!(f, "{host} refused the call")?,
            CallErrorKind::Transport(_) => write!(f, "the call to {host} got no answer")?,
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
            Failure::Unanswered(error) => error,
        })
    }
}

/// The class of a [`CallError`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum CallErrorKind {
    /// The service answered, but not as the contract says.
    Malformed,
    /// The service refused: see [`CallError::problem`].
    Refused,
    /// The service did not answer.
    Transport(ErrorKind),
}

/// How one attempt failed.
enum Failure {
    Answered {
        status: StatusCode,
        headers: HeaderMap,
        error: ReplyError,
    },
    Unanswered(Error),
}

impl Failure {
    /// What the retry rules are asked about. `None` if no repetition can help.
    fn outcome(&self) -> Option<Outcome<'_>> {
        match self {
            Self::Answered { status, headers, .. } => Some(Outcome::Answered {
                status: *status,
                headers,
            }),
            Self::Unanswered(error) => match error.kind() {
                ErrorKind::Closed | ErrorKind::Connect | ErrorKind::Timeout if error.was_sent() => {
                    Some(Outcome::Unknown)
                }
                ErrorKind::Closed | ErrorKind::Connect | ErrorKind::Timeout => Some(Outcome::NotSent),
                ErrorKind::Blocked
                | ErrorKind::Protocol
                | ErrorKind::Proxy
                | ErrorKind::Tls
                | ErrorKind::TooLarge => None,
            },
        }
    }

    fn wait(&self, policy: &RetryPolicy, attempt: u32, idempotent: bool, now: Now) -> Option<Duration> {
        match policy.decide(attempt, idempotent, self.outcome()?, entropy::number(), now.utc) {
            Decision::RetryAfter(wait) => Some(wait),
            _ => None,
        }
    }

    /// Whether the rules would allow one more attempt if they did not count.
    fn may_pass(&self, idempotent: bool, now: Now) -> bool {
        let endless = RetryPolicy {
            attempts: u32::MAX,
            ..RetryPolicy::default()
        };
        self.wait(&endless, 1, idempotent, now).is_some()
    }

    /// Fills in a `Retry-After` that is a date, which only a clock can read.
    fn dated(mut self, now: Now) -> Self {
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
            .map_err(|_| Error::new(Reason::Request, Place::of_host(host).as_ref()))?;
    value.set_sensitive(true);
    Ok(value)
}
