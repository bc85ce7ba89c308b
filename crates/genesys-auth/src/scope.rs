//! Scopes of an access token.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Longest accepted list of scopes, in bytes. Our choice.
const MAX_LENGTH: usize = 4096;

/// A set of scope names, as in `webhooks:readwrite webmessaging:guest`.
///
/// The contract `guest-sessions` has scopes. Genesys Cloud has none for API clients: their roles decide.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Scopes(BTreeSet<String>);

impl Scopes {
    /// Checks that all of `needed` are in this set.
    ///
    /// # Errors
    /// The scopes that are not.
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

    /// Parses names separated by spaces (RFC 6749 section 3.3). An empty text is an empty set.
    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let is_valid = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
        if text.len() > MAX_LENGTH || !text.bytes().all(is_valid) {
            return Err(ScopeError);
        }
        let names = text.split(' ').filter(|name| !name.is_empty());
        Ok(Self(names.map(str::to_owned).collect()))
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

/// An invalid list of scopes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "invalid scopes: give at most 4096 visible ASCII characters, names separated by spaces, no quotes and backslashes"
)]
pub struct ScopeError;

/// Scopes that are needed and not granted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("invalid access token: missing scopes {missing}, add them to the API client's configuration")]
#[non_exhaustive]
pub struct MissingScopes {
    /// The missing scopes.
    pub missing: Scopes,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(text: &str) -> Scopes {
        text.parse().unwrap()
    }

    #[test]
    fn missing_scopes_are_named() {
        let granted = scopes("webmessaging:guest  webhooks:readwrite ");
        assert_eq!(granted.require(&scopes("webhooks:readwrite")), Ok(()));
        assert_eq!(granted.require(&Scopes::default()), Ok(()));
        let error = granted
            .require(&scopes("webmessaging:guest:write webmessaging:guest a"))
            .unwrap_err();
        assert_eq!(error.missing, scopes("a webmessaging:guest:write"));
        assert_eq!(
            error.to_string(),
            "invalid access token: missing scopes a webmessaging:guest:write, add them to the API client's configuration"
        );
    }

    #[test]
    fn scopes_reject_invalid_characters() {
        for text in ["a\tb", "a\"", "\\", "a é", "a\n", &"a".repeat(4097)] {
            assert_eq!(text.parse::<Scopes>(), Err(ScopeError), "{text:?}");
        }
    }
}
