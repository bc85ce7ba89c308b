//! The evidence that a parent or guardian agreed for a child.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::EvidenceError;

/// The evidence that a parent or guardian agreed: their relationship, and how it was verified.
///
/// Without it a choice of a child below the age of consent switches nothing on, also if a guardian is named as the actor.
/// `Debug` does not show the reference: it may identify a person.
#[derive(Clone, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct GuardianEvidence {
    /// The relationship to the guest.
    pub relationship: Relationship,
    /// The way in which identity and relationship were verified.
    pub verification: Verification,
    /// Time of the verification in UTC, with milliseconds.
    #[serde(with = "genesys_api::timestamp")]
    pub verified_at: OffsetDateTime,
    /// The controller's reference to what it keeps of the verification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
}

impl GuardianEvidence {
    /// A verification at `verified_at`, without a reference.
    #[must_use]
    pub fn new(relationship: Relationship, verification: Verification, verified_at: OffsetDateTime) -> Self {
        Self {
            relationship,
            verification,
            verified_at: crate::consent::in_milliseconds(verified_at),
            reference: None,
        }
    }
}

impl fmt::Debug for GuardianEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardianEvidence")
            .field("relationship", &self.relationship)
            .field("verification", &self.verification)
            .field("verified_at", &self.verified_at)
            .finish_non_exhaustive()
    }
}

/// The relationship of the person who agreed to the guest.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Relationship {
    /// A legal guardian.
    Guardian,
    /// A parent.
    Parent,
}

/// The way in which a parent or guardian was verified: the methods of COPPA, 16 CFR 312.5(b)(2), and of Art. 17-2 of the
/// Korean enforcement decree. Whether one suffices is for the controller to judge.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Verification {
    /// An answer to a message to their address.
    EmailConfirmation,
    /// A document that proves their identity.
    IdentityDocument,
    /// A payment card.
    PaymentCard,
    /// A call.
    PhoneCall,
    /// A signed form.
    SignedForm,
    /// A text message to their phone.
    TextMessage,
    /// A video call.
    VideoCall,
}

/// A reference of the controller: 1 to 64 of `A-Z a-z 0-9 . _ : -`. The limit is our choice.
#[derive(Clone, Eq, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "String")]
pub struct Reference(String);

impl Reference {
    /// A reference.
    ///
    /// # Errors
    /// If it has other characters, or too many.
    pub fn new(text: impl Into<String>) -> Result<Self, EvidenceError> {
        let text = text.into();
        let is_allowed = |c: u8| c.is_ascii_alphanumeric() || b"._:-".contains(&c);
        match (1..=64).contains(&text.len()) && text.bytes().all(is_allowed) {
            true => Ok(Self(text)),
            false => Err(EvidenceError::Reference),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Reference {
    type Error = EvidenceError;

    fn try_from(text: String) -> Result<Self, EvidenceError> {
        Self::new(text)
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reference({} characters)", self.0.len())
    }
}

/// The name in JSON.
macro_rules! display_as_serialized {
    ($($name:ty),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.serialize(f)
            }
        }
    )*};
}

display_as_serialized!(Relationship, Verification);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_reference() {
        let mut evidence = GuardianEvidence::new(
            Relationship::Parent,
            Verification::PaymentCard,
            OffsetDateTime::UNIX_EPOCH,
        );
        evidence.reference = Reference::new("canary-42").ok();
        let shown = format!("{evidence:?} {:?}", evidence.reference);
        assert!(!shown.contains("canary"), "{shown}");
        assert_eq!(evidence.verification.to_string(), "payment-card");
    }

    #[test]
    fn reference_has_few_characters() {
        assert_eq!(Reference::new("case:42_a.b-c").unwrap().as_str(), "case:42_a.b-c");
        for text in ["", "a b", "é", "a@b", &"x".repeat(65)] {
            assert_eq!(Reference::new(text), Err(EvidenceError::Reference), "{text:?}");
        }
    }
}
