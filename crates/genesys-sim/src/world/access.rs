//! Access tokens of the API client, and how often they may be used.

use std::collections::VecDeque;

use genesys_api::Now;
use time::OffsetDateTime;

use crate::world::limits::{MINUTE, Usage, Window};

/// Most tokens alive; the oldest goes first, as at Genesys. The number is our choice.
const MOST: usize = 1_000;

#[derive(Default)]
pub(crate) struct Access {
    tokens: VecDeque<Token>,
    /// Of the one client, whatever its tokens.
    requests: Window,
}

struct Token {
    text: String,
    ends: OffsetDateTime,
    requests: Window,
}

/// Why a token opens nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum AccessRefusal {
    Expired,
    Invalid,
    /// The client asks too often.
    ClientTooOften(Usage),
    /// The token is used too often.
    TokenTooOften(Usage),
}

impl Access {
    pub(crate) fn grant(&mut self, text: String, ends: OffsetDateTime) {
        if self.tokens.len() >= MOST {
            self.tokens.pop_front();
        }
        self.tokens.push_back(Token {
            text,
            ends,
            requests: Window::default(),
        });
    }

    /// Takes one request of a token, and tells how much of the token's limit is used.
    pub(crate) fn admit(
        &mut self,
        text: &str,
        limit: Option<u32>,
        now: Now,
    ) -> Result<Option<Usage>, AccessRefusal> {
        let token = self
            .tokens
            .iter_mut()
            .find(|token| token.text == text)
            .ok_or(AccessRefusal::Invalid)?;
        if now.utc >= token.ends {
            return Err(AccessRefusal::Expired);
        }
        let usage = token
            .requests
            .take(limit, MINUTE, now.instant)
            .map_err(AccessRefusal::TokenTooOften)?;
        self.requests
            .take(limit, MINUTE, now.instant)
            .map_err(AccessRefusal::ClientTooOften)?;
        Ok(usage)
    }
}
