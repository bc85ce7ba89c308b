//! Text of others, made fit for a terminal.
//!
//! Whoever is at the other end could otherwise move the cursor, change the title, answer for the terminal, or reverse
//! the order of what is read.

use std::fmt::Write as _;

use unicode_segmentation::UnicodeSegmentation as _;

/// Longest text shown, in characters: twice what Genesys Cloud lets an agent write.
const LONGEST: usize = 8_000;
/// Most lines of one text.
const MOST_LINES: usize = 100;
/// Longest name, in characters as people count them.
const LONGEST_NAME: usize = 40;
/// Longest excerpt, counted likewise.
const LONGEST_EXCERPT: usize = 60;

/// The lines of a text, each harmless; at least one. What is too long is cut, and says so.
pub(super) fn lines(text: &str) -> Vec<String> {
    let (text, cut) = match text.char_indices().nth(LONGEST) {
        Some((end, _)) => (&text[..end], true),
        None => (text, false),
    };
    let mut all = text.trim_end().lines();
    let mut lines: Vec<String> = all.by_ref().take(MOST_LINES).map(escaped).collect();
    if cut || all.next().is_some() {
        lines.push("[the rest is too long to show]".to_owned());
    }
    if lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

/// A name, on one line.
pub(super) fn name(text: &str) -> String {
    shortened(text, LONGEST_NAME)
}

/// The beginning of a text, on one line.
pub(super) fn excerpt(text: &str) -> String {
    shortened(text, LONGEST_EXCERPT)
}

fn shortened(text: &str, longest: usize) -> String {
    let mut rest = text.trim().graphemes(true);
    // a character can carry any number of combining marks
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
    let mut harmless = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut before = None;
    while let Some(c) = chars.next() {
        // joins what is written in other scripts, and the parts of a picture
        let joins = is_joiner(c) && joinable(before) && joinable(chars.peek().copied());
        before = Some(c);
        match c {
            '\t' => harmless.push(' '),
            _ if c.is_control() || (is_hidden(c) && !joins) => {
                let _ = write!(harmless, "{}", c.escape_unicode());
            }
            _ => harmless.push(c),
        }
    }
    harmless
}

fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

fn joinable(c: Option<char>) -> bool {
    c.is_some_and(|c| !c.is_ascii() && !c.is_control() && !is_hidden(c))
}

/// Breaks a line, or is of the category Cf and shows nothing of its own: it changes the direction of what follows
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
    fn a_terminal_is_not_steered_by_what_others_say() {
        assert_eq!(lines("\x1b]0;owned\x07"), [r"\u{1b}]0;owned\u{7}"]);
        assert_eq!(lines("\u{9b}2J"), [r"\u{9b}2J"]);
        assert_eq!(lines("a\rb"), [r"a\u{d}b"]);
        assert_eq!(lines("abc\u{202e}def"), [r"abc\u{202e}def"]);
        assert_eq!(name("Ann\n✓ sent"), r"Ann\u{a}✓ sent");
    }

    #[test]
    fn what_cannot_be_seen_is_written_out() {
        assert_eq!(lines("pay\u{200b}pal\u{feff}"), [r"pay\u{200b}pal\u{feff}"]);
        assert_eq!(name("An\u{200d}n"), r"An\u{200d}n");
        assert_eq!(name("Ann\u{ad}\u{2060}"), r"Ann\u{ad}\u{2060}");
        assert_eq!(lines("\u{e0041}"), [r"\u{e0041}"]);
        assert_eq!(lines("می\u{200c}خواهم"), ["می\u{200c}خواهم"]);
    }

    #[test]
    fn lines_stay_lines_and_scripts_stay_as_they_are() {
        assert_eq!(lines("one\r\ntwo\n\nthree\n"), ["one", "two", "", "three"]);
        assert_eq!(lines(""), [""]);
        for text in ["日本語", "e\u{301}", "👩\u{200d}👩\u{200d}👧", "שלום"] {
            assert_eq!(lines(text), [text]);
            assert_eq!(name(text), text);
        }
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters_and_says_so() {
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
        fn nothing_that_controls_is_left(text in any::<String>()) {
            let shown = [lines(&text).concat(), name(&text), excerpt(&text)].concat();
            prop_assert!(!shown.chars().any(|c| c.is_control() || (is_hidden(c) && !is_joiner(c))));
        }
    }
}
