//! A guest who asks for a session.

use genesys_api::{ChannelId, GuestId};
use time::OffsetDateTime;

use crate::{
    Age, Attributes, Consent, DecisionInput, GuestData, Jurisdictions, NewSession, Policy, Refused, Signals,
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
            attributes: Attributes::new(),
        }
    }

    /// The input of a decision about this guest.
    #[must_use]
    pub fn decision_input(&self, now: OffsetDateTime) -> DecisionInput<'_> {
        DecisionInput {
            jurisdictions: &self.jurisdictions,
            age: self.age,
            signals: self.signals,
            consent: &self.consent,
            now,
        }
    }

    /// Decides under `policy`, and returns the session if it is allowed. Attributes of purposes that are off are
    /// dropped.
    ///
    /// # Errors
    /// The refusal, if the policy demands an agreement that the guest has not given.
    pub fn decide(self, policy: &Policy, now: OffsetDateTime) -> Result<NewSession, Refused<'_>> {
        let allowed = policy.decide(&self.decision_input(now))?;
        let data = GuestData::new(allowed.record(), self.attributes);
        Ok(NewSession::new(self.channel, self.guest, data))
    }
}
