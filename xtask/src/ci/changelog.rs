//! The changelog names what users notice: a crate whose public items differ from the base revision has a new line in
//! its section.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::Path;

use super::public_items::public_items;
use super::revision::{base, git};
use crate::workspace;

const CHANGELOG: &str = "CHANGELOG.md";

/// Files that are a public surface themselves, each with the section that names their changes.
const CONTRACTS: [(&str, &str); 2] = [
    ("gateway.example.toml", "guest-gateway"),
    ("spec/guest-sessions/", "guest-sessions"),
];

/// The items of a change that are shown as examples.
const SHOWN: usize = 5;

/// Compares the working tree with the base revision.
pub(crate) fn run(root: &Path) -> Result<(), Box<dyn Error>> {
    let Some(base) = base(root)? else {
        println!("no git, or no earlier commit: the changelog is not checked");
        return Ok(());
    };
    let before = |path: &str| git(root, &["show", &format!("{base}:{path}")]);
    let sections = sections(&workspace::read_if_any(root, CHANGELOG)?);
    let sections_before = sections_of(before(CHANGELOG)?);
    let mut findings = 0;
    for (name, changes) in changes(root, &base)? {
        if changes.is_empty() || sections.get(&name) != sections_before.get(&name) {
            continue;
        }
        findings += 1;
        println!(
            "{CHANGELOG}: `{name}` has {} public changes and no new line in its section:",
            changes.len()
        );
        for change in changes.iter().take(SHOWN) {
            println!("    {change}");
        }
        println!("  add a line for users under `## [Unreleased]`, `### {name}`");
    }
    if findings == 0 {
        println!("public changes since {base:.10} have a line");
        return Ok(());
    }
    Err(format!("{findings} sections of {CHANGELOG} lack a line").into())
}

fn sections_of(changelog: Option<String>) -> BTreeMap<String, String> {
    changelog.map(|text| sections(&text)).unwrap_or_default()
}

/// The text of each `###` section under `## [Unreleased]`, by its title.
fn sections(changelog: &str) -> BTreeMap<String, String> {
    let mut sections = BTreeMap::new();
    let mut is_unreleased = false;
    let mut title = None;
    for line in changelog.lines() {
        if let Some(version) = line.strip_prefix("## ") {
            is_unreleased = version.trim_matches(['[', ']']) == "Unreleased";
            title = None;
        } else if let Some(name) = line.strip_prefix("### ") {
            title = is_unreleased.then(|| name.trim().trim_matches('`').to_owned());
        } else if let Some(title) = &title
            && !line.trim().is_empty()
        {
            let text: &mut String = sections.entry(title.clone()).or_default();
            text.push_str(line);
            text.push('\n');
        }
    }
    sections
}

/// The public changes of each section: items of crates, and files of contracts.
fn changes(root: &Path, base: &str) -> Result<BTreeMap<String, Vec<String>>, Box<dyn Error>> {
    let list = |arguments: &[&str]| git(root, arguments).map(Option::unwrap_or_default);
    let mut paths = list(&["diff", "--name-only", "--no-renames", base])?;
    paths.push('\n');
    paths += &list(&["ls-files", "--others", "--exclude-standard"])?;
    let mut changes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut items: BTreeMap<&str, [BTreeSet<String>; 2]> = BTreeMap::new();
    for path in paths.lines() {
        if let Some((_, section)) = CONTRACTS.iter().find(|(prefix, _)| path.starts_with(prefix)) {
            changes
                .entry((*section).to_owned())
                .or_default()
                .push(format!("~ {path}"));
        }
        if let Some(name) = crate_of(path)
            && root.join("crates").join(name).exists()
        {
            let old = git(root, &["show", &format!("{base}:{path}")])?.unwrap_or_default();
            let [before, after] = items.entry(name).or_default();
            before.extend(public_items(&old));
            after.extend(public_items(&workspace::read_if_any(root, path)?));
        }
    }
    for (name, [before, after]) in items {
        let of_crate = changes.entry(name.to_owned()).or_default();
        of_crate.extend(after.difference(&before).map(|item| format!("+ {item}")));
        of_crate.extend(before.difference(&after).map(|item| format!("- {item}")));
    }
    Ok(changes)
}

/// The crate whose users see the items of a file.
fn crate_of(path: &str) -> Option<&str> {
    let (name, file) = path.strip_prefix("crates/")?.split_once('/')?;
    let is_source = file.starts_with("src/") && file.ends_with(".rs");
    (is_source && !file.ends_with("/tests.rs") && !file.contains("/tests/")).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_of_the_unreleased_version_are_read() {
        let changelog = "# Changelog\n\n## [Unreleased]\n\n### audit\n\n- A.\n- B.\n\n### `webhook`\n\n- C.\n\n\
                         ## [0.1.0]\n\n### audit\n\n- Old.\n";
        let found = sections(changelog);
        let expected = [("audit", "- A.\n- B.\n"), ("webhook", "- C.\n")];
        let expected: BTreeMap<String, String> = expected.map(|(a, b)| (a.to_owned(), b.to_owned())).into();
        assert_eq!(found, expected);
        assert_eq!(
            sections(&changelog.replace("[Unreleased]", "Unreleased")),
            expected
        );
    }

    #[test]
    fn items_are_public_in_sources_of_crates() {
        assert_eq!(crate_of("crates/audit/src/tree.rs"), Some("audit"));
        for path in [
            "crates/audit/README.md",
            "crates/audit/tests/vectors.rs",
            "crates/audit/src/tree/tests.rs",
            "xtask/src/main.rs",
        ] {
            assert_eq!(crate_of(path), None, "{path}");
        }
    }
}
