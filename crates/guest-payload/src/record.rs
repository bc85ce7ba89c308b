//! Consent records, and their changes in a live session.

mod json;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use self::json::RecordObject;
use crate::decision::PurposeState;
use crate::policy::Evaluation;
use crate::{
    Age, Category, Choice, Consent, ConsentChange, DecisionInput, Evidence, GuardianEvidence, GuestData,
    Jurisdictions, Obligations, Policy, Purpose, PurposeChoice, Reason, Signals, Subject,
};

/// A decision in a form that can be stored, sent, and evaluated again after a change.
///
/// Its JSON form is that of the `guest-sessions` contract: choices first, their consequences in `purposes`.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "RecordObject", into = "RecordObject")]
#[non_exhaustive]
pub struct ConsentRecord {
    /// State of each purpose, in the order of [`Purpose::ALL`].
    pub purposes: [PurposeRecord; 3],
    /// State of each category of sensitive data that the guest was asked about, or of which there are attributes.
    pub sensitive: BTreeMap<Category, PurposeRecord>,
    /// Id of the policy that decided, as in `tutorial-strict`.
    pub policy: String,
    /// Version of that policy.
    pub policy_version: String,
    /// Places that were considered.
    pub jurisdictions: Jurisdictions,
    /// Time of the guest's latest choice.
    pub recorded_at: OffsetDateTime,
    /// Whether the guest's browser has sent a GPC signal in this session.
    pub gpc: bool,
    /// The lowest age of the guest that a request had.
    pub age: Age,
}

impl ConsentRecord {
    /// The state of one purpose.
    #[must_use]
    pub fn purpose(&self, purpose: Purpose) -> &PurposeRecord {
        &self.purposes[purpose as usize]
    }

    /// Whether sensitive data of this category may be used.
    #[must_use]
    pub fn allows(&self, category: Category) -> bool {
        self.sensitive.get(&category).is_some_and(PurposeRecord::is_on)
    }

    /// Every state with its subject.
    pub fn states(&self) -> impl Iterator<Item = (Subject, &PurposeRecord)> {
        let purposes = Purpose::ALL.into_iter().map(Subject::from).zip(&self.purposes);
        let sensitive = self
            .sensitive
            .iter()
            .map(|(category, record)| (Subject::from(*category), record));
        purposes.chain(sensitive)
    }

    /// The record after a change, and each subject that differs from before. [`GuestData::change`] has the rules.
    ///
    /// [`GuestData::change`]: crate::GuestData::change
    pub(crate) fn change(
        &self,
        change: &ConsentChange,
        signals: Signals,
        policy: &Policy,
        now: OffsetDateTime,
    ) -> Result<(Self, Vec<ConsentDiff>), ChangeError> {
        let mut after = self.clone();
        after.gpc |= signals.gpc;
        after.age = after.age.or_lower(change.age());
        after.jurisdictions = after.jurisdictions.with(change.places());
        let named = change.sensitive().map(|(category, _)| category);
        for category in named {
            after
                .sensitive
                .entry(category)
                .or_insert_with(PurposeRecord::unasked);
        }
        let mut latest = after.recorded_at;
        for (purpose, record) in Purpose::ALL.into_iter().zip(&mut after.purposes) {
            if let Some(choice) = change.choice(purpose) {
                record.choose(purpose.into(), choice, change, &mut latest)?;
            }
        }
        for (category, record) in &mut after.sensitive {
            if let Some(choice) = change.category(*category) {
                record.choose((*category).into(), choice, change, &mut latest)?;
            }
        }
        after.recorded_at = latest;
        Ok(self.evaluated(after, policy, now))
    }

    /// The record under `policy` at `now`, with states of these categories too, and each subject that differs from before.
    pub(crate) fn reevaluate(
        &self,
        policy: &Policy,
        now: OffsetDateTime,
        categories: &BTreeSet<Category>,
    ) -> (Self, Vec<ConsentDiff>) {
        let mut after = self.clone();
        for category in categories {
            after
                .sensitive
                .entry(*category)
                .or_insert_with(PurposeRecord::unasked);
        }
        self.evaluated(after, policy, now)
    }

    /// The first times at which agreements have expired under `policy`.
    pub(crate) fn expiries(&self, policy: &Policy) -> impl Iterator<Item = OffsetDateTime> {
        let granted = self
            .states()
            .filter(|(_, record)| record.choice == Choice::Granted);
        granted.flat_map(|(subject, record)| {
            let chosen_at = record.chosen_at().unwrap_or(self.recorded_at);
            let rules = policy.rules_for(&self.jurisdictions, subject);
            rules.filter_map(move |rule| rule.expiry(chosen_at))
        })
    }

    /// Evaluates the choices of `after`, and compares its states with those of this record. Sensitive data for which the
    /// policy has no rule loses its basis. Its record stays, for a later policy.
    fn evaluated(&self, mut after: Self, policy: &Policy, now: OffsetDateTime) -> (Self, Vec<ConsentDiff>) {
        let Evaluation {
            states, sensitive, ..
        } = policy.evaluate(&DecisionInput {
            jurisdictions: &after.jurisdictions,
            age: after.age,
            signals: Signals { gpc: after.gpc },
            consent: &after.consent(),
            now,
        });
        policy.id.clone_into(&mut after.policy);
        policy.version.clone_into(&mut after.policy_version);
        for ((before, record), state) in self.purposes.iter().zip(&mut after.purposes).zip(states) {
            record.set_state(Some(before), Some(state));
        }
        let sensitive: BTreeMap<Category, PurposeState<'_>> = sensitive.into_iter().collect();
        for (category, record) in &mut after.sensitive {
            record.set_state(self.sensitive.get(category), sensitive.get(category).copied());
        }
        let diffs = self.diffs(&after);
        (after, diffs)
    }

    /// Each subject whose choice, reason, rule or guardian's evidence is another in `after`.
    pub(crate) fn diffs(&self, after: &Self) -> Vec<ConsentDiff> {
        let subjects: BTreeSet<Subject> = self
            .states()
            .chain(after.states())
            .map(|(subject, _)| subject)
            .collect();
        let diff = |subject| {
            let unasked = PurposeRecord::unasked;
            let before = self.state(subject).cloned().unwrap_or_else(unasked);
            let after = after.state(subject).cloned().unwrap_or_else(unasked);
            before.differs(&after).then_some(ConsentDiff {
                subject,
                before,
                after,
            })
        };
        subjects.into_iter().filter_map(diff).collect()
    }

    fn state(&self, subject: Subject) -> Option<&PurposeRecord> {
        let found = self.states().find(|(other, _)| *other == subject);
        found.map(|(_, record)| record)
    }

    /// The current choices. An unknown choice has the time of the latest one.
    fn consent(&self) -> Consent {
        let asked = Evidence::at(self.recorded_at);
        let consent = Consent::together([Choice::Unknown; 3], asked.clone());
        self.states().fold(consent, |consent, (subject, record)| {
            let evidence = record.evidence.clone().unwrap_or_else(|| asked.clone());
            match subject {
                Subject::Purpose(purpose) => consent.with(purpose, record.choice, evidence),
                Subject::Sensitive(category) => consent.with_sensitive(category, record.choice, evidence),
                Subject::Functional => consent,
            }
        })
    }
}

/// The state of one purpose, or of one category of sensitive data, in a record.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PurposeRecord {
    /// The guest's choice.
    pub choice: Choice,
    /// The reason for the state.
    pub reason: Reason,
    /// Id of the deciding rule. Empty if the policy has none about the category.
    pub rule: String,
    /// The evidence of the choice, if one was made.
    pub evidence: Option<Evidence>,
    /// Obligations of the operator.
    pub obligations: Obligations,
    /// The last time at which the agreement counts. Then the guest is to be asked again.
    pub ask_again_at: Option<OffsetDateTime>,
}

impl PurposeRecord {
    /// The record of a choice. Only sensitive data can be without a state: the policy has no rule about it.
    pub(crate) fn new(given: Option<&PurposeChoice>, state: Option<PurposeState<'_>>) -> Self {
        let made = given.filter(|given| given.choice != Choice::Unknown);
        let mut record = Self {
            choice: made.map_or(Choice::Unknown, |given| given.choice),
            evidence: made.map(|given| given.evidence.clone()),
            ..Self::unasked()
        };
        record.set_state(None, state);
        record
    }

    /// Before the guest is asked, and before a rule is applied.
    fn unasked() -> Self {
        Self {
            choice: Choice::Unknown,
            reason: Reason::NotGranted,
            rule: String::new(),
            evidence: None,
            obligations: Obligations::NONE,
            ask_again_at: None,
        }
    }

    /// Replaces the choice. `latest` becomes the time of the change, if that is later.
    fn choose(
        &mut self,
        subject: Subject,
        choice: Choice,
        change: &ConsentChange,
        latest: &mut OffsetDateTime,
    ) -> Result<(), ChangeError> {
        let when = change.evidence().chosen_at;
        let recorded = self.chosen_at().filter(|recorded| when < *recorded);
        match (choice, recorded) {
            (Choice::Granted, Some(_)) if change.withdraws() => return Ok(()),
            (Choice::Granted, Some(recorded)) => {
                return Err(ChangeError::Outdated {
                    subject,
                    given: when,
                    recorded,
                });
            }
            _ => {}
        }
        self.choice = choice;
        // an early withdrawal takes the time of the choice that it replaces, so that no grant between them undoes it
        let mut evidence = change.evidence().clone();
        evidence.chosen_at = recorded.unwrap_or(when);
        self.evidence = Some(evidence);
        *latest = (*latest).max(when);
        Ok(())
    }

    /// Takes the state that a policy decides on, or none if it has no rule. `before` is the earlier state.
    fn set_state(&mut self, before: Option<&Self>, state: Option<PurposeState<'_>>) {
        let Some(state) = state else {
            self.reason = match self.choice {
                Choice::Denied => Reason::Denied,
                _ => Reason::NoRule,
            };
            self.rule.clear();
            self.obligations = Obligations::NONE;
            self.ask_again_at = None;
            return;
        };
        let was_off = before.is_some_and(|before| {
            (&before.choice, &before.evidence) == (&self.choice, &self.evidence) && !before.is_on()
        });
        self.reason = match state.reason {
            // only a choice switches a purpose on again, not a default of the rule
            Reason::NotObjected if was_off => match self.choice {
                Choice::Granted => Reason::Expired,
                _ => Reason::NotGranted,
            },
            reason => reason,
        };
        self.rule.clone_from(&state.rule.id);
        self.obligations = match self.reason == state.reason {
            true => state.obligations,
            false => state.rule.obligations(self.reason),
        };
        self.ask_again_at = state.ask_again_at;
    }

    /// Whether data may be used.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.reason.is_on()
    }

    /// Time of the choice in UTC, if one was made.
    #[must_use]
    pub fn chosen_at(&self) -> Option<OffsetDateTime> {
        self.evidence.as_ref().map(|evidence| evidence.chosen_at)
    }

    /// The evidence that a parent or guardian chose.
    pub(crate) fn guardian(&self) -> Option<&GuardianEvidence> {
        self.evidence.as_ref()?.guardian.as_ref()
    }

    /// Whether more than the evidence differs. That of a guardian counts.
    fn differs(&self, other: &Self) -> bool {
        (self.choice, self.reason, &self.rule, self.guardian())
            != (other.choice, other.reason, &other.rule, other.guardian())
    }
}

/// A change of consent in a live session, or the result of a re-evaluation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConsentUpdate {
    /// The new record, and the attributes that it allows.
    pub data: GuestData,
    /// Each subject that differs from before.
    pub diffs: Vec<ConsentDiff>,
}

/// One purpose, or one category of sensitive data, before and after a change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConsentDiff {
    /// The purpose or the category.
    pub subject: Subject,
    /// Its state before.
    pub before: PurposeRecord,
    /// Its state after.
    pub after: PurposeRecord,
}

/// Refused change of consent.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// The grant is older than the choice that it would replace.
    #[error(
        "cannot change consent: {subject} was granted at {}, before the recorded choice of {}; ask the guest again",
        genesys_api::rfc3339(*.given),
        genesys_api::rfc3339(*.recorded)
    )]
    Outdated {
        /// The purpose, or the category of sensitive data.
        subject: Subject,
        /// Time of the grant.
        given: OffsetDateTime,
        /// Time of the recorded choice.
        recorded: OffsetDateTime,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(minute: i64) -> Evidence {
        Evidence::at(
            genesys_api::parse_rfc3339("2026-11-22T12:00:00Z").unwrap() + time::Duration::minutes(minute),
        )
    }

    fn record(policy: &'static Policy, code: &str, choices: [Choice; 3]) -> ConsentRecord {
        policy
            .decide(&DecisionInput {
                jurisdictions: &[code.parse().unwrap()],
                age: Age::UNKNOWN,
                signals: Signals::default(),
                consent: &Consent::together(choices, at(10)),
                now: at(10).chosen_at,
            })
            .unwrap()
            .record()
    }

    #[test]
    fn record_has_time_of_choice() {
        let record = record(
            Policy::purpose_scoped(),
            "DE",
            [Choice::Granted, Choice::Denied, Choice::Unknown],
        );
        assert_eq!(record.recorded_at, at(10).chosen_at);
        assert_eq!(
            record.purpose(Purpose::Personalization).chosen_at(),
            Some(at(10).chosen_at)
        );
        assert_eq!(
            record.purpose(Purpose::Analytics).chosen_at(),
            None,
            "nothing was chosen"
        );
    }

    #[test]
    fn withdrawal_switches_only_its_purpose_off() {
        let before = record(Policy::tutorial_strict(), "EU", [Choice::Granted; 3]);
        let change = ConsentChange::new(at(20)).withdrawing(Purpose::Marketing);
        let (after, changed) = before
            .change(
                &change,
                Signals::default(),
                Policy::tutorial_strict(),
                at(30).chosen_at,
            )
            .unwrap();
        assert!(!after.purpose(Purpose::Marketing).is_on());
        assert!(after.purpose(Purpose::Personalization).is_on() && after.purpose(Purpose::Analytics).is_on());
        assert_eq!(after.recorded_at, at(20).chosen_at);
        let [changed] = changed.as_slice() else {
            panic!("one purpose changed, not {changed:?}");
        };
        assert_eq!(
            (changed.subject, changed.before.reason, changed.after.reason),
            (Purpose::Marketing.into(), Reason::Granted, Reason::Denied)
        );
    }

    #[test]
    fn old_grant_is_refused_and_old_withdrawal_accepted() {
        let policy = Policy::purpose_scoped();
        let before = record(policy, "DE", [Choice::Denied, Choice::Granted, Choice::Denied]);
        let grant = ConsentChange::new(at(9)).granting(Purpose::Marketing);
        assert_eq!(
            before.change(&grant, Signals::default(), policy, at(30).chosen_at),
            Err(ChangeError::Outdated {
                subject: Purpose::Marketing.into(),
                given: at(9).chosen_at,
                recorded: at(10).chosen_at
            })
        );
        let (after, changed) = before
            .change(
                &grant.withdrawing(Purpose::Personalization),
                Signals::default(),
                policy,
                at(30).chosen_at,
            )
            .unwrap();
        assert_eq!(changed.len(), 1, "the grant is ignored");
        let withdrawn = after.purpose(Purpose::Personalization);
        assert_eq!(
            (withdrawn.is_on(), withdrawn.chosen_at()),
            (false, Some(at(10).chosen_at))
        );

        let again = ConsentChange::new(at(11)).granting(Purpose::Marketing);
        let (after, _) = after
            .change(&again, Signals::default(), policy, at(30).chosen_at)
            .unwrap();
        assert!(after.purpose(Purpose::Marketing).is_on());
    }

    #[test]
    fn repeated_choice_changes_only_its_time() {
        let policy = Policy::purpose_scoped();
        let before = record(policy, "DE", [Choice::Granted; 3]);
        let change = ConsentChange::new(at(30)).granting(Purpose::Analytics);
        let (after, changed) = before
            .change(&change, Signals::default(), policy, at(30).chosen_at)
            .unwrap();
        assert_eq!(changed, []);
        assert_eq!(
            after.purpose(Purpose::Analytics).chosen_at(),
            Some(at(30).chosen_at)
        );
        assert_eq!(
            after.purpose(Purpose::Marketing).chosen_at(),
            Some(at(10).chosen_at)
        );
    }

    #[test]
    fn lower_age_persists_and_switches_off() {
        let policy = Policy::purpose_scoped();
        let before = record(policy, "DE", [Choice::Granted; 3]);
        let grant = ConsentChange::new(at(20)).granting(Purpose::Marketing);
        let change = |record: &ConsentRecord, age| {
            let change = grant.clone().with_age(age);
            let changed = record.change(&change, Signals::default(), policy, at(30).chosen_at);
            changed.unwrap().0
        };
        let child = change(&before, Age::at_least(15));
        for age in [Age::at_least(18), Age::UNKNOWN] {
            let after = change(&child, age);
            assert_eq!(after.age, Age::at_least(15));
            assert_eq!(after.purpose(Purpose::Marketing).reason, Reason::GuardianNeeded);
        }
    }

    #[test]
    fn added_places_persist_and_switch_nothing_on() {
        let policy = Policy::purpose_scoped();
        let before = record(policy, "US", [Choice::Unknown; 3]);
        let add = |record: &ConsentRecord, places: &str| {
            let change = ConsentChange::new(at(20)).with_places(places.parse().unwrap());
            let changed = record.change(&change, Signals::default(), policy, at(30).chosen_at);
            changed.unwrap().0
        };
        let both = add(&before, "FR");
        let reason = |record: &ConsentRecord| record.purpose(Purpose::Marketing).reason;
        assert_eq!(
            (reason(&before), reason(&both)),
            (Reason::NotObjected, Reason::NotGranted)
        );
        for (places, expected) in [
            ("unknown", "US,FR"),
            ("US", "US,FR"),
            ("DE,IT", "US,FR,DE,IT"),
            ("DE,IT,ES,PT,NL,BE,AT", "unknown"),
        ] {
            assert_eq!(add(&both, places).jurisdictions.to_string(), expected);
        }
        let unknown = ConsentRecord {
            jurisdictions: Jurisdictions::default(),
            ..before
        };
        assert_eq!(add(&unknown, "US").jurisdictions.to_string(), "unknown");
    }

    #[test]
    fn gpc_signal_persists() {
        let policy = Policy::purpose_scoped();
        let before = record(policy, "US", [Choice::Unknown; 3]);
        let nothing = ConsentChange::new(at(20));
        let (after, changed) = before
            .change(&nothing, Signals { gpc: true }, policy, at(30).chosen_at)
            .unwrap();
        assert_eq!(changed.len(), 2);
        let grant = ConsentChange::new(at(21)).granting(Purpose::Marketing);
        let (after, _) = after
            .change(&grant, Signals::default(), policy, at(30).chosen_at)
            .unwrap();
        assert!(after.gpc && !after.purpose(Purpose::Marketing).is_on());
    }

    #[test]
    fn change_is_evaluated_under_current_policy() {
        let before = record(
            Policy::tutorial_strict(),
            "DE",
            [Choice::Granted, Choice::Granted, Choice::Unknown],
        );
        assert!(
            before.purpose(Purpose::Analytics).is_on(),
            "the tutorial ticks it beforehand"
        );
        let (after, changed) = before
            .change(
                &ConsentChange::new(at(20)),
                Signals::default(),
                Policy::purpose_scoped(),
                at(30).chosen_at,
            )
            .unwrap();
        assert_eq!(after.policy, "purpose-scoped");
        assert!(!after.purpose(Purpose::Analytics).is_on());
        assert_eq!(changed.len(), 3, "each has another rule");
    }

    #[test]
    fn outdated_error_names_both_times() {
        let error = ChangeError::Outdated {
            subject: Purpose::Marketing.into(),
            given: at(9).chosen_at,
            recorded: at(10).chosen_at,
        };
        assert_eq!(
            error.to_string(),
            "cannot change consent: marketing was granted at 2026-11-22T12:09:00.000Z, before the recorded choice of \
             2026-11-22T12:10:00.000Z; ask the guest again"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn withdrawal_is_always_accepted(
            minute in -100..100_i64,
            withdrawn in 0..3_usize,
            granted in proptest::option::of(0..3_usize),
            gpc in any::<bool>(),
        ) {
            let before = record(Policy::tutorial_strict(), "BR", [Choice::Granted; 3]);
            let mut change = ConsentChange::new(at(minute));
            if let Some(granted) = granted {
                change = change.granting(Purpose::ALL[granted]);
            }
            change = change.withdrawing(Purpose::ALL[withdrawn]);
            let (after, _) = before.change(&change, Signals { gpc }, Policy::tutorial_strict(), at(30).chosen_at).unwrap();
            prop_assert!(!after.purposes[withdrawn].is_on());
            prop_assert!(after.recorded_at >= before.recorded_at);
        }
    }
}
