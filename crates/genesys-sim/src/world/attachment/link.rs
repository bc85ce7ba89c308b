//! Presigned links for uploads and downloads, like those of S3.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Uri;
use ring::hmac;
use time::OffsetDateTime;

use crate::query::parameter;
use crate::world::id::SessionKey;

/// Operation that a link permits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum LinkKind {
    Download,
    Upload,
}

impl LinkKind {
    fn path(self) -> &'static str {
        match self {
            Self::Download => "/download/",
            Self::Upload => "/upload/",
        }
    }
}

/// Returns the expiry of a link in epoch seconds.
pub(super) fn expiry(utc: OffsetDateTime, lifetime: Duration) -> i64 {
    let lifetime = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
    utc.unix_timestamp().saturating_add(lifetime)
}

/// Returns path and query of a link. Ids consist of characters that need no escape.
pub(super) fn sign(
    key: &hmac::Key,
    kind: LinkKind,
    (session, id): (SessionKey, &str),
    expires: i64,
) -> String {
    let (path, session) = (kind.path(), session.0);
    let tag = hmac::sign(key, signed_text(kind, session, id, expires).as_bytes());
    let tag = URL_SAFE_NO_PAD.encode(tag);
    format!("{path}{id}?session={session}&expires={expires}&signature={tag}")
}

/// Returns the session and the attachment of a link that is valid and has not expired.
pub(super) fn open<'a>(
    key: &hmac::Key,
    kind: LinkKind,
    uri: &'a Uri,
    utc: OffsetDateTime,
) -> Option<(SessionKey, &'a str)> {
    let id = uri.path().strip_prefix(kind.path())?;
    let query = uri.query()?;
    let session = parameter(query, "session")?.parse().ok()?;
    let expires = parameter(query, "expires")?.parse().ok()?;
    let tag = URL_SAFE_NO_PAD.decode(parameter(query, "signature")?).ok()?;
    hmac::verify(key, signed_text(kind, session, id, expires).as_bytes(), &tag).ok()?;
    (utc.unix_timestamp() < expires).then_some((SessionKey(session), id))
}

fn signed_text(kind: LinkKind, session: u64, id: &str, expires: i64) -> String {
    format!("{}{id} {session} {expires}", kind.path())
}
