//! The call that fetches a token.

use std::time::Duration;

use bytes::Bytes;
use genesys_api::{Call, Host, ReplyError, json};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response};
use secrecy::SecretString;
use serde::Deserialize;

use crate::credentials::form_encode;
use crate::{Credentials, MissingScopes, Scopes};

/// Lifetime of a token whose service does not say. Our choice: the shortest that Genesys can be set to. RFC 6749
/// section 5.1 only recommends `expires_in`.
const UNSAID: Duration = Duration::from_secs(300);

/// The longest lifetime counted: the longest that Genesys can be set to. A longer one is fetched anew sooner than it
/// must be, which does no harm.
const LONGEST_LIFETIME: Duration = Duration::from_secs(48 * 3600);

/// The longest access token accepted, in bytes. Our choice.
const LONGEST_TOKEN: usize = 8 * 1024;

/// Asks for an access token: `POST /oauth/token` on the login host, grant `client_credentials` (RFC 6749 section 4.4).
///
/// The credentials travel as HTTP Basic, as all of Genesys' own SDKs send them, never in the body.
#[derive(Clone, Debug)]
pub struct TokenFetch<'a> {
    credentials: &'a Credentials,
    scopes: Option<&'a Scopes>,
}

impl<'a> TokenFetch<'a> {
    /// A fetch that names no scopes. This is the form for Genesys Cloud, where scopes do not apply to this grant: the
    /// client's roles decide.
    #[must_use]
    pub fn new(credentials: &'a Credentials) -> Self {
        Self {
            credentials,
            scopes: None,
        }
    }

    /// Asks for these scopes: for the contract `guest-sessions` only.
    #[must_use]
    pub fn with_scopes(self, scopes: &'a Scopes) -> Self {
        Self {
            scopes: Some(scopes),
            ..self
        }
    }

    /// Checks what was granted against what was asked for. A service that does not say has granted all
    /// (RFC 6749 section 5.1).
    ///
    /// # Errors
    /// The scopes that were asked for and are not granted.
    pub fn check(&self, grant: &Grant) -> Result<(), MissingScopes> {
        match (self.scopes, &grant.scopes) {
            (Some(asked), Some(granted)) => granted.require(asked),
            _ => Ok(()),
        }
    }
}

impl Call for TokenFetch<'_> {
    type Reply = Grant;
    /// A second token does no harm; the service forgets the oldest if there are too many.
    const IDEMPOTENT: bool = true;

    fn request(&self, host: &Host) -> Request<Bytes> {
        let mut body = "grant_type=client_credentials".to_owned();
        if let Some(scopes) = self.scopes {
            body.push_str("&scope=");
            body.push_str(&form_encode(&scopes.to_string()));
        }
        let mut request = Request::new(Bytes::from(body));
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

    fn reply(&self, response: Response<Bytes>) -> Result<Grant, ReplyError> {
        #[derive(Deserialize)]
        struct Body {
            access_token: String,
            token_type: Option<String>,
            // some services write it with a fraction
            expires_in: Option<f64>,
            scope: Option<String>,
        }
        let status = response.status().as_u16();
        let malformed = |expected| ReplyError::Malformed { status, expected };
        let body: Body = json::reply(response, "an access token")?;
        let token = body.access_token;
        if token.is_empty()
            || token.len() > LONGEST_TOKEN
            || !token.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err(malformed("an access token that a header can carry"));
        }
        if body
            .token_type
            .is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer"))
        {
            return Err(malformed("a bearer token"));
        }
        let expires_in = body.expires_in.map_or(UNSAID, |seconds| {
            Duration::from_secs_f64(seconds.clamp(0.0, LONGEST_LIFETIME.as_secs_f64()))
        });
        if expires_in.is_zero() {
            return Err(malformed("a token with more than zero seconds to live"));
        }
        let scopes = body
            .scope
            .map(|text| text.parse())
            .transpose()
            .map_err(|_| malformed("a list of scopes"))?;
        Ok(Grant {
            access_token: token.into(),
            expires_in,
            scopes,
        })
    }
}

/// A token as the service granted it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Grant {
    /// What calls carry.
    pub access_token: SecretString,
    /// How long it lives, from when it was asked for: above zero, 48 hours at most, 300 seconds if the service does not
    /// say.
    pub expires_in: Duration,
    /// What it may be used for, if the service says.
    pub scopes: Option<Scopes>,
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn credentials() -> Credentials {
        Credentials::new("client".parse().unwrap(), "hunter2".into()).unwrap()
    }

    fn answer(body: &str) -> Result<Grant, ReplyError> {
        TokenFetch::new(&credentials()).reply(Response::new(Bytes::copy_from_slice(body.as_bytes())))
    }

    #[test]
    fn credentials_travel_as_basic_and_scopes_only_if_asked() {
        let host: Host = "https://login.mypurecloud.ie".parse().unwrap();
        let credentials = credentials();
        let request = TokenFetch::new(&credentials).request(&host);
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.uri(), "https://login.mypurecloud.ie/oauth/token");
        assert_eq!(request.headers()[AUTHORIZATION], "Basic Y2xpZW50Omh1bnRlcjI=");
        assert_eq!(
            request.headers()[CONTENT_TYPE],
            "application/x-www-form-urlencoded"
        );
        assert_eq!(request.body(), "grant_type=client_credentials");
        assert!(!format!("{request:?}").contains("Y2xpZW50"));

        let scopes = "webmessaging:guest webhooks:readwrite".parse().unwrap();
        let request = TokenFetch::new(&credentials).with_scopes(&scopes).request(&host);
        assert_eq!(
            request.body(),
            "grant_type=client_credentials&scope=webhooks%3Areadwrite+webmessaging%3Aguest"
        );
    }

    #[test]
    fn lifetimes_are_positive_and_bounded() {
        let lifetime = |expires_in: &str| {
            answer(&format!(
                r#"{{"access_token":"t","token_type":"bearer"{expires_in}}}"#
            ))
            .map(|grant| grant.expires_in)
            .ok()
        };
        assert_eq!(
            lifetime(r#","expires_in":86399"#),
            Some(Duration::from_secs(86399))
        );
        assert_eq!(lifetime(r#","expires_in":0.5"#), Some(Duration::from_millis(500)));
        assert_eq!(lifetime(""), Some(Duration::from_secs(300)));
        assert_eq!(lifetime(r#","expires_in":null"#), Some(Duration::from_secs(300)));
        for huge in ["172801", "18446744073709551616", "1e300"] {
            assert_eq!(
                lifetime(&format!(r#","expires_in":{huge}"#)),
                Some(LONGEST_LIFETIME),
                "{huge}"
            );
        }
        for bad in ["0", "-1", "-0.0", "1e-300", "\"3600\"", "1e999", "true"] {
            assert_eq!(lifetime(&format!(r#","expires_in":{bad}"#)), None, "{bad}");
        }
    }

    #[test]
    fn an_answer_that_is_no_token_is_malformed() {
        for body in [
            "",
            "{}",
            r#"{"access_token":""}"#,
            r#"{"access_token":"a b"}"#,
            r#"{"access_token":"a\n"}"#,
            r#"{"access_token":"t","token_type":"mac"}"#,
            r#"{"access_token":"t","scope":"a\"b"}"#,
            r#"{"access_token":7}"#,
        ] {
            assert!(
                matches!(answer(body), Err(ReplyError::Malformed { status: 200, .. })),
                "{body}"
            );
        }
        let grant = answer(r#"{"access_token":"t-1","token_type":"Bearer","more":[]}"#).unwrap();
        assert_eq!(grant.access_token.expose_secret(), "t-1");
        assert!(!format!("{grant:?}").contains("t-1"));
    }

    #[test]
    fn what_was_granted_is_checked_against_what_was_asked() {
        let credentials = credentials();
        let asked = "a b".parse().unwrap();
        let fetch = TokenFetch::new(&credentials).with_scopes(&asked);
        let granted = |scope: &str| answer(&format!(r#"{{"access_token":"t"{scope}}}"#)).unwrap();
        assert_eq!(fetch.check(&granted("")), Ok(()), "not said is as asked");
        assert_eq!(fetch.check(&granted(r#","scope":"c b a""#)), Ok(()));
        let error = fetch.check(&granted(r#","scope":"a""#)).unwrap_err();
        assert_eq!(error.missing, "b".parse().unwrap());
        assert_eq!(
            TokenFetch::new(&credentials).check(&granted(r#","scope":"""#)),
            Ok(())
        );
    }
}
