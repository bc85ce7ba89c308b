//! Messages of the guest.

use genesys_api::wire::{OwnedText, Text};

use super::{ButtonKind, ListItem, QuickReply};

/// A message of the guest: text, files, or a choice among those offered.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum OutgoingMessage {
    /// The guest chose: a button of a card, a time, items of a list, or a quick reply.
    Choices {
        /// Content that offered the choices: neither a form nor unknown content.
        kind: ButtonKind,
        /// Id of the message that offered them, if known.
        question: Option<OwnedText>,
        /// The choices. For a time, the payload is [`DateSlot::at`](crate::message::DateSlot::at).
        choices: Vec<Choice>,
    },
    /// The guest filled a form in.
    Form {
        /// Id of the message that offered it.
        question: OwnedText,
        /// Id of the form.
        form: OwnedText,
        /// The text that the transcript shows.
        text: OwnedText,
        /// The answers.
        answers: Vec<Answer>,
    },
    /// Text, files, or both.
    Text {
        /// At most [`TEXT_LIMIT`](crate::message::TEXT_LIMIT) bytes; may be empty beside a file.
        text: OwnedText,
        /// Ids of uploaded files.
        attachments: Vec<OwnedText>,
    },
}

impl OutgoingMessage {
    /// A message of text alone.
    #[must_use]
    pub fn new(text: impl Into<OwnedText>) -> Self {
        Self::Text {
            text: text.into(),
            attachments: Vec::new(),
        }
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Choices { choices, .. } => choices.is_empty(),
            Self::Text { text, attachments } => text.is_empty() && attachments.is_empty(),
            Self::Form { .. } => false,
        }
    }

    /// Ids of the attached files.
    #[must_use]
    pub fn attachments(&self) -> &[OwnedText] {
        match self {
            Self::Text { attachments, .. } => attachments,
            _ => &[],
        }
    }

    /// Bytes of all its texts.
    pub fn bytes(&self) -> usize {
        let of = |choice: &Choice| choice.text.len() + choice.payload.len();
        match self {
            Self::Choices {
                question, choices, ..
            } => {
                question.as_ref().map_or(0, |question| question.len()) + choices.iter().map(of).sum::<usize>()
            }
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
            Self::Text { text, attachments } => {
                text.len() + attachments.iter().map(|id| id.len()).sum::<usize>()
            }
        }
    }

    /// The text that the transcript shows.
    #[must_use]
    pub fn text(&self) -> Text<'_> {
        match self {
            Self::Choices { choices, .. } => match &choices[..] {
                [choice] => Text::from(&*choice.text),
                _ => {
                    let texts: Vec<_> = choices.iter().map(|choice| &*choice.text).collect();
                    texts.join(", ").into()
                }
            },
            Self::Form { text, .. } | Self::Text { text, .. } => Text::from(&**text),
        }
    }
}

/// One of the choices that a message offered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Choice {
    /// The text that the guest read.
    pub text: OwnedText,
    /// The value that the bot receives.
    pub payload: OwnedText,
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
    pub field: OwnedText,
    /// The guest's choice or text.
    pub choice: Choice,
}
