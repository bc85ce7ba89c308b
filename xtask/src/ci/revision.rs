//! The change under test: the commits and files since the revision that it is compared with.

use std::env;
use std::error::Error;
use std::io;
use std::path::Path;

use crate::workspace;

/// Names the revision to compare with, in place of the default.
const BASE: &str = "GUEST_SUITE_BASE";

/// The longest subject of a commit.
const SUBJECT_CHARS: usize = 72;

/// The revision that the change started from: the one of `GUEST_SUITE_BASE`, or the merge base with `origin/main` or
/// `main`. On that branch itself it is the parent. `None` without git, or without a parent.
pub(crate) fn base(root: &Path) -> Result<Option<String>, Box<dyn Error>> {
    if let Ok(named) = env::var(BASE) {
        let revision = git(
            root,
            &["rev-parse", "--verify", "--quiet", &format!("{named}^{{commit}}")],
        )?;
        return revision
            .map(Some)
            .ok_or_else(|| format!("invalid {BASE}: no commit `{named}`").into());
    }
    let Some(head) = git(root, &["rev-parse", "HEAD"])? else {
        return Ok(None);
    };
    for branch in ["origin/main", "main"] {
        if let Some(base) = git(root, &["merge-base", "HEAD", branch])? {
            if base != head {
                return Ok(Some(base));
            }
            break;
        }
    }
    git(root, &["rev-parse", "--verify", "--quiet", "HEAD^"])
}

/// The output of a git command, or `None` if it failed.
pub(crate) fn git(root: &Path, arguments: &[&str]) -> Result<Option<String>, Box<dyn Error>> {
    match workspace::tool(root, "git").args(arguments).output() {
        Ok(output) if output.status.success() => Ok(Some(
            String::from_utf8_lossy(&output.stdout).trim_end().to_owned(),
        )),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Checks the subjects of the commits of the change.
pub(crate) fn check_subjects(root: &Path) -> Result<(), Box<dyn Error>> {
    let Some(base) = base(root)? else {
        println!("no git, or no earlier commit: subjects are not checked");
        return Ok(());
    };
    let log = git(
        root,
        &["log", "--no-merges", "--format=%h %s", &format!("{base}..HEAD")],
    )?
    .unwrap_or_default();
    let invalid = invalid_subjects(&log);
    for subject in &invalid {
        println!("{subject}");
    }
    if invalid.is_empty() {
        println!("{} commits since {base:.10}", log.lines().count());
        return Ok(());
    }
    Err(format!(
        "{} invalid subjects: write `area: summary` in at most {SUBJECT_CHARS} characters with `git rebase -i {base:.10}`",
        invalid.len()
    )
    .into())
}

/// The lines of `<revision> <subject>` whose subject has no area or is too long, each with the reason.
fn invalid_subjects(log: &str) -> Vec<String> {
    log.lines()
        .filter_map(|line| {
            let (revision, subject) = line.split_once(' ')?;
            let length = subject.chars().count();
            let reason = match subject.split_once(": ") {
                None => "no area".to_owned(),
                Some(_) if length > SUBJECT_CHARS => format!("{length} characters"),
                Some(_) => return None,
            };
            Some(format!("{revision}: {reason}: {subject}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subject_without_an_area_or_over_the_limit_is_reported() {
        let fits = format!("tests: {}é", "a".repeat(64));
        let log = format!("1234abc {fits}\n5678def {fits}!\n9abcdef wip\n");
        let expected = [
            format!("5678def: 73 characters: {fits}!"),
            "9abcdef: no area: wip".to_owned(),
        ];
        assert_eq!(invalid_subjects(&log), expected);
        assert_eq!(invalid_subjects(""), [""; 0]);
    }

    #[test]
    fn failed_git_command_has_no_output() {
        assert_eq!(
            git(
                workspace::root(),
                &["rev-parse", "--verify", "--quiet", "no-such-branch"]
            )
            .unwrap(),
            None
        );
    }
}
