//! Access tokens of the API client, and their rate limits.

use std::collections::VecDeque;

use genesys_api::Now;
use time::OffsetDateTime;

use crate::cloud::{FixedWindow, LimitKey, Problem, Usage};

/// Limit of live tokens; the oldest is dropped first, as at Genesys. The number is our choice.
const MAX_TOKENS: usize = 1_000;

#[derive(Default)]
pub(crate) struct AccessTokens {
    tokens: VecDeque<AccessToken>,
    /// Requests of the one client, with any token.
    requests: FixedWindow,
}

struct AccessToken {
    text: String,
    expires: OffsetDateTime,
    requests: FixedWindow,
}

impl AccessTokens {
    pub(crate) fn insert(&mut self, text: String, expires: OffsetDateTime) {
        if self.tokens.len() >= MAX_TOKENS {
            self.tokens.pop_front();
        }
        self.tokens.push_back(AccessToken {
            text,
            expires,
            requests: FixedWindow::default(),
        });
    }

    pub(crate) fn admit(
        &mut self,
        text: &str,
        limit: Option<u32>,
        now: Now,
    ) -> Result<Option<Usage>, Problem> {
        let token = self.tokens.iter_mut().find(|token| token.text == text);
        let token = token.ok_or(Problem::BAD_CREDENTIALS)?;
        if now.utc >= token.expires {
            return Err(Problem::CREDENTIALS_EXPIRED);
        }
        let requests = &mut token.requests;
        let usage = requests.take(limit, now, Problem::too_many(LimitKey::ACCESS_TOKEN))?;
        let client = &mut self.requests;
        client.take(limit, now, Problem::too_many(LimitKey::CLIENT))?;
        Ok(usage)
    }
}
