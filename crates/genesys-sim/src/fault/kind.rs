//! Kinds of fault, as a table: where each can happen, the argument it takes, and its effect.

use std::fmt;
use std::time::Duration;

use http::StatusCode;

use crate::duration;

/// Longest time in an argument.
const MAX_TIME: Duration = Duration::from_secs(3_600);

/// Furthest that a fault can move the clock: ten years.
const MAX_JUMP: Duration = Duration::from_secs(10 * 365 * 86_400);

const NO_ARGUMENT: &str = "no argument";
const TIME: &str = "a time of at most an hour: a whole number of ms, s or m, such as 1500ms";
const STATUS: &str = "an HTTP status from 400 to 599";

/// Effect of a fault, with its argument.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Effect {
    Clock(Duration),
    Delay(Duration),
    Drop(Cut),
    Duplicate,
    /// The name under which the reason is sent, if it is sent.
    Evict(Option<&'static str>),
    ExpiredJwt,
    Fragment(u16),
    Hang(Option<Duration>),
    Refuse(u16, ErrorClass),
    RefuseHandshake(StatusCode),
    Reorder,
    /// The prefix of the paths that are refused, if not all are.
    Rest(StatusCode, Option<String>),
    SlowHandshake(Duration),
    Throttle(Duration),
    UnknownClass,
    UnknownFields,
    UploadFailure,
}

/// The end of a socket by a fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Cut {
    /// Without a close frame.
    Abrupt,
    /// With this close code.
    Close(u16),
}

/// Forms in which Genesys' clients, documents and schema have errors.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ErrorClass {
    /// Of the schema.
    Error,
    /// Of the documents.
    ErrorMessage,
    /// Of the frames that clients receive.
    String,
}

impl ErrorClass {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Error => "Error",
            Self::ErrorMessage => "ErrorMessage",
            Self::String => "string",
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        let mut all = [Self::Error, Self::ErrorMessage, Self::String].into_iter();
        all.find(|class| class.name() == name)
    }
}

/// Point at which a fault can happen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Site {
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

/// One kind of fault.
pub(super) struct Row {
    kind: FaultKind,
    name: &'static str,
    /// The usual site first. With [`Site::FrameFromGuest`], `@inN` is allowed.
    pub(super) sites: &'static [Site],
    /// Argument of a fault that is written without one.
    pub(super) default: Option<&'static str>,
    /// Description of a valid argument.
    pub(super) expected: &'static str,
    pub(super) effect: fn(Option<&str>) -> Option<Effect>,
}

const IN: &[Site] = &[Site::FrameFromGuest];
const OUT: &[Site] = &[Site::FrameToGuest];
const BOTH: &[Site] = &[Site::FrameToGuest, Site::FrameFromGuest];
const HANDSHAKE: &[Site] = &[Site::Handshake];

/// Every kind, in the order of [`FaultKind`].
#[rustfmt::skip]
const TABLE: [Row; 17] = {
    use Effect::*;
    use FaultKind as Kind;
    [
        row(Kind::Clock, "clock", BOTH, None, "a time of at most ten years with a plus, such as +14m",
            |text| duration::parse(text?.strip_prefix('+')?).filter(|by| *by <= MAX_JUMP).map(Clock)),
        row(Kind::Delay, "delay", OUT, None, TIME, |text| time(text?).map(Delay)),
        row(Kind::Drop, "drop", BOTH, Some("1001"), "abrupt, or a close code that may be sent (RFC 6455, 7.4)",
            |text| cut(text?).map(Drop)),
        row(Kind::Duplicate, "duplicate", OUT, None, NO_ARGUMENT, |text| bare(text, Duplicate)),
        row(Kind::Evict, "evict", BOTH, None, "reason or reasonCode", |text| match text {
            None => Some(Evict(None)),
            Some("reason") => Some(Evict(Some("reason"))),
            Some("reasonCode") => Some(Evict(Some("reasonCode"))),
            Some(_) => None,
        }),
        row(Kind::ExpiredJwt, "expired-jwt", &[Site::Jwt], None, NO_ARGUMENT, |text| bare(text, ExpiredJwt)),
        row(Kind::Fragment, "fragment", OUT, None, "a number of fragments from 2 to 100",
            |text| text?.parse().ok().filter(|parts| (2..=100).contains(parts)).map(Fragment)),
        row(Kind::Hang, "hang", BOTH, None, TIME, |text| match text {
            None => Some(Hang(None)),
            Some(text) => time(text).map(|time| Hang(Some(time))),
        }),
        row(Kind::Refuse, "refuse", IN, None,
            "a code from 400 to 5999, and perhaps string, ErrorMessage or Error: 408:string",
            |text| refusal(text?)),
        row(Kind::RefuseHandshake, "refuse-handshake", HANDSHAKE, Some("403"), STATUS,
            |text| status(text?).map(RefuseHandshake)),
        row(Kind::Reorder, "reorder", OUT, None, NO_ARGUMENT, |text| bare(text, Reorder)),
        row(Kind::Rest, "rest", &[Site::Rest], None,
            "an HTTP status from 400 to 599, and perhaps the beginning of a path: 503:/oauth",
            |text| rest(text?)),
        row(Kind::SlowHandshake, "slow-handshake", HANDSHAKE, None, TIME, |text| time(text?).map(SlowHandshake)),
        row(Kind::Throttle, "throttle", IN, Some("3s"), TIME, |text| time(text?).map(Throttle)),
        row(Kind::UnknownClass, "unknown-class", OUT, None, NO_ARGUMENT, |text| bare(text, UnknownClass)),
        row(Kind::UnknownFields, "unknown-fields", OUT, None, NO_ARGUMENT, |text| bare(text, UnknownFields)),
        row(Kind::UploadFailure, "upload-failure", &[Site::Upload], None, NO_ARGUMENT,
            |text| bare(text, UploadFailure)),
    ]
};

const fn row(
    kind: FaultKind,
    name: &'static str,
    sites: &'static [Site],
    default: Option<&'static str>,
    expected: &'static str,
    effect: fn(Option<&str>) -> Option<Effect>,
) -> Row {
    Row {
        kind,
        name,
        sites,
        default,
        expected,
        effect,
    }
}

impl FaultKind {
    /// Number of kinds.
    pub(crate) const COUNT: usize = TABLE.len();

    /// Every kind, by name.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.kind)
    }

    /// The name in the text of a fault.
    #[must_use]
    pub const fn name(self) -> &'static str {
        TABLE[self as usize].name
    }

    pub(super) fn row(self) -> &'static Row {
        const ROWS: &[Row] = &TABLE;
        &ROWS[self as usize]
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn bare(text: Option<&str>, effect: Effect) -> Option<Effect> {
    text.is_none().then_some(effect)
}

fn time(text: &str) -> Option<Duration> {
    duration::parse(text).filter(|time| !time.is_zero() && *time <= MAX_TIME)
}

fn status(text: &str) -> Option<StatusCode> {
    let status = text.parse().ok().filter(|status| (400..600).contains(status))?;
    StatusCode::from_u16(status).ok()
}

fn cut(text: &str) -> Option<Cut> {
    if text == "abrupt" {
        return Some(Cut::Abrupt);
    }
    let code = text.parse().ok()?;
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999).then_some(Cut::Close(code))
}

fn refusal(text: &str) -> Option<Effect> {
    let (code, class) = text.split_once(':').unwrap_or((text, "string"));
    let code = code.parse().ok().filter(|code| (400..6_000).contains(code))?;
    Some(Effect::Refuse(code, ErrorClass::of_name(class)?))
}

fn rest(text: &str) -> Option<Effect> {
    let (code, path) = match text.split_once(':') {
        Some((code, path)) => (code, Some(path)),
        None => (text, None),
    };
    let status = status(code).filter(|_| path.is_none_or(|path| path.starts_with('/')))?;
    Some(Effect::Rest(status, path.map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_has_the_order_of_the_kinds() {
        for (index, kind) in FaultKind::all().enumerate() {
            assert_eq!(kind as usize, index, "{kind}");
        }
    }
}
