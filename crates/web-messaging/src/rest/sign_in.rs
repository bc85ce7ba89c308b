//! Signing a guest in: what an identity provider gave becomes a JWT of Genesys Cloud. On the host of the platform API.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use genesys_api::{Call, DeploymentId, Host, ReplyError, json};
use http::header::AUTHORIZATION;
use http::{HeaderValue, Method, Request, Response};
use ring::digest;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};

use crate::JourneyContext;
use genesys_api::wire::SecretText;

/// Longest token that is taken from a reply, in bytes. Our choice: it stands in a header.
const LONGEST_TOKEN: usize = 8 * 1024;

/// A secret of one sign-in, and what the identity provider is shown of it (RFC 7636, method `S256`).
#[derive(Clone, Debug)]
pub struct Pkce {
    /// Goes into the [`Exchange`]: 43 characters.
    pub verifier: SecretString,
    /// Goes into the URL of the identity provider, as `code_challenge`.
    pub challenge: String,
}

impl Pkce {
    /// Of 32 random bytes.
    #[must_use]
    pub fn new(random: [u8; 32]) -> Self {
        let verifier = URL_SAFE_NO_PAD.encode(random);
        let hash = digest::digest(&digest::SHA256, verifier.as_bytes());
        Self {
            challenge: URL_SAFE_NO_PAD.encode(hash),
            verifier: verifier.into(),
        }
    }
}

/// Trades what the identity provider gave for a JWT: `POST …/token/oauthcodegrantjwtexchange`.
///
/// A code works once, so that a lost answer cannot be asked for again.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exchange {
    #[serde(rename = "deploymentId")]
    deployment: DeploymentId,
    oauth: Proof,
    #[serde(skip_serializing_if = "Option::is_none")]
    journey_context: Option<JourneyContext>,
}

impl Exchange {
    /// An authorization code, and the address that the provider sent it to.
    #[must_use]
    pub fn code(deployment: DeploymentId, code: SecretString, redirect_uri: impl Into<String>) -> Self {
        Self::of(
            deployment,
            Proof {
                code: Some(code),
                redirect_uri: Some(redirect_uri.into()),
                ..Proof::default()
            },
        )
    }

    /// An id token, of the implicit flow. Nothing to refresh with comes back.
    #[must_use]
    pub fn id_token(deployment: DeploymentId, id_token: SecretString, nonce: impl Into<String>) -> Self {
        Self::of(
            deployment,
            Proof {
                id_token: Some(id_token),
                nonce: Some(nonce.into()),
                ..Proof::default()
            },
        )
    }

    /// Proves that the code was asked for here: [`Pkce::verifier`].
    #[must_use]
    pub fn with_code_verifier(mut self, verifier: SecretString) -> Self {
        self.oauth.code_verifier = Some(verifier);
        self
    }

    /// The `nonce` that the provider was given.
    #[must_use]
    pub fn with_nonce(mut self, nonce: impl Into<String>) -> Self {
        self.oauth.nonce = Some(nonce.into());
        self
    }

    /// The `max_age` that the provider was given, in seconds.
    #[must_use]
    pub fn with_max_age(mut self, seconds: u32) -> Self {
        self.oauth.max_age = Some(seconds);
        self
    }

    /// The provider's own name, as it came back with the code (RFC 9207).
    #[must_use]
    pub fn with_issuer(mut self, issuer: impl Into<String>) -> Self {
        self.oauth.iss = Some(issuer.into());
        self
    }

    /// What led the guest here.
    #[must_use]
    pub fn with_journey(mut self, journey: JourneyContext) -> Self {
        self.journey_context = Some(journey);
        self
    }

    fn of(deployment: DeploymentId, oauth: Proof) -> Self {
        Self {
            deployment,
            oauth,
            journey_context: None,
        }
    }
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

/// What a guest is signed in with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SignedIn {
    /// Configures a session, for 15 minutes at most. A session that is configured stays so without it. Never store it.
    pub jwt: SecretString,
    /// Gets the next one, for 24 hours unless the deployment says otherwise.
    pub refresh_token: Option<SecretString>,
}

/// Gets a new JWT: `POST …/token/refresh`. The refresh token stays the same.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refresh {
    /// The deployment, which the documents require and the mobile SDK leaves out.
    #[serde(rename = "deploymentId")]
    pub deployment: DeploymentId,
    /// That of the [`Exchange`].
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
    /// The JWT, which is the call's authorisation too.
    pub jwt: SecretString,
}

impl Call for Revoke {
    type Reply = ();
    const IDEMPOTENT: bool = true;

    fn request(&self, host: &Host) -> Request<Bytes> {
        let mut request = json::delete(host, "/api/v2/webdeployments/token/revoke");
        // a JWT that no header can carry is none: the service will answer 401
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

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Proof {
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "exposed_if_any")]
    code: Option<SecretString>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redirect_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "exposed_if_any")]
    code_verifier: Option<SecretString>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "exposed_if_any")]
    id_token: Option<SecretString>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
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
            expected: "a token that a header can carry",
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
    fn the_challenge_is_the_hash_of_the_verifier() {
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
        assert_eq!(pkce.challenge, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        assert!(!format!("{pkce:?}").contains("dBjft"));
    }

    #[test]
    fn revoking_carries_the_jwt_and_shows_it_nowhere() {
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
    fn a_token_that_no_header_can_carry_is_refused() {
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
