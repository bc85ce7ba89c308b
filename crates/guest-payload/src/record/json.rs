//! The JSON form of a consent record: choices on top, their consequences in `purposes`.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;

use genesys_api::timestamp;

use crate::{
    Actor, Age, Choice, CollectionMethod, ConsentRecord, Evidence, EvidenceError, Gpp, Notice, PurposeRecord,
    Reason,
};

impl Serialize for ConsentRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RecordObject::from(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ConsentRecord {
    /// Fails if the object contradicts itself.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        RecordObject::deserialize(deserializer)?
            .try_into()
            .map_err(D::Error::custom)
    }
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct RecordObject {
    marketing: Choice,
    personalization: Choice,
    analytics: Choice,
    policy: String,
    policy_version: String,
    jurisdiction: String,
    #[serde(with = "timestamp")]
    recorded_at: OffsetDateTime,
    gpc: bool,
    /// The least that the guest may be, in years.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    age: Option<u8>,
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
    #[serde(with = "timestamp::option", default, skip_serializing_if = "Option::is_none")]
    chosen_at: Option<OffsetDateTime>,
    #[serde(default, skip_serializing_if = "is_default")]
    how: CollectionMethod,
    #[serde(default, skip_serializing_if = "is_default")]
    actor: Actor,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    notice: Option<NoticeObject>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gpp: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct NoticeObject {
    version: String,
    language: String,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl From<&PurposeRecord> for State {
    fn from(record: &PurposeRecord) -> Self {
        let evidence = record.evidence.as_ref();
        let notice = evidence.and_then(|evidence| evidence.notice.as_ref());
        Self {
            on: record.on,
            reason: record.reason,
            rule: record.rule.clone(),
            chosen_at: record.chosen_at(),
            how: evidence.map(|evidence| evidence.method).unwrap_or_default(),
            actor: evidence.map(|evidence| evidence.actor).unwrap_or_default(),
            notice: notice.map(|notice| NoticeObject {
                version: notice.version().to_owned(),
                language: notice.language().to_owned(),
            }),
            gpp: evidence
                .and_then(|evidence| evidence.gpp.as_ref())
                .map(|gpp| gpp.as_str().to_owned()),
        }
    }
}

impl State {
    fn record(self, choice: Choice) -> Result<PurposeRecord, RecordError> {
        if self.on != self.reason.is_on() {
            return Err(RecordError::Reason);
        }
        let notice = self
            .notice
            .map(|notice| Notice::new(notice.version, notice.language))
            .transpose()?;
        let gpp = self.gpp.map(Gpp::new).transpose()?;
        Ok(PurposeRecord {
            choice,
            on: self.on,
            reason: self.reason,
            rule: self.rule,
            evidence: self.chosen_at.map(|when| {
                let mut evidence = Evidence::at(when).method(self.how).by(self.actor);
                evidence.notice = notice;
                evidence.gpp = gpp;
                evidence
            }),
        })
    }
}

impl From<&ConsentRecord> for RecordObject {
    fn from(record: &ConsentRecord) -> Self {
        let [marketing, personalization, analytics] = &record.purposes;
        Self {
            marketing: marketing.choice,
            personalization: personalization.choice,
            analytics: analytics.choice,
            policy: record.policy.clone(),
            policy_version: record.policy_version.clone(),
            jurisdiction: record.jurisdictions.to_string(),
            recorded_at: record.recorded_at,
            gpc: record.gpc,
            age: record.age.years(),
            purposes: Purposes {
                marketing: marketing.into(),
                personalization: personalization.into(),
                analytics: analytics.into(),
            },
        }
    }
}

impl TryFrom<RecordObject> for ConsentRecord {
    type Error = RecordError;

    fn try_from(wire: RecordObject) -> Result<Self, RecordError> {
        Ok(Self {
            purposes: [
                wire.purposes.marketing.record(wire.marketing)?,
                wire.purposes.personalization.record(wire.personalization)?,
                wire.purposes.analytics.record(wire.analytics)?,
            ],
            policy: wire.policy,
            policy_version: wire.policy_version,
            jurisdictions: wire.jurisdiction.parse().map_err(|_| RecordError::Jurisdiction)?,
            recorded_at: wire.recorded_at,
            gpc: wire.gpc,
            age: wire.age.map_or(Age::UNKNOWN, Age::at_least),
        })
    }
}

/// The object is not a consent record.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
enum RecordError {
    #[error("invalid evidence: {0}")]
    Evidence(EvidenceError),
    #[error("invalid jurisdiction")]
    Jurisdiction,
    #[error("contradiction: a purpose is on for a reason to be off, or off for a reason to be on")]
    Reason,
}

impl From<EvidenceError> for RecordError {
    fn from(error: EvidenceError) -> Self {
        Self::Evidence(error)
    }
}

#[cfg(test)]
mod tests {
    use genesys_api::parse_rfc3339;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{Consent, DecisionInput, Jurisdiction, Policy, Signals};

    fn from_value(json: serde_json::Value) -> Result<ConsentRecord, serde_json::Error> {
        serde_json::from_value(json)
    }

    fn record(places: &[Jurisdiction], choices: [Choice; 3], gpc: bool) -> ConsentRecord {
        let now = parse_rfc3339("2026-11-22T12:30:00.123456Z").unwrap();
        Policy::purpose_scoped()
            .decide(&DecisionInput {
                jurisdictions: places,
                age: Age::UNKNOWN,
                signals: Signals { gpc },
                consent: &Consent::together(choices, Evidence::at(now)),
                now,
            })
            .unwrap()
            .record()
    }

    #[test]
    fn record_has_its_json_form() {
        let places = ["US-CA".parse().unwrap(), "CH".parse().unwrap()];
        let record = record(&places, [Choice::Granted, Choice::Denied, Choice::Unknown], true);
        assert_eq!(
            serde_json::to_value(&record).unwrap(),
            json!({
                "marketing": "granted",
                "personalization": "denied",
                "analytics": "unknown",
                "policy": "purpose-scoped",
                "policyVersion": "1.1.0",
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
    fn record_that_contradicts_itself_is_refused() {
        let mut json = serde_json::to_value(record(&[], [Choice::Denied; 3], false)).unwrap();
        json["purposes"]["marketing"]["on"] = true.into();
        assert!(from_value(json).is_err());
    }

    #[test]
    fn record_round_trips_with_all_evidence() {
        let when = parse_rfc3339("2026-11-22T12:30:00Z").unwrap();
        let evidence = Evidence::at(when)
            .method(CollectionMethod::Banner)
            .by(Actor::Guardian)
            .notice(Notice::new("7", "fr").unwrap())
            .gpp(Gpp::new("DBABMA~CPXxRfAPXxRfAAfKABENB").unwrap());
        let record = Policy::purpose_scoped()
            .decide(&DecisionInput {
                jurisdictions: &["FR".parse().unwrap()],
                age: Age::at_least(13),
                signals: Signals::default(),
                consent: &Consent::together([Choice::Granted; 3], evidence),
                now: when,
            })
            .unwrap()
            .record();
        let json = serde_json::to_value(&record).unwrap();
        assert_eq!(json["age"], 13);
        assert_eq!(
            json["purposes"]["analytics"]["gpp"],
            "DBABMA~CPXxRfAPXxRfAAfKABENB"
        );
        assert_eq!(from_value(json.clone()).unwrap(), record);
        let mut broken = json;
        broken["purposes"]["analytics"]["notice"]["language"] = "".into();
        assert!(from_value(broken).is_err());
    }

    proptest! {
        #[test]
        fn record_round_trips(
            codes in proptest::sample::subsequence(vec!["EU", "US-CA", "GB", "TV"], 0..=4),
            choices in proptest::array::uniform3(
                prop_oneof![Just(Choice::Denied), Just(Choice::Granted), Just(Choice::Unknown)]
            ),
            gpc in any::<bool>(),
        ) {
            let places: Vec<Jurisdiction> = codes.iter().map(|code| code.parse().unwrap()).collect();
            let record = record(&places, choices, gpc);
            let json = serde_json::to_value(&record).unwrap();
            prop_assert_eq!(from_value(json).unwrap(), record);
        }
    }
}
