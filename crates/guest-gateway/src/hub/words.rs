//! What a page reads of a message: `guest-sessions` carries text and answers to choose.

use genesys_api::wire::Text;
use guest_conversation::{Attachment, Content, Message};

/// The message's own text; of one that has none, the titles of what it holds, and the names of its files, a line each.
/// Empty if there are none either, as of a form.
pub(super) fn text(message: &Message) -> Text<'_> {
    if !message.text.is_empty() {
        return message.text.as_str().into();
    }
    let mut lines = Vec::new();
    for content in &message.content {
        match content {
            Content::Attachment(file) => lines.extend(caption(file)),
            Content::Card(card) => lines.push(&*card.title),
            Content::Carousel(cards) => lines.extend(cards.iter().map(|card| &*card.title)),
            Content::DatePicker(picker) => lines.extend(picker.title.as_deref()),
            Content::ListPicker(picker) => {
                lines.extend(
                    picker
                        .sections
                        .iter()
                        .filter_map(|section| section.title.as_deref()),
                );
            }
            Content::Text(text) => lines.push(text),
            _ => {}
        }
    }
    lines.join("\n").into()
}

fn caption(file: &Attachment) -> Option<&str> {
    file.text
        .as_deref()
        .filter(|text| !text.is_empty())
        .or(file.name.as_deref())
}
