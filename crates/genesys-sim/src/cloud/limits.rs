//! Windows in which requests are counted.

use std::time::{Duration, Instant};

use genesys_api::Now;

/// Namespace and key of a limit in Genesys' error bodies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct LimitKey(pub(crate) &'static str, pub(crate) &'static str);

impl LimitKey {
    pub(crate) const ACCESS_TOKEN: Self = Self("platform.api", "token.rate.per.minute");
    pub(crate) const CLIENT: Self = Self("platform.api", "client.credentials.token.rate.per.minute");
    pub(crate) const CONNECTIONS: Self = Self("web.messaging", "connections.rate.per.minute");
    pub(crate) const EXCHANGE: Self = Self("web.deployments", "exchange.token.rate.per.minute");
    pub(crate) const HISTORY: Self = Self("web.messaging", "get.history.rate.per.minute");
    pub(crate) const REFRESH: Self = Self("web.deployments", "refresh.token.rate.per.minute");
    pub(crate) const REVOKE: Self = Self("web.deployments", "revoke.token.rate.per.minute");
}

pub(crate) const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A fixed window that begins with the first request after the end of the last one. Genesys' headers give the seconds
/// until such a window resets. That the limits of frames work alike is an inference.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FixedWindow {
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

impl FixedWindow {
    /// Counts one request of a minute, and returns the usage of the limit, or the refusal for a full window.
    pub(crate) fn take<E>(
        &mut self,
        limit: Option<u32>,
        now: Now,
        refusal: impl FnOnce(Usage) -> E,
    ) -> Result<Option<Usage>, E> {
        self.take_within(MINUTE, limit, now, refusal)
    }

    pub(crate) fn take_within<E>(
        &mut self,
        period: Duration,
        limit: Option<u32>,
        Now { instant: now, .. }: Now,
        refusal: impl FnOnce(Usage) -> E,
    ) -> Result<Option<Usage>, E> {
        let Some(allowed) = limit else {
            return Ok(None);
        };
        let opened = match self.opened {
            Some(opened) if now.saturating_duration_since(opened) < period => opened,
            _ => {
                self.count = 0;
                *self.opened.insert(now)
            }
        };
        let left = period.saturating_sub(now.saturating_duration_since(opened));
        let usage = |count| Usage {
            count,
            allowed,
            reset: left.as_secs() + u64::from(left.subsec_nanos() > 0),
        };
        if self.count >= allowed {
            return Err(refusal(usage(self.count)));
        }
        self.count += 1;
        Ok(Some(usage(self.count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_begins_with_its_first_request_and_resets_after_its_period() {
        let at = |ms| crate::cloud::tests::at(crate::cloud::tests::now(), Duration::from_millis(ms));
        let mut window = FixedWindow::default();
        let usage = |count, reset| Usage {
            count,
            allowed: 2,
            reset,
        };
        assert_eq!(window.take(Some(2), at(0), |usage| usage), Ok(Some(usage(1, 60))));
        assert_eq!(
            window.take(Some(2), at(500), |usage| usage),
            Ok(Some(usage(2, 60)))
        );
        assert_eq!(window.take(Some(2), at(59_999), |usage| usage), Err(usage(2, 1)));
        assert_eq!(
            window.take(Some(2), at(60_000), |usage| usage),
            Ok(Some(usage(1, 60)))
        );
        assert_eq!(window.take(None, at(60_000), |usage| usage), Ok(None));
    }
}
