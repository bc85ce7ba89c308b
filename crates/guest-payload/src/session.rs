//! A session that may lawfully be created.

use genesys_api::{ChannelId, GuestId};

use crate::{Attributes, ConsentRecord, Decision, LawfulAttributes, Refused};

/// What is needed to create a guest session, under either contract. It exists only with a decision that allows it,
/// and holds only the attributes that the decision lets pass.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewSession {
    channel: ChannelId,
    guest: GuestId,
    consent: ConsentRecord,
    attributes: LawfulAttributes,
}

impl NewSession {
    /// A session of `guest`, if the decision allows it. Attributes of purposes that are off are dropped here.
    ///
    /// # Errors
    /// The refusal, if that is what was decided.
    pub fn new<'p>(
        channel: ChannelId,
        guest: GuestId,
        decision: Decision<'p>,
        attributes: Attributes,
    ) -> Result<Self, Refused<'p>> {
        let allowed = decision.into_result()?;
        Ok(Self {
            channel,
            guest,
            consent: allowed.record(),
            attributes: allowed.filter(attributes),
        })
    }

    /// The channel that the session belongs to.
    #[must_use]
    pub fn channel(&self) -> &ChannelId {
        &self.channel
    }

    /// Who the guest is, as the caller names them.
    #[must_use]
    pub fn guest(&self) -> &GuestId {
        &self.guest
    }

    /// What was decided, for storage. Its places are those of the decision.
    #[must_use]
    pub fn consent(&self) -> &ConsentRecord {
        &self.consent
    }

    /// What may be known of the guest.
    #[must_use]
    pub fn attributes(&self) -> &LawfulAttributes {
        &self.attributes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Age, Choice, Consent, Evidence, Policy, Purpose, Request, Signals};

    fn attributes() -> Attributes {
        let mut attributes = Attributes::new();
        for (key, value) in [
            ("source", "web"),
            ("marketing.segment", "gold"),
            ("analytics.page", "/checkout"),
            ("name", "Ada"),
        ] {
            attributes.insert(key, value).unwrap();
        }
        attributes
    }

    fn decide(policy: &'static Policy, marketing: Choice) -> Decision<'static> {
        let now = genesys_api::parse_rfc3339("2026-11-22T12:30:00Z").unwrap();
        policy.decide(&Request {
            jurisdictions: &["DE".parse().unwrap()],
            age: Age::UNKNOWN,
            signals: Signals::default(),
            consent: &Consent::together([marketing, Choice::Denied, Choice::Granted], Evidence::at(now)),
            now,
        })
    }

    #[test]
    fn there_is_no_session_without_a_decision_that_allows_it() {
        let decision = decide(Policy::tutorial_strict(), Choice::Granted);
        let refused = NewSession::new(
            "channel".parse().unwrap(),
            "guest".parse().unwrap(),
            decision,
            attributes(),
        )
        .unwrap_err();
        assert_eq!(
            refused.missing().collect::<Vec<_>>(),
            [(Purpose::Personalization, "tutorial-strict/EU/personalization")]
        );
    }

    #[test]
    fn what_was_refused_does_not_reach_the_session() {
        let decision = decide(Policy::purpose_scoped(), Choice::Unknown);
        let session = NewSession::new(
            "channel".parse().unwrap(),
            "guest".parse().unwrap(),
            decision,
            attributes(),
        )
        .unwrap();
        let kept: Vec<_> = session.attributes().iter().collect();
        assert_eq!(kept, [("analytics.page", "/checkout"), ("source", "web")]);
        assert_eq!(
            session.consent().purpose(Purpose::Marketing).choice,
            Choice::Unknown
        );
    }
}
