//! Consent records in the fields of ISO/IEC TS 27560:2023: the controller's record, and the guest's receipt.
//!
//! The specification names fields, and prescribes no encoding. Here they are JSON in `snake_case`, as in its examples
//! and in the guide of the W3C's Data Privacy Vocabularies group, from which the names were taken (the text of the
//! specification is sold and was not read). Sources of the fields:
//!
//! | field | filled by |
//! |---|---|
//! | `schema_version`, `record_id`, `pii_principal_id` | us |
//! | `purposes[]`: `purpose`, `lawful_basis`, `jurisdictions`, events | us, from the record |
//! | `privacy_notice`, `language` | us, from the evidence; where it has none, the controller's own |
//! | `pii_controllers`, `pii_processors`, `recipient_third_parties`, `authority_party` | the controller |
//! | `pii_information`, `storage_locations`, `retention_period`, `withdrawal_method`, `privacy_rights` | the controller |
//!
//! A field without a value is left out. A purpose whose choice is unknown has no event. Each category of sensitive data in
//! the record is an entry of `purposes` too, with the `purpose_type` `sensitive data`.

use genesys_api::{GuestId, rfc3339};
use serde::{Deserialize, Serialize};

use crate::{
    Actor, Basis, Choice, CollectionMethod, ConsentRecord, Gpp, GuardianEvidence, Jurisdiction, Policy,
    PurposeRecord, Reason, Subject,
};

/// The controller's part, which is configured once: parties and processing.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Controller {
    /// The controllers of the data. The specification demands at least one.
    pub pii_controllers: Vec<Party>,
    /// The processors of the data.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pii_processors: Vec<Party>,
    /// The supervisory authority for complaints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority_party: Option<Party>,
    /// Address of the privacy notice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privacy_notice: Option<String>,
    /// The language of that notice, as in `de`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Kinds of data.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pii_information: Vec<String>,
    /// Other recipients of the data.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recipient_third_parties: Vec<String>,
    /// Storage locations of the data.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub storage_locations: Vec<String>,
    /// Retention period, as in `P30D` (ISO 8601).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_period: Option<String>,
    /// Address or page for withdrawal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdrawal_method: Option<String>,
    /// The guest's rights, and where to exercise them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub privacy_rights: Vec<String>,
}

/// A party in the fields of the specification.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Party {
    /// Its identifier within the record.
    pub party_id: String,
    /// Its name.
    pub party_name: String,
    /// Its role, as in `pii controller`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub party_role: Option<String>,
    /// Its postal address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub party_address: Option<String>,
    /// Its electronic address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub party_email: Option<String>,
    /// Its page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub party_url: Option<String>,
}

/// The controller's record of a guest's choices, or the guest's receipt for them.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    schema_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt_id: Option<String>,
    record_id: String,
    pii_principal_id: String,
    purposes: Vec<PurposeEntry>,
    #[serde(flatten)]
    controller: Controller,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    /// The consent platform's string.
    #[serde(skip_serializing_if = "Option::is_none")]
    gpp: Option<Gpp>,
}

impl Record {
    /// A record with this id. Legal bases are left out unless `policy` is the one that decided.
    #[must_use]
    pub fn new(
        id: impl Into<String>,
        guest: &GuestId,
        record: &ConsentRecord,
        policy: &Policy,
        controller: &Controller,
    ) -> Self {
        let mut evidence = record.states().filter_map(|(_, state)| state.evidence.as_ref());
        Self {
            schema_version: "ISO/IEC TS 27560:2023",
            receipt_id: None,
            record_id: id.into(),
            pii_principal_id: guest.to_string(),
            purposes: record
                .states()
                .map(|(subject, state)| PurposeEntry::new(subject, state, record, policy, controller))
                .collect(),
            // each purpose has its own notice and language, since guests may have been shown different ones
            controller: Controller {
                privacy_notice: None,
                language: None,
                ..controller.clone()
            },
            policy: Some(format!("{} {}", record.policy, record.policy_version)),
            gpp: evidence.find_map(|evidence| evidence.gpp.clone()),
        }
    }

    /// The guest's receipt: without the GPP string, the evidence of a guardian and the fields that only the controller needs.
    #[must_use]
    pub fn into_receipt(mut self, id: impl Into<String>) -> Self {
        for event in self.purposes.iter_mut().flat_map(|entry| &mut entry.events) {
            event.guardian = None;
        }
        Self {
            receipt_id: Some(id.into()),
            controller: Controller {
                pii_processors: Vec::new(),
                storage_locations: Vec::new(),
                ..self.controller
            },
            policy: None,
            gpp: None,
            ..self
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct PurposeEntry {
    purpose: Subject,
    purpose_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    lawful_basis: Option<Basis>,
    collection_method: CollectionMethod,
    jurisdictions: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    privacy_notice: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    privacy_notice_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<String>,
    events: Vec<Event>,
    /// Not in the specification: the state of the purpose, its reason and its rule.
    state: State,
}

impl PurposeEntry {
    fn new(
        purpose: Subject,
        held: &PurposeRecord,
        record: &ConsentRecord,
        policy: &Policy,
        controller: &Controller,
    ) -> Self {
        let is_same = policy.id == record.policy && policy.version == record.policy_version;
        let rule = policy.rules().iter().find(|rule| is_same && rule.id == held.rule);
        let evidence = held.evidence.as_ref();
        let notice = evidence.and_then(|evidence| evidence.notice.as_ref());
        Self {
            purpose,
            purpose_type: match purpose {
                Subject::Sensitive(_) => "sensitive data",
                _ => purpose.as_str(),
            },
            lawful_basis: rule.map(|rule| rule.basis),
            collection_method: evidence.map(|evidence| evidence.method).unwrap_or_default(),
            jurisdictions: record.jurisdictions.iter().map(Jurisdiction::as_str).collect(),
            privacy_notice: controller.privacy_notice.clone(),
            privacy_notice_version: notice.map(|notice| notice.version().to_owned()),
            language: notice
                .map(|notice| notice.language().to_owned())
                .or_else(|| controller.language.clone()),
            events: Vec::from_iter(Event::of(held, rule.and_then(|rule| rule.max_age_days))),
            state: State {
                on: held.is_on(),
                reason: held.reason,
                rule: held.rule.clone(),
            },
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct State {
    on: bool,
    reason: Reason,
    rule: String,
}

#[derive(Clone, Debug, Serialize)]
struct Event {
    event_time: String,
    /// The person who acted.
    entity_id: Actor,
    /// Not in the specification: the evidence that a parent or guardian agreed.
    #[serde(skip_serializing_if = "Option::is_none")]
    guardian: Option<GuardianEvidence>,
    event_type: &'static str,
    event_state: &'static str,
    /// ISO 8601, as in `P730D`.
    #[serde(skip_serializing_if = "Option::is_none")]
    validity_duration: Option<String>,
}

impl Event {
    fn of(record: &PurposeRecord, max_age_days: Option<u32>) -> Option<Self> {
        let evidence = record.evidence.as_ref()?;
        let (event_state, days) = match record.choice {
            Choice::Granted => ("consent given", max_age_days),
            Choice::Denied => ("consent refused or withdrawn", None),
            Choice::Unknown => return None,
        };
        Some(Self {
            event_time: rfc3339(evidence.chosen_at),
            entity_id: evidence.actor,
            guardian: evidence.guardian.clone(),
            event_type: "explicit",
            event_state,
            validity_duration: days.map(|days| format!("P{days}D")),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        Age, Category, Consent, DecisionInput, Evidence, Notice, Relationship, Signals, Verification,
    };

    fn controller() -> Controller {
        serde_json::from_value(json!({
            "pii_controllers": [{ "party_id": "shop", "party_name": "Shop Ltd", "party_email": "privacy@shop.example" }],
            "pii_processors": [{ "party_id": "cloud", "party_name": "Cloud Ltd" }],
            "privacy_notice": "https://shop.example/privacy",
            "language": "en",
            "withdrawal_method": "https://shop.example/consent",
        }))
        .unwrap()
    }

    fn record() -> ConsentRecord {
        let now = genesys_api::parse_rfc3339("2026-11-22T12:30:00Z").unwrap();
        let evidence = Evidence {
            method: CollectionMethod::Banner,
            notice: Notice::new("7", "ko").ok(),
            gpp: Gpp::new("DBABMA~x").ok(),
            ..Evidence::at(now)
        };
        let consent = Consent::together([Choice::Granted, Choice::Denied, Choice::Unknown], evidence);
        Policy::purpose_scoped()
            .decide(&DecisionInput {
                jurisdictions: &["KR".parse().unwrap()],
                age: Age::UNKNOWN,
                signals: Signals::default(),
                consent: &consent,
                now,
            })
            .unwrap()
            .record()
    }

    #[test]
    fn record_has_fields_of_specification() {
        let guest = "guest-1".parse().unwrap();
        let record = Record::new("r-1", &guest, &record(), Policy::purpose_scoped(), &controller());
        let json = serde_json::to_value(&record).unwrap();
        assert_eq!(json["schema_version"], "ISO/IEC TS 27560:2023");
        assert_eq!(json["record_id"], "r-1");
        assert_eq!(json["pii_principal_id"], "guest-1");
        assert_eq!(json["pii_controllers"][0]["party_name"], "Shop Ltd");
        assert_eq!(json["gpp"], "DBABMA~x");
        assert_eq!(
            json["purposes"][0],
            json!({
                "purpose": "marketing",
                "purpose_type": "marketing",
                "lawful_basis": "consent",
                "collection_method": "banner",
                "jurisdictions": ["KR"],
                "privacy_notice": "https://shop.example/privacy",
                "privacy_notice_version": "7",
                "language": "ko",
                "events": [{
                    "event_time": "2026-11-22T12:30:00.000Z",
                    "entity_id": "guest",
                    "event_type": "explicit",
                    "event_state": "consent given",
                    "validity_duration": "P730D"
                }],
                "state": { "on": true, "reason": "granted", "rule": "purpose-scoped/KR/marketing" }
            })
        );
        assert_eq!(
            json["purposes"][1]["events"][0]["event_state"],
            "consent refused or withdrawn"
        );
        assert_eq!(json["purposes"][2]["events"], json!([]), "nothing was chosen");
        assert_eq!(json["purposes"][2]["language"], "en");
        assert!(json.get("retention_period").is_none(), "nothing is made up");
    }

    #[test]
    fn record_has_sensitive_data_and_evidence_of_guardian() {
        let now = genesys_api::parse_rfc3339("2026-11-22T12:30:00Z").unwrap();
        let guardian = GuardianEvidence::new(Relationship::Parent, Verification::PaymentCard, now);
        let evidence = Evidence {
            actor: Actor::Guardian,
            guardian: Some(guardian),
            ..Evidence::at(now)
        };
        let consent = Consent::together([Choice::Denied; 3], Evidence::at(now)).with_sensitive(
            Category::Health,
            Choice::Granted,
            evidence,
        );
        let record = Policy::purpose_scoped()
            .decide(&DecisionInput {
                jurisdictions: &["US-WA".parse().unwrap()],
                age: Age::at_least(12),
                signals: Signals::default(),
                consent: &consent,
                now,
            })
            .unwrap()
            .record();
        let guest = "guest-1".parse().unwrap();
        let record = Record::new("r-1", &guest, &record, Policy::purpose_scoped(), &controller());
        let health = &serde_json::to_value(&record).unwrap()["purposes"][3];
        assert_eq!(health["purpose"], "health");
        assert_eq!(health["purpose_type"], "sensitive data");
        assert_eq!(health["lawful_basis"], "consent");
        assert_eq!(health["state"]["rule"], "purpose-scoped/US-WA/health");
        let event = &health["events"][0];
        assert_eq!(event["entity_id"], "guardian");
        assert_eq!(event["guardian"]["verification"], "payment-card");
        let receipt = serde_json::to_value(record.into_receipt("q-1")).unwrap();
        let event = &receipt["purposes"][3]["events"][0];
        assert_eq!(event["event_state"], "consent given");
        assert!(event.get("guardian").is_none(), "{event}");
    }

    #[test]
    fn receipt_has_choices_and_withdrawal_method() {
        let guest = "guest-1".parse().unwrap();
        let record = Record::new("r-1", &guest, &record(), Policy::tutorial_strict(), &controller());
        let receipt = serde_json::to_value(record.into_receipt("q-1")).unwrap();
        assert_eq!(receipt["receipt_id"], "q-1");
        assert_eq!(receipt["record_id"], "r-1");
        assert_eq!(receipt["withdrawal_method"], "https://shop.example/consent");
        assert!(receipt.get("gpp").is_none() && receipt.get("pii_processors").is_none());
        let marketing = &receipt["purposes"][0];
        assert!(marketing.get("lawful_basis").is_none(), "another policy decided");
    }
}
