//! Parses policy files. `policies/README.md` describes the format.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::ops::Range;
use std::str::FromStr;

use time::Date;
use toml::Spanned;
use toml::value::Datetime;

use super::case::Case;
use super::example::Example;
use super::raw::{RawExample, RawPolicy, RawRule, Signal};
use super::rule::{AgeLimits, Rule, Scope, Source};
use super::{Functional, Policy, index};
use crate::{Age, Obligations, Purpose};

impl Policy {
    /// Parses a policy file.
    ///
    /// # Errors
    /// The first error with its line, if the file is invalid or its rules contradict each other.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        Ok(PolicyFile::parse(text)?.policy)
    }
}

/// A policy and the examples of its file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PolicyFile {
    /// The policy.
    pub policy: Policy,
    /// The expected outcomes.
    pub examples: Vec<Example>,
}

impl PolicyFile {
    /// Maximum bytes of a file. Our choice.
    pub const MAX_BYTES: usize = 1 << 20;
    /// Maximum rules, counted once for each purpose. Our choice.
    pub const MAX_RULES: usize = 2_000;

    /// Parses a policy file with its examples.
    ///
    /// # Errors
    /// As [`Policy::parse`].
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        if text.len() > Self::MAX_BYTES {
            let reason = format!("policy too large: at most {} bytes are allowed", Self::MAX_BYTES);
            return Err(PolicyError { line: 1, reason });
        }
        let raw: RawPolicy = toml::from_str(text).map_err(|error| PolicyError {
            line: line_of(text, &error.span().unwrap_or_default()),
            reason: short(error.message(), 300),
        })?;
        Reader { text, raw: &raw }.read()
    }
}

/// Invalid policy file: the line and the reason of its first error.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line}: {reason}")]
#[non_exhaustive]
pub struct PolicyError {
    /// Line, counted from 1. A missing rule is reported on line 1.
    pub line: usize,
    /// Reason, for people.
    pub reason: String,
}

fn line_of(text: &str, span: &Range<usize>) -> usize {
    let before = text.as_bytes().get(..span.start).unwrap_or_default();
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

struct Reader<'a> {
    text: &'a str,
    raw: &'a RawPolicy,
}

impl Reader<'_> {
    fn read(&self) -> Result<PolicyFile, PolicyError> {
        let raw = self.raw;
        let id = raw.id.get_ref();
        let is_id = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        if id.is_empty() || id.len() > 64 || !id.bytes().all(is_id) {
            let id = short(id, 64);
            return Err(self.error(
                &raw.id,
                format!("invalid policy id {id:?}: use 1 to 64 of a-z 0-9 and -"),
            ));
        }
        let version = raw.version.get_ref();
        let is_number =
            |part: &str| (1..=6).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_digit());
        if version.split('.').count() != 3 || !version.split('.').all(is_number) {
            let version = short(version, 64);
            return Err(self.error(
                &raw.version,
                format!("invalid version {version:?}: use three numbers, as in 1.0.0"),
            ));
        }
        let valid_from = self.day(&raw.valid_from)?;
        let valid_until = raw.valid_until.as_ref().map(|date| self.day(date)).transpose()?;
        if let Some(until) = &raw.valid_until
            && valid_until.is_some_and(|last| last < valid_from)
        {
            return Err(self.error(until, "invalid valid-until: the last day is before valid-from"));
        }
        let sources = self.all_sources()?;
        let (rules, examples) = self.rules(&sources)?;
        let policy = Policy {
            id: id.clone(),
            version: version.clone(),
            about: self.text("about", &raw.about, 2_000)?,
            valid_from,
            valid_until,
            reviewed: self.day(&raw.reviewed)?,
            assumed_age: self.years(Some(&raw.assumed_age))?,
            functional: Functional {
                basis: raw.functional.basis,
                sources: self.sources(&raw.functional.sources, &sources)?,
            },
            index: index(&rules),
            rules,
        };
        Ok(PolicyFile { policy, examples })
    }

    fn all_sources(&self) -> Result<BTreeMap<&str, Source>, PolicyError> {
        let raw = self.raw;
        let mut used: BTreeSet<&str> = BTreeSet::new();
        let lists = raw.rules.iter().map(|rule| &rule.sources);
        for name in lists.chain([&raw.functional.sources]).flat_map(Spanned::get_ref) {
            used.insert(name.get_ref());
        }
        let mut sources = BTreeMap::new();
        for (name, source) in &raw.sources {
            let read = Source {
                law: self.text("law", &source.law, 300)?,
                article: self.text("article", &source.article, 300)?,
                reviewed: self.day(&source.reviewed)?,
            };
            if !used.contains(name.get_ref().as_str()) {
                let short = short(name.get_ref(), 64);
                return Err(self.error(
                    name,
                    format!("unused source {short:?}: remove it, or name it in a rule"),
                ));
            }
            sources.insert(name.get_ref().as_str(), read);
        }
        Ok(sources)
    }

    fn rules(&self, sources: &BTreeMap<&str, Source>) -> Result<(Vec<Rule>, Vec<Example>), PolicyError> {
        let (mut rules, mut examples) = (Vec::new(), Vec::new());
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        let mut taken: BTreeMap<(&'static str, Purpose), usize> = BTreeMap::new();
        for raw in &self.raw.rules {
            let line = self.line(&raw.area);
            let scope = self.scope(raw)?;
            if raw.purposes.get_ref().is_empty() {
                return Err(self.empty(&raw.purposes, "purposes"));
            }
            for purpose in raw.purposes.get_ref() {
                for place in names_of(&scope) {
                    if let Some(first) = taken.insert((place, *purpose), line) {
                        return Err(self.error(
                            &raw.area,
                            format!("overlapping rule: {purpose} in {place} has one on line {first}"),
                        ));
                    }
                }
                let rule = self.rule(raw, &scope, *purpose, sources)?;
                if let Some(first) = names.insert(rule.id.clone(), line) {
                    return Err(self.error(
                        &raw.area,
                        format!(
                            "duplicate rule {}: the first is on line {first}, use another area",
                            rule.id
                        ),
                    ));
                }
                for example in &raw.examples {
                    examples.push(self.example(example, &rule)?);
                }
                rules.push(rule);
            }
            if rules.len() > PolicyFile::MAX_RULES {
                let most = PolicyFile::MAX_RULES;
                return Err(self.error(
                    &raw.area,
                    format!("policy too large: at most {most} rules are allowed"),
                ));
            }
        }
        for purpose in Purpose::ALL {
            for places in [ELSEWHERE, UNKNOWN] {
                if !taken.contains_key(&(places, purpose)) {
                    return Err(PolicyError {
                        line: 1,
                        reason: format!("missing rule: {purpose} needs one with the places {places:?}"),
                    });
                }
            }
        }
        if let Some((unknown, stricter)) = less_strict_unknown(&rules) {
            return Err(PolicyError {
                line: names.get(&unknown.id).copied().unwrap_or(1),
                reason: format!(
                    "invalid rule {}: it is less strict than {}, and the rule for unknown places must be the strictest",
                    unknown.id, stricter.id
                ),
            });
        }
        Ok((rules, examples))
    }

    fn rule(
        &self,
        raw: &RawRule,
        scope: &Scope,
        purpose: Purpose,
        sources: &BTreeMap<&str, Source>,
    ) -> Result<Rule, PolicyError> {
        let area = raw.area.get_ref();
        let is_name = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
        if area.is_empty() || area.len() > 32 || !area.bytes().all(is_name) {
            let area = short(area, 32);
            return Err(self.error(
                &raw.area,
                format!("invalid area {area:?}: use 1 to 32 of A-Z a-z 0-9 and -"),
            ));
        }
        if let Some(days) = raw.max_age_days.as_ref().filter(|days| *days.get_ref() == 0) {
            return Err(self.error(
                days,
                "invalid max-age-days 0: an agreement would be too old at once",
            ));
        }
        let doubts: Result<Vec<String>, PolicyError> = raw
            .doubts
            .iter()
            .map(|doubt| self.text("doubt", doubt, 500))
            .collect();
        Ok(Rule {
            id: format!("{}/{area}/{purpose}", self.raw.id.get_ref()),
            purpose,
            scope: scope.clone(),
            basis: raw.basis,
            default: raw.default,
            on_missing: raw.missing,
            gpc: raw.signals.iter().any(|Signal::Gpc| true),
            ages: AgeLimits {
                consent_from: self.years(raw.consent_from.as_ref())?,
                opt_in_below: self.years(raw.opt_in_below.as_ref())?,
                prohibited_below: self.years(raw.prohibited_below.as_ref())?,
            },
            max_age_days: raw.max_age_days.as_ref().map(|days| *days.get_ref()),
            obligations: Obligations::of(&raw.obligations),
            sources: self.sources(&raw.sources, sources)?,
            doubts: doubts?,
        })
    }

    fn scope(&self, raw: &RawRule) -> Result<Scope, PolicyError> {
        let places = raw.places.get_ref();
        let alone = |name| places.iter().any(|place| place.get_ref() == name);
        for (name, scope) in [(ELSEWHERE, Scope::Elsewhere), (UNKNOWN, Scope::Unknown)] {
            if alone(name) {
                if places.len() > 1 {
                    return Err(self.error(
                        &raw.places,
                        format!("invalid places: {name:?} must be the only one, add a rule for the others"),
                    ));
                }
                return Ok(scope);
            }
        }
        if places.is_empty() {
            return Err(self.empty(&raw.places, "places"));
        }
        let places: Result<_, _> = places.iter().map(|place| self.parsed(place)).collect();
        Ok(Scope::Places(places?))
    }

    fn example(&self, raw: &RawExample, rule: &Rule) -> Result<Example, PolicyError> {
        let age = raw.age.as_ref().map(|age| self.parsed(age)).transpose()?;
        Ok(Example {
            line: self.line(&raw.place),
            rule: rule.id.clone(),
            places: self.parsed(&raw.place)?,
            case: Case {
                purpose: rule.purpose,
                choice: raw.choice,
                gpc: raw.gpc,
                age: age.unwrap_or(Age::UNKNOWN),
                guardian: raw.guardian,
                days: raw.days,
            },
            expected: raw.is,
        })
    }

    fn sources(
        &self,
        names: &Spanned<Vec<Spanned<String>>>,
        sources: &BTreeMap<&str, Source>,
    ) -> Result<Vec<Source>, PolicyError> {
        if names.get_ref().is_empty() {
            return Err(self.empty(names, "sources"));
        }
        let source = |name: &Spanned<String>| {
            sources.get(name.get_ref().as_str()).cloned().ok_or_else(|| {
                let short = short(name.get_ref(), 64);
                self.error(
                    name,
                    format!("unknown source {short:?}: define it under [sources.NAME]"),
                )
            })
        };
        names.get_ref().iter().map(source).collect()
    }

    fn text(&self, what: &'static str, text: &Spanned<String>, most: usize) -> Result<String, PolicyError> {
        let read = text.get_ref();
        if read.trim().is_empty() || read.chars().count() > most || read.chars().any(char::is_control) {
            return Err(self.error(
                text,
                format!("invalid {what}: use 1 to {most} characters without line breaks"),
            ));
        }
        Ok(read.clone())
    }

    fn day(&self, date: &Spanned<Datetime>) -> Result<Date, PolicyError> {
        let wrong = || {
            self.error(
                date,
                format!(
                    "invalid date {}: write a date without time, as in 2026-11-22",
                    date.get_ref()
                ),
            )
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
        let Some(given) = years else { return Ok(0) };
        match *given.get_ref() {
            years @ 0..=25 => Ok(years),
            years => Err(self.error(
                given,
                format!("invalid age limit {years}: at most 25 years are allowed"),
            )),
        }
    }

    fn parsed<T: FromStr<Err: Display>>(&self, text: &Spanned<String>) -> Result<T, PolicyError> {
        let parsed = text.get_ref().parse();
        parsed.map_err(|error| self.error(text, error))
    }

    fn empty<T>(&self, list: &Spanned<T>, key: &str) -> PolicyError {
        self.error(list, format!("empty {key}: name at least one"))
    }

    fn error<T>(&self, at: &Spanned<T>, reason: impl Display) -> PolicyError {
        PolicyError {
            line: self.line(at),
            reason: reason.to_string(),
        }
    }

    fn line<T>(&self, at: &Spanned<T>) -> usize {
        line_of(self.text, &at.span())
    }
}

/// Returns a rule for unknown places that is less strict than another rule about its purpose, and that rule.
fn less_strict_unknown(rules: &[Rule]) -> Option<(&Rule, &Rule)> {
    let unknowns = rules.iter().filter(|rule| rule.scope == Scope::Unknown);
    unknowns
        .flat_map(|unknown| rules.iter().map(move |rule| (unknown, rule)))
        .filter(|(unknown, rule)| unknown.purpose == rule.purpose)
        .find(|(unknown, rule)| {
            Case::all(rule.purpose, &[unknown, rule]).iter().any(|case| {
                let input = case.input(u8::MAX);
                (unknown.apply(&input).is_on() && !rule.apply(&input).is_on())
                    || (rule.is_unmet(&input) && !unknown.is_unmet(&input))
            })
        })
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

/// Name of the places that no other rule covers.
const ELSEWHERE: &str = "elsewhere";
/// Name of an unknown place.
const UNKNOWN: &str = "unknown";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Choice, Obligation};

    const SCOPED: &str = include_str!("../../policies/purpose-scoped.toml");
    const STRICT: &str = include_str!("../../policies/tutorial-strict.toml");

    /// A minimal policy.
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
            assert_eq!(Policy::find(&file.policy.id), Ok(&file.policy));
            assert_eq!(file.test(), []);
            assert_eq!(file.rules_without_example().next(), None);
        }
    }

    #[test]
    fn minimal_file_is_a_policy() {
        let policy = Policy::parse(LEAST).unwrap();
        let outcome = |choice| {
            let case = Case {
                purpose: Purpose::Analytics,
                choice,
                gpc: false,
                age: Age::UNKNOWN,
                guardian: false,
                days: 0,
            };
            let (state, unmet) = policy.evaluate_purpose(&[], case.purpose, &case.input(18));
            assert!(unmet.is_none());
            (state.on, state.obligations.iter().collect::<Vec<_>>())
        };
        assert_eq!(outcome(Choice::Unknown), (false, vec![Obligation::Ask]));
        assert_eq!(outcome(Choice::Granted), (true, vec![]));
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
        let with = |from: &str, to: &str| LEAST.replacen(from, to, 1);
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
                "line 17: empty sources",
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
                "line 17: unknown source \"gdpr\"",
            ),
            (
                with("law = \"our choice\"", "law = \" \""),
                "line 8: invalid law: use 1 to 300",
            ),
            (
                with(
                    "\n[[rule]]",
                    "sources.x = { law = \"a\", article = \"b\", reviewed = 2026-11-22 }\n\n[[rule]]",
                ),
                "line 9: unused source \"x\"",
            ),
            (
                with("max-age-days = 30", "max-age-days = 0"),
                "line 26: invalid max-age-days 0",
            ),
            (
                with("places = [\"unknown\"]", "places = [\"FR\"]"),
                "line 1: missing rule: marketing needs one with the places \"unknown\"",
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
                "{LEAST}\n[[rule]]\narea = \"A\"\nplaces = {places}\npurposes = [\"marketing\"]\nbasis = \"consent\"\n\
                 default = \"off\"\nmissing = \"ask\"\nsources = [\"us\"]\n{more}"
            )
        };
        refused_as(&[
            (
                rule("[\"california\"]", ""),
                "line 31: unknown region \"california\": write US-CA",
            ),
            (rule("[\"georgia\"]", ""), "line 31: ambiguous region \"georgia\""),
            (rule("[]", ""), "line 31: empty places"),
            (
                rule("[\"FR\", \"FR\"]", ""),
                "line 30: overlapping rule: marketing in FR has one on line 30",
            ),
            (
                rule("[\"FR\"]", "").replace("\"A\"", "\"a/b\""),
                "line 30: invalid area \"a/b\"",
            ),
            (
                rule("[\"FR\"]", "").replace("\"A\"", "\"unknown\""),
                "line 30: duplicate rule mine/unknown/marketing: the first is on line 20",
            ),
            (
                rule("[\"FR\"]", "signals = [\"dnt\"]"),
                "line 37: unknown variant `dnt`",
            ),
            (rule("[\"FR\"]", "default = \"off\""), "line 37: duplicate key"),
            (
                rule("[\"FR\"]", "doubts = [\"\"]"),
                "line 37: invalid doubt: use 1 to 500",
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
                "line 37: unknown region \"atlantis\"",
            ),
            (
                rule("[\"FR\"]", "max-age-days = 7"),
                "line 20: invalid rule mine/unknown/marketing: it is less strict than mine/A/marketing",
            ),
        ]);
    }

    #[test]
    fn failed_example_names_actual_outcome() {
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
        assert!(everywhere.iter().any(|difference| {
            difference
                .to_string()
                .starts_with("marketing denied: denied -> off in unknown EU EEA AT BE")
        }));
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
        assert!(Policy::parse(&" ".repeat(PolicyFile::MAX_BYTES + 1)).is_err());
        assert!(Policy::parse(&"[".repeat(100_000)).is_err());
        let deep = format!("x = {}{}", "[".repeat(30_000), "]".repeat(30_000));
        assert!(Policy::parse(&deep).is_err());
    }
}
