//! Subscriptions to events.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use crate::{CustomHeaders, EventName, FieldSource, SignatureVersion, Target};

/// Longest accepted name, in characters. Our choice.
const MAX_NAME: usize = 128;

/// A subscription to events, independent of any wire format.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Subscription {
    /// Name, unique among the subscriptions of one API client.
    pub name: Name,
    /// URL of the endpoint.
    pub target: Target,
    /// Whether the subscriber enables deliveries. An endpoint that the sender disabled is recorded elsewhere.
    pub enabled: bool,
    /// Whether the events of a session are sent one after another, in their order.
    pub ordered: bool,
    /// Subscribed events.
    pub events: BTreeSet<EventName>,
    /// Conditions on the sessions whose events are sent.
    pub conditions: Conditions,
    /// The fields of an event's data that are sent, by the names that they get. Empty for all with their own names.
    pub fields: BTreeMap<String, FieldSource>,
    /// Headers added to each delivery.
    pub headers: CustomHeaders,
    /// Version of the signatures of its deliveries.
    pub signature: SignatureVersion,
}

impl Subscription {
    /// The names of the fields that differ from those of `before`, for an audit log. URLs and headers may hold secrets, so
    /// no value is returned.
    #[must_use]
    pub fn changed_fields(&self, before: &Self) -> Vec<&'static str> {
        let fields = [
            ("conditions", self.conditions != before.conditions),
            ("enabled", self.enabled != before.enabled),
            ("events", self.events != before.events),
            ("fields", self.fields != before.fields),
            ("headers", self.headers != before.headers),
            ("name", self.name != before.name),
            ("ordered", self.ordered != before.ordered),
            ("signature", self.signature != before.signature),
            ("target", self.target != before.target),
        ];
        let changed = fields.into_iter().filter(|(_, is_changed)| *is_changed);
        changed.map(|(name, _)| name).collect()
    }
}

/// Conditions on a session, all of which it has to meet when an event is sent. Without any, each session meets them.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Conditions {
    /// Codes of regions. A session has one of them, or a place in one of them. Empty for any.
    pub regions: BTreeSet<String>,
    /// Values by the name of an attribute. A session has one of the values of each.
    pub attributes: BTreeMap<String, BTreeSet<String>>,
}

impl Conditions {
    /// Whether a session meets them. `regions` are its places and those that contain them, `attribute` finds the value of an
    /// attribute that may be sent.
    pub fn are_met<'a>(
        &self,
        regions: impl IntoIterator<Item = &'a str>,
        attribute: impl Fn(&str) -> Option<&'a str>,
    ) -> bool {
        let is_there = || regions.into_iter().any(|region| self.regions.contains(region));
        let has_one_of = |(name, values): (&String, &BTreeSet<String>)| {
            attribute(name).is_some_and(|value| values.contains(value))
        };
        (self.regions.is_empty() || is_there()) && self.attributes.iter().all(has_one_of)
    }
}

/// Without the values of attributes, which may be personal.
impl fmt::Debug for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conditions")
            .field("regions", &self.regions)
            .field("attributes", &self.attributes.keys())
            .finish()
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
        if characters > MAX_NAME {
            return Err(NameError::TooLong { characters });
        }
        if text.chars().any(char::is_control) || text.trim() != text {
            return Err(NameError::Character);
        }
        Ok(Self(text.to_owned()))
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

    #[test]
    fn subscription_is_compared_in_normal_form() {
        let one = Subscription {
            name: "GuestSessionCRMSync".parse().unwrap(),
            target: "https://crm.example/sync".parse().unwrap(),
            enabled: true,
            ordered: false,
            events: [EventName::Created, EventName::Updated].into(),
            conditions: Conditions::default(),
            fields: BTreeMap::new(),
            headers: CustomHeaders::parse([("x-source", "a"), ("x-b", "c")]).unwrap(),
            signature: SignatureVersion::V1,
        };
        let same = Subscription {
            target: "https://CRM.example:443/sync".parse().unwrap(),
            events: [EventName::Updated, EventName::Created, EventName::Updated].into(),
            headers: CustomHeaders::parse([("X-B", "c"), ("X-Source", "a")]).unwrap(),
            ..one.clone()
        };
        assert_eq!(one, same);
        assert!(one.changed_fields(&same).is_empty());
        let target = "https://crm.example/sync2".parse().unwrap();
        let other = Subscription {
            target,
            enabled: false,
            ordered: true,
            ..same
        };
        assert_ne!(one, other);
        assert_eq!(one.changed_fields(&other), ["enabled", "ordered", "target"]);
    }

    #[test]
    fn session_meets_conditions_if_it_meets_each() {
        let set = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        let conditions = Conditions {
            regions: set(&["EU", "US-CA"]),
            attributes: BTreeMap::from([
                ("source".to_owned(), set(&["web", "app"])),
                ("marketing.segment".to_owned(), set(&["canary"])),
            ]),
        };
        let meets = |regions: &[&'static str], attributes: &[(&str, &'static str)]| {
            let value = |name: &str| {
                attributes
                    .iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| *value)
            };
            conditions.are_met(regions.iter().copied(), value)
        };
        let both = [("source", "app"), ("marketing.segment", "canary")];
        assert!(meets(&["FR", "EU", "EEA"], &both));
        assert!(!meets(&["US", "EEA"], &both));
        assert!(!meets(&[], &both));
        assert!(!meets(&["EU"], &both[..1]), "one is absent");
        assert!(!meets(&["EU"], &[("source", "api"), both[1]]));
        assert!(Conditions::default().are_met([], |_| None));
        assert!(!format!("{conditions:?}").contains("canary"));
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
