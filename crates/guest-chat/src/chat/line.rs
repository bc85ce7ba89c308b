//! Lines to show.

use std::fmt;

use unicode_segmentation::UnicodeSegmentation as _;

use super::sanitize;

const INDENT: &str = "    ";

/// A rendered event. It holds no control characters. `Debug` does not show its text.
#[derive(Clone, Eq, PartialEq)]
pub struct Line {
    kind: LineKind,
    head: String,
    body: Vec<String>,
}

/// A kind of line. It selects the color of the head.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum LineKind {
    Error,
    Info,
    /// A message of an agent or a bot.
    Message,
    Success,
}

/// A style of rendering.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Style {
    /// For programs: one line for each event.
    Plain,
    /// For people: further lines of a text are indented below it, and broken between words.
    Terminal {
        /// Whether heads have a color.
        color: bool,
        /// Width of the terminal, in characters, if it is known. Wide characters count once.
        columns: Option<u16>,
    },
}

impl Line {
    /// Creates a line from a head, such as a name or a mark, and a body. Both are sanitized.
    pub(super) fn new(kind: LineKind, head: &str, body: &str) -> Self {
        Self {
            kind,
            head: sanitize::excerpt(head),
            body: sanitize::lines(body),
        }
    }

    pub(super) fn info(text: &str) -> Self {
        Self::new(LineKind::Info, "*", text)
    }

    pub(super) fn error(text: &str) -> Self {
        Self::new(LineKind::Error, "!", text)
    }

    pub(super) fn with_line(mut self, more: &str) -> Self {
        self.body.extend(sanitize::lines(more));
        self
    }

    pub(super) fn with_prefix(mut self, before: &str) -> Self {
        self.head = format!("{} {}", sanitize::excerpt(before), self.head);
        self
    }

    /// Returns the text to print, without the last line break.
    #[must_use]
    pub fn render(&self, style: Style) -> String {
        let color = match self.kind {
            LineKind::Success => 32,
            LineKind::Info => 2,
            LineKind::Message => 36,
            LineKind::Error => 31,
        };
        let head = &self.head;
        match style {
            Style::Plain => format!("{head} {}", self.body.join(" | ")),
            Style::Terminal {
                color: false,
                columns,
            } => format!("{head} {}", self.rows(columns)),
            Style::Terminal { color: true, columns } => {
                format!("\x1b[{color}m{head}\x1b[0m {}", self.rows(columns))
            }
        }
    }

    /// The body in rows of a terminal, all but the first indented.
    fn rows(&self, columns: Option<u16>) -> String {
        let columns = columns.map_or(usize::MAX, usize::from);
        let mut used = self.head.graphemes(true).count() + 1;
        let mut rows = Vec::new();
        for line in &self.body {
            rows.extend(wrapped(line, used, columns));
            used = INDENT.len();
        }
        rows.join(&format!("\n{INDENT}"))
    }
}

/// The rows of a line, broken at spaces only: a longer word, such as a link, is left to the terminal. The first row begins
/// after `used` characters, further ones after the indent.
fn wrapped(line: &str, mut used: usize, columns: usize) -> Vec<String> {
    let mut words = line.split(' ');
    let mut row = words.next().unwrap_or_default().to_owned();
    used += row.graphemes(true).count();
    let mut rows = Vec::new();
    for word in words {
        let width = word.graphemes(true).count();
        if used + 1 + width > columns {
            rows.push(std::mem::replace(&mut row, word.to_owned()));
            used = INDENT.len() + width;
        } else {
            row.push(' ');
            row.push_str(word);
            used += 1 + width;
        }
    }
    rows.push(row);
    rows
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line({:?}, {} lines)", self.kind, self.body.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMINAL: Style = Style::Terminal {
        color: false,
        columns: None,
    };

    #[test]
    fn plain_style_joins_lines_and_terminal_style_indents_them() {
        let line = Line::new(LineKind::Message, "Ann:", "one\ntwo").with_line("[1] Yes");
        assert_eq!(line.render(Style::Plain), "Ann: one | two | [1] Yes");
        assert_eq!(line.render(TERMINAL), "Ann: one\n    two\n    [1] Yes");
        let colored = Style::Terminal {
            color: true,
            columns: None,
        };
        assert_eq!(
            Line::new(LineKind::Success, "✓", "hi").render(colored),
            "\x1b[32m✓\x1b[0m hi"
        );
    }

    #[test]
    fn terminal_style_breaks_lines_between_words() {
        let render = |text: &str| {
            Line::new(LineKind::Message, "Ann:", text).render(Style::Terminal {
                color: false,
                columns: Some(20),
            })
        };
        assert_eq!(render("fifteen letters"), "Ann: fifteen letters", "20 characters");
        assert_eq!(
            render("one more than fifteen\nand a second line of it"),
            "Ann: one more than\n    fifteen\n    and a second\n    line of it"
        );
        let link = "https://shop.example/a-long-path";
        assert_eq!(
            render(&format!("see {link} now")),
            format!("Ann: see\n    {link}\n    now")
        );
    }

    #[test]
    fn line_escapes_control_characters_in_head_and_body() {
        let line = Line::new(LineKind::Message, "\x1b[31mAnn:", "\x1b[2J").with_line("\x1b[1m");
        for style in [Style::Plain, TERMINAL] {
            assert!(!line.render(style).contains('\x1b'));
        }
    }
}
