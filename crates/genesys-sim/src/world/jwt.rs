//! The one-minute JWT with which a guest reads history. Its claims at Genesys are unknown; these are ours.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::world::session::SessionKey;

/// Genesys' lifetime of such a JWT, in seconds.
const LIFETIME: i64 = genesys_api::limits::HISTORY_JWT.as_secs() as i64;

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// Genesys' claims are unknown; these are ours.
#[derive(Deserialize, Serialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    pub(super) sub: String,
    pub(super) iat: i64,
    pub(super) exp: i64,
}

/// Why a JWT opens nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum JwtError {
    Expired,
    Invalid,
}

/// A JWT for `session`, and its end in epoch seconds.
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

/// The session that `jwt` was issued for.
pub(crate) fn verify(key: &hmac::Key, jwt: &str, utc: OffsetDateTime) -> Result<SessionKey, JwtError> {
    let claims: Claims = open(key, jwt).ok_or(JwtError::Invalid)?;
    let session = claims.sub.parse().map_err(|_| JwtError::Invalid)?;
    if utc.unix_timestamp() >= claims.exp {
        return Err(JwtError::Expired);
    }
    Ok(SessionKey(session))
}

/// Any claims, signed.
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

/// The claims of a JWT that `key` signed. Whether it has expired is for the caller to see.
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
    fn a_jwt_lives_one_minute_and_survives_no_change() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"key");
        let utc = now().utc;
        let (jwt, exp) = issue(&key, SessionKey(7), utc);
        assert_eq!(exp, utc.unix_timestamp() + 60);
        let after = |seconds| utc + time::Duration::seconds(seconds);
        assert_eq!(verify(&key, &jwt, after(59)), Ok(SessionKey(7)));
        assert_eq!(verify(&key, &jwt, after(60)), Err(JwtError::Expired));

        let other = hmac::Key::new(hmac::HMAC_SHA256, b"other");
        assert_eq!(verify(&other, &jwt, utc), Err(JwtError::Invalid));
        for position in 0..jwt.len() {
            let mut bytes = jwt.clone().into_bytes();
            bytes[position] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else {
                continue;
            };
            assert_eq!(verify(&key, &changed, utc), Err(JwtError::Invalid), "{position}");
        }
        for text in ["", ".", "..", "a.b.c", "é.é.é"] {
            assert_eq!(verify(&key, text, utc), Err(JwtError::Invalid), "{text:?}");
        }
    }
}
