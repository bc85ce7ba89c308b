//! A fault as text: its kind, its argument, and when it happens.

mod kind;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use kind::KINDS;

pub(crate) use kind::{Effect, Site};

const MAX_BYTES: usize = 256;

/// Limit of active faults.
pub(crate) const MAX_FAULTS: usize = 64;

/// Highest number of occurrences, and of frames to wait for.
const MAX_TIMES: u32 = 1_000_000;

/// An injected fault, as text: see [`Fault::GRAMMAR`].
///
/// It happens at the next frame, request, handshake or JWT to which it applies.
///
/// ```text
#[doc = include_str!("fault/grammar.txt")]
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    pub(crate) kind: &'static str,
    /// All parts, with their defaults.
    text: String,
    pub(crate) effect: Effect,
    pub(crate) site: Site,
    /// Most occurrences; `None` is no limit.
    pub(crate) times: Option<u32>,
    /// The first frame, request or handshake to which it applies, counted from one.
    pub(crate) from: u32,
    pub(crate) percent: Option<u8>,
}

impl Fault {
    /// The kinds of fault, with their arguments and effects, for people.
    pub const GRAMMAR: &str = include_str!("fault/grammar.txt");
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        if text.len() > MAX_BYTES {
            let bytes = text.len();
            let reason = format!("invalid fault: it has {bytes} bytes, use at most {MAX_BYTES}");
            return Err(FaultError::Invalid(reason));
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
            invalid("fault", name, &format!("one of {}", names.join(", ")))
        })?;
        let argument = argument.or(default);
        let effect = effect(argument).ok_or_else(|| {
            FaultError::Invalid(match argument {
                Some(found) => format!("invalid argument {found:?} of the fault {kind:?}: use {expected}"),
                None => format!("invalid fault {kind:?}: it needs an argument, use {expected}"),
            })
        })?;
        if inbound && !sites.contains(&Site::FrameFromGuest) {
            let other = "use @N, or drop, hang, evict or clock";
            return Err(FaultError::Invalid(format!(
                "invalid fault {kind:?}: it cannot wait for a frame from the guest, {other}"
            )));
        }
        let argument = match argument {
            Some(code) if kind == "refuse" && !code.contains(':') => format!(":{code}:string"),
            Some(argument) => format!(":{argument}"),
            None => String::new(),
        };
        let repeat = times.map_or("always".to_owned(), |times| format!("x{times}"));
        let (direction, site) = if inbound {
            ("in", Site::FrameFromGuest)
        } else {
            ("", sites[0])
        };
        let chance = percent.map_or(String::new(), |percent| format!("~{percent}%"));
        Ok(Self {
            kind,
            text: format!("{kind}{argument}:{repeat}@{direction}{from}{chance}"),
            effect,
            site,
            times,
            from,
            percent,
        })
    }
}

/// The text in full, from which the same fault is parsed.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Invalid text of a fault, or a fault that cannot be added.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultError {
    /// Invalid text: its mistake, and what is valid.
    #[error("{0}")]
    Invalid(String),
    /// A kind that happens to handshakes, for one session.
    #[error("cannot limit the fault {0:?} to a session: a handshake names none, leave the session out")]
    Session(&'static str),
    /// 64 faults are active.
    #[error("cannot add a fault: {MAX_FAULTS} are active, remove some with DELETE /sim/faults")]
    TooMany,
}

fn split(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

fn percentage(text: &str) -> Result<u8, FaultError> {
    let number = text.strip_suffix('%').and_then(|number| number.parse().ok());
    let number = number.filter(|percent| (1..=100).contains(percent));
    number.ok_or_else(|| invalid("chance", text, "a whole percentage from 1 to 100, such as ~10%"))
}

fn times(number: &str, found: &str) -> Result<u32, FaultError> {
    let number = number
        .parse()
        .ok()
        .filter(|times| (1..=MAX_TIMES).contains(times));
    let expected = format!("a whole number from 1 to {MAX_TIMES}, as in :x5, @3 or @in3");
    number.ok_or_else(|| invalid("number", found, &expected))
}

fn invalid(part: &str, found: &str, expected: &str) -> FaultError {
    FaultError::Invalid(format!("invalid {part} {found:?}: use {expected}"))
}
