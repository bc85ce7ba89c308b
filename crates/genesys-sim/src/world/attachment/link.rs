//! Links that carry their own permission, as those of S3 do.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Uri;
use ring::hmac;
use time::OffsetDateTime;

use crate::rest::parameter;
use crate::world::session::SessionKey;

/// What a link is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verb {
    Download,
    Upload,
}

impl Verb {
    fn path(self) -> &'static str {
        match self {
            Self::Download => "/download/",
            Self::Upload => "/upload/",
        }
    }
}

/// The end of a link's life in epoch seconds.
pub(super) fn until(utc: OffsetDateTime, lifetime: Duration) -> i64 {
    let lifetime = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
    utc.unix_timestamp().saturating_add(lifetime)
}

/// Path and query of a link. Ids are made of characters that need no escape.
pub(super) fn sign(key: &hmac::Key, verb: Verb, (session, id): (SessionKey, &str), until: i64) -> String {
    let (path, session) = (verb.path(), session.0);
    let tag = hmac::sign(key, words(verb, session, id, until).as_bytes());
    let tag = URL_SAFE_NO_PAD.encode(tag);
    format!("{path}{id}?session={session}&expires={until}&signature={tag}")
}

pub(super) fn open<'a>(
    key: &hmac::Key,
    verb: Verb,
    uri: &'a Uri,
    utc: OffsetDateTime,
) -> Option<(SessionKey, &'a str)> {
    let id = uri.path().strip_prefix(verb.path())?;
    let query = uri.query()?;
    let session = parameter(query, "session")?.parse().ok()?;
    let until = parameter(query, "expires")?.parse().ok()?;
    let tag = URL_SAFE_NO_PAD.decode(parameter(query, "signature")?).ok()?;
    hmac::verify(key, words(verb, session, id, until).as_bytes(), &tag).ok()?;
    (utc.unix_timestamp() < until).then_some((SessionKey(session), id))
}

fn words(verb: Verb, session: u64, id: &str, until: i64) -> String {
    format!("{}{id} {session} {until}", verb.path())
}
