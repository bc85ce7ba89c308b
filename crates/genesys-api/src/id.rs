//! Identifiers, one type each.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest accepted identifier, in bytes. Our choice: those of Genesys are UUIDs of 36.
const MAX_LENGTH: usize = 128;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident $what:literal;)*) => {$(
        $(#[$doc])*
        ///
        /// 1 to 128 characters of `A-Z a-z 0-9 . _ : -`, which need no encoding in a path, a header or a log line.
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                check($what, text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                check($what, &text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        #[cfg(feature = "driver")]
        impl From<uuid::Uuid> for $name {
            fn from(id: uuid::Uuid) -> Self {
                Self(id.to_string())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

ids! {
    /// The web messaging channel that a guest session belongs to (`channelConfigurationId` of `guest-sessions`).
    ChannelId "channel configuration id";
    /// A deployment of Genesys Cloud's messenger.
    DeploymentId "deployment id";
    /// A guest, named by the caller. Not a secret, and unique among live sessions.
    GuestId "guest id";
    /// A guest session of the `guest-sessions` contract. Not a secret.
    SessionId "session id";
    /// A webhook subscription.
    WebhookId "webhook id";
}

fn check(what: &'static str, text: &str) -> Result<(), IdError> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c);
    let reason = if text.is_empty() {
        "it is empty, give 1 to 128 characters, or omit it to get a new one".to_owned()
    } else if text.len() > MAX_LENGTH {
        format!("{} bytes, at most {MAX_LENGTH} are allowed", text.len())
    } else if let Some(position) = text.find(|c| !is_allowed(c)) {
        format!("the character at byte {position} is not one of A-Z a-z 0-9 . _ : -")
    } else {
        return Ok(());
    };
    Err(IdError { what, reason })
}

/// An invalid identifier. The message does not repeat it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("invalid {what}: {reason}")]
pub struct IdError {
    what: &'static str,
    reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_is_1_to_128_allowed_characters() {
        assert!(
            "b3c2a0de-1111-4222-8333-444455556666"
                .parse::<DeploymentId>()
                .is_ok()
        );
        assert!("x".repeat(128).parse::<GuestId>().is_ok());
        let error = |text: &str| text.parse::<GuestId>().unwrap_err().to_string();
        assert_eq!(
            error(&"x".repeat(129)),
            "invalid guest id: 129 bytes, at most 128 are allowed"
        );
        assert!(error("").starts_with("invalid guest id: it is empty"));
        for (text, position) in [("a\nb", 1), ("../x", 2), ("é", 0), ("a b", 1), ("a?b", 1)] {
            let expected = format!("the character at byte {position} is not");
            assert!(error(text).contains(&expected), "{text:?}");
        }
    }

    #[test]
    fn id_from_json_is_checked() {
        assert!(serde_json::from_str::<GuestId>("\"a b\"").is_err());
        assert_eq!(
            serde_json::to_string(&"g-1".parse::<GuestId>().unwrap()).unwrap(),
            "\"g-1\""
        );
    }
}
