//! Rules on characters, and on the Rust version in the README.

use super::Finding;
use super::source::Source;

pub(crate) fn check(source: &Source, findings: &mut Vec<Finding>) {
    for (at, line) in source.text.split('\n').enumerate() {
        let mut report = |wrong: String, remedy: &str| {
            findings.push(Finding {
                path: source.path.clone(),
                line: at + 1,
                wrong,
                remedy: remedy.to_owned(),
            });
        };
        if let Some(c) = line.chars().find(|&c| is_invisible(c)) {
            report(
                format!("the invisible character {}", c.escape_unicode()),
                "delete it, or write it as an escape",
            );
        }
        if line.ends_with(' ') {
            report("a space at the end of the line".to_owned(), "delete it");
        }
    }
}

/// Tabs, carriage returns and other controls, marks of direction, and spaces without width.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
        )
}

/// The README names the Rust version of the manifest.
pub(crate) fn check_readme(readme: &str, rust_version: &str, findings: &mut Vec<Finding>) {
    let mut report = |line, wrong, remedy| {
        findings.push(Finding {
            path: "README.md".to_owned(),
            line,
            wrong,
            remedy,
        });
    };
    let mut is_named = false;
    for (at, line) in readme.lines().enumerate() {
        for (start, _) in line.match_indices("Rust 1.") {
            let version = &line[start + "Rust ".len()..];
            let end = version
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .unwrap_or(version.len());
            let version = version[..end].trim_end_matches('.');
            is_named = true;
            if version != rust_version {
                report(
                    at + 1,
                    format!("names Rust {version}, and the manifest asks for {rust_version}"),
                    "make them agree".to_owned(),
                );
            }
        }
    }
    if !is_named {
        report(
            1,
            "names no Rust version".to_owned(),
            format!("write `Rust {rust_version}` among the requirements"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let mut findings = Vec::new();
        check(&Source::new("a.rs".to_owned(), text.to_owned()), &mut findings);
        findings
            .into_iter()
            .map(|finding| format!("{}: {}", finding.line, finding.wrong))
            .collect()
    }

    #[test]
    fn invisible_character_is_refused() {
        assert_eq!(found("a\tb\n"), ["1: the invisible character \\u{9}"]);
        assert_eq!(found("a\nb\r\n"), ["2: the invisible character \\u{d}"]);
        assert_eq!(found("\u{feff}a\n"), ["1: the invisible character \\u{feff}"]);
        assert_eq!(found("\"\u{202e}\"\n"), ["1: the invisible character \\u{202e}"]);
        assert_eq!(found("a\u{85}\n"), ["1: the invisible character \\u{85}"]);
        assert_eq!(found("a\nb \n"), ["2: a space at the end of the line"]);
    }

    #[test]
    fn visible_text_of_any_language_passes() {
        assert_eq!(found("let a = \"é, ß, 猫, …\";\n\n    b\n"), [""; 0]);
    }

    #[test]
    fn readme_and_manifest_agree_on_rust_version() {
        let lines = |readme: &str| {
            let mut findings = Vec::new();
            check_readme(readme, "1.95", &mut findings);
            findings.iter().map(|finding| finding.line).collect::<Vec<_>>()
        };
        assert_eq!(lines("# A\n\nInstall Rust 1.95 and a C compiler.\n"), [0; 0]);
        assert_eq!(lines("Needs Rust 1.95.\n"), [0; 0]);
        assert_eq!(lines("# A\n\nInstall Rust 1.88 or Rust 1.95.\n"), [3]);
        assert_eq!(lines("Install Rust 1.95.1.\n"), [1]);
        assert_eq!(lines("# A\n"), [1]);
    }
}
