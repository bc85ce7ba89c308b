//! Entries of a log and their canonical bytes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use genesys_api::{parse_rfc3339, rfc3339};
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, UtcOffset};

use crate::value::is_key;
use crate::{Pseudonym, Value};

/// Maximum length of an entry in bytes. Our choice; the formats of C2SP allow 65,535.
pub(crate) const MAX_ENTRY: usize = 16 * 1024;

/// Version of the format.
const VERSION: u32 = 1;
/// Maximum nesting of lists and maps within a detail. Our choice.
const MAX_DEPTH: usize = 4;

/// An entry without a sequence number.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Draft {
    /// Time of the action, to the millisecond.
    pub at: OffsetDateTime,
    /// The actor.
    pub actor: Actor,
    /// Name of the action, as in `session.created`: 1 to 64 characters of `A-Z a-z 0-9 . _ : -`.
    pub action: Cow<'static, str>,
    /// The outcome.
    pub outcome: Outcome,
    /// Pseudonym of the person concerned.
    pub subject: Option<Pseudonym>,
    /// Further details. Entries are never changed, so put no personal data and no secrets here.
    pub detail: BTreeMap<String, Value>,
}

impl Draft {
    /// An entry of a successful `action` of `actor`.
    #[must_use]
    pub fn new(at: OffsetDateTime, actor: Actor, action: impl Into<Cow<'static, str>>) -> Self {
        Self {
            at,
            actor,
            action: action.into(),
            outcome: Outcome::Ok,
            subject: None,
            detail: BTreeMap::new(),
        }
    }

    /// Sets the outcome.
    #[must_use]
    pub fn outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// Sets the pseudonym of the person concerned.
    #[must_use]
    pub fn subject(mut self, subject: Pseudonym) -> Self {
        self.subject = Some(subject);
        self
    }

    /// Adds a detail. Its `key` has 1 to 64 characters of `A-Z a-z 0-9 . _ : -`.
    #[must_use]
    pub fn detail(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.detail.insert(key.into(), value.into());
        self
    }

    /// Adds several details.
    #[must_use]
    pub fn details<K: Into<String>, V: Into<Value>>(
        mut self,
        details: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let details = details.into_iter();
        self.detail
            .extend(details.map(|(key, value)| (key.into(), value.into())));
        self
    }

    /// The bytes of this draft as entry number `seq`, counted from 0, of the log named `log`: canonical JSON (RFC
    /// 8785), which is hashed, stored and exported unchanged.
    ///
    /// # Errors
    /// If the draft has no canonical form or is too long.
    #[expect(clippy::unwrap_in_result, reason = "an entry's keys are strings")]
    pub fn seal(&self, seq: u64, log: &str) -> Result<Vec<u8>, DraftError> {
        let utc = self.at.checked_to_offset(UtcOffset::UTC);
        let at = utc.filter(|at| at.year() >= 0).ok_or(DraftError::Year)?;
        if !is_key(&self.action) {
            return Err(DraftError::Action);
        }
        for (key, value) in &self.detail {
            if !is_key(key) || !value.is_canonical(MAX_DEPTH) {
                return Err(DraftError::Detail { key: key.clone() });
            }
        }
        let sealed = Sealed {
            action: Cow::Borrowed(&*self.action),
            actor: Cow::Borrowed(&self.actor),
            detail: Cow::Borrowed(&self.detail),
            log: Cow::Borrowed(log),
            outcome: self.outcome,
            seq,
            subject: self.subject,
            time: rfc3339(at),
            v: VERSION,
        };
        let mut bytes = Vec::with_capacity(512);
        serde_json::to_writer(&mut bytes, &sealed).expect("all keys are strings");
        match bytes.len() {
            ..=MAX_ENTRY => Ok(bytes),
            bytes => Err(DraftError::TooLong { bytes }),
        }
    }
}

/// An entry of a log.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Entry {
    /// Sequence number, from 0.
    pub seq: u64,
    /// Name of the log.
    pub log: String,
    /// Content.
    pub draft: Draft,
}

impl Entry {
    /// Parses the bytes of an entry. They must be exactly those that [`Draft::seal`] returns: a repeated name, white
    /// space and another order are errors.
    ///
    /// # Errors
    /// If they are not.
    pub fn parse(bytes: &[u8]) -> Result<Self, EntryError> {
        if bytes.len() > MAX_ENTRY {
            return Err(EntryError::TooLong { bytes: bytes.len() });
        }
        let sealed: Sealed<'_> = serde_json::from_slice(bytes).map_err(|error| EntryError::Malformed {
            column: error.column(),
        })?;
        if sealed.v != VERSION {
            return Err(EntryError::Version { found: sealed.v });
        }
        let draft = Draft {
            at: parse_rfc3339(&sealed.time).ok_or(EntryError::NotCanonical)?,
            actor: sealed.actor.into_owned(),
            action: Cow::Owned(sealed.action.into_owned()),
            outcome: sealed.outcome,
            subject: sealed.subject,
            detail: sealed.detail.into_owned(),
        };
        if draft.seal(sealed.seq, &sealed.log).as_deref() != Ok(bytes) {
            return Err(EntryError::NotCanonical);
        }
        Ok(Self {
            seq: sealed.seq,
            log: sealed.log.into_owned(),
            draft,
        })
    }
}

/// The actor of an entry.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Actor {
    /// Id; for a guest, a [`Pseudonym`].
    pub id: String,
    /// Kind.
    #[serde(rename = "type")]
    pub kind: ActorKind,
}

impl Actor {
    /// An API client, by its id.
    #[must_use]
    pub fn client(id: impl Into<String>) -> Self {
        let (id, kind) = (id.into(), ActorKind::Client);
        Self { id, kind }
    }

    /// A guest, by their pseudonym.
    #[must_use]
    pub fn guest(id: Pseudonym) -> Self {
        let (id, kind) = (id.to_string(), ActorKind::Guest);
        Self { id, kind }
    }

    /// A person who runs the service, by their account.
    #[must_use]
    pub fn operator(id: impl Into<String>) -> Self {
        let (id, kind) = (id.into(), ActorKind::Operator);
        Self { id, kind }
    }

    /// The service itself, by the component that acted.
    #[must_use]
    pub fn system(id: impl Into<String>) -> Self {
        let (id, kind) = (id.into(), ActorKind::System);
        Self { id, kind }
    }
}

/// The kinds of actors.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ActorKind {
    /// A program that calls the API.
    Client,
    /// A guest of a web messaging session.
    Guest,
    /// A person who runs the service.
    Operator,
    /// The service itself.
    System,
}

/// Outcomes of an action.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Outcome {
    /// It was refused.
    Denied,
    /// It failed.
    Error,
    /// It succeeded.
    Ok,
}

/// Errors of sealing a draft.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DraftError {
    /// The action has no valid name.
    #[error("invalid action: its name takes 1 to 64 characters of A-Z a-z 0-9 . _ : -")]
    Action,
    /// A detail has no canonical form.
    #[error(
        "invalid detail {key:?}: names take 1 to 64 characters of A-Z a-z 0-9 . _ : -, whole numbers stay within 2^53 - 1, and nesting within 4 levels"
    )]
    Detail {
        /// Name of the detail.
        key: String,
    },
    /// More than 16,384 bytes.
    #[error("invalid entry: {bytes} bytes, at most 16384 are allowed, leave details out")]
    TooLong {
        /// Length of the entry.
        bytes: usize,
    },
    /// A time outside the years 0 to 9999, the range of RFC 3339.
    #[error("invalid time: outside the years 0 to 9999, check the clock")]
    Year,
}

/// Errors of parsing an entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// Not JSON, or a field is missing, unknown, repeated, or of the wrong type.
    #[error("invalid entry: malformed at column {column}")]
    Malformed {
        /// The column in bytes, from 1.
        column: usize,
    },
    /// Valid content in a form that is not canonical.
    #[error("invalid entry: not in canonical form, another program wrote or changed it")]
    NotCanonical,
    /// More than 16,384 bytes.
    #[error("invalid entry: {bytes} bytes, at most 16384 are allowed")]
    TooLong {
        /// Length of the entry.
        bytes: usize,
    },
    /// An unknown version.
    #[error("invalid entry: version {found}, this program supports version 1, use a newer one")]
    Version {
        /// The version.
        found: u32,
    },
}

/// The JSON form. The fields are in the order of their names, as RFC 8785 section 3.2.3 requires.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Sealed<'a> {
    action: Cow<'a, str>,
    actor: Cow<'a, Actor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    detail: Cow<'a, BTreeMap<String, Value>>,
    log: Cow<'a, str>,
    outcome: Outcome,
    seq: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<Pseudonym>,
    time: String,
    v: u32,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn draft() -> Draft {
        Draft::new(
            parse_rfc3339("2026-11-22T13:30:00.5+01:00").unwrap(),
            Actor::client("spa"),
            "consent.changed",
        )
    }

    #[test]
    fn entry_bytes_are_canonical_json() {
        let draft = draft()
            .subject(Pseudonym::of(&[0; 32], "guest"))
            .detail("session", "s-1")
            .detail(
                "purposes",
                [("marketing", true), ("analytics", false)]
                    .into_iter()
                    .collect::<Value>(),
            )
            .detail("rules", Value::from_iter(["a", "\u{1}\"é"]))
            .detail("attempt", 3_u64);
        let bytes = draft.seal(7, "example.com/log").unwrap();
        assert_eq!(
            String::from_utf8(bytes.clone()).unwrap(),
            r#"{"action":"consent.changed","actor":{"id":"spa","type":"client"},"detail":{"attempt":3,"#
                .to_owned()
                + r#""purposes":{"analytics":false,"marketing":true},"rules":["a","\u0001\"é"],"session":"s-1"},"#
                + r#""log":"example.com/log","outcome":"ok","seq":7,"#
                + r#""subject":"9b3cf63ee6578b422d59e41fffbdcdd4f890e1159beb8e5d8b5f11eb9fbefe03","#
                + r#""time":"2026-11-22T12:30:00.500Z","v":1}"#
        );
        let entry = Entry::parse(&bytes).unwrap();
        assert_eq!((entry.seq, entry.log.as_str()), (7, "example.com/log"));
        assert_eq!(entry.draft, draft);
    }

    #[test]
    fn entry_parser_rejects_other_forms() {
        let bytes = draft().detail("a", 1_u64).seal(0, "log").unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let malformed = [
            text.replace(r#""seq":0"#, r#""seq":0,"seq":0"#),
            text.replace(r#""a":1"#, r#""a":1.0"#),
            text.replace(r#""a":1"#, r#""a":-0"#),
            text.replace(r#""a":1"#, r#""a":null"#),
            text.replace(r#""v":1"#, r#""v":1,"w":1"#),
            text[..text.len() - 1].to_owned(),
            String::new(),
        ];
        for text in malformed {
            assert!(
                matches!(Entry::parse(text.as_bytes()), Err(EntryError::Malformed { .. })),
                "{text}"
            );
        }
        let other_forms = [
            text.replace(r#""a":1"#, r#""a":1,"a":2"#),
            text.replace("consent.changed", "consent changed"),
            text.replace(',', ", "),
            text.replace("spa", "s\\u0070a"),
            text.replace(".500Z", ".5Z"),
            text.replace("12:30:00.500Z", "13:30:00.500+01:00"),
            text.replace("2026-11-22T12:30:00.500Z", "noon"),
            text.replace(r#""a":1"#, r#""a":9007199254740992"#),
            text.replace(r#"{"a":1}"#, "{}"),
            format!(r#"{{"v":1,{}}}"#, &text[1..text.len() - 7]),
        ];
        for text in other_forms {
            assert_eq!(
                Entry::parse(text.as_bytes()),
                Err(EntryError::NotCanonical),
                "{text}"
            );
        }
        assert_eq!(
            Entry::parse(text.replace(r#""v":1"#, r#""v":2"#).as_bytes()),
            Err(EntryError::Version { found: 2 })
        );
        assert!(Entry::parse(text.as_bytes()).is_ok());
    }

    #[test]
    fn seal_rejects_draft_without_canonical_form() {
        let deep = (0..5).fold(Value::from(1_u64), |value, _| Value::List(vec![value]));
        let detail = |key: &str, value: Value| draft().detail(key, value).seal(0, "log");
        for (key, value) in [
            ("", Value::from(true)),
            ("é", Value::from(true)),
            (&"k".repeat(65), Value::from(true)),
            ("large", Value::from(u64::MAX)),
            ("large", Value::from(1_i64 << 53)),
            ("deep", deep),
            ("key", [("a b", 1_u64)].into_iter().collect()),
        ] {
            assert_eq!(
                detail(key, value),
                Err(DraftError::Detail { key: key.to_owned() })
            );
        }
        assert!(matches!(
            detail("text", "x".repeat(MAX_ENTRY).into()),
            Err(DraftError::TooLong { .. })
        ));
        assert!(detail("text", "x".repeat(MAX_ENTRY - 300).into()).is_ok());
        assert!(detail("limit", ((1_i64 << 53) - 1).into()).is_ok());
        for action in ["", "a b", "é", &"a".repeat(65)] {
            let draft = Draft::new(draft().at, Actor::client("spa"), action.to_owned());
            assert_eq!(draft.seal(0, "log"), Err(DraftError::Action), "{action}");
        }
        let year_10000 = time::Date::MAX
            .with_hms(23, 59, 59)
            .unwrap()
            .assume_offset(UtcOffset::from_hms(-1, 0, 0).unwrap());
        let before_0 = OffsetDateTime::UNIX_EPOCH - time::Duration::days(365 * 3000);
        for at in [before_0, year_10000] {
            let draft = Draft::new(at, Actor::system("x"), "audit.opened");
            assert_eq!(draft.seal(0, "log"), Err(DraftError::Year), "{at}");
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            (-(1_i64 << 53) + 1..1 << 53).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
                proptest::collection::btree_map("[a-zA-Z0-9._:-]{1,8}", inner, 0..4).prop_map(Value::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn draft_reads_back_and_matches_other_canonicalizer(
            detail in proptest::collection::btree_map("[a-zA-Z0-9._:-]{1,8}", values(), 0..4),
            actor in any::<String>(),
            seq in 0..1_u64 << 53,
        ) {
            let mut draft = Draft { actor: Actor::operator(actor), ..draft() };
            draft.detail = detail;
            let bytes = draft.seal(seq, "log").unwrap();
            prop_assert_eq!(&Entry::parse(&bytes).unwrap().draft, &draft);
            // a map of serde_json is sorted by its names, and its texts are escaped as RFC 8785 asks
            let sorted: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(serde_json::to_vec(&sorted).unwrap(), bytes);
        }

        #[test]
        fn entry_parser_does_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Entry::parse(&bytes);
        }
    }
}
