//! Rules on names and prose: words of `vocabulary.toml`, and first lines of documentation.

use std::error::Error;

use toml::Table;

use super::Finding;
use super::source::{Source, words};

/// Files with a banned word that has to stay.
const EXCEPTIONS: [&str; 1] = [
    // the name of a field in stored documents of earlier versions
    "crates/guest-suite/src/direct/session_row.rs",
];

/// The first words of a question.
const QUESTIONS: [&str; 10] = [
    "how", "what", "whatever", "where", "which", "who", "whoever", "whom", "whose", "why",
];

/// Words that make a fragment of a question: "Of which.", "By whom.".
const PREPOSITIONS: [&str; 11] = [
    "about", "at", "by", "for", "from", "in", "of", "on", "to", "under", "with",
];

/// Words to avoid, each with what to write in its place.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    /// Parts of a name, such as `["let", "out"]`.
    identifiers: Vec<(Vec<String>, String)>,
    /// Lower case.
    phrases: Vec<(String, String)>,
}

impl Vocabulary {
    pub(crate) fn parse(text: &str) -> Result<Self, Box<dyn Error>> {
        let table: Table = text.parse()?;
        let entries = |name: &str| -> Vec<(String, String)> {
            let entries = table.get(name).and_then(toml::Value::as_table);
            entries
                .into_iter()
                .flatten()
                .map(|(word, instead)| {
                    (
                        word.to_lowercase(),
                        instead.as_str().unwrap_or_default().to_owned(),
                    )
                })
                .collect()
        };
        Ok(Self {
            identifiers: entries("identifiers")
                .into_iter()
                .map(|(word, instead)| (parts(&word), instead))
                .collect(),
            phrases: entries("phrases"),
        })
    }

    /// The entry that a name of the code contains.
    fn of_identifier(&self, name: &str) -> Option<(String, &str)> {
        let parts = parts(name);
        self.identifiers
            .iter()
            .find(|(word, _)| parts.windows(word.len()).any(|window| window == word))
            .map(|(word, instead)| (word.join("_"), instead.as_str()))
    }

    /// The entry that a line of prose contains.
    fn of_prose(&self, line: &str) -> Option<(&str, &str)> {
        let line = line.to_lowercase().replace("heard island", "");
        let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        self.phrases
            .iter()
            .find(|(phrase, _)| {
                line.match_indices(phrase.as_str()).any(|(at, found)| {
                    !is_word(line[..at].chars().next_back())
                        && !is_word(line[at + found.len()..].chars().next())
                })
            })
            .map(|(phrase, instead)| (phrase.as_str(), instead.as_str()))
    }
}

/// The words of a name in lower case: `let`, `out` of `let_out` and of `LetOut`.
fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut was_lower = false;
    for c in name.chars() {
        if (c == '_' || c == '-' || c.is_uppercase() && was_lower)
            && parts.last().is_some_and(|last| !last.is_empty())
        {
            parts.push(String::new());
        }
        was_lower = c.is_lowercase();
        if c != '_'
            && c != '-'
            && let Some(last) = parts.last_mut()
        {
            last.extend(c.to_lowercase());
        }
    }
    parts
}

/// Whether the rules cover a file.
pub(crate) fn covers(path: &str) -> bool {
    !EXCEPTIONS.contains(&path)
}

/// The rules for a Rust file.
pub(crate) fn check(source: &Source, vocabulary: &Vocabulary, findings: &mut Vec<Finding>) {
    let name = source.file_name().trim_end_matches(".rs");
    let names = std::iter::once((0, name)).chain(
        source
            .code
            .lines()
            .enumerate()
            .flat_map(|(at, line)| words(line).map(move |word| (at, word))),
    );
    for (at, name) in names {
        if let Some((word, instead)) = vocabulary.of_identifier(name) {
            findings.push(Finding {
                path: source.path.clone(),
                line: at + 1,
                wrong: format!("`{name}` contains `{word}`"),
                remedy: format!("use {instead}"),
            });
        }
    }
    let prose: String = source
        .text
        .chars()
        .zip(source.code.chars())
        .map(|(text, code)| if code.is_whitespace() { text } else { ' ' })
        .collect();
    check_prose(&source.path, &prose, vocabulary, findings);
    first_lines(source, findings);
}

/// The rule for comments, literals and pages.
pub(crate) fn check_prose(path: &str, prose: &str, vocabulary: &Vocabulary, findings: &mut Vec<Finding>) {
    for (at, line) in prose.lines().enumerate() {
        if let Some((phrase, instead)) = vocabulary.of_prose(line) {
            findings.push(Finding {
                path: path.to_owned(),
                line: at + 1,
                wrong: format!("\"{phrase}\""),
                remedy: format!("write {instead}"),
            });
        }
    }
}

/// Documentation opens with a noun phrase or a verb in the third person.
fn first_lines(source: &Source, findings: &mut Vec<Finding>) {
    let mut before = None;
    for (at, line) in source.comments.lines().enumerate() {
        let line = line.trim();
        let kind = ["//!", "///"].into_iter().find(|kind| line.starts_with(kind));
        if let Some(kind) = kind
            && before != Some(kind)
            && is_question(&line[3..])
        {
            findings.push(Finding {
                path: source.path.clone(),
                line: at + 1,
                wrong: format!("documentation that opens as a question: \"{}\"", line[3..].trim()),
                remedy: "begin with a noun phrase or a verb in the third person".to_owned(),
            });
        }
        before = kind;
    }
}

fn is_question(line: &str) -> bool {
    let mut words = line
        .split(|c: char| !c.is_alphanumeric() && c != '\'' && c != '’')
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase);
    let is_question = |word: Option<String>| word.is_some_and(|word| QUESTIONS.contains(&word.as_str()));
    let first = words.next();
    let is_fragment = first
        .as_ref()
        .is_some_and(|first| PREPOSITIONS.contains(&first.as_str()));
    is_question(first) || is_fragment && is_question(words.next())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary() -> Vocabulary {
        Vocabulary::parse(
            "[identifiers]\nluggage = \"attributes\"\nlet_out = \"flush\"\n[phrases]\n\"is told\" = \"receives\"\nheard = \"received\"\n",
        )
        .unwrap()
    }

    fn found(path: &str, text: &str) -> Vec<String> {
        let mut findings = Vec::new();
        let source = Source::new(path.to_owned(), text.to_owned());
        check(&source, &vocabulary(), &mut findings);
        findings
            .into_iter()
            .map(|finding| format!("{}: {}", finding.line, finding.wrong))
            .collect()
    }

    #[test]
    fn vocabulary_file_is_read() {
        let vocabulary = Vocabulary::parse(include_str!("vocabulary.toml")).unwrap();
        assert!(vocabulary.of_identifier("GuestLuggage").is_some());
        assert!(vocabulary.of_prose("Says goodbye.").is_some());
        let empty = |entries: &[(String, String)]| entries.iter().any(|(_, instead)| instead.is_empty());
        assert!(!empty(&vocabulary.phrases));
        assert!(
            vocabulary
                .identifiers
                .iter()
                .all(|(_, instead)| !instead.is_empty())
        );
    }

    #[test]
    fn banned_identifier_is_found_as_part_of_a_name() {
        for (code, name) in [
            ("struct Luggage;", "Luggage"),
            ("fn take_luggage() {}", "take_luggage"),
            ("const LUGGAGE: u8 = 1;", "LUGGAGE"),
            ("GuestLuggage::new();", "GuestLuggage"),
            ("fn let_out() {}", "let_out"),
        ] {
            let found = found("a.rs", code);
            assert_eq!(found.len(), 1, "{code}");
            assert!(found[0].starts_with(&format!("1: `{name}`")), "{found:?}");
        }
        for code in [
            "let out = 1;",
            "// luggage",
            "f(\"luggage\");",
            "fn outlet_out() {}",
            "let x = luggages;",
        ] {
            assert_eq!(found("a.rs", code), [""; 0], "{code}");
        }
        assert_eq!(found("crates/a/src/luggage.rs", "").len(), 1);
    }

    #[test]
    fn banned_phrase_is_found_in_comments_and_literals() {
        for text in ["/// It is told.", "// Is told", "f(\"it is told, now\");"] {
            assert_eq!(found("a.rs", text), ["1: \"is told\""], "{text}");
        }
        for text in [
            "/// This told nobody.",
            "is(told);",
            "/// is toldo",
            "(\"HM\", \"Heard Island\")",
            "/// ris told",
        ] {
            assert_eq!(found("a.rs", text), [""; 0], "{text}");
        }
        let mut findings = Vec::new();
        check_prose(
            "README.md",
            "# a\n\nThe guest is told.\n",
            &vocabulary(),
            &mut findings,
        );
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].line, 3);
    }

    #[test]
    fn documentation_that_opens_as_a_question_is_found() {
        for text in [
            "//! What it is.",
            "/// Which.",
            "    /// How many.",
            "/// Of which.",
            "/// By whom, and when.",
            "/// Whoever asks.",
            "/// what `a` is",
            "//! Header.\n/// Why.",
        ] {
            assert_eq!(found("a.rs", text).len(), 1, "{text}");
        }
        for text in [
            "/// Whether it is.",
            "/// A queue.\n/// Which grows.",
            "// What follows is plain.",
            "/// Of a session.",
            "/// However long.",
            "/// When it is due.",
        ] {
            assert_eq!(found("a.rs", text), [""; 0], "{text}");
        }
    }

    #[test]
    fn file_of_the_exceptions_is_not_covered() {
        assert!(covers("SECURITY.md"));
        assert!(EXCEPTIONS.iter().all(|file| !covers(file)));
    }
}
