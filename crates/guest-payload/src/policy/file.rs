//! Reads a policy from its file, in TOML. `policies/README.md` describes the file.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use time::Date;
use toml::Spanned;
use toml::value::Datetime;

use super::example::Example;
use super::mistake::{Mistake, PolicyError};
use super::rule::{Ages, Fact, Rule, Scope, Source};
use super::sheet::{ExampleSheet, RuleSheet, Sheet, Signal};
use super::{Functional, Policy, index};
use crate::{Age, Choice, Jurisdiction, Jurisdictions, Obligations, Purpose};

impl Policy {
    /// Reads a policy from the text of its file.
    ///
    /// # Errors
    /// With line and reason, if the text breaks a rule of the file's form, or rules contradict each other.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        Ok(PolicyFile::parse(text)?.policy)
    }
}

/// A policy with the examples that its file gives beside the rules.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PolicyFile {
    /// The policy.
    pub policy: Policy,
    /// What its author expects of it.
    pub examples: Vec<Example>,
}

impl PolicyFile {
    /// Most bytes of a file. Our choice.
    pub const LARGEST: usize = 1 << 20;
    /// Most rules, counted once for each purpose. Our choice.
    pub const MOST_RULES: usize = 2_000;

    /// Reads a policy and its examples from the text of the file.
    ///
    /// # Errors
    /// As [`Policy::parse`].
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        if text.len() > Self::LARGEST {
            let mistake = Mistake::TooLarge {
                what: "bytes",
                most: Self::LARGEST,
            };
            return Err(PolicyError::new(1, mistake));
        }
        let lines = Lines(text);
        let sheet: Sheet = toml::from_str(text).map_err(|error| {
            let mistake = Mistake::Syntax {
                message: short(error.message(), 300),
            };
            lines.error(&error.span().unwrap_or(0..0), mistake)
        })?;
        Reader { lines, sheet: &sheet }.read()
    }
}

struct Lines<'a>(&'a str);

impl Lines<'_> {
    fn of(&self, span: &Range<usize>) -> usize {
        let before = self.0.as_bytes().get(..span.start).unwrap_or_default();
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    fn error(&self, span: &Range<usize>, mistake: Mistake) -> PolicyError {
        PolicyError::new(self.of(span), mistake)
    }
}

struct Reader<'a> {
    lines: Lines<'a>,
    sheet: &'a Sheet,
}

impl Reader<'_> {
    fn read(&self) -> Result<PolicyFile, PolicyError> {
        let sheet = self.sheet;
        let id = sheet.id.get_ref();
        let is_id = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        if id.is_empty() || id.len() > 64 || !id.bytes().all(is_id) {
            return Err(self.error(&sheet.id, Mistake::Id { id: short(id, 64) }));
        }
        let version = sheet.version.get_ref();
        let is_number =
            |part: &str| (1..=6).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_digit());
        if version.split('.').count() != 3 || !version.split('.').all(is_number) {
            let version = short(version, 64);
            return Err(self.error(&sheet.version, Mistake::Version { version }));
        }
        let valid_from = self.day(&sheet.valid_from)?;
        let valid_until = sheet
            .valid_until
            .as_ref()
            .map(|date| self.day(date))
            .transpose()?;
        if let Some(until) = &sheet.valid_until
            && valid_until.is_some_and(|last| last < valid_from)
        {
            return Err(self.error(until, Mistake::Backwards));
        }
        let sources = self.all_sources()?;
        let (rules, examples) = self.rules(&sources)?;
        let policy = Policy {
            id: id.clone(),
            version: version.clone(),
            about: self.text("about", &sheet.about, 2_000)?,
            valid_from,
            valid_until,
            reviewed: self.day(&sheet.reviewed)?,
            assumed_age: self.years(Some(&sheet.assumed_age))?,
            functional: Functional {
                basis: sheet.functional.basis,
                sources: self.sources(&sheet.functional.sources, &sources)?,
            },
            index: index::build(&rules),
            rules,
        };
        Ok(PolicyFile { policy, examples })
    }

    fn all_sources(&self) -> Result<BTreeMap<&str, Source>, PolicyError> {
        let sheet = self.sheet;
        let mut used: BTreeSet<&str> = BTreeSet::new();
        let lists = sheet.rules.iter().map(|rule| &rule.sources);
        for name in lists
            .chain([&sheet.functional.sources])
            .flat_map(Spanned::get_ref)
        {
            used.insert(name.get_ref());
        }
        let mut sources = BTreeMap::new();
        for (name, source) in &sheet.sources {
            let read = Source {
                law: self.text("law", &source.law, 300)?,
                article: self.text("article", &source.article, 300)?,
                reviewed: self.day(&source.reviewed)?,
            };
            if !used.contains(name.get_ref().as_str()) {
                let mistake = Mistake::UnusedSource {
                    name: short(name.get_ref(), 64),
                };
                return Err(self.error(name, mistake));
            }
            sources.insert(name.get_ref().as_str(), read);
        }
        Ok(sources)
    }

    fn rules(&self, sources: &BTreeMap<&str, Source>) -> Result<(Vec<Rule>, Vec<Example>), PolicyError> {
        let (mut rules, mut examples) = (Vec::new(), Vec::new());
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        let mut taken: BTreeMap<(&'static str, Purpose), usize> = BTreeMap::new();
        for sheet in &self.sheet.rules {
            let line = self.lines.of(&sheet.area.span());
            let scope = self.scope(sheet)?;
            if sheet.purposes.get_ref().is_empty() {
                return Err(self.error(&sheet.purposes, Mistake::Nothing { what: "purposes" }));
            }
            for purpose in sheet.purposes.get_ref() {
                for place in names_of(&scope) {
                    if let Some(first) = taken.insert((place, *purpose.get_ref()), line) {
                        let purpose_taken = *purpose.get_ref();
                        let mistake = Mistake::Overlap {
                            purpose: purpose_taken,
                            place,
                            first,
                        };
                        return Err(self.error(&sheet.area, mistake));
                    }
                }
                let rule = self.rule(sheet, &scope, *purpose.get_ref(), sources)?;
                if let Some(first) = names.insert(rule.id.clone(), line) {
                    return Err(self.error(&sheet.area, Mistake::SameName { id: rule.id, first }));
                }
                for example in &sheet.examples {
                    examples.push(self.example(example, &rule)?);
                }
                rules.push(rule);
            }
            if rules.len() > PolicyFile::MOST_RULES {
                let mistake = Mistake::TooLarge {
                    what: "rules",
                    most: PolicyFile::MOST_RULES,
                };
                return Err(self.error(&sheet.area, mistake));
            }
        }
        for purpose in Purpose::ALL {
            for places in [ELSEWHERE, UNKNOWN] {
                if !taken.contains_key(&(places, purpose)) {
                    return Err(PolicyError::new(1, Mistake::NoFallback { purpose, places }));
                }
            }
        }
        if let Some((unknown, stricter)) = laxer_than_another(&rules) {
            let line = names.get(&unknown.id).copied().unwrap_or(1);
            let mistake = Mistake::LaxUnknown {
                unknown: unknown.id.clone(),
                stricter: stricter.id.clone(),
            };
            return Err(PolicyError::new(line, mistake));
        }
        Ok((rules, examples))
    }

    fn rule(
        &self,
        sheet: &RuleSheet,
        scope: &Scope,
        purpose: Purpose,
        sources: &BTreeMap<&str, Source>,
    ) -> Result<Rule, PolicyError> {
        let area = sheet.area.get_ref();
        let is_name = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
        if area.is_empty() || area.len() > 32 || !area.bytes().all(is_name) {
            return Err(self.error(
                &sheet.area,
                Mistake::Area {
                    area: short(area, 32),
                },
            ));
        }
        if let Some(days) = sheet.max_age_days.as_ref().filter(|days| *days.get_ref() == 0) {
            return Err(self.error(days, Mistake::ZeroDays));
        }
        let doubts: Result<Vec<String>, PolicyError> = sheet
            .doubts
            .iter()
            .map(|doubt| self.text("a doubt", doubt, 500))
            .collect();
        Ok(Rule {
            id: format!("{}/{area}/{purpose}", self.sheet.id.get_ref()),
            purpose,
            scope: scope.clone(),
            basis: sheet.basis,
            default: sheet.default,
            on_missing: sheet.missing,
            gpc: sheet.signals.iter().any(|Signal::Gpc| true),
            ages: Ages {
                consent_from: self.years(sheet.consent_from.as_ref())?,
                opt_in_below: self.years(sheet.opt_in_below.as_ref())?,
                prohibited_below: self.years(sheet.prohibited_below.as_ref())?,
            },
            max_age_days: sheet.max_age_days.as_ref().map(|days| *days.get_ref()),
            obligations: Obligations::of(&sheet.obligations),
            sources: self.sources(&sheet.sources, sources)?,
            doubts: doubts?,
        })
    }

    fn scope(&self, sheet: &RuleSheet) -> Result<Scope, PolicyError> {
        let places = sheet.places.get_ref();
        let alone = |name| places.iter().any(|place| place.get_ref() == name);
        for (name, scope) in [(ELSEWHERE, Scope::Elsewhere), (UNKNOWN, Scope::Unknown)] {
            if alone(name) {
                if places.len() > 1 {
                    return Err(self.error(&sheet.places, Mistake::PlacesBeside { places: name }));
                }
                return Ok(scope);
            }
        }
        if places.is_empty() {
            return Err(self.error(&sheet.places, Mistake::Nothing { what: "places" }));
        }
        let place = |text: &Spanned<String>| {
            text.get_ref()
                .parse::<Jurisdiction>()
                .map_err(|error| self.error(text, Mistake::Place { error }))
        };
        let places: Vec<Jurisdiction> = places.iter().map(place).collect::<Result<_, _>>()?;
        Ok(Scope::Places(places))
    }

    fn example(&self, sheet: &ExampleSheet, rule: &Rule) -> Result<Example, PolicyError> {
        let place = |error| self.error(&sheet.place, Mistake::Place { error });
        let places: Jurisdictions = sheet.place.get_ref().parse().map_err(place)?;
        let age = match &sheet.age {
            Some(text) => text
                .get_ref()
                .parse()
                .map_err(|error| self.error(text, Mistake::Age { error }))?,
            None => Age::UNKNOWN,
        };
        Ok(Example {
            line: self.lines.of(&sheet.place.span()),
            rule: rule.id.clone(),
            purpose: rule.purpose,
            places,
            choice: sheet.choice,
            gpc: sheet.gpc,
            age,
            guardian: sheet.guardian,
            days: sheet.days,
            expected: sheet.is,
        })
    }

    fn sources(
        &self,
        names: &Spanned<Vec<Spanned<String>>>,
        sources: &BTreeMap<&str, Source>,
    ) -> Result<Vec<Source>, PolicyError> {
        if names.get_ref().is_empty() {
            return Err(self.error(names, Mistake::Nothing { what: "sources" }));
        }
        let source = |name: &Spanned<String>| {
            sources.get(name.get_ref().as_str()).cloned().ok_or_else(|| {
                let short = short(name.get_ref(), 64);
                self.error(name, Mistake::UnknownSource { name: short })
            })
        };
        names.get_ref().iter().map(source).collect()
    }

    fn text(&self, what: &'static str, text: &Spanned<String>, most: usize) -> Result<String, PolicyError> {
        let read = text.get_ref();
        if read.trim().is_empty() || read.chars().count() > most || read.chars().any(char::is_control) {
            return Err(self.error(text, Mistake::Text { what, most }));
        }
        Ok(read.clone())
    }

    fn day(&self, date: &Spanned<Datetime>) -> Result<Date, PolicyError> {
        let wrong = || {
            let text = date.get_ref().to_string();
            self.error(date, Mistake::Date { date: text })
        };
        let Datetime {
            date: Some(day),
            time: None,
            offset: None,
        } = date.get_ref()
        else {
            return Err(wrong());
        };
        let month = day.month.try_into().map_err(|_| wrong())?;
        Date::from_calendar_date(i32::from(day.year), month, day.day).map_err(|_| wrong())
    }

    fn years(&self, years: Option<&Spanned<u8>>) -> Result<u8, PolicyError> {
        match years {
            Some(given) if *given.get_ref() > 25 => {
                let years = *given.get_ref();
                Err(self.error(given, Mistake::Years { years }))
            }
            Some(given) => Ok(*given.get_ref()),
            None => Ok(0),
        }
    }

    fn error<T>(&self, at: &Spanned<T>, mistake: Mistake) -> PolicyError {
        self.lines.error(&at.span(), mistake)
    }
}

/// The rule for unknown places that lets through what another rule about the purpose holds back, and that rule.
fn laxer_than_another(rules: &[Rule]) -> Option<(&Rule, &Rule)> {
    let unknowns = rules.iter().filter(|rule| rule.scope == Scope::Unknown);
    unknowns
        .flat_map(|unknown| rules.iter().map(move |rule| (unknown, rule)))
        .filter(|(unknown, rule)| unknown.purpose == rule.purpose)
        .find(|(unknown, rule)| {
            facts(&[unknown, rule]).into_iter().any(|fact| {
                (unknown.apply(&fact).is_on() && !rule.apply(&fact).is_on())
                    || (rule.is_unmet(&fact) && !unknown.is_unmet(&fact))
            })
        })
}

/// Every case that one of these rules can tell from another.
pub(super) fn facts(rules: &[&Rule]) -> Vec<Fact> {
    let mut ages = BTreeSet::from([0, u8::MAX]);
    let mut days = BTreeSet::from([0]);
    for rule in rules {
        ages.extend([
            rule.ages.consent_from,
            rule.ages.opt_in_below,
            rule.ages.prohibited_below,
        ]);
        days.extend(rule.max_age_days.map(|days| days.saturating_add(1)));
    }
    let mut facts = Vec::new();
    for age in ages {
        for gpc in [false, true] {
            let fact = |choice, guardian, days| Fact {
                choice,
                guardian,
                since: time::Duration::days(i64::from(days)),
                gpc,
                age,
                in_force: true,
            };
            facts.extend([Choice::Denied, Choice::Unknown].map(|choice| fact(choice, false, 0)));
            for guardian in [false, true] {
                facts.extend(days.iter().map(|days| fact(Choice::Granted, guardian, *days)));
            }
        }
    }
    facts
}

fn names_of(scope: &Scope) -> Vec<&'static str> {
    match scope {
        Scope::Elsewhere => vec![ELSEWHERE],
        Scope::Places(places) => places.iter().map(|place| place.as_str()).collect(),
        Scope::Unknown => vec![UNKNOWN],
    }
}

fn short(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

/// How a file names the places that no other rule covers.
const ELSEWHERE: &str = "elsewhere";
/// How it names the place of a guest of whom no place is known.
const UNKNOWN: &str = "unknown";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Obligation;

    const SCOPED: &str = include_str!("../../policies/purpose-scoped.toml");
    const STRICT: &str = include_str!("../../policies/tutorial-strict.toml");

    /// The least that is a policy.
    const LEAST: &str = r#"id = "mine"
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
            assert_eq!(Policy::find(file.policy.id()), Ok(&file.policy));
            assert_eq!(file.test(), []);
            assert_eq!(file.unexampled().next(), None);
        }
    }

    #[test]
    fn a_person_adds_a_policy_by_a_file_alone() {
        let policy = Policy::parse(LEAST).unwrap();
        let fact = |choice| Fact {
            choice,
            guardian: false,
            since: time::Duration::ZERO,
            gpc: false,
            age: 18,
            in_force: true,
        };
        let (state, unmet) = policy.judge_one(&[], Purpose::Analytics, &fact(Choice::Unknown));
        assert!(!state.on && unmet.is_none());
        assert_eq!(state.obligations.iter().collect::<Vec<_>>(), [Obligation::Ask]);
        let (state, _) = policy.judge_one(&[], Purpose::Analytics, &fact(Choice::Granted));
        assert!(state.on);
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
    fn each_mistake_is_named_with_its_line() {
        let with = |from: &str, to: &str| LEAST.replacen(from, to, 1);
        refused_as(&[
            (with("version =", "versoin ="), "line 2: unknown field `versoin`"),
            (
                with("\"mine\"", "\"My Policy\""),
                "line 1: \"My Policy\" is no id",
            ),
            (with("1.0.0", "1.0"), "line 2: \"1.0\" is no version"),
            (with("2026-01-01", "2026-02-30"), "line 4: "),
            (
                with("2026-01-01", "2026-01-01T00:00:00Z"),
                "line 4: 2026-01-01T00:00:00Z is no day",
            ),
            (with("2026-01-01", "\"soon\""), "line 4: "),
            (
                with("2026-01-01", "2026-01-02\nvalid-until = 2026-01-01"),
                "line 5: the policy ends before",
            ),
            (with("= 18", "= 90"), "line 6: 90 years are too many"),
            (
                with("sources = [\"us\"]\n\n[[rule]]", "sources = []\n\n[[rule]]"),
                "line 17: sources is empty",
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
                "line 17: no source is called \"gdpr\"",
            ),
            (
                with("law = \"our choice\"", "law = \" \""),
                "line 8: law must be 1 to 300",
            ),
            (
                with(
                    "\n[[rule]]",
                    "sources.x = { law = \"a\", article = \"b\", reviewed = 2026-11-22 }\n\n[[rule]]",
                ),
                "line 9: no rule names the source \"x\"",
            ),
            (
                with("max-age-days = 30", "max-age-days = 0"),
                "line 26: max-age-days is 0",
            ),
            (
                with("places = [\"unknown\"]", "places = [\"FR\"]"),
                "line 1: marketing has no rule whose places are \"unknown\"",
            ),
            (
                with("places = [\"unknown\"]", "places = [\"unknown\", \"FR\"]"),
                "line 21: \"unknown\" stands alone",
            ),
        ]);
    }

    #[test]
    fn each_mistake_in_a_rule_is_named_with_its_line() {
        let rule = |places: &str, more: &str| {
            format!(
                "{LEAST}\n[[rule]]\narea = \"A\"\nplaces = {places}\npurposes = [\"marketing\"]\nbasis = \"consent\"\n\
                 default = \"off\"\nmissing = \"ask\"\nsources = [\"us\"]\n{more}"
            )
        };
        refused_as(&[
            (
                rule("[\"california\"]", ""),
                "line 31: \"california\" names no jurisdiction: write US-CA",
            ),
            (
                rule("[\"georgia\"]", ""),
                "line 31: \"georgia\" names no jurisdiction, and could be more",
            ),
            (rule("[]", ""), "line 31: places is empty"),
            (
                rule("[\"FR\", \"FR\"]", ""),
                "line 30: marketing in FR has a rule already, on line 30",
            ),
            (
                rule("[\"FR\"]", "").replace("\"A\"", "\"a/b\""),
                "line 30: \"a/b\" is no name of an area",
            ),
            (
                rule("[\"FR\"]", "").replace("\"A\"", "\"unknown\""),
                "line 30: the rule mine/unknown/marketing is there already, on line 20",
            ),
            (
                rule("[\"FR\"]", "signals = [\"dnt\"]"),
                "line 37: unknown variant `dnt`",
            ),
            (rule("[\"FR\"]", "default = \"off\""), "line 37: duplicate key"),
            (
                rule("[\"FR\"]", "doubts = [\"\"]"),
                "line 37: a doubt must be 1 to 500",
            ),
            (
                rule("[\"FR\"]", "prohibited-below = 26"),
                "line 37: 26 years are too many",
            ),
            (
                rule(
                    "[\"FR\"]",
                    "examples = [{ place = \"FR\", age = \"x\", is = \"on\" }]",
                ),
                "line 37: \"x\" is no age",
            ),
            (
                rule("[\"FR\"]", "examples = [{ place = \"atlantis\", is = \"on\" }]"),
                "line 37: \"atlantis\" names no jurisdiction",
            ),
            (
                rule("[\"FR\"]", "max-age-days = 7"),
                "line 20: mine/unknown/marketing is laxer than mine/A/marketing",
            ),
        ]);
    }

    #[test]
    fn an_example_that_fails_says_what_came_of_it() {
        let text = format!(
            "{LEAST}examples = [{{ place = \"unknown\", choice = \"granted\", days = 31, is = \"on\" }}]"
        );
        let file = PolicyFile::parse(&text).unwrap();
        let failures: Vec<String> = file.test().iter().map(ToString::to_string).collect();
        assert_eq!(
            failures[0],
            "line 28: marketing in unknown should be on by mine/unknown/marketing, and is off by mine/unknown/marketing"
        );
        assert_eq!(failures.len(), 3, "one for each purpose of the rule");
        assert_eq!(file.unexampled().count(), 3);
    }

    #[test]
    fn a_difference_says_who_is_treated_how_and_where() {
        let older = Policy::parse(SCOPED).unwrap();
        assert_eq!(older.differences(&older), []);
        let newer = SCOPED.replacen("consent-from = 15", "consent-from = 14", 1);
        let newer = Policy::parse(&newer).unwrap();
        let told: Vec<String> = older
            .differences(&newer)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(told, ["marketing granted, at age 14: off -> on in CZ FR GR SI"]);
        let everywhere = Policy::tutorial_strict().differences(Policy::purpose_scoped());
        assert!(everywhere.iter().any(|difference| {
            difference
                .to_string()
                .starts_with("marketing denied: denied -> off in unknown EU EEA AT BE")
        }));
    }

    #[test]
    fn ten_thousand_bad_policies_are_refused() {
        let mut refused = BTreeSet::new();
        let mut refuse = |text: String| {
            if let Err(error) = Policy::parse(&text) {
                assert!(error.line() >= 1 && !error.to_string().is_empty());
                refused.insert(text);
            }
        };
        // every byte of the least policy, cut off or made into another
        for at in 0..LEAST.len() {
            refuse(LEAST[..at].to_owned());
            for other in [
                "\0", "\"", "[", "]", "=", "é", "\n", "#", "{", "}", "'", "\\", ",", ".",
            ] {
                refuse(format!("{}{other}{}", &LEAST[..at], &LEAST[at + 1..]));
                refuse(format!("{}{other}{}", &LEAST[..at], &LEAST[at..]));
            }
        }
        assert!(refused.len() >= 10_000, "{}", refused.len());
        assert!(Policy::parse(&" ".repeat(PolicyFile::LARGEST + 1)).is_err());
        assert!(Policy::parse(&"[".repeat(100_000)).is_err());
        let deep = format!("x = {}{}", "[".repeat(30_000), "]".repeat(30_000));
        assert!(Policy::parse(&deep).is_err());
    }
}
