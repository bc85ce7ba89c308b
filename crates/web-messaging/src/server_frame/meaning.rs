//! What a message of Genesys Cloud means, in the words of the domain.

use genesys_api::parse_rfc3339;
use time::OffsetDateTime;

use super::content::{self, Content};
use super::structured::{Metadata, StructuredMessage};
use crate::message::Content as Meaning;
use crate::message::{
    Attachment, Author, AuthorKind, ButtonKind, ButtonResponse, Card, CardAction, DatePicker, DateSlot,
    Direction, Form, ListItem, ListPicker, ListSection, Media, Message, QuickReply,
};
use genesys_api::wire::{RawFrame, RawJson, SecretText, Text};

impl StructuredMessage<'_> {
    /// The message itself, live or of the history. `None` for an event, a receipt, and a direction that this version
    /// does not know. One without a time gets that of its `arrival`.
    #[must_use]
    pub fn to_message(&self, arrival: OffsetDateTime) -> Option<Message> {
        if matches!(&*self.kind, "Event" | "Receipt") {
            return None;
        }
        let direction = self.direction()?;
        let time = self.channel.as_ref().and_then(|channel| channel.time.as_deref());
        Some(Message {
            id: self.key().unwrap_or_default().to_owned(),
            text: self.text.as_deref().unwrap_or_default().to_owned(),
            from: self.author(),
            at: time.and_then(parse_rfc3339).unwrap_or(arrival),
            direction,
            content: self.content.iter().flat_map(meaning).collect(),
            sequence: None,
        })
    }

    /// Which way it goes; `None` if this version does not know.
    #[must_use]
    pub fn direction(&self) -> Option<Direction> {
        match &*self.direction {
            "Inbound" => Some(Direction::Inbound),
            "Outbound" => Some(Direction::Outbound),
            _ => None,
        }
    }

    /// Who speaks.
    #[must_use]
    pub fn author(&self) -> Author {
        let from = self.channel.as_ref().and_then(|channel| channel.from.as_ref());
        let name = from.and_then(|from| {
            let full_name = || {
                let parts = [from.first_name.as_deref(), from.last_name.as_deref()];
                let name = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
                (!name.is_empty()).then_some(name)
            };
            from.nickname.as_deref().map(str::to_owned).or_else(full_name)
        });
        let kind = match self.originating_entity.as_deref() {
            _ if self.direction() == Some(Direction::Inbound) => AuthorKind::Guest,
            Some("Bot") => AuthorKind::Bot,
            _ => AuthorKind::Human,
        };
        Author { kind, name }
    }
}

impl Metadata<'_> {
    /// When the session expires.
    #[must_use]
    pub fn expires_at(&self) -> Option<OffsetDateTime> {
        self.expiration_date.and_then(epoch)
    }
}

/// Seconds since 1970; what can only be milliseconds is taken as such, since some of Genesys' documents say so.
pub(super) fn epoch(value: i64) -> Option<OffsetDateTime> {
    const YEAR_5138: i64 = 100_000_000_000;
    let seconds = if value > YEAR_5138 { value / 1000 } else { value };
    OffsetDateTime::from_unix_timestamp(seconds).ok()
}

/// One item may mean several: a title and its answers.
fn meaning(item: &Content<'_>) -> Vec<Meaning> {
    let one = match item {
        Content::Attachment(file) => Meaning::Attachment(attachment(file)),
        Content::ButtonResponse(response) => Meaning::ButtonResponse(ButtonResponse {
            kind: match &*response.kind {
                "Button" => ButtonKind::Button,
                "DatePicker" => ButtonKind::DatePicker,
                "Form" => ButtonKind::Form,
                "ListPicker" => ButtonKind::ListPicker,
                "QuickReply" => ButtonKind::QuickReply,
                _ => ButtonKind::Other,
            },
            text: response.text.to_static(),
            payload: response.payload.to_static(),
            question: kept(response.originating_message_id.as_ref()),
        }),
        Content::Card(card) => Meaning::Card(self::card(card)),
        Content::Carousel(carousel) => Meaning::Carousel(carousel.cards.iter().map(card).collect()),
        Content::DatePicker(picker) => Meaning::DatePicker(DatePicker {
            title: kept(picker.title.as_ref()),
            subtitle: kept(picker.subtitle.as_ref()),
            image: kept(picker.image_url.as_ref()),
            slots: picker
                .available_times
                .iter()
                .map(|slot| DateSlot {
                    at: slot.date_time.to_static(),
                    seconds: slot.duration.and_then(|seconds| u64::try_from(seconds).ok()),
                })
                .collect(),
            earliest: kept(picker.date_minimum.as_ref()),
            latest: kept(picker.date_maximum.as_ref()),
            location: raw("location", picker.location),
        }),
        Content::Form(form) => Meaning::Form(Form {
            id: form.canned_response_id.to_static(),
            introduction: raw("introduction", form.introduction),
            pages: raw("formPages", form.form_pages),
            received: raw("receivedMessage", form.received_message),
            conclusion: raw("replyMessage", form.reply_message),
            summary: form.show_summary,
            answers: raw("response", form.response),
            question: kept(form.originating_message_id.as_ref()),
        }),
        Content::ListPicker(picker) => Meaning::ListPicker(ListPicker {
            sections: picker.sections.iter().map(section).collect(),
            introduction: raw("receivedMessage", picker.received_message),
            conclusion: raw("replyMessage", picker.reply_message),
        }),
        Content::Other { content_type, item } => {
            Meaning::Other(RawFrame::new(content_type.as_deref(), item.as_str()))
        }
        Content::QuickReplies(replies) => {
            let title = Meaning::Text(replies.title.to_static());
            let replies = replies.actions.iter().map(quick_reply);
            return std::iter::once(title).chain(replies).collect();
        }
        Content::QuickReply(reply) => quick_reply(reply),
        Content::Text(text) => Meaning::Text(text.body.to_static()),
    };
    vec![one]
}

fn attachment(file: &content::Attachment<'_>) -> Attachment {
    Attachment {
        id: file.id.to_static(),
        url: file.url.as_ref().map(SecretText::to_secret),
        name: kept(file.filename.as_ref()),
        media: match file.media_type.as_deref() {
            Some("Audio") => Media::Audio,
            Some("Image") => Media::Image,
            Some("Link") => Media::Link,
            Some("Video") => Media::Video,
            _ => Media::File,
        },
        size: file.file_size.and_then(|bytes| u64::try_from(bytes).ok()),
        media_type: kept(file.mime.as_ref()),
        sha256: kept(file.sha256.as_ref()),
        text: kept(file.text.as_ref()),
    }
}

fn card(card: &content::Card<'_>) -> Card {
    Card {
        title: card.title.to_static(),
        description: kept(card.description.as_ref()),
        image: kept(card.image.as_ref()),
        video: kept(card.video.as_ref()),
        default_action: card.default_action.as_ref().map(action),
        actions: card.actions.iter().map(action).collect(),
    }
}

fn action(action: &content::CardAction<'_>) -> CardAction {
    let text = kept(action.text.as_ref()).unwrap_or_default();
    match (&*action.kind, &action.url, &action.payload) {
        ("Link", Some(url), _) => CardAction::Link {
            text,
            url: url.to_static(),
        },
        ("Postback", _, Some(payload)) => CardAction::Postback {
            text,
            payload: payload.to_static(),
        },
        _ => CardAction::Other { text },
    }
}

fn section(section: &content::ListSection<'_>) -> ListSection {
    ListSection {
        title: kept(section.title.as_ref()),
        multiple: section.multiple_selection,
        items: section
            .items
            .iter()
            .map(|item| ListItem {
                id: item.id.to_static(),
                title: item.title.to_static(),
                subtitle: kept(item.subtitle.as_ref()),
                image: kept(item.image_url.as_ref()),
            })
            .collect(),
    }
}

fn quick_reply(reply: &content::QuickReply<'_>) -> Meaning {
    Meaning::QuickReply(QuickReply {
        text: reply.text.to_static(),
        payload: reply.payload.to_static(),
        image: kept(reply.image.as_ref()),
    })
}

fn kept(text: Option<&Text<'_>>) -> Option<Text<'static>> {
    text.map(Text::to_static)
}

fn raw(name: &str, json: Option<RawJson<'_>>) -> Option<RawFrame> {
    json.map(|json| RawFrame::new(Some(name), json.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_is_read_in_seconds_and_in_milliseconds() {
        assert_eq!(epoch(1_791_139_139), epoch(1_791_139_139_000));
        assert_eq!(epoch(i64::MIN), None);
        assert!(epoch(i64::MAX).is_none());
    }
}
