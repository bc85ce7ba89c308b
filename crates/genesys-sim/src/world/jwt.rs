//! JWTs, among them the one-minute JWT with which a guest reads history. Genesys' claims are unknown; these are ours.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::world::denial::Denial;
use crate::world::id::SessionKey;

/// Genesys' lifetime of such a JWT, in seconds.
const LIFETIME: i64 = genesys_api::limits::HISTORY_JWT.as_secs() as i64;

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

#[derive(Deserialize, Serialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    pub(super) sub: String,
    pub(super) iat: i64,
    pub(super) exp: i64,
}

/// Issues a JWT for `session`, and returns it with its expiry in epoch seconds.
pub(crate) fn issue(key: &hmac::Key, session: SessionKey, utc: OffsetDateTime) -> (String, i64) {
    let iat = utc.unix_timestamp();
    let claims = Claims {
        iss: "genesys-sim".to_owned(),
        sub: session.0.to_string(),
        iat,
        exp: iat + LIFETIME,
    };
    (sign(key, &claims), claims.exp)
}

/// Returns the session for which `jwt` was issued.
pub(crate) fn verify(key: &hmac::Key, jwt: &str, utc: OffsetDateTime) -> Result<SessionKey, Denial> {
    let claims: Claims = open(key, jwt).ok_or(Denial::BadCredentials)?;
    let session = claims.sub.parse().map_err(|_| Denial::BadCredentials)?;
    if utc.unix_timestamp() >= claims.exp {
        return Err(Denial::CredentialsExpired);
    }
    Ok(SessionKey(session))
}

/// Signs any claims.
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
    use super::*;
    use crate::world::tests::now;

    #[test]
    fn jwt_expires_after_a_minute_and_detects_every_change() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"key");
        let utc = now().utc;
        let (jwt, exp) = issue(&key, SessionKey(7), utc);
        assert_eq!(exp, utc.unix_timestamp() + 60);
        let after = |seconds| utc + time::Duration::seconds(seconds);
        assert_eq!(verify(&key, &jwt, after(59)), Ok(SessionKey(7)));
        assert_eq!(verify(&key, &jwt, after(60)), Err(Denial::CredentialsExpired));

        let other = hmac::Key::new(hmac::HMAC_SHA256, b"other");
        assert_eq!(verify(&other, &jwt, utc), Err(Denial::BadCredentials));
        for position in 0..jwt.len() {
            let mut bytes = jwt.clone().into_bytes();
            bytes[position] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else {
                continue;
            };
            assert_eq!(
                verify(&key, &changed, utc),
                Err(Denial::BadCredentials),
                "{position}"
            );
        }
        for text in ["", ".", "..", "a.b.c", "é.é.é"] {
            assert_eq!(verify(&key, text, utc), Err(Denial::BadCredentials), "{text:?}");
        }
    }
}
