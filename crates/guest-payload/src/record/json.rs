//! The JSON form of a consent record: choices first, their consequences in `purposes`.

use std::collections::BTreeMap;

use genesys_api::timestamp;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::consent::is_default;
use crate::purpose::ByPurpose;
use crate::{
    Actor, Age, Category, Choice, CollectionMethod, ConsentRecord, Evidence, Gpp, GuardianEvidence, Notice,
    Obligations, PurposeRecord, Reason,
};

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RecordObject {
    #[serde(flatten)]
    choices: ByPurpose<Choice>,
    policy: String,
    policy_version: String,
    jurisdiction: String,
    #[serde(with = "timestamp")]
    recorded_at: OffsetDateTime,
    gpc: bool,
    /// The minimum age of the guest, in years.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    age: Option<u8>,
    purposes: ByPurpose<State>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    sensitive: BTreeMap<Category, SensitiveState>,
}

#[derive(Deserialize, Serialize)]
struct SensitiveState {
    choice: Choice,
    #[serde(flatten)]
    state: State,
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
    notice: Option<Notice>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gpp: Option<Gpp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    guardian: Option<GuardianEvidence>,
    /// Records of earlier versions have none.
    #[serde(default)]
    obligations: Obligations,
    #[serde(with = "timestamp::option", default, skip_serializing_if = "Option::is_none")]
    ask_again_at: Option<OffsetDateTime>,
}

impl From<PurposeRecord> for State {
    fn from(record: PurposeRecord) -> Self {
        let (on, chosen_at) = (record.is_on(), record.chosen_at());
        let evidence = record
            .evidence
            .unwrap_or_else(|| Evidence::at(OffsetDateTime::UNIX_EPOCH));
        Self {
            on,
            reason: record.reason,
            rule: record.rule,
            chosen_at,
            how: evidence.method,
            actor: evidence.actor,
            notice: evidence.notice,
            gpp: evidence.gpp,
            guardian: evidence.guardian,
            obligations: record.obligations,
            ask_again_at: record.ask_again_at,
        }
    }
}

impl State {
    fn record(self, choice: Choice) -> PurposeRecord {
        PurposeRecord {
            choice,
            reason: self.reason,
            rule: self.rule,
            evidence: self.chosen_at.map(|when| Evidence {
                method: self.how,
                actor: self.actor,
                notice: self.notice,
                gpp: self.gpp,
                guardian: self.guardian,
                ..Evidence::at(when)
            }),
            obligations: self.obligations,
            ask_again_at: self.ask_again_at,
        }
    }
}

impl From<ConsentRecord> for RecordObject {
    fn from(record: ConsentRecord) -> Self {
        Self {
            choices: record.purposes.each_ref().map(|purpose| purpose.choice).into(),
            policy: record.policy,
            policy_version: record.policy_version,
            jurisdiction: record.jurisdictions.to_string(),
            recorded_at: record.recorded_at,
            gpc: record.gpc,
            age: record.age.years(),
            purposes: record.purposes.map(State::from).into(),
            sensitive: record
                .sensitive
                .into_iter()
                .map(|(category, record)| {
                    let choice = record.choice;
                    let state = State::from(record);
                    (category, SensitiveState { choice, state })
                })
                .collect(),
        }
    }
}

impl TryFrom<RecordObject> for ConsentRecord {
    type Error = &'static str;

    /// Fails if the object contradicts itself.
    fn try_from(object: RecordObject) -> Result<Self, &'static str> {
        let [marketing, personalization, analytics] = object.choices.into();
        let states: [State; 3] = object.purposes.into();
        let sensitive = object.sensitive.values().map(|sensitive| &sensitive.state);
        if states
            .iter()
            .chain(sensitive)
            .any(|state| state.on != state.reason.is_on())
        {
            return Err(
                "invalid consent record: a purpose is on for a reason to be off, or off for a reason to be on",
            );
        }
        let [first, second, third] = states;
        Ok(Self {
            purposes: [
                first.record(marketing),
                second.record(personalization),
                third.record(analytics),
            ],
            sensitive: object
                .sensitive
                .into_iter()
                .map(|(category, SensitiveState { choice, state })| (category, state.record(choice)))
                .collect(),
            policy: object.policy,
            policy_version: object.policy_version,
            jurisdictions: object.jurisdiction.parse().map_err(|_| "invalid jurisdiction")?,
            recorded_at: object.recorded_at,
            gpc: object.gpc,
            age: object.age.map_or(Age::UNKNOWN, Age::at_least),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use genesys_api::parse_rfc3339;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{
        Consent, DecisionInput, Jurisdiction, Policy, Reference, Relationship, Signals, Verification,
    };

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
                "policyVersion": "2.0.0",
                "jurisdiction": "US-CA,CH",
                "recordedAt": "2026-11-22T12:30:00.123Z",
                "gpc": true,
                "purposes": {
                    "marketing": {
                        "on": false,
                        "reason": "optOutSignal",
                        "rule": "purpose-scoped/US-CA/marketing",
                        "chosenAt": "2026-11-22T12:30:00.123Z",
                        "obligations": ["tell-first"]
                    },
                    "personalization": {
                        "on": false,
                        "reason": "denied",
                        "rule": "purpose-scoped/US-CA/personalization",
                        "chosenAt": "2026-11-22T12:30:00.123Z",
                        "obligations": ["tell-first"]
                    },
                    "analytics": {
                        "on": true,
                        "reason": "notObjected",
                        "rule": "purpose-scoped/US-CA/analytics",
                        "obligations": ["offer-objection", "tell-first"]
                    }
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
    fn record_has_the_last_time_at_which_an_agreement_counts() {
        let (chosen_at, last) = ("2026-11-22T12:30:00.123Z", "2028-11-21T12:30:00.123Z");
        let korea = record(&["KR".parse().unwrap()], [Choice::Granted; 3], false);
        let json = serde_json::to_value(&korea).unwrap();
        let marketing = &json["purposes"]["marketing"];
        assert_eq!(
            (&marketing["chosenAt"], &marketing["askAgainAt"]),
            (&json!(chosen_at), &json!(last))
        );
        assert_eq!(json["purposes"]["analytics"].get("askAgainAt"), None);
        assert_eq!(from_value(json).unwrap(), korea);
        let last = parse_rfc3339(last).unwrap();
        for (now, reason) in [
            (last, Reason::Granted),
            (last + time::Duration::NANOSECOND, Reason::Expired),
        ] {
            let (later, _) = korea.reevaluate(Policy::purpose_scoped(), now, &BTreeSet::new());
            assert_eq!(later.purposes[0].reason, reason);
        }
        let denied = record(&["KR".parse().unwrap()], [Choice::Denied; 3], false);
        assert_eq!(denied.purposes[0].ask_again_at, None);
    }

    #[test]
    fn record_round_trips_with_all_evidence() {
        let when = parse_rfc3339("2026-11-22T12:30:00Z").unwrap();
        let mut guardian = GuardianEvidence::new(Relationship::Parent, Verification::PaymentCard, when);
        guardian.reference = Reference::new("case-42").ok();
        let evidence = Evidence {
            method: CollectionMethod::Banner,
            actor: Actor::Guardian,
            notice: Notice::new("7", "fr").ok(),
            gpp: Gpp::new("DBABMA~CPXxRfAPXxRfAAfKABENB").ok(),
            guardian: Some(guardian),
            ..Evidence::at(when)
        };
        let record = Policy::purpose_scoped()
            .decide(&DecisionInput {
                jurisdictions: &["FR".parse().unwrap()],
                age: Age::at_least(13),
                signals: Signals::default(),
                consent: &Consent::together([Choice::Granted; 3], evidence.clone()).with_sensitive(
                    Category::Health,
                    Choice::Granted,
                    evidence,
                ),
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
        assert_eq!(
            json["purposes"]["analytics"]["guardian"]["verification"],
            "payment-card"
        );
        let health = &json["sensitive"]["health"];
        assert_eq!(
            (&health["choice"], &health["on"]),
            (&json!("granted"), &json!(true))
        );
        assert_eq!(from_value(json.clone()).unwrap(), record);
        let mut contradicting = json.clone();
        contradicting["sensitive"]["health"]["on"] = false.into();
        assert!(from_value(contradicting).is_err());
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
