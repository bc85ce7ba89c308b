//! Presigned links for uploads and downloads, like those of S3. The signature is a JWT for the path.

use std::time::Duration;

use http::Uri;
use ring::hmac;
use time::OffsetDateTime;

use crate::query::parameter;
use crate::world::id::SessionKey;
use crate::world::jwt::{self, Claims};

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

/// Returns path and query of a link. Ids consist of characters that need no escape.
pub(super) fn sign(
    key: &hmac::Key,
    kind: LinkKind,
    (session, id): (SessionKey, &str),
    lifetime: Duration,
    utc: OffsetDateTime,
) -> String {
    let path = format!("{}{id}", kind.path());
    let iat = utc.unix_timestamp();
    let lifetime = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
    let claims = Claims {
        iss: path.clone(),
        sub: session.0.to_string(),
        iat,
        exp: iat.saturating_add(lifetime),
    };
    format!("{path}?signature={}", jwt::sign(key, &claims))
}

/// Returns the session and the attachment of a link that is valid and has not expired.
pub(super) fn open<'a>(
    key: &hmac::Key,
    kind: LinkKind,
    uri: &'a Uri,
    utc: OffsetDateTime,
) -> Option<(SessionKey, &'a str)> {
    let id = uri.path().strip_prefix(kind.path())?;
    let claims: Claims = jwt::open(key, &parameter(uri.query()?, "signature")?)?;
    let valid = claims.iss == uri.path() && utc.unix_timestamp() < claims.exp;
    let session = SessionKey(claims.sub.parse().ok()?);
    valid.then_some((session, id))
}
