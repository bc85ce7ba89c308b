//! A guest's consent record and the attributes that it allows.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use time::{Date, OffsetDateTime};

use crate::{
    Attributes, Category, ChangeError, ConsentChange, ConsentRecord, ConsentUpdate, Policy, Signals,
};

/// A consent record, and attributes of which each is functional or serves a purpose that the record switches on. Sensitive
/// ones also have a category that the record switches on.
///
/// This type is the proof that the attributes may be stored and sent. Every way to make one drops the others: a
/// decision, a change of consent, a re-evaluation, and reading it back from a store.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct GuestData {
    consent: ConsentRecord,
    attributes: Attributes,
    /// The category of each attribute with sensitive data.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    sensitive: BTreeMap<String, Category>,
}

impl GuestData {
    /// The record with those attributes that it allows. `sensitive` has the names of those with sensitive data.
    pub(crate) fn new(
        consent: ConsentRecord,
        mut attributes: Attributes,
        mut sensitive: BTreeMap<String, Category>,
    ) -> Self {
        attributes.retain(|name, purpose| {
            purpose.is_none_or(|purpose| consent.purpose(purpose).is_on())
                && sensitive
                    .get(name)
                    .is_none_or(|category| consent.allows(*category))
        });
        sensitive.retain(|name, _| attributes.contains(name));
        Self {
            consent,
            attributes,
            sensitive,
        }
    }

    /// The consent record.
    #[must_use]
    pub fn consent(&self) -> &ConsentRecord {
        &self.consent
    }

    /// The category of an attribute with sensitive data.
    #[must_use]
    pub fn category(&self, attribute: &str) -> Option<Category> {
        self.sensitive.get(attribute).copied()
    }

    /// Key and value of each attribute, in the order of the keys.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes.iter()
    }

    /// The attributes, without a check against a later record.
    #[must_use]
    pub fn as_attributes(&self) -> &Attributes {
        &self.attributes
    }

    /// Changes consent. Attributes of purposes that are then off are dropped.
    ///
    /// No policy refuses a withdrawal, since withdrawing must be as easy as giving (GDPR Art. 7(3)). It ends no
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
        // attributes that a newer policy declares get their category first
        let known = self.reevaluate(policy, now);
        let known = known.as_ref().map_or(self, |update| &update.data);
        let (consent, _) = known.consent.change(change, signals, policy, now)?;
        let diffs = self.consent.diffs(&consent);
        let data = Self::new(consent, known.attributes.clone(), known.sensitive.clone());
        Ok(ConsentUpdate { data, diffs })
    }

    /// Decides again on the recorded choices, under `policy` and at `now`. Returns `None` if the record stays as it is.
    ///
    /// The result differs if the policy has another id, version or content, if it is no longer in force, or if an
    /// agreement has expired. Attributes of purposes that are then off are dropped. A purpose that was off is switched on
    /// only by a recorded grant that the policy accepts, never by a default of the policy. No session is ended.
    #[must_use]
    pub fn reevaluate(&self, policy: &Policy, now: OffsetDateTime) -> Option<ConsentUpdate> {
        let mut sensitive = self.sensitive.clone();
        let declared = self.attributes.iter().map(|(name, _)| name);
        let declared = declared.filter_map(|name| Some((name.to_owned(), policy.category(name)?)));
        sensitive.extend(declared);
        let categories = sensitive.values().copied().collect();
        let (consent, diffs) = self.consent.reevaluate(policy, now, &categories);
        let data = Self::new(consent, self.attributes.clone(), sensitive);
        (data != *self).then_some(ConsentUpdate { data, diffs })
    }

    /// The first time after `now` at which [`Self::reevaluate`] can return another decision under `policy`: an agreement
    /// expires, or the policy enters into force or ends. `None` if time alone changes nothing.
    #[must_use]
    pub fn reevaluation_due(&self, policy: &Policy, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let ends = policy.valid_until.and_then(Date::next_day);
        let dates = [Some(policy.valid_from), ends].into_iter().flatten();
        let dates = dates.map(|date| date.midnight().assume_utc());
        let expiries = self.consent.expiries(policy);
        dates.chain(expiries).filter(|at| *at > now).min()
    }
}

impl<'de> Deserialize<'de> for GuestData {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Stored {
            consent: ConsentRecord,
            attributes: Attributes,
            #[serde(default)]
            sensitive: BTreeMap<String, Category>,
        }

        let Stored {
            consent,
            attributes,
            sensitive,
        } = Stored::deserialize(deserializer)?;
        Ok(Self::new(consent, attributes, sensitive))
    }
}

#[cfg(test)]
mod tests {
    use genesys_api::parse_rfc3339;
    use proptest::prelude::*;
    use time::Duration;

    use super::*;
    use crate::Purpose;
    use crate::{Choice, Consent, Evidence, NewGuest, Reason};

    fn now() -> OffsetDateTime {
        parse_rfc3339("2026-11-22T12:30:00Z").unwrap()
    }

    /// The data of a guest in this place, with an attribute of marketing and a functional one.
    fn decided(policy: &Policy, place: &str, choices: [Choice; 3]) -> GuestData {
        let consent = Consent::together(choices, Evidence::at(now()));
        let mut guest = NewGuest::new("c".parse().unwrap(), place.parse().unwrap(), consent);
        guest.attributes.insert("marketing.segment", "gold").unwrap();
        guest.attributes.insert("source", "web").unwrap();
        guest.decide(policy, now()).unwrap().data().clone()
    }

    fn data() -> GuestData {
        decided(Policy::purpose_scoped(), "DE", [Choice::Granted; 3])
    }

    /// A policy with one rule for every place and purpose.
    fn policy(version: &str, dates: &str, rule: &str) -> Policy {
        let rules = ["elsewhere", "unknown"].map(|place| {
            format!(
                "[[rule]]\narea = \"{place}\"\nplaces = [\"{place}\"]\n\
                 purposes = [\"marketing\", \"personalization\", \"analytics\"]\n\
                 missing = \"ask\"\nsources = [\"us\"]\n{rule}\n"
            )
        });
        let text = format!(
            "id = \"mine\"\nversion = \"{version}\"\nabout = \"One rule.\"\nvalid-from = 2026-01-01\n{dates}\n\
             reviewed = 2026-11-22\nassumed-age = 18\nfunctional = {{ basis = \"contract\", sources = [\"us\"] }}\n\
             sources.us = {{ law = \"our choice\", article = \"none\", reviewed = 2026-11-22 }}\n{}",
            rules.concat()
        );
        Policy::parse(&text).unwrap()
    }

    const OPT_OUT: &str = "basis = \"opt-out\"\ndefault = \"on\"";
    const OPT_IN: &str = "basis = \"consent\"\ndefault = \"off\"";

    #[test]
    fn reevaluation_under_a_stricter_policy_drops_attributes() {
        let before = decided(&policy("1.0.0", "", OPT_OUT), "DE", [Choice::Unknown; 3]);
        assert_eq!(before.attributes().count(), 2);
        let update = before.reevaluate(&policy("2.0.0", "", OPT_IN), now()).unwrap();
        assert_eq!((update.diffs.len(), update.is_withdrawal()), (3, true));
        assert_eq!(update.data.attributes().collect::<Vec<_>>(), [("source", "web")]);
        let marketing = update.data.consent().purpose(Purpose::Marketing);
        assert_eq!(
            (marketing.choice, marketing.reason),
            (Choice::Unknown, Reason::NotGranted)
        );
        // also if the version was forgotten
        assert!(before.reevaluate(&policy("1.0.0", "", OPT_IN), now()).is_some());
    }

    #[test]
    fn refusal_without_rule_counts_under_a_later_policy() {
        let (strict, scoped) = (Policy::tutorial_strict(), Policy::purpose_scoped());
        let evidence = Evidence::at(now());
        let decided = |choice| {
            let consent = Consent::together([Choice::Granted; 3], evidence.clone());
            let consent = consent.with_sensitive(Category::Health, choice, evidence.clone());
            let mut guest = NewGuest::new("c".parse().unwrap(), "US-CA".parse().unwrap(), consent);
            guest.attributes.insert("diagnosis", "x").unwrap();
            guest.decide(strict, now()).unwrap().data().clone()
        };
        for (choice, without, with, count) in [
            (Choice::Denied, Reason::Denied, Reason::Denied, 0),
            (Choice::Granted, Reason::NoRule, Reason::Granted, 1),
        ] {
            let before = decided(choice);
            let reason = |data: &GuestData| data.consent().sensitive[&Category::Health].reason;
            assert_eq!(reason(&before), without);
            let later = before.reevaluate(scoped, now()).unwrap().data;
            assert_eq!((reason(&later), later.attributes().count()), (with, count));
            let again = later.reevaluate(strict, now()).unwrap().data;
            assert_eq!((reason(&again), again.attributes().count()), (without, 0));
            let stored = serde_json::to_vec(&again).unwrap();
            assert_eq!(serde_json::from_slice::<GuestData>(&stored).unwrap(), again);
        }
    }

    #[test]
    fn reevaluation_records_a_version_that_changes_no_purpose() {
        let before = decided(&policy("1.0.0", "", OPT_IN), "DE", [Choice::Granted; 3]);
        let update = before.reevaluate(&policy("2.0.0", "", OPT_IN), now()).unwrap();
        assert_eq!(update.diffs, []);
        assert_eq!(update.data.consent().policy_version, "2.0.0");
        assert_eq!(update.data.attributes().count(), 2);
    }

    #[test]
    fn reevaluation_switches_off_what_has_expired() {
        let mine = policy("1.0.0", "", &format!("{OPT_IN}\nmax-age-days = 30"));
        let before = decided(&mine, "DE", [Choice::Granted; 3]);
        let limit = now() + Duration::days(30);
        assert_eq!(before.reevaluate(&mine, limit), None);
        let update = before.reevaluate(&mine, limit + Duration::MILLISECOND).unwrap();
        let marketing = update.data.consent().purpose(Purpose::Marketing);
        assert_eq!(marketing.reason, Reason::Expired);
        assert_eq!(update.data.attributes().count(), 1);
    }

    #[test]
    fn renewed_policy_switches_on_only_what_was_granted() {
        let ending = policy("1.0.0", "valid-until = 2026-11-22", OPT_OUT);
        let choices = [Choice::Unknown, Choice::Granted, Choice::Denied];
        let before = decided(&ending, "DE", choices);
        let states = |data: &GuestData| Purpose::ALL.map(|purpose| data.consent().purpose(purpose).reason);
        let tomorrow = now() + Duration::days(1);
        let ended = before.reevaluate(&ending, tomorrow).unwrap().data;
        let off = Reason::PolicyNotInForce;
        assert_eq!(states(&ended), [off, off, Reason::Denied]);
        let renewed = policy("2.0.0", "", OPT_OUT);
        let again = ended.reevaluate(&renewed, tomorrow).unwrap().data;
        let expected = [Reason::NotGranted, Reason::Granted, Reason::Denied];
        assert_eq!(states(&again), expected);
        assert_eq!(again.reevaluate(&renewed, tomorrow), None);
        // a choice about another purpose does not switch it on either
        let change = ConsentChange::new(Evidence::at(tomorrow)).withdrawing(Purpose::Personalization);
        let changed = again
            .change(&change, Signals::default(), &renewed, tomorrow)
            .unwrap();
        assert_eq!(states(&changed.data)[0], Reason::NotGranted);
    }

    #[test]
    fn reevaluation_is_due_when_an_agreement_expires_or_the_policy_ends() {
        let due = |dates: &str, rule: &str, choice| {
            let policy = policy("1.0.0", dates, &format!("{OPT_IN}\n{rule}"));
            let due = decided(&policy, "DE", [choice; 3]).reevaluation_due(&policy, now());
            due.map(|due| due - now())
        };
        let (end, aged) = ("valid-until = 2026-11-25", "max-age-days = 2");
        let (granted, denied) = (Choice::Granted, Choice::Denied);
        let expiry = Duration::days(2) + Duration::NANOSECOND;
        let midnight = Duration::days(4) - Duration::minutes(750);
        assert_eq!(due("", aged, granted), Some(expiry));
        assert_eq!(due(end, aged, granted), Some(expiry));
        assert_eq!(due(end, aged, denied), Some(midnight));
        assert_eq!(due("", aged, denied), None);
        assert_eq!(due("", "", granted), None);
    }

    proptest! {
        #[test]
        fn decision_stands_until_its_reevaluation_is_due(
            choices in proptest::array::uniform3(0..3_usize),
            place in 0..5_usize,
            max_age in 1..40_u32,
            start in 0..60_i64,
            end in 0..60_i64,
            minutes in proptest::array::uniform2(0..80_000_i64),
        ) {
            let choices = choices.map(|at| [Choice::Denied, Choice::Granted, Choice::Unknown][at]);
            let place = ["DE", "US-CA", "KR", "BR", "unknown"][place];
            let day = |days| now().date() + Duration::days(days);
            let dates = format!("valid-until = {}", day(start + end));
            let text = format!("{OPT_IN}\nmax-age-days = {max_age}");
            let mut policy = policy("1.0.0", &dates, &text);
            policy.valid_from = day(start);
            let first = now() + Duration::minutes(minutes[0]);
            let before = decided(&policy, place, choices);
            let data = before.reevaluate(&policy, first).map_or(before, |update| update.data);
            let due = data.reevaluation_due(&policy, first);
            let later = first + Duration::minutes(minutes[1]);
            let latest = due.map_or(later, |due| later.min(due - Duration::NANOSECOND));
            prop_assert_eq!(data.reevaluate(&policy, latest), None, "due at {:?}", due);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        #[test]
        fn reevaluation_only_switches_on_what_was_granted(
            choices in proptest::array::uniform3(0..3_usize),
            place in 0..5_usize,
            gpc in any::<bool>(),
            days in 0..1_000_i64,
        ) {
            let choices = choices.map(|at| [Choice::Denied, Choice::Granted, Choice::Unknown][at]);
            let place = ["DE", "US-CA", "KR", "BR", "unknown"][place];
            let consent = Consent::together(choices, Evidence::at(now()));
            let mut guest = NewGuest::new("c".parse().unwrap(), place.parse().unwrap(), consent);
            guest.signals = Signals { gpc };
            for policy in Policy::all() {
                let Ok(session) = guest.clone().decide(policy, now()) else { continue };
                let json = serde_json::to_value(session.data()).unwrap();
                let before: GuestData = serde_json::from_value(json).unwrap();
                prop_assert_eq!(before.reevaluate(policy, now()), None, "the same decision");
                for other in Policy::all() {
                    let later = now() + Duration::days(days);
                    let Some(update) = before.reevaluate(other, later) else { continue };
                    prop_assert_eq!(update.data.reevaluate(other, later), None);
                    for diff in update.diffs {
                        let is_switched_on = !diff.before.is_on() && diff.after.is_on();
                        prop_assert!(!is_switched_on || diff.after.reason == Reason::Granted);
                        prop_assert_eq!(diff.before.choice, diff.after.choice);
                    }
                }
            }
        }
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
    }

    #[test]
    fn data_of_earlier_versions_is_read_and_decided_again() {
        let purpose = |on: bool, reason: &str, rest: &str| {
            let chosen = "\"chosenAt\":\"2026-11-22T12:30:00.125Z\"";
            format!(
                r#"{{"on":{on},"reason":"{reason}","rule":"purpose-scoped/US-WA/health",{chosen}{rest}}}"#
            )
        };
        let stored = |version: &str, rest: &str, more: &str| {
            let [granted, denied] = [purpose(true, "granted", rest), purpose(false, "denied", rest)];
            let text = format!(
                r#"{{"consent":{{"marketing":"denied","personalization":"granted","analytics":"granted",
                "policy":"purpose-scoped","policyVersion":"{version}","jurisdiction":"US-WA",
                "recordedAt":"2026-11-22T12:30:00.125Z","gpc":false,
                "purposes":{{"marketing":{denied},"personalization":{granted},"analytics":{granted}}}{more}"#
            );
            serde_json::from_str::<GuestData>(&text).unwrap()
        };
        let names = |data: &GuestData| {
            data.attributes()
                .map(|(name, _)| name.to_owned())
                .collect::<Vec<_>>()
        };
        // before sensitive data was a category: a category that followed from the key stood beside each value
        let attributes =
            r#"}, "attributes":{"diagnosis":["personalization","x"],"source":["functional","web"]}}"#;
        let first = stored("1.1.0", "", attributes);
        assert_eq!(names(&first), ["diagnosis", "source"]);
        let update = first.reevaluate(Policy::purpose_scoped(), now()).unwrap();
        assert_eq!(names(&update.data), ["source"], "the diagnosis is declared now");
        assert_eq!(update.data.consent().policy_version, "2.0.0");

        let health = purpose(true, "granted", r#","obligations":["ask-apart"]"#);
        let health = health.replacen('{', r#"{"choice":"granted","#, 1);
        let rest = format!(
            r#","age":30,"sensitive":{{"health":{health}}}}},
            "attributes":{{"diagnosis":"x","source":"web"}},"sensitive":{{"diagnosis":"health"}}}}"#
        );
        let second = stored("2.0.0", r#","obligations":["offer-objection"]"#, &rest);
        assert_eq!(names(&second), ["diagnosis", "source"]);
        assert_eq!(second.category("diagnosis"), Some(Category::Health));
        let again = serde_json::to_string(&second).unwrap();
        assert_eq!(serde_json::from_str::<GuestData>(&again).unwrap(), second);
        let update = second.reevaluate(Policy::purpose_scoped(), now()).unwrap();
        assert_eq!(names(&update.data), ["diagnosis", "source"]);
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
