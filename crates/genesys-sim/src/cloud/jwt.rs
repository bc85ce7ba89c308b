//! JWTs. Genesys' claims are unknown; these are ours.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use genesys_api::Now;
use ring::hmac;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

#[derive(Deserialize, Serialize)]
struct Claims {
    iss: String,
    sub: String,
    iat: i64,
    exp: i64,
}

/// Issues a JWT of one issuer, which keeps those of different purposes apart.
pub(crate) fn issue(key: &hmac::Key, iss: String, sub: u64, now: Now, expires: OffsetDateTime) -> String {
    let claims = Claims {
        iss,
        sub: sub.to_string(),
        iat: now.utc.unix_timestamp(),
        exp: expires.unix_timestamp(),
    };
    sign(key, &claims)
}

/// Returns the subject of a JWT of this issuer, and whether the JWT has expired.
pub(crate) fn verify(key: &hmac::Key, iss: &str, jwt: &str, now: Now) -> Option<(u64, bool)> {
    let claims: Claims = open(key, jwt).filter(|claims: &Claims| claims.iss == iss)?;
    let subject = claims.sub.parse().ok()?;
    Some((subject, now.utc.unix_timestamp() >= claims.exp))
}

pub(crate) fn sign(key: &hmac::Key, claims: &impl Serialize) -> String {
    let payload = serde_json::to_vec(claims).expect("claims are texts and numbers");
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(HEADER),
        URL_SAFE_NO_PAD.encode(payload)
    );
    let tag = URL_SAFE_NO_PAD.encode(hmac::sign(key, signed.as_bytes()));
    format!("{signed}.{tag}")
}

/// Returns the claims of a JWT that `key` signed, without a check of its expiry.
pub(crate) fn open<T: DeserializeOwned>(key: &hmac::Key, jwt: &str) -> Option<T> {
    let (signed, tag) = jwt.rsplit_once('.')?;
    let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
    hmac::verify(key, signed.as_bytes(), &tag).ok()?;
    let (_, payload) = signed.split_once('.')?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cloud::tests::{at, now};

    #[test]
    fn jwt_expires_at_its_time_and_detects_every_change() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"key");
        let jwt = issue(
            &key,
            "a".to_owned(),
            7,
            now(),
            now().utc + Duration::from_secs(60),
        );
        let after = |seconds| at(now(), Duration::from_secs(seconds));
        assert_eq!(verify(&key, "a", &jwt, after(59)), Some((7, false)));
        assert_eq!(verify(&key, "a", &jwt, after(60)), Some((7, true)));

        assert_eq!(verify(&key, "b", &jwt, now()), None);
        let other = hmac::Key::new(hmac::HMAC_SHA256, b"other");
        assert_eq!(verify(&other, "a", &jwt, now()), None);
        for position in 0..jwt.len() {
            let mut bytes = jwt.clone().into_bytes();
            bytes[position] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else {
                continue;
            };
            assert_eq!(verify(&key, "a", &changed, now()), None, "{position}");
        }
        for text in ["", ".", "..", "a.b.c", "é.é.é"] {
            assert_eq!(verify(&key, "a", text, now()), None, "{text:?}");
        }
    }
}
