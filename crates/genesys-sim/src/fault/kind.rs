//! Kinds of fault, as a table: where each can happen, the argument it takes, and its effect.

use std::time::Duration;

use genesys_api::MAX_DURATION;
use http::StatusCode;

use super::split;
use crate::duration;

const MAX_TIME: Duration = Duration::from_secs(3_600);
const NO_ARGUMENT: &str = "no argument";
const TIME: &str = "a time of at most an hour: a whole number of ms, s or m, such as 1500ms";
const STATUS: &str = "an HTTP status from 400 to 599";

/// Forms of an error frame: of Genesys' schema, of its documents, and of the frames that clients receive.
const ERROR_CLASSES: [&str; 3] = ["Error", "ErrorMessage", "string"];
const EVICT_NAMES: [Option<&str>; 3] = [None, Some("reason"), Some("reasonCode")];

/// The effect of a fault, with its argument.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Effect {
    Clock(Duration),
    Delay(Duration),
    /// The close code, if there is a close frame.
    Drop(Option<u16>),
    Duplicate,
    /// The name under which the reason is sent, if it is sent.
    Evict(Option<&'static str>),
    ExpiredJwt,
    Fragment(u16),
    Hang(Option<Duration>),
    /// A code, and one of [`ERROR_CLASSES`].
    Refuse(u16, &'static str),
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

/// The point at which a fault is injected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Site {
    FrameFromGuest,
    FrameToGuest,
    Handshake,
    Jwt,
    Rest,
    Upload,
}

/// Name, sites, default argument, description of a valid argument, and effect. The usual site is first.
type Kind = (
    &'static str,
    &'static [Site],
    Option<&'static str>,
    &'static str,
    fn(Option<&str>) -> Option<Effect>,
);

const IN: &[Site] = &[Site::FrameFromGuest];
const OUT: &[Site] = &[Site::FrameToGuest];
const BOTH: &[Site] = &[Site::FrameToGuest, Site::FrameFromGuest];
const HANDSHAKE: &[Site] = &[Site::Handshake];

#[rustfmt::skip]
pub(super) const KINDS: &[Kind] = &[
    ("clock", BOTH, None, "a time of at most ten years with a plus, such as +14m",
        |text| duration::parse(text?.strip_prefix('+')?).filter(|by| *by <= MAX_DURATION).map(Effect::Clock)),
    ("delay", OUT, None, TIME, |text| time(text?).map(Effect::Delay)),
    ("drop", BOTH, Some("1001"), "abrupt, or a close code that may be sent (RFC 6455, 7.4)",
        |text| close_code(text?).map(Effect::Drop)),
    ("duplicate", OUT, None, NO_ARGUMENT, |text| no_argument(text, Effect::Duplicate)),
    ("evict", BOTH, None, "reason or reasonCode",
        |text| EVICT_NAMES.into_iter().find(|known| *known == text).map(Effect::Evict)),
    ("expired-jwt", &[Site::Jwt], None, NO_ARGUMENT, |text| no_argument(text, Effect::ExpiredJwt)),
    ("fragment", OUT, None, "a number of fragments from 2 to 100",
        |text| text?.parse().ok().filter(|parts| (2..=100).contains(parts)).map(Effect::Fragment)),
    ("hang", BOTH, None, TIME,
        |text| text.map_or(Some(None), |text| time(text).map(Some)).map(Effect::Hang)),
    ("refuse", IN, None,
        "a code from 400 to 5999, and perhaps string, ErrorMessage or Error: 408:string",
        |text| refusal(text?)),
    ("refuse-handshake", HANDSHAKE, Some("403"), STATUS,
        |text| status(text?).map(Effect::RefuseHandshake)),
    ("reorder", OUT, None, NO_ARGUMENT, |text| no_argument(text, Effect::Reorder)),
    ("rest", &[Site::Rest], None,
        "an HTTP status from 400 to 599, and perhaps the beginning of a path: 503:/oauth",
        |text| rest(text?)),
    ("slow-handshake", HANDSHAKE, None, TIME, |text| time(text?).map(Effect::SlowHandshake)),
    ("throttle", IN, Some("3s"), TIME, |text| time(text?).map(Effect::Throttle)),
    ("unknown-class", OUT, None, NO_ARGUMENT, |text| no_argument(text, Effect::UnknownClass)),
    ("unknown-fields", OUT, None, NO_ARGUMENT, |text| no_argument(text, Effect::UnknownFields)),
    ("upload-failure", &[Site::Upload], None, NO_ARGUMENT,
        |text| no_argument(text, Effect::UploadFailure)),
];

fn no_argument(text: Option<&str>, effect: Effect) -> Option<Effect> {
    text.is_none().then_some(effect)
}

fn time(text: &str) -> Option<Duration> {
    duration::parse(text).filter(|time| !time.is_zero() && *time <= MAX_TIME)
}

fn status(text: &str) -> Option<StatusCode> {
    let status = text.parse().ok().filter(|status| (400..600).contains(status))?;
    StatusCode::from_u16(status).ok()
}

fn close_code(text: &str) -> Option<Option<u16>> {
    if text == "abrupt" {
        return Some(None);
    }
    let code = text.parse().ok()?;
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999).then_some(Some(code))
}

fn refusal(text: &str) -> Option<Effect> {
    let (code, class) = text.split_once(':').unwrap_or((text, "string"));
    let code = code.parse().ok().filter(|code| (400..6_000).contains(code))?;
    let class = ERROR_CLASSES.into_iter().find(|known| *known == class)?;
    Some(Effect::Refuse(code, class))
}

fn rest(text: &str) -> Option<Effect> {
    let (code, path) = split(text, ':');
    let status = status(code).filter(|_| path.is_none_or(|path| path.starts_with('/')))?;
    Some(Effect::Rest(status, path.map(str::to_owned)))
}
