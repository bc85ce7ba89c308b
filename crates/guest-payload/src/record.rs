//! What was decided about a guest's consent, for storage, and how it changes in a live session.

mod json;

use time::OffsetDateTime;

use crate::policy::Judgement;
use crate::{
    Age, Allowed, Choice, Consent, ConsentChange, Evidence, GuestData, Jurisdictions, Policy, Purpose,
    Reason, Request, Signals,
};

/// What was decided, in a form that can be stored, sent, and decided anew when the guest changes their mind.
///
/// Its JSON form is that of the `guest-sessions` contract: choices on top, their consequences in `purposes`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConsentRecord {
    pub(crate) purposes: [PurposeRecord; 3],
    pub(crate) policy: String,
    pub(crate) policy_version: String,
    pub(crate) jurisdictions: Jurisdictions,
    pub(crate) recorded_at: OffsetDateTime,
    pub(crate) gpc: bool,
    pub(crate) age: Age,
}

impl ConsentRecord {
    pub(crate) fn of(allowed: &Allowed<'_>) -> Self {
        Self {
            purposes: Purpose::ALL.map(|purpose| {
                let given = allowed.consent().given(purpose);
                let state = allowed.state(purpose);
                PurposeRecord {
                    choice: given.choice,
                    on: state.on,
                    reason: state.reason,
                    rule: state.rule.id.clone(),
                    evidence: (given.choice != Choice::Unknown).then(|| given.evidence.clone()),
                }
            }),
            policy: allowed.policy().id().to_owned(),
            policy_version: allowed.policy().version().to_owned(),
            jurisdictions: allowed.jurisdictions().clone(),
            recorded_at: allowed.consent().latest(),
            gpc: allowed.signals().gpc,
            age: allowed.age(),
        }
    }

    /// What holds for one purpose.
    #[must_use]
    pub fn purpose(&self, purpose: Purpose) -> &PurposeRecord {
        &self.purposes[purpose as usize]
    }

    /// Id of the policy that decided, as in `tutorial-strict`.
    #[must_use]
    pub fn policy(&self) -> &str {
        &self.policy
    }

    /// Version of that policy.
    #[must_use]
    pub fn policy_version(&self) -> &str {
        &self.policy_version
    }

    /// The places that were considered.
    #[must_use]
    pub fn jurisdictions(&self) -> &Jurisdictions {
        &self.jurisdictions
    }

    /// When the guest last chose anything, from the evidence.
    #[must_use]
    pub fn recorded_at(&self) -> OffsetDateTime {
        self.recorded_at
    }

    /// Whether the guest's browser has sent a GPC signal, now or earlier in the session.
    #[must_use]
    pub fn gpc(&self) -> bool {
        self.gpc
    }

    /// How old the guest may be, as it was known when the session was created.
    #[must_use]
    pub fn age(&self) -> Age {
        self.age
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
        let when = change.evidence().when;
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
            // an early withdrawal takes the time of what it withdraws: otherwise a grant between the two could undo it
            let mut evidence = change.evidence().clone();
            evidence.when = recorded.unwrap_or(when);
            record.evidence = Some(evidence);
            after.recorded_at = after.recorded_at.max(when);
        }
        let Judgement { states, .. } = policy.judge(&Request {
            jurisdictions: &self.jurisdictions,
            age: after.age,
            signals: Signals { gpc: after.gpc },
            consent: &after.consent(),
            now,
        });
        policy.id().clone_into(&mut after.policy);
        policy.version().clone_into(&mut after.policy_version);
        for (record, state) in after.purposes.iter_mut().zip(states) {
            record.on = state.on;
            record.reason = state.reason;
            record.rule = state.rule.id.clone();
        }
        let changed = Purpose::ALL
            .into_iter()
            .filter(|purpose| self.purpose(*purpose).differs(after.purpose(*purpose)))
            .map(|purpose| ConsentDiff {
                purpose,
                before: self.purpose(purpose).clone(),
                after: after.purpose(purpose).clone(),
            })
            .collect();
        Ok((after, changed))
    }

    /// The choices as they stand. What was not chosen has the time at which anything last was.
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

/// What holds for one purpose.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PurposeRecord {
    /// What the guest chose.
    pub choice: Choice,
    /// Whether data may be used for it.
    pub on: bool,
    /// Why.
    pub reason: Reason,
    /// Id of the rule that says so.
    pub rule: String,
    /// When the guest chose, and how that can be shown; nothing while they have not.
    pub evidence: Option<Evidence>,
}

impl PurposeRecord {
    /// When the guest chose, from the evidence, in UTC; nothing while they have not.
    #[must_use]
    pub fn chosen_at(&self) -> Option<OffsetDateTime> {
        self.evidence.as_ref().map(|evidence| evidence.when)
    }

    /// Whether more differs than the time at which the same was said again.
    fn differs(&self, other: &Self) -> bool {
        (self.choice, self.on, self.reason) != (other.choice, other.on, other.reason)
            || self.rule != other.rule
    }
}

/// A change of consent in a live session.
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
    /// Which purpose.
    pub purpose: Purpose,
    /// How it stood.
    pub before: PurposeRecord,
    /// How it stands.
    pub after: PurposeRecord,
}

/// A change of consent cannot be taken.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// The grant is older than the choice it would replace.
    #[error(
        "{purpose} was granted at {}, before the choice of {} that is recorded: ask the guest again",
        genesys_api::rfc3339(*.given),
        genesys_api::rfc3339(*.recorded)
    )]
    Outdated {
        /// Which purpose.
        purpose: Purpose,
        /// When the grant was given.
        given: OffsetDateTime,
        /// When the recorded choice was made.
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
            .decide(&Request {
                jurisdictions: &[code.parse().unwrap()],
                age: Age::UNKNOWN,
                signals: Signals::default(),
                consent: &Consent::together(choices, at(10)),
                now: at(10).when,
            })
            .unwrap()
            .record()
    }

    #[test]
    fn a_record_keeps_the_time_of_the_choice() {
        let record = record(
            Policy::purpose_scoped(),
            "DE",
            [Choice::Granted, Choice::Denied, Choice::Unknown],
        );
        assert_eq!(record.recorded_at(), at(10).when);
        assert_eq!(
            record.purpose(Purpose::Personalization).chosen_at(),
            Some(at(10).when)
        );
        assert_eq!(
            record.purpose(Purpose::Analytics).chosen_at(),
            None,
            "nothing was chosen"
        );
    }

    #[test]
    fn a_withdrawal_switches_the_purpose_off_and_ends_nothing() {
        let before = record(Policy::tutorial_strict(), "EU", [Choice::Granted; 3]);
        let change = ConsentChange::new(at(20)).withdrawing(Purpose::Marketing);
        let (after, changed) = before
            .change(
                &change,
                Signals::default(),
                Policy::tutorial_strict(),
                at(30).when,
            )
            .unwrap();
        assert!(!after.purpose(Purpose::Marketing).on);
        assert!(after.purpose(Purpose::Personalization).on && after.purpose(Purpose::Analytics).on);
        assert_eq!(after.recorded_at(), at(20).when);
        let [changed] = changed.as_slice() else {
            panic!("one purpose changed, not {changed:?}");
        };
        assert_eq!(
            (changed.purpose, changed.before.reason, changed.after.reason),
            (Purpose::Marketing, Reason::Granted, Reason::Denied)
        );
    }

    #[test]
    fn an_old_grant_cannot_undo_a_withdrawal_but_an_old_withdrawal_counts() {
        let policy = Policy::purpose_scoped();
        let before = record(policy, "DE", [Choice::Denied, Choice::Granted, Choice::Denied]);
        let grant = ConsentChange::new(at(9)).granting(Purpose::Marketing);
        assert_eq!(
            before.change(&grant, Signals::default(), policy, at(30).when),
            Err(ChangeError::Outdated {
                purpose: Purpose::Marketing,
                given: at(9).when,
                recorded: at(10).when
            })
        );
        let (after, changed) = before
            .change(
                &grant.withdrawing(Purpose::Personalization),
                Signals::default(),
                policy,
                at(30).when,
            )
            .unwrap();
        assert_eq!(changed.len(), 1, "the grant is passed over");
        let withdrawn = after.purpose(Purpose::Personalization);
        assert_eq!((withdrawn.on, withdrawn.chosen_at()), (false, Some(at(10).when)));

        let again = ConsentChange::new(at(11)).granting(Purpose::Marketing);
        let (after, _) = after
            .change(&again, Signals::default(), policy, at(30).when)
            .unwrap();
        assert!(after.purpose(Purpose::Marketing).on);
    }

    #[test]
    fn saying_the_same_again_changes_nothing_but_its_time() {
        let policy = Policy::purpose_scoped();
        let before = record(policy, "DE", [Choice::Granted; 3]);
        let change = ConsentChange::new(at(30)).granting(Purpose::Analytics);
        let (after, changed) = before
            .change(&change, Signals::default(), policy, at(30).when)
            .unwrap();
        assert_eq!(changed, []);
        assert_eq!(after.purpose(Purpose::Analytics).chosen_at(), Some(at(30).when));
        assert_eq!(after.purpose(Purpose::Marketing).chosen_at(), Some(at(10).when));
    }

    #[test]
    fn a_signal_once_seen_stays() {
        let policy = Policy::purpose_scoped();
        let before = record(policy, "US", [Choice::Unknown; 3]);
        let nothing = ConsentChange::new(at(20));
        let (after, changed) = before
            .change(&nothing, Signals { gpc: true }, policy, at(30).when)
            .unwrap();
        assert_eq!(changed.len(), 2);
        let grant = ConsentChange::new(at(21)).granting(Purpose::Marketing);
        let (after, _) = after
            .change(&grant, Signals::default(), policy, at(30).when)
            .unwrap();
        assert!(after.gpc() && !after.purpose(Purpose::Marketing).on);
    }

    #[test]
    fn a_change_is_decided_under_the_policy_of_today() {
        let before = record(
            Policy::tutorial_strict(),
            "DE",
            [Choice::Granted, Choice::Granted, Choice::Unknown],
        );
        assert!(
            before.purpose(Purpose::Analytics).on,
            "the tutorial ticks it beforehand"
        );
        let (after, changed) = before
            .change(
                &ConsentChange::new(at(20)),
                Signals::default(),
                Policy::purpose_scoped(),
                at(30).when,
            )
            .unwrap();
        assert_eq!(after.policy(), "purpose-scoped");
        assert!(!after.purpose(Purpose::Analytics).on);
        assert_eq!(changed.len(), 3, "each has another rule");
    }

    #[test]
    fn the_error_says_what_to_do() {
        let error = ChangeError::Outdated {
            purpose: Purpose::Marketing,
            given: at(9).when,
            recorded: at(10).when,
        };
        assert_eq!(
            error.to_string(),
            "marketing was granted at 2026-11-22T12:09:00.000Z, before the choice of 2026-11-22T12:10:00.000Z that is \
             recorded: ask the guest again"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn whatever_is_withdrawn_is_accepted_and_off(
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
            let (after, _) = before.change(&change, Signals { gpc }, Policy::tutorial_strict(), at(30).when).unwrap();
            prop_assert!(!after.purposes[withdrawn].on);
            prop_assert!(after.recorded_at() >= before.recorded_at());
        }
    }
}
