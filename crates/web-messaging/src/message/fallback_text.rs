//! Text of a message for a reader that displays no content.

use genesys_api::wire::Text;

use super::Message;
use crate::content::{Attachment, Content};

impl Message {
    /// The message's text. If it is empty, the titles and names of its content, one a line. Empty if there are none
    /// either, as for a form.
    #[must_use]
    pub fn fallback_text(&self) -> Text<'_> {
        if !self.text.is_empty() {
            return self.text.as_str().into();
        }
        let lines: Vec<_> = self.content.iter().flat_map(titles).collect();
        lines.join("\n").into()
    }
}

fn titles(content: &Content) -> Vec<&str> {
    match content {
        Content::Attachment(file) => caption(file).into_iter().collect(),
        Content::Card(card) => vec![&*card.title],
        Content::Carousel(cards) => cards.iter().map(|card| &*card.title).collect(),
        Content::DatePicker(picker) => picker.title.as_deref().into_iter().collect(),
        Content::ListPicker(picker) => {
            let titles = picker.sections.iter().map(|section| section.title.as_deref());
            titles.flatten().collect()
        }
        Content::Text(text) => vec![text],
        // quick replies are displayed beside the text
        Content::ButtonResponse(_) | Content::Form(_) | Content::Other(_) | Content::QuickReply(_) => {
            Vec::new()
        }
    }
}

fn caption(file: &Attachment) -> Option<&str> {
    let text = file.text.as_deref().filter(|text| !text.is_empty());
    text.or(file.name.as_deref())
}
