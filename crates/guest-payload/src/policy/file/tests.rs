//! Tests of policy files.

use super::*;
use crate::{Age, Choice, Difference, DifferenceSummary, Obligation, Purpose};

const SCOPED: &str = include_str!("../../../policies/purpose-scoped.toml");
const STRICT: &str = include_str!("../../../policies/tutorial-strict.toml");

/// A minimal policy.
const MINIMAL: &str = r#"id = "mine"
version = "1.0.0"
about = "Nothing without a yes."
valid-from = 2026-01-01
reviewed = 2026-11-22
assumed-age = 18
functional = { basis = "contract", sources = ["us"] }
sources.us = { law = "our choice", article = "none", reviewed = 2026-11-22 }

[[rule]]
area = "elsewhere"
places = ["elsewhere"]
purposes = ["marketing", "personalization", "analytics"]
basis = "consent"
default = "off"
missing = "ask"
sources = ["us"]

[[rule]]
area = "unknown"
places = ["unknown"]
purposes = ["marketing", "personalization", "analytics"]
basis = "consent"
default = "off"
missing = "ask"
max-age-days = 30
sources = ["us"]
"#;

#[test]
fn shipped_policies_are_valid_and_their_examples_hold() {
    for text in [SCOPED, STRICT] {
        let file = PolicyFile::parse(text).unwrap();
        assert_eq!(Policy::find(&file.policy.id), Ok(&file.policy));
        assert_eq!(file.test(), []);
        assert_eq!(file.rules_without_example().next(), None);
    }
}

#[test]
fn minimal_file_is_a_policy() {
    let policy = Policy::parse(MINIMAL).unwrap();
    let outcome = |choice| {
        let case = Case {
            subject: Purpose::Analytics.into(),
            choice,
            gpc: false,
            age: Age::UNKNOWN,
            guardian: false,
            days: 0,
        };
        let (state, unmet) = policy
            .evaluate_subject(&[], case.subject, &case.input(18))
            .unwrap();
        assert!(unmet.is_none());
        (state.is_on(), state.obligations.iter().collect::<Vec<_>>())
    };
    assert_eq!(outcome(Choice::Unknown), (false, vec![Obligation::Ask]));
    assert_eq!(
        outcome(Choice::Granted),
        (true, vec![Obligation::OfferWithdrawal])
    );
}

fn refused_as(cases: &[(String, &str)]) {
    for (text, expected) in cases {
        let error = Policy::parse(text).unwrap_err().to_string();
        assert!(
            error.starts_with(expected),
            "{error:?} should start with {expected:?}"
        );
    }
}

#[test]
fn error_names_line_and_cause() {
    let with = |from: &str, to: &str| MINIMAL.replacen(from, to, 1);
    refused_as(&[
        (with("version =", "versoin ="), "line 2: unknown field `versoin`"),
        (
            with("\"mine\"", "\"My Policy\""),
            "line 1: invalid policy id \"My Policy\"",
        ),
        (with("1.0.0", "1.0"), "line 2: invalid version \"1.0\""),
        (with("2026-01-01", "2026-02-30"), "line 4: "),
        (
            with("2026-01-01", "2026-01-01T00:00:00Z"),
            "line 4: invalid date 2026-01-01T00:00:00Z",
        ),
        (with("2026-01-01", "\"soon\""), "line 4: "),
        (
            with("2026-01-01", "2026-01-02\nvalid-until = 2026-01-01"),
            "line 5: invalid valid-until",
        ),
        (with("= 18", "= 90"), "line 6: invalid age limit 90"),
        (
            with("sources = [\"us\"]\n\n[[rule]]", "sources = []\n\n[[rule]]"),
            "line 17: invalid list: it is empty",
        ),
        (
            with("sources = [\"us\"]\n\n[[rule]]", "\n[[rule]]"),
            "line 10: missing field `sources`",
        ),
        (
            with(
                "sources = [\"us\"]\n\n[[rule]]",
                "sources = [\"gdpr\"]\n\n[[rule]]",
            ),
            "line 17: invalid source \"gdpr\"",
        ),
        (
            with("law = \"our choice\"", "law = \" \""),
            "line 8: invalid text \" \": use 1 to 2000",
        ),
        (
            with(
                "\n[[rule]]",
                "sources.x = { law = \"a\", article = \"b\", reviewed = 2026-11-22 }\n\n[[rule]]",
            ),
            "line 9: invalid source \"x\": it is unused",
        ),
        (
            with("max-age-days = 30", "max-age-days = 0"),
            "line 26: invalid value: integer `0`, expected a nonzero u32",
        ),
        (
            with("places = [\"unknown\"]", "places = [\"FR\"]"),
            "line 1: invalid policy: marketing has no rule with the places \"unknown\"",
        ),
        (
            with("places = [\"unknown\"]", "places = [\"unknown\", \"FR\"]"),
            "line 21: invalid places: \"unknown\" must be the only one",
        ),
    ]);
}

#[test]
fn rule_error_names_line_and_cause() {
    let rule = |places: &str, more: &str| {
        format!(
            "{MINIMAL}\n[[rule]]\narea = \"A\"\nplaces = {places}\npurposes = [\"marketing\"]\nbasis = \"consent\"\n\
             default = \"off\"\nmissing = \"ask\"\nsources = [\"us\"]\n{more}"
        )
    };
    refused_as(&[
        (
            rule("[\"california\"]", ""),
            "line 31: invalid region \"california\": write US-CA",
        ),
        (rule("[\"georgia\"]", ""), "line 31: invalid region \"georgia\""),
        (rule("[]", ""), "line 31: invalid list: it is empty"),
        (
            rule("[\"FR\", \"FR\"]", ""),
            "line 29: invalid rule: marketing in FR has one on line 29",
        ),
        (
            rule("[\"FR\"]", "").replace("\"A\"", "\"a/b\""),
            "line 30: invalid area \"a/b\"",
        ),
        (
            rule("[\"FR\"]", "").replace("\"A\"", "\"unknown\""),
            "line 29: invalid rule mine/unknown/marketing: the first is on line 19",
        ),
        (
            rule("[\"FR\"]", "signals = [\"dnt\"]"),
            "line 37: unknown variant `dnt`",
        ),
        (rule("[\"FR\"]", "default = \"off\""), "line 37: duplicate key"),
        (
            rule("[\"FR\"]", "doubts = [\"\"]"),
            "line 37: invalid texts [\"\"]: use 1 to 2000",
        ),
        (
            rule("[\"FR\"]", "prohibited-below = 26"),
            "line 37: invalid age limit 26",
        ),
        (
            rule(
                "[\"FR\"]",
                "examples = [{ place = \"FR\", age = \"x\", is = \"on\" }]",
            ),
            "line 37: invalid age \"x\"",
        ),
        (
            rule("[\"FR\"]", "examples = [{ place = \"atlantis\", is = \"on\" }]"),
            "line 37: invalid region \"atlantis\"",
        ),
        (
            rule("[\"FR\"]", "max-age-days = 7"),
            "line 19: invalid rule mine/unknown/marketing: it is less strict than mine/A/marketing",
        ),
    ]);
}

#[test]
fn failed_example_names_actual_outcome() {
    let text = format!(
        "{MINIMAL}examples = [{{ place = \"unknown\", choice = \"granted\", days = 31, is = \"on\" }}]"
    );
    let file = PolicyFile::parse(&text).unwrap();
    let failures: Vec<String> = file.test().iter().map(ToString::to_string).collect();
    assert_eq!(
        failures[0],
        "line 28: marketing in unknown should be on by mine/unknown/marketing, and is off by mine/unknown/marketing"
    );
    assert_eq!(failures.len(), 3, "one for each purpose of the rule");
    assert_eq!(file.rules_without_example().count(), 3);
}

#[test]
fn difference_names_case_outcomes_and_places() {
    let older = Policy::parse(SCOPED).unwrap();
    assert_eq!(older.differences(&older), []);
    let newer = SCOPED.replacen("consent-from = 15", "consent-from = 14", 1);
    let newer = Policy::parse(&newer).unwrap();
    let differences: Vec<String> = older
        .differences(&newer)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        differences,
        ["marketing granted, at age 14: off -> on in CZ FR GR SI"]
    );
    let everywhere = Policy::tutorial_strict().differences(Policy::purpose_scoped());
    let lines: Vec<String> = everywhere.iter().map(ToString::to_string).collect();
    let refused = "marketing denied: denied -> off in EU EEA (part not known) BR CA GB unknown";
    assert!(lines.iter().any(|line| line == refused), "{lines:#?}");
    assert!(lines.iter().all(|line| line.len() <= 700), "{lines:#?}");
    let sensitive = |difference: &Difference| matches!(difference.case.subject, Subject::Sensitive(_));
    assert!(
        !everywhere.iter().any(sensitive),
        "one of them has no rules about it"
    );
    let summaries = DifferenceSummary::of(&everywhere);
    let total: usize = summaries.iter().map(|summary| summary.cases).sum();
    assert_eq!(total, everywhere.len());
    let analytics = summaries
        .iter()
        .find(|summary| summary.subject == Purpose::Analytics.into());
    assert!(analytics.unwrap().is_stricter, "the tutorial ticks it beforehand");
}

#[test]
fn sensitive_data_needs_rules_and_declarations_once() {
    const RULES: &str = "\n[[rule]]\narea = \"e\"\nplaces = [\"elsewhere\"]\nsensitive = [\"health\"]\nbasis = \"consent\"\n\
        default = \"off\"\nmissing = \"ask\"\nsources = [\"us\"]\n\n[[rule]]\narea = \"u\"\nplaces = [\"unknown\"]\n\
        sensitive = [\"health\"]\nbasis = \"consent\"\ndefault = \"off\"\nmissing = \"ask\"\nsources = [\"us\"]\n";
    let declared =
        |names: &str| MINIMAL.replacen("[[rule]]", &format!("[attributes]\n{names}\n\n[[rule]]"), 1);
    let policy = Policy::parse(&(declared("Diagnosis = \"health\"\nscore = \"ordinary\"") + RULES)).unwrap();
    assert_eq!(policy.category("marketing.diagnosis"), Some(Category::Health));
    assert_eq!(policy.category("score"), None);
    assert_eq!(
        policy.warning("health_score").map(|warning| warning.category),
        Some(Category::Health)
    );
    assert_eq!(policy.warning("diagnosis"), None);
    let (first, second) = RULES.split_at(RULES.rfind("\n[[rule]]").unwrap());
    refused_as(&[
        (
            declared("diagnosis = \"health\""),
            "line 11: invalid attribute \"diagnosis\": no rule has sensitive",
        ),
        (
            declared("diagnosis = \"health\"\nDiagnosis = \"health\"") + RULES,
            "line 11: invalid attribute \"diagnosis\": it is declared as \"Diagnosis\" too",
        ),
        (
            declared("bloodType = \"ordinary\"\nblood-type = \"health\"") + RULES,
            "line 11: invalid attribute \"bloodType\": it is declared as \"blood-type\" too, remove one",
        ),
        (
            declared("\"--\" = \"health\"") + RULES,
            "line 11: invalid attribute \"--\": use at least one letter or digit",
        ),
        (
            declared("diagnosis = \"secret\"") + RULES,
            "line 11: invalid attribute \"secret\": declare it as ordinary, health",
        ),
        (
            MINIMAL.to_owned() + first,
            "line 1: invalid policy: health has no rule with the places \"unknown\"",
        ),
        (
            MINIMAL.to_owned() + second,
            "line 1: invalid policy: health has no rule with the places \"elsewhere\"",
        ),
        (
            MINIMAL.to_owned() + &RULES.replace("\"ask\"", "\"deny_session\""),
            "line 29: invalid rule: a session cannot depend on sensitive data",
        ),
        (
            MINIMAL.replacen(
                "purposes = [\"marketing\", \"personalization\", \"analytics\"]\n",
                "",
                1,
            ),
            "line 10: invalid rule: it names neither purposes nor sensitive data",
        ),
    ]);
}

#[test]
fn age_of_consent_of_the_policy_holds_for_rules_without_one() {
    let text = MINIMAL.replacen("assumed-age = 18", "assumed-age = 18\nconsent-from = 14", 1);
    let own = text.replacen("max-age-days = 30", "max-age-days = 30\nconsent-from = 15", 1);
    let policy = Policy::parse(&own).unwrap();
    let age = |place: Option<&str>| {
        let place = place.map(|code| code.parse().unwrap());
        policy.rule(place, Purpose::Analytics).ages.consent_from
    };
    assert_eq!((age(Some("FR")), age(None)), (14, 15));
}

#[test]
fn serving_the_guest_has_rules_by_place() {
    let with = |places: &str| {
        let functional = "functional = { basis = \"contract\", sources = [\"us\"] }";
        let table =
            format!("functional = {{ basis = \"contract\", sources = [\"us\"], places = [{places}] }}\n");
        MINIMAL.replacen(functional, table.trim_end(), 1)
    };
    let entry = |area: &str, place: &str| {
        format!("{{ area = \"{area}\", places = [\"{place}\"], basis = \"exempt\", sources = [\"us\"] }}")
    };
    let policy = Policy::parse(&with(&entry("US", "US"))).unwrap();
    let rule = |code: &str| {
        &*policy
            .rule_about(code.parse().ok(), Subject::Functional)
            .unwrap()
            .id
    };
    assert_eq!(rule("US-TX"), "mine/US/functional");
    assert_eq!(rule("FR"), "mine/elsewhere/functional");
    assert_eq!(rule("nowhere"), "mine/unknown/functional");
    refused_as(&[
        (
            with(&format!("{}, {}", entry("US", "US"), entry("us", "US"))),
            "line 7: invalid functional.places: US has an entry already",
        ),
        (
            with(&format!("{}, {}", entry("US", "US"), entry("US", "FR"))),
            "line 7: invalid rule mine/US/functional: it exists already",
        ),
    ]);
}

#[test]
fn corrupted_policies_are_refused() {
    let mut refused = BTreeSet::new();
    let mut refuse = |text: String| {
        if let Err(error) = Policy::parse(&text) {
            assert!(error.line >= 1 && !error.to_string().is_empty());
            refused.insert(text);
        }
    };
    // every byte of the least policy, cut off or made into another
    for at in 0..MINIMAL.len() {
        refuse(MINIMAL[..at].to_owned());
        for other in [
            "\0", "\"", "[", "]", "=", "é", "\n", "#", "{", "}", "'", "\\", ",", ".",
        ] {
            refuse(format!("{}{other}{}", &MINIMAL[..at], &MINIMAL[at + 1..]));
            refuse(format!("{}{other}{}", &MINIMAL[..at], &MINIMAL[at..]));
        }
    }
    assert!(refused.len() >= 10_000, "{}", refused.len());
    assert!(Policy::parse(&" ".repeat(PolicyFile::MAX_BYTES + 1)).is_err());
    assert!(Policy::parse(&"[".repeat(100_000)).is_err());
    let deep = format!("x = {}{}", "[".repeat(30_000), "]".repeat(30_000));
    assert!(Policy::parse(&deep).is_err());
}
