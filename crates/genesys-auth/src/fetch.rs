//! The call that requests an access token.

use std::time::Duration;

use bytes::Bytes;
use genesys_api::{Call, Host, ReplyError, json};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response};
use secrecy::SecretString;
use serde::Deserialize;

use crate::credentials::is_visible_ascii;
use crate::{Credentials, MissingScopes, Scopes};

/// Lifetime of a token without a valid `expires_in`, which RFC 6749 section 5.1 only recommends. Our choice: the shortest one that
/// Genesys can be set to.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(300);

/// Longer lifetimes are clamped: the longest one that Genesys can be set to.
const MAX_LIFETIME: Duration = Duration::from_secs(48 * 3600);

/// Longest accepted access token, in bytes. Our choice.
const MAX_TOKEN: usize = 8 * 1024;

/// The access token request of grant `client_credentials` (RFC 6749 section 4.4): `POST /oauth/token` on the login host.
///
/// The credentials are sent as HTTP Basic, as in Genesys' own SDKs, never in the body.
#[derive(Clone, Copy, Debug)]
pub struct TokenRequest<'a> {
    /// Credentials of the API client.
    pub credentials: &'a Credentials,
    /// Scopes of the contract `guest-sessions`. Genesys Cloud has none: its API clients have roles instead.
    pub scopes: Option<&'a Scopes>,
}

impl TokenRequest<'_> {
    /// Checks the granted scopes. A response without scopes grants all requested ones (RFC 6749 section 5.1).
    ///
    /// # Errors
    /// The requested scopes that are not granted.
    pub fn check(&self, response: &TokenResponse) -> Result<(), MissingScopes> {
        match (self.scopes, &response.scopes) {
            (Some(asked), Some(granted)) => granted.require(asked),
            _ => Ok(()),
        }
    }
}

impl Call for TokenRequest<'_> {
    type Reply = TokenResponse;
    /// A second token is harmless. The service drops the oldest if there are too many.
    const IDEMPOTENT: bool = true;

    fn request(&self, host: &Host) -> Request<Bytes> {
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.append_pair("grant_type", "client_credentials");
        if let Some(scopes) = self.scopes {
            body.append_pair("scope", &scopes.to_string());
        }
        let mut request = Request::new(Bytes::from(body.finish()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = host.uri("/oauth/token");
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(AUTHORIZATION, self.credentials.basic());
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        request
    }

    fn reply(&self, response: Response<Bytes>) -> Result<TokenResponse, ReplyError> {
        #[derive(Deserialize)]
        struct Body {
            access_token: String,
            #[serde(default, deserialize_with = "json::lenient")]
            token_type: Option<String>,
            #[serde(default, deserialize_with = "json::lenient")]
            expires_in: Option<Seconds>,
            #[serde(default, deserialize_with = "json::lenient")]
            scope: Option<ScopeList>,
        }
        let status = response.status().as_u16();
        let malformed = |expected| ReplyError::Malformed { status, expected };
        let body: Body = json::reply(response, "an access token")?;
        let token = body.access_token;
        if !is_visible_ascii(&token, MAX_TOKEN) {
            return Err(malformed("an access token of visible ASCII"));
        }
        if body
            .token_type
            .is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer"))
        {
            return Err(malformed("a bearer token"));
        }
        let expires_in = body.expires_in.and_then(Seconds::lifetime);
        let scopes = body.scope.and_then(ScopeList::scopes);
        Ok(TokenResponse {
            access_token: token.into(),
            expires_in: expires_in.unwrap_or(DEFAULT_LIFETIME),
            scopes,
        })
    }
}

/// The number of `expires_in`. Some services send a fraction, others a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(f64),
    Text(String),
}

impl Seconds {
    fn lifetime(self) -> Option<Duration> {
        let seconds = match self {
            Self::Number(seconds) => seconds,
            Self::Text(text) => text.trim().parse().ok()?,
        };
        let longest = MAX_LIFETIME.as_secs_f64();
        let lifetime = Duration::try_from_secs_f64(seconds.min(longest)).ok()?;
        (!seconds.is_nan() && !lifetime.is_zero()).then_some(lifetime)
    }
}

/// The scopes of `scope`. Some services send a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum ScopeList {
    Text(String),
    Names(Vec<String>),
}

impl ScopeList {
    fn scopes(self) -> Option<Scopes> {
        match self {
            Self::Text(text) => text.parse().ok(),
            Self::Names(names) => names.join(" ").parse().ok(),
        }
    }
}

/// The access token response (RFC 6749 section 5.1).
///
/// An optional field with an invalid value counts as left out. A number may be a text, and the scopes may be a list.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by token sources")]
pub struct TokenResponse {
    /// The issued token.
    pub access_token: SecretString,
    /// Lifetime from the start of the request: above zero, at most 48 hours, and 300 seconds if the response has none.
    pub expires_in: Duration,
    /// Granted scopes, if the response has them.
    pub scopes: Option<Scopes>,
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn credentials() -> Credentials {
        Credentials::new("client".parse().unwrap(), "hunter2".into()).unwrap()
    }

    fn request<'a>(credentials: &'a Credentials, scopes: Option<&'a Scopes>) -> TokenRequest<'a> {
        TokenRequest { credentials, scopes }
    }

    fn parse(body: &str) -> Result<TokenResponse, ReplyError> {
        request(&credentials(), None).reply(Response::new(Bytes::copy_from_slice(body.as_bytes())))
    }

    #[test]
    fn request_has_basic_credentials_and_optional_scopes() {
        let host: Host = "https://login.mypurecloud.ie".parse().unwrap();
        let credentials = credentials();
        let plain = request(&credentials, None).request(&host);
        assert_eq!(plain.method(), Method::POST);
        assert_eq!(plain.uri(), "https://login.mypurecloud.ie/oauth/token");
        assert_eq!(plain.headers()[AUTHORIZATION], "Basic Y2xpZW50Omh1bnRlcjI=");
        assert_eq!(plain.headers()[CONTENT_TYPE], "application/x-www-form-urlencoded");
        assert_eq!(plain.body(), "grant_type=client_credentials");
        assert!(!format!("{plain:?}").contains("Y2xpZW50"));

        let scopes = "webmessaging:guest webhooks:readwrite".parse().unwrap();
        let request = request(&credentials, Some(&scopes)).request(&host);
        assert_eq!(
            request.body(),
            "grant_type=client_credentials&scope=webhooks%3Areadwrite+webmessaging%3Aguest"
        );
    }

    #[test]
    fn lifetime_is_positive_and_bounded() {
        let lifetime = |expires_in: &str| {
            let body = format!(r#"{{"access_token":"t","token_type":"bearer"{expires_in}}}"#);
            parse(&body).unwrap().expires_in
        };
        assert_eq!(lifetime(""), DEFAULT_LIFETIME);
        let lifetime = |value: &str| lifetime(&format!(r#","expires_in":{value}"#));
        assert_eq!(lifetime("86399"), Duration::from_secs(86399));
        assert_eq!(lifetime("0.5"), Duration::from_millis(500));
        assert_eq!(lifetime(r#""3600""#), Duration::from_secs(3600));
        assert_eq!(lifetime(r#"" 3600.5 ""#), Duration::from_millis(3_600_500));
        for huge in [
            "172801",
            "18446744073709551616",
            "1e300",
            r#""1e999""#,
            r#""inf""#,
        ] {
            assert_eq!(lifetime(huge), MAX_LIFETIME, "{huge}");
        }
        for invalid in [
            "null",
            "0",
            "-1",
            "-0.0",
            "1e-300",
            "1e999",
            "true",
            "[3600]",
            "{}",
            r#""""#,
            r#""soon""#,
            r#""0""#,
            r#""NaN""#,
            r#""-inf""#,
        ] {
            assert_eq!(lifetime(invalid), DEFAULT_LIFETIME, "{invalid}");
        }
    }

    #[test]
    fn invalid_optional_field_counts_as_left_out() {
        let scopes = |rest: &str| {
            parse(&format!(r#"{{"access_token":"t",{rest}}}"#))
                .unwrap()
                .scopes
        };
        assert_eq!(scopes(r#""scope":["b","a"]"#), Some("a b".parse().unwrap()));
        for rest in [
            r#""scope":"a\"b""#,
            r#""scope":7"#,
            r#""scope":[7]"#,
            r#""scope":null"#,
            r#""token_type":7"#,
            r#""token_type":null"#,
            r#""refresh_token":[]"#,
        ] {
            assert_eq!(scopes(rest), None, "{rest}");
        }
    }

    #[test]
    fn reply_without_valid_token_is_malformed() {
        for body in [
            "",
            "{}",
            r#"{"access_token":""}"#,
            r#"{"access_token":"a b"}"#,
            r#"{"access_token":"a\n"}"#,
            r#"{"access_token":"t","token_type":"mac"}"#,
            r#"{"access_token":7}"#,
        ] {
            assert!(
                matches!(parse(body), Err(ReplyError::Malformed { status: 200, .. })),
                "{body}"
            );
        }
        let response = parse(r#"{"access_token":"t-1","token_type":"Bearer","more":[]}"#).unwrap();
        assert_eq!(response.access_token.expose_secret(), "t-1");
        assert!(!format!("{response:?}").contains("t-1"));
    }

    #[test]
    fn granted_scopes_are_checked_against_requested_ones() {
        let credentials = credentials();
        let asked = "a b".parse().unwrap();
        let request = request(&credentials, Some(&asked));
        let granted = |scope: &str| parse(&format!(r#"{{"access_token":"t"{scope}}}"#)).unwrap();
        assert_eq!(
            request.check(&granted("")),
            Ok(()),
            "a response without scopes grants all"
        );
        assert_eq!(request.check(&granted(r#","scope":"c b a""#)), Ok(()));
        let error = request.check(&granted(r#","scope":"a""#)).unwrap_err();
        assert_eq!(error.missing, "b".parse().unwrap());
        assert_eq!(
            TokenRequest {
                scopes: None,
                ..request
            }
            .check(&granted(r#","scope":"""#)),
            Ok(())
        );
    }
}
