//! Tests of decisions.

use super::*;
use crate::Evidence;
use crate::jurisdiction::every_code;

const CHOICES: [Choice; 3] = [Choice::Denied, Choice::Granted, Choice::Unknown];

fn today() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_795_350_600).unwrap()
}

fn decide(
    policy: &'static Policy,
    codes: &[&str],
    choices: [Choice; 3],
    gpc: bool,
) -> Result<Allowed<'static>, Refused<'static>> {
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
        .explain();
    assert_eq!(
        text,
        "A session with a guest in California (US-CA) and Germany (DE) is allowed by the policy purpose-scoped \
         1.1.0.\n\
         - serving the guest needs no agreement. Source: GDPR, Art. 6(1)(b).\n\
         - marketing is off: the guest's browser sent an opt-out signal (GPC). Rule \
         purpose-scoped/US-CA/marketing; source: CAN-SPAM Act, 15 U.S.C., § 7704(a); CCPA, Cal. Civ. Code, \
         § 1798.120; COPPA, 15 U.S.C., § 6502. To do: tell the guest before the socket opens.\n\
         - personalization is off: the guest refused it. Rule purpose-scoped/US-CA/personalization; source: CCPA, \
         Cal. Civ. Code, § 1798.120; 11 CCR, § 7025; CIPA, Cal. Penal Code, § 631 and § 632.7; COPPA, 15 U.S.C., \
         § 6502. To do: tell the guest before the socket opens.\n\
         - analytics is off: it needs an agreement first, and the guest gave none. Rule \
         purpose-scoped/EU/analytics; source: Directive 2002/58/EC, Art. 5(3); GDPR, Art. 8(1). To do: tell the \
         guest before the socket opens."
    );
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
    assert!(size_of::<Refused<'_>>() <= 64, "{}", size_of::<Refused<'_>>());
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

/// A random guest.
#[derive(Clone, Debug)]
struct Case {
    places: Vec<Jurisdiction>,
    age: Age,
    gpc: bool,
    given: [(Choice, u16, bool); 3],
}

impl Case {
    fn generate(random: &mut impl FnMut(u64) -> u64, every: &[Jurisdiction]) -> Self {
        let places = (0..=random(3)).map(|_| every[random(every.len() as u64) as usize]);
        let places = places.collect();
        let age = match random(24) {
            years @ 0..20 => Age::at_least(years as u8),
            _ => Age::UNKNOWN,
        };
        let gpc = random(2) == 0;
        let given = [(); 3].map(|()| {
            let days = [0, 1, 400, 730, 731, 4_000][random(6) as usize];
            (CHOICES[random(3) as usize], days, random(4) == 0)
        });
        Self {
            places,
            age,
            gpc,
            given,
        }
    }

    fn consent(&self) -> Consent {
        let asked = Consent::together([Choice::Unknown; 3], Evidence::at(today()));
        let given = Purpose::ALL.into_iter().zip(self.given);
        given.fold(asked, |consent, (purpose, (choice, days, guardian))| {
            let mut evidence = Evidence::at(today() - time::Duration::days(days.into()));
            if guardian {
                evidence.actor = crate::Actor::Guardian;
            }
            consent.with(purpose, choice, evidence)
        })
    }

    /// The purposes that are on; none if there is no session.
    fn on(&self, policy: &Policy, consent: &Consent) -> [bool; 3] {
        let Evaluation { states, unmet } = policy.evaluate(&DecisionInput {
            jurisdictions: &self.places,
            age: self.age,
            signals: Signals { gpc: self.gpc },
            consent,
            now: today(),
        });
        let refused = unmet.iter().any(Option::is_some);
        states.map(|state| state.is_on() && !refused)
    }
}

#[test]
fn purpose_is_not_switched_on_by_refusal_signal_age_or_place() {
    let every: Vec<Jurisdiction> = Jurisdiction::all().collect();
    // splitmix64, from the same seed each time
    let mut state = 0x5EED_u64;
    let mut random = move |below: u64| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % below
    };
    let mut cases = 0;
    while cases < 1_000_000 {
        let case = Case::generate(&mut random, &every);
        let policy = Policy::all()[random(2) as usize];
        let consent = case.consent();
        let before = case.on(policy, &consent);
        let mut refusing = case.clone();
        refusing.given[random(3) as usize].0 = Choice::Denied;
        let fewer = refusing.consent();
        let mut stricter = [(); 5].map(|()| case.clone());
        stricter[1].gpc = true;
        stricter[2].age = Age::at_least(random(u64::from(case.age.years().unwrap_or(18)) + 1) as u8);
        stricter[3]
            .places
            .push(every[random(every.len() as u64) as usize]);
        stricter[4].places.clear();
        for (at, after) in stricter.iter().enumerate() {
            let consent = if at == 0 { &fewer } else { &consent };
            for (was, is) in before.into_iter().zip(after.on(policy, consent)) {
                assert!(was || !is, "{}: {case:?} {after:?}", policy.id);
            }
            cases += 1;
        }
    }
}
