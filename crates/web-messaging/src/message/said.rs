//! Messages of the guest.

use super::{ListItem, QuickReply};
use genesys_api::wire::Text;

/// Something that the guest says: words, files, or a choice among what was offered. `Debug` shows lengths.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Said {
    /// A button of a card or carousel was pressed; a link is none.
    Button(Choice),
    /// A time was picked.
    Date {
        /// Id of the message that offered it.
        question: Text<'static>,
        /// The time as the guest read it, and [`DateSlot::at`](crate::message::DateSlot::at) as its payload.
        choice: Choice,
    },
    /// A form was filled in.
    Form {
        /// Id of the message that offered it.
        question: Text<'static>,
        /// Id of the form.
        form: Text<'static>,
        /// What the transcript shows.
        text: Text<'static>,
        /// The answers.
        answers: Vec<Answer>,
    },
    /// Items of a list were picked.
    Items {
        /// Id of the message that offered them.
        question: Text<'static>,
        /// The items.
        choices: Vec<Choice>,
    },
    /// A quick reply was chosen.
    QuickReply {
        /// Id of the message that offered it, if known.
        question: Option<Text<'static>>,
        /// The reply.
        choice: Choice,
    },
    /// Text, files, or both.
    Text {
        /// The words, at most [`TEXT_LIMIT`](crate::message::TEXT_LIMIT) bytes; may be empty beside a file.
        text: Text<'static>,
        /// Ids of uploaded files.
        attachments: Vec<Text<'static>>,
    },
}

impl Said {
    /// Words.
    #[must_use]
    pub fn text(text: impl Into<Text<'static>>) -> Self {
        Self::Text {
            text: text.into(),
            attachments: Vec::new(),
        }
    }

    /// Words, and nothing else.
    pub fn is_plain(&self) -> bool {
        matches!(self, Self::Text { attachments, .. } if attachments.is_empty())
    }

    /// Nothing is said.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Items { choices, .. } => choices.is_empty(),
            Self::Text { text, attachments } => text.is_empty() && attachments.is_empty(),
            Self::Button(_) | Self::Date { .. } | Self::Form { .. } | Self::QuickReply { .. } => false,
        }
    }

    /// Ids of the attached files.
    #[must_use]
    pub fn attachments(&self) -> &[Text<'static>] {
        match self {
            Self::Text { attachments, .. } => attachments,
            _ => &[],
        }
    }

    /// Bytes of all its texts.
    pub fn bytes(&self) -> usize {
        let of = |choice: &Choice| choice.text.len() + choice.payload.len();
        match self {
            Self::Button(choice) => of(choice),
            Self::Date { question, choice } => question.len() + of(choice),
            Self::Form {
                question,
                form,
                text,
                answers,
            } => {
                let answers = answers.iter();
                let answered: usize = answers
                    .map(|answer| answer.field.len() + of(&answer.choice))
                    .sum();
                question.len() + form.len() + text.len() + answered
            }
            Self::Items { question, choices } => question.len() + choices.iter().map(of).sum::<usize>(),
            Self::QuickReply { question, choice } => {
                question.as_ref().map_or(0, |question| question.len()) + of(choice)
            }
            Self::Text { text, attachments } => {
                text.len() + attachments.iter().map(|id| id.len()).sum::<usize>()
            }
        }
    }

    /// The words of it: what the transcript shows.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Button(choice) | Self::Date { choice, .. } | Self::QuickReply { choice, .. } => {
                choice.text.to_string()
            }
            Self::Form { text, .. } | Self::Text { text, .. } => text.to_string(),
            Self::Items { choices, .. } => {
                let texts: Vec<_> = choices.iter().map(|choice| &*choice.text).collect();
                texts.join(", ")
            }
        }
    }
}

/// One of the things that were offered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Choice {
    /// What the guest read.
    pub text: Text<'static>,
    /// What the bot gets.
    pub payload: Text<'static>,
}

impl From<&ListItem> for Choice {
    fn from(item: &ListItem) -> Self {
        Self {
            text: item.title.clone(),
            payload: item.id.clone(),
        }
    }
}

impl From<&QuickReply> for Choice {
    fn from(reply: &QuickReply) -> Self {
        Self {
            text: reply.text.clone(),
            payload: reply.payload.clone(),
        }
    }
}

/// The answer to one field of a form.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The field.
    pub field: Text<'static>,
    /// What the guest chose or wrote.
    pub choice: Choice,
}
