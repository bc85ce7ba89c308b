//! A session that may lawfully be created.

use genesys_api::{ChannelId, GuestId};

use crate::GuestData;

/// The data that creates a guest session, under either contract. Only a decision that allows the session makes one, and
/// only with the attributes that it allows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewSession {
    channel: ChannelId,
    guest: Option<GuestId>,
    data: GuestData,
}

impl NewSession {
    pub(crate) fn new(channel: ChannelId, guest: Option<GuestId>, data: GuestData) -> Self {
        Self { channel, guest, data }
    }

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
