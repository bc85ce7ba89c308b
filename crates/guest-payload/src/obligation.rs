//! Obligations beside applying a decision.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duty of the operator under a rule or its result.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Obligation {
    /// Ask the guest: the purpose is off until they answer.
    Ask,
    /// Ask the guest again: the agreement is too old.
    AskAgain,
    /// Ask separately from everything else.
    #[serde(rename = "ask-apart")]
    AskSeparately,
    /// Have the guest confirm from their address (double opt-in).
    #[serde(rename = "ask-twice")]
    DoubleOptIn,
    /// Ask a parent or guardian.
    AskGuardian,
    /// Let a person review automated decisions at the guest's request.
    HumanReview,
    /// Show an easy way to object.
    OfferObjection,
    /// Show a way to withdraw that is as easy as agreeing was.
    OfferWithdrawal,
    /// Replace the policy: it is not in force today.
    ReplacePolicy,
    /// Inform the guest before the socket opens.
    #[serde(rename = "tell-first")]
    InformFirst,
}

impl Obligation {
    /// Every obligation.
    pub const ALL: [Self; 10] = [
        Self::Ask,
        Self::AskAgain,
        Self::AskSeparately,
        Self::DoubleOptIn,
        Self::AskGuardian,
        Self::HumanReview,
        Self::OfferObjection,
        Self::OfferWithdrawal,
        Self::ReplacePolicy,
        Self::InformFirst,
    ];

    /// The duty in words, as in `ask the guest`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ask => "ask the guest",
            Self::AskAgain => "ask the guest again",
            Self::AskSeparately => "ask for it apart from everything else",
            Self::DoubleOptIn => "have the guest confirm it from their address",
            Self::AskGuardian => "ask a parent or guardian",
            Self::HumanReview => "let a person review automated decisions on request",
            Self::OfferObjection => "show an easy way to object",
            Self::OfferWithdrawal => "show a way to withdraw that is as easy as agreeing was",
            Self::ReplacePolicy => "replace the policy, which is not in force",
            Self::InformFirst => "tell the guest before the socket opens",
        }
    }
}

/// A set of obligations, without allocation.
#[derive(Clone, Copy, Default, Eq, PartialEq)]
pub struct Obligations(u16);

impl Obligations {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// The set of these obligations.
    #[must_use]
    pub const fn of(all: &[Obligation]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < all.len() {
            bits |= 1 << all[at] as u16;
            at += 1;
        }
        Self(bits)
    }

    /// The union of both sets.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Each obligation.
    pub fn iter(self) -> impl Iterator<Item = Obligation> {
        Obligation::ALL
            .into_iter()
            .filter(move |obligation| self.0 & (1 << *obligation as u16) != 0)
    }
}

/// A list of names, as in `["tell-first"]`.
impl Serialize for Obligations {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Obligations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::of(&Vec::<Obligation>::deserialize(deserializer)?))
    }
}

impl fmt::Debug for Obligations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_contains_its_obligations() {
        let set = Obligations::of(&[Obligation::InformFirst, Obligation::Ask]);
        let more = set.and(Obligations::of(&[Obligation::AskSeparately]));
        assert_eq!(
            more.iter().collect::<Vec<_>>(),
            [
                Obligation::Ask,
                Obligation::AskSeparately,
                Obligation::InformFirst
            ]
        );
        assert_eq!(
            Obligations::of(&Obligation::ALL).iter().count(),
            Obligation::ALL.len()
        );
        assert_eq!(Obligations::NONE.iter().count(), 0);
    }
}
