//! Legal objections to a policy.

use serde::Serialize;
use time::{Date, Duration};

use super::{Basis, OnMissing, Policy, Rule, Source, Switch};
use crate::Category;

impl Policy {
    /// Legal objections to each rule on this day.
    #[must_use]
    pub fn lints(&self, today: Date) -> Vec<Lint> {
        let mut lints = Vec::new();
        let mut lint = |kind, rule: &str| {
            lints.push(Lint {
                kind,
                rule: rule.to_owned(),
            });
        };
        if self.valid_until.is_some_and(|last| last < today) {
            lint(LintKind::Expired, &self.id);
        }
        if self.rules.iter().all(|rule| rule.ages.consent_from == 0) {
            lint(LintKind::NoAgeOfConsent, &self.id);
        }
        for (name, category) in self.attributes() {
            if category.is_none() && Category::suggested_by(name).is_some() {
                lint(LintKind::OrdinaryName, &format!("{}/attributes/{name}", self.id));
            }
        }
        for rule in &self.rules {
            if rule.on_missing == OnMissing::DenySession {
                lint(LintKind::Bundled, &rule.id);
            }
            if rule.basis == Basis::Consent && rule.default == Switch::On {
                lint(LintKind::Preticked, &rule.id);
            }
            if let Some(kind) = source_objection(rule, today) {
                lint(kind, &rule.id);
            }
            for doubt in rule.all_doubts() {
                lint(LintKind::Doubtful { doubt }, &rule.id);
            }
        }
        lints
    }
}

fn source_objection(rule: &Rule, today: Date) -> Option<LintKind> {
    let named = |source: &Source| !source.law.is_empty() && !source.article.is_empty();
    if rule.sources.is_empty() || !rule.all_sources().all(named) {
        return Some(LintKind::Unsourced);
    }
    if rule.all_sources().any(|source| source.reviewed > today) {
        return Some(LintKind::ReviewedInFuture);
    }
    let is_old = |source: &Source| today - source.reviewed > REVIEW_EVERY;
    rule.all_sources().any(is_old).then_some(LintKind::ReviewOverdue)
}

/// An objection to a rule.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{rule}: {kind}")]
#[non_exhaustive]
pub struct Lint {
    /// The kind of objection.
    pub kind: LintKind,
    /// Id of the rule, or of the policy.
    pub rule: String,
}

/// The kind of an objection. In JSON it is an object with `kind` and the fields.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LintKind {
    /// The session depends on a consent that it does not need.
    #[error(
        "bundled: a session is refused without a consent that serving the guest does not need (GDPR, Art. 7(4))"
    )]
    Bundled,
    /// The file states a doubt about the rule or one of its sources, for counsel to review.
    #[error("doubtful: {doubt}")]
    Doubtful {
        /// The doubt.
        doubt: String,
    },
    /// The policy is no longer in force.
    #[error("expired: the policy is no longer in force: every purpose is off")]
    Expired,
    /// No rule has an age of consent.
    #[error("no age of consent: a child's agreement counts as an adult's, set consent-from")]
    NoAgeOfConsent,
    /// An attribute whose name suggests sensitive data is declared ordinary.
    #[error("ordinary name: it suggests sensitive data and is declared ordinary, have that confirmed")]
    OrdinaryName,
    /// A purpose that needs consent is on by default.
    #[error("preticked: a purpose that needs consent is on before it is given (CJEU C-673/17, Planet49)")]
    Preticked,
    /// It was not compared with its sources for more than a year.
    #[error("review overdue: it was not compared with its sources for more than a year")]
    ReviewOverdue,
    /// A review date is in the future.
    #[error("reviewed in future: a review date is in the future")]
    ReviewedInFuture,
    /// It names no law and article.
    #[error("unsourced: it names no law and article")]
    Unsourced,
}

impl LintKind {
    /// Whether the policy must not be used. Other objections are for counsel to weigh.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        matches!(self, Self::Expired | Self::ReviewedInFuture | Self::Unsourced)
    }
}

/// Longest time between reviews. Our choice.
const REVIEW_EVERY: Duration = Duration::days(366);

#[cfg(test)]
mod tests {
    use time::Month;

    use super::*;

    fn on(year: i32) -> Date {
        Date::from_calendar_date(year, Month::December, 1).unwrap()
    }

    #[test]
    fn embedded_policies_have_sources_and_review_dates() {
        for policy in Policy::all() {
            let fatal: Vec<_> = policy
                .lints(on(2026))
                .into_iter()
                .filter(|lint| lint.kind.is_fatal() || lint.kind == LintKind::ReviewOverdue)
                .collect();
            assert_eq!(fatal, []);
            let reviewed = policy.rules().iter().flat_map(Rule::all_sources);
            assert!(reviewed.count() >= policy.rules().len());
        }
    }

    #[test]
    fn lints_name_objection_and_rule() {
        let lints = Policy::tutorial_strict().lints(on(2026));
        let has = |kind, rule: &'static str| {
            lints.contains(&Lint {
                kind,
                rule: rule.into(),
            })
        };
        assert!(has(LintKind::Preticked, "tutorial-strict/EU/analytics"));
        assert!(has(LintKind::Bundled, "tutorial-strict/BR/marketing"));
        assert!(has(LintKind::NoAgeOfConsent, "tutorial-strict"));
        assert!(
            lints
                .iter()
                .all(|lint| lint.to_string().starts_with("tutorial-strict"))
        );
        let scoped = Policy::purpose_scoped().lints(on(2026));
        assert!(
            scoped
                .iter()
                .all(|lint| matches!(lint.kind, LintKind::Doubtful { .. })),
            "{scoped:?}"
        );
        for rule in Policy::purpose_scoped().rules() {
            let found = scoped.iter().filter(|lint| lint.rule == rule.id);
            let doubts = rule.all_doubts().map(|doubt| LintKind::Doubtful { doubt });
            assert!(found.map(|lint| &lint.kind).eq(&doubts.collect::<Vec<_>>()));
        }
    }

    #[test]
    fn lints_depend_on_date() {
        let has = |policy: &Policy, today, kind| policy.lints(today).iter().any(|lint| lint.kind == kind);
        let mut policy = Policy::purpose_scoped().clone();
        assert!(has(&policy, on(2028), LintKind::ReviewOverdue));
        assert!(has(&policy, on(2020), LintKind::ReviewedInFuture));
        policy.valid_until = Some(on(2027));
        assert!(!has(&policy, on(2027), LintKind::Expired));
        assert!(has(&policy, on(2028), LintKind::Expired));
        policy
            .attributes
            .insert("healthscore".to_owned(), ("health-score".to_owned(), None));
        assert!(has(&policy, on(2026), LintKind::OrdinaryName));
        let mut rule = policy.rules[0].clone();
        rule.sources = Vec::new();
        policy.rules = vec![rule];
        assert!(has(&policy, on(2026), LintKind::Unsourced));
    }
}
