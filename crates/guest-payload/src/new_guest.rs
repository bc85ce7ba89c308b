//! A guest who requests a session, and a session that may lawfully be created.

use std::collections::BTreeMap;

use genesys_api::{ChannelId, GuestId};
use time::OffsetDateTime;

use crate::{
    Age, AttributeWarning, Attributes, Category, Consent, DecisionInput, GuestData, Jurisdictions, Policy,
    Refused, Signals,
};

/// A guest who gets a session if the policy allows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewGuest {
    /// The channel that the session belongs to.
    pub channel: ChannelId,
    /// The guest's id. The service assigns one if it is absent.
    pub guest: Option<GuestId>,
    /// Every place whose rules may apply. The most protective wins; none at all takes the policy's strictest rules.
    pub jurisdictions: Jurisdictions,
    /// The guest's age.
    pub age: Age,
    /// The guest's choices, with their evidence.
    pub consent: Consent,
    /// Opt-out signals of the guest's browser.
    pub signals: Signals,
    /// Attributes of the guest, not yet filtered.
    pub attributes: Attributes,
}

impl NewGuest {
    /// A guest of whom nothing else is known. Every field can be set.
    #[must_use]
    pub fn new(channel: ChannelId, jurisdictions: Jurisdictions, consent: Consent) -> Self {
        Self {
            channel,
            guest: None,
            jurisdictions,
            age: Age::UNKNOWN,
            consent,
            signals: Signals::default(),
            attributes: Attributes::default(),
        }
    }

    /// The input of a decision about this guest.
    fn decision_input(&self, now: OffsetDateTime) -> DecisionInput<'_> {
        DecisionInput {
            jurisdictions: &self.jurisdictions,
            age: self.age,
            signals: self.signals,
            consent: &self.consent,
            now,
        }
    }

    /// Decides under `policy`, and returns the session if it is allowed. Attributes of purposes that are off are
    /// dropped, and those that the policy declares sensitive unless their category is on.
    ///
    /// # Errors
    /// The refusal, if the policy demands an agreement that the guest has not given.
    pub fn decide(self, policy: &Policy, now: OffsetDateTime) -> Result<NewSession, Refused> {
        let allowed = policy.decide(&self.decision_input(now))?;
        let names = self.attributes.iter().map(|(name, _)| name);
        let sensitive: BTreeMap<String, Category> = names
            .filter_map(|name| Some((name.to_owned(), policy.category(name)?)))
            .collect();
        let record = allowed.record_with(|category| sensitive.values().any(|other| other == category));
        let warnings = policy.warnings(&self.attributes);
        Ok(NewSession {
            channel: self.channel,
            guest: self.guest,
            data: GuestData::new(record, self.attributes, sensitive),
            warnings,
        })
    }
}

/// The data that creates a guest session, under either contract. Only a decision that allows the session makes one, and
/// only with the attributes that it allows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewSession {
    channel: ChannelId,
    guest: Option<GuestId>,
    data: GuestData,
    warnings: Vec<AttributeWarning>,
}

impl NewSession {
    /// The channel that the session belongs to.
    #[must_use]
    pub fn channel(&self) -> &ChannelId {
        &self.channel
    }

    /// The guest's id, if the caller gave one.
    #[must_use]
    pub fn guest(&self) -> Option<&GuestId> {
        self.guest.as_ref()
    }

    /// The consent record, and the attributes that it allows.
    #[must_use]
    pub fn data(&self) -> &GuestData {
        &self.data
    }

    /// Attributes of the guest whose names suggest sensitive data that the policy does not declare. Dropped ones are among
    /// them.
    #[must_use]
    pub fn warnings(&self) -> &[AttributeWarning] {
        &self.warnings
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use crate::{Choice, Consent, Evidence, NewGuest, Policy, Purpose};

    fn guest(marketing: Choice) -> NewGuest {
        let consent = Consent::together([marketing, Choice::Denied, Choice::Granted], Evidence::at(now()));
        let mut guest = NewGuest::new("channel".parse().unwrap(), "DE".parse().unwrap(), consent);
        for (key, value) in [
            ("source", "web"),
            ("marketing.segment", "gold"),
            ("analytics.page", "/checkout"),
            ("name", "Ada"),
        ] {
            guest.attributes.insert(key, value).unwrap();
        }
        guest
    }

    fn now() -> OffsetDateTime {
        genesys_api::parse_rfc3339("2026-11-22T12:30:00Z").unwrap()
    }

    #[test]
    fn session_requires_allowing_decision() {
        let guest = guest(Choice::Granted);
        let refused = guest.decide(Policy::tutorial_strict(), now()).unwrap_err();
        assert_eq!(
            refused.missing().collect::<Vec<_>>(),
            [(Purpose::Personalization, "tutorial-strict/EU/personalization")]
        );
    }

    #[test]
    fn session_has_no_attributes_of_refused_purposes() {
        let session = guest(Choice::Unknown)
            .decide(Policy::purpose_scoped(), now())
            .unwrap();
        let kept: Vec<_> = session.data().attributes().collect();
        assert_eq!(kept, [("analytics.page", "/checkout"), ("source", "web")]);
        assert_eq!(
            session.data().consent().purpose(Purpose::Marketing).choice,
            Choice::Unknown
        );
    }
}
