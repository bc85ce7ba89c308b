//! Rendering of events as lines.

use std::time::Duration;

use genesys_api::Now;
use guest_conversation::{Author, AuthorKind, ConnectionEvent, Ending, Event, Message, SessionEvent};
use time::{OffsetDateTime, UtcOffset};

use super::line::{Line, LineKind};
use super::sanitize;

/// A message, rendered part by part.
pub(super) fn message(from: &Author, parts: &[String]) -> Line {
    let kind = match from.kind {
        AuthorKind::Guest => LineKind::Success,
        AuthorKind::Bot | AuthorKind::Human => LineKind::Message,
    };
    let mut parts = parts.iter().map(String::as_str);
    let head = format!("{}:", author_label(from));
    let line = Line::new(kind, &head, parts.next().unwrap_or_default());
    parts.fold(line, Line::with_line)
}

/// A message of the history, with its time.
pub(super) fn past_message(entry: &Message, parts: &[String]) -> Line {
    let at = entry.at.to_offset(UtcOffset::UTC);
    message(&entry.from, parts).with_prefix(&format!("{} {:02}:{:02} UTC", at.date(), at.hour(), at.minute()))
}

/// A line about an author, such as `Ann is typing …`.
pub(super) fn about(author: &Author, text: &str) -> Line {
    Line::new(LineKind::Info, &author_label(author), text)
}

/// A line for an event that changes the state of the conversation.
pub(super) fn state(event: &Event, now: Now) -> Option<Line> {
    match event {
        Event::Connection(event) => connection_state(event),
        Event::Session(event) => session_state(event, now),
        Event::Ended(Ending::ByUs) => Some(Line::info("you have left the conversation")),
        Event::Ended(ending) => {
            let text = format!("{ending} (/new starts another conversation, /quit leaves)");
            Some(Line::error(&text))
        }
        _ => None,
    }
}

fn connection_state(event: &ConnectionEvent) -> Option<Line> {
    Some(match event {
        ConnectionEvent::Ready(session) => Line::info(match (session.read_only, session.new_session) {
            (true, _) => "connected: the conversation has ended and is read-only, /new starts another one",
            (false, true) => "connected: a new conversation",
            (false, false) => "connected: the conversation continues",
        }),
        ConnectionEvent::Reconnecting {
            attempt,
            after,
            cause,
        } => {
            let delay = format_delay(*after);
            Line::error(&format!("not connected: {cause}; attempt {attempt} {delay}"))
        }
        ConnectionEvent::Deferred { after } if *after >= Duration::from_secs(1) => {
            let delay = format_delay(*after);
            Line::info(&format!("many guests connect: this one connects {delay}"))
        }
        ConnectionEvent::Restored(session) => Line::info(match (session.read_only, session.new_session) {
            (true, _) => "reconnected: the conversation has ended and is read-only, /new starts another one",
            (false, true) => "reconnected, but the service started a new conversation",
            (false, false) => "reconnected",
        }),
        ConnectionEvent::SignedIn(_) => Line::info("you are signed in"),
        ConnectionEvent::TokenNeeded { .. } => {
            Line::error("the service requires the guest to sign in: this client cannot")
        }
        ConnectionEvent::Throttled { retry_after } => {
            let delay = format_delay(*retry_after);
            Line::info(&format!(
                "rate limited by the service: the next message is sent {delay}"
            ))
        }
        ConnectionEvent::UpstreamLost { reason, .. } => Line::error(&format!(
            "the gateway is not connected to Genesys Cloud ({reason}), messages wait"
        )),
        ConnectionEvent::UpstreamRestored => Line::info("the gateway is connected to Genesys Cloud again"),
        _ => return None,
    })
}

fn session_state(event: &SessionEvent, now: Now) -> Option<Line> {
    let expiry = |at: OffsetDateTime| {
        let remaining = format_duration(now.until(at));
        format!("the session expires in {remaining} unless a message is sent")
    };
    Some(match event {
        SessionEvent::Cleared => Line::info("the conversation was cleared"),
        SessionEvent::ConversationEnded { read_only } => Line::info(match read_only {
            true => "the other side has left: the conversation is read-only, /new starts another one",
            false => "the other side has left: you can still write",
        }),
        SessionEvent::Expiring { at: Some(at) } => Line::info(&expiry(*at)),
        SessionEvent::Expiring { at: None } => {
            Line::info("the session expires soon unless a message is sent")
        }
        SessionEvent::Health { expires_at: None } => Line::info("the service is healthy"),
        SessionEvent::Health { expires_at: Some(at) } => {
            Line::info(&format!("the service is healthy; {}", expiry(*at)))
        }
        SessionEvent::HistoryFailed { reason, .. } => Line::error(&format!(
            "cannot read the history: {reason}; /history tries again"
        )),
        SessionEvent::HistoryUnread { reason, .. } => Line::error(&format!(
            "messages may be missing here: {reason}; /history shows them"
        )),
        SessionEvent::Refused { refusal, .. } => Line::error(&format!("the service refused: {refusal}")),
        SessionEvent::Unknown(frame) => {
            let class = frame.class().unwrap_or("unnamed");
            Line::info(&format!("unknown frame: {class}"))
        }
        _ => return None,
    })
}

/// An author's name, with the kind if it is not a person.
fn author_label(author: &Author) -> String {
    let name = author.name.as_deref().map(sanitize::name);
    match (author.kind, name.filter(|name| !name.is_empty())) {
        (AuthorKind::Bot, Some(name)) => format!("{name} (bot)"),
        (AuthorKind::Bot, None) => "bot".to_owned(),
        (AuthorKind::Guest, _) => "you".to_owned(),
        (AuthorKind::Human, Some(name)) => name,
        (AuthorKind::Human, None) => "agent".to_owned(),
    }
}

/// A duration in its two largest units, to the second below ten minutes, else to the minute.
pub(super) fn format_duration(time: Duration) -> String {
    let mut rest = match time.as_secs() {
        seconds @ 0..600 => seconds,
        seconds => seconds.saturating_add(30) / 60 * 60,
    };
    let mut parts = Vec::new();
    for (seconds, unit) in [(86_400, "day"), (3_600, "h"), (60, "min"), (1, "s")] {
        let count = rest / seconds;
        rest %= seconds;
        let plural = if unit == "day" && count != 1 { "s" } else { "" };
        if count > 0 {
            parts.push(format!("{count} {unit}{plural}"));
        }
    }
    parts.truncate(2);
    if parts.is_empty() {
        parts.push("0 s".to_owned());
    }
    parts.join(" ")
}

fn format_delay(wait: Duration) -> String {
    if wait.is_zero() {
        return "now".to_owned();
    }
    format!("in {:.1} s", wait.as_secs_f64())
}
