//! The reference page of the embedded consent policies: rules, sources, review dates and open questions.

use std::error::Error;
use std::fmt::Write;

use guest_payload::{AgeLimits, Jurisdiction, OnMissing, Policy, Rule, Scope, Source, Switch};

use super::facts::Sources;

pub(crate) fn generate(sources: &Sources) -> Result<String, Box<dyn Error>> {
    let mut page = String::from(
        "# Consent policies: reference\n\n\
         The rules of the embedded policies: for each place and purpose the legal basis of using a guest's data. They are **not\n\
         legal advice**, but a starting set that counsel must approve. `crates/guest-payload/policies/README.md` describes how to\n\
         write a policy of your own.\n\n\
         `guest-gateway policy explain purpose-scoped --jurisdiction US-CA --gpc` prints the decision about one guest with\n\
         its reasons.\n\n\
         Columns of the tables:\n\
         - *default*: whether the purpose is on while the guest has made no choice. GPC is the signal of a browser that the\n\
         \u{20} guest opts out.\n\
         - *without an agreement*: the effect of a missing or refused agreement.\n\
         - *ages*: below the first age the purpose is off, below the second it needs an agreement, and from the third the guest\n\
         \u{20} can agree without evidence of a guardian.\n\
         - *obligations*: duties of the page, beside the decision.\n\
         - *sources*: numbers in the list below the table. Those after *age* are about the ages, those after *signal* about GPC.\n\n\
         Rules with the name of a category, as in `US-WA/health`, are about sensitive data, which needs this basis beside that of\n\
         its purpose. Rules named `functional` are about serving the guest.\n",
    );
    for (path, text) in sources.iter() {
        let policy = Policy::parse(text).map_err(|error| format!("{path}: {error}"))?;
        describe(&mut page, path, &policy)?;
    }
    Ok(page)
}

fn describe<'p>(page: &mut String, path: &str, policy: &'p Policy) -> Result<(), Box<dyn Error>> {
    write!(
        page,
        "\n## {} {}\n\n{}\n\nIn force from {}",
        policy.id, policy.version, policy.about, policy.valid_from
    )?;
    if let Some(last) = policy.valid_until {
        write!(page, " until {last}")?;
    }
    write!(
        page,
        ". Reviewed on {}. A guest of unknown age is assumed to be {} years old.\n\nFrom `{path}`.\n\n\
         | rule | places | basis | default | without an agreement | ages | obligations | sources |\n\
         |---|---|---|---|---|---|---|---|\n",
        policy.reviewed, policy.assumed_age,
    )?;
    let mut named: Vec<&Source> = Vec::new();
    for rule in policy.rules() {
        let mut numbers = |sources: &'p [Source]| {
            let numbers = sources
                .iter()
                .map(|source| number(&mut named, source).to_string());
            numbers.collect::<Vec<_>>().join(", ")
        };
        let mut sources = numbers(&rule.sources);
        if rule.ages != AgeLimits::default() {
            sources.push_str(&format!("; age {}", numbers(&rule.age_sources)));
        }
        if rule.gpc {
            sources.push_str(&format!("; signal {}", numbers(&rule.signal_sources)));
        }
        writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            rule.id.split_once('/').map_or(&*rule.id, |(_, within)| within),
            places(&rule.scope),
            rule.basis,
            default(rule),
            missing(rule),
            ages(rule),
            obligations(rule),
            sources
        )?;
    }
    page.push_str("\nSources:\n\n");
    for (at, source) in named.iter().enumerate() {
        write!(page, "{}. {source} (reviewed on {})", at + 1, source.reviewed)?;
        if let Some(url) = &source.url {
            write!(page, ", <{url}>")?;
        }
        if let Some(doubt) = &source.doubt {
            write!(page, ". Doubt: {doubt}")?;
        }
        page.push('\n');
    }
    let doubtful: Vec<&Rule> = policy
        .rules()
        .iter()
        .filter(|rule| !rule.doubts.is_empty())
        .collect();
    if !doubtful.is_empty() {
        page.push_str("\nOpen questions:\n\n");
    }
    for rule in doubtful {
        for doubt in rule.doubts.iter() {
            writeln!(page, "- `{}`: {doubt}", rule.id)?;
        }
    }
    Ok(())
}

/// The number of a source in the list, from 1.
fn number<'p>(named: &mut Vec<&'p Source>, source: &'p Source) -> usize {
    match named.iter().position(|other| *other == source) {
        Some(at) => at + 1,
        None => {
            named.push(source);
            named.len()
        }
    }
}

fn places(scope: &Scope) -> String {
    match scope {
        Scope::Places(places) => {
            let codes: Vec<&str> = places.iter().map(Jurisdiction::as_str).collect();
            codes.join(" ")
        }
        Scope::Elsewhere => "elsewhere".to_owned(),
        _ => "unknown".to_owned(),
    }
}

fn default(rule: &Rule) -> &'static str {
    match (rule.default, rule.gpc) {
        (Switch::Off, _) => "off",
        (Switch::On, true) => "on, off with GPC",
        (Switch::On, false) => "on",
    }
}

fn missing(rule: &Rule) -> &'static str {
    match rule.on_missing {
        OnMissing::Ask => "ask the guest",
        OnMissing::DenySession => "no session",
        _ => "as by default",
    }
}

fn ages(rule: &Rule) -> String {
    let limits = [
        (rule.ages.prohibited_below, "off below"),
        (rule.ages.opt_in_below, "opt-in below"),
        (rule.ages.consent_from, "without guardian from"),
    ];
    let limits: Vec<String> = limits
        .iter()
        .filter(|(years, _)| *years > 0)
        .map(|(years, limit)| format!("{limit} {years}"))
        .collect();
    limits.join(", ")
}

fn obligations(rule: &Rule) -> String {
    let mut all: Vec<String> = rule
        .obligations
        .iter()
        .map(|obligation| obligation.as_str().to_owned())
        .collect();
    if let Some(days) = rule.max_age_days {
        all.push(format!("ask again after {days} days"));
    }
    all.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consent_page_has_a_row_with_sources_for_each_rule() {
        let spec = include_str!("../../../crates/guest-payload/policies/tutorial-strict.toml");
        let page = generate(&Sources::of([("policy.toml", spec)])).unwrap();
        let policy = Policy::parse(spec).unwrap();
        let rows = page
            .lines()
            .filter(|line| line.ends_with("| 1 |") || line.ends_with("| 1; signal 1 |"));
        assert_eq!(rows.count(), policy.rules().len());
        assert!(
            page.contains("| EU/marketing | EU EEA | consent | off | no session |"),
            "{page}"
        );
        assert!(
            page.contains("1. the founding tutorial, step 1 (reviewed on 2026-11-22)"),
            "{page}"
        );
    }
}
