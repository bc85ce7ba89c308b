//! An account of the last loss or ending, for people.

use std::time::Duration;

use ws_transport::CloseInfo;

use super::{Entry, Timeline, TimelineEvent};
use crate::event::{Ending, Loss, ServiceRefusal};
use crate::{Direction, State};

/// A shorter silence is normal: pings are sent every 15 s.
const SILENCE: Duration = Duration::from_secs(30);
/// Most warnings that an explanation names.
const WARNINGS: usize = 6;
/// Close code for a frame that is too large (RFC 6455, 7.4.1).
const TOO_LARGE: u16 = 1009;
/// Longest word of the service that is kept as a reason.
const LONGEST_WORD: usize = 32;

impl Timeline {
    /// The last loss or ending, the events before it, and what to do, in up to three sentences. They hold no text of a
    /// message.
    #[must_use]
    pub fn explain(&self) -> String {
        if self.began.is_none() {
            return "Nothing has happened to this conversation so far. Connect it.".to_owned();
        }
        let mut latest = self.entries.iter().enumerate().rev();
        let cause = latest.find_map(|(cause, entry)| match &entry.event {
            TimelineEvent::Lost(loss) => {
                let size = self.size_of_refused_frame(cause, loss);
                let advice = self.recovery(cause).unwrap_or_else(|| loss.advice().to_owned());
                Some((cause, format!("{loss}{size}"), advice))
            }
            TimelineEvent::Ended(ending) => Some((cause, ending.to_string(), String::new())),
            _ => None,
        });
        let Some((cause, text, advice)) = cause else {
            return self.unbroken();
        };
        let before = match list(&self.preceding(cause)) {
            Some(list) => format!("Before that, {list}."),
            None => String::new(),
        };
        let mut chars = text.chars();
        let capital = chars.next().into_iter().flat_map(char::to_uppercase);
        let sentence = format!("{}.", capital.chain(chars).collect::<String>());
        let sentences = [sentence, before, advice];
        let sentences: Vec<_> = sentences.into_iter().filter(|text| !text.is_empty()).collect();
        sentences.join(" ")
    }

    /// The account of a conversation without a loss. It is not well if it is not ready, or if something went wrong.
    fn unbroken(&self) -> String {
        let (state, warnings) = (self.state_after(0), list(&self.warnings_after(0)));
        let but = match (state, warnings) {
            (Some(State::Configured) | None, None) => String::new(),
            (Some(State::Configured) | None, Some(warnings)) => format!(", but {warnings}"),
            (Some(State::ReadOnly), _) => {
                ", but the conversation has ended and is read-only: start a new one".to_owned()
            }
            (Some(state), None) => format!(", but it is not ready (state: {state:?})"),
            (Some(state), Some(warnings)) => {
                format!(", but it is not ready (state: {state:?}), and {warnings}")
            }
        };
        format!("The connection has not failed{but}.")
    }

    /// The state after a loss, if the session is ready again.
    fn recovery(&self, cause: usize) -> Option<String> {
        let but = match (self.state_after(cause)?, list(&self.warnings_after(cause))) {
            (State::ReadOnly, _) => {
                ", but the conversation has ended and is read-only: start a new one".to_owned()
            }
            (State::Configured, Some(warnings)) => format!(", but {warnings}"),
            (State::Configured, None) => String::new(),
            _ => return None,
        };
        Some(format!("It is connected again{but}."))
    }

    fn state_after(&self, from: usize) -> Option<State> {
        let mut latest = self.entries.range(from..).rev();
        latest.find_map(|entry| match entry.event {
            TimelineEvent::State(state) => Some(state),
            _ => None,
        })
    }

    /// Distinct warnings, oldest first.
    fn warnings_after(&self, from: usize) -> Vec<String> {
        let mut warnings = Vec::new();
        for entry in self.entries.range(from..) {
            let text = entry.event.to_string();
            let is_warning = matches!(entry.event, TimelineEvent::Warning(..));
            if is_warning && !warnings.contains(&text) && warnings.len() < WARNINGS {
                warnings.push(text);
            }
        }
        warnings
    }

    /// The size of what was sent last, if the service closed the connection because a frame was too large.
    fn size_of_refused_frame(&self, cause: usize, loss: &Loss) -> String {
        let mut before = self.entries.range(..cause).rev();
        let sent = before.find_map(|entry| match entry.event {
            TimelineEvent::Frames {
                direction: Direction::Inbound,
                class,
                count,
                bytes,
            } => Some((class, count, bytes)),
            _ => None,
        });
        match (loss, sent) {
            (Loss::Closed(close), Some((class, 1, bytes))) if close.code() == Some(TOO_LARGE) => {
                format!(": the last one, {class}, had {bytes} bytes")
            }
            (Loss::Closed(close), Some((class, count, bytes))) if close.code() == Some(TOO_LARGE) => {
                format!(": the last {count}, {class}, had {bytes} bytes together")
            }
            _ => String::new(),
        }
    }

    /// Warnings since the session was last ready, before `cause`.
    fn preceding(&self, cause: usize) -> Vec<String> {
        let (mut losses, mut ready, mut received) = (0, None, None);
        let mut warnings = Vec::new();
        for entry in self.entries.range(..cause).rev() {
            match &entry.event {
                TimelineEvent::State(State::Configured | State::ReadOnly) => {
                    ready = Some(entry);
                    break;
                }
                TimelineEvent::Lost(_) => losses += 1,
                TimelineEvent::Frames {
                    direction: Direction::Outbound,
                    ..
                } => received = received.or(Some(entry)),
                warning @ TimelineEvent::Warning(..) => {
                    let text = warning.to_string();
                    if !warnings.contains(&text) && warnings.len() < WARNINGS {
                        warnings.push(text);
                    }
                }
                _ => {}
            }
        }
        let end = self.entries[cause].elapsed();
        let since = |entry: &Entry| end.saturating_sub(entry.elapsed());
        let state = match (losses, ready) {
            (0, ready) => ready.map(|ready| format!("it had been ready for {}", span(since(ready)))),
            (1, _) => Some("the connection had been lost once already".to_owned()),
            _ => Some(format!("the connection had been lost {losses} times in a row")),
        };
        let silence = received.filter(|_| losses == 0 && ready.is_some()).map(since);
        let silence = silence.filter(|silence| *silence >= SILENCE);
        let silence = silence.map(|silence| format!("no frame had arrived for {}", span(silence)));
        state
            .into_iter()
            .chain(warnings.into_iter().rev())
            .chain(silence)
            .collect()
    }
}

/// The items in a sentence. `None` without items.
fn list(items: &[String]) -> Option<String> {
    match items {
        [] => None,
        [only] => Some(only.clone()),
        [first @ .., last] => Some(format!("{}, and {last}", first.join(", "))),
    }
}

/// Keeps no other text of the service than a code or a word.
pub(super) fn reduce_ending(ending: &mut Ending) {
    match ending {
        Ending::AuthorizationRequired(refusal) | Ending::Rejected(refusal) => reduce(refusal),
        Ending::ClosedByServer { reason } => *reason = reason.take().filter(|reason| is_word(reason)),
        Ending::SessionEnded { reason } if !is_word(reason) => reason.clear(),
        _ => {}
    }
}

/// Keeps no other text of the service than a code or a word.
pub(super) fn reduce_loss(loss: &mut Loss) {
    match loss {
        // without a code there was no close frame: the text is of this side
        Loss::Closed(close) => {
            if let Some(code) = close.code() {
                *close = CloseInfo::with_code(code, "");
            }
        }
        Loss::Rejected(refusal) | Loss::SignIn(refusal) => reduce(refusal),
        _ => {}
    }
}

fn reduce(refusal: &mut ServiceRefusal) {
    refusal.message.clear();
    if refusal.code.parse::<u16>().is_err() && !is_word(&refusal.code) {
        refusal.code.clear();
    }
}

/// Whether a reason is a single word of a program: no sentence, no number, no id.
fn is_word(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || matches!(byte, b'.' | b'-' | b'_');
    !text.is_empty() && text.len() <= LONGEST_WORD && text.bytes().all(is_letter)
}

/// A length of time for people.
fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}
