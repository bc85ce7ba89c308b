//! Assertions: the identity of a guest, which the app's backend signs (a compact JWS, RFC 7515).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use genesys_api::{GuestId, Now};
use guest_sessions::ErrorCode;
use guest_suite::Error;
use guest_suite::store::{SharedToken, Store, StoreErrorKind};
use ring::digest::{SHA256, digest};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::AssertionKey;
use crate::api::Refusal;

/// Longest lifetime of an assertion. Our choice.
const MAX_LIFETIME: i64 = 300;
/// Tolerance for the clock of the backend, in seconds. Our choice.
const SKEW: i64 = 30;
/// Longest `jti`, in bytes. Our choice.
const MAX_JTI: usize = 128;
/// Characters of the hash of an assertion that name its row of the store, of which there are 4,096. Our choice.
const ROW: usize = 2;
/// Largest number of used assertions of a row that have not expired. Our choice.
const MAX_USED: usize = 64;

/// The verifier of assertions.
#[derive(Debug)]
pub(super) struct Assertions {
    keys: Vec<AssertionKey>,
    /// The public URL of the gateway.
    audience: String,
}

/// Used assertions: the end of the longest time for which each can be valid, and the hash of its id under its key.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Used(Vec<(i64, String)>);

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    aud: Audience,
    exp: f64,
    nbf: Option<f64>,
    jti: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Assertions {
    pub(super) fn new(keys: Vec<AssertionKey>, audience: String) -> Self {
        Self { keys, audience }
    }

    /// Verifies an unused assertion. Returns the id of its guest, and the row that records its use. Once that row is
    /// stored, the assertion is refused, also after a restart.
    pub(super) async fn accept(
        &self,
        assertion: &SecretString,
        now: Now,
        store: &dyn Store,
    ) -> Result<(GuestId, SharedToken), Refusal> {
        let refused = |reason: &str| {
            let message = format!("invalid assertion: {reason}");
            Refusal::new(ErrorCode::AssertionInvalid, message)
        };
        let at = now.utc.unix_timestamp();
        let (guest, hash) = self.verify(assertion.expose_secret(), at).map_err(refused)?;
        let name = format!("used assertions {}", &hash[..ROW]);
        let stored = store.shared_token(&name).await.map_err(Error::from)?;
        let (version, mut used) = match stored {
            Some(stored) => (stored.version, Used::parse(stored.content)?),
            None => (0, Used::default()),
        };
        match used.insert(&hash, at) {
            Some(true) => Ok((guest, used.into_row(name, version))),
            Some(false) => Err(refused("used before, sign a new one for each session")),
            None => Err(Refusal::unavailable(
                "cannot accept the assertion: too many were used in the last minutes, try again later",
            )),
        }
    }

    /// Returns the guest, and the hash of the assertion's id under its key.
    fn verify(&self, assertion: &str, now: i64) -> Result<(GuestId, String), &'static str> {
        const MALFORMED: &str =
            "not a compact JWS, send header, claims and signature in base64url, divided by dots";
        let mut parts = assertion.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(MALFORMED);
        };
        let signed = &assertion[..header.len() + 1 + claims.len()];
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| MALFORMED);
        let (header, claims, signature) = (decode(header)?, decode(claims)?, decode(signature)?);
        let header: Header = serde_json::from_slice(&header).map_err(|_| MALFORMED)?;
        if header.crit.is_some() {
            return Err("its header has `crit`, which no extension of this gateway supports, omit it");
        }
        let key = self.key(header.kid.as_deref())?;
        if key.algorithm() != header.alg {
            return Err("its `alg` is not the one of its key, use EdDSA or HS256 as the key is configured");
        }
        if !key.verify(signed.as_bytes(), &signature) {
            return Err("its signature is not valid, sign it with the key of its `kid`");
        }
        let claims: Claims = serde_json::from_slice(&claims)
            .map_err(|_| "its claims are not valid, send `sub`, `aud`, `exp` and `jti`")?;
        let guest = self.check(&claims, now)?;
        let id = format!("{}\0{}", key.id, claims.jti);
        Ok((guest, URL_SAFE_NO_PAD.encode(digest(&SHA256, id.as_bytes()))))
    }

    fn key(&self, id: Option<&str>) -> Result<&AssertionKey, &'static str> {
        match (id, self.keys.as_slice()) {
            (None, [only]) => Ok(only),
            (None, _) => Err("its header has no `kid`, send the id of a key of `[[spa.assertion_key]]`"),
            (Some(id), keys) => keys
                .iter()
                .find(|key| key.id == id)
                .ok_or("its `kid` is not the id of a key of `[[spa.assertion_key]]`"),
        }
    }

    fn check(&self, claims: &Claims, now: i64) -> Result<GuestId, &'static str> {
        let audiences = match &claims.aud {
            Audience::One(audience) => std::slice::from_ref(audience),
            Audience::Several(audiences) => audiences,
        };
        let is_own = |audience: &String| audience.trim_end_matches('/') == self.audience;
        if !audiences.iter().any(is_own) {
            return Err("its `aud` is not the public URL of this gateway");
        }
        // a number of JSON may have a fraction (RFC 7519 section 2)
        let remaining = claims.exp - now as f64;
        if remaining <= 0.0 {
            return Err("expired, sign a new one");
        }
        if remaining > (MAX_LIFETIME + SKEW) as f64 {
            return Err("its `exp` is more than 5 minutes ahead, sign it for a shorter time");
        }
        if claims.nbf.is_some_and(|nbf| nbf > (now + SKEW) as f64) {
            return Err("its `nbf` is in the future, check the clock of the backend");
        }
        if claims.jti.is_empty() || claims.jti.len() > MAX_JTI {
            return Err("its `jti` has not 1 to 128 bytes, send a random id");
        }
        claims.sub.parse().map_err(
            |_| "its `sub` is not an id of a guest, send 1 to 128 letters, digits, '.', '_', ':' or '-'",
        )
    }
}

impl Used {
    fn parse(content: Option<SecretString>) -> Result<Self, Error> {
        let used = content.map(|content| serde_json::from_str(content.expose_secret()));
        let used = used.transpose().map_err(|_| StoreErrorKind::Corrupt)?;
        Ok(used.unwrap_or_default())
    }

    fn into_row(self, name: String, version: u64) -> SharedToken {
        let content = serde_json::to_string(&self).expect("times and hashes are plain JSON");
        SharedToken {
            name,
            version,
            content: Some(content.into()),
            leased_until: None,
        }
    }

    /// Whether the hash is new. `None` if there are too many.
    fn insert(&mut self, hash: &str, now: i64) -> Option<bool> {
        self.0.retain(|(until, _)| *until > now);
        if self.0.iter().any(|(_, used)| used == hash) {
            return Some(false);
        }
        (self.0.len() < MAX_USED).then(|| {
            self.0.push((now + MAX_LIFETIME + SKEW, hash.to_owned()));
            true
        })
    }
}

#[cfg(test)]
mod tests {
    //! Both algorithms, and the bound of used assertions.

    use genesys_api::Clock;
    use ring::signature::{Ed25519KeyPair, KeyPair as _};
    use serde_json::{Value, json};

    use super::*;

    const SECRET: &str = "a secret of assertions, 32 bytes";

    fn part(value: &Value) -> String {
        URL_SAFE_NO_PAD.encode(value.to_string())
    }

    fn claims(now: Now) -> Value {
        let expiry = now.utc.unix_timestamp() + 300;
        json!({ "sub": "g-1", "aud": ["other", "https://chat.example/"], "exp": expiry, "jti": "j" })
    }

    #[test]
    fn assertion_of_each_algorithm_is_valid_under_its_own_key() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let public = URL_SAFE_NO_PAD.encode(pair.public_key());
        let keys = vec![
            AssertionKey::public("ed".to_owned(), &public).unwrap(),
            AssertionKey::secret("hs".to_owned(), &SECRET.into()).unwrap(),
        ];
        let assertions = Assertions::new(keys, "https://chat.example".to_owned());
        let now = Clock::system().now();
        let at = now.utc.unix_timestamp();
        let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
        let sign = |header: Value| {
            let signed = format!("{}.{}", part(&header), part(&claims(now)));
            let signature = match header["kid"] == "ed" {
                true => pair.sign(signed.as_bytes()).as_ref().to_vec(),
                false => ring::hmac::sign(&secret, signed.as_bytes()).as_ref().to_vec(),
            };
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
        };
        for header in [
            json!({ "alg": "EdDSA", "kid": "ed", "typ": "JWT" }),
            json!({ "alg": "HS256", "kid": "hs" }),
        ] {
            let (guest, _) = assertions.verify(&sign(header), at).unwrap();
            assert_eq!(guest.as_str(), "g-1");
        }
        for header in [
            json!({ "alg": "HS256", "kid": "ed" }),
            json!({ "alg": "EdDSA", "kid": "hs" }),
            json!({ "alg": "EdDSA" }),
        ] {
            assert!(assertions.verify(&sign(header), at).is_err());
        }
    }

    #[test]
    fn number_of_used_assertions_is_bounded_until_they_expire() {
        let mut used = Used::default();
        let hash = |number: usize| number.to_string();
        for number in 0..MAX_USED {
            assert_eq!(used.insert(&hash(number), 0), Some(true));
        }
        assert_eq!(used.insert(&hash(0), 0), Some(false));
        assert_eq!(used.insert(&hash(MAX_USED), 0), None);
        let later = MAX_LIFETIME + SKEW;
        assert_eq!(used.insert(&hash(0), later - 1), Some(false));
        assert_eq!(used.insert(&hash(0), later), Some(true));
        assert_eq!(used.0.len(), 1);
    }
}
