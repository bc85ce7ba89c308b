//! Access tokens of the API client, and their rate limits.

use std::collections::VecDeque;

use genesys_api::Now;
use time::OffsetDateTime;

use crate::world::denial::Denial;
use crate::world::limits::{LimitKey, MINUTE, Usage, Window};

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
    ) -> Result<Option<Usage>, Denial> {
        let mut tokens = self.tokens.iter_mut();
        let token = tokens
            .find(|token| token.text == text)
            .ok_or(Denial::BadCredentials)?;
        if now.utc >= token.expires {
            return Err(Denial::CredentialsExpired);
        }
        let usage = token
            .requests
            .take(limit, MINUTE, now.instant)
            .map_err(Denial::too_many(LimitKey::ACCESS_TOKEN))?;
        self.requests
            .take(limit, MINUTE, now.instant)
            .map_err(Denial::too_many(LimitKey::CLIENT))?;
        Ok(usage)
    }
}
