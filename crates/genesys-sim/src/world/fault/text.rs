//! A fault as text: what goes wrong, how often, and when.

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::StatusCode;

use super::error::FaultError;
use crate::duration;
use crate::world::frame::ErrorClass;

/// Longest text of a fault, in bytes.
pub(super) const LONGEST: usize = 256;

/// Longest time that a fault may take.
const LONGEST_TIME: Duration = Duration::from_secs(3_600);

/// Furthest that a fault may move the clock: ten years.
const FURTHEST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Most fragments of a frame.
const MOST_FRAGMENTS: u16 = 100;

/// Most times that a fault may be asked to happen, and furthest that it may wait for.
pub(super) const MOST_TIMES: u32 = 1_000_000;

/// Something that goes wrong, as text: `KIND[:ARGUMENT][:xN|:always][@N|@inN][~P%]`.
///
/// | text | what happens |
/// |---|---|
/// | `drop`, `drop:CODE`, `drop:abrupt` | the socket is closed in place of the frame: 1001, another code, or without a close frame |
/// | `hang`, `hang:10s` | the socket neither sends nor reads nor answers pings, for ever or for a while |
/// | `delay:2s` | a frame comes late, and those after it no earlier |
/// | `reorder` | a frame comes after the next one, or a second late if there is none |
/// | `duplicate` | a frame comes twice |
/// | `fragment:3` | a frame comes in three fragments (RFC 6455, 5.4), cut anywhere, also within a character |
/// | `unknown-class` | a frame of a class that nobody knows comes first |
/// | `unknown-fields` | a frame has fields that nobody knows |
/// | `evict`, `evict:reasonCode` | the socket is told `ConnectionClosedEvent` after the frame, with `signedIn` under this name if there is one (`reason` or `reasonCode`), and closed with 1000 |
/// | `clock:+14m` | the simulator's clock jumps |
/// | `throttle`, `throttle:9s` | a guest's frame is refused with 429, `retryAfter` 3 s or as given |
/// | `refuse:408`, `refuse:400:ErrorMessage` | a guest's frame is refused with a code, in the form of a class: `string`, or as given (`ErrorMessage`, `Error`) |
/// | `rest:503`, `rest:503:/oauth` | a REST request is refused, or only one whose path begins so |
/// | `slow-handshake:3s` | a WebSocket handshake is answered late |
/// | `refuse-handshake`, `refuse-handshake:503` | a handshake is refused: 403, or as given |
/// | `expired-jwt` | a JWT counts as expired where it is used next |
/// | `upload-failure` | an attachment's upload fails after its bytes have come |
///
/// A fault happens once, at the next frame, request, handshake or JWT that it fits; `:x5` makes it five times in a
/// row, `:always` each time. `@3` waits for the third. `~10%` leaves each time to chance, by the world's seed, and
/// goes on until `:xN` of them have happened. Frames are those to the guest; `@in3` is the third *from* the guest,
/// for `drop`, `hang`, `evict` and `clock`, and it is lost with a `drop`.
///
/// Times last at most an hour, a clock's jump at most ten years, `N` is at most a million.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    pub(super) effect: Effect,
    pub(super) times: Times,
    /// Counted from one.
    pub(super) from: u32,
    pub(super) inward: bool,
    pub(super) percent: Option<u8>,
}

/// What goes wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Effect {
    Clock(Duration),
    Delay(Duration),
    Drop(Cut),
    Duplicate,
    Evict(Option<Reason>),
    ExpiredJwt,
    Fragment(u16),
    Hang(Option<Duration>),
    Refuse(u16, ErrorClass),
    RefuseHandshake(StatusCode),
    Reorder,
    Rest(StatusCode, Option<String>),
    SlowHandshake(Duration),
    Throttle(Duration),
    UnknownClass,
    UnknownFields,
    UploadFailure,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Cut {
    Abrupt,
    Close(u16),
}

/// Under which name an evicted socket is told why.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reason {
    Reason,
    ReasonCode,
}

impl Reason {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Reason => "reason",
            Self::ReasonCode => "reasonCode",
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Times {
    Always,
    Most(u32),
}

/// Where a fault strikes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Site {
    FrameFromGuest,
    FrameToGuest,
    Handshake,
    Jwt,
    Rest,
    Upload,
}

/// Kinds of fault.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum FaultKind {
    /// `clock`
    Clock,
    /// `delay`
    Delay,
    /// `drop`
    Drop,
    /// `duplicate`
    Duplicate,
    /// `evict`
    Evict,
    /// `expired-jwt`
    ExpiredJwt,
    /// `fragment`
    Fragment,
    /// `hang`
    Hang,
    /// `refuse`
    Refuse,
    /// `refuse-handshake`
    RefuseHandshake,
    /// `reorder`
    Reorder,
    /// `rest`
    Rest,
    /// `slow-handshake`
    SlowHandshake,
    /// `throttle`
    Throttle,
    /// `unknown-class`
    UnknownClass,
    /// `unknown-fields`
    UnknownFields,
    /// `upload-failure`
    UploadFailure,
}

impl FaultKind {
    /// Every kind, by name.
    pub const ALL: [Self; 17] = [
        Self::Clock,
        Self::Delay,
        Self::Drop,
        Self::Duplicate,
        Self::Evict,
        Self::ExpiredJwt,
        Self::Fragment,
        Self::Hang,
        Self::Refuse,
        Self::RefuseHandshake,
        Self::Reorder,
        Self::Rest,
        Self::SlowHandshake,
        Self::Throttle,
        Self::UnknownClass,
        Self::UnknownFields,
        Self::UploadFailure,
    ];

    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Delay => "delay",
            Self::Drop => "drop",
            Self::Duplicate => "duplicate",
            Self::Evict => "evict",
            Self::ExpiredJwt => "expired-jwt",
            Self::Fragment => "fragment",
            Self::Hang => "hang",
            Self::Refuse => "refuse",
            Self::RefuseHandshake => "refuse-handshake",
            Self::Reorder => "reorder",
            Self::Rest => "rest",
            Self::SlowHandshake => "slow-handshake",
            Self::Throttle => "throttle",
            Self::UnknownClass => "unknown-class",
            Self::UnknownFields => "unknown-fields",
            Self::UploadFailure => "upload-failure",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Fault {
    /// What kind it is.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        match self.effect {
            Effect::Clock(_) => FaultKind::Clock,
            Effect::Delay(_) => FaultKind::Delay,
            Effect::Drop(_) => FaultKind::Drop,
            Effect::Duplicate => FaultKind::Duplicate,
            Effect::Evict(_) => FaultKind::Evict,
            Effect::ExpiredJwt => FaultKind::ExpiredJwt,
            Effect::Fragment(_) => FaultKind::Fragment,
            Effect::Hang(_) => FaultKind::Hang,
            Effect::Refuse(..) => FaultKind::Refuse,
            Effect::RefuseHandshake(_) => FaultKind::RefuseHandshake,
            Effect::Reorder => FaultKind::Reorder,
            Effect::Rest(..) => FaultKind::Rest,
            Effect::SlowHandshake(_) => FaultKind::SlowHandshake,
            Effect::Throttle(_) => FaultKind::Throttle,
            Effect::UnknownClass => FaultKind::UnknownClass,
            Effect::UnknownFields => FaultKind::UnknownFields,
            Effect::UploadFailure => FaultKind::UploadFailure,
        }
    }

    pub(super) fn site(&self) -> Site {
        match self.effect {
            Effect::Refuse(..) | Effect::Throttle(_) => Site::FrameFromGuest,
            _ if self.inward => Site::FrameFromGuest,
            Effect::ExpiredJwt => Site::Jwt,
            Effect::RefuseHandshake(_) | Effect::SlowHandshake(_) => Site::Handshake,
            Effect::Rest(..) => Site::Rest,
            Effect::UploadFailure => Site::Upload,
            Effect::Clock(_)
            | Effect::Delay(_)
            | Effect::Drop(_)
            | Effect::Duplicate
            | Effect::Evict(_)
            | Effect::Fragment(_)
            | Effect::Hang(_)
            | Effect::Reorder
            | Effect::UnknownClass
            | Effect::UnknownFields => Site::FrameToGuest,
        }
    }
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        if text.len() > LONGEST {
            return Err(FaultError::Length { bytes: text.len() });
        }
        let (text, percent) = match text.split_once('~') {
            Some((text, chance)) => (text, Some(percentage(chance)?)),
            None => (text, None),
        };
        let (text, inward, from) = match text.split_once('@') {
            Some((text, at)) => match at.strip_prefix("in") {
                Some(number) => (text, true, times(number, at)?),
                None => (text, false, times(at, at)?),
            },
            None => (text, false, 1),
        };
        let mut parts: Vec<_> = text.split(':').collect();
        let bound = match parts.last() {
            Some(&"always") => Some(Times::Always),
            Some(last) => match last.strip_prefix('x') {
                Some(number) if parts.len() > 1 => Some(Times::Most(times(number, last)?)),
                _ => None,
            },
            None => None,
        };
        if bound.is_some() {
            parts.pop();
        }
        let kind = parts.first().copied().unwrap_or_default();
        let kind = FaultKind::ALL
            .into_iter()
            .find(|it| it.name() == kind)
            .ok_or_else(|| FaultError::Kind {
                found: kind.to_owned(),
            })?;
        let argument = (parts.len() > 1).then(|| parts[1..].join(":"));
        let fault = Self {
            effect: effect(kind, argument.as_deref())?,
            times: bound.unwrap_or(if percent.is_some() {
                Times::Always
            } else {
                Times::Most(1)
            }),
            from,
            inward,
            percent,
        };
        let strikes_inward = matches!(
            fault.effect,
            Effect::Clock(_)
                | Effect::Drop(_)
                | Effect::Evict(_)
                | Effect::Hang(_)
                | Effect::Refuse(..)
                | Effect::Throttle(_)
        );
        if inward && !strikes_inward {
            return Err(FaultError::Inward { kind: kind.name() });
        }
        Ok(fault)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().name())?;
        match &self.effect {
            Effect::Clock(by) => write!(f, ":+{}", duration::write(*by))?,
            Effect::Delay(time) | Effect::SlowHandshake(time) | Effect::Throttle(time) => {
                write!(f, ":{}", duration::write(*time))?;
            }
            Effect::Drop(Cut::Abrupt) => f.write_str(":abrupt")?,
            Effect::Drop(Cut::Close(code)) => write!(f, ":{code}")?,
            Effect::Evict(Some(reason)) => write!(f, ":{}", reason.name())?,
            Effect::Fragment(parts) => write!(f, ":{parts}")?,
            Effect::Hang(Some(time)) => write!(f, ":{}", duration::write(*time))?,
            Effect::Refuse(code, class) => write!(f, ":{code}:{}", class.name())?,
            Effect::RefuseHandshake(status) | Effect::Rest(status, None) => {
                write!(f, ":{}", status.as_u16())?
            }
            Effect::Rest(status, Some(path)) => write!(f, ":{}:{path}", status.as_u16())?,
            Effect::Duplicate
            | Effect::Evict(None)
            | Effect::ExpiredJwt
            | Effect::Hang(None)
            | Effect::Reorder
            | Effect::UnknownClass
            | Effect::UnknownFields
            | Effect::UploadFailure => {}
        }
        match self.times {
            Times::Always => f.write_str(":always")?,
            Times::Most(times) => write!(f, ":x{times}")?,
        }
        if self.inward {
            write!(f, "@in{}", self.from)?;
        } else {
            write!(f, "@{}", self.from)?;
        }
        match self.percent {
            Some(percent) => write!(f, "~{percent}%"),
            None => Ok(()),
        }
    }
}

fn effect(kind: FaultKind, argument: Option<&str>) -> Result<Effect, FaultError> {
    const NOTHING: &str = "no argument";
    const TIME: &str = "a time of at most an hour: a whole number of ms, s or m, such as 1500ms";
    const STATUS: &str = "an HTTP status from 400 to 599";
    let wrong = |expected| match argument {
        Some(found) => FaultError::Argument {
            kind: kind.name(),
            found: found.to_owned(),
            expected,
        },
        None => FaultError::Incomplete {
            kind: kind.name(),
            expected,
        },
    };
    let time = || {
        argument
            .and_then(duration::parse)
            .filter(|time| !time.is_zero() && *time <= LONGEST_TIME)
            .ok_or_else(|| wrong(TIME))
    };
    let bare = |effect| {
        if argument.is_none() {
            Ok(effect)
        } else {
            Err(wrong(NOTHING))
        }
    };
    match kind {
        FaultKind::Clock => argument
            .and_then(|text| duration::parse(text.strip_prefix('+')?))
            .filter(|by| *by <= FURTHEST)
            .map(Effect::Clock)
            .ok_or_else(|| wrong("a time of at most ten years with a plus, such as +14m")),
        FaultKind::Delay => time().map(Effect::Delay),
        FaultKind::Drop => match argument {
            None => Ok(Effect::Drop(Cut::Close(1001))),
            Some("abrupt") => Ok(Effect::Drop(Cut::Abrupt)),
            Some(code) => code
                .parse()
                .ok()
                .filter(|code| matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999))
                .map(|code| Effect::Drop(Cut::Close(code)))
                .ok_or_else(|| wrong("abrupt, or a close code that may be sent (RFC 6455, 7.4)")),
        },
        FaultKind::Duplicate => bare(Effect::Duplicate),
        FaultKind::Evict => match argument {
            None => Ok(Effect::Evict(None)),
            Some("reason") => Ok(Effect::Evict(Some(Reason::Reason))),
            Some("reasonCode") => Ok(Effect::Evict(Some(Reason::ReasonCode))),
            Some(_) => Err(wrong("reason or reasonCode")),
        },
        FaultKind::ExpiredJwt => bare(Effect::ExpiredJwt),
        FaultKind::Fragment => argument
            .and_then(|text| text.parse().ok())
            .filter(|parts| (2..=MOST_FRAGMENTS).contains(parts))
            .map(Effect::Fragment)
            .ok_or_else(|| wrong("a number of fragments from 2 to 100")),
        FaultKind::Hang if argument.is_none() => Ok(Effect::Hang(None)),
        FaultKind::Hang => time().map(|time| Effect::Hang(Some(time))),
        FaultKind::Refuse => {
            let (code, class) = match argument.and_then(|text| text.split_once(':')) {
                Some((code, class)) => (Some(code), ErrorClass::of_name(class)),
                None => (argument, Some(ErrorClass::String)),
            };
            code.and_then(|code| code.parse().ok())
                .filter(|code| (400..6_000).contains(code))
                .zip(class)
                .map(|(code, class)| Effect::Refuse(code, class))
                .ok_or_else(|| {
                    wrong("a code from 400 to 5999, and perhaps string, ErrorMessage or Error: 408:string")
                })
        }
        FaultKind::RefuseHandshake => status(argument.unwrap_or("403"))
            .map(Effect::RefuseHandshake)
            .ok_or_else(|| wrong(STATUS)),
        FaultKind::Reorder => bare(Effect::Reorder),
        FaultKind::Rest => {
            let (code, path) = match argument.and_then(|text| text.split_once(':')) {
                Some((code, path)) => (Some(code), Some(path)),
                None => (argument, None),
            };
            code.and_then(status)
                .filter(|_| path.is_none_or(|path| path.starts_with('/')))
                .map(|status| Effect::Rest(status, path.map(str::to_owned)))
                .ok_or_else(|| {
                    wrong("an HTTP status from 400 to 599, and perhaps the beginning of a path: 503:/oauth")
                })
        }
        FaultKind::SlowHandshake => time().map(Effect::SlowHandshake),
        FaultKind::Throttle if argument.is_none() => Ok(Effect::Throttle(Duration::from_secs(3))),
        FaultKind::Throttle => time().map(Effect::Throttle),
        FaultKind::UnknownClass => bare(Effect::UnknownClass),
        FaultKind::UnknownFields => bare(Effect::UnknownFields),
        FaultKind::UploadFailure => bare(Effect::UploadFailure),
    }
}

fn status(text: &str) -> Option<StatusCode> {
    let status = text.parse().ok()?;
    StatusCode::from_u16(status)
        .ok()
        .filter(|_| (400..600).contains(&status))
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
        .filter(|times| (1..=MOST_TIMES).contains(times))
        .ok_or_else(|| FaultError::Times {
            found: found.to_owned(),
        })
}
