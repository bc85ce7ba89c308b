//! Rules on the consent policies that ship: each parses, names law, article and review date for every rule, and agrees
//! with its examples.

use guest_payload::PolicyFile;
use time::Date;

use super::Finding;

/// The file at `path`, as it stands on this day.
pub(crate) fn check(path: &str, text: &str, today: Date, findings: &mut Vec<Finding>) {
    let mut find = |line, wrong: String, remedy: &str| {
        findings.push(Finding {
            path: path.to_owned(),
            line,
            wrong,
            remedy: remedy.to_owned(),
        });
    };
    let file = match PolicyFile::parse(text) {
        Ok(file) => file,
        Err(error) => {
            find(
                error.line,
                error.reason,
                "correct it: crates/guest-payload/policies/README.md describes each key",
            );
            return;
        }
    };
    for lint in file.policy.lints(today) {
        if lint.kind.is_fatal() {
            find(
                1,
                lint.to_string(),
                "no policy may ship like this: correct the rule",
            );
        }
    }
    for failure in file.test() {
        let wrong = failure.to_string();
        let wrong = wrong.split_once(": ").map_or(&*wrong, |(_, wrong)| wrong);
        find(
            failure.example.line,
            wrong.to_owned(),
            "correct the rule or its example",
        );
    }
    for rule in file.rules_without_example() {
        find(1, format!("{rule} has no example"), "add an example beside it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: &str = include_str!("../../../crates/guest-payload/policies/tutorial-strict.toml");

    fn findings(text: &str, day: i32) -> Vec<String> {
        let mut findings = Vec::new();
        let today = Date::from_ordinal_date(day, 327).unwrap();
        check("p.toml", text, today, &mut findings);
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn shipped_policy_passes() {
        assert_eq!(findings(STRICT, 2026), [""; 0]);
    }

    #[test]
    fn rule_without_source_or_review_date_is_found() {
        for (from, to) in [
            ("sources = [\"tutorial\"]", "sources = []"),
            (
                "article = \"step 1\"\nreviewed = 2026-11-22",
                "article = \"step 1\"",
            ),
        ] {
            let found = findings(&STRICT.replacen(from, to, 1), 2026);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].starts_with("p.toml:"), "{found:?}");
        }
        let early = findings(STRICT, 2020);
        assert!(early.iter().all(|finding| finding.contains("reviewed in future")) && !early.is_empty());
    }

    #[test]
    fn failing_or_missing_example_is_found() {
        let wrong = findings(&STRICT.replacen("is = \"denied\"", "is = \"on\"", 1), 2026);
        assert!(wrong[0].contains("should be on by"), "{wrong:?}");
        let none = STRICT.replacen("examples = [{ place = \"IS\", is = \"on\" }]\n", "", 1);
        let found = findings(&none, 2026);
        assert!(
            found[0].contains("tutorial-strict/IS-LI-NO/analytics has no example"),
            "{found:?}"
        );
    }
}
