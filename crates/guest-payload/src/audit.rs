//! Details of audit entries about consent.

use std::collections::BTreeSet;

use crate::{
    Actor, Attributes, CollectionMethod, ConsentDiff, ConsentRecord, ConsentUpdate, GuardianEvidence,
    GuestData, PurposeRecord, Refused, Subject,
};

impl ConsentRecord {
    /// Keys and values for the audit entry of a new session: each purpose, each category of sensitive data as in
    /// `sensitive.health`, the policy, the places, and `gpc` if the guest's browser sent the signal.
    #[must_use]
    pub fn audit_details(&self) -> Vec<(String, String)> {
        let states = self.states();
        let purposes = states.map(|(subject, record)| (audit_key(subject), record.audit_detail()));
        let policy = format!("{} {}", self.policy, self.policy_version);
        purposes
            .chain([
                ("policy".to_owned(), policy),
                ("jurisdiction".to_owned(), self.jurisdictions.to_string()),
            ])
            .chain(self.gpc.then(|| ("gpc".to_owned(), "true".to_owned())))
            .collect()
    }

    /// Keys and values for the audit entry about the evidence of a parent or guardian: `purposes`, `relationship`,
    /// `verification` and `verified_at`. `None` without one. The reference is left out: it may identify a person.
    #[must_use]
    pub fn guardian_details(&self) -> Option<Vec<(String, String)>> {
        let evidence = self.states().find_map(|(_, record)| record.guardian())?;
        Some(self.details_of(evidence))
    }

    fn details_of(&self, evidence: &GuardianEvidence) -> Vec<(String, String)> {
        let covered = self
            .states()
            .filter(|(_, record)| record.guardian() == Some(evidence));
        let covered: Vec<String> = covered.map(|(subject, _)| audit_key(subject)).collect();
        vec![
            ("purposes".to_owned(), covered.join(" ")),
            ("relationship".to_owned(), evidence.relationship.to_string()),
            ("verification".to_owned(), evidence.verification.to_string()),
            (
                "verified_at".to_owned(),
                genesys_api::rfc3339(evidence.verified_at),
            ),
        ]
    }
}

/// The key of a subject in an audit entry.
fn audit_key(subject: Subject) -> String {
    match subject {
        Subject::Sensitive(category) => format!("sensitive.{category}"),
        _ => subject.to_string(),
    }
}

impl ConsentUpdate {
    /// Keys and values for the audit entry about the evidence of a parent or guardian, if the change brings one.
    #[must_use]
    pub fn guardian_details(&self) -> Option<Vec<(String, String)>> {
        let new = self.diffs.iter().find_map(|diff| {
            let after = diff.after.guardian()?;
            (diff.before.guardian() != Some(after)).then_some(after)
        })?;
        Some(self.data.consent().details_of(new))
    }

    /// Whether the change switches a purpose off.
    #[must_use]
    pub fn is_withdrawal(&self) -> bool {
        self.diffs
            .iter()
            .any(|diff| diff.before.is_on() && !diff.after.is_on())
    }

    /// Keys and values for the audit entry of the change: `before.` and the name of each purpose that differs, then
    /// those of the new record.
    #[must_use]
    pub fn audit_details(&self) -> Vec<(String, String)> {
        let before = |diff: &ConsentDiff| {
            (
                format!("before.{}", audit_key(diff.subject)),
                diff.before.audit_detail(),
            )
        };
        let mut details: Vec<(String, String)> = self.diffs.iter().map(before).collect();
        details.extend(self.data.consent().audit_details());
        details
    }
}

impl GuestData {
    /// Keys and lists for the audit entry of a disclosure of the attributes, and of the purposes that they serve,
    /// `functional` included. An attribute that needs no consent has its name. Any other is named by its purpose, as in
    /// `marketing.*`, once for each: its key is a text of the client, and may be personal. One with sensitive data is named by
    /// its category too, as in `marketing.* (health)`. No value.
    #[must_use]
    pub fn disclosure_details(&self) -> [(&'static str, Vec<String>); 2] {
        self.disclosure_details_of(|_| true)
    }

    /// As [`disclosure_details`](Self::disclosure_details), of the attributes for whose key `is_sent` returns true.
    pub fn disclosure_details_of(&self, is_sent: impl Fn(&str) -> bool) -> [(&'static str, Vec<String>); 2] {
        let sent: Vec<&str> = self
            .attributes()
            .map(|(key, _)| key)
            .filter(|key| is_sent(key))
            .collect();
        let names = sent.iter().map(|key| {
            let name = Attributes::purpose(key).map_or((*key).to_owned(), |purpose| format!("{purpose}.*"));
            match self.category(key) {
                Some(category) => format!("{name} ({category})"),
                None => name,
            }
        });
        let purposes: BTreeSet<_> = sent.iter().map(|key| Attributes::purpose(key)).collect();
        let purposes = purposes.into_iter().map(|purpose| match purpose {
            Some(purpose) => purpose.to_string(),
            None => "functional".to_owned(),
        });
        [("attributes", names.collect()), ("purposes", purposes.collect())]
    }
}

impl Refused {
    /// Keys and values for the audit entry of a refused session: the policy, the places and each missing purpose.
    #[must_use]
    pub fn audit_details(&self) -> Vec<(String, String)> {
        let mut details = vec![
            ("policy".to_owned(), self.policy.to_string()),
            ("jurisdiction".to_owned(), self.jurisdictions.to_string()),
        ];
        let missing = self.missing();
        details.extend(missing.map(|(purpose, rule)| (purpose.to_string(), format!("not granted ({rule})"))));
        details
    }
}

impl PurposeRecord {
    /// The value for an audit entry, as in `granted, on (tutorial-strict/EU/marketing), by guest, banner, notice 7 de`.
    fn audit_detail(&self) -> String {
        let switch = if self.is_on() { "on" } else { "off" };
        let rule = match &*self.rule {
            "" => "no rule",
            rule => rule,
        };
        let mut detail = format!("{}, {switch} ({rule})", self.choice);
        if let Some(evidence) = &self.evidence
            && (evidence.method != CollectionMethod::Unstated
                || evidence.actor != Actor::Guest
                || evidence.notice.is_some())
        {
            detail.push_str(&format!(", by {}, {}", evidence.actor, evidence.method));
            if let Some(notice) = &evidence.notice {
                detail.push_str(&format!(", notice {} {}", notice.version(), notice.language()));
            }
        }
        detail
    }
}

#[cfg(test)]
mod tests {
    use genesys_api::parse_rfc3339;

    use super::*;
    use crate::{
        Age, Choice, Consent, ConsentChange, Evidence, NewGuest, Notice, Policy, Purpose, Relationship,
        Signals, Verification,
    };

    fn guest(choices: [Choice; 3]) -> NewGuest {
        let when = parse_rfc3339("2026-11-22T12:30:00Z").unwrap();
        let evidence = Evidence {
            method: CollectionMethod::Banner,
            notice: Notice::new("7", "de").ok(),
            ..Evidence::at(when)
        };
        let consent = Consent::together(choices, evidence);
        NewGuest::new("c".parse().unwrap(), "DE".parse().unwrap(), consent)
    }

    #[test]
    fn change_details_name_old_and_new_state() {
        let now = parse_rfc3339("2026-11-22T12:31:00Z").unwrap();
        let policy = Policy::tutorial_strict();
        let session = guest([Choice::Granted; 3]).decide(policy, now).unwrap();
        let change = ConsentChange::new(Evidence::at(now)).withdrawing(Purpose::Marketing);
        let update = session
            .data()
            .change(&change, Signals::default(), policy, now)
            .unwrap();
        let details = update.audit_details();
        let details: Vec<(&str, &str)> = details.iter().map(|(key, value)| (&**key, &**value)).collect();
        assert_eq!(
            details,
            [
                (
                    "before.marketing",
                    "granted, on (tutorial-strict/EU/marketing), by guest, banner, notice 7 de"
                ),
                ("marketing", "denied, off (tutorial-strict/EU/marketing)"),
                (
                    "personalization",
                    "granted, on (tutorial-strict/EU/personalization), by guest, banner, notice 7 de"
                ),
                (
                    "analytics",
                    "granted, on (tutorial-strict/EU/analytics), by guest, banner, notice 7 de"
                ),
                ("policy", "tutorial-strict 1.0.0"),
                ("jurisdiction", "DE"),
            ]
        );
    }

    #[test]
    fn guardian_details_are_of_the_new_evidence() {
        let now = parse_rfc3339("2026-11-22T12:31:00Z").unwrap();
        let policy = Policy::purpose_scoped();
        let by_guardian = |verification| Evidence {
            actor: Actor::Guardian,
            guardian: Some(GuardianEvidence::new(Relationship::Parent, verification, now)),
            ..Evidence::at(now)
        };
        let change = |data: &GuestData, verification| {
            let change = ConsentChange::new(by_guardian(verification)).granting(Purpose::Analytics);
            data.change(&change, Signals::default(), policy, now).unwrap()
        };
        let details = |update: &ConsentUpdate| {
            let details = update.guardian_details().unwrap();
            let values = details.into_iter().map(|(_, value)| value);
            values.take(3).collect::<Vec<_>>()
        };
        let mut child = guest([Choice::Unknown; 3]);
        let evidence = by_guardian(Verification::PaymentCard);
        child.consent = child.consent.with(Purpose::Marketing, Choice::Granted, evidence);
        child.age = Age::at_least(12);
        let created = child.decide(policy, now).unwrap();
        let first = change(created.data(), Verification::SignedForm);
        assert_eq!(details(&first), ["analytics", "parent", "signed-form"]);
        let same = change(&first.data, Verification::SignedForm);
        assert_eq!(same.guardian_details(), None);
        let renewed = change(&first.data, Verification::VideoCall);
        assert_eq!(details(&renewed), ["analytics", "parent", "video-call"]);
    }

    #[test]
    fn disclosure_details_have_no_key_of_the_client_and_no_value() {
        let now = parse_rfc3339("2026-11-22T12:31:00Z").unwrap();
        let choices = [Choice::Denied, Choice::Granted, Choice::Granted];
        let mut guest = guest(choices);
        for name in [
            "source",
            "marketing.segment",
            "analytics.page",
            "name",
            "personalization.canary",
        ] {
            guest.attributes.insert(name, "canary").unwrap();
        }
        let decided = guest.decide(Policy::purpose_scoped(), now).unwrap();
        let [attributes, purposes] = decided.data().disclosure_details();
        assert_eq!(
            attributes,
            (
                "attributes",
                ["analytics.*", "personalization.*", "personalization.*", "source"]
                    .map(str::to_owned)
                    .to_vec()
            )
        );
        let expected = ["functional", "personalization", "analytics"];
        assert_eq!(purposes, ("purposes", expected.map(str::to_owned).to_vec()));
        let [attributes, purposes] = decided.data().disclosure_details_of(|key| key == "source");
        assert_eq!(attributes, ("attributes", vec!["source".to_owned()]));
        assert_eq!(purposes, ("purposes", vec!["functional".to_owned()]));
    }

    #[test]
    fn refusal_details_name_missing_purposes() {
        let choices = [Choice::Denied, Choice::Granted, Choice::Granted];
        let now = parse_rfc3339("2026-11-22T12:31:00Z").unwrap();
        let refused = guest(choices).decide(Policy::tutorial_strict(), now).unwrap_err();
        let details = refused.audit_details();
        let (key, value) = details.last().unwrap();
        assert_eq!(key, "marketing");
        assert_eq!(value, "not granted (tutorial-strict/EU/marketing)");
    }
}
