//! What a token may be used for.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// The longest list of scopes read, in bytes. Our choice.
const LONGEST: usize = 4096;

/// A set of scope names, as in `webhooks:readwrite webmessaging:guest`.
///
/// The contract `guest-sessions` has them. Genesys Cloud does not: what its API clients may do is set by the roles
/// that they are given.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Scopes(BTreeSet<String>);

impl Scopes {
    /// Checks that all of `needed` are in this set.
    ///
    /// # Errors
    /// Those that are not.
    pub fn require(&self, needed: &Self) -> Result<(), MissingScopes> {
        let missing: BTreeSet<_> = needed.0.difference(&self.0).cloned().collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(MissingScopes {
            missing: Self(missing),
        })
    }

    /// The names, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl FromStr for Scopes {
    type Err = ScopeError;

    /// Reads names separated by spaces (RFC 6749 section 3.3). None at all is an empty set.
    fn from_str(text: &str) -> Result<Self, ScopeError> {
        if text.len() > LONGEST {
            return Err(ScopeError::TooLong { bytes: text.len() });
        }
        let odd = |byte: u8| !(byte.is_ascii_graphic() || byte == b' ') || byte == b'"' || byte == b'\\';
        match text.bytes().position(odd) {
            Some(position) => Err(ScopeError::Character { position }),
            None => Ok(Self(
                text.split(' ')
                    .filter(|name| !name.is_empty())
                    .map(str::to_owned)
                    .collect(),
            )),
        }
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, name) in self.iter().enumerate() {
            let separator = if i == 0 { "" } else { " " };
            write!(f, "{separator}{name}")?;
        }
        Ok(())
    }
}

/// The text is no list of scopes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ScopeError {
    /// A character that no scope has.
    #[error(
        "the scopes have a character at byte {position} that none may have: separate names by single spaces"
    )]
    Character {
        /// Where, in bytes from the start.
        position: usize,
    },
    /// More than 4096 bytes.
    #[error("the scopes have {bytes} bytes: at most 4096 are accepted")]
    TooLong {
        /// How long they are.
        bytes: usize,
    },
}

/// Scopes that were needed and not granted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("these scopes are not granted: {missing}; add them to the API client's configuration")]
#[non_exhaustive]
pub struct MissingScopes {
    /// Which.
    pub missing: Scopes,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(text: &str) -> Scopes {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_missing_is_named() {
        let granted = scopes("webmessaging:guest  webhooks:readwrite ");
        assert_eq!(granted.require(&scopes("webhooks:readwrite")), Ok(()));
        assert_eq!(granted.require(&Scopes::default()), Ok(()));
        let error = granted
            .require(&scopes("webmessaging:guest:write webmessaging:guest a"))
            .unwrap_err();
        assert_eq!(error.missing, scopes("a webmessaging:guest:write"));
        assert_eq!(
            error.to_string(),
            "these scopes are not granted: a webmessaging:guest:write; add them to the API client's configuration"
        );
    }

    #[test]
    fn names_have_no_odd_characters() {
        for (text, position) in [("a\tb", 1), ("a\"", 1), ("\\", 0), ("a é", 2), ("a\n", 1)] {
            assert_eq!(
                text.parse::<Scopes>(),
                Err(ScopeError::Character { position }),
                "{text:?}"
            );
        }
        assert_eq!(
            "a".repeat(4097).parse::<Scopes>(),
            Err(ScopeError::TooLong { bytes: 4097 })
        );
    }
}
