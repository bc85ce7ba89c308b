//! Events in words.

use std::time::Duration;

use genesys_api::Now;
use guest_conversation::{Author, AuthorKind, Ending, Event, Message};
use time::UtcOffset;

use super::line::{Line, Tone};
use super::untrusted;

/// Somebody says something, in these pieces.
pub(super) fn message(from: &Author, pieces: &[String]) -> Line {
    let tone = match from.kind {
        AuthorKind::Guest => Tone::Good,
        AuthorKind::Bot | AuthorKind::Human => Tone::Theirs,
    };
    let (first, more) = pieces
        .split_first()
        .map_or(("", pieces), |(first, more)| (&**first, more));
    let line = Line::new(tone, &format!("{}:", called(from)), first);
    more.iter().fold(line, |line, piece| line.with(piece))
}

/// Somebody said something, in these pieces, at its time.
pub(super) fn remembered(said: &Message, pieces: &[String]) -> Line {
    let at = said.at.to_offset(UtcOffset::UTC);
    message(&said.from, pieces).preceded_by(&format!("{} {:02}:{:02} UTC", at.date(), at.hour(), at.minute()))
}

/// Somebody is typing.
pub(super) fn typing(from: &Author) -> Line {
    Line::new(Tone::Quiet, &called(from), "is typing …")
}

/// Somebody is no longer typing, and said nothing.
pub(super) fn typed(from: &Author) -> Line {
    Line::new(Tone::Quiet, &called(from), "is no longer typing")
}

/// How the conversation stands, for the events that change it.
pub(super) fn state(event: &Event, now: Now) -> Option<Line> {
    let (tone, text) = match event {
        Event::Configured(session) if session.read_only => (
            Tone::Quiet,
            "connected; the conversation has ended and can only be read: /new begins another".to_owned(),
        ),
        Event::Configured(session) if session.new_session => {
            (Tone::Quiet, "connected: a new conversation".to_owned())
        }
        Event::Configured(_) => (Tone::Quiet, "connected: the conversation goes on".to_owned()),
        Event::ConversationEnded { read_only: true } => (
            Tone::Quiet,
            "the other side has left; this can only be read now: /new begins another".to_owned(),
        ),
        Event::ConversationEnded { read_only: false } => (
            Tone::Quiet,
            "the other side has left; you can still write".to_owned(),
        ),
        Event::Ended(Ending::ByUs) => (Tone::Quiet, "you have left the conversation".to_owned()),
        Event::Ended(ending) => (
            Tone::Wrong,
            format!("{ending} (/new begins another conversation, /quit leaves)"),
        ),
        Event::Healthy { expires_at } => (
            Tone::Quiet,
            match expires_at {
                Some(at) => format!(
                    "the service is well; the session expires in {} unless somebody writes",
                    lasting(now.until(*at))
                ),
                None => "the service is well".to_owned(),
            },
        ),
        Event::HistoryUnread { why } => (
            Tone::Wrong,
            format!("what was said could not be read: {why}; /history tries again"),
        ),
        Event::Reconnecting { attempt, after, why } => (
            Tone::Wrong,
            format!("not connected: {why}; attempt {attempt} {}", within(*after)),
        ),
        Event::Refused(refusal) => (Tone::Wrong, format!("the service refused: {refusal}")),
        Event::Restored(session) if session.new_session => (
            Tone::Quiet,
            "connected again, but the service began a new conversation".to_owned(),
        ),
        Event::Restored(_) => (Tone::Quiet, "connected again".to_owned()),
        Event::SessionCleared => (Tone::Quiet, "the conversation was cleared".to_owned()),
        Event::SessionExpiring { at } => (
            Tone::Quiet,
            match at {
                Some(at) => format!(
                    "the session expires in {} unless somebody writes",
                    lasting(now.until(*at))
                ),
                None => "the session expires soon unless somebody writes".to_owned(),
            },
        ),
        Event::SignedIn(_) => (Tone::Quiet, "you are signed in".to_owned()),
        Event::TokenNeeded { .. } => (
            Tone::Wrong,
            "the service wants the guest to sign in, which cannot be done here".to_owned(),
        ),
        Event::Throttled { retry_after } => (
            Tone::Quiet,
            format!(
                "the service asks for patience: the next message is sent {}",
                within(*retry_after)
            ),
        ),
        Event::Unknown(frame) => (
            Tone::Quiet,
            format!(
                "something came that this version does not know: {}",
                frame.class().unwrap_or("unnamed")
            ),
        ),
        Event::UpstreamLost => (Tone::Wrong, "the gateway has lost Genesys Cloud".to_owned()),
        Event::UpstreamRestored => (Tone::Quiet, "the gateway has Genesys Cloud again".to_owned()),
        _ => return None,
    };
    let head = if tone == Tone::Wrong { "!" } else { "*" };
    Some(Line::new(tone, head, &text))
}

/// What an author is called, with what they are.
fn called(author: &Author) -> String {
    let name = author
        .name
        .as_deref()
        .map(untrusted::name)
        .filter(|name| !name.is_empty());
    match (author.kind, name) {
        (AuthorKind::Bot, Some(name)) => format!("{name} (bot)"),
        (AuthorKind::Bot, None) => "bot".to_owned(),
        (AuthorKind::Guest, _) => "you".to_owned(),
        (AuthorKind::Human, Some(name)) => name,
        (AuthorKind::Human, None) => "agent".to_owned(),
    }
}

/// A time to come, to the second if it is short and to the minute if it is not.
fn lasting(time: Duration) -> impl std::fmt::Display {
    let seconds = match time.as_secs() {
        seconds @ 0..600 => seconds,
        seconds => seconds.saturating_add(30) / 60 * 60,
    };
    humantime::format_duration(Duration::from_secs(seconds))
}

fn within(wait: Duration) -> String {
    if wait.is_zero() {
        return "now".to_owned();
    }
    format!("in {:.1} s", wait.as_secs_f64())
}
