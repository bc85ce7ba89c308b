//! Sentences for people about the last loss or ending.

use std::fmt;
use std::time::Duration;

use genesys_api::wire::sanitize;
use ws_transport::CloseInfo;

use super::{Entry, HttpOperation, Limit, Outcome, Timeline, TimelineEvent, TokenEvent};
use crate::event::{Ending, Loss, Refusal};
use crate::{Direction, State};

/// A shorter silence is normal: pings are sent every 15 s.
const SILENCE: Duration = Duration::from_secs(30);
/// Longest word of the service that is kept as a reason.
const LONGEST_WORD: usize = 32;

impl Timeline {
    /// The last loss or ending, what led to it, and what to do, in three short sentences. No text of a message is in
    /// them.
    #[must_use]
    pub fn explain(&self) -> String {
        let Some(log) = &self.0 else {
            return "Nothing has happened to this conversation so far. Connect it.".to_owned();
        };
        let (cause, (text, advice)) = match &log.cause {
            Some(cause) => match &cause.event {
                TimelineEvent::Ended(ending) => (cause, (ending_text(ending), after_ending(ending))),
                TimelineEvent::Lost(loss) => (cause, (loss_text(loss), self.after_loss(loss, cause.number))),
                _ => return String::new(),
            },
            None => return "Nothing has broken this conversation so far. Nothing is to be done.".to_owned(),
        };
        let led = match self.led_to(cause).as_slice() {
            [] => String::new(),
            [only] => format!(" Before that, {only}."),
            [first @ .., last] => format!(" Before that, {}, and {last}.", first.join(", ")),
        };
        format!("{}.{led} {advice}.", capitalized(&text))
    }

    fn turns(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter().flat_map(|log| log.turns.iter().rev())
    }

    fn after_loss(&self, loss: &Loss, number: u32) -> &'static str {
        let state = self.turns().find_map(|turn| match turn.event {
            TimelineEvent::State(state) if turn.number > number => Some(state),
            _ => None,
        });
        if matches!(state, Some(State::Configured | State::ReadOnly)) {
            return "It is connected again, and nothing is to be done";
        }
        match loss {
            Loss::Requested => "It connects again by itself, and nothing is to be done",
            Loss::Closed(close) => match close.code() {
                None => {
                    "It connects again by itself; if it goes on, check the network, the proxy and the host"
                }
                Some(1008) => {
                    "It connects again by itself; if it goes on, check the deployment and the session"
                }
                Some(1009) => "It connects again by itself; send smaller frames",
                Some(_) => {
                    "It connects again by itself; if it goes on, see whether the service has an outage"
                }
            },
            Loss::NoAnswer | Loss::Silent => {
                "It connects again by itself; if it goes on, check the network, the proxy and the host"
            }
            Loss::Overrun => "It connects again by itself; read the events of the conversation without pause",
            Loss::Refused { status: 429 } => {
                "It connects again by itself; if it goes on, connect fewer sessions at once"
            }
            Loss::Refused { status: 500.. } => {
                "It connects again by itself; if it goes on, see whether the service has an outage"
            }
            Loss::Refused { .. } => "It connects again by itself; if it goes on, check the URL of the socket",
            Loss::Rejected(_) => {
                "It connects again by itself; if it goes on, check the deployment and the session"
            }
        }
    }

    /// Events of the same connection, or since the last good one, before `cause`.
    fn led_to(&self, cause: &Entry) -> Vec<String> {
        let before = Background::of(self.turns().filter(|turn| turn.number < cause.number));
        let since = |entry: &Entry| cause.since_began().saturating_sub(entry.since_began());
        let mut led = Vec::new();
        match (before.losses, before.ready) {
            (0, Some(ready)) => led.push(format!("it had been ready for {}", Span(since(ready)))),
            (0, None) => {}
            (1, _) => led.push("the connection had been lost once already".to_owned()),
            (losses, _) => led.push(format!("the connection had been lost {losses} times in a row")),
        }
        if before.cleared {
            led.push("the conversation was cleared".to_owned());
        }
        match before.token {
            Some(TokenEvent::Requested) => led.push("a token was requested and none was given".to_owned()),
            Some(TokenEvent::Refused) => led.push("the token was refused".to_owned()),
            Some(TokenEvent::Given) | None => {}
        }
        if let Some((operation, outcome @ (Outcome::Refused(_) | Outcome::Unanswered))) = before.http {
            led.push(format!("{operation} failed ({outcome})"));
        }
        if before.limited {
            led.push("the service had limited the rate".to_owned());
        }
        let silent = matches!(&cause.event, TimelineEvent::Lost(loss) if **loss == Loss::Silent);
        if before.ping_missed && !silent {
            led.push("a ping had not been answered".to_owned());
        }
        let ready = before.ready.filter(|_| before.losses == 0);
        let frames = self.0.iter().flat_map(|log| log.frames.iter().rev());
        let received = frames.into_iter().find(|frame| {
            let outbound = matches!(&frame.event, TimelineEvent::Frames { direction, .. } if *direction == Direction::Outbound);
            outbound && frame.number < cause.number && ready.is_some_and(|ready| frame.number > ready.number)
        });
        if let Some(silence) = received.map(since).filter(|silence| *silence >= SILENCE) {
            led.push(format!("no frame had come for {}", Span(silence)));
        }
        led
    }
}

/// Events since the session was last ready.
#[derive(Default)]
struct Background<'a> {
    ready: Option<&'a Entry>,
    losses: u32,
    ping_missed: bool,
    limited: bool,
    cleared: bool,
    /// The last one that ended.
    http: Option<(HttpOperation, Outcome)>,
    token: Option<TokenEvent>,
}

impl<'a> Background<'a> {
    /// Reads from the latest entry back.
    fn of(turns: impl Iterator<Item = &'a Entry>) -> Self {
        let mut before = Self::default();
        for turn in turns {
            match &turn.event {
                TimelineEvent::State(State::Configured | State::ReadOnly) => {
                    before.ready = Some(turn);
                    break;
                }
                TimelineEvent::Cleared => before.cleared = true,
                TimelineEvent::Http(_, Outcome::Started) => {}
                TimelineEvent::Http(operation, outcome) => {
                    before.http.get_or_insert((*operation, *outcome));
                }
                TimelineEvent::Lost(_) => before.losses += 1,
                // a missed ping of an earlier connection explains nothing
                TimelineEvent::PingMissed => before.ping_missed |= before.losses == 0,
                TimelineEvent::Token(event) => {
                    before.token.get_or_insert(*event);
                }
                TimelineEvent::Waited { limit, .. } => before.limited |= *limit == Limit::Service,
                TimelineEvent::Ended(_)
                | TimelineEvent::Frames { .. }
                | TimelineEvent::ReconnectIn { .. }
                | TimelineEvent::State(_) => {}
            }
        }
        before
    }
}

/// The ending with no other texts of the service than a code or a word.
pub(super) fn reduced_ending(ending: &Ending) -> Ending {
    match ending {
        Ending::AuthorizationRequired(refusal) => Ending::AuthorizationRequired(reduced(refusal)),
        Ending::ClosedByServer { reason } => Ending::ClosedByServer {
            reason: reason.as_deref().and_then(word),
        },
        Ending::Rejected(refusal) => Ending::Rejected(reduced(refusal)),
        Ending::SessionEnded { reason } => Ending::SessionEnded {
            reason: word(reason).unwrap_or_default(),
        },
        other => other.clone(),
    }
}

/// The loss, likewise.
pub(super) fn reduced_loss(loss: &Loss) -> Loss {
    match loss {
        // without a code there was no close frame: the account is this side's
        Loss::Closed(close) => Loss::Closed(match close.code() {
            Some(code) => CloseInfo::with_code(code, ""),
            None => CloseInfo::abrupt(&sanitize(close.reason())),
        }),
        Loss::Rejected(refusal) => Loss::Rejected(reduced(refusal)),
        other => other.clone(),
    }
}

fn reduced(refusal: &Refusal) -> Refusal {
    let number = refusal.code.parse::<u16>().is_ok().then(|| refusal.code.clone());
    Refusal {
        code: number.or_else(|| word(&refusal.code)).unwrap_or_default(),
        message: String::new(),
    }
}

/// A reason, if it is a single word of a program: no sentence, no number, no id.
fn word(text: &str) -> Option<String> {
    let is_word = text
        .bytes()
        .all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'.' | b'-' | b'_'));
    (is_word && !text.is_empty() && text.len() <= LONGEST_WORD).then(|| text.to_owned())
}

pub(super) fn ending_text(ending: &Ending) -> String {
    match ending {
        Ending::AuthorizationRequired(refusal) => noted(
            "the guest's sign-in was not accepted",
            &word(&refusal.code).unwrap_or_default(),
        ),
        Ending::ByUs => "this side ended the conversation".to_owned(),
        Ending::ClosedByServer { reason } => noted(
            "the service closed the connection for good",
            reason.as_deref().unwrap_or_default(),
        ),
        Ending::LoggedOut => "the guest was logged out".to_owned(),
        Ending::Rejected(refusal) => match &*refusal.code {
            code @ ("400" | "404") => {
                format!("the service does not know the deployment, or not the request ({code})")
            }
            "401" => "the service does not know who the guest is (401)".to_owned(),
            "4007" => "the service does not know the session (4007)".to_owned(),
            "4017" => {
                "the session belongs to a signed-in guest and cannot be an anonymous one's (4017)".to_owned()
            }
            code if code.parse::<u16>().is_ok() => {
                format!("the service rejected the session with code {code}")
            }
            code => noted("the service rejected the session", code),
        },
        Ending::Refused { status: 403 } => {
            "the handshake was answered 403: the origin is not allowed, or the deployment is not active"
                .to_owned()
        }
        Ending::Refused { status } => format!("the handshake was answered {status}"),
        Ending::SessionEnded { reason } => noted("the session was ended elsewhere", reason),
        Ending::SessionExpired => "the session's lifetime has passed".to_owned(),
    }
}

pub(super) fn loss_text(loss: &Loss) -> String {
    match loss {
        Loss::Closed(close) => match close.code() {
            Some(1000) => "the service closed the connection without a reason (1000)".to_owned(),
            Some(1001) => "the service went away, or found the connection idle or old (1001)".to_owned(),
            Some(1008) => "the service found that its policy was broken (1008)".to_owned(),
            Some(1009) => "the service found a frame too large (1009)".to_owned(),
            Some(1011) => "the service had trouble of its own (1011)".to_owned(),
            Some(code) => format!("the service closed the connection with code {code}"),
            None => noted("the connection broke, or could not be made", close.reason()),
        },
        Loss::Refused { status: 429 } => {
            "the handshake was answered 429: too many connections were made".to_owned()
        }
        Loss::Rejected(refusal) if refusal.code.parse::<u16>().is_ok() => {
            format!(
                "the service could not prepare the session (code {})",
                refusal.code
            )
        }
        Loss::Rejected(refusal) => noted("the service could not prepare the session", &refusal.code),
        Loss::Requested | Loss::NoAnswer | Loss::Overrun | Loss::Refused { .. } | Loss::Silent => {
            loss.to_string()
        }
    }
}

fn after_ending(ending: &Ending) -> &'static str {
    const SIGN_IN: &str = "Have the guest sign in, then start a new session";
    match ending {
        Ending::AuthorizationRequired(_) | Ending::LoggedOut => SIGN_IN,
        Ending::ByUs => "Open a new conversation to go on",
        Ending::ClosedByServer { reason: Some(reason) } if reason == "signedIn" => {
            "The guest goes on where they signed in; open this one again as the signed-in guest"
        }
        Ending::ClosedByServer { .. } => {
            "If it was not cleared or closed on purpose, see that the session is open in at most three places, then start a new one"
        }
        Ending::Refused { status: 401 } => "Refresh the access token and open again",
        Ending::Refused { status: 403 } => {
            "Add the origin to the deployment's allowed domains, and see that the deployment is active"
        }
        Ending::Refused { .. } => "Check the URL of the socket and the session",
        Ending::Rejected(refusal) => match &*refusal.code {
            "400" | "404" => "Check the id of the deployment, and that the host is that of its region",
            "401" => SIGN_IN,
            "403" => "Check that the deployment is active and that the sign-in is valid",
            "4017" => "Sign the guest in, or begin with a fresh session token",
            _ => "Start a new session; if that is rejected too, check the deployment",
        },
        Ending::SessionEnded { .. } | Ending::SessionExpired => "Start a new session if the guest goes on",
    }
}

fn noted(text: &str, note: &str) -> String {
    if note.is_empty() {
        text.to_owned()
    } else {
        format!("{text} ({note})")
    }
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

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
