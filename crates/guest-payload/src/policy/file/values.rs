//! Values of a policy file, each checked as it is read.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};
use time::Date;
use toml::Spanned;
use toml::value::Datetime;

use super::{ELSEWHERE, UNKNOWN};
use crate::Category;
use crate::policy::rule::Scope;

pub(in crate::policy) fn policy_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let is_allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let is_id = |id: &String| (1..=64).contains(&id.len()) && id.bytes().all(is_allowed);
    checked(deserializer, is_id, "policy id", "use 1 to 64 of a-z 0-9 and -")
}

pub(in crate::policy) fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let is_number = |part: &str| (1..=6).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_digit());
    let is_version = |text: &String| text.split('.').count() == 3 && text.split('.').all(is_number);
    checked(
        deserializer,
        is_version,
        "version",
        "use three numbers, as in 1.0.0",
    )
}

pub(in crate::policy) fn area<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let is_allowed = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
    let is_area = |area: &String| (1..=32).contains(&area.len()) && area.bytes().all(is_allowed);
    checked(deserializer, is_area, "area", "use 1 to 32 of A-Z a-z 0-9 and -")
}

pub(in crate::policy) fn line<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    checked(deserializer, |text: &String| is_line(text), "text", LINE)
}

pub(in crate::policy) fn lines<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let is_valid = |lines: &Vec<String>| lines.iter().all(|text| is_line(text));
    checked(deserializer, is_valid, "texts", LINE)
}

fn is_line(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= 2_000 && !text.chars().any(char::is_control)
}

pub(in crate::policy) fn years<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    let is_valid = |years: &u8| *years <= 25;
    checked(
        deserializer,
        is_valid,
        "age limit",
        "at most 25 years are allowed",
    )
}

/// Reads a value, and checks it. `what` names it in an error.
fn checked<'de, D: Deserializer<'de>, T: Deserialize<'de> + Debug>(
    deserializer: D,
    is_valid: impl FnOnce(&T) -> bool,
    what: &str,
    remedy: &str,
) -> Result<T, D::Error> {
    let value = T::deserialize(deserializer)?;
    if is_valid(&value) {
        return Ok(value);
    }
    let shown: String = format!("{value:?}").chars().take(64).collect();
    Err(D::Error::custom(format_args!("invalid {what} {shown}: {remedy}")))
}

pub(in crate::policy) fn non_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let list = Vec::deserialize(deserializer)?;
    if list.is_empty() {
        return Err(D::Error::custom("invalid list: it is empty, name at least one"));
    }
    Ok(list)
}

pub(in crate::policy) fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(
    deserializer: D,
) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(D::Error::custom)
}

pub(in crate::policy) fn scope<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Scope, D::Error> {
    let places: Vec<String> = non_empty(deserializer)?;
    for (name, scope) in [(ELSEWHERE, Scope::Elsewhere), (UNKNOWN, Scope::Unknown)] {
        match places.iter().any(|place| place == name) {
            true if places.len() == 1 => return Ok(scope),
            true => {
                let reason =
                    format_args!("invalid places: {name:?} must be the only one, add a rule for the others");
                return Err(D::Error::custom(reason));
            }
            false => {}
        }
    }
    let places: Result<_, _> = places.iter().map(|place| place.parse()).collect();
    places.map(Scope::Places).map_err(D::Error::custom)
}

pub(in crate::policy) fn day<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Date, D::Error> {
    let given = Datetime::deserialize(deserializer)?;
    let day = match given {
        Datetime {
            date: Some(day),
            time: None,
            offset: None,
        } => day
            .month
            .try_into()
            .ok()
            .and_then(|month| Date::from_calendar_date(i32::from(day.year), month, day.day).ok()),
        _ => None,
    };
    day.ok_or_else(|| {
        D::Error::custom(format_args!(
            "invalid date {given}: write a date without time, as in 2026-11-22"
        ))
    })
}

/// Writes a date as in 2026-11-22.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde demands"
)]
pub(in crate::policy) fn write_day<S: Serializer>(day: &Date, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(day)
}

pub(in crate::policy) fn last_day<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Spanned<Date>>, D::Error> {
    #[derive(Deserialize)]
    struct Day(#[serde(deserialize_with = "day")] Date);
    let day = Spanned::<Day>::deserialize(deserializer)?;
    Ok(Some(Spanned::new(day.span(), day.into_inner().0)))
}

pub(in crate::policy) fn optional_line<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    line(deserializer).map(Some)
}

/// An address of a page, of at most 500 characters.
pub(in crate::policy) fn address<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    let is_address = |text: &String| {
        let after = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"));
        after.is_some_and(|rest| !rest.is_empty())
            && text.len() <= 500
            && text.bytes().all(|c| c.is_ascii_graphic())
    };
    let remedy = "use an address with https:// or http:// and at most 500 visible ASCII characters";
    checked(deserializer, is_address, "url", remedy).map(Some)
}

pub(in crate::policy) fn optional_years<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u8>, D::Error> {
    years(deserializer).map(Some)
}

/// The declaration of an attribute: a category of sensitive data, or `ordinary`.
pub(in crate::policy) struct Declared(pub(in crate::policy) Option<Category>);

impl<'de> Deserialize<'de> for Declared {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let named = Category::ALL
            .into_iter()
            .find(|category| category.as_str() == text);
        match (named, &*text) {
            (Some(category), _) => Ok(Self(Some(category))),
            (None, "ordinary") => Ok(Self(None)),
            (None, _) => {
                let names: Vec<&str> = Category::ALL.iter().map(|category| category.as_str()).collect();
                let shown: String = text.chars().take(64).collect();
                Err(D::Error::custom(format_args!(
                    "invalid attribute {shown:?}: declare it as ordinary, {}",
                    names.join(", ")
                )))
            }
        }
    }
}

/// The remedy for a text that is too long or has line breaks.
const LINE: &str = "use 1 to 2000 characters without line breaks";
