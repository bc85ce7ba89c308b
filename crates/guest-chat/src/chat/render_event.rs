//! Rendering of events as lines.

use std::time::Duration;

use genesys_api::Now;
use guest_conversation::{Author, AuthorKind, ConnectionEvent, Ending, Event, Message, SessionEvent};
use time::UtcOffset;

use super::line::{Line, LineKind};
use super::sanitize;

/// A message, rendered part by part.
pub(super) fn message(from: &Author, parts: &[String]) -> Line {
    let kind = match from.kind {
        AuthorKind::Guest => LineKind::Success,
        AuthorKind::Bot | AuthorKind::Human => LineKind::Message,
    };
    let (first, more) = parts
        .split_first()
        .map_or(("", parts), |(first, more)| (&**first, more));
    let line = Line::new(kind, &format!("{}:", author_label(from)), first);
    more.iter().fold(line, |line, part| line.with_line(part))
}

/// A message of the history, with its time.
pub(super) fn past_message(entry: &Message, parts: &[String]) -> Line {
    let at = entry.at.to_offset(UtcOffset::UTC);
    message(&entry.from, parts).with_prefix(&format!("{} {:02}:{:02} UTC", at.date(), at.hour(), at.minute()))
}

/// A typing indicator.
pub(super) fn typing(from: &Author) -> Line {
    Line::new(LineKind::Info, &author_label(from), "is typing …")
}

/// The end of a typing indicator without a message.
pub(super) fn typing_ended(from: &Author) -> Line {
    Line::new(LineKind::Info, &author_label(from), "is no longer typing")
}

/// A line for an event that changes the state of the conversation.
pub(super) fn state(event: &Event, now: Now) -> Option<Line> {
    let (kind, text) = match event {
        Event::Connection(ConnectionEvent::Ready(session)) if session.read_only => (
            LineKind::Info,
            "connected: the conversation has ended and is read-only, /new starts another one".to_owned(),
        ),
        Event::Connection(ConnectionEvent::Ready(session)) if session.new_session => {
            (LineKind::Info, "connected: a new conversation".to_owned())
        }
        Event::Connection(ConnectionEvent::Ready(_)) => {
            (LineKind::Info, "connected: the conversation continues".to_owned())
        }
        Event::Session(SessionEvent::ConversationEnded { read_only: true }) => (
            LineKind::Info,
            "the other side has left: the conversation is read-only, /new starts another one".to_owned(),
        ),
        Event::Session(SessionEvent::ConversationEnded { read_only: false }) => (
            LineKind::Info,
            "the other side has left: you can still write".to_owned(),
        ),
        Event::Ended(Ending::ByUs) => (LineKind::Info, "you have left the conversation".to_owned()),
        Event::Ended(ending) => (
            LineKind::Error,
            format!("{ending} (/new starts another conversation, /quit leaves)"),
        ),
        Event::Session(SessionEvent::Health { expires_at }) => (
            LineKind::Info,
            match expires_at {
                Some(at) => format!(
                    "the service is healthy; the session expires in {} unless a message is sent",
                    format_duration(now.until(*at))
                ),
                None => "the service is healthy".to_owned(),
            },
        ),
        Event::Session(SessionEvent::HistoryUnread { reason }) => (
            LineKind::Error,
            format!("cannot read the history: {reason}; /history tries again"),
        ),
        Event::Connection(ConnectionEvent::Reconnecting {
            attempt,
            after,
            cause,
        }) => (
            LineKind::Error,
            format!(
                "not connected: {cause}; attempt {attempt} {}",
                format_delay(*after)
            ),
        ),
        Event::Session(SessionEvent::Refused(refusal)) => {
            (LineKind::Error, format!("the service refused: {refusal}"))
        }
        Event::Connection(ConnectionEvent::Restored(session)) if session.new_session => (
            LineKind::Info,
            "reconnected, but the service started a new conversation".to_owned(),
        ),
        Event::Connection(ConnectionEvent::Restored(_)) => (LineKind::Info, "reconnected".to_owned()),
        Event::Session(SessionEvent::Cleared) => (LineKind::Info, "the conversation was cleared".to_owned()),
        Event::Session(SessionEvent::Expiring { at }) => (
            LineKind::Info,
            match at {
                Some(at) => format!(
                    "the session expires in {} unless a message is sent",
                    format_duration(now.until(*at))
                ),
                None => "the session expires soon unless a message is sent".to_owned(),
            },
        ),
        Event::Connection(ConnectionEvent::SignedIn(_)) => (LineKind::Info, "you are signed in".to_owned()),
        Event::Connection(ConnectionEvent::TokenNeeded { .. }) => (
            LineKind::Error,
            "the service requires the guest to sign in: this client cannot".to_owned(),
        ),
        Event::Connection(ConnectionEvent::Throttled { retry_after }) => (
            LineKind::Info,
            format!(
                "rate limited by the service: the next message is sent {}",
                format_delay(*retry_after)
            ),
        ),
        Event::Session(SessionEvent::Unknown(frame)) => (
            LineKind::Info,
            format!("unknown frame: {}", frame.class().unwrap_or("unnamed")),
        ),
        Event::Connection(ConnectionEvent::UpstreamLost) => (
            LineKind::Error,
            "the gateway has lost its connection to Genesys Cloud".to_owned(),
        ),
        Event::Connection(ConnectionEvent::UpstreamRestored) => (
            LineKind::Info,
            "the gateway is connected to Genesys Cloud again".to_owned(),
        ),
        _ => return None,
    };
    let head = if kind == LineKind::Error { "!" } else { "*" };
    Some(Line::new(kind, head, &text))
}

/// An author's name, with the kind if it is not a person.
fn author_label(author: &Author) -> String {
    let name = author
        .name
        .as_deref()
        .map(sanitize::name)
        .filter(|name| !name.is_empty());
    match (author.kind, name) {
        (AuthorKind::Bot, Some(name)) => format!("{name} (bot)"),
        (AuthorKind::Bot, None) => "bot".to_owned(),
        (AuthorKind::Guest, _) => "you".to_owned(),
        (AuthorKind::Human, Some(name)) => name,
        (AuthorKind::Human, None) => "agent".to_owned(),
    }
}

/// A duration, to the second below ten minutes, else to the minute.
fn format_duration(time: Duration) -> impl std::fmt::Display {
    let seconds = match time.as_secs() {
        seconds @ 0..600 => seconds,
        seconds => seconds.saturating_add(30) / 60 * 60,
    };
    humantime::format_duration(Duration::from_secs(seconds))
}

fn format_delay(wait: Duration) -> String {
    if wait.is_zero() {
        return "now".to_owned();
    }
    format!("in {:.1} s", wait.as_secs_f64())
}
