//! Rules on exceptions: each states its reason, and no test is switched off.

use std::error::Error;

use serde::Deserialize;
use toml::{Spanned, Value};

use super::Finding;
use super::source::{Attribute, Source};

pub(crate) fn check(source: &Source, findings: &mut Vec<Finding>) {
    for attribute in source.attributes() {
        ignored_test(source, &attribute, findings);
        silent_exception(source, &attribute, findings);
    }
    check_doctests(&source.path, &source.comments, findings);
}

/// A test has to run.
fn ignored_test(source: &Source, attribute: &Attribute, findings: &mut Vec<Finding>) {
    let is_ignored = match attribute.path() {
        "ignore" => true,
        "cfg_attr" => attribute.has_word("ignore"),
        _ => false,
    };
    if is_ignored {
        findings.push(Finding {
            path: source.path.clone(),
            line: attribute.line,
            wrong: "a test that does not run".to_owned(),
            remedy: "make it run against the simulator, or delete it".to_owned(),
        });
    }
}

fn silent_exception(source: &Source, attribute: &Attribute, findings: &mut Vec<Finding>) {
    let is_exception = match attribute.path() {
        "allow" | "expect" => true,
        "cfg_attr" => attribute.has_word("allow") || attribute.has_word("expect"),
        _ => false,
    };
    if is_exception && !attribute.has_word("reason") {
        findings.push(Finding {
            path: source.path.clone(),
            line: attribute.line,
            wrong: format!("`{}` without a reason", attribute.path()),
            remedy: "add `reason = \"…\"`".to_owned(),
        });
    }
}

/// An example in the documentation has to compile. Reads Markdown, or the comments of a Rust file.
pub(crate) fn check_doctests(path: &str, text: &str, findings: &mut Vec<Finding>) {
    for (at, line) in text.lines().enumerate() {
        let line = line.trim_start().trim_start_matches(['/', '!', '*']).trim_start();
        let Some(info) = line.strip_prefix("```") else {
            continue;
        };
        if info
            .split([',', ' '])
            .any(|word| word.trim().starts_with("ignore"))
        {
            findings.push(Finding {
                path: path.to_owned(),
                line: at + 1,
                wrong: "an example that does not run".to_owned(),
                remedy: "make it run, or mark it `text`".to_owned(),
            });
        }
    }
}

/// A lint that a manifest allows has a comment on its line or above it.
pub(crate) fn check_lints(path: &str, manifest: &str, findings: &mut Vec<Finding>) {
    let mut in_lints = false;
    let lines: Vec<&str> = manifest.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        if line.starts_with('[') {
            in_lints = line.contains("lints");
        }
        if in_lints && line.contains("\"allow\"") && !is_commented(&lines, at) {
            findings.push(Finding {
                path: path.to_owned(),
                line: at + 1,
                wrong: "a lint is allowed without a reason".to_owned(),
                remedy: "give the reason in a comment on the line or above it".to_owned(),
            });
        }
    }
}

fn is_commented(lines: &[&str], at: usize) -> bool {
    lines[at].contains('#')
        || at
            .checked_sub(1)
            .is_some_and(|above| lines[above].trim_start().starts_with('#'))
}

/// Every exception of `deny.toml` has a `reason`, or a comment on its line or above it.
pub(crate) fn check_deny(path: &str, text: &str, findings: &mut Vec<Finding>) -> Result<(), Box<dyn Error>> {
    let deny: Deny = toml::from_str(text).map_err(|error| format!("{path}: {error}"))?;
    let lines: Vec<&str> = text.lines().collect();
    let Deny {
        advisories,
        bans,
        licenses,
        sources,
    } = deny;
    let entries = [
        advisories.ignore,
        bans.deny,
        bans.skip,
        bans.skip_tree,
        licenses.clarify,
        licenses.exceptions,
        sources.allow_git,
    ];
    for entry in entries.into_iter().flatten() {
        let at = text[..entry.span().start].matches('\n').count();
        if entry.get_ref().get("reason").is_none() && !is_commented(&lines, at) {
            findings.push(Finding {
                path: path.to_owned(),
                line: at + 1,
                wrong: "an exception without a reason".to_owned(),
                remedy: "add `reason = \"…\"`, or a comment on the line or above it".to_owned(),
            });
        }
    }
    Ok(())
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Deny {
    advisories: Advisories,
    bans: Bans,
    licenses: Licenses,
    sources: Sources,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Advisories {
    ignore: Vec<Spanned<Value>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Bans {
    deny: Vec<Spanned<Value>>,
    skip: Vec<Spanned<Value>>,
    skip_tree: Vec<Spanned<Value>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Licenses {
    clarify: Vec<Spanned<Value>>,
    exceptions: Vec<Spanned<Value>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Sources {
    allow_git: Vec<Spanned<Value>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let mut findings = Vec::new();
        check(&Source::new("a.rs".to_owned(), text.to_owned()), &mut findings);
        shown(findings)
    }

    fn shown(findings: Vec<Finding>) -> Vec<String> {
        findings
            .into_iter()
            .map(|finding| format!("{}: {}", finding.line, finding.wrong))
            .collect()
    }

    #[test]
    fn ignored_test_is_refused() {
        let wrong = ["2: a test that does not run"];
        assert_eq!(found("#[test]\n#[ignore]\nfn a() {}\n"), wrong);
        assert_eq!(found("#[test]\n#[ignore = \"slow\"]\nfn a() {}\n"), wrong);
        assert_eq!(found("#[test]\n#[cfg_attr(miri, ignore)]\nfn a() {}\n"), wrong);
        assert_eq!(
            found("// #[ignore]\n#[test]\nfn ignore() { \"#[ignore]\"; }\n"),
            [""; 0]
        );
    }

    #[test]
    fn ignored_example_is_refused() {
        let wrong = ["1: an example that does not run"];
        assert_eq!(found("/// ```ignore\n/// a\n/// ```\nfn a() {}\n"), wrong);
        assert_eq!(found("//! ```rust,ignore\n"), wrong);
        assert_eq!(found("    /// ``` ignore-windows\n"), wrong);
        assert_eq!(found("/// ```\n/// ignore\n/// ```\n/// ```no_run\n"), [""; 0]);

        let mut findings = Vec::new();
        check_doctests("README.md", "# A\n\n```rust, ignore\na\n```\n", &mut findings);
        assert_eq!(shown(findings), ["3: an example that does not run"]);
    }

    #[test]
    fn exception_without_a_reason_is_refused() {
        assert_eq!(
            found("#[allow(dead_code)]\nfn a() {}\n"),
            ["1: `allow` without a reason"]
        );
        assert_eq!(found("\n#![expect(x, y)]\n"), ["2: `expect` without a reason"]);
        assert_eq!(
            found("#[cfg_attr(test, allow(dead_code))]\n"),
            ["1: `cfg_attr` without a reason"]
        );
        assert_eq!(
            found("#[expect(\n    x,\n    reason = \"y\"\n)]\nfn a() {}\n"),
            [""; 0]
        );
        assert_eq!(found("#[derive(Debug)]\nfn a() { b.expect(\"c\") }\n"), [""; 0]);
    }

    #[test]
    fn allowed_lint_without_a_reason_is_refused() {
        let lines = |manifest: &str| {
            let mut findings = Vec::new();
            check_lints("Cargo.toml", manifest, &mut findings);
            findings.iter().map(|finding| finding.line).collect::<Vec<_>>()
        };
        assert_eq!(lines("[lints.clippy]\nx = \"warn\"\ny = \"allow\"\n"), [3]);
        assert_eq!(lines("[workspace.lints.rust]\ny = { level = \"allow\" }\n"), [2]);
        assert_eq!(
            lines("[lints.clippy]\n# why\ny = \"allow\"\nz = \"allow\" # why\n"),
            [0; 0]
        );
        assert_eq!(lines("[package]\nname = \"allow\"\n"), [0; 0]);
    }

    #[test]
    fn exception_in_deny_toml_without_a_reason_is_refused() {
        let lines = |text: &str| {
            let mut findings = Vec::new();
            check_deny("deny.toml", text, &mut findings).unwrap();
            findings.iter().map(|finding| finding.line).collect::<Vec<_>>()
        };
        for bare in [
            "[bans]\nskip = [\n  { crate = \"a\" },\n]\n",
            "[bans]\nskip-tree = [\n  \"a\",\n]\n",
            "[bans]\ndeny = [\n  { crate = \"a\", wrappers = [\"b\"] },\n]\n",
            "[advisories]\nignore = [\n  \"RUSTSEC-2026-0001\",\n]\n",
            "[licenses]\nexceptions = [\n  { crate = \"a\", allow = [\"Zlib\"] },\n]\n",
            "[sources]\nallow-git = [\n  \"https://git.example/a\",\n]\n",
        ] {
            assert_eq!(lines(bare), [3], "{bare}");
        }
        assert_eq!(lines("\n[[licenses.clarify]]\ncrate = \"a\"\n"), [2]);
        for reasoned in [
            "[bans]\nskip = [\n  { crate = \"a\", reason = \"b\" },\n]\n",
            "[bans]\nskip = [\n  # b\n  { crate = \"a\" },\n]\n",
            "[bans]\nskip = [\n  { crate = \"a\" }, # b\n]\n",
            "[licenses]\nallow = [\n  \"MIT\",\n]\n",
            "",
        ] {
            assert_eq!(lines(reasoned), [0; 0], "{reasoned}");
        }
        assert!(check_deny("deny.toml", "[bans", &mut Vec::new()).is_err());
    }
}
