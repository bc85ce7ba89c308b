//! The JSON of `policy --json`.

use guest_payload::{
    Allowed, AttributeWarning, Category, Difference, DifferenceSummary, ExampleFailure, Lint, Policy,
    Refused, Rule, Subject,
};
use serde_json::{Value, json};

use super::explain::AttributeUse;
use super::places;

pub(super) fn policy(policy: &Policy) -> Value {
    json!({
        "id": policy.id,
        "version": policy.version,
        "about": policy.about,
        "validFrom": policy.valid_from.to_string(),
        "validUntil": policy.valid_until.map(|last| last.to_string()),
        "reviewed": policy.reviewed.to_string(),
        "assumedAge": policy.assumed_age,
    })
}

pub(super) fn whole_policy(whole: &Policy) -> Value {
    let mut value = policy(whole);
    let attributes = whole.attributes().map(|(name, category)| {
        let category = category.map_or("ordinary", |category| category.as_str());
        (name.to_owned(), category.into())
    });
    value["attributes"] = Value::Object(attributes.collect());
    value["rules"] = whole.rules().iter().map(rule).collect();
    value
}

fn rule(rule: &Rule) -> Value {
    json!({
        "id": rule.id,
        "subject": rule.subject,
        "places": places(rule),
        "basis": rule.basis,
        "default": rule.default,
        "missing": rule.on_missing,
        "gpc": rule.gpc,
        "ages": rule.ages,
        "maxAgeDays": rule.max_age_days,
        "obligations": rule.obligations,
        "sources": rule.sources,
        "ageSources": rule.age_sources,
        "signalSources": rule.signal_sources,
        "doubts": rule.all_doubts().collect::<Vec<_>>(),
    })
}

pub(super) fn allowed(
    policy: &Policy,
    allowed: &Allowed<'_>,
    categories: &[Category],
    attributes: &[AttributeUse<'_>],
) -> Value {
    let subjects = allowed.explained(categories).map(|state| {
        let subject = state.rule.subject;
        json!({
            "subject": subject,
            "on": state.is_on(),
            "reason": state.reason,
            "rule": state.rule.id,
            "basis": state.rule.basis,
            "sources": state.sources(),
            "doubts": state.rule.all_doubts().collect::<Vec<_>>(),
            "obligations": state.obligations,
            "askAgainAt": state.ask_again_at.map(genesys_api::rfc3339),
            "wouldBeOnIf": (!state.is_on()).then(|| allowed.remedies(subject)).flatten(),
        })
    });
    json!({
        "policy": policy.id,
        "policyVersion": policy.version,
        "allowed": true,
        "functional": allowed.functional().map(rule).collect::<Vec<_>>(),
        "withoutRule": allowed.without_rule(categories).collect::<Vec<_>>(),
        "subjects": subjects.collect::<Vec<_>>(),
        "attributes": attributes,
    })
}

pub(super) fn refused(policy: &Policy, refused: &Refused, attributes: &[AttributeUse<'_>]) -> Value {
    json!({
        "policy": policy.id,
        "policyVersion": policy.version,
        "allowed": false,
        "missing": refused.rules().map(rule).collect::<Vec<_>>(),
        "attributes": attributes,
    })
}

pub(super) fn lints<'a>(
    name: &str,
    lints: impl Iterator<Item = &'a Lint>,
    warnings: &[AttributeWarning],
) -> Value {
    let lints = lints.map(|lint| {
        let mut value = json!(lint.kind);
        value["rule"] = json!(lint.rule);
        value["isFatal"] = lint.kind.is_fatal().into();
        value["text"] = lint.kind.to_string().into();
        value
    });
    json!({ "policy": name, "objections": lints.collect::<Vec<_>>(), "attributes": warnings })
}

pub(super) fn test(name: &str, examples: usize, failures: &[ExampleFailure], without: &[&str]) -> Value {
    let failed = failures.iter().map(|failure| {
        json!({
            "line": failure.example.line,
            "rule": failure.example.rule,
            "expected": failure.example.expected,
            "found": failure.found,
            "decidedBy": failure.rule,
        })
    });
    json!({
        "policy": name,
        "examples": examples,
        "failures": failed.collect::<Vec<_>>(),
        "rulesWithoutExample": without,
    })
}

pub(super) fn diff(
    [old, new]: [&Policy; 2],
    [only_old, only_new]: &[Vec<Subject>; 2],
    summaries: &[DifferenceSummary],
    differences: &[Difference],
) -> Value {
    json!({
        "old": policy(old),
        "new": policy(new),
        "onlyOld": only_old,
        "onlyNew": only_new,
        "summary": summaries,
        "differences": differences,
    })
}
