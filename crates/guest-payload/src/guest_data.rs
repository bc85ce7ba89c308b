//! A guest's consent record and the attributes that it allows.

use serde::{Deserialize, Deserializer, Serialize};
use time::OffsetDateTime;

use crate::{Attributes, ChangeError, ConsentChange, ConsentRecord, ConsentUpdate, Policy, Signals};

/// A consent record, and attributes of which each is functional or serves a purpose that the record switches on.
///
/// This type is the proof that the attributes may be stored and sent. Every way to make one drops the others: a
/// decision, a change of consent, and reading it back from a store.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct GuestData {
    consent: ConsentRecord,
    attributes: Attributes,
}

impl GuestData {
    /// The record with those attributes that it allows.
    pub(crate) fn new(consent: ConsentRecord, mut attributes: Attributes) -> Self {
        attributes.retain(|purpose| consent.purpose(purpose).is_on());
        Self { consent, attributes }
    }

    /// The consent record.
    #[must_use]
    pub fn consent(&self) -> &ConsentRecord {
        &self.consent
    }

    /// Key and value of each attribute, in the order of the keys.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes.iter()
    }

    /// The same consent without attributes.
    #[must_use]
    pub fn without_attributes(self) -> Self {
        Self {
            consent: self.consent,
            attributes: Attributes::default(),
        }
    }

    /// Changes consent in a live session. Attributes of purposes that are then off are dropped.
    ///
    /// A withdrawal is always accepted at once, since withdrawing must be as easy as giving (GDPR Art. 7(3)). It ends no
    /// session: it switches the purpose off. A GPC signal remains in effect. The other purposes are decided again under
    /// `policy`, which may be newer than the recorded one.
    ///
    /// A grant must not be older than the choice that it replaces, so that a repeated or delayed request cannot undo
    /// a withdrawal. Beside a withdrawal such a grant is ignored.
    ///
    /// # Errors
    /// [`ChangeError::Outdated`] if nothing is withdrawn and a grant is older than the recorded choice.
    pub fn change(
        &self,
        change: &ConsentChange,
        signals: Signals,
        policy: &Policy,
        now: OffsetDateTime,
    ) -> Result<ConsentUpdate, ChangeError> {
        let (consent, diffs) = self.consent.change(change, signals, policy, now)?;
        let data = Self::new(consent, self.attributes.clone());
        Ok(ConsentUpdate { data, diffs })
    }
}

impl<'de> Deserialize<'de> for GuestData {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Stored {
            consent: ConsentRecord,
            attributes: Attributes,
        }

        let Stored { consent, attributes } = Stored::deserialize(deserializer)?;
        Ok(Self::new(consent, attributes))
    }
}

#[cfg(test)]
mod tests {
    use genesys_api::parse_rfc3339;

    use super::*;
    use crate::{Choice, Consent, Evidence, NewGuest, Purpose};

    fn data() -> GuestData {
        let now = parse_rfc3339("2026-11-22T12:30:00Z").unwrap();
        let consent = Consent::together([Choice::Granted; 3], Evidence::at(now));
        let mut guest = NewGuest::new("c".parse().unwrap(), "DE".parse().unwrap(), consent);
        guest.attributes.insert("marketing.segment", "gold").unwrap();
        guest.attributes.insert("source", "web").unwrap();
        let session = guest.decide(Policy::purpose_scoped(), now).unwrap();
        session.data().clone()
    }

    #[test]
    fn withdrawal_drops_attributes_of_its_purpose() {
        let before = data();
        assert_eq!(before.attributes().count(), 2);
        let now = parse_rfc3339("2026-11-22T12:31:00Z").unwrap();
        let change = ConsentChange::new(Evidence::at(now)).withdrawing(Purpose::Marketing);
        let update = before
            .change(&change, Signals::default(), Policy::purpose_scoped(), now)
            .unwrap();
        assert!(update.is_withdrawal());
        assert_eq!(update.data.attributes().collect::<Vec<_>>(), [("source", "web")]);
        assert_eq!(update.data.without_attributes().attributes().count(), 0);
    }

    #[test]
    fn stored_data_is_read_back_unless_its_record_does_not_allow_it() {
        let data = data();
        let mut json = serde_json::to_value(&data).unwrap();
        assert_eq!(serde_json::from_value::<GuestData>(json.clone()).unwrap(), data);
        let marketing = &mut json["consent"]["purposes"]["marketing"];
        marketing["on"] = false.into();
        marketing["reason"] = "denied".into();
        let read: GuestData = serde_json::from_value(json).unwrap();
        assert_eq!(read.attributes().collect::<Vec<_>>(), [("source", "web")]);
    }
}
