//! An account of the last loss or ending, for people.

use std::fmt;
use std::time::Duration;

use genesys_api::wire::sanitize;
use ws_transport::CloseInfo;

use super::{Entry, Timeline, TimelineEvent};
use crate::event::{Ending, Loss, Refusal};
use crate::{Direction, State};

/// A shorter silence is normal: pings are sent every 15 s.
const SILENCE: Duration = Duration::from_secs(30);
/// Most troubles that an explanation names.
const TROUBLES: usize = 6;
/// Longest word of the service that is kept as a reason.
const LONGEST_WORD: usize = 32;

impl Timeline {
    /// The last loss or ending, the events before it, and what to do, in up to three sentences. They hold no text of a
    /// message.
    #[must_use]
    pub fn explain(&self) -> String {
        let Some(log) = &self.0 else {
            return "Nothing has happened to this conversation so far. Connect it.".to_owned();
        };
        let Some(cause) = &log.cause else {
            return "Nothing has broken this conversation so far.".to_owned();
        };
        let (text, advice) = match &cause.event {
            TimelineEvent::Lost(loss) if self.is_ready_after(cause) => {
                (loss.to_string(), "It is connected again.")
            }
            TimelineEvent::Lost(loss) => (loss.to_string(), loss.advice()),
            TimelineEvent::Ended(ending) => (ending.to_string(), ""),
            _ => return String::new(),
        };
        let before = match self.led_to(cause).as_slice() {
            [] => String::new(),
            [only] => format!("Before that, {only}."),
            [first @ .., last] => format!("Before that, {}, and {last}.", first.join(", ")),
        };
        let mut chars = text.chars();
        let capital = chars.next().into_iter().flat_map(char::to_uppercase);
        let sentence = format!("{}.", capital.chain(chars).collect::<String>());
        let sentences = [&*sentence, &*before, advice];
        let sentences: Vec<_> = sentences.into_iter().filter(|text| !text.is_empty()).collect();
        sentences.join(" ")
    }

    /// The events, latest first.
    fn events(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter().flat_map(|log| log.events.iter().rev())
    }

    fn is_ready_after(&self, cause: &Entry) -> bool {
        let after = self.events().take_while(|entry| entry.number > cause.number);
        let mut states = after.filter_map(|entry| match entry.event {
            TimelineEvent::State(state) => Some(state),
            _ => None,
        });
        matches!(states.next(), Some(State::Configured | State::ReadOnly))
    }

    /// Troubles since the session was last ready, before `cause`.
    fn led_to(&self, cause: &Entry) -> Vec<String> {
        let (mut losses, mut ready) = (0, None);
        let mut troubles = Vec::new();
        for entry in self.events().filter(|entry| entry.number < cause.number) {
            match &entry.event {
                TimelineEvent::State(State::Configured | State::ReadOnly) => {
                    ready = Some(entry);
                    break;
                }
                TimelineEvent::Lost(_) => losses += 1,
                trouble @ TimelineEvent::Trouble(..) => {
                    let text = trouble.to_string();
                    if !troubles.contains(&text) && troubles.len() < TROUBLES {
                        troubles.push(text);
                    }
                }
                _ => {}
            }
        }
        let since = |entry: &Entry| Span(cause.since_began().saturating_sub(entry.since_began()));
        let ready = ready.filter(|_| losses == 0);
        let received = ready.and_then(|ready| self.last_received(ready, cause));
        let silence = received.map(since).filter(|silence| silence.0 >= SILENCE);
        let ready = ready.map(|ready| format!("it had been ready for {}", since(ready)));
        let lost = match losses {
            0 => None,
            1 => Some("the connection had been lost once already".to_owned()),
            _ => Some(format!("the connection had been lost {losses} times in a row")),
        };
        let silence = silence.map(|silence| format!("no frame had arrived for {silence}"));
        let state = ready.into_iter().chain(lost);
        state.chain(troubles.into_iter().rev()).chain(silence).collect()
    }

    /// The last frame from the service between two entries.
    fn last_received(&self, after: &Entry, before: &Entry) -> Option<&Entry> {
        let mut frames = self.0.as_ref()?.frames.iter().rev();
        frames.find(|frame| {
            let outbound = Direction::Outbound;
            matches!(frame.event, TimelineEvent::Frames { direction, .. } if direction == outbound)
                && (after.number..before.number).contains(&frame.number)
        })
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
            *close = match close.code() {
                Some(code) => CloseInfo::with_code(code, ""),
                None => CloseInfo::abrupt(&sanitize(close.reason())),
            };
        }
        Loss::Rejected(refusal) => reduce(refusal),
        _ => {}
    }
}

fn reduce(refusal: &mut Refusal) {
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
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            seconds @ 0..120 => write!(f, "{seconds} s"),
            seconds @ 120..7200 => write!(f, "{} min", seconds / 60),
            seconds => write!(f, "{} h", seconds / 3600),
        }
    }
}
