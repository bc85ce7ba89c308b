//! Parses policy files. `policies/README.md` describes the format.

mod raw;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use toml::Spanned;

use self::raw::{RawExample, RawFunctional, RawPolicy, RawRule, Signal};
use self::values::Declared;
pub(super) use self::values::{address, day, line, optional_line, write_day};
use super::case::Case;
use super::example::Example;
use super::rule::{AgeLimits, OnMissing, Rule, Scope, Source, Switch};
use super::{Policy, SCOPED, STRICT, UnknownPolicy, index};
use crate::sensitive::declared_name;
use crate::{Category, Obligations, Subject};

/// Parses an embedded policy. A test parses each.
pub(super) fn embedded(text: &str) -> PolicyFile {
    PolicyFile::parse(text).expect("embedded policies are valid")
}

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

    /// The file of the embedded policy with this id.
    ///
    /// # Errors
    /// If the id is unknown.
    pub fn find(id: &str) -> Result<Self, UnknownPolicy> {
        let text = match &*Policy::find(id)?.id {
            "tutorial-strict" => STRICT,
            _ => SCOPED,
        };
        Ok(embedded(text))
    }

    /// Parses a policy file with its examples.
    ///
    /// # Errors
    /// As [`Policy::parse`].
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        if text.len() > Self::MAX_BYTES {
            let reason = format!("invalid policy: at most {} bytes are allowed", Self::MAX_BYTES);
            return Err(PolicyError { line: 1, reason });
        }
        let reader = Reader::new(text);
        let raw: RawPolicy = toml::from_str(text).map_err(|error| PolicyError {
            line: reader.line(error.span().unwrap_or_default().start),
            reason: error.message().chars().take(300).collect(),
        })?;
        reader.read(raw)
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

/// Compares the parts of a file with each other.
struct Reader {
    /// Offsets of the ends of the lines.
    line_ends: Vec<usize>,
}

impl Reader {
    fn new(text: &str) -> Self {
        let line_ends = text.match_indices('\n').map(|(at, _)| at).collect();
        Self { line_ends }
    }

    fn read(&self, raw: RawPolicy) -> Result<PolicyFile, PolicyError> {
        if let Some(last) = raw
            .valid_until
            .as_ref()
            .filter(|last| *last.get_ref() < raw.valid_from)
        {
            return Err(self.error(last, "invalid valid-until: the last day is before valid-from"));
        }
        let (mut rules, examples) = self.rules(&raw)?;
        rules.extend(self.functional(&raw)?);
        self.refuse_unused_source(&raw)?;
        let attributes = self.attributes(&raw, &rules)?;
        let policy = Policy {
            id: raw.id,
            version: raw.version,
            about: raw.about,
            valid_from: raw.valid_from,
            valid_until: raw.valid_until.map(Spanned::into_inner),
            reviewed: raw.reviewed,
            assumed_age: raw.assumed_age,
            attributes,
            index: index(&rules),
            rules,
        };
        Ok(PolicyFile { policy, examples })
    }

    fn refuse_unused_source(&self, file: &RawPolicy) -> Result<(), PolicyError> {
        let of_rules = file.rules.iter().map(Spanned::get_ref);
        let of_rules = of_rules.flat_map(|rule| [&rule.sources, &rule.age_sources, &rule.signal_sources]);
        let of_places = file
            .functional
            .places
            .iter()
            .map(|place| &place.get_ref().sources);
        let used: BTreeSet<&str> = of_rules
            .chain(of_places)
            .chain([&file.functional.sources, &file.age_sources, &file.signal_sources])
            .flatten()
            .map(|name| &**name.get_ref())
            .collect();
        match file.sources.keys().find(|name| !used.contains(&**name.get_ref())) {
            None => Ok(()),
            Some(unused) => {
                let name = unused.get_ref();
                let reason = format!("invalid source {name:?}: it is unused, remove it or name it in a rule");
                Err(self.error(unused, reason))
            }
        }
    }

    /// The declared attributes. Each category that is declared must have rules.
    fn attributes(
        &self,
        file: &RawPolicy,
        rules: &[Rule],
    ) -> Result<BTreeMap<String, (String, Option<Category>)>, PolicyError> {
        let mut attributes = BTreeMap::new();
        for (name, Declared(category)) in &file.attributes {
            if let Some(category) = category
                && !rules.iter().any(|rule| rule.subject == (*category).into())
            {
                let reason = format!(
                    "invalid attribute {:?}: no rule has sensitive = [\"{category}\"], add one",
                    name.get_ref()
                );
                return Err(self.error(name, reason));
            }
            let written = name.get_ref();
            let declared = declared_name(written);
            if declared.is_empty() {
                let reason = format!("invalid attribute {written:?}: use at least one letter or digit");
                return Err(self.error(name, reason));
            }
            if let Some((other, _)) = attributes.insert(declared, (written.clone(), *category)) {
                let reason =
                    format!("invalid attribute {written:?}: it is declared as {other:?} too, remove one");
                return Err(self.error(name, reason));
            }
        }
        Ok(attributes)
    }

    /// The rules about serving the guest.
    fn functional(&self, file: &RawPolicy) -> Result<Vec<Rule>, PolicyError> {
        let rule = |area: &str, scope, basis, sources: &[Spanned<String>], doubts: &[String]| {
            Ok(Rule {
                id: format!("{}/{area}/{}", file.id, Subject::Functional),
                subject: Subject::Functional,
                scope,
                basis,
                default: Switch::On,
                on_missing: OnMissing::DisablePurpose,
                gpc: false,
                ages: AgeLimits::default(),
                max_age_days: None,
                obligations: Obligations::NONE,
                sources: self.sources(sources, &file.sources)?,
                age_sources: Vec::new(),
                signal_sources: Vec::new(),
                doubts: doubts.to_vec(),
            })
        };
        let RawFunctional {
            basis,
            sources,
            doubts,
            places,
        } = &file.functional;
        let mut rules = Vec::new();
        for (area, scope) in [(ELSEWHERE, Scope::Elsewhere), (UNKNOWN, Scope::Unknown)] {
            rules.push(rule(area, scope, *basis, sources, doubts)?);
        }
        let mut taken = BTreeSet::from([ELSEWHERE, UNKNOWN]);
        for place in places {
            let own = place.get_ref();
            if let Some(name) = names_of(&own.places).into_iter().find(|name| !taken.insert(name)) {
                let reason = format!("invalid functional.places: {name} has an entry already, remove one");
                return Err(self.error(place, reason));
            }
            let id = format!("{}/{}/{}", file.id, own.area, Subject::Functional);
            if rules.iter().any(|rule| rule.id == id) {
                let reason = format!("invalid rule {id}: it exists already, use another area");
                return Err(self.error(place, reason));
            }
            rules.push(rule(
                &own.area,
                own.places.clone(),
                own.basis,
                &own.sources,
                &own.doubts,
            )?);
        }
        Ok(rules)
    }

    fn rules(&self, file: &RawPolicy) -> Result<(Vec<Rule>, Vec<Example>), PolicyError> {
        let (mut rules, mut examples) = (Vec::new(), Vec::new());
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        let mut taken: BTreeMap<(&'static str, Subject), usize> = BTreeMap::new();
        for place in &file.rules {
            let (line, raw) = (self.line(place.span().start), place.get_ref());
            if raw.subjects().next().is_none() {
                let reason = "invalid rule: it names neither purposes nor sensitive data, name at least one";
                return Err(self.error(place, reason));
            }
            if !raw.sensitive.is_empty() && raw.missing == OnMissing::DenySession {
                let reason =
                    "invalid rule: a session cannot depend on sensitive data, use another value of missing";
                return Err(self.error(place, reason));
            }
            for subject in raw.subjects() {
                for name in names_of(&raw.places) {
                    if let Some(first) = taken.insert((name, subject), line) {
                        let reason =
                            format!("invalid rule: {subject} in {name} has one on line {first}, remove one");
                        return Err(self.error(place, reason));
                    }
                }
                let id = format!("{}/{}/{subject}", file.id, raw.area);
                if let Some(first) = names.insert(id.clone(), line) {
                    let reason = format!("invalid rule {id}: the first is on line {first}, use another area");
                    return Err(self.error(place, reason));
                }
                examples.extend(
                    raw.examples
                        .iter()
                        .map(|example| self.example(example, &id, subject)),
                );
                rules.push(self.rule(raw, file, id, subject)?);
            }
            if rules.len() > MAX_RULES {
                return Err(self.error(
                    place,
                    format!("invalid policy: at most {MAX_RULES} rules are allowed"),
                ));
            }
        }
        for subject in Subject::all() {
            let is_needed = match subject {
                Subject::Purpose(_) => true,
                Subject::Sensitive(_) => taken.keys().any(|(_, other)| *other == subject),
                Subject::Functional => false,
            };
            for places in [ELSEWHERE, UNKNOWN] {
                if is_needed && !taken.contains_key(&(places, subject)) {
                    let reason =
                        format!("invalid policy: {subject} has no rule with the places {places:?}, add one");
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

    fn rule(
        &self,
        raw: &RawRule,
        file: &RawPolicy,
        id: String,
        subject: Subject,
    ) -> Result<Rule, PolicyError> {
        // the rule's own, or else the policy's, or else those of the rule itself
        let named = |own: &[Spanned<String>], of_policy: &[Spanned<String>]| {
            let first = [own, of_policy, &raw.sources]
                .into_iter()
                .find(|names| !names.is_empty());
            self.sources(first.unwrap_or_default(), &file.sources)
        };
        let of_policy = match raw.consent_from {
            None => &*file.age_sources,
            Some(_) => &[],
        };
        Ok(Rule {
            id,
            subject,
            scope: raw.places.clone(),
            basis: raw.basis,
            default: raw.default,
            on_missing: raw.missing,
            gpc: raw.signals.contains(&Signal::Gpc),
            ages: AgeLimits {
                consent_from: raw.consent_from.unwrap_or(file.consent_from),
                opt_in_below: raw.opt_in_below,
                prohibited_below: raw.prohibited_below,
            },
            max_age_days: raw.max_age_days.map(NonZeroU32::get),
            obligations: Obligations::of(&raw.obligations),
            sources: self.sources(&raw.sources, &file.sources)?,
            age_sources: named(&raw.age_sources, of_policy)?,
            signal_sources: named(&raw.signal_sources, &file.signal_sources)?,
            doubts: raw.doubts.clone(),
        })
    }

    fn example(&self, raw: &Spanned<RawExample>, rule: &str, subject: Subject) -> Example {
        let line = self.line(raw.span().start);
        let raw = raw.get_ref();
        Example {
            line,
            rule: rule.to_owned(),
            places: raw.place.clone(),
            case: Case {
                subject,
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
            line: self.line(at.span().start),
            reason: reason.into(),
        }
    }

    /// The line of an offset, counted from 1.
    fn line(&self, offset: usize) -> usize {
        1 + self.line_ends.partition_point(|end| *end < offset)
    }
}

/// Returns a rule for unknown places that is less strict than another rule about its purpose, and that rule.
fn less_strict_unknown(rules: &[Rule]) -> Option<(&Rule, &Rule)> {
    let unknowns = rules.iter().filter(|rule| rule.scope == Scope::Unknown);
    unknowns
        .flat_map(|unknown| rules.iter().map(move |rule| (unknown, rule)))
        .filter(|(unknown, rule)| unknown.subject == rule.subject)
        .find(|(unknown, rule)| {
            Case::all(rule.subject, &[unknown, rule]).iter().any(|case| {
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

/// Maximum rules, counted once for each subject. Our choice.
const MAX_RULES: usize = 2_000;
/// Name of the places that no other rule covers.
const ELSEWHERE: &str = "elsewhere";
/// Name of an unknown place.
const UNKNOWN: &str = "unknown";

#[cfg(test)]
mod tests;
