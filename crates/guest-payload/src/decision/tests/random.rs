//! Random guests: 1,000,000 in the deep list.

use super::*;

/// A random guest.
#[derive(Clone, Debug)]
struct Case {
    places: Vec<Jurisdiction>,
    age: Age,
    gpc: bool,
    given: [(Choice, u16, bool); 3],
    /// A category of sensitive data, with the choice about it.
    category: Category,
    sensitive: (Choice, u16, bool),
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
        let mut choice = || {
            let days = [0, 1, 400, 730, 731, 4_000][random(6) as usize];
            (CHOICES[random(3) as usize], days, random(4) == 0)
        };
        let given = [(); 3].map(|()| choice());
        let sensitive = choice();
        Self {
            category: Category::ALL[random(Category::ALL.len() as u64) as usize],
            places,
            age,
            gpc,
            given,
            sensitive,
        }
    }

    fn consent(&self) -> Consent {
        let asked = Consent::together([Choice::Unknown; 3], Evidence::at(today()));
        let evidence = |days: u16, guardian| {
            let mut evidence = Evidence::at(today() - time::Duration::days(days.into()));
            if guardian {
                evidence.actor = crate::Actor::Guardian;
                evidence.guardian = Some(verified());
            }
            evidence
        };
        let given = Purpose::ALL.into_iter().zip(self.given);
        let consent = given.fold(asked, |consent, (purpose, (choice, days, guardian))| {
            consent.with(purpose, choice, evidence(days, guardian))
        });
        let (choice, days, guardian) = self.sensitive;
        consent.with_sensitive(self.category, choice, evidence(days, guardian))
    }

    fn input<'a>(&'a self, consent: &'a Consent) -> DecisionInput<'a> {
        DecisionInput {
            jurisdictions: &self.places,
            age: self.age,
            signals: Signals { gpc: self.gpc },
            consent,
            now: today(),
        }
    }

    /// Whether each purpose and the sensitive data are on; none if there is no session.
    fn on(&self, policy: &Policy) -> [bool; 4] {
        let Evaluation {
            states,
            unmet,
            sensitive,
        } = policy.evaluate(&self.input(&self.consent()));
        let refused = unmet.iter().any(Option::is_some);
        let [marketing, personalization, analytics] = states.map(|state| state.is_on() && !refused);
        let found = sensitive.iter().find(|(category, _)| *category == self.category);
        let sensitive = found.is_some_and(|(_, state)| state.is_on() && !refused);
        [marketing, personalization, analytics, sensitive]
    }

    /// Below an age of consent nothing is on without a guardian's evidence, in any place.
    fn check_age(&self, policy: &Policy) {
        let consent = self.consent();
        let Some(age) = self.age.years() else { return };
        let evaluation = policy.evaluate(&self.input(&consent));
        let sensitive = evaluation.sensitive.into_iter().map(|(_, state)| state);
        for state in evaluation.states.into_iter().chain(sensitive) {
            let rules = policy.rules_for(&self.places, state.rule.subject);
            let is_child = rules.into_iter().any(|rule| age < rule.ages.consent_from);
            let given = consent.about(state.rule.subject);
            let by_guardian = given.is_some_and(|given| given.evidence.is_by_guardian());
            assert!(
                !(is_child && state.is_on()) || by_guardian,
                "{}: {self:?}",
                policy.id
            );
        }
    }

    /// The remedies of whatever is off switch it on, if all are applied to the guest.
    fn check_remedies(&self, policy: &'static Policy) {
        let consent = self.consent();
        let Ok(allowed) = policy.decide(&self.input(&consent)) else {
            return;
        };
        for state in allowed.states().filter(|state| !state.is_on()) {
            let Some(remedies) = allowed.remedies(state.rule.subject) else {
                continue;
            };
            let (mut changed, mut evidence) = (self.clone(), Evidence::at(today()));
            let mut choice = Choice::Unknown;
            if let Some(given) = consent.about(state.rule.subject) {
                (choice, evidence) = (given.choice, given.evidence.clone());
            }
            for remedy in &remedies {
                match remedy {
                    Remedy::Agreement => {
                        choice = Choice::Granted;
                        evidence.chosen_at = today();
                    }
                    Remedy::GuardianEvidence => {
                        evidence.actor = crate::Actor::Guardian;
                        evidence.guardian = Some(verified());
                    }
                    Remedy::NoSignal => changed.gpc = false,
                    Remedy::MinimumAge(years) => changed.age = Age::at_least(*years),
                    Remedy::PolicyInForce => {}
                }
            }
            let consent = match state.rule.subject {
                Subject::Purpose(purpose) => consent.clone().with(purpose, choice, evidence),
                Subject::Sensitive(category) => consent.clone().with_sensitive(category, choice, evidence),
                Subject::Functional => continue,
            };
            let after = policy.evaluate(&changed.input(&consent));
            let all = after
                .states
                .into_iter()
                .chain(after.sensitive.into_iter().map(|(_, state)| state));
            let now = all
                .into_iter()
                .find(|other| other.rule.subject == state.rule.subject)
                .unwrap();
            assert!(now.is_on(), "{remedies:?} {} {self:?}", state.rule.id);
        }
    }

    /// A declared sensitive attribute leaves only if its purpose and its category are on, also after a re-evaluation.
    fn check_sensitive_attribute(&self, policy: &'static Policy) {
        let [marketing, _, _, sensitive] = self.on(policy);
        let places = Jurisdictions::from(&*self.places);
        let mut guest = NewGuest::new("c".parse().unwrap(), places, self.consent());
        (guest.age, guest.signals) = (self.age, Signals { gpc: self.gpc });
        let mut declared = Policy::purpose_scoped().attributes();
        let (name, _) = declared
            .find(|(_, category)| *category == Some(self.category))
            .unwrap();
        let name = format!("Marketing-marketing.{name}");
        guest.attributes.insert(&*name, "x").unwrap();
        let Ok(session) = guest.decide(policy, today()) else {
            return;
        };
        let leaves = session.data().attributes().count() == 1;
        let is_declared = policy.category(&name).is_some();
        assert_eq!(
            leaves,
            marketing && (sensitive || !is_declared),
            "{}: {self:?}",
            policy.id
        );
        let later = session.data().reevaluate(Policy::purpose_scoped(), today());
        let data = later.as_ref().map_or(session.data(), |update| &update.data);
        let has_basis =
            data.consent().purpose(Purpose::Marketing).is_on() && data.consent().allows(self.category);
        assert!(data.attributes().count() == 0 || has_basis, "{self:?}");
    }
}

/// The cases of the random test: 1,000,000 in the deep list.
fn case_count() -> usize {
    match std::env::var("GUEST_PAYLOAD_CASES") {
        Ok(cases) => cases.parse().expect("GUEST_PAYLOAD_CASES is a number"),
        Err(_) => 20_000,
    }
}

#[test]
fn nothing_is_switched_on_by_refusal_signal_age_place_or_less_evidence() {
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
    while cases < case_count() {
        let case = Case::generate(&mut random, &every);
        let policy = Policy::all()[random(2) as usize];
        let before = case.on(policy);
        let mut stricter = [(); 6].map(|()| case.clone());
        match random(4) as usize {
            3 => stricter[0].sensitive.0 = Choice::Denied,
            purpose => stricter[0].given[purpose].0 = Choice::Denied,
        }
        stricter[1].gpc = true;
        stricter[2].age = Age::at_least(random(u64::from(case.age.years().unwrap_or(18)) + 1) as u8);
        stricter[3]
            .places
            .push(every[random(every.len() as u64) as usize]);
        stricter[4].places.clear();
        let Case { given, sensitive, .. } = &mut stricter[5];
        for (_, _, guardian) in given.iter_mut().chain([sensitive]) {
            *guardian = false;
        }
        for after in &stricter {
            for (was, is) in before.into_iter().zip(after.on(policy)) {
                assert!(was || !is, "{}: {case:?} {after:?}", policy.id);
            }
            cases += 1;
        }
        case.check_age(policy);
        case.check_remedies(policy);
        case.check_sensitive_attribute(policy);
    }
}
