//! Tests of decisions.

mod random;

use super::*;
use crate::jurisdiction::every_code;
use crate::{Choice, Evidence, GuardianEvidence, NewGuest, Relationship, Verification};

const CHOICES: [Choice; 3] = [Choice::Denied, Choice::Granted, Choice::Unknown];

fn today() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_795_350_600).unwrap()
}

fn decide(
    policy: &'static Policy,
    codes: &[&str],
    choices: [Choice; 3],
    gpc: bool,
) -> Result<Allowed<'static>, Refused> {
    let places: Vec<Jurisdiction> = codes.iter().map(|code| code.parse().unwrap()).collect();
    policy.decide(&DecisionInput {
        jurisdictions: &places,
        age: Age::UNKNOWN,
        signals: Signals { gpc },
        consent: &Consent::together(choices, Evidence::at(today())),
        now: today(),
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

/// The tutorial's Python in Rust, independent of the engine.
///
/// `None` stands for its `ValueError`, otherwise the value of `payload["consent"]`.
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
fn tutorial_strict_decides_like_the_tutorial() {
    let mut cases = 0;
    for code in every_code() {
        for choices in combinations() {
            let decided = decide(Policy::tutorial_strict(), &[code], choices, false);
            let decided = decided
                .ok()
                .map(|allowed| allowed.states.map(|state| state.is_on()));
            assert_eq!(decided, tutorial(code, choices), "{code} {choices:?}");
            cases += 1;
        }
    }
    assert_eq!(cases, 322 * 27);
}

#[test]
fn refusal_names_missing_purposes_and_rules() {
    let choices = [Choice::Denied, Choice::Unknown, Choice::Unknown];
    let refused = decide(Policy::tutorial_strict(), &["fr"], choices, false).unwrap_err();
    assert_eq!(
        refused.missing().collect::<Vec<_>>(),
        [
            (Purpose::Marketing, "tutorial-strict/EU/marketing"),
            (Purpose::Personalization, "tutorial-strict/EU/personalization"),
        ]
    );
    assert_eq!(
        refused.to_string(),
        "cannot create a session in FR under the policy tutorial-strict 1.0.0: marketing is not granted (rule \
         tutorial-strict/EU/marketing), personalization is not granted (rule \
         tutorial-strict/EU/personalization); ask the guest, and create it once they agree"
    );
}

#[test]
fn unknown_place_takes_strictest_rules() {
    let unknown = [Choice::Unknown; 3];
    assert!(decide(Policy::tutorial_strict(), &[], unknown, false).is_err());
    let allowed = decide(Policy::purpose_scoped(), &[], unknown, false).unwrap();
    assert!(
        Purpose::ALL
            .iter()
            .all(|purpose| !allowed.state(*purpose).is_on())
    );
}

#[test]
fn purpose_scoped_allows_every_session() {
    for code in every_code() {
        for choices in combinations() {
            assert!(decide(Policy::purpose_scoped(), &[code], choices, true).is_ok());
        }
    }
    let on = |code: &str, gpc| {
        decide(Policy::purpose_scoped(), &[code], [Choice::Unknown; 3], gpc)
            .unwrap()
            .states
            .map(|state| state.is_on())
    };
    assert_eq!(on("DE", false), [false, false, false]);
    assert_eq!(on("US", false), [true, true, true]);
    assert_eq!(on("US-CA", true), [false, false, true]);
    assert_eq!(on("CH", false), [false, true, true]);
    assert_eq!(on("CA-QC", false), [false, false, false]);
    assert_eq!(on("TV", false), [false, false, false]);
}

#[test]
fn gpc_overrides_grant_but_not_refusal_reason() {
    let granted = [Choice::Granted; 3];
    for policy in Policy::all() {
        let allowed = decide(policy, &["US"], granted, true).unwrap();
        let reasons = allowed.states.map(|state| state.reason);
        assert_eq!(
            reasons,
            [Reason::OptOutSignal, Reason::OptOutSignal, Reason::Granted]
        );
    }
    let denied = [Choice::Denied, Choice::Granted, Choice::Granted];
    let allowed = decide(Policy::purpose_scoped(), &["US"], denied, true).unwrap();
    assert_eq!(allowed.state(Purpose::Marketing).reason, Reason::Denied);
}

#[test]
fn most_protective_place_wins_in_any_order() {
    for codes in [["US", "FR"], ["FR", "US"]] {
        let allowed = decide(Policy::purpose_scoped(), &codes, [Choice::Unknown; 3], false).unwrap();
        for purpose in Purpose::ALL {
            let state = allowed.state(purpose);
            assert!(!state.is_on() && state.rule.id.starts_with("purpose-scoped/EU-15/"));
        }
        assert!(decide(Policy::tutorial_strict(), &codes, [Choice::Unknown; 3], false).is_err());
    }
}

#[test]
fn decision_explains_each_purpose() {
    let choices = [Choice::Granted, Choice::Denied, Choice::Unknown];
    let text = decide(Policy::purpose_scoped(), &["US-CA", "DE"], choices, true)
        .unwrap()
        .explain(&[]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..3],
        [
            "A session with a guest in California (US-CA) and Germany (DE) is allowed by the policy purpose-scoped 2.0.0.",
            "- serving the guest needs no agreement. Rule purpose-scoped/US/functional; source: our choice, no law of the \
             United States demands a basis for serving a guest who asked for it. Rule purpose-scoped/EU/functional; \
             source: GDPR, Art. 6(1)(b).",
            "- marketing is off: the guest's browser sent an opt-out signal (GPC). Rule purpose-scoped/US-CA/marketing; \
             source: 11 CCR, § 7025. To do: tell the guest before the socket opens. It would be on if the browser sends no \
             signal.",
        ]
    );
    assert!(
        lines[3].ends_with("It would be on if the guest agrees and the browser sends no signal."),
        "{text}"
    );
    assert!(
        lines[4].starts_with(
            "- analytics is off: it needs an agreement first, and the guest gave none. Rule purpose-scoped/EU/analytics; \
             source: Directive 2002/58/EC, Art. 5(3)."
        ),
        "{text}"
    );
    assert_eq!(lines.len(), 5);
    let refused = decide(
        Policy::tutorial_strict(),
        &[],
        [Choice::Granted; 3].map(|_| Choice::Unknown),
        false,
    );
    assert!(
        refused
            .unwrap_err()
            .explain()
            .starts_with("A session with a guest in an unknown place is refused")
    );
}

#[test]
fn refusal_is_at_most_64_bytes() {
    assert!(size_of::<Refused>() <= 64, "{}", size_of::<Refused>());
}

#[test]
fn decision_depends_on_age_time_and_guardian() {
    let decide = |code: &str, age, evidence: Evidence, now| {
        let allowed = Policy::purpose_scoped()
            .decide(&DecisionInput {
                jurisdictions: &[code.parse().unwrap()],
                age,
                signals: Signals::default(),
                consent: &Consent::together([Choice::Granted; 3], evidence),
                now,
            })
            .unwrap();
        allowed.states.map(|state| state.reason)
    };
    let now = || Evidence::at(today());
    assert_eq!(
        decide("FR", Age::at_least(15), now(), today()),
        [Reason::Granted; 3]
    );
    assert_eq!(
        decide("FR", Age::at_least(14), now(), today()),
        [Reason::GuardianNeeded; 3]
    );
    let mut guardian = now();
    guardian.actor = crate::Actor::Guardian;
    assert_eq!(
        decide("FR", Age::at_least(14), guardian.clone(), today()),
        [Reason::GuardianNeeded; 3],
        "without evidence"
    );
    guardian.guardian = Some(verified());
    assert_eq!(
        decide("FR", Age::at_least(14), guardian.clone(), today()),
        [Reason::Granted; 3]
    );
    assert_eq!(
        decide("TV", Age::at_least(17), guardian, today()),
        [Reason::TooYoung; 3]
    );
    let later = today() + time::Duration::days(731);
    assert_eq!(
        decide("KR", Age::UNKNOWN, now(), later),
        [Reason::Expired, Reason::Granted, Reason::Granted]
    );
    let earlier = today() - time::Duration::days(365);
    assert_eq!(
        decide("FR", Age::UNKNOWN, now(), earlier),
        [Reason::PolicyNotInForce; 3]
    );
}

#[test]
fn choices_have_separate_evidence() {
    let consent = Consent::together([Choice::Granted; 3], Evidence::at(today())).with(
        Purpose::Marketing,
        Choice::Granted,
        Evidence::at(today() - time::Duration::days(731)),
    );
    let decision = Policy::purpose_scoped().decide(&DecisionInput {
        jurisdictions: &["KR".parse().unwrap()],
        age: Age::UNKNOWN,
        signals: Signals::default(),
        consent: &consent,
        now: today(),
    });
    let allowed = decision.unwrap();
    assert_eq!(
        allowed.states.map(|state| state.reason),
        [Reason::Expired, Reason::Granted, Reason::Granted]
    );
    let obligations = allowed.states.map(|state| state.obligations);
    let all = obligations.into_iter().fold(Obligations::NONE, Obligations::and);
    let to_do: Vec<Obligation> = all.iter().collect();
    assert_eq!(
        to_do,
        [
            Obligation::AskAgain,
            Obligation::AskSeparately,
            Obligation::OfferWithdrawal,
            Obligation::InformFirst
        ]
    );
    assert_eq!(
        allowed.states.map(|state| &*state.rule.id),
        [
            "purpose-scoped/KR/marketing",
            "purpose-scoped/KR/personalization",
            "purpose-scoped/KR/analytics"
        ]
    );
}

/// The evidence of a parent.
fn verified() -> GuardianEvidence {
    GuardianEvidence::new(Relationship::Parent, Verification::SignedForm, today())
}

#[test]
fn serving_the_guest_cites_the_law_of_the_place() {
    for (code, law) in [
        ("US-TX", "our choice"),
        ("CN", "PIPL"),
        ("JP", "APPI"),
        ("GB", "UK GDPR"),
        ("BR", "LGPD, Law 13.709/2018"),
        ("FR", "GDPR"),
        ("TV", "our choice"),
    ] {
        let allowed = decide(Policy::purpose_scoped(), &[code], [Choice::Unknown; 3], false).unwrap();
        let laws: Vec<&str> = allowed.functional().map(|rule| &*rule.sources[0].law).collect();
        assert_eq!(laws, [law], "{code}");
    }
}

#[test]
fn age_is_the_reason_where_age_is_the_cause() {
    let allowed = |code: &str, age| {
        Policy::purpose_scoped().decide(&DecisionInput {
            jurisdictions: &[code.parse().unwrap()],
            age: Age::at_least(age),
            signals: Signals::default(),
            consent: &Consent::together([Choice::Unknown; 3], Evidence::at(today())),
            now: today(),
        })
    };
    let japan = allowed("JP", 14).unwrap();
    assert_eq!(
        japan.states.map(|state| state.reason),
        [Reason::GuardianNeeded; 3]
    );
    let text = japan.explain(&[]);
    assert!(
        text.contains(
            "personalization is off: the guest may be younger than 15, and there is no evidence that a parent"
        ),
        "{text}"
    );
    let california = allowed("US-CA", 15).unwrap();
    assert_eq!(
        california.states.map(|state| state.reason),
        [Reason::MinorNotGranted; 3]
    );
    let maryland = allowed("US-MD", 17).unwrap();
    assert_eq!(maryland.state(Purpose::Personalization).reason, Reason::TooYoung);
}

#[test]
fn remedy_is_another_age_only_if_nothing_else_helps() {
    for (place, expected) in [
        ("JP", vec![Remedy::Agreement, Remedy::GuardianEvidence]),
        ("BR", vec![Remedy::Agreement, Remedy::MinimumAge(18)]),
    ] {
        let input = DecisionInput {
            jurisdictions: &[place.parse().unwrap()],
            age: Age::at_least(14),
            signals: Signals::default(),
            consent: &Consent::together([Choice::Unknown; 3], Evidence::at(today())),
            now: today(),
        };
        let allowed = Policy::purpose_scoped().decide(&input).unwrap();
        let remedies = allowed.remedies(Purpose::Personalization.into());
        assert_eq!(remedies, Some(expected), "{place}");
    }
}
