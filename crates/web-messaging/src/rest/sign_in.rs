//! Sign-in of a guest: exchanges the code of an identity provider for a JWT of Genesys Cloud, on the platform API.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use genesys_api::wire::SecretText;
use genesys_api::{Call, DeploymentId, Host, ReplyError, json};
use http::header::AUTHORIZATION;
use http::{HeaderValue, Method, Request, Response};
use ring::digest;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use url::Url;

use crate::JourneyContext;

/// Longest token of a reply, in bytes. Our choice: it is sent in a header.
const LONGEST_TOKEN: usize = 8 * 1024;

/// The verifier of one sign-in and its challenge (RFC 7636, method `S256`).
#[derive(Clone, Debug)]
pub struct Pkce {
    /// Verifier for the [`Exchange`]: 43 characters.
    pub verifier: SecretString,
    /// Challenge for the URL of the identity provider, as `code_challenge`.
    pub challenge: SecretString,
}

impl Pkce {
    /// Derived from 32 random bytes.
    #[must_use]
    pub fn new(random: [u8; 32]) -> Self {
        let verifier = URL_SAFE_NO_PAD.encode(random);
        let hash = digest::digest(&digest::SHA256, verifier.as_bytes());
        Self {
            challenge: URL_SAFE_NO_PAD.encode(hash).into(),
            verifier: verifier.into(),
        }
    }
}

/// A request to the authorization endpoint of an identity provider: OAuth's authorization code flow with PKCE (RFC 7636)
/// and the `nonce` of `OpenID` Connect.
#[derive(Clone, Debug)]
pub struct AuthorizationRequest {
    redirect_uri: String,
    pkce: Pkce,
    nonce: SecretString,
    state: SecretString,
}

impl AuthorizationRequest {
    /// A request that sends the guest back to `redirect_uri`. `nonce` and `state` are random bytes.
    #[must_use]
    pub fn new(redirect_uri: &Url, pkce: Pkce, nonce: [u8; 16], state: [u8; 16]) -> Self {
        Self {
            redirect_uri: redirect_uri.to_string(),
            pkce,
            nonce: URL_SAFE_NO_PAD.encode(nonce).into(),
            state: URL_SAFE_NO_PAD.encode(state).into(),
        }
    }

    /// Its parameters beside `client_id` and `scope`.
    #[must_use]
    pub fn parameters(&self) -> [(&'static str, &str); 6] {
        [
            ("response_type", "code"),
            ("redirect_uri", &self.redirect_uri),
            ("code_challenge", self.pkce.challenge.expose_secret()),
            ("code_challenge_method", "S256"),
            ("nonce", self.nonce.expose_secret()),
            ("state", self.state.expose_secret()),
        ]
    }

    /// The URL of the authorization endpoint with all parameters.
    #[must_use]
    pub fn url(&self, endpoint: &Url, client_id: &str, scope: &str) -> Url {
        let mut url = endpoint.clone();
        url.query_pairs_mut()
            .extend_pairs(self.parameters())
            .append_pair("client_id", client_id)
            .append_pair("scope", scope);
        url
    }

    /// The result of the sign-in, with the code that the guest brought back. `None` if `state` is of another request.
    #[must_use]
    pub fn result(self, state: &str, code: SecretString) -> Option<OauthResult> {
        (state == self.state.expose_secret()).then(|| OauthResult {
            code: Some(code),
            redirect_uri: Some(self.redirect_uri),
            code_verifier: Some(self.pkce.verifier),
            nonce: Some(self.nonce.expose_secret().to_owned()),
            ..OauthResult::default()
        })
    }
}

/// Exchanges a code or an id token for a JWT: `POST …/token/oauthcodegrantjwtexchange`.
///
/// A code works once: the call cannot be repeated after a lost response.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exchange {
    /// The deployment.
    #[serde(rename = "deploymentId")]
    pub deployment: DeploymentId,
    /// Result of the sign-in at the identity provider.
    pub oauth: OauthResult,
    /// Visit and action that led to the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journey_context: Option<JourneyContext>,
}

/// The result of a sign-in at the identity provider: a code with its redirect URI, or an id token with its nonce.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OauthResult {
    /// Authorization code.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "exposed_if_any")]
    pub code: Option<SecretString>,
    /// Redirect URI of the authorization request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect_uri: Option<String>,
    /// [`Pkce::verifier`] of the authorization request.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "exposed_if_any")]
    pub code_verifier: Option<SecretString>,
    /// Id token of the implicit flow. The reply has no refresh token then.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "exposed_if_any")]
    pub id_token: Option<SecretString>,
    /// `nonce` of the authorization request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// `max_age` of the authorization request, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<u32>,
    /// Issuer that was returned with the code (RFC 9207).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
}

impl Call for Exchange {
    type Reply = SignedIn;
    const IDEMPOTENT: bool = false;

    fn request(&self, host: &Host) -> Request<Bytes> {
        json::with_body(
            Method::POST,
            host,
            "/api/v2/webdeployments/token/oauthcodegrantjwtexchange",
            self,
        )
    }

    fn reply(&self, response: Response<Bytes>) -> Result<SignedIn, ReplyError> {
        signed_in(response)
    }
}

/// The tokens of a signed-in guest.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SignedIn {
    /// JWT that configures a session, for at most 15 minutes. A configured session remains configured. Do not store it.
    pub jwt: SecretString,
    /// Refresh token, for 24 hours by default.
    pub refresh_token: Option<SecretString>,
}

/// Gets a new JWT: `POST …/token/refresh`. The refresh token does not change.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refresh {
    /// The deployment: required by the documents, left out by the mobile SDK.
    #[serde(rename = "deploymentId")]
    pub deployment: DeploymentId,
    /// Refresh token of the [`Exchange`].
    #[serde(serialize_with = "exposed")]
    pub refresh_token: SecretString,
}

impl Call for Refresh {
    type Reply = SecretString;
    const IDEMPOTENT: bool = true;

    fn request(&self, host: &Host) -> Request<Bytes> {
        json::with_body(Method::POST, host, "/api/v2/webdeployments/token/refresh", self)
    }

    fn reply(&self, response: Response<Bytes>) -> Result<SecretString, ReplyError> {
        signed_in(response).map(|signed_in| signed_in.jwt)
    }
}

/// Logs the guest out everywhere: `DELETE …/token/revoke`. Each socket of the session gets a `LogoutEvent`.
#[derive(Clone, Debug)]
pub struct Revoke {
    /// The JWT, which also authorizes the call.
    pub jwt: SecretString,
}

impl Call for Revoke {
    type Reply = ();
    const IDEMPOTENT: bool = true;

    fn request(&self, host: &Host) -> Request<Bytes> {
        let mut request = json::request(Method::DELETE, host, "/api/v2/webdeployments/token/revoke");
        // without a valid header the service answers 401
        if let Ok(mut bearer) = HeaderValue::try_from(format!("Bearer {}", self.jwt.expose_secret())) {
            bearer.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, bearer);
        }
        request
    }

    fn reply(&self, response: Response<Bytes>) -> Result<(), ReplyError> {
        json::accepted(response).map(drop)
    }
}

fn exposed<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    SecretText::from(secret).serialize(serializer)
}

fn exposed_if_any<S: Serializer>(secret: &Option<SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(SecretText::from).serialize(serializer)
}

fn signed_in(response: Response<Bytes>) -> Result<SignedIn, ReplyError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        jwt: String,
        refresh_token: Option<String>,
    }
    let status = response.status().as_u16();
    let body: Body = json::reply(response, "a guest's token")?;
    if !is_token(&body.jwt) || !body.refresh_token.as_deref().is_none_or(is_token) {
        return Err(ReplyError::Malformed {
            status,
            expected: "a token of visible ASCII characters",
        });
    }
    Ok(SignedIn {
        jwt: body.jwt.into(),
        refresh_token: body.refresh_token.map(SecretString::from),
    })
}

fn is_token(token: &str) -> bool {
    (1..=LONGEST_TOKEN).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        "https://api.mypurecloud.ie".parse().unwrap()
    }

    fn answer(status: u16, body: &str) -> Response<Bytes> {
        let mut response = Response::new(Bytes::copy_from_slice(body.as_bytes()));
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
        response
    }

    #[test]
    fn challenge_is_the_hash_of_the_verifier() {
        // RFC 7636 appendix B
        let random = [
            116, 24, 223, 180, 151, 153, 224, 37, 79, 250, 96, 125, 216, 173, 187, 186, 22, 212, 37, 77, 105,
            214, 191, 240, 91, 88, 5, 88, 83, 132, 141, 121,
        ];
        let pkce = Pkce::new(random);
        assert_eq!(
            pkce.verifier.expose_secret(),
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
        );
        assert_eq!(
            pkce.challenge.expose_secret(),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
        assert!(!format!("{pkce:?}").contains("dBjft"));
    }

    #[test]
    fn revoke_sends_the_jwt_and_redacts_it() {
        let revoke = Revoke { jwt: "canary".into() };
        let request = revoke.request(&host());
        assert_eq!(request.method(), Method::DELETE);
        assert_eq!(request.uri().path(), "/api/v2/webdeployments/token/revoke");
        assert_eq!(request.headers()[AUTHORIZATION], "Bearer canary");
        assert!(!format!("{request:?} {revoke:?}").contains("canary"));
        assert!(revoke.reply(answer(204, "")).is_ok());
        let odd = Revoke { jwt: "a\nb".into() };
        assert!(!odd.request(&host()).headers().contains_key(AUTHORIZATION));
    }

    #[test]
    fn token_that_is_invalid_in_a_header_is_refused() {
        let refresh = Refresh {
            deployment: "b3c2".parse().unwrap(),
            refresh_token: "canary".into(),
        };
        assert!(!format!("{refresh:?}").contains("canary"));
        for body in [
            "",
            "{}",
            r#"{"jwt":""}"#,
            r#"{"jwt":"a b"}"#,
            r#"{"jwt":"a\n"}"#,
            r#"{"jwt":"a","refreshToken":""}"#,
        ] {
            assert!(
                matches!(
                    refresh.reply(answer(200, body)),
                    Err(ReplyError::Malformed { .. })
                ),
                "{body}"
            );
        }
        let refused = refresh.reply(answer(
            401,
            r#"{"code":"bad.credentials","message":"x","status":401}"#,
        ));
        assert_eq!(
            refused.unwrap_err().problem().map(|problem| problem.code.clone()),
            Some("bad.credentials".to_owned())
        );
    }
}
