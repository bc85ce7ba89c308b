//! Access tokens of pages of another site: self-contained, with a MAC, for one session and one origin.

use std::time::Duration;

use genesys_api::{Now, Origin, SessionId};
use guest_sessions::ErrorCode;
use ring::hmac;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::credential::bad_credentials;
use crate::api::{Refusal, open_claims, sign_claims};

/// Lifetime of an access token. Our choice.
pub(super) const LIFETIME: Duration = Duration::from_secs(900);

/// The key of the access tokens of pages. It stays the same over a restart.
#[derive(Debug)]
pub(super) struct AccessTokens(hmac::Key);

#[derive(Deserialize, Serialize)]
struct Claims {
    session: String,
    origin: String,
    expires: i64,
}

impl AccessTokens {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    pub(super) fn issue(&self, session: &SessionId, origin: &Origin, now: Now) -> SecretString {
        let claims = Claims {
            session: session.to_string(),
            origin: origin.to_string(),
            expires: (now.utc + LIFETIME).unix_timestamp(),
        };
        sign_claims(&self.0, &claims)
    }

    /// Whether a token was issued here, valid or expired.
    pub(super) fn issued(&self, token: &str) -> bool {
        open_claims::<Claims>(&self.0, token).is_some()
    }

    /// Verifies a token that a page at `origin` presents. A page of the gateway's own origin sends none with a read. Returns the
    /// session.
    pub(super) fn verify(
        &self,
        token: &str,
        origin: Option<&Origin>,
        now: Now,
    ) -> Result<SessionId, Refusal> {
        let claims: Claims = open_claims(&self.0, token).ok_or_else(bad_credentials)?;
        if origin.is_some_and(|origin| claims.origin != origin.to_string()) {
            return Err(bad_credentials());
        }
        if claims.expires <= now.utc.unix_timestamp() {
            let message = "invalid access token: it has expired, exchange the resume handle for a new one";
            return Err(Refusal::new(ErrorCode::CredentialsExpired, message));
        }
        claims.session.parse().map_err(|_| bad_credentials())
    }
}

#[cfg(test)]
mod tests {
    //! The binding to origin, time and key.

    use genesys_api::Clock;
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn access_token_is_valid_for_its_origin_and_time_under_its_key() {
        let clock = Clock::system();
        let origin = |text: &str| -> Origin { text.parse().unwrap() };
        let (page, other) = (origin("https://shop.example"), origin("https://evil.example"));
        let (tokens, session) = (AccessTokens::new(&[1; 32]), "s-1".parse().unwrap());
        let token = tokens.issue(&session, &page, clock.now());
        let verify = |tokens: &AccessTokens, origin: Option<&Origin>| {
            let verified = tokens.verify(token.expose_secret(), origin, clock.now());
            verified.map_err(|refusal| refusal.code().to_owned())
        };
        let refused = |code: &str| Err(code.to_owned());
        assert_eq!(verify(&tokens, Some(&page)), Ok(session.clone()));
        assert_eq!(verify(&tokens, None), Ok(session));
        assert_eq!(verify(&tokens, Some(&other)), refused("bad.credentials"));
        let other_key = AccessTokens::new(&[2; 32]);
        assert_eq!(verify(&other_key, Some(&page)), refused("bad.credentials"));
        clock.advance(LIFETIME);
        assert_eq!(verify(&tokens, Some(&page)), refused("credentials.expired"));
    }
}
