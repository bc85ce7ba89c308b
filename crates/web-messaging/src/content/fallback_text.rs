//! Texts in place of content.

use genesys_api::wire::{OwnedText, RawFrame};
use serde::Deserialize;

use super::Content;

impl Content {
    /// Its titles, names or labels, one a line. If there are none, its type in brackets. Never empty.
    #[must_use]
    pub fn fallback_text(&self) -> String {
        let titles: Vec<OwnedText> = match self {
            Self::Attachment(file) => [&file.text, &file.name].into_iter().flatten().cloned().collect(),
            Self::ButtonResponse(choice) => vec![choice.text.clone()],
            Self::Card(card) => vec![card.title.clone()],
            Self::Carousel(cards) => cards.iter().map(|card| card.title.clone()).collect(),
            Self::DatePicker(picker) => picker.title.iter().cloned().collect(),
            Self::Form(form) => Heading::texts(form.introduction.as_ref()),
            Self::ListPicker(picker) => {
                let sections = picker.sections.iter();
                let titles = sections.filter_map(|section| section.title.clone());
                let mut texts = Heading::texts(picker.introduction.as_ref());
                texts.extend(titles);
                texts
            }
            Self::Other(_) => Vec::new(),
            Self::QuickReply(reply) => vec![reply.text.clone()],
            Self::Text(text) => vec![text.clone()],
        };
        let mut titles = titles.iter().filter(|title| !title.trim().is_empty());
        let lines: Vec<&str> = match self {
            // a description is better than a name
            Self::Attachment(_) => titles.next().map(|title| &**title).into_iter().collect(),
            _ => titles.map(|title| &**title).collect(),
        };
        match lines.is_empty() {
            true => format!("[{}]", self.class().unwrap_or("unknown")),
            false => lines.join("\n"),
        }
    }
}

/// The texts of an object that nothing public describes: those that the simulator and public examples have.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Heading {
    title: Option<OwnedText>,
    subtitle: Option<OwnedText>,
    text: Option<OwnedText>,
}

impl Heading {
    fn texts(raw: Option<&RawFrame>) -> Vec<OwnedText> {
        let heading: Option<Self> = raw.and_then(|raw| serde_json::from_str(raw.as_str()).ok());
        let Self {
            title,
            subtitle,
            text,
        } = heading.unwrap_or_default();
        [title, subtitle, text].into_iter().flatten().collect()
    }
}
