//! The contract `guest-sessions`: how a session's tokens are refreshed over REST.
//!
//! Ours, after the founding tutorial. Genesys Cloud offers no such endpoint; the gateway does.

use bytes::Bytes;
use genesys_api::{Call, Host, Now, ReplyError, SessionId, json, parse_rfc3339};
use http::{Method, Request, Response};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{Tokens, TokensError};

/// Exchanges a refresh token for new tokens: `POST /api/v2/webmessaging/guest-sessions/{id}/refresh`.
///
/// Not idempotent: the refresh token can be used once.
#[derive(Clone, Debug)]
pub struct Refresh<'a> {
    /// The session.
    pub session: &'a SessionId,
    /// The refresh token that was issued last.
    pub refresh_token: &'a SecretString,
}

impl Call for Refresh<'_> {
    type Reply = Refreshed;
    const IDEMPOTENT: bool = false;

    fn request(&self, host: &Host) -> Request<Bytes> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Body<'a> {
            refresh_token: &'a str,
        }
        json::with_body(
            Method::POST,
            host,
            // an id holds nothing that would need encoding
            &format!(
                "/api/v2/webmessaging/guest-sessions/{}/refresh",
                self.session.as_str()
            ),
            &Body {
                refresh_token: self.refresh_token.expose_secret(),
            },
        )
    }

    fn reply(&self, response: Response<Bytes>) -> Result<Refreshed, ReplyError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Body {
            id: SessionId,
            access_token: String,
            refresh_token: String,
            expires_at: String,
        }
        let status = response.status().as_u16();
        let body: Body = json::reply(response, "the new tokens of a guest session")?;
        let malformed = |expected| ReplyError::Malformed { status, expected };
        if body.id != *self.session {
            return Err(malformed("the new tokens of the session that was asked for"));
        }
        let expires_at = parse_rfc3339(&body.expires_at)
            .ok_or_else(|| malformed("new tokens whose expiresAt is RFC 3339 with an offset"))?;
        Ok(Refreshed {
            access: body.access_token.into(),
            refresh: body.refresh_token.into(),
            expires_at,
        })
    }
}

/// The answer to a [`Refresh`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Refreshed {
    /// The new access token.
    pub access: SecretString,
    /// The new refresh token; the one that was presented is void.
    pub refresh: SecretString,
    /// When the access token ends, by the clock of the service.
    pub expires_at: OffsetDateTime,
}

impl Refreshed {
    /// The tokens, with a lifetime that counts from `sent`: the clocks when the request was sent.
    ///
    /// The end is a wall time, so it is as right as the two wall clocks agree.
    ///
    /// # Errors
    /// If the tokens are none, or ended before they were asked for.
    pub fn into_tokens(self, sent: &Now) -> Result<Tokens, TokensError> {
        Tokens::new(self.access, Some(self.refresh), sent.until(self.expires_at))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tokens::tests::epoch;

    fn session() -> SessionId {
        "s-1".parse().unwrap()
    }

    fn answer(body: &str) -> Result<Refreshed, ReplyError> {
        let call = Refresh {
            session: &session(),
            refresh_token: &"r-0".into(),
        };
        call.reply(Response::new(Bytes::copy_from_slice(body.as_bytes())))
    }

    #[test]
    fn the_request_is_the_contract_s() {
        let call = Refresh {
            session: &session(),
            refresh_token: &"r\"0".into(),
        };
        let request = call.request(&"https://gateway.example".parse().unwrap());
        assert_eq!(request.method(), Method::POST);
        assert_eq!(
            request.uri(),
            "https://gateway.example/api/v2/webmessaging/guest-sessions/s-1/refresh"
        );
        assert_eq!(request.headers()["content-type"], "application/json");
        assert_eq!(request.body(), r#"{"refreshToken":"r\"0"}"#);
        assert!(!format!("{call:?}").contains("r\"0"));
    }

    #[test]
    fn the_lifetime_counts_from_when_the_request_was_sent() {
        let refreshed = answer(
            r#"{"id":"s-1","accessToken":"a-1","refreshToken":"r-1","expiresAt":"2026-11-22T14:00:00+01:00","more":1}"#,
        )
        .unwrap();
        assert!(!format!("{refreshed:?}").contains("a-1"));
        let sent = |utc| Now {
            instant: epoch(),
            utc: parse_rfc3339(utc).unwrap(),
        };
        let tokens = refreshed
            .clone()
            .into_tokens(&sent("2026-11-22T12:00:00Z"))
            .unwrap();
        assert_eq!(tokens.lifetime(), Duration::from_secs(3600));
        assert_eq!(tokens.refresh().unwrap().expose_secret(), "r-1");
        assert_eq!(
            refreshed.into_tokens(&sent("2026-11-22T13:00:00Z")).unwrap_err(),
            TokensError::Expired
        );
    }

    #[test]
    fn an_answer_that_lacks_anything_is_none() {
        for body in [
            "",
            "{}",
            r#"{"id":"s-1","accessToken":"a","refreshToken":"r"}"#,
            r#"{"id":"s-1","accessToken":"a","expiresAt":"2026-11-22T14:00:00Z"}"#,
            r#"{"id":"s-1","accessToken":"a","refreshToken":"r","expiresAt":"2026-11-22T14:00:00"}"#,
            r#"{"id":"s-1","accessToken":"a","refreshToken":"r","expiresAt":1795000000}"#,
            r#"{"id":"s-2","accessToken":"a","refreshToken":"r","expiresAt":"2026-11-22T14:00:00Z"}"#,
        ] {
            assert!(
                matches!(answer(body), Err(ReplyError::Malformed { status: 200, .. })),
                "{body}"
            );
        }
    }
}
