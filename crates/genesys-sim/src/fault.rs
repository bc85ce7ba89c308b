//! A fault as text: its kind, its argument, and when it happens.

mod kind;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use kind::KINDS;

pub(crate) use kind::{Effect, Site};

const MAX_BYTES: usize = 256;

/// Limit of armed faults.
pub(crate) const MAX_FAULTS: usize = 64;

/// Highest number of occurrences, and of frames to wait for.
const MAX_TIMES: u32 = 1_000_000;

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
    pub(crate) kind: &'static str,
    /// Empty if there is none.
    argument: String,
    pub(crate) effect: Effect,
    pub(crate) site: Site,
    /// Written with `@in`.
    inbound: bool,
    /// Most occurrences; `None` is no limit.
    pub(crate) times: Option<u32>,
    /// The first frame, request or handshake to which it applies, counted from one.
    pub(crate) from: u32,
    pub(crate) percent: Option<u8>,
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        if text.len() > MAX_BYTES {
            return Err(FaultError::Length(text.len()));
        }
        let (text, chance) = split(text, '~');
        let percent = chance.map(percentage).transpose()?;
        let (text, at) = split(text, '@');
        let number = at.and_then(|at| at.strip_prefix("in"));
        let inbound = number.is_some();
        let from = at.map_or(Ok(1), |at| times(number.unwrap_or(at), at))?;
        let (text, times) = match text.rsplit_once(':') {
            Some((rest, "always")) => (rest, None),
            Some((rest, last)) if last.starts_with('x') => (rest, Some(times(&last[1..], last)?)),
            _ => (text, percent.is_none().then_some(1)),
        };
        let (name, argument) = split(text, ':');
        let found = KINDS.iter().find(|(kind, ..)| *kind == name);
        let (kind, sites, default, expected, effect) = *found.ok_or_else(|| {
            let names: Vec<_> = KINDS.iter().map(|(kind, ..)| *kind).collect();
            FaultError::invalid("fault", name, format!("one of {}", names.join(", ")))
        })?;
        let argument = argument.or(default);
        let effect = effect(argument).ok_or_else(|| match argument {
            Some(found) => FaultError::Argument {
                kind,
                found: found.to_owned(),
                expected,
            },
            None => FaultError::Incomplete { kind, expected },
        })?;
        if inbound && !sites.contains(&Site::FrameFromGuest) {
            return Err(FaultError::Inbound(kind));
        }
        let mut argument = argument.unwrap_or_default().to_owned();
        if kind == "refuse" && !argument.contains(':') {
            argument.push_str(":string");
        }
        let site = if inbound { Site::FrameFromGuest } else { sites[0] };
        Ok(Self {
            kind,
            argument,
            effect,
            site,
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
        f.write_str(self.kind)?;
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

/// Invalid text of a fault, or a fault that cannot be armed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultError {
    /// An argument that the kind does not take.
    #[error("invalid argument {found:?} of the fault {kind:?}: use {expected}")]
    Argument {
        /// The kind, as written.
        kind: &'static str,
        /// The argument.
        found: String,
        /// Description of a valid one.
        expected: &'static str,
    },
    /// A kind that needs an argument has none.
    #[error("the fault {kind:?} needs an argument: {expected}")]
    Incomplete {
        /// The kind, as written.
        kind: &'static str,
        /// Description of a valid argument.
        expected: &'static str,
    },
    /// `@inN` on this kind, which does not apply to frames from a guest.
    #[error("the fault {0:?} cannot wait for a frame from the guest: use @N, or drop, hang, evict or clock")]
    Inbound(&'static str),
    /// An unknown kind, a number out of range, or a chance out of range.
    #[error("invalid {part} {found:?}: use {expected}")]
    Invalid {
        /// `fault`, `number` or `chance`.
        part: &'static str,
        /// The text in its place.
        found: String,
        /// Description of a valid one.
        expected: String,
    },
    /// This number of bytes, more than 256.
    #[error("invalid fault: it has {0} bytes, use at most {MAX_BYTES}")]
    Length(usize),
    /// A kind that happens to handshakes, armed for one session.
    #[error("the fault {0:?} cannot be limited to a session: a handshake names none, leave the session out")]
    Session(&'static str),
    /// 64 faults are active.
    #[error("cannot arm another fault: {MAX_FAULTS} are active, remove some with DELETE /sim/faults")]
    TooMany,
}

impl FaultError {
    fn invalid(part: &'static str, found: &str, expected: impl Into<String>) -> Self {
        Self::Invalid {
            part,
            found: found.to_owned(),
            expected: expected.into(),
        }
    }
}

fn split(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

fn percentage(text: &str) -> Result<u8, FaultError> {
    let number = text.strip_suffix('%').and_then(|number| number.parse().ok());
    number
        .filter(|percent| (1..=100).contains(percent))
        .ok_or_else(|| FaultError::invalid("chance", text, "a whole percentage from 1 to 100, such as ~10%"))
}

fn times(number: &str, found: &str) -> Result<u32, FaultError> {
    let number = number.parse().ok();
    number
        .filter(|times| (1..=MAX_TIMES).contains(times))
        .ok_or_else(|| {
            let expected = format!("a whole number from 1 to {MAX_TIMES}, as in :x5, @3 or @in3");
            FaultError::invalid("number", found, expected)
        })
}
