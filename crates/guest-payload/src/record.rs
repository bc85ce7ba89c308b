//! Consent records, and their changes in a live session.

mod json;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use self::json::RecordObject;
use crate::policy::Evaluation;
use crate::{
    Age, Choice, Consent, ConsentChange, DecisionInput, Evidence, GuestData, Jurisdictions, Policy, Purpose,
    Reason, Signals,
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
    /// The guest's age, as known when the session was created.
    pub age: Age,
}

impl ConsentRecord {
    /// The state of one purpose.
    #[must_use]
    pub fn purpose(&self, purpose: Purpose) -> &PurposeRecord {
        &self.purposes[purpose as usize]
    }

    /// The record after a change, and each purpose that differs from before. [`GuestData::change`] has the rules.
    ///
    /// [`GuestData::change`]: crate::GuestData::change
    pub(crate) fn change(
        &self,
        change: &ConsentChange,
        signals: Signals,
        policy: &Policy,
        now: OffsetDateTime,
    ) -> Result<(Self, Vec<ConsentDiff>), ChangeError> {
        let when = change.evidence().chosen_at;
        let withdraws = Purpose::ALL
            .iter()
            .any(|purpose| change.choice(*purpose) == Some(Choice::Denied));
        let mut after = self.clone();
        after.gpc |= signals.gpc;
        for (purpose, record) in Purpose::ALL.into_iter().zip(&mut after.purposes) {
            let Some(choice) = change.choice(purpose) else {
                continue;
            };
            let recorded = record.chosen_at().filter(|recorded| when < *recorded);
            match (choice, recorded) {
                (Choice::Granted, Some(_)) if withdraws => continue,
                (Choice::Granted, Some(recorded)) => {
                    return Err(ChangeError::Outdated {
                        purpose,
                        given: when,
                        recorded,
                    });
                }
                _ => {}
            }
            record.choice = choice;
            // an early withdrawal takes the time of the choice that it replaces, so that no grant between them undoes it
            let mut evidence = change.evidence().clone();
            evidence.chosen_at = recorded.unwrap_or(when);
            record.evidence = Some(evidence);
            after.recorded_at = after.recorded_at.max(when);
        }
        Ok(self.evaluated(after, policy, now))
    }

    /// The record under `policy` at `now`, and each purpose that differs from before.
    pub(crate) fn reevaluate(&self, policy: &Policy, now: OffsetDateTime) -> (Self, Vec<ConsentDiff>) {
        self.evaluated(self.clone(), policy, now)
    }

    /// The first times at which agreements have expired under `policy`.
    pub(crate) fn expiries(&self, policy: &Policy) -> impl Iterator<Item = OffsetDateTime> {
        let granted = Purpose::ALL
            .into_iter()
            .zip(&self.purposes)
            .filter(|(_, record)| record.choice == Choice::Granted);
        granted.flat_map(|(purpose, record)| {
            let chosen_at = record.chosen_at().unwrap_or(self.recorded_at);
            let rules = policy.rules_for(&self.jurisdictions, purpose);
            rules.filter_map(move |rule| rule.expiry(chosen_at))
        })
    }

    /// Evaluates the choices of `after`, and compares its purposes with those of this record.
    fn evaluated(&self, mut after: Self, policy: &Policy, now: OffsetDateTime) -> (Self, Vec<ConsentDiff>) {
        let Evaluation { states, .. } = policy.evaluate(&DecisionInput {
            jurisdictions: &self.jurisdictions,
            age: after.age,
            signals: Signals { gpc: after.gpc },
            consent: &after.consent(),
            now,
        });
        policy.id.clone_into(&mut after.policy);
        policy.version.clone_into(&mut after.policy_version);
        for ((before, record), state) in self.purposes.iter().zip(&mut after.purposes).zip(states) {
            let is_same_choice = (before.choice, &before.evidence) == (record.choice, &record.evidence);
            record.reason = match state.reason {
                // only a choice switches a purpose on again, not a default of the rule
                Reason::NotObjected if is_same_choice && !before.is_on() => match record.choice {
                    Choice::Granted => Reason::Expired,
                    _ => Reason::NotGranted,
                },
                reason => reason,
            };
            record.rule = state.rule.id.clone();
        }
        let diffs = Purpose::ALL
            .into_iter()
            .filter(|purpose| self.purpose(*purpose).differs(after.purpose(*purpose)))
            .map(|purpose| ConsentDiff {
                purpose,
                before: self.purpose(purpose).clone(),
                after: after.purpose(purpose).clone(),
            })
            .collect();
        (after, diffs)
    }

    /// The current choices. An unknown choice has the time of the latest one.
    fn consent(&self) -> Consent {
        let asked = Evidence::at(self.recorded_at);
        Purpose::ALL.into_iter().zip(&self.purposes).fold(
            Consent::together([Choice::Unknown; 3], asked.clone()),
            |consent, (purpose, record)| {
                let evidence = record.evidence.clone().unwrap_or_else(|| asked.clone());
                consent.with(purpose, record.choice, evidence)
            },
        )
    }
}

/// The state of one purpose in a record.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PurposeRecord {
    /// The guest's choice.
    pub choice: Choice,
    /// The reason for the state.
    pub reason: Reason,
    /// Id of the deciding rule.
    pub rule: String,
    /// The evidence of the choice, if one was made.
    pub evidence: Option<Evidence>,
}

impl PurposeRecord {
    /// Whether data may be used for the purpose.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.reason.is_on()
    }

    /// Time of the choice in UTC, if one was made.
    #[must_use]
    pub fn chosen_at(&self) -> Option<OffsetDateTime> {
        self.evidence.as_ref().map(|evidence| evidence.chosen_at)
    }

    /// Whether more than the evidence differs.
    fn differs(&self, other: &Self) -> bool {
        (self.choice, self.reason, &self.rule) != (other.choice, other.reason, &other.rule)
    }
}

/// A change of consent in a live session, or the result of a re-evaluation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConsentUpdate {
    /// The new record, and the attributes that it allows.
    pub data: GuestData,
    /// Each purpose that differs from before.
    pub diffs: Vec<ConsentDiff>,
}

/// One purpose before and after a change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConsentDiff {
    /// The purpose.
    pub purpose: Purpose,
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
        "cannot change consent: {purpose} was granted at {}, before the recorded choice of {}; ask the guest again",
        genesys_api::rfc3339(*.given),
        genesys_api::rfc3339(*.recorded)
    )]
    Outdated {
        /// The purpose.
        purpose: Purpose,
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
            (changed.purpose, changed.before.reason, changed.after.reason),
            (Purpose::Marketing, Reason::Granted, Reason::Denied)
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
                purpose: Purpose::Marketing,
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
            purpose: Purpose::Marketing,
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
