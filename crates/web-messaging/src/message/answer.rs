//! Answers of the guest, in the content shapes of Genesys Cloud.

use std::collections::BTreeMap;

use genesys_api::wire::Text;
use serde::{Deserialize, Serialize, Serializer};

use super::{Answer, ButtonKind, Choice, OutgoingMessage};

/// An item of content that the guest sends. Parsing is strict: unknown fields and types are refused.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "contentType", rename_all_fields = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub enum AnswerItem<'a> {
    /// An uploaded file.
    #[serde(skip_deserializing)]
    Attachment {
        /// Its id.
        #[serde(serialize_with = "as_id")]
        attachment: Text<'a>,
    },
    /// One choice.
    ButtonResponse {
        /// The choice.
        #[serde(borrow)]
        button_response: PressedButton<'a>,
    },
    /// A form that was filled in.
    Form {
        /// The form.
        #[serde(borrow)]
        form: FilledForm<'a>,
    },
}

/// One choice of the guest.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct PressedButton<'a> {
    /// Content that offered it.
    #[serde(rename = "type")]
    pub kind: ButtonKind,
    /// Label that the guest read.
    #[serde(borrow)]
    pub text: Text<'a>,
    /// Value for the bot.
    #[serde(borrow)]
    pub payload: Text<'a>,
    /// Id of the message that offered it, if known.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub originating_message_id: Option<Text<'a>>,
}

/// A form that was filled in.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct FilledForm<'a> {
    /// Id of the message that offered it.
    #[serde(borrow)]
    pub originating_message_id: Text<'a>,
    /// Id of the form.
    #[serde(borrow)]
    pub canned_response_id: Text<'a>,
    /// The answers.
    #[serde(borrow)]
    pub response: Vec<FilledField<'a>>,
}

/// The answer to one field of a form.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FilledField<'a> {
    /// Id of the field.
    #[serde(borrow)]
    pub id: Text<'a>,
    /// A [`AnswerItem::ButtonResponse`] of the type `Form`.
    #[serde(borrow)]
    pub component: AnswerItem<'a>,
}

/// Content that a guest cannot send.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// There is no item.
    #[error("invalid content: it has no item; send a button response or a form")]
    Empty,
    /// A form has an item other than the answer to a field.
    #[error("invalid content: a form is answered with button responses of the type Form")]
    Field,
    /// A form is beside other items.
    #[error("invalid content: a form must be the only item")]
    FormAndMore,
    /// A button response has a type that offers no choice.
    #[error(
        "invalid content: the type of a button response must be Button, DatePicker, ListPicker or QuickReply"
    )]
    Kind,
    /// The items answer different messages, or content of different types.
    #[error("invalid content: all items must have the same type and the same originatingMessageId")]
    Mixed,
}

impl OutgoingMessage {
    /// Its content, in the shapes of Genesys Cloud. Empty for a text alone.
    #[must_use]
    pub fn content(&self) -> Vec<AnswerItem<'_>> {
        match self {
            Self::Choices {
                kind,
                question,
                choices,
            } => {
                let question = question.as_deref();
                let items = choices.iter();
                items
                    .map(|choice| AnswerItem::button(*kind, choice, question))
                    .collect()
            }
            Self::Form {
                question,
                form,
                answers,
                ..
            } => vec![AnswerItem::Form {
                form: FilledForm {
                    originating_message_id: (&**question).into(),
                    canned_response_id: (&**form).into(),
                    response: answers.iter().map(FilledField::of).collect(),
                },
            }],
            Self::Text { attachments, .. } => {
                let files = attachments.iter().map(|id| AnswerItem::Attachment {
                    attachment: (&**id).into(),
                });
                files.collect()
            }
        }
    }
}

impl TryFrom<&[AnswerItem<'_>]> for OutgoingMessage {
    type Error = AnswerError;

    /// The message of this content. The text of a form is that of its answers.
    fn try_from(items: &[AnswerItem<'_>]) -> Result<Self, AnswerError> {
        let first = match items.first() {
            None => return Err(AnswerError::Empty),
            Some(AnswerItem::Form { form }) if items.len() == 1 => return form.to_message(),
            Some(item) => item.pressed().ok_or(AnswerError::FormAndMore)?,
        };
        if matches!(first.kind, ButtonKind::Form | ButtonKind::Other) {
            return Err(AnswerError::Kind);
        }
        let mut choices = Vec::with_capacity(items.len());
        for item in items {
            let pressed = item.pressed().ok_or(AnswerError::FormAndMore)?;
            let same = |other: &PressedButton<'_>| {
                (other.kind, &other.originating_message_id) == (first.kind, &first.originating_message_id)
            };
            if !same(pressed) {
                return Err(AnswerError::Mixed);
            }
            choices.push(pressed.to_choice());
        }
        Ok(Self::Choices {
            kind: first.kind,
            question: first.originating_message_id.as_deref().map(Into::into),
            choices,
        })
    }
}

impl<'a> AnswerItem<'a> {
    fn button(kind: ButtonKind, choice: &'a Choice, question: Option<&'a str>) -> Self {
        Self::ButtonResponse {
            button_response: PressedButton {
                kind,
                text: (&*choice.text).into(),
                payload: (&*choice.payload).into(),
                originating_message_id: question.map(Into::into),
            },
        }
    }

    fn pressed(&self) -> Option<&PressedButton<'a>> {
        match self {
            Self::ButtonResponse { button_response } => Some(button_response),
            Self::Attachment { .. } | Self::Form { .. } => None,
        }
    }
}

impl PressedButton<'_> {
    fn to_choice(&self) -> Choice {
        Choice {
            text: (&*self.text).into(),
            payload: (&*self.payload).into(),
        }
    }
}

impl FilledForm<'_> {
    fn to_message(&self) -> Result<OutgoingMessage, AnswerError> {
        let mut answers = Vec::with_capacity(self.response.len());
        for field in &self.response {
            let pressed = field.component.pressed();
            let pressed = pressed.filter(|pressed| pressed.kind == ButtonKind::Form);
            answers.push(Answer {
                field: (&*field.id).into(),
                choice: pressed.ok_or(AnswerError::Field)?.to_choice(),
            });
        }
        let texts: Vec<_> = answers.iter().map(|answer| &*answer.choice.text).collect();
        Ok(OutgoingMessage::Form {
            question: (&*self.originating_message_id).into(),
            form: (&*self.canned_response_id).into(),
            text: texts.join(", ").into(),
            answers,
        })
    }
}

impl<'a> FilledField<'a> {
    fn of(answer: &'a Answer) -> Self {
        Self {
            id: (&*answer.field).into(),
            component: AnswerItem::button(ButtonKind::Form, &answer.choice, None),
        }
    }
}

fn as_id<S: Serializer>(id: &Text<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    BTreeMap::from([("id", id)]).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Option<Result<OutgoingMessage, AnswerError>> {
        let items: Vec<AnswerItem<'_>> = serde_json::from_str(json).ok()?;
        Some(OutgoingMessage::try_from(&*items))
    }

    fn button(kind: &str, text: &str, more: &str) -> String {
        format!(
            r#"{{"contentType":"ButtonResponse","buttonResponse":{{"type":"{kind}","text":"{text}","payload":"P"{more}}}}}"#
        )
    }

    fn form(component: &str) -> String {
        format!(
            r#"{{"contentType":"Form","form":{{"originatingMessageId":"q","cannedResponseId":"c","response":[{{"id":"f","component":{component}}}]}}}}"#
        )
    }

    #[test]
    fn answer_round_trips() {
        for kind in ["Button", "DatePicker", "ListPicker", "QuickReply"] {
            let one = button(kind, "a", "");
            let asked = button(kind, "a", r#","originatingMessageId":"q""#);
            for json in [format!("[{one}]"), format!("[{asked},{asked}]")] {
                let message = parse(&json).unwrap().unwrap();
                assert_eq!(serde_json::to_string(&message.content()).unwrap(), json);
            }
        }
        let json = format!("[{}]", form(&button("Form", "a", "")));
        let message = parse(&json).unwrap().unwrap();
        assert_eq!(serde_json::to_string(&message.content()).unwrap(), json);
        assert_eq!(&*message.text(), "a");
    }

    #[test]
    fn invalid_answer_is_refused() {
        let (red, blue) = (button("QuickReply", "a", ""), button("Button", "a", ""));
        let asked = button("QuickReply", "a", r#","originatingMessageId":"q""#);
        let filled = form(&button("Form", "a", ""));
        for (json, error) in [
            ("[]".to_owned(), AnswerError::Empty),
            (format!("[{red},{blue}]"), AnswerError::Mixed),
            (format!("[{red},{asked}]"), AnswerError::Mixed),
            (format!("[{red},{filled}]"), AnswerError::FormAndMore),
            (format!("[{filled},{filled}]"), AnswerError::FormAndMore),
            (format!("[{}]", form(&red)), AnswerError::Field),
            (format!("[{}]", form(&filled)), AnswerError::Field),
            (format!("[{}]", button("Form", "a", "")), AnswerError::Kind),
            (format!("[{}]", button("Shout", "a", "")), AnswerError::Kind),
        ] {
            assert_eq!(parse(&json), Some(Err(error)), "{json}");
        }
        for json in [
            "{}",
            "[1]",
            "[{}]",
            r#"[{"contentType":"Card"}]"#,
            r#"[{"contentType":"Attachment","attachment":{"id":"a"}}]"#,
            r#"[{"contentType":"ButtonResponse"}]"#,
            r#"[{"contentType":"ButtonResponse","buttonResponse":{"type":"QuickReply","text":"a"}}]"#,
            r#"[{"contentType":"ButtonResponse","buttonResponse":{"type":"QuickReply","text":"a","payload":1}}]"#,
        ] {
            assert_eq!(parse(json), None, "{json}");
        }
        assert_eq!(
            parse(&format!("[{}]", button("QuickReply", "a", r#","id":"x""#))),
            None
        );
    }
}
