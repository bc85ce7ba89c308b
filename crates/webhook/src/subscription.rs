//! Subscriptions to events.

use std::fmt;
use std::str::FromStr;

use ring::digest;

use crate::{CustomHeaders, EventSet, Target};

/// Longest accepted name, in characters. Our choice.
const MAX_CHARACTERS: usize = 128;

/// A subscription to events, independent of any wire format.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Subscription {
    /// Name, unique among the subscriptions of one API client.
    pub name: Name,
    /// URL of the endpoint.
    pub target: Target,
    /// Whether the subscriber wants deliveries. An endpoint that the sender disabled is recorded elsewhere.
    pub enabled: bool,
    /// Subscribed events.
    pub events: EventSet,
    /// Headers added to each delivery.
    pub headers: CustomHeaders,
}

impl Subscription {
    /// Whether `other` is equal apart from its name, so that registering it again changes nothing.
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        self.target == other.target
            && self.enabled == other.enabled
            && self.events == other.events
            && self.headers == other.headers
    }

    /// SHA-256 over all fields except the name.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        let mut field = |text: &str| {
            context.update(&(text.len() as u64).to_be_bytes());
            context.update(text.as_bytes());
        };
        field("guest-suite subscription 1");
        field(self.target.as_str());
        field(if self.enabled { "enabled" } else { "disabled" });
        field(&self.events.iter().count().to_string());
        self.events.iter().for_each(|event| field(event.as_str()));
        for (name, value) in self.headers.iter() {
            field(name);
            field(value);
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.finish().as_ref());
        bytes
    }
}

/// Name of a subscription: 1 to 128 characters, no control characters, no space at either end.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Name(String);

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        let characters = text.chars().count();
        if characters > MAX_CHARACTERS {
            return Err(NameError::TooLong { characters });
        }
        if text.chars().any(char::is_control) || text.trim() != text {
            return Err(NameError::Character);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An invalid name of a subscription.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// A control character, or a space at either end.
    #[error("invalid name: it contains a control character, or begins or ends with a space")]
    Character,
    /// An empty name.
    #[error("invalid name: it is empty")]
    Empty,
    /// More than 128 characters.
    #[error("invalid name: {characters} characters, at most 128 are allowed")]
    TooLong {
        /// Length in characters.
        characters: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EventName;

    fn subscription() -> Subscription {
        Subscription {
            name: "GuestSessionCRMSync".parse().unwrap(),
            target: "https://crm.example/sync".parse().unwrap(),
            enabled: true,
            events: [EventName::Created, EventName::Updated].into_iter().collect(),
            headers: CustomHeaders::parse([("x-source", "a"), ("x-b", "c")]).unwrap(),
        }
    }

    #[test]
    fn digest_is_equal_for_same_content_only() {
        let one = subscription();
        let same = Subscription {
            name: "other".parse().unwrap(),
            target: "https://CRM.example:443/sync".parse().unwrap(),
            headers: CustomHeaders::parse([("X-B", "c"), ("X-Source", "a")]).unwrap(),
            ..one.clone()
        };
        assert!(one.same_content(&same));
        assert_eq!(one.digest(), same.digest());
        for other in [
            Subscription {
                enabled: false,
                ..one.clone()
            },
            Subscription {
                target: "https://crm.example/sync2".parse().unwrap(),
                ..one.clone()
            },
            Subscription {
                events: [EventName::Created].into_iter().collect(),
                ..one.clone()
            },
            Subscription {
                headers: CustomHeaders::default(),
                ..one.clone()
            },
            Subscription {
                headers: CustomHeaders::parse([("x-source", "a"), ("x-bc", "")]).unwrap(),
                ..one.clone()
            },
        ] {
            assert!(!one.same_content(&other));
            assert_ne!(one.digest(), other.digest());
        }
    }

    #[test]
    fn name_rejects_control_characters_and_outer_spaces() {
        assert!("Gäste → CRM".parse::<Name>().is_ok());
        assert_eq!("".parse::<Name>(), Err(NameError::Empty));
        assert_eq!(
            "é".repeat(129).parse::<Name>(),
            Err(NameError::TooLong { characters: 129 })
        );
        for text in ["a\nb", " a", "a ", " "] {
            assert_eq!(text.parse::<Name>(), Err(NameError::Character), "{text:?}");
        }
    }
}
