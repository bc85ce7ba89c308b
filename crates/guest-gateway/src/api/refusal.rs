//! Error responses: Genesys' error body, a stable code, and a remedy.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::response::{IntoResponse, Response};
use genesys_api::{Detail, Problem, entropy, error_chain};
use guest_sessions::{AuditQueryError, BodyError, DetailCode, ErrorCode, HistoryQueryError};
use guest_suite::Error;
use guest_suite::store::StoreErrorKind;
use http::header::{ALLOW, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use ws_transport::OriginError;

use super::json_answer;

/// The header that repeats a problem's `contextId`.
pub(crate) const CORRELATION: HeaderName = HeaderName::from_static("inin-correlation-id");

/// A refused request. It changed nothing.
#[derive(Debug)]
pub(crate) struct Refusal {
    problem: Box<Problem>,
    allow: Option<&'static str>,
    is_damage: bool,
    fault: Option<StoreFault>,
    origin: Option<RefusedOrigin>,
}

/// Marks a response to a request that was refused for its origin, with the reason as a label.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RefusedOrigin(pub(crate) &'static str);

/// The fault because of which the store refused a request, with its causes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct StoreFault(String);

/// Logs faults: each at once, and its repetitions within ten seconds as one number, with the next response after them.
#[derive(Debug, Default)]
pub(crate) struct FaultLog(Mutex<Option<Repeated>>);

#[derive(Debug)]
struct Repeated {
    fault: StoreFault,
    since: Instant,
    count: u64,
}

impl FaultLog {
    /// Records the fault of a response, if it has one.
    pub(crate) fn record(&self, fault: Option<&StoreFault>, now: Instant) {
        let (repeated, is_new) = self.next(fault, now);
        if let Some(Repeated { fault, count, .. }) = repeated.filter(|repeated| repeated.count > 0) {
            tracing::error!(repetitions = count, "{}", fault.0);
        }
        if let Some(fault) = fault.filter(|_| is_new) {
            tracing::error!("{}", fault.0);
        }
    }

    /// Returns the last fault with its repetitions if it has ended, and whether this fault is to be logged.
    fn next(&self, fault: Option<&StoreFault>, now: Instant) -> (Option<Repeated>, bool) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = &mut *last
            && fault.is_none_or(|fault| last.fault == *fault)
            && now.saturating_duration_since(last.since) < LOG_INTERVAL
        {
            last.count += u64::from(fault.is_some());
            return (None, false);
        }
        let next = fault.map(|fault| Repeated {
            fault: fault.clone(),
            since: now,
            count: 0,
        });
        let is_new = next.is_some();
        (std::mem::replace(&mut *last, next), is_new)
    }
}

/// Time in which a fault is logged once. Our choice.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Marks a response to a request that found the store damaged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FoundDamage;

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let mut problem = Box::new(Problem::new(code.status(), code.as_str(), message));
        problem.context_id = Some(entropy::uuid().to_string());
        Self {
            problem,
            allow: None,
            is_damage: false,
            fault: None,
            origin: None,
        }
    }

    pub(crate) fn origin(error: &OriginError) -> Self {
        let reason = match error {
            OriginError::Missing => "missing",
            OriginError::NotAllowed { .. } => "not_allowed",
            OriginError::Several => "several",
            _ => "malformed",
        };
        Self {
            origin: Some(RefusedOrigin(reason)),
            ..Self::new(ErrorCode::OriginNotAllowed, error.to_string())
        }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::BadRequest, message)
    }

    /// 404. A resource of another API client is not distinguished from one that does not exist.
    pub(crate) fn not_found() -> Self {
        Error::from(ErrorCode::NotFound).into()
    }

    pub(crate) fn method_not_allowed(allow: &'static str) -> Self {
        let message = format!("invalid method: use {allow}");
        Self {
            allow: Some(allow),
            ..Self::new(ErrorCode::MethodNotAllowed, message)
        }
    }

    pub(crate) fn too_many(wait: Duration) -> Self {
        let message = "cannot accept the request: rate limit of this API client reached, wait for the seconds in Retry-After";
        Self::new(ErrorCode::TooManyRequests, message).retry_after(wait)
    }

    pub(crate) fn too_many_of_address(wait: Duration) -> Self {
        let message = "cannot accept the request: rate limit of this address reached, wait for the seconds in Retry-After";
        Self::new(ErrorCode::TooManyRequests, message).retry_after(wait)
    }

    pub(crate) fn too_many_of_session(wait: Duration) -> Self {
        let message = "cannot accept the request: rate limit of this session reached, wait for the seconds in Retry-After";
        Self::new(ErrorCode::TooManyRequests, message).retry_after(wait)
    }

    pub(super) fn too_many_pages(wait: Duration) -> Self {
        let message = "cannot read the history: Genesys allows ten pages of a session in a minute, wait for the seconds in \
                       Retry-After";
        Self::new(ErrorCode::TooManyRequests, message).retry_after(wait)
    }

    pub(super) fn too_many_connections() -> Self {
        let message = "cannot accept the connection: too many connections of this address are open, close some, or have the \
                       operator raise `connections_per_address` of [listen]";
        Self::new(ErrorCode::TooManyRequests, message).retry_after(Duration::from_secs(5))
    }

    pub(crate) fn too_many_failures(wait: Duration) -> Self {
        let message = "cannot authenticate: too many failures from this address, wait for the seconds in \
                       Retry-After, then send the right secret";
        Self::new(ErrorCode::TooManyRequests, message).retry_after(wait)
    }

    pub(super) fn too_many_sign_ins(wait: Duration) -> Self {
        let message = "cannot sign in: too many refused codes of this session from this address, wait for the seconds in \
                       Retry-After, then have the guest sign in again";
        Self::new(ErrorCode::TooManyRequests, message).retry_after(wait)
    }

    pub(crate) fn too_many_frames(wait: Duration) -> Self {
        let message =
            "cannot accept the frame: rate limit of this stream reached, wait for the seconds in Retry-After";
        Self::new(ErrorCode::TooManyRequests, message).retry_after(wait)
    }

    /// 503 of a fault that passes.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::ServiceUnavailable, message).retry_after(Duration::from_secs(5))
    }

    /// The status of the response.
    pub(crate) fn status(&self) -> u16 {
        self.problem.status
    }

    /// The dotted code.
    pub(crate) fn code(&self) -> &str {
        &self.problem.code
    }

    pub(crate) fn detail(mut self, code: &str, field: &str) -> Self {
        self.problem.details.push(Detail {
            error_code: code.to_owned(),
            field_name: field.to_owned(),
            ..Detail::default()
        });
        self
    }

    /// Replaces the message.
    pub(crate) fn message(mut self, message: String) -> Self {
        self.problem.message = message;
        self
    }

    pub(super) fn retry_after(mut self, wait: Duration) -> Self {
        self.problem.retry_after = Some(wait);
        self
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let code = error.code().unwrap_or(ErrorCode::ServiceUnavailable);
        let refusal = Self {
            is_damage: matches!(&error, Error::Store(error) if error.kind() == StoreErrorKind::Corrupt),
            ..Self::new(code, error.to_string())
        };
        match &error {
            _ if code == ErrorCode::ServiceUnavailable => {
                let refusal = refusal.retry_after(Duration::from_secs(5));
                Self {
                    fault: Some(StoreFault(error_chain(&error))),
                    ..refusal
                }
            }
            Error::ConsentRequired(refused) => refused.missing().fold(refusal, |refusal, (purpose, rule)| {
                refusal.detail(rule, &format!("consent.{purpose}"))
            }),
            Error::InvalidValue { field, .. } => refusal.detail(DetailCode::FieldValue.as_str(), field),
            _ => match field(code) {
                Some(field) => refusal.detail(code.as_str(), field),
                None => refusal,
            },
        }
    }
}

/// The field at fault, which the code of a refusal decides.
fn field(code: ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::ConsentOutdated => "consentTimestamp",
        ErrorCode::GuestIdInUse => "guestId",
        ErrorCode::IdempotencyKeyInProgress
        | ErrorCode::IdempotencyKeyReused
        | ErrorCode::IdempotencyKeySpent
        | ErrorCode::IdempotencyLimit => "Idempotency-Key",
        ErrorCode::RefreshTokenReused | ErrorCode::RefreshTokenUsed => "refreshToken",
        ErrorCode::WebhookNameInUse => "name",
        _ => return None,
    })
}

impl From<AuditQueryError> for Refusal {
    fn from(error: AuditQueryError) -> Self {
        let detail = DetailCode::FieldValue;
        Self::new(detail.error_code(), error.to_string()).detail(detail.as_str(), error.parameter())
    }
}

impl From<HistoryQueryError> for Refusal {
    fn from(error: HistoryQueryError) -> Self {
        let detail = DetailCode::FieldValue;
        Self::new(detail.error_code(), error.to_string()).detail(detail.as_str(), error.parameter())
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        let refusal = Self::new(ErrorCode::of_body(&error), error.to_string());
        match (DetailCode::of_body(&error), error.field()) {
            (Some(detail), Some(field)) => refusal.detail(detail.as_str(), field),
            _ => refusal,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let problem = &*self.problem;
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = json_answer(status, problem);
        let headers = response.headers_mut();
        let id = problem.context_id.as_deref();
        if let Some(Ok(id)) = id.map(HeaderValue::from_str) {
            headers.insert(CORRELATION, id);
        }
        if let Some(wait) = problem.retry_after {
            // rounded up, so that a client that waits exactly this long is not early
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, seconds.into());
        }
        let mut insert = |name, value| headers.insert(name, HeaderValue::from_static(value));
        if let Some(allow) = self.allow {
            insert(ALLOW, allow);
        }
        match problem.status {
            401 => {
                insert(WWW_AUTHENTICATE, "Bearer");
            }
            426 => {
                insert(UPGRADE, "websocket");
                insert(SEC_WEBSOCKET_VERSION, "13");
            }
            _ => {}
        }
        if self.is_damage {
            response.extensions_mut().insert(FoundDamage);
        }
        if let Some(origin) = self.origin {
            response.extensions_mut().insert(origin);
        }
        if let Some(fault) = self.fault {
            response.extensions_mut().insert(fault);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    //! Headers of refusals.

    use guest_suite::store::Conflict;

    use super::*;

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant can be had from nowhere else"
    )]
    fn fault_is_logged_once_in_ten_seconds_and_counted() {
        let (log, start) = (FaultLog::default(), Instant::now());
        let (full, busy) = (StoreFault("full".to_owned()), StoreFault("busy".to_owned()));
        let next = |fault: Option<&StoreFault>, seconds| {
            let (repeated, is_new) = log.next(fault, start + Duration::from_secs(seconds));
            (
                repeated.map(|repeated| (repeated.fault.0, repeated.count)),
                is_new,
            )
        };
        let last = |fault: &str, count| Some((fault.to_owned(), count));
        assert_eq!(next(Some(&full), 0), (None, true));
        for second in 1..10 {
            assert_eq!(next(Some(&full), second), (None, false));
            assert_eq!(next(None, second), (None, false), "a response without a fault");
        }
        assert_eq!(next(Some(&full), 10), (last("full", 9), true));
        assert_eq!(next(Some(&full), 11), (None, false));
        assert_eq!(next(Some(&busy), 11), (last("full", 1), true), "another fault");
        assert_eq!(next(Some(&busy), 12), (None, false));
        // the end of a burst is reported with the next response
        assert_eq!(next(None, 21), (last("busy", 1), false));
        assert_eq!(next(None, 32), (None, false));
    }

    #[test]
    fn fault_that_passes_has_a_time_to_wait() {
        for kind in [
            StoreErrorKind::Busy,
            StoreErrorKind::Conflict(Conflict::VersionChanged),
            StoreErrorKind::Full,
            StoreErrorKind::Unavailable,
        ] {
            let response = Refusal::from(Error::from(kind)).into_response();
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{kind}");
            assert_eq!(response.headers()[RETRY_AFTER], "5", "{kind}");
        }
    }
}
