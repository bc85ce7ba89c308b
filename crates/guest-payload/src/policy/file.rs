//! Parses policy files. `policies/README.md` describes the format.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Display};
use std::num::NonZeroU32;
use std::ops::Range;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use time::Date;
use toml::Spanned;
use toml::value::Datetime;

use super::case::{Case, Outcome};
use super::example::Example;
use super::rule::{AgeLimits, Basis, OnMissing, Rule, Scope, Source, Switch};
use super::{Functional, Policy, index};
use crate::{Age, Choice, Jurisdictions, Obligation, Obligations, Purpose};

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

    /// Parses a policy file with its examples.
    ///
    /// # Errors
    /// As [`Policy::parse`].
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        if text.len() > Self::MAX_BYTES {
            let reason = format!("invalid policy: at most {} bytes are allowed", Self::MAX_BYTES);
            return Err(PolicyError { line: 1, reason });
        }
        let raw: RawPolicy = toml::from_str(text).map_err(|error| PolicyError {
            line: line_of(text, &error.span().unwrap_or_default()),
            reason: error.message().chars().take(300).collect(),
        })?;
        Reader { text }.read(raw)
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

/// A policy file whose rules are not yet compared with each other.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawPolicy {
    #[serde(deserialize_with = "policy_id")]
    id: String,
    #[serde(deserialize_with = "version")]
    version: String,
    #[serde(deserialize_with = "line")]
    about: String,
    #[serde(deserialize_with = "day")]
    valid_from: Date,
    #[serde(default, deserialize_with = "last_day")]
    valid_until: Option<Spanned<Date>>,
    #[serde(deserialize_with = "day")]
    reviewed: Date,
    #[serde(deserialize_with = "years")]
    assumed_age: u8,
    functional: RawFunctional,
    sources: BTreeMap<Spanned<String>, Source>,
    #[serde(rename = "rule")]
    rules: Vec<Spanned<RawRule>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFunctional {
    basis: Basis,
    #[serde(deserialize_with = "non_empty")]
    sources: Vec<Spanned<String>>,
}

/// Rules for several purposes. Sources are names.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawRule {
    #[serde(deserialize_with = "area")]
    area: String,
    #[serde(deserialize_with = "scope")]
    places: Scope,
    #[serde(deserialize_with = "non_empty")]
    purposes: Vec<Purpose>,
    basis: Basis,
    default: Switch,
    missing: OnMissing,
    #[serde(default)]
    signals: BTreeSet<Signal>,
    #[serde(default, deserialize_with = "years")]
    consent_from: u8,
    #[serde(default, deserialize_with = "years")]
    opt_in_below: u8,
    #[serde(default, deserialize_with = "years")]
    prohibited_below: u8,
    max_age_days: Option<NonZeroU32>,
    #[serde(default)]
    obligations: Vec<Obligation>,
    #[serde(deserialize_with = "non_empty")]
    sources: Vec<Spanned<String>>,
    #[serde(default, deserialize_with = "lines")]
    doubts: Vec<String>,
    #[serde(default)]
    examples: Vec<Spanned<RawExample>>,
}

#[derive(Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(rename_all = "lowercase")]
enum Signal {
    Gpc,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExample {
    #[serde(deserialize_with = "parsed")]
    place: Jurisdictions,
    #[serde(default)]
    choice: Choice,
    #[serde(default)]
    gpc: bool,
    #[serde(default, deserialize_with = "parsed")]
    age: Age,
    #[serde(default)]
    guardian: bool,
    #[serde(default)]
    days: u32,
    is: Outcome,
}

fn policy_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let is_allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let is_id = |id: &String| (1..=64).contains(&id.len()) && id.bytes().all(is_allowed);
    checked(deserializer, is_id, "policy id", "use 1 to 64 of a-z 0-9 and -")
}

fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let is_number = |part: &str| (1..=6).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_digit());
    let is_version = |text: &String| text.split('.').count() == 3 && text.split('.').all(is_number);
    checked(
        deserializer,
        is_version,
        "version",
        "use three numbers, as in 1.0.0",
    )
}

fn area<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let is_allowed = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
    let is_area = |area: &String| (1..=32).contains(&area.len()) && area.bytes().all(is_allowed);
    checked(deserializer, is_area, "area", "use 1 to 32 of A-Z a-z 0-9 and -")
}

pub(super) fn line<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    checked(deserializer, |text: &String| is_line(text), "text", LINE)
}

fn lines<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let is_valid = |lines: &Vec<String>| lines.iter().all(|text| is_line(text));
    checked(deserializer, is_valid, "texts", LINE)
}

fn is_line(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= 2_000 && !text.chars().any(char::is_control)
}

fn years<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    let is_valid = |years: &u8| *years <= 25;
    checked(
        deserializer,
        is_valid,
        "age limit",
        "at most 25 years are allowed",
    )
}

/// Reads a value, and checks it. `what` names it in an error.
fn checked<'de, D: Deserializer<'de>, T: Deserialize<'de> + Debug>(
    deserializer: D,
    is_valid: impl FnOnce(&T) -> bool,
    what: &str,
    remedy: &str,
) -> Result<T, D::Error> {
    let value = T::deserialize(deserializer)?;
    if is_valid(&value) {
        return Ok(value);
    }
    let shown: String = format!("{value:?}").chars().take(64).collect();
    Err(D::Error::custom(format_args!("invalid {what} {shown}: {remedy}")))
}

fn non_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let list = Vec::deserialize(deserializer)?;
    if list.is_empty() {
        return Err(D::Error::custom("invalid list: it is empty, name at least one"));
    }
    Ok(list)
}

fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(deserializer: D) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(D::Error::custom)
}

fn scope<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Scope, D::Error> {
    let places: Vec<String> = non_empty(deserializer)?;
    for (name, scope) in [(ELSEWHERE, Scope::Elsewhere), (UNKNOWN, Scope::Unknown)] {
        match places.iter().any(|place| place == name) {
            true if places.len() == 1 => return Ok(scope),
            true => {
                let reason =
                    format_args!("invalid places: {name:?} must be the only one, add a rule for the others");
                return Err(D::Error::custom(reason));
            }
            false => {}
        }
    }
    let places: Result<_, _> = places.iter().map(|place| place.parse()).collect();
    places.map(Scope::Places).map_err(D::Error::custom)
}

pub(super) fn day<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Date, D::Error> {
    let given = Datetime::deserialize(deserializer)?;
    let day = match given {
        Datetime {
            date: Some(day),
            time: None,
            offset: None,
        } => day
            .month
            .try_into()
            .ok()
            .and_then(|month| Date::from_calendar_date(i32::from(day.year), month, day.day).ok()),
        _ => None,
    };
    day.ok_or_else(|| {
        D::Error::custom(format_args!(
            "invalid date {given}: write a date without time, as in 2026-11-22"
        ))
    })
}

fn last_day<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Spanned<Date>>, D::Error> {
    #[derive(Deserialize)]
    struct Day(#[serde(deserialize_with = "day")] Date);
    let day = Spanned::<Day>::deserialize(deserializer)?;
    Ok(Some(Spanned::new(day.span(), day.into_inner().0)))
}

/// Compares the parts of a file with each other.
struct Reader<'a> {
    text: &'a str,
}

impl Reader<'_> {
    fn read(&self, raw: RawPolicy) -> Result<PolicyFile, PolicyError> {
        if let Some(last) = raw
            .valid_until
            .as_ref()
            .filter(|last| *last.get_ref() < raw.valid_from)
        {
            return Err(self.error(last, "invalid valid-until: the last day is before valid-from"));
        }
        let (rules, examples) = self.rules(&raw)?;
        let used = raw.rules.iter().map(|rule| &rule.get_ref().sources);
        let used: BTreeSet<&str> = used
            .chain([&raw.functional.sources])
            .flatten()
            .map(|name| &**name.get_ref())
            .collect();
        if let Some(unused) = raw.sources.keys().find(|name| !used.contains(&**name.get_ref())) {
            let reason = format!(
                "invalid source {:?}: it is unused, remove it or name it in a rule",
                unused.get_ref()
            );
            return Err(self.error(unused, reason));
        }
        let policy = Policy {
            functional: Functional {
                basis: raw.functional.basis,
                sources: self.sources(&raw.functional.sources, &raw.sources)?,
            },
            id: raw.id,
            version: raw.version,
            about: raw.about,
            valid_from: raw.valid_from,
            valid_until: raw.valid_until.map(Spanned::into_inner),
            reviewed: raw.reviewed,
            assumed_age: raw.assumed_age,
            index: index(&rules),
            rules,
        };
        Ok(PolicyFile { policy, examples })
    }

    fn rules(&self, file: &RawPolicy) -> Result<(Vec<Rule>, Vec<Example>), PolicyError> {
        let (mut rules, mut examples) = (Vec::new(), Vec::new());
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        let mut taken: BTreeMap<(&'static str, Purpose), usize> = BTreeMap::new();
        for place in &file.rules {
            let (line, raw) = (self.line(place), place.get_ref());
            for purpose in &raw.purposes {
                for name in names_of(&raw.places) {
                    if let Some(first) = taken.insert((name, *purpose), line) {
                        let reason =
                            format!("invalid rule: {purpose} in {name} has one on line {first}, remove one");
                        return Err(self.error(place, reason));
                    }
                }
                let id = format!("{}/{}/{purpose}", file.id, raw.area);
                if let Some(first) = names.insert(id.clone(), line) {
                    let reason = format!("invalid rule {id}: the first is on line {first}, use another area");
                    return Err(self.error(place, reason));
                }
                examples.extend(
                    raw.examples
                        .iter()
                        .map(|example| self.example(example, &id, *purpose)),
                );
                rules.push(Rule {
                    id,
                    purpose: *purpose,
                    scope: raw.places.clone(),
                    basis: raw.basis,
                    default: raw.default,
                    on_missing: raw.missing,
                    gpc: raw.signals.contains(&Signal::Gpc),
                    ages: AgeLimits {
                        consent_from: raw.consent_from,
                        opt_in_below: raw.opt_in_below,
                        prohibited_below: raw.prohibited_below,
                    },
                    max_age_days: raw.max_age_days.map(NonZeroU32::get),
                    obligations: Obligations::of(&raw.obligations),
                    sources: self.sources(&raw.sources, &file.sources)?,
                    doubts: raw.doubts.clone(),
                });
            }
            if rules.len() > MAX_RULES {
                return Err(self.error(
                    place,
                    format!("invalid policy: at most {MAX_RULES} rules are allowed"),
                ));
            }
        }
        for purpose in Purpose::ALL {
            for places in [ELSEWHERE, UNKNOWN] {
                if !taken.contains_key(&(places, purpose)) {
                    let reason =
                        format!("invalid policy: {purpose} has no rule with the places {places:?}, add one");
                    return Err(PolicyError { line: 1, reason });
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

    fn example(&self, raw: &Spanned<RawExample>, rule: &str, purpose: Purpose) -> Example {
        let line = self.line(raw);
        let raw = raw.get_ref();
        Example {
            line,
            rule: rule.to_owned(),
            places: raw.place.clone(),
            case: Case {
                purpose,
                choice: raw.choice,
                gpc: raw.gpc,
                age: raw.age,
                guardian: raw.guardian,
                days: raw.days,
            },
            expected: raw.is,
        }
    }

    fn sources(
        &self,
        names: &[Spanned<String>],
        sources: &BTreeMap<Spanned<String>, Source>,
    ) -> Result<Vec<Source>, PolicyError> {
        let source = |name: &Spanned<String>| {
            sources.get(name.get_ref().as_str()).cloned().ok_or_else(|| {
                let reason = format!(
                    "invalid source {:?}: define it under [sources.NAME]",
                    name.get_ref()
                );
                self.error(name, reason)
            })
        };
        names.iter().map(source).collect()
    }

    fn error<T>(&self, at: &Spanned<T>, reason: impl Into<String>) -> PolicyError {
        PolicyError {
            line: self.line(at),
            reason: reason.into(),
        }
    }

    fn line<T>(&self, at: &Spanned<T>) -> usize {
        line_of(self.text, &at.span())
    }
}

fn line_of(text: &str, span: &Range<usize>) -> usize {
    let before = text.as_bytes().get(..span.start).unwrap_or_default();
    1 + before.iter().filter(|byte| **byte == b'\n').count()
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

/// Maximum rules, counted once for each purpose. Our choice.
const MAX_RULES: usize = 2_000;
/// The remedy for a text that is too long or has line breaks.
const LINE: &str = "use 1 to 2000 characters without line breaks";
/// Name of the places that no other rule covers.
const ELSEWHERE: &str = "elsewhere";
/// Name of an unknown place.
const UNKNOWN: &str = "unknown";

#[cfg(test)]
mod tests;
