//! Rate limits, with the numbers of Genesys' own (Developer Center, "Limits").

use std::time::{Duration, Instant};

use genesys_api::limits;

/// How often things may happen. `None` switches a limit off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// `messages.per.session.rate.per.second`: messages and presence events; typing is not counted (inference).
    pub messages_per_second: Option<u32>,
    /// `requests.per.connection.rate.per.minute`: frames of any kind on one socket.
    pub requests_per_minute: Option<u32>,
    /// `configure.per.session.rate.per.minute`.
    pub configures_per_minute: Option<u32>,
    /// `health.check.per.connection.rate.per.minute`: the action `echo`.
    pub echoes_per_minute: Option<u32>,
    /// `get.history.rate.per.minute`, for each session.
    pub histories_per_minute: Option<u32>,
    /// `connections.rate.per.minute`: new sockets of the deployment. The answer, HTTP 429, is an inference.
    pub connections_per_minute: Option<u32>,
    /// `client.credentials.token.rate.per.minute`, for each client.
    pub tokens_per_minute: Option<u32>,
    /// `token.rate.per.minute` and the like: calls of the platform API, for each access token and each client.
    pub api_requests_per_minute: Option<u32>,
    /// `exchange.token.rate.per.minute`, and those for `refresh` and `revoke`: each of the three. The number is a
    /// user's, not Genesys'.
    pub sign_ins_per_minute: Option<u32>,
}

impl Limits {
    /// No limit at all, for load tests.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            messages_per_second: None,
            requests_per_minute: None,
            configures_per_minute: None,
            echoes_per_minute: None,
            histories_per_minute: None,
            connections_per_minute: None,
            tokens_per_minute: None,
            api_requests_per_minute: None,
            sign_ins_per_minute: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            messages_per_second: Some(limits::MESSAGES_PER_SECOND),
            requests_per_minute: Some(limits::REQUESTS_PER_MINUTE),
            configures_per_minute: Some(limits::CONFIGURES_PER_MINUTE),
            echoes_per_minute: Some(limits::ECHOES_PER_MINUTE),
            histories_per_minute: Some(limits::HISTORIES_PER_MINUTE),
            connections_per_minute: Some(limits::CONNECTIONS_PER_MINUTE),
            tokens_per_minute: Some(limits::TOKENS_PER_MINUTE),
            api_requests_per_minute: Some(limits::CALLS_PER_MINUTE),
            sign_ins_per_minute: Some(limits::SIGN_INS_PER_MINUTE),
        }
    }
}

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// A fixed window, opened by the first request after the last one closed. Genesys' headers, which tell the seconds
/// until a window resets, speak of such windows; that the frames' limits work alike is an inference.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Window {
    opened: Option<Instant>,
    count: u32,
}

/// The state of a window after a request, for Genesys' headers. Seconds are rounded up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Usage {
    pub(crate) count: u32,
    pub(crate) allowed: u32,
    pub(crate) reset: u64,
}

impl Window {
    /// Takes one place, or says how full the window is. There is no usage to tell of without a limit.
    pub(crate) fn take(
        &mut self,
        limit: Option<u32>,
        period: Duration,
        now: Instant,
    ) -> Result<Option<Usage>, Usage> {
        let Some(allowed) = limit else {
            return Ok(None);
        };
        let opened = match self.opened {
            Some(opened) if now.saturating_duration_since(opened) < period => opened,
            _ => {
                *self = Self {
                    opened: Some(now),
                    count: 0,
                };
                now
            }
        };
        let left = period.saturating_sub(now.saturating_duration_since(opened));
        let usage = |count| Usage {
            count,
            allowed,
            reset: left.as_secs() + u64::from(left.subsec_nanos() > 0),
        };
        if self.count >= allowed {
            return Err(usage(self.count));
        }
        self.count += 1;
        Ok(Some(usage(self.count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_opens_with_its_first_request_and_resets_when_its_period_is_over() {
        let start = crate::world::tests::now().instant;
        let at = |ms| start + Duration::from_millis(ms);
        let mut window = Window::default();
        let usage = |count, reset| Usage {
            count,
            allowed: 2,
            reset,
        };
        assert_eq!(window.take(Some(2), MINUTE, at(0)), Ok(Some(usage(1, 60))));
        assert_eq!(window.take(Some(2), MINUTE, at(500)), Ok(Some(usage(2, 60))));
        assert_eq!(window.take(Some(2), MINUTE, at(59_999)), Err(usage(2, 1)));
        assert_eq!(window.take(Some(2), MINUTE, at(60_000)), Ok(Some(usage(1, 60))));
        assert_eq!(window.take(None, MINUTE, at(60_000)), Ok(None));
    }
}
