//! Rendering of a message's content as text with numbered choices.

use std::collections::VecDeque;
use std::time::Duration;

use genesys_api::parse_rfc3339;
use genesys_api::wire::{OwnedText, RawFrame};
use guest_conversation::{
    Attachment, Card, CardAction, Choice, Content, DatePicker, DateSlot, Form, ListPicker, Media, Message,
};
use secrecy::SecretString;
use serde_json::Value;
use time::UtcOffset;

use super::choices::{ChoiceKind, PendingChoices};
use super::render_event::format_duration;

/// Renders a message part by part, its text first. Choices are added to `choices` if they can be made now. Links are
/// stored in `links` and not shown.
pub(super) fn parts(
    message: &Message,
    choices: Option<&mut PendingChoices>,
    links: &mut Links,
) -> Vec<String> {
    let mut renderer = Renderer {
        choices,
        links,
        lists: 0,
        sections: 0,
        parts: Vec::new(),
        text: &message.text,
    };
    if !message.text.is_empty() && !is_repeated_by_cards(message) {
        renderer.parts.push(message.text.clone());
    }
    for content in &message.content {
        renderer.render(content);
    }
    renderer.parts
}

/// Whether the text is only for clients that show no cards.
fn is_repeated_by_cards(message: &Message) -> bool {
    let cards = message.content.iter().flat_map(|content| match content {
        Content::Card(card) => std::slice::from_ref(card),
        Content::Carousel(cards) => cards,
        _ => &[],
    });
    let titles: Vec<&str> = cards.map(|card| &*card.title).collect();
    !titles.is_empty() && message.text == titles.join("\n")
}

struct Renderer<'a> {
    choices: Option<&'a mut PendingChoices>,
    links: &'a mut Links,
    lists: usize,
    sections: usize,
    parts: Vec<String>,
    /// The message's own text. Parts that repeat it are left out.
    text: &'a str,
}

impl Renderer<'_> {
    fn render(&mut self, content: &Content) {
        match content {
            Content::Attachment(file) => self.file(file),
            Content::ButtonResponse(response) if &*response.text == self.text => {}
            Content::ButtonResponse(response) => self.push(format!("chose: {}", &*response.text)),
            Content::Card(card) => self.card("card", card),
            Content::Carousel(cards) => {
                for (at, card) in cards.iter().enumerate() {
                    self.card(&format!("card {} of {}", at + 1, cards.len()), card);
                }
            }
            Content::DatePicker(picker) => self.dates(picker),
            Content::Form(form) => self.form(form),
            Content::ListPicker(picker) => self.list(picker),
            Content::Other(other) => {
                let class = other.class().unwrap_or("unnamed");
                self.push(format!("[content that cannot be shown here: {class}]"));
            }
            Content::QuickReply(reply) => self.option(ChoiceKind::QuickReply, Choice::from(reply), ""),
            Content::Text(text) => self.push_text(Some(text)),
            _ => self.push("[content that cannot be shown here]"),
        }
    }

    fn file(&mut self, file: &Attachment) {
        let kind = match file.media {
            Media::Audio => "audio",
            Media::Image => "picture",
            Media::Link => "link",
            Media::Video => "video",
            _ => "file",
        };
        let name = file.name.as_deref().unwrap_or("unnamed");
        let mut about = format!("[{kind}] {name}");
        if let Some(media_type) = &file.media_type {
            about += &format!(", {}", &**media_type);
        }
        if let Some(bytes) = file.size {
            about += &format!(", {}", format_size(bytes));
        }
        if let Some(link) = &file.url {
            let number = self.links.add(link.clone());
            about += &format!(" (/open {number} shows its link)");
        }
        self.push(about);
        self.push_text(file.text.as_deref());
    }

    fn card(&mut self, what: &str, card: &Card) {
        self.push(format!("[{what}] {}", &*card.title));
        let description = card.description.as_deref();
        self.push_text(description.filter(|text| *text != &*card.title));
        for (what, url) in [("picture", &card.image), ("video", &card.video)] {
            if let Some(url) = url {
                self.push(format!("{what}: {}", &**url));
            }
        }
        for action in card.default_action.iter().chain(&card.actions) {
            match action {
                CardAction::Link { text, url } => {
                    let text = if text.is_empty() { "link" } else { text };
                    self.push(format!("{text}: {}", &**url));
                }
                CardAction::Postback { text, payload } => {
                    let text = if text.is_empty() { &card.title } else { text };
                    let (text, payload) = (text.clone(), payload.clone());
                    self.option(ChoiceKind::Button, Choice { text, payload }, "");
                }
                CardAction::Other { text } => self.push_text(Some(text)),
                _ => {}
            }
        }
    }

    fn dates(&mut self, picker: &DatePicker) {
        self.push_text(picker.title.as_deref());
        self.push_text(picker.subtitle.as_deref());
        if picker.slots.is_empty() {
            let bound = |word: &str, at: &Option<OwnedText>| match at {
                Some(at) => format!(" {word} {}", format_time(at)),
                None => String::new(),
            };
            let (from, to) = (bound("from", &picker.earliest), bound("to", &picker.latest));
            self.push(format!("[a time{from}{to}: write it as text]"));
        }
        for DateSlot { at, seconds, .. } in &picker.slots {
            let lasting = match seconds {
                None | Some(0) => String::new(),
                Some(seconds) => {
                    let time = format_duration(Duration::from_secs(*seconds));
                    format!(", for {time}")
                }
            };
            let (text, payload) = (format_time(at).into(), at.clone());
            self.option(ChoiceKind::Date, Choice { text, payload }, &lasting);
        }
    }

    fn list(&mut self, picker: &ListPicker) {
        self.push_raw_text(picker.introduction.as_ref());
        for section in &picker.sections {
            let several = section.multiple && section.items.len() > 1;
            match (section.title.as_deref().unwrap_or_default(), several) {
                ("", false) => {}
                ("", true) => self.push("(several at once, as 1,2)"),
                (title, false) => self.push(format!("{title}:")),
                (title, true) => self.push(format!("{title} (several at once, as 1,2):")),
            }
            for item in &section.items {
                let kind = ChoiceKind::Item {
                    list: self.lists,
                    section: self.sections,
                    several: section.multiple,
                };
                let more = item.subtitle.as_deref().map(|more| format!(": {more}"));
                self.option(kind, Choice::from(item), &more.unwrap_or_default());
            }
            self.sections += 1;
        }
        self.lists += 1;
    }

    /// Renders the introduction of a form. Its fields are not public, so it cannot be answered field by field.
    fn form(&mut self, form: &Form) {
        if form.answers.is_some() {
            return self.push("[a form that was filled in]");
        }
        self.push("[a form that cannot be filled in here: answer with text]");
        self.push_raw_text(form.introduction.as_ref());
    }

    /// Adds a choice, with its number if it can be made now.
    fn option(&mut self, kind: ChoiceKind, choice: Choice, more: &str) {
        let text = choice.text.clone();
        let mark = match &mut self.choices {
            Some(choices) => format!("[{}]", choices.add(kind, choice)),
            None => "-".to_owned(),
        };
        self.push(format!("{mark} {}{more}", &*text));
    }

    fn push(&mut self, part: impl Into<String>) {
        self.parts.push(part.into());
    }

    fn push_text(&mut self, text: Option<&str>) {
        if let Some(text) = text.filter(|text| !text.is_empty() && *text != self.text) {
            self.push(text);
        }
    }

    /// Adds the texts of an object whose schema is not public.
    fn push_raw_text(&mut self, raw: Option<&RawFrame>) {
        let value: Value = raw
            .and_then(|raw| serde_json::from_str(raw.as_str()).ok())
            .unwrap_or_default();
        for name in ["title", "subtitle", "text"] {
            self.push_text(value[name].as_str());
        }
    }
}

/// Capacity for links. The oldest is dropped first.
const MAX_LINKS: usize = 32;

/// The links of the shown files, numbered from 1 over the whole chat. A link grants access to its file, so it is shown
/// only on request.
#[derive(Debug, Default)]
pub(super) struct Links {
    dropped: usize,
    links: VecDeque<SecretString>,
}

impl Links {
    /// Adds a link and returns its number.
    pub(super) fn add(&mut self, link: SecretString) -> usize {
        if self.links.len() == MAX_LINKS {
            self.links.pop_front();
            self.dropped += 1;
        }
        self.links.push_back(link);
        self.dropped + self.links.len()
    }

    pub(super) fn open(&self, number: usize) -> Option<&SecretString> {
        self.links.get(number.checked_sub(self.dropped + 1)?)
    }
}

/// A time for people, or the text itself if it is not a time.
fn format_time(at: &str) -> String {
    let Some(at) = parse_rfc3339(at).map(|at| at.to_offset(UtcOffset::UTC)) else {
        return at.to_owned();
    };
    let (hour, minute) = (at.hour(), at.minute());
    let (weekday, day, month, year) = (at.weekday(), at.day(), at.month(), at.year());
    format!("{weekday} {day} {month} {year}, {hour:02}:{minute:02} UTC")
}

/// A size for people: exact below 1 KiB, else to a tenth.
pub(super) fn format_size(bytes: u64) -> String {
    const KIB: u64 = 1024;
    const MIB: u64 = KIB * KIB;
    let (unit, name) = match bytes {
        1 => return "1 byte".to_owned(),
        0..KIB => return format!("{bytes} bytes"),
        KIB..MIB => (KIB, "KiB"),
        _ => (MIB, "MiB"),
    };
    format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn times_and_sizes_are_formatted_for_people() {
        assert_eq!(
            format_time("2026-06-26T19:30:00.000+02:00"),
            "Friday 26 June 2026, 17:30 UTC"
        );
        assert_eq!(format_time("at tea time"), "at tea time");
        for (bytes, expected) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (1023, "1023 bytes"),
            (1024, "1.0 KiB"),
            (1_048_575, "1023.9 KiB"),
            (10_485_760, "10.0 MiB"),
            (u64::MAX, "17592186044415.9 MiB"),
        ] {
            assert_eq!(format_size(bytes), expected);
        }
    }

    #[test]
    fn link_keeps_its_number_until_it_is_dropped() {
        let mut links = Links::default();
        for number in 1..=MAX_LINKS + 2 {
            assert_eq!(links.add(SecretString::from(format!("canary{number}"))), number);
        }
        for (number, found) in [
            (0, false),
            (2, false),
            (3, true),
            (MAX_LINKS + 2, true),
            (MAX_LINKS + 3, false),
        ] {
            let link = links.open(number).map(|link| link.expose_secret().to_owned());
            assert_eq!(link, found.then(|| format!("canary{number}")));
        }
        assert!(!format!("{links:?}").contains("canary"));
    }
}
