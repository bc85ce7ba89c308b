//! May the session be created, and for what may the guest's data be used?
//!
//! A decision is a pure function of policy, places, choices and signals. It finds one area per place, comparing a
//! code of five bytes with those of the table, and then applies three rules per place. It allocates once, for the
//! list of places, and nothing per rule.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::policy::{Basis, Policy, Rule};
use crate::{
    Attributes, Consent, ConsentRecord, Jurisdiction, Jurisdictions, LawfulAttributes, Purpose, Signals,
};

/// What a decision is made from, beside the policy.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Every place whose rules may apply. The most protective wins; none at all takes the policy's strictest rules.
    pub jurisdictions: &'a [Jurisdiction],
    /// What the guest's browser says.
    pub signals: Signals,
    /// What the guest chose.
    pub consent: Consent,
}

impl Policy {
    /// Decides. The same request always has the same answer.
    #[must_use]
    pub fn decide(&'static self, request: &Request<'_>) -> Decision {
        let (states, unmet) = self.judge(request.jurisdictions, request.consent.choices(), request.signals);
        let jurisdictions = Jurisdictions::from(request.jurisdictions);
        if unmet.iter().any(Option::is_some) {
            return Decision::Refused(Refused {
                policy: self,
                jurisdictions,
                unmet,
            });
        }
        Decision::Allowed(Allowed {
            policy: self,
            jurisdictions,
            consent: request.consent,
            signals: request.signals,
            states,
        })
    }
}

/// Whether a session may be created.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Decision {
    /// It may, and each purpose is on or off.
    Allowed(Allowed),
    /// It may not: an agreement is missing.
    Refused(Refused),
}

impl Decision {
    /// What was allowed, or why nothing was.
    ///
    /// # Errors
    /// If the session is refused.
    pub fn into_result(self) -> Result<Allowed, Refused> {
        match self {
            Self::Allowed(allowed) => Ok(allowed),
            Self::Refused(refused) => Err(refused),
        }
    }

    /// The decision in plain words, one line for the session and one for each purpose, with rule and source.
    #[must_use]
    pub fn explain(&self) -> String {
        match self {
            Self::Allowed(allowed) => allowed.explain(),
            Self::Refused(refused) => refused.explain(),
        }
    }
}

/// A session may be created. Only [`Policy::decide`] makes one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Allowed {
    policy: &'static Policy,
    jurisdictions: Jurisdictions,
    consent: Consent,
    signals: Signals,
    states: [PurposeState; 3],
}

impl Allowed {
    /// The policy that was asked.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        self.policy
    }

    /// The places that were considered.
    #[must_use]
    pub fn jurisdictions(&self) -> &Jurisdictions {
        &self.jurisdictions
    }

    /// What the guest chose.
    #[must_use]
    pub fn consent(&self) -> &Consent {
        &self.consent
    }

    /// What the guest's browser said.
    #[must_use]
    pub fn signals(&self) -> Signals {
        self.signals
    }

    /// How one purpose stands.
    #[must_use]
    pub fn state(&self, purpose: Purpose) -> PurposeState {
        self.states[purpose as usize]
    }

    /// The attributes that may be used: functional ones, and those of purposes that are on.
    #[must_use]
    pub fn filter(&self, attributes: Attributes) -> LawfulAttributes {
        LawfulAttributes::keep(attributes, |purpose| self.state(purpose).on)
    }

    /// What is to be stored of the decision.
    #[must_use]
    pub fn record(&self) -> ConsentRecord {
        ConsentRecord::of(self)
    }

    fn explain(&self) -> String {
        let mut text = format!(
            "A session with a guest in {} is allowed by the policy {} {}.",
            self.jurisdictions.described(),
            self.policy.id(),
            self.policy.version()
        );
        for state in &self.states {
            text.push_str("\n- ");
            text.push_str(&state.explain());
        }
        text
    }
}

/// How one purpose stands, and why.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PurposeState {
    /// Whether data may be used for it.
    pub on: bool,
    /// Why.
    pub reason: Reason,
    /// The rule that says so: with several places, the first that switches the purpose off.
    pub rule: &'static Rule,
}

impl PurposeState {
    fn explain(&self) -> String {
        let because = match (self.reason, self.rule.basis) {
            (Reason::Denied, _) => "off: the guest refused it",
            (Reason::Granted, _) => "on: the guest agreed to it",
            (Reason::NotGranted, Basis::Consent) => {
                "off: it needs an agreement first, and the guest gave none"
            }
            (Reason::NotGranted, Basis::OptOut) => "off: the guest did not ask for it",
            (Reason::NotObjected, Basis::Consent) => {
                "on: the policy assumes it, though the guest was not asked"
            }
            (Reason::NotObjected, Basis::OptOut) => "on: it needs no agreement, and the guest did not object",
            (Reason::OptOutSignal, _) => "off: the guest's browser sent an opt-out signal (GPC)",
        };
        format!(
            "{} is {because}. Rule {}; source: {}.",
            self.rule.purpose, self.rule.id, self.rule.source
        )
    }
}

/// Why a purpose is on or off.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Reason {
    /// Off: the guest said no.
    Denied,
    /// On: the guest said yes.
    Granted,
    /// Off: the guest did not say yes.
    NotGranted,
    /// On: the guest did not say no, and the rule asks for no more.
    NotObjected,
    /// Off: the guest's browser sent a GPC signal.
    OptOutSignal,
}

impl Reason {
    /// Whether it is a reason to be on.
    pub(crate) fn is_on(self) -> bool {
        matches!(self, Self::Granted | Self::NotObjected)
    }
}

/// A session may not be created: one or more purposes need an agreement that the guest has not given.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refused {
    policy: &'static Policy,
    jurisdictions: Jurisdictions,
    unmet: [Option<&'static Rule>; 3],
}

impl Refused {
    /// The policy that was asked.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        self.policy
    }

    /// The places that were considered.
    #[must_use]
    pub fn jurisdictions(&self) -> &Jurisdictions {
        &self.jurisdictions
    }

    /// Each purpose whose agreement is missing, with the id of the rule that demands it.
    pub fn missing(&self) -> impl Iterator<Item = (Purpose, &str)> {
        self.unmet.iter().flatten().map(|rule| (rule.purpose, rule.id))
    }

    fn explain(&self) -> String {
        let mut text = format!(
            "A session with a guest in {} is refused by the policy {} {}.",
            self.jurisdictions.described(),
            self.policy.id(),
            self.policy.version()
        );
        for rule in self.unmet.iter().flatten() {
            text.push_str(&format!(
                "\n- {} has to be granted first. Rule {}; source: {}.",
                rule.purpose, rule.id, rule.source
            ));
        }
        text
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the policy {} {} refuses a session in {}:",
            self.policy.id(),
            self.policy.version(),
            self.jurisdictions
        )?;
        for (at, (purpose, rule)) in self.missing().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma} {purpose} is not granted (rule {rule})")?;
        }
        f.write_str("; ask the guest, and create the session once they agree")
    }
}

impl std::error::Error for Refused {}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use time::OffsetDateTime;

    use super::*;
    use crate::jurisdiction::every_code;
    use crate::{Choice, Evidence};

    const CHOICES: [Choice; 3] = [Choice::Denied, Choice::Granted, Choice::Unknown];

    fn consent([marketing, personalization, analytics]: [Choice; 3]) -> Consent {
        Consent {
            marketing,
            personalization,
            analytics,
            evidence: Evidence::at(OffsetDateTime::UNIX_EPOCH),
        }
    }

    fn decide(policy: &'static Policy, codes: &[&str], choices: [Choice; 3], gpc: bool) -> Decision {
        let places: Vec<Jurisdiction> = codes.iter().map(|code| code.parse().unwrap()).collect();
        policy.decide(&Request {
            jurisdictions: &places,
            signals: Signals { gpc },
            consent: consent(choices),
        })
    }

    fn combinations() -> impl Iterator<Item = [Choice; 3]> {
        CHOICES.into_iter().flat_map(|marketing| {
            CHOICES.into_iter().flat_map(move |personalization| {
                CHOICES
                    .into_iter()
                    .map(move |analytics| [marketing, personalization, analytics])
            })
        })
    }

    /// The tutorial's Python in Rust, with its region list spelled out, and nothing of the engine.
    ///
    /// `None` is its `ValueError`; otherwise what ends in `payload["consent"]`.
    fn tutorial(region: &str, [marketing, personalization, analytics]: [Choice; 3]) -> Option<[bool; 3]> {
        let strict_consent_regions = "EU EEA AT BE BG HR CY CZ DK EE FI FR DE GR HU IE IT LV LT LU MT NL PL PT RO SK \
             SI ES SE UK GB CA CA-AB CA-BC CA-MB CA-NB CA-NL CA-NS CA-NT CA-NU CA-ON CA-PE CA-QC CA-SK CA-YT BR";
        let consent_marketing = marketing == Choice::Granted;
        let consent_personalization = personalization == Choice::Granted;
        let consent_analytics = analytics != Choice::Denied;
        if strict_consent_regions.split(' ').any(|strict| strict == region)
            && !(consent_marketing && consent_personalization)
        {
            return None;
        }
        Some([consent_marketing, consent_personalization, consent_analytics])
    }

    #[test]
    fn tutorial_strict_is_the_tutorial_exactly() {
        let mut cases = 0;
        for code in every_code() {
            for choices in combinations() {
                let decided = match decide(Policy::tutorial_strict(), &[code], choices, false) {
                    Decision::Allowed(allowed) => Some(Purpose::ALL.map(|purpose| allowed.state(purpose).on)),
                    Decision::Refused(_) => None,
                };
                assert_eq!(decided, tutorial(code, choices), "{code} {choices:?}");
                cases += 1;
            }
        }
        assert_eq!(cases, 322 * 27);
    }

    #[test]
    fn a_refusal_names_each_missing_purpose_and_its_rule() {
        let choices = [Choice::Denied, Choice::Unknown, Choice::Unknown];
        let Decision::Refused(refused) = decide(Policy::tutorial_strict(), &["fr"], choices, false) else {
            panic!("France is in the EU");
        };
        assert_eq!(
            refused.missing().collect::<Vec<_>>(),
            [
                (Purpose::Marketing, "tutorial-strict/EU/marketing"),
                (Purpose::Personalization, "tutorial-strict/EU/personalization"),
            ]
        );
        assert_eq!(
            refused.to_string(),
            "the policy tutorial-strict 1.0.0 refuses a session in FR: marketing is not granted (rule \
             tutorial-strict/EU/marketing), personalization is not granted (rule \
             tutorial-strict/EU/personalization); ask the guest, and create the session once they agree"
        );
    }

    #[test]
    fn an_unknown_place_is_the_strictest() {
        let unknown = [Choice::Unknown; 3];
        assert!(matches!(
            decide(Policy::tutorial_strict(), &[], unknown, false),
            Decision::Refused(_)
        ));
        let Decision::Allowed(allowed) = decide(Policy::purpose_scoped(), &[], unknown, false) else {
            panic!("purpose-scoped refuses nobody");
        };
        assert!(Purpose::ALL.iter().all(|purpose| !allowed.state(*purpose).on));
    }

    #[test]
    fn purpose_scoped_refuses_nobody_and_asks_where_the_law_asks() {
        for code in every_code() {
            for choices in combinations() {
                assert!(matches!(
                    decide(Policy::purpose_scoped(), &[code], choices, true),
                    Decision::Allowed(_)
                ));
            }
        }
        let on = |code: &str, gpc| {
            decide(Policy::purpose_scoped(), &[code], [Choice::Unknown; 3], gpc)
                .into_result()
                .unwrap()
                .states
                .map(|state| state.on)
        };
        assert_eq!(on("DE", false), [false, false, false]);
        assert_eq!(on("US", false), [true, true, true]);
        assert_eq!(on("US-CA", true), [false, false, true]);
        assert_eq!(on("CH", false), [false, true, true]);
        assert_eq!(on("CA-QC", false), [false, false, false]);
        assert_eq!(on("TV", false), [false, false, false]);
    }

    #[test]
    fn gpc_outweighs_a_grant_and_a_refusal_names_itself() {
        let granted = [Choice::Granted; 3];
        for policy in Policy::all() {
            let allowed = decide(policy, &["US"], granted, true).into_result().unwrap();
            let reasons = allowed.states.map(|state| state.reason);
            assert_eq!(
                reasons,
                [Reason::OptOutSignal, Reason::OptOutSignal, Reason::Granted]
            );
        }
        let denied = [Choice::Denied, Choice::Granted, Choice::Granted];
        let allowed = decide(Policy::purpose_scoped(), &["US"], denied, true)
            .into_result()
            .unwrap();
        assert_eq!(allowed.state(Purpose::Marketing).reason, Reason::Denied);
    }

    #[test]
    fn the_most_protective_place_wins_whatever_the_order() {
        for codes in [["US", "FR"], ["FR", "US"]] {
            let allowed = decide(Policy::purpose_scoped(), &codes, [Choice::Unknown; 3], false)
                .into_result()
                .unwrap();
            for purpose in Purpose::ALL {
                let state = allowed.state(purpose);
                assert!(!state.on && state.rule.id.starts_with("purpose-scoped/EU/"));
            }
            assert!(matches!(
                decide(Policy::tutorial_strict(), &codes, [Choice::Unknown; 3], false),
                Decision::Refused(_)
            ));
        }
    }

    #[test]
    fn a_decision_explains_itself() {
        let choices = [Choice::Granted, Choice::Denied, Choice::Unknown];
        let text = decide(Policy::purpose_scoped(), &["US-CA", "DE"], choices, true).explain();
        assert_eq!(
            text,
            "A session with a guest in California (US-CA) and Germany (DE) is allowed by the policy purpose-scoped \
             1.0.0.\n\
             - marketing is off: the guest's browser sent an opt-out signal (GPC). Rule \
             purpose-scoped/US-CA/marketing; source: CAN-SPAM Act, 15 U.S.C., and CCPA, Cal. Civ. Code, § 7704(a); \
             § 1798.120.\n\
             - personalization is off: the guest refused it. Rule purpose-scoped/US-CA/personalization; source: CCPA, \
             Cal. Civ. Code, and 11 CCR, § 1798.120; § 7025.\n\
             - analytics is off: it needs an agreement first, and the guest gave none. Rule \
             purpose-scoped/EU/analytics; source: Directive 2002/58/EC, Art. 5(3)."
        );
        let refused = decide(
            Policy::tutorial_strict(),
            &[],
            [Choice::Granted; 3].map(|_| Choice::Unknown),
            false,
        );
        assert!(
            refused
                .explain()
                .starts_with("A session with a guest in an unknown place is refused")
        );
    }

    #[test]
    fn a_refusal_stays_small() {
        assert!(size_of::<Refused>() <= 64, "{}", size_of::<Refused>());
    }

    fn choice() -> impl Strategy<Value = Choice> {
        prop_oneof![Just(Choice::Denied), Just(Choice::Granted), Just(Choice::Unknown)]
    }

    fn on(decision: &Decision) -> [bool; 3] {
        match decision {
            Decision::Allowed(allowed) => allowed.states.map(|state| state.on),
            Decision::Refused(_) => [false; 3],
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn no_refusal_signal_or_further_place_switches_a_purpose_on(
            strict in any::<bool>(),
            places in proptest::collection::vec(0..322_usize, 1..4),
            added in 0..322_usize,
            choices in [choice(), choice(), choice()],
            refused in 0..3_usize,
            gpc in any::<bool>(),
        ) {
            let policy = if strict { Policy::tutorial_strict() } else { Policy::purpose_scoped() };
            static EVERY: LazyLock<Vec<&str>> = LazyLock::new(|| every_code().collect());
            let every = &*EVERY;
            let codes: Vec<&str> = places.iter().map(|at| every[*at]).collect();
            let before = on(&decide(policy, &codes, choices, gpc));

            let mut fewer = choices;
            fewer[refused] = Choice::Denied;
            let mut more_places = codes.clone();
            more_places.push(every[added]);
            for after in [
                decide(policy, &codes, fewer, gpc),
                decide(policy, &codes, choices, true),
                decide(policy, &more_places, choices, gpc),
                decide(policy, &[], choices, gpc),
            ] {
                for (was, is) in before.into_iter().zip(on(&after)) {
                    prop_assert!(was || !is, "{after:?}");
                }
            }
        }
    }
}
