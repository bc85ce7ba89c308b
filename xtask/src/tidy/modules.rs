//! Rules on the shape of a module: its name, its first line, its size.

use super::Finding;
use super::source::{Source, words};

const CONTENTS_LINES: usize = 80;
const FILE_LINES: usize = 500;

/// Names without a meaning of their own.
const EMPTY_NAMES: [&str; 6] = ["common", "helpers", "misc", "types", "util", "utils"];

pub(crate) fn check(source: &Source, findings: &mut Vec<Finding>) {
    contents(source, findings);
    size(source, findings);
    name(source, findings);
    first_line(source, findings);
}

/// `lib.rs` is a table of contents.
fn contents(source: &Source, findings: &mut Vec<Finding>) {
    if source.file_name() != "lib.rs" {
        return;
    }
    let lines = source.code.lines().filter(|line| !line.trim().is_empty()).count();
    if lines > CONTENTS_LINES {
        findings.push(Finding {
            path: source.path.clone(),
            line: 1,
            wrong: format!("{lines} lines of code, and a table of contents has at most {CONTENTS_LINES}"),
            remedy: "move the code into modules and leave `mod` and `pub use`".to_owned(),
        });
    }
    for (at, line) in source.code.lines().enumerate() {
        if words(line).any(|word| word == "fn") {
            findings.push(Finding {
                path: source.path.clone(),
                line: at + 1,
                wrong: "a function in a table of contents".to_owned(),
                remedy: "move it into a module".to_owned(),
            });
        }
    }
}

/// A long file is split by noun. The module of tests at its end does not count.
fn size(source: &Source, findings: &mut Vec<Finding>) {
    if source.path.contains("/generated/") {
        return;
    }
    let lines = lines_before_tests(&source.code);
    if lines > FILE_LINES {
        findings.push(Finding {
            path: source.path.clone(),
            line: FILE_LINES + 1,
            wrong: format!("{lines} lines without tests, and a file has at most {FILE_LINES}"),
            remedy: "split it by noun".to_owned(),
        });
    }
}

/// The lines above the module of tests that ends a file.
fn lines_before_tests(code: &str) -> usize {
    let lines: Vec<&str> = code.lines().collect();
    let tests = lines.iter().enumerate().position(|(at, line)| {
        // `mod tests;` with the tests in a file of their own stands among the modules, not at the end
        let opens_module = |line: &&str| line.starts_with("mod ") && line.ends_with('{');
        line.trim_end() == "#[cfg(test)]"
            && lines[at + 1..]
                .iter()
                .find(|line| !line.starts_with("#["))
                .is_some_and(opens_module)
    });
    tests.unwrap_or(lines.len())
}

fn name(source: &Source, findings: &mut Vec<Finding>) {
    let mut report = |line, name: &str| {
        findings.push(Finding {
            path: source.path.clone(),
            line,
            wrong: format!("a module called `{name}`"),
            remedy: "name it after the noun that it is about".to_owned(),
        });
    };
    let path = source.path.strip_suffix(".rs").unwrap_or(&source.path);
    for part in path.split('/').filter(|part| EMPTY_NAMES.contains(part)) {
        report(1, part);
    }
    for (at, line) in source.code.lines().enumerate() {
        // a declaration without a body is found by its file
        let mut words = words(line).skip_while(|word| *word != "mod").skip(1);
        if let Some(inline) = words.next()
            && line.contains('{')
            && EMPTY_NAMES.contains(&inline)
        {
            report(at + 1, inline);
        }
    }
    if source.file_name() == "mod.rs" {
        findings.push(Finding {
            path: source.path.clone(),
            line: 1,
            wrong: "a module in a `mod.rs`".to_owned(),
            remedy: "rename it to the name of its folder, beside that folder".to_owned(),
        });
    }
}

/// A module begins with its documentation.
fn first_line(source: &Source, findings: &mut Vec<Finding>) {
    let first = source.text.lines().next().unwrap_or_default();
    let is_readme = source.file_name() == "lib.rs" && first.starts_with("#![doc = include_str!(");
    if !first.starts_with("//! ") && !is_readme {
        findings.push(Finding {
            path: source.path.clone(),
            line: 1,
            wrong: "the module has no documentation".to_owned(),
            remedy: "begin it with a line of `//!`".to_owned(),
        });
    }
}

/// A file below `generated` that no generator writes is written by hand.
pub(crate) fn check_orphan(source: &Source, outputs: &[&str], findings: &mut Vec<Finding>) {
    if source.path.contains("/generated/") && !outputs.contains(&source.path.as_str()) {
        findings.push(Finding {
            path: source.path.clone(),
            line: 1,
            wrong: "no generator writes this file".to_owned(),
            remedy: "delete it, or list it in xtask/src/codegen.rs".to_owned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let mut findings = Vec::new();
        check(&Source::new(path.to_owned(), text.to_owned()), &mut findings);
        findings
            .into_iter()
            .map(|finding| format!("{}: {}", finding.line, finding.wrong))
            .collect()
    }

    #[test]
    fn table_of_contents_is_short() {
        let head = "#![doc = include_str!(\"../README.md\")]\n\n// a comment\n";
        let short = head.to_owned() + &"mod a;\n".repeat(79);
        let long = head.to_owned() + &"mod a;\n".repeat(80);
        assert_eq!(found("crates/a/src/lib.rs", &short), [""; 0]);
        assert_eq!(
            found("crates/a/src/lib.rs", &long),
            ["1: 81 lines of code, and a table of contents has at most 80"]
        );
        assert_eq!(
            found("crates/a/src/b.rs", &long.replace("#![", "//! #![")),
            [""; 0]
        );
    }

    #[test]
    fn table_of_contents_has_no_function() {
        let text = "//! Doc of `fn f() {}`.\n\npub use a::f;\n\npub fn f() {}\n";
        assert_eq!(
            found("crates/a/src/lib.rs", text),
            ["5: a function in a table of contents"]
        );
        assert_eq!(found("crates/a/src/b.rs", text), [""; 0]);
    }

    #[test]
    fn file_size_excludes_its_tests() {
        let code = |lines: usize| "//! Doc.\n".to_owned() + &"use a;\n".repeat(lines - 1);
        let tests = "#[cfg(test)]\nmod tests {\n".to_owned() + &"use a;\n".repeat(600) + "}\n";
        let wrong = "501: 501 lines without tests, and a file has at most 500";
        assert_eq!(found("crates/a/src/b.rs", &(code(500) + &tests)), [""; 0]);
        assert_eq!(found("crates/a/src/b.rs", &(code(501) + &tests)), [wrong]);
        assert_eq!(found("crates/a/tests/b.rs", &code(501)), [wrong]);
        assert_eq!(found("crates/a/src/generated/b.rs", &code(501)), [""; 0]);
    }

    #[test]
    fn test_module_ends_the_count() {
        assert_eq!(lines_before_tests("a\n#[cfg(test)]\nmod tests;\nb\n"), 4);
        assert_eq!(lines_before_tests("a\n#[cfg(test)]\nuse b;\nc\n"), 4);
        assert_eq!(lines_before_tests("a\n    #[cfg(test)]\n    mod tests {\n"), 3);
        assert_eq!(
            lines_before_tests("a\n#[cfg(test)]\n#[expect(x)]\nmod tests {\n"),
            1
        );
    }

    #[test]
    fn empty_module_name_is_refused() {
        for path in [
            "crates/a/src/util.rs",
            "crates/a/src/utils/b.rs",
            "crates/a/src/common.rs",
            "crates/a/tests/helpers.rs",
            "tests/tests/misc.rs",
            "xtask/src/types.rs",
            "crates/a/src/b/mod.rs",
        ] {
            assert_eq!(found(path, "//! Doc.\n").len(), 1, "{path}");
        }
        assert_eq!(
            found("crates/a/src/b.rs", "//! Doc.\n\npub(crate) mod util {}\n"),
            ["3: a module called `util`"]
        );
        for path in ["crates/a/src/utility.rs", "crates/a/src/content_types.rs"] {
            assert_eq!(found(path, "//! Doc.\n\nmod model {}\n"), [""; 0], "{path}");
        }
    }

    #[test]
    fn module_without_documentation_is_refused() {
        for text in ["", "use a;\n", "// Doc.\n", "//!\n", "\n//! Doc.\n"] {
            assert_eq!(
                found("crates/a/src/b.rs", text),
                ["1: the module has no documentation"],
                "{text:?}"
            );
        }
        let readme = "#![doc = include_str!(\"../README.md\")]\n";
        assert_eq!(found("crates/a/src/lib.rs", readme), [""; 0]);
        assert_eq!(found("crates/a/src/b.rs", readme).len(), 1);
    }

    #[test]
    fn generated_file_without_generator_is_refused() {
        let source = Source::new("crates/a/src/generated/b.rs".to_owned(), "//! Doc.\n".to_owned());
        let mut findings = Vec::new();
        check_orphan(&source, &["crates/a/src/generated/b.rs"], &mut findings);
        assert_eq!(findings, []);
        check_orphan(&source, &[], &mut findings);
        assert_eq!(findings.len(), 1);
    }
}
