//! Legal objections to a policy.

use time::{Date, Duration};

use super::{Basis, OnMissing, Policy, Source, Switch};

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
        if let Some(kind) = source_objection(&self.functional.sources, today) {
            lint(kind, &self.id);
        }
        for rule in &self.rules {
            if rule.on_missing == OnMissing::DenySession {
                lint(LintKind::Bundled, &rule.id);
            }
            if rule.basis == Basis::Consent && rule.default == Switch::On {
                lint(LintKind::Preticked, &rule.id);
            }
            if let Some(kind) = source_objection(&rule.sources, today) {
                lint(kind, &rule.id);
            }
            if !rule.doubts.is_empty() {
                lint(LintKind::Doubtful, &rule.id);
            }
        }
        lints
    }
}

fn source_objection(sources: &[Source], today: Date) -> Option<LintKind> {
    let named = |source: &Source| !source.law.is_empty() && !source.article.is_empty();
    if sources.is_empty() || !sources.iter().all(named) {
        return Some(LintKind::Unsourced);
    }
    if sources.iter().any(|source| source.reviewed > today) {
        return Some(LintKind::ReviewedInFuture);
    }
    let is_old = |source: &Source| today - source.reviewed > REVIEW_EVERY;
    sources.iter().any(is_old).then_some(LintKind::ReviewOverdue)
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

/// The kind of an objection.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LintKind {
    /// The session depends on a consent that it does not need.
    #[error(
        "bundled: a session is refused without a consent that serving the guest does not need (GDPR, Art. 7(4))"
    )]
    Bundled,
    /// The file states a doubt.
    #[error("doubtful: the policy states a doubt, have it reviewed by counsel")]
    Doubtful,
    /// The policy is no longer in force.
    #[error("expired: the policy is no longer in force: every purpose is off")]
    Expired,
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
    pub const fn is_fatal(self) -> bool {
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
        Date::from_calendar_date(year, Month::November, 22).unwrap()
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
            let reviewed = policy.rules().iter().flat_map(|rule| rule.sources.iter());
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
        assert!(
            lints
                .iter()
                .all(|lint| lint.to_string().starts_with("tutorial-strict/"))
        );
        let scoped = Policy::purpose_scoped().lints(on(2026));
        assert!(
            scoped.iter().all(|lint| lint.kind == LintKind::Doubtful),
            "{scoped:?}"
        );
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
        let mut rule = policy.rules[0].clone();
        rule.sources = Vec::new();
        policy.rules = vec![rule];
        assert!(has(&policy, on(2026), LintKind::Unsourced));
    }
}
