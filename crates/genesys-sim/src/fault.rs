//! A fault as text: its kind, its argument, and when it happens.

mod error;
mod kind;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use error::{MAX_BYTES, MAX_TIMES};

pub use error::FaultError;
pub use kind::FaultKind;
pub(crate) use kind::{Cut, Effect, ErrorClass, Site};

/// An injected fault, as text: `KIND[:ARGUMENT][:xN|:always][@N|@inN][~P%]`.
///
/// | text | effect |
/// |---|---|
/// | `drop`, `drop:CODE`, `drop:abrupt` | closes the socket in place of the frame: with 1001, with another code, or without a close frame |
/// | `hang`, `hang:10s` | stops sending, reading and answering pings, forever or for a time |
/// | `delay:2s` | delays a frame, and the frames behind it |
/// | `reorder` | sends a frame after the next one, or a second late if there is none |
/// | `duplicate` | sends a frame twice |
/// | `fragment:3` | sends a frame in three fragments (RFC 6455, 5.4), also cut within a character |
/// | `unknown-class` | sends a frame of an unknown class before the frame |
/// | `unknown-fields` | adds unknown fields to a frame |
/// | `evict`, `evict:reasonCode` | sends `ConnectionClosedEvent` after the frame, and closes with 1000. The event has `signedIn` under this name, if one is given (`reason` or `reasonCode`) |
/// | `clock:+14m` | moves the simulator's clock |
/// | `throttle`, `throttle:9s` | refuses a guest's frame with 429, `retryAfter` 3 s or as given |
/// | `refuse:408`, `refuse:400:ErrorMessage` | refuses a guest's frame with a code, in the form of a class: `string`, or as given (`ErrorMessage`, `Error`) |
/// | `rest:503`, `rest:503:/oauth` | refuses a REST request, or only one whose path has this prefix |
/// | `slow-handshake:3s` | delays the answer to a WebSocket handshake |
/// | `refuse-handshake`, `refuse-handshake:503` | refuses a handshake with 403, or as given |
/// | `expired-jwt` | treats the next JWT as expired |
/// | `upload-failure` | fails an attachment's upload after its bytes have arrived |
///
/// - A fault happens once, at the next frame, request, handshake or JWT to which it applies. `:x5` repeats it five times
///   in a row, `:always` each time.
/// - `@3` waits for the third frame to the guest. `@in3` waits for the third frame *from* the guest, for `drop` (which
///   loses it), `hang`, `evict` and `clock`.
/// - `~10%` leaves each time to chance, from the world's seed, until `:xN` of them have happened.
///
/// Limits: a time of an hour, a clock's jump of ten years, an `N` of a million.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    kind: FaultKind,
    /// Empty if there is none.
    argument: String,
    pub(crate) effect: Effect,
    /// Written with `@in`.
    inbound: bool,
    /// Most occurrences; `None` is no limit.
    pub(crate) times: Option<u32>,
    /// The first frame, request or handshake to which it applies, counted from one.
    pub(crate) from: u32,
    pub(crate) percent: Option<u8>,
}

impl Fault {
    /// The kind of fault.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        self.kind
    }

    pub(crate) fn site(&self) -> Site {
        if self.inbound {
            return Site::FrameFromGuest;
        }
        self.kind.row().sites[0]
    }
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        if text.len() > MAX_BYTES {
            return Err(FaultError::Length { bytes: text.len() });
        }
        let (text, percent) = match text.split_once('~') {
            Some((text, chance)) => (text, Some(percentage(chance)?)),
            None => (text, None),
        };
        let (text, inbound, from) = match text.split_once('@') {
            Some((text, at)) => match at.strip_prefix("in") {
                Some(number) => (text, true, times(number, at)?),
                None => (text, false, times(at, at)?),
            },
            None => (text, false, 1),
        };
        let (text, times) = match text.rsplit_once(':') {
            Some((rest, "always")) => (rest, None),
            Some((rest, last)) if last.starts_with('x') => (rest, Some(times(&last[1..], last)?)),
            _ => (text, percent.is_none().then_some(1)),
        };
        let (name, argument) = match text.split_once(':') {
            Some((name, argument)) => (name, Some(argument)),
            None => (text, None),
        };
        let kind = FaultKind::all()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| FaultError::Kind {
                found: name.to_owned(),
            })?;
        let row = kind.row();
        let argument = argument.or(row.default);
        let effect = (row.effect)(argument).ok_or_else(|| match argument {
            Some(found) => FaultError::Argument {
                kind: kind.name(),
                found: found.to_owned(),
                expected: row.expected,
            },
            None => FaultError::Incomplete {
                kind: kind.name(),
                expected: row.expected,
            },
        })?;
        if inbound && !row.sites.contains(&Site::FrameFromGuest) {
            return Err(FaultError::Inbound { kind: kind.name() });
        }
        let mut argument = argument.unwrap_or_default().to_owned();
        if kind == FaultKind::Refuse && !argument.contains(':') {
            argument.push_str(":string");
        }
        Ok(Self {
            kind,
            argument,
            effect,
            inbound,
            times,
            from,
            percent,
        })
    }
}

/// The text in full, from which the same fault is parsed.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        if !self.argument.is_empty() {
            write!(f, ":{}", self.argument)?;
        }
        match self.times {
            None => f.write_str(":always")?,
            Some(times) => write!(f, ":x{times}")?,
        }
        let direction = if self.inbound { "in" } else { "" };
        write!(f, "@{direction}{}", self.from)?;
        match self.percent {
            Some(percent) => write!(f, "~{percent}%"),
            None => Ok(()),
        }
    }
}

fn percentage(text: &str) -> Result<u8, FaultError> {
    text.strip_suffix('%')
        .and_then(|number| number.parse().ok())
        .filter(|percent| (1..=100).contains(percent))
        .ok_or_else(|| FaultError::Chance {
            found: text.to_owned(),
        })
}

fn times(number: &str, found: &str) -> Result<u32, FaultError> {
    number
        .parse()
        .ok()
        .filter(|times| (1..=MAX_TIMES).contains(times))
        .ok_or_else(|| FaultError::Times {
            found: found.to_owned(),
        })
}
