//! Sanitizing of foreign text for a terminal.
//!
//! Control characters in a message could move the cursor, change the title, answer for the terminal, or reverse the
//! reading order.

use std::fmt::Write as _;

use unicode_segmentation::UnicodeSegmentation as _;

/// Longest text shown, in characters: twice what Genesys Cloud lets an agent write.
const MAX_TEXT: usize = 8_000;
/// Largest number of lines of one text.
const MAX_LINES: usize = 100;
/// Longest name, in grapheme clusters.
const MAX_NAME: usize = 40;
/// Longest excerpt, in grapheme clusters.
const MAX_EXCERPT: usize = 60;

/// Returns the sanitized lines of a text, at least one. A text that is too long is cut and gets a last line about it.
pub(super) fn lines(text: &str) -> Vec<String> {
    let (text, cut) = match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => (&text[..end], true),
        None => (text, false),
    };
    let mut all = text.trim_end().lines();
    let mut lines: Vec<String> = all.by_ref().take(MAX_LINES).map(escaped).collect();
    if cut || all.next().is_some() {
        lines.push("[the rest is too long to show]".to_owned());
    }
    if lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

/// Returns a sanitized name on one line.
pub(super) fn name(text: &str) -> String {
    shortened(text, MAX_NAME)
}

/// Returns the sanitized start of a text on one line.
pub(super) fn excerpt(text: &str) -> String {
    shortened(text, MAX_EXCERPT)
}

fn shortened(text: &str, longest: usize) -> String {
    let mut rest = text.trim().graphemes(true);
    // a character can have any number of combining marks
    let kept: String = rest
        .by_ref()
        .take(longest)
        .flat_map(|it| it.chars().take(8))
        .collect();
    let mut short = escaped(&kept);
    if rest.next().is_some() {
        short.push('…');
    }
    short
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut before = None;
    while let Some(c) = chars.next() {
        // joins letters of other scripts, and the parts of an emoji
        let joins = is_joiner(c) && joinable(before) && joinable(chars.peek().copied());
        before = Some(c);
        match c {
            '\t' => escaped.push(' '),
            _ if c.is_control() || (is_hidden(c) && !joins) => {
                let _ = write!(escaped, "{}", c.escape_unicode());
            }
            _ => escaped.push(c),
        }
    }
    escaped
}

fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

fn joinable(c: Option<char>) -> bool {
    c.is_some_and(|c| !c.is_ascii() && !c.is_control() && !is_hidden(c))
}

/// Whether a character breaks a line, or is of category Cf and invisible: it changes the direction of the following text
/// (Unicode Standard Annex 9), or hides between letters.
fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{13430}'..='\u{1343f}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(lines("\x1b]0;owned\x07"), [r"\u{1b}]0;owned\u{7}"]);
        assert_eq!(lines("\u{9b}2J"), [r"\u{9b}2J"]);
        assert_eq!(lines("a\rb"), [r"a\u{d}b"]);
        assert_eq!(lines("abc\u{202e}def"), [r"abc\u{202e}def"]);
        assert_eq!(name("Ann\n✓ sent"), r"Ann\u{a}✓ sent");
    }

    #[test]
    fn invisible_characters_are_escaped() {
        assert_eq!(lines("pay\u{200b}pal\u{feff}"), [r"pay\u{200b}pal\u{feff}"]);
        assert_eq!(name("An\u{200d}n"), r"An\u{200d}n");
        assert_eq!(name("Ann\u{ad}\u{2060}"), r"Ann\u{ad}\u{2060}");
        assert_eq!(lines("\u{e0041}"), [r"\u{e0041}"]);
        assert_eq!(lines("می\u{200c}خواهم"), ["می\u{200c}خواهم"]);
    }

    #[test]
    fn line_breaks_and_foreign_scripts_are_kept() {
        assert_eq!(lines("one\r\ntwo\n\nthree\n"), ["one", "two", "", "three"]);
        assert_eq!(lines(""), [""]);
        for text in ["日本語", "e\u{301}", "👩\u{200d}👩\u{200d}👧", "שלום"] {
            assert_eq!(lines(text), [text]);
            assert_eq!(name(text), text);
        }
    }

    #[test]
    fn long_text_is_cut_between_grapheme_clusters() {
        let family = "👩\u{200d}👩\u{200d}👧";
        assert_eq!(excerpt(&family.repeat(61)), format!("{}…", family.repeat(60)));
        assert_eq!(
            name(&format!("a{}", "\u{301}".repeat(1_000))),
            format!("a{}", "\u{301}".repeat(7))
        );
        assert_eq!(lines(&"x".repeat(9_000)).len(), 2);
        assert_eq!(lines(&"x\n".repeat(1_000)).len(), 101);
    }

    proptest! {
        #[test]
        fn sanitized_text_has_no_control_characters(text in any::<String>()) {
            let shown = [lines(&text).concat(), name(&text), excerpt(&text)].concat();
            prop_assert!(!shown.chars().any(|c| c.is_control() || (is_hidden(c) && !is_joiner(c))));
        }
    }
}
