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
mod tests;
