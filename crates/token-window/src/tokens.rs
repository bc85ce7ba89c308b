//! An access token with its refresh token and lifetime.

use std::sync::Arc;
use std::time::Duration;

use genesys_api::{IdempotencyKey, MAX_DURATION};
use secrecy::{ExposeSecret, SecretString};

/// Longest accepted token, in bytes. Our choice: tokens of Genesys have a few hundred.
const MAX_LENGTH: usize = 8 * 1024;

/// An access token, its refresh token if it has one, and its lifetime, with the key of the refresh that replaces them all.
/// Clones share them, so that a process has each secret once.
#[derive(Clone, Debug)]
pub struct Tokens(Arc<Issued>);

#[derive(Clone, Debug)]
struct Issued {
    access: SecretString,
    refresh: Option<SecretString>,
    lifetime: Duration,
    refresh_lifetime: Option<Duration>,
    idempotency_key: Option<IdempotencyKey>,
}

impl Tokens {
    /// Checks the tokens that a service issued. `lifetime` counts from the time at which the request was sent, and is at
    /// most ten years.
    ///
    /// # Errors
    /// If a token is empty, longer than 8 KiB or not visible ASCII, or if the lifetime is zero.
    pub fn new(
        access: SecretString,
        refresh: Option<SecretString>,
        lifetime: Duration,
    ) -> Result<Self, TokensError> {
        check("access", &access)?;
        if let Some(refresh) = &refresh {
            check("refresh", refresh)?;
        }
        if lifetime.is_zero() {
            return Err(TokensError::Expired);
        }
        Ok(Self(Arc::new(Issued {
            access,
            refresh,
            lifetime: lifetime.min(MAX_DURATION),
            refresh_lifetime: None,
            idempotency_key: None,
        })))
    }

    /// Adds the lifetime of the refresh token, at most ten years. It counts from the time at which the request was sent.
    #[must_use]
    pub fn with_refresh_lifetime(mut self, lifetime: Duration) -> Self {
        Arc::make_mut(&mut self.0).refresh_lifetime = Some(lifetime.min(MAX_DURATION));
        self
    }

    /// Adds the key of the refresh that replaces these tokens. Without it a [`RefreshDriver`](crate::RefreshDriver) makes
    /// one.
    ///
    /// Needed for tokens that are stored: a request of the last run may still arrive, and a server that rotates refresh
    /// tokens takes a second key for a theft.
    #[must_use]
    pub fn with_idempotency_key(mut self, key: IdempotencyKey) -> Self {
        Arc::make_mut(&mut self.0).idempotency_key = Some(key);
        self
    }

    /// The token for calls and handshakes.
    #[must_use]
    pub fn access(&self) -> &SecretString {
        &self.0.access
    }

    /// The token that a refresh presents, if the service issues one.
    #[must_use]
    pub fn refresh(&self) -> Option<&SecretString> {
        self.0.refresh.as_ref()
    }

    /// Lifetime of the access token, from the time at which its request was sent.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.0.lifetime
    }

    /// Lifetime of the refresh token, if it is known, from the time at which its request was sent.
    #[must_use]
    pub fn refresh_lifetime(&self) -> Option<Duration> {
        self.0.refresh_lifetime
    }

    /// The key of the refresh that replaces these tokens: the same in each attempt. Always there in the tokens of a
    /// [`TokenManager`](crate::TokenManager).
    #[must_use]
    pub fn idempotency_key(&self) -> Option<&IdempotencyKey> {
        self.0.idempotency_key.as_ref()
    }

    /// The key of the refresh that replaces these tokens, made now if there is none.
    #[cfg(feature = "client")]
    pub(crate) fn ensure_idempotency_key(&mut self) -> IdempotencyKey {
        if let Some(key) = &self.0.idempotency_key {
            return key.clone();
        }
        let key = IdempotencyKey::random();
        Arc::make_mut(&mut self.0).idempotency_key = Some(key.clone());
        key
    }

    /// Time in which a refresh succeeds and loses nothing: the shorter lifetime.
    pub(crate) fn refreshable_for(&self) -> Duration {
        let Issued {
            lifetime,
            refresh_lifetime,
            ..
        } = *self.0;
        refresh_lifetime.unwrap_or(lifetime).min(lifetime)
    }
}

/// Invalid tokens. No message contains them.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TokensError {
    /// A lifetime of zero.
    #[error(
        "invalid token: its lifetime is zero, check that the clocks of this machine and of the service agree"
    )]
    Expired,
    /// A token that is empty, longer than 8 KiB, or not visible ASCII (RFC 6749 appendix A.12).
    #[error("invalid {which} token: it is not 1 to 8192 characters of visible ASCII")]
    Malformed {
        /// `access` or `refresh`.
        which: &'static str,
    },
}

fn check(which: &'static str, token: &SecretString) -> Result<(), TokensError> {
    let text = token.expose_secret();
    if (1..=MAX_LENGTH).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(TokensError::Malformed { which })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Instant;

    use super::*;

    pub(crate) fn epoch() -> Instant {
        #[expect(
            clippy::disallowed_methods,
            reason = "an Instant can be had from nowhere else"
        )]
        Instant::now()
    }

    /// Tokens numbered `n`, as the test service issues them.
    pub(crate) fn issue(n: u64, lifetime: Duration) -> Tokens {
        Tokens::new(
            format!("access-{n}").into(),
            Some(format!("refresh-{n}").into()),
            lifetime,
        )
        .unwrap()
    }

    #[test]
    fn tokens_reject_malformed_values() {
        let minute = Duration::from_secs(60);
        let parse = |access: &str, refresh: Option<&str>, lifetime| {
            Tokens::new(access.into(), refresh.map(Into::into), lifetime).err()
        };
        assert_eq!(parse("a", None, minute), None);
        let malformed = |which| Some(TokensError::Malformed { which });
        for text in ["", "a\r\nx: y", "é", &"a".repeat(8193)] {
            assert_eq!(parse(text, None, minute), malformed("access"), "{text}");
            assert_eq!(parse("a", Some(text), minute), malformed("refresh"), "{text}");
        }
        assert_eq!(parse(&"a".repeat(8192), None, minute), None);
        assert_eq!(parse("a", None, Duration::ZERO), Some(TokensError::Expired));
        assert_eq!(
            Tokens::new("a".into(), None, Duration::MAX).unwrap().lifetime(),
            MAX_DURATION
        );
    }

    #[test]
    fn tokens_debug_is_redacted() {
        let text = format!("{:?}", issue(7, Duration::from_secs(60)));
        assert!(
            !text.contains("access-7") && !text.contains("refresh-7"),
            "{text}"
        );
    }
}
