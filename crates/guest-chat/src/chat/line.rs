//! Lines to show.

use std::fmt;

use super::sanitize;

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
    /// For people: further lines of a text are indented below it.
    Terminal {
        /// Whether heads have a color.
        color: bool,
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
            Style::Terminal { color: false } => format!("{head} {}", self.body.join("\n    ")),
            Style::Terminal { color: true } => {
                format!("\x1b[{color}m{head}\x1b[0m {}", self.body.join("\n    "))
            }
        }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line({:?}, {} lines)", self.kind, self.body.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_style_joins_lines_and_terminal_style_indents_them() {
        let line = Line::new(LineKind::Message, "Ann:", "one\ntwo").with_line("[1] Yes");
        assert_eq!(line.render(Style::Plain), "Ann: one | two | [1] Yes");
        assert_eq!(
            line.render(Style::Terminal { color: false }),
            "Ann: one\n    two\n    [1] Yes"
        );
        assert_eq!(
            Line::new(LineKind::Success, "✓", "hi").render(Style::Terminal { color: true }),
            "\x1b[32m✓\x1b[0m hi"
        );
    }

    #[test]
    fn line_escapes_control_characters_in_head_and_body() {
        let line = Line::new(LineKind::Message, "\x1b[31mAnn:", "\x1b[2J").with_line("\x1b[1m");
        for style in [Style::Plain, Style::Terminal { color: false }] {
            assert!(!line.render(style).contains('\x1b'));
        }
    }
}
