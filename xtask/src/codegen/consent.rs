//! The consent policies that ship, for `guest-payload`. It reads them with that crate's own parser, so that there is one.

use std::error::Error;
use std::fmt::Write;

use guest_payload::{Policy, PolicyFile, Rule, Scope, Source};
use time::Date;

use super::facts::Sources;

/// Each policy as Rust, if its examples hold.
pub(crate) fn generate(sources: &Sources) -> Result<String, Box<dyn Error>> {
    let read = |(path, text)| {
        let code = PolicyFile::parse(text)
            .map_err(Box::from)
            .and_then(|file| code(&file));
        code.map_err(|error: Box<dyn Error>| format!("{path}: {error}").into())
    };
    sources.iter().map(read).collect()
}

fn code(file: &PolicyFile) -> Result<String, Box<dyn Error>> {
    if let Some(failure) = file.test().first() {
        return Err(failure.to_string().into());
    }
    let policy = &file.policy;
    let mut code = String::from(USES);
    write!(
        code,
        "pub(crate) static POLICY: Policy = Policy {{
            id: Cow::Borrowed({:?}), version: Cow::Borrowed({:?}), about: Cow::Borrowed({:?}),
            valid_from: {}, valid_until: {}, reviewed: {}, assumed_age: {},
            functional: Functional {{ basis: Basis::{:?}, sources: Cow::Borrowed(&[{}]) }},
            rules: Cow::Borrowed(&RULES), index: Cow::Borrowed(&INDEX),
        }};\n\n",
        policy.id(),
        policy.version(),
        policy.about(),
        day(policy.valid_from()),
        policy
            .valid_until()
            .map_or_else(|| "None".to_owned(), |last| format!("Some({})", day(last))),
        day(policy.reviewed()),
        policy.assumed_age(),
        policy.functional().basis,
        sources(policy, &policy.functional().sources),
    )?;
    write!(code, "static RULES: [Rule; {}] = [", policy.rules().len())?;
    for each in policy.rules() {
        code.push_str(&rule(policy, each));
    }
    write!(
        code,
        "];\n\n/// The number of a rule for each purpose of each place, in the order of their slots.\n\
         static INDEX: [u16; {}] = {:?};\n\n",
        policy.index().len(),
        policy.index()
    )?;
    for (at, source) in distinct(policy).iter().enumerate() {
        writeln!(
            code,
            "const SOURCE_{at}: Source = Source {{ law: Cow::Borrowed({:?}), article: Cow::Borrowed({:?}), \
             reviewed: {} }};",
            source.law,
            source.article,
            day(source.reviewed)
        )?;
    }
    Ok(code)
}

fn rule(policy: &Policy, rule: &Rule) -> String {
    let scope = match &rule.scope {
        Scope::Places(places) => {
            let places: Vec<String> = places
                .iter()
                .map(|place| format!("Jurisdiction::known({:?})", place.as_str()))
                .collect();
            format!("Scope::Places(Cow::Borrowed(&[{}]))", places.join(", "))
        }
        Scope::Elsewhere => "Scope::Elsewhere".to_owned(),
        _ => "Scope::Unknown".to_owned(),
    };
    let obligations: Vec<String> = rule
        .obligations
        .iter()
        .map(|obligation| format!("crate::Obligation::{obligation:?}"))
        .collect();
    let doubts: Vec<String> = rule
        .doubts
        .iter()
        .map(|doubt| format!("Cow::Borrowed({doubt:?})"))
        .collect();
    format!(
        "Rule {{ id: Cow::Borrowed({:?}), purpose: Purpose::{:?}, scope: {scope}, basis: Basis::{:?}, \
         default: Switch::{:?}, on_missing: OnMissing::{:?}, gpc: {}, ages: {:?}, max_age_days: {:?}, \
         obligations: Obligations::of(&[{}]), sources: Cow::Borrowed(&[{}]), doubts: Cow::Borrowed(&[{}]) }},",
        rule.id,
        rule.purpose,
        rule.basis,
        rule.default,
        rule.on_missing,
        rule.gpc,
        rule.ages,
        rule.max_age_days,
        obligations.join(", "),
        sources(policy, &rule.sources),
        doubts.join(", "),
    )
}

fn sources(policy: &Policy, sources: &[Source]) -> String {
    let distinct = distinct(policy);
    let names: Vec<String> = sources
        .iter()
        .filter_map(|source| distinct.iter().position(|other| *other == source))
        .map(|at| format!("SOURCE_{at}"))
        .collect();
    names.join(", ")
}

/// Each source once, in the order in which rules name them.
fn distinct(policy: &Policy) -> Vec<&Source> {
    let mut distinct: Vec<&Source> = Vec::new();
    let rules = policy.rules().iter().flat_map(|rule| rule.sources.iter());
    for source in policy.functional().sources.iter().chain(rules) {
        if !distinct.contains(&source) {
            distinct.push(source);
        }
    }
    distinct
}

fn day(date: Date) -> String {
    format!("day({}, {})", date.year(), date.ordinal())
}

const USES: &str = "use std::borrow::Cow;

use crate::policy::{Ages, Basis, Functional, OnMissing, Policy, Rule, Scope, Source, Switch, day};
use crate::{Jurisdiction, Obligations, Purpose};

";

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = include_str!("../../../spec/consent/tutorial-strict.toml");

    fn generate(spec: &str) -> Result<String, Box<dyn Error>> {
        super::generate(&Sources::of([("policy.toml", spec)]))
    }

    #[test]
    fn each_rule_is_one_row() {
        let code = generate(SPEC).unwrap();
        let policy = Policy::parse(SPEC).unwrap();
        assert_eq!(code.matches("Rule { id: ").count(), policy.rules().len());
        assert!(code.contains("id: Cow::Borrowed(\"tutorial-strict/EU/marketing\")"));
        assert_eq!(code.matches("const SOURCE_").count(), 1);
    }

    #[test]
    fn a_policy_whose_examples_fail_is_not_written() {
        let wrong = SPEC.replacen("is = \"denied\"", "is = \"on\"", 1);
        let error = generate(&wrong).unwrap_err().to_string();
        assert!(
            error.contains("should be on by tutorial-strict/EU/marketing"),
            "{error}"
        );
    }

    #[test]
    fn a_misspelt_key_is_refused_by_name_and_line() {
        let error = generate(&SPEC.replacen("basis", "bases", 1))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("bases") && error.starts_with("policy.toml: line "),
            "{error}"
        );
    }
}
