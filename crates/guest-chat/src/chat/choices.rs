//! Choices of the last message, selected by number.

use genesys_api::wire::OwnedText;
use guest_conversation::{ButtonKind, Choice, OutgoingMessage};

/// Longest list of numbers that is parsed as a choice.
const MAX_CHOICES: usize = 50;

/// The choices of a message, numbered from 1. `Debug` does not show their texts.
#[derive(Debug, Default)]
pub(super) struct PendingChoices {
    question: OwnedText,
    options: Vec<(ChoiceKind, Choice)>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ChoiceKind {
    Button,
    Date,
    /// An item of a list picker. A message may hold several pickers.
    Item {
        list: usize,
        section: usize,
        /// Whether several items of the section may be selected.
        several: bool,
    },
    QuickReply,
}

// errors of numbers that cannot be selected together
const ONE_CHOICE: &str =
    "invalid choice: the message allows one choice; start with a space to send it as text";
const ONE_OF_SECTION: &str =
    "invalid choice: the list allows one choice; start with a space to send it as text";
const ONE_LIST: &str =
    "invalid choice: the numbers are of different lists; start with a space to send it as text";

impl PendingChoices {
    /// Creates an empty list for the message of this id.
    pub(super) fn of(question: &str) -> Self {
        Self {
            question: question.to_owned().into(),
            ..Self::default()
        }
    }

    /// Adds a choice and returns its number.
    pub(super) fn add(&mut self, kind: ChoiceKind, choice: Choice) -> usize {
        self.options.push((kind, choice));
        self.options.len()
    }

    /// Parses a line as a number, or several separated by commas. `None` if the line has another form, if it starts with
    /// a space, or if there is no choice of a number.
    pub(super) fn choose(&self, line: &str) -> Option<Result<OutgoingMessage, &'static str>> {
        let mut chosen = Vec::new();
        for number in line.split(',') {
            let digits = match chosen.is_empty() {
                true => number.trim_end(),
                false => number.trim(),
            };
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            let index = digits.parse::<usize>().ok()?.checked_sub(1)?;
            self.options.get(index)?;
            if !chosen.contains(&index) {
                chosen.push(index);
            }
            if chosen.len() > MAX_CHOICES {
                return None;
            }
        }
        let chosen: Vec<_> = chosen.iter().map(|index| &self.options[*index]).collect();
        Some(self.answer(&chosen))
    }

    fn answer(&self, chosen: &[&(ChoiceKind, Choice)]) -> Result<OutgoingMessage, &'static str> {
        let kind = match chosen {
            [(ChoiceKind::Button, _)] => ButtonKind::Button,
            [(ChoiceKind::Date, _)] => ButtonKind::DatePicker,
            [(ChoiceKind::QuickReply, _)] => ButtonKind::QuickReply,
            items => {
                for (at, (kind, _)) in items.iter().enumerate() {
                    let ChoiceKind::Item {
                        list,
                        section,
                        several,
                    } = *kind
                    else {
                        return Err(ONE_CHOICE);
                    };
                    for (other, _) in &items[..at] {
                        match *other {
                            ChoiceKind::Item { list: its, .. } if its != list => return Err(ONE_LIST),
                            ChoiceKind::Item { section: its, .. } if its == section && !several => {
                                return Err(ONE_OF_SECTION);
                            }
                            _ => {}
                        }
                    }
                }
                ButtonKind::ListPicker
            }
        };
        Ok(OutgoingMessage::Choices {
            kind,
            question: Some(self.question.clone()),
            choices: chosen.iter().map(|(_, choice)| choice.clone()).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(kinds: &[ChoiceKind]) -> PendingChoices {
        let mut choices = PendingChoices::of("q");
        for (at, kind) in kinds.iter().enumerate() {
            let text: OwnedText = format!("t{at}").into();
            let number = choices.add(
                *kind,
                Choice {
                    payload: text.clone(),
                    text,
                },
            );
            assert_eq!(number, at + 1);
        }
        choices
    }

    fn item(list: usize, section: usize, several: bool) -> ChoiceKind {
        ChoiceKind::Item {
            list,
            section,
            several,
        }
    }

    #[test]
    fn number_selects_only_an_existing_choice() {
        let choices = pending(&[ChoiceKind::QuickReply]);
        for line in ["1", "01 ", "1,1", "1, 1"] {
            assert!(
                matches!(
                    choices.choose(line),
                    Some(Ok(OutgoingMessage::Choices {
                        kind: ButtonKind::QuickReply,
                        ..
                    }))
                ),
                "{line}"
            );
        }
        for line in [
            "",
            "0",
            "2",
            "1.",
            " 1",
            "+1",
            "١",
            "1,",
            ",1",
            "1,2",
            "1 1",
            "99999999999999999999999",
        ] {
            assert_eq!(choices.choose(line), None, "{line}");
        }
        assert_eq!(PendingChoices::default().choose("1"), None);
    }

    #[test]
    fn choice_kind_decides_the_form_of_the_answer() {
        let choices = pending(&[ChoiceKind::Button, ChoiceKind::Date, item(0, 0, false)]);
        for (line, expected) in [
            ("1", ButtonKind::Button),
            ("2", ButtonKind::DatePicker),
            ("3", ButtonKind::ListPicker),
        ] {
            let Some(Ok(OutgoingMessage::Choices {
                kind,
                question,
                choices,
            })) = choices.choose(line)
            else {
                panic!("{line}")
            };
            assert_eq!(
                (kind, question.as_deref(), choices.len()),
                (expected, Some("q"), 1)
            );
        }
        assert_eq!(choices.choose("1,2"), Some(Err(ONE_CHOICE)));
        assert_eq!(choices.choose("3,1"), Some(Err(ONE_CHOICE)));
    }

    #[test]
    fn list_section_decides_whether_several_items_are_allowed() {
        let choices = pending(&[
            item(0, 0, true),
            item(0, 0, true),
            item(0, 1, false),
            item(0, 1, false),
            item(1, 2, true),
        ]);
        for (line, count) in [("1,2", 2), ("2, 1, 3", 3), ("3", 1)] {
            assert!(
                matches!(choices.choose(line), Some(Ok(OutgoingMessage::Choices { choices, .. })) if choices.len() == count),
                "{line}"
            );
        }
        assert_eq!(choices.choose("1,3,4"), Some(Err(ONE_OF_SECTION)));
        assert_eq!(choices.choose("1,5"), Some(Err(ONE_LIST)));
    }
}
