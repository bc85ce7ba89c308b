//! From what happened to a sentence for a person.

use std::fmt;
use std::time::Duration;

use super::{EndingCause, Entry, Errand, Happening, Limit, LossCause, Outcome, Timeline, TokenEvent};
use crate::State;

/// A silence shorter than this is nothing to speak of: pings come every 15 s.
const SILENCE: Duration = Duration::from_secs(30);

impl Timeline {
    /// What ended or broke the conversation last, what led to it, and what to do, in three short sentences. Nothing
    /// that anybody said is in it.
    #[must_use]
    pub fn explain(&self) -> String {
        let (entry, what, next) = match self.cause {
            Some(
                entry @ Entry {
                    what: Happening::Ended(cause),
                    ..
                },
            ) => (entry, self.noted(&cause), self.after_ending(cause).to_owned()),
            Some(
                entry @ Entry {
                    what: Happening::Lost(cause),
                    ..
                },
            ) => (entry, self.noted(&cause), self.after_loss(cause, entry.number)),
            _ => return "Nothing has broken this conversation so far. Nothing is to be done.".to_owned(),
        };
        let led = match self.led_to(&entry).as_slice() {
            [] => String::new(),
            [only] => format!(" Before that, {only}."),
            [first @ .., last] => format!(" Before that, {}, and {last}.", first.join(", ")),
        };
        format!("{}.{led} {next}.", capital(&what))
    }

    fn noted(&self, cause: &impl fmt::Display) -> String {
        match &self.note {
            Some(note) => format!("{cause} ({note})"),
            None => cause.to_string(),
        }
    }

    fn after_ending(&self, cause: EndingCause) -> &'static str {
        match cause {
            EndingCause::ByUs => "Open a new conversation to go on",
            EndingCause::ClosedByServer if self.note.as_deref() == Some("signedIn") => {
                "The guest goes on where they signed in; open this one again as the signed-in guest"
            }
            EndingCause::ClosedByServer => {
                "If it was not cleared or closed on purpose, see that the session is open in at most three places, then start a new one"
            }
            EndingCause::LoggedOut | EndingCause::SignInNeeded | EndingCause::Rejected(Some(401)) => {
                "Have the guest sign in, then start a new session"
            }
            EndingCause::Rejected(Some(400 | 404)) => {
                "Check the id of the deployment, and that the host is that of its region"
            }
            EndingCause::Rejected(Some(403)) => {
                "Check that the deployment is active and that the sign-in is valid"
            }
            EndingCause::Rejected(Some(4017)) => "Sign the guest in, or begin with a fresh session token",
            EndingCause::Rejected(_) => "Start a new session; if that is rejected too, check the deployment",
            EndingCause::Refused(401) => "Renew the access token and open again",
            EndingCause::Refused(403) => {
                "Add the origin to the deployment's allowed domains, and see that the deployment is active"
            }
            EndingCause::Refused(_) => "Check the URL of the socket and the session",
            EndingCause::SessionEnded | EndingCause::SessionExpired => {
                "Start a new session if the guest goes on"
            }
        }
    }

    fn after_loss(&self, cause: LossCause, number: u32) -> String {
        let state = self.turns.iter().rev().find_map(|turn| match turn.what {
            Happening::State(state) if turn.number > number => Some(state),
            _ => None,
        });
        if matches!(state, Some(State::Configured | State::ReadOnly)) {
            return "It is connected again, and nothing is to be done".to_owned();
        }
        let advice = match cause {
            LossCause::Asked => return "It connects again by itself, and nothing is to be done".to_owned(),
            LossCause::Closed(Some(1009)) => "send smaller frames",
            LossCause::Closed(Some(1008)) | LossCause::Rejected(_) => {
                "if it goes on, check the deployment and the session"
            }
            LossCause::Closed(Some(_)) | LossCause::Refused(500..) => {
                "if it goes on, see whether the service has an outage"
            }
            LossCause::Closed(None) | LossCause::NoAnswer | LossCause::Silent => {
                "if it goes on, check the network, the proxy and the host"
            }
            LossCause::Overrun => "read the events of the conversation without pause",
            LossCause::Refused(429) => "if it goes on, connect fewer sessions at once",
            LossCause::Refused(_) => "if it goes on, check the URL of the socket",
        };
        format!("It connects again by itself; {advice}")
    }

    /// What happened on the same connection, or since the last good one, before `cause`.
    fn led_to(&self, cause: &Entry) -> Vec<String> {
        let before = Background::of(self.turns.iter().rev().filter(|turn| turn.number < cause.number));
        let since = |entry: &Entry| cause.since_began().saturating_sub(entry.since_began());
        let mut led = Vec::new();
        match (before.losses, &before.ready) {
            (0, Some(ready)) => led.push(format!("it had been ready for {}", Span(since(ready)))),
            (0, None) => {}
            (1, _) => led.push("the connection had been lost once already".to_owned()),
            (losses, _) => led.push(format!("the connection had been lost {losses} times in a row")),
        }
        if before.cleared {
            led.push("the conversation was cleared".to_owned());
        }
        match before.token {
            Some(TokenEvent::Asked) => led.push("a token was asked for and none was given".to_owned()),
            Some(TokenEvent::Refused) => led.push("the token was refused".to_owned()),
            Some(TokenEvent::Given) | None => {}
        }
        if let Some((errand, outcome @ (Outcome::Refused(_) | Outcome::Unanswered))) = before.errand {
            led.push(format!("{errand} failed ({outcome})"));
        }
        if before.patience {
            led.push("the service had asked for patience".to_owned());
        }
        if before.ping_missed && cause.what != Happening::Lost(LossCause::Silent) {
            led.push("a ping had not been answered".to_owned());
        }
        let ready = before.ready.filter(|_| before.losses == 0);
        let heard = self.frames.iter().rev().find(|frame| {
            frame.number < cause.number
                && frame.what.is_heard()
                && ready.is_some_and(|ready| frame.number > ready.number)
        });
        if let Some(silence) = heard.map(since).filter(|silence| *silence >= SILENCE) {
            led.push(format!("no frame had come for {}", Span(silence)));
        }
        led
    }
}

/// What came before, back to when the session was last ready.
#[derive(Default)]
struct Background {
    ready: Option<Entry>,
    losses: u32,
    ping_missed: bool,
    patience: bool,
    cleared: bool,
    /// The last that came to an end.
    errand: Option<(Errand, Outcome)>,
    token: Option<TokenEvent>,
}

impl Background {
    /// From the latest turn back.
    fn of<'a>(turns: impl Iterator<Item = &'a Entry>) -> Self {
        let mut before = Self::default();
        for turn in turns {
            match turn.what {
                Happening::State(State::Configured | State::ReadOnly) => {
                    before.ready = Some(*turn);
                    break;
                }
                Happening::Cleared => before.cleared = true,
                Happening::Errand(_, Outcome::Begun) => {}
                Happening::Errand(errand, outcome) => {
                    before.errand.get_or_insert((errand, outcome));
                }
                Happening::Lost(_) => before.losses += 1,
                // of an earlier connection it explains nothing
                Happening::PingMissed => before.ping_missed |= before.losses == 0,
                Happening::Token(event) => {
                    before.token.get_or_insert(event);
                }
                Happening::Waited { limit, .. } => before.patience |= limit == Limit::Service,
                Happening::Ended(_)
                | Happening::Frames { .. }
                | Happening::ReconnectIn { .. }
                | Happening::State(_) => {}
            }
        }
        before
    }
}

impl fmt::Display for EndingCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByUs => f.write_str("this side ended the conversation"),
            Self::ClosedByServer => f.write_str("the service closed the connection for good"),
            Self::LoggedOut => f.write_str("the guest was logged out"),
            Self::Rejected(Some(code @ (400 | 404))) => {
                write!(
                    f,
                    "the service does not know the deployment, or not the request ({code})"
                )
            }
            Self::Rejected(Some(401)) => f.write_str("the service does not know who the guest is (401)"),
            Self::Rejected(Some(4007)) => f.write_str("the service does not know the session (4007)"),
            Self::Rejected(Some(4017)) => f.write_str(
                "the session belongs to a signed-in guest and cannot be an anonymous one's (4017)",
            ),
            Self::Rejected(Some(code)) => write!(f, "the service rejected the session with code {code}"),
            Self::Rejected(None) => f.write_str("the service rejected the session"),
            Self::Refused(403) => f.write_str(
                "the handshake was answered 403: the origin is not allowed, or the deployment is not active",
            ),
            Self::Refused(status) => write!(f, "the handshake was answered {status}"),
            Self::SessionEnded => f.write_str("the session was ended elsewhere"),
            Self::SessionExpired => f.write_str("the session's lifetime has passed"),
            Self::SignInNeeded => f.write_str("the guest's sign-in was not accepted"),
        }
    }
}

impl fmt::Display for LossCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("this side asked for a new connection"),
            Self::Closed(Some(1000)) => {
                f.write_str("the service closed the connection without a reason (1000)")
            }
            Self::Closed(Some(1001)) => {
                f.write_str("the service went away, or found the connection idle or old (1001)")
            }
            Self::Closed(Some(1008)) => f.write_str("the service found that its policy was broken (1008)"),
            Self::Closed(Some(1009)) => f.write_str("the service found a frame too large (1009)"),
            Self::Closed(Some(1011)) => f.write_str("the service had trouble of its own (1011)"),
            Self::Closed(Some(code)) => write!(f, "the service closed the connection with code {code}"),
            Self::Closed(None) => f.write_str("the connection broke, or could not be made"),
            Self::NoAnswer => f.write_str("the service did not answer in time"),
            Self::Overrun => f.write_str("too many events were not read"),
            Self::Refused(429) => {
                f.write_str("the handshake was answered 429: too many connections were made")
            }
            Self::Refused(status) => write!(f, "the handshake was answered {status}"),
            Self::Rejected(Some(code)) => {
                write!(f, "the service could not prepare the session (code {code})")
            }
            Self::Rejected(None) => f.write_str("the service could not prepare the session"),
            Self::Silent => f.write_str("the service answered neither of two pings"),
        }
    }
}

/// A time as people say it.
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

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
