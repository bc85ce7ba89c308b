//! The queries of the audit log, as the client writes them and the gateway reads them.

use std::fmt;

use genesys_api::{parse_rfc3339, rfc3339};
use time::OffsetDateTime;
use url::form_urlencoded;

/// A page of audit entries: of the trail of a session, newest first, or of the whole log, oldest first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AuditQuery {
    /// Largest number of entries, at most [`Self::MAX_LIMIT`]. A smaller or larger value counts as the nearest allowed
    /// one.
    pub limit: usize,
    /// A trail: the page begins after the entry with this sequence number, `next` of the page before.
    pub before: Option<u64>,
    /// The whole log: the page begins with the entry of this sequence number, `next` of the page before.
    pub from: Option<u64>,
    /// Entries before this time are left out.
    pub since: Option<OffsetDateTime>,
}

impl AuditQuery {
    /// Entries of a page without `limit`. Our choice.
    pub const DEFAULT_LIMIT: usize = 100;
    /// Largest number of entries of a page. Our choice.
    pub const MAX_LIMIT: usize = 1_000;

    /// Parses the query of a URL.
    ///
    /// Only the values are checked. [`Operation::query`](crate::Operation::query) lists the allowed names.
    ///
    /// # Errors
    /// If a value is not allowed.
    pub fn parse(query: &str) -> Result<Self, AuditQueryError> {
        let mut parsed = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "limit" => {
                    let limit = number(&value).and_then(|limit| usize::try_from(limit).ok());
                    let allowed = limit.filter(|limit| (1..=Self::MAX_LIMIT).contains(limit));
                    parsed.limit = allowed.ok_or_else(|| AuditQueryError::Limit(shown(&value)))?;
                }
                "before" => parsed.before = Some(parse_number("before", &value)?),
                "from" => parsed.from = Some(parse_number("from", &value)?),
                "since" => {
                    let since = parse_rfc3339(&value);
                    parsed.since = Some(since.ok_or_else(|| AuditQueryError::Since(shown(&value)))?);
                }
                _ => {}
            }
        }
        Ok(parsed)
    }

    /// The limit within its bounds.
    #[must_use]
    pub fn bounded_limit(&self) -> usize {
        self.limit.clamp(1, Self::MAX_LIMIT)
    }
}

impl Default for AuditQuery {
    fn default() -> Self {
        Self {
            limit: Self::DEFAULT_LIMIT,
            before: None,
            from: None,
            since: None,
        }
    }
}

/// The query of a URL, without `?`.
impl fmt::Display for AuditQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("limit", &self.bounded_limit().to_string());
        append_numbers(&mut query, [("before", self.before), ("from", self.from)]);
        if let Some(since) = self.since {
            query.append_pair("since", &rfc3339(since));
        }
        f.write_str(&query.finish())
    }
}

/// The query of a checkpoint, or of a proof.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ProofQuery {
    /// The entry of an inclusion proof.
    pub entry: Option<u64>,
    /// Number of entries of the older tree of a consistency proof.
    pub old: Option<u64>,
    /// Number of entries under the checkpoint. `None` is the newest one.
    pub size: Option<u64>,
}

impl ProofQuery {
    /// Parses the query of a URL, as [`AuditQuery::parse`] does.
    ///
    /// # Errors
    /// If a value is not allowed.
    pub fn parse(query: &str) -> Result<Self, AuditQueryError> {
        let mut parsed = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "entry" => parsed.entry = Some(parse_number("entry", &value)?),
                "old" => parsed.old = Some(parse_number("old", &value)?),
                "size" => parsed.size = Some(parse_number("size", &value)?),
                _ => {}
            }
        }
        Ok(parsed)
    }
}

/// The query of a URL, without `?`.
impl fmt::Display for ProofQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut query = form_urlencoded::Serializer::new(String::new());
        append_numbers(
            &mut query,
            [("entry", self.entry), ("old", self.old), ("size", self.size)],
        );
        f.write_str(&query.finish())
    }
}

/// An error of parsing a query, with the value. A longer value is cut.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AuditQueryError {
    /// `limit`.
    #[error("invalid limit {0:?}: send a whole number from 1 to {max}", max = AuditQuery::MAX_LIMIT)]
    Limit(String),
    /// A sequence number or a size.
    #[error("invalid {parameter} {value:?}: not a sequence number or a size, send decimal digits")]
    Number {
        /// Name of the parameter.
        parameter: &'static str,
        /// The value.
        value: String,
    },
    /// `since`.
    #[error("invalid since {0:?}: send a time of RFC 3339, such as 2026-11-22T12:30:00Z, and + as %2B")]
    Since(String),
}

impl AuditQueryError {
    /// Name of the parameter at fault.
    #[must_use]
    pub fn parameter(&self) -> &'static str {
        match self {
            Self::Limit(_) => "limit",
            Self::Number { parameter, .. } => parameter,
            Self::Since(_) => "since",
        }
    }
}

fn append_numbers<const N: usize>(
    query: &mut form_urlencoded::Serializer<'_, String>,
    numbers: [(&str, Option<u64>); N],
) {
    for (name, number) in numbers {
        if let Some(number) = number {
            query.append_pair(name, &number.to_string());
        }
    }
}

fn parse_number(parameter: &'static str, text: &str) -> Result<u64, AuditQueryError> {
    number(text).ok_or_else(|| AuditQueryError::Number {
        parameter,
        value: shown(text),
    })
}

/// Largest part of a value in an error, in characters. Our choice.
const MAX_SHOWN: usize = 64;

fn shown(value: &str) -> String {
    value.chars().take(MAX_SHOWN).collect()
}

/// Parses decimal digits, without a sign.
fn number(text: &str) -> Option<u64> {
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
    is_decimal.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    //! Queries of both ends, and invalid values.

    use super::*;
    use crate::Operation;

    #[test]
    fn query_survives_its_text() {
        let since = parse_rfc3339("2026-11-22T12:30:00.5Z").unwrap();
        for query in [
            AuditQuery::default(),
            AuditQuery {
                limit: 1_000,
                before: Some(0),
                from: Some(7),
                since: Some(since),
            },
        ] {
            let text = query.to_string();
            assert_eq!(AuditQuery::parse(&text), Ok(query), "{text}");
            let [trail, log] =
                [Operation::FetchAuditTrail, Operation::FetchAuditEntries].map(Operation::query);
            for (name, _) in form_urlencoded::parse(text.as_bytes()) {
                assert!(trail.contains(&&*name) || log.contains(&&*name), "{name}");
            }
        }
        let query = ProofQuery {
            entry: Some(0),
            old: Some(1),
            size: Some(u64::MAX),
        };
        assert_eq!(ProofQuery::parse(&query.to_string()), Ok(query));
        assert_eq!(ProofQuery::default().to_string(), "");
        let zone = AuditQuery::parse("since=2026-11-22T13:30:00.5%2B01:00").unwrap();
        assert_eq!(zone.since, Some(since));
        assert_eq!(AuditQuery::parse(""), Ok(AuditQuery::default()));
    }

    #[test]
    fn limit_is_sent_within_its_bounds() {
        for (limit, sent) in [(0, "limit=1"), (5, "limit=5"), (usize::MAX, "limit=1000")] {
            let query = AuditQuery {
                limit,
                ..AuditQuery::default()
            };
            assert_eq!(query.to_string(), sent);
        }
    }

    #[test]
    fn invalid_value_is_refused_with_its_parameter() {
        for query in [
            "limit=",
            "limit=0",
            "limit=1001",
            "limit=-1",
            "limit=%2B5",
            "limit=ten",
            "limit=18446744073709551616",
            "before=",
            "before=-1",
            "before=18446744073709551616",
            "from=",
            "since=",
            "since=yesterday",
            "since=2026-11-22",
            "since=2026-11-22T12:30:00+01:00",
        ] {
            let error = AuditQuery::parse(query).unwrap_err();
            let (_, value) = form_urlencoded::parse(query.as_bytes()).next().unwrap();
            assert_eq!(Some(error.parameter()), query.split('=').next(), "{query}");
            let named = format!("invalid {} {value:?}: ", error.parameter());
            assert!(error.to_string().starts_with(&named), "{error}");
        }
    }
}
