//! The secrets of one token, valid as a whole.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

/// The longest token accepted, in bytes. Our choice; those of Genesys have some hundreds.
const LONGEST: usize = 8 * 1024;

/// The longest lifetime counted, in seconds: ten years. Our choice; it keeps arithmetic within what a clock can hold.
const LONGEST_LIFETIME: Duration = Duration::from_secs(10 * 365 * 86_400);

/// An access token, what renews it, and how long it lives. Replaced as a whole, never in part.
#[derive(Clone, Debug)]
pub struct Tokens {
    access: SecretString,
    refresh: Option<SecretString>,
    lifetime: Duration,
}

impl Tokens {
    /// Takes over what a service issued. `lifetime` counts from when the request was sent, and ten years at most.
    ///
    /// # Errors
    /// If a token is empty, longer than 8 KiB, or has characters that no header can carry, or if it does not live at
    /// all.
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
        Ok(Self {
            access,
            refresh,
            lifetime: lifetime.min(LONGEST_LIFETIME),
        })
    }

    /// What calls and handshakes carry.
    #[must_use]
    pub fn access(&self) -> &SecretString {
        &self.access
    }

    /// What a renewal presents, if it presents anything.
    #[must_use]
    pub fn refresh(&self) -> Option<&SecretString> {
        self.refresh.as_ref()
    }

    /// How long the access token lives, from when it was asked for.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }
}

/// What a service issued is no token.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TokensError {
    /// A character outside visible ASCII (RFC 6749 appendix A.12).
    #[error("the {which} token has a character at byte {position} that no header can carry")]
    Character {
        /// Which token.
        which: &'static str,
        /// Where, in bytes from the start.
        position: usize,
    },
    /// Nothing.
    #[error("the {which} token is empty")]
    Empty {
        /// Which token.
        which: &'static str,
    },
    /// It ended before it began.
    #[error("the token has no time to live: check that the clocks of this machine and of the service agree")]
    Expired,
    /// More than 8 KiB.
    #[error("the {which} token has {bytes} bytes: at most 8192 are accepted")]
    TooLong {
        /// Which token.
        which: &'static str,
        /// How long it is.
        bytes: usize,
    },
}

fn check(which: &'static str, token: &SecretString) -> Result<(), TokensError> {
    let text = token.expose_secret();
    if text.is_empty() {
        return Err(TokensError::Empty { which });
    }
    if text.len() > LONGEST {
        return Err(TokensError::TooLong {
            which,
            bytes: text.len(),
        });
    }
    match text.bytes().position(|byte| !byte.is_ascii_graphic()) {
        Some(position) => Err(TokensError::Character { which, position }),
        None => Ok(()),
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

    /// Tokens numbered `n`, as a service of the tests issues them.
    pub(crate) fn issue(n: u64, lifetime: Duration) -> Tokens {
        Tokens::new(
            format!("access-{n}").into(),
            Some(format!("refresh-{n}").into()),
            lifetime,
        )
        .unwrap()
    }

    #[test]
    fn only_a_whole_token_is_taken_over() {
        let minute = Duration::from_secs(60);
        let parse = |access: &str, refresh: Option<&str>, lifetime| {
            Tokens::new(access.into(), refresh.map(Into::into), lifetime).err()
        };
        assert_eq!(parse("a", None, minute), None);
        assert_eq!(
            parse("", None, minute),
            Some(TokensError::Empty { which: "access" })
        );
        assert_eq!(
            parse("a", Some(""), minute),
            Some(TokensError::Empty { which: "refresh" })
        );
        assert_eq!(
            parse("a\r\nx: y", None, minute),
            Some(TokensError::Character {
                which: "access",
                position: 1
            })
        );
        assert_eq!(
            parse(&"a".repeat(8193), None, minute),
            Some(TokensError::TooLong {
                which: "access",
                bytes: 8193
            })
        );
        assert_eq!(parse("a", None, Duration::ZERO), Some(TokensError::Expired));
        assert_eq!(
            Tokens::new("a".into(), None, Duration::MAX).unwrap().lifetime(),
            LONGEST_LIFETIME
        );
    }

    #[test]
    fn a_token_is_silent() {
        let text = format!("{:?}", issue(7, Duration::from_secs(60)));
        assert!(
            !text.contains("access-7") && !text.contains("refresh-7"),
            "{text}"
        );
    }
}
