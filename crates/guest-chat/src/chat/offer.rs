//! What was offered last, to be chosen by number.

use std::fmt;

use genesys_api::wire::Text;
use guest_conversation::{Choice, Said};

/// Longest list of numbers that is read as a choice.
const MOST_CHOSEN: usize = 50;

/// The choices that a message offers, numbered from 1. `Debug` does not show what they say.
#[derive(Debug, Default)]
pub(super) struct Offer {
    question: Text<'static>,
    options: Vec<(Kind, Choice)>,
}

/// What an option is of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// A card's button.
    Button,
    /// A date picker's time.
    Date,
    /// An item of a list picker, of which there may be several in a message.
    Item {
        list: usize,
        section: usize,
        /// Whether more than one of its section may be chosen.
        several: bool,
    },
    QuickReply,
}

/// Numbers that cannot be chosen together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Unsuitable {
    OneOnly,
    OneOfSection,
    Lists,
}

impl Offer {
    /// Nothing yet, of the message of this id.
    pub(super) fn of(question: &str) -> Self {
        Self {
            question: question.to_owned().into(),
            options: Vec::new(),
        }
    }

    /// Adds an option, and gives its number.
    pub(super) fn add(&mut self, kind: Kind, choice: Choice) -> usize {
        self.options.push((kind, choice));
        self.options.len()
    }

    /// What a line chooses: a number that stands at its very beginning, alone, or several between commas. `None` if
    /// one of them is not offered, or it is no such line: a space before it makes it a text.
    pub(super) fn choose(&self, line: &str) -> Option<Result<Said, Unsuitable>> {
        let mut chosen = Vec::new();
        for number in line.split(',') {
            let digits = if chosen.is_empty() {
                number
            } else {
                number.trim_start()
            }
            .trim_end();
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            let index = digits.parse::<usize>().ok()?.checked_sub(1)?;
            self.options.get(index)?;
            if !chosen.contains(&index) {
                chosen.push(index);
            }
            if chosen.len() > MOST_CHOSEN {
                return None;
            }
        }
        let chosen: Vec<_> = chosen.iter().map(|index| &self.options[*index]).collect();
        Some(self.said(&chosen))
    }

    fn said(&self, chosen: &[&(Kind, Choice)]) -> Result<Said, Unsuitable> {
        let question = self.question.clone();
        match chosen {
            [(Kind::Button, choice)] => Ok(Said::Button(choice.clone())),
            [(Kind::Date, choice)] => Ok(Said::Date {
                question,
                choice: choice.clone(),
            }),
            [(Kind::QuickReply, choice)] => Ok(Said::QuickReply {
                question: Some(question),
                choice: choice.clone(),
            }),
            items => {
                for (at, (kind, _)) in items.iter().enumerate() {
                    let Kind::Item {
                        list,
                        section,
                        several,
                    } = *kind
                    else {
                        return Err(Unsuitable::OneOnly);
                    };
                    for (other, _) in &items[..at] {
                        match *other {
                            Kind::Item { list: its, .. } if its != list => return Err(Unsuitable::Lists),
                            Kind::Item { section: its, .. } if its == section && !several => {
                                return Err(Unsuitable::OneOfSection);
                            }
                            _ => {}
                        }
                    }
                }
                let choices = items.iter().map(|(_, choice)| choice.clone()).collect();
                Ok(Said::Items { question, choices })
            }
        }
    }
}

impl fmt::Display for Unsuitable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self {
            Self::Lists => "these are of different lists: choose from one",
            Self::OneOfSection => "only one of these can be chosen from its list",
            Self::OneOnly => "only one of these can be chosen",
        };
        write!(f, "{why}; a space before it says it as a text")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(kinds: &[Kind]) -> Offer {
        let mut offer = Offer::of("q");
        for (at, kind) in kinds.iter().enumerate() {
            let text: Text<'static> = format!("t{at}").into();
            let number = offer.add(
                *kind,
                Choice {
                    payload: text.clone(),
                    text,
                },
            );
            assert_eq!(number, at + 1);
        }
        offer
    }

    fn item(list: usize, section: usize, several: bool) -> Kind {
        Kind::Item {
            list,
            section,
            several,
        }
    }

    #[test]
    fn a_number_chooses_only_what_is_offered() {
        let offer = offer(&[Kind::QuickReply]);
        for line in ["1", "01 ", "1,1", "1, 1"] {
            assert!(
                matches!(offer.choose(line), Some(Ok(Said::QuickReply { .. }))),
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
            assert_eq!(offer.choose(line), None, "{line}");
        }
        assert_eq!(Offer::default().choose("1"), None);
    }

    #[test]
    fn each_kind_is_answered_in_its_own_way() {
        let offer = offer(&[Kind::Button, Kind::Date, item(0, 0, false)]);
        assert!(matches!(offer.choose("1"), Some(Ok(Said::Button(choice))) if &*choice.text == "t0"));
        assert!(
            matches!(offer.choose("2"), Some(Ok(Said::Date { question, choice })) if &*question == "q" && &*choice.payload == "t1")
        );
        assert!(matches!(offer.choose("3"), Some(Ok(Said::Items { choices, .. })) if choices.len() == 1));
        assert_eq!(offer.choose("1,2"), Some(Err(Unsuitable::OneOnly)));
        assert_eq!(offer.choose("3,1"), Some(Err(Unsuitable::OneOnly)));
    }

    #[test]
    fn several_items_are_chosen_where_their_section_allows_it() {
        let offer = offer(&[
            item(0, 0, true),
            item(0, 0, true),
            item(0, 1, false),
            item(0, 1, false),
            item(1, 2, true),
        ]);
        for (line, count) in [("1,2", 2), ("2, 1, 3", 3), ("3", 1)] {
            assert!(
                matches!(offer.choose(line), Some(Ok(Said::Items { choices, .. })) if choices.len() == count),
                "{line}"
            );
        }
        assert_eq!(offer.choose("1,3,4"), Some(Err(Unsuitable::OneOfSection)));
        assert_eq!(offer.choose("1,5"), Some(Err(Unsuitable::Lists)));
    }
}
