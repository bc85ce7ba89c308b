//! Conversion of structured messages to messages.

use genesys_api::parse_rfc3339;
use time::OffsetDateTime;

use super::structured::{Metadata, StructuredMessage};
use crate::message::{Author, AuthorKind, Direction, Message};

impl StructuredMessage<'_> {
    /// The message, live or of the history. `None` for an event, a receipt, and a direction that this version does not
    /// know. A message without a time gets that of its `arrival`.
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
            content: self.content.clone(),
            sequence: None,
        })
    }

    /// Its direction; `None` if this version does not know it.
    #[must_use]
    pub fn direction(&self) -> Option<Direction> {
        match &*self.direction {
            "Inbound" => Some(Direction::Inbound),
            "Outbound" => Some(Direction::Outbound),
            _ => None,
        }
    }

    /// Its author.
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
    /// Expiry of the session.
    #[must_use]
    pub fn expires_at(&self) -> Option<OffsetDateTime> {
        self.expiration_date.and_then(epoch)
    }
}

/// Parses seconds since 1970. Values that can only be milliseconds count as such, since some of Genesys' documents use
/// them.
pub(super) fn epoch(value: i64) -> Option<OffsetDateTime> {
    const YEAR_5138: i64 = 100_000_000_000;
    let seconds = if value > YEAR_5138 { value / 1000 } else { value };
    OffsetDateTime::from_unix_timestamp(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_is_parsed_in_seconds_and_in_milliseconds() {
        assert_eq!(epoch(1_791_139_139), epoch(1_791_139_139_000));
        assert_eq!(epoch(i64::MIN), None);
        assert!(epoch(i64::MAX).is_none());
    }
}
