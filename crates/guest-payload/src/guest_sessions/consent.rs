//! The `consent` object of the contract's replies, which is also how a record is stored.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;

use super::stamp;
use crate::{Choice, ConsentRecord, PurposeRecord, Reason};

/// Choices on top, for whoever only wants those; what follows from them in `purposes`.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    marketing: Choice,
    personalization: Choice,
    analytics: Choice,
    policy: String,
    policy_version: String,
    jurisdiction: String,
    #[serde(with = "stamp")]
    recorded_at: OffsetDateTime,
    gpc: bool,
    purposes: Purposes,
}

#[derive(Deserialize, Serialize)]
struct Purposes {
    marketing: State,
    personalization: State,
    analytics: State,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct State {
    on: bool,
    reason: Reason,
    rule: String,
    #[serde(with = "stamp::option", default, skip_serializing_if = "Option::is_none")]
    chosen_at: Option<OffsetDateTime>,
}

impl State {
    fn of(record: &PurposeRecord) -> Self {
        Self {
            on: record.on,
            reason: record.reason,
            rule: record.rule.clone(),
            chosen_at: record.chosen_at,
        }
    }

    fn record<E: Error>(self, choice: Choice) -> Result<PurposeRecord, E> {
        if self.on != self.reason.is_on() {
            return Err(E::custom(
                "a purpose is on for a reason to be off, or off for one to be on",
            ));
        }
        Ok(PurposeRecord {
            choice,
            on: self.on,
            reason: self.reason,
            rule: self.rule,
            chosen_at: self.chosen_at,
        })
    }
}

impl Serialize for ConsentRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let [marketing, personalization, analytics] = &self.purposes;
        Wire {
            marketing: marketing.choice,
            personalization: personalization.choice,
            analytics: analytics.choice,
            policy: self.policy.clone(),
            policy_version: self.policy_version.clone(),
            jurisdiction: self.jurisdictions.to_string(),
            recorded_at: self.recorded_at,
            gpc: self.gpc,
            purposes: Purposes {
                marketing: State::of(marketing),
                personalization: State::of(personalization),
                analytics: State::of(analytics),
            },
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ConsentRecord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        Ok(Self {
            purposes: [
                wire.purposes.marketing.record(wire.marketing)?,
                wire.purposes.personalization.record(wire.personalization)?,
                wire.purposes.analytics.record(wire.analytics)?,
            ],
            policy: wire.policy,
            policy_version: wire.policy_version,
            jurisdictions: wire.jurisdiction.parse().map_err(D::Error::custom)?,
            recorded_at: wire.recorded_at,
            gpc: wire.gpc,
        })
    }
}

#[cfg(test)]
mod tests {
    use genesys_api::parse_rfc3339;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{Consent, Evidence, Jurisdiction, Policy, Request, Signals};

    fn record(
        places: &[Jurisdiction],
        [marketing, personalization, analytics]: [Choice; 3],
        gpc: bool,
    ) -> ConsentRecord {
        Policy::purpose_scoped()
            .decide(&Request {
                jurisdictions: places,
                signals: Signals { gpc },
                consent: Consent {
                    marketing,
                    personalization,
                    analytics,
                    evidence: Evidence::at(parse_rfc3339("2026-11-22T12:30:00.123456Z").unwrap()),
                },
            })
            .into_result()
            .unwrap()
            .record()
    }

    #[test]
    fn a_record_on_the_wire() {
        let places = ["US-CA".parse().unwrap(), "CH".parse().unwrap()];
        let record = record(&places, [Choice::Granted, Choice::Denied, Choice::Unknown], true);
        assert_eq!(
            serde_json::to_value(&record).unwrap(),
            json!({
                "marketing": "granted",
                "personalization": "denied",
                "analytics": "unknown",
                "policy": "purpose-scoped",
                "policyVersion": "1.0.0",
                "jurisdiction": "US-CA,CH",
                "recordedAt": "2026-11-22T12:30:00.123Z",
                "gpc": true,
                "purposes": {
                    "marketing": {
                        "on": false,
                        "reason": "optOutSignal",
                        "rule": "purpose-scoped/US-CA/marketing",
                        "chosenAt": "2026-11-22T12:30:00.123Z"
                    },
                    "personalization": {
                        "on": false,
                        "reason": "denied",
                        "rule": "purpose-scoped/US-CA/personalization",
                        "chosenAt": "2026-11-22T12:30:00.123Z"
                    },
                    "analytics": { "on": true, "reason": "notObjected", "rule": "purpose-scoped/US-CA/analytics" }
                }
            })
        );
    }

    #[test]
    fn a_record_that_contradicts_itself_is_not_read() {
        let mut json = serde_json::to_value(record(&[], [Choice::Denied; 3], false)).unwrap();
        json["purposes"]["marketing"]["on"] = true.into();
        assert!(serde_json::from_value::<ConsentRecord>(json).is_err());
    }

    proptest! {
        #[test]
        fn a_record_survives_the_wire(
            codes in proptest::sample::subsequence(vec!["EU", "US-CA", "GB", "TV"], 0..=4),
            choices in proptest::array::uniform3(
                prop_oneof![Just(Choice::Denied), Just(Choice::Granted), Just(Choice::Unknown)]
            ),
            gpc in any::<bool>(),
        ) {
            let places: Vec<Jurisdiction> = codes.iter().map(|code| code.parse().unwrap()).collect();
            let record = record(&places, choices, gpc);
            let json = serde_json::to_string(&record).unwrap();
            prop_assert_eq!(serde_json::from_str::<ConsentRecord>(&json).unwrap(), record);
        }
    }
}
