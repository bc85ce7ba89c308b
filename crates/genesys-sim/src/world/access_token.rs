//! Access tokens of the API client, and their rate limits.

use std::collections::VecDeque;

use genesys_api::Now;
use time::OffsetDateTime;

use crate::world::limits::{LimitKey, MINUTE, Usage, Window};
use crate::world::problem::Problem;

/// Limit of live tokens; the oldest is dropped first, as at Genesys. The number is our choice.
const MAX_TOKENS: usize = 1_000;

#[derive(Default)]
pub(crate) struct AccessTokens {
    tokens: VecDeque<AccessToken>,
    /// Requests of the one client, with any token.
    requests: Window,
}

struct AccessToken {
    text: String,
    expires: OffsetDateTime,
    requests: Window,
}

impl AccessTokens {
    pub(crate) fn insert(&mut self, text: String, expires: OffsetDateTime) {
        if self.tokens.len() >= MAX_TOKENS {
            self.tokens.pop_front();
        }
        self.tokens.push_back(AccessToken {
            text,
            expires,
            requests: Window::default(),
        });
    }

    /// Counts one request of a token, and returns the usage of the token's limit.
    pub(crate) fn admit(
        &mut self,
        text: &str,
        limit: Option<u32>,
        now: Now,
    ) -> Result<Option<Usage>, Problem> {
        let mut tokens = self.tokens.iter_mut();
        let token = tokens
            .find(|token| token.text == text)
            .ok_or(Problem::BAD_CREDENTIALS)?;
        if now.utc >= token.expires {
            return Err(Problem::CREDENTIALS_EXPIRED);
        }
        let take = |window: &mut Window, key| {
            let taken = window.take(limit, MINUTE, now.instant);
            taken.map_err(Problem::too_many(key))
        };
        let usage = take(&mut token.requests, LimitKey::ACCESS_TOKEN)?;
        take(&mut self.requests, LimitKey::CLIENT)?;
        Ok(usage)
    }
}
