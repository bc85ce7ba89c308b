//! One thing to show.

use std::fmt;

use super::untrusted;

/// One event, ready to be shown. Whatever it was made of, it holds no character that steers a terminal.
/// `Debug` does not show what is said.
#[derive(Clone, Eq, PartialEq)]
pub struct Line {
    tone: Tone,
    head: String,
    body: Vec<String>,
}

/// What kind of thing a line tells; it chooses the colour of its head.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tone {
    /// Something of the guest's own is as it should be.
    Good,
    /// A state, or something in passing.
    Quiet,
    /// Somebody at the other side speaks.
    Theirs,
    /// Something went wrong.
    Wrong,
}

/// How lines are shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Look {
    /// For programs: each event is one line.
    Plain,
    /// For people: the further lines of a text stand under it, indented.
    Terminal {
        /// Whether heads are coloured.
        colour: bool,
    },
}

impl Line {
    /// A head, such as a name or a mark, and what is told. Both may come from anywhere.
    pub(super) fn new(tone: Tone, head: &str, body: &str) -> Self {
        Self {
            tone,
            head: untrusted::excerpt(head),
            body: untrusted::lines(body),
        }
    }

    /// Adds a line under it.
    #[must_use]
    pub(super) fn with(mut self, more: &str) -> Self {
        self.body.extend(untrusted::lines(more));
        self
    }

    /// Puts something before its head.
    #[must_use]
    pub(super) fn preceded_by(mut self, before: &str) -> Self {
        self.head = format!("{} {}", untrusted::excerpt(before), self.head);
        self
    }

    /// The text to print, without the last line break.
    #[must_use]
    pub fn render(&self, look: Look) -> String {
        let head = match look {
            Look::Terminal { colour: true } => {
                let colour = match self.tone {
                    Tone::Good => 32,
                    Tone::Quiet => 2,
                    Tone::Theirs => 36,
                    Tone::Wrong => 31,
                };
                format!("\x1b[{colour}m{}\x1b[0m", self.head)
            }
            _ => self.head.clone(),
        };
        let between = match look {
            Look::Plain => " | ",
            Look::Terminal { .. } => "\n    ",
        };
        format!("{head} {}", self.body.join(between))
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line({:?}, {} lines)", self.tone, self.body.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_reads_one_line_and_a_person_reads_all() {
        let line = Line::new(Tone::Theirs, "Ann:", "one\ntwo").with("[1] Yes");
        assert_eq!(line.render(Look::Plain), "Ann: one | two | [1] Yes");
        assert_eq!(
            line.render(Look::Terminal { colour: false }),
            "Ann: one\n    two\n    [1] Yes"
        );
        assert_eq!(
            Line::new(Tone::Good, "✓", "hi").render(Look::Terminal { colour: true }),
            "\x1b[32m✓\x1b[0m hi"
        );
    }

    #[test]
    fn neither_head_nor_body_can_bring_its_own_colour() {
        let line = Line::new(Tone::Theirs, "\x1b[31mAnn:", "\x1b[2J").with("\x1b[1m");
        for look in [Look::Plain, Look::Terminal { colour: false }] {
            assert!(!line.render(look).contains('\x1b'));
        }
    }
}
