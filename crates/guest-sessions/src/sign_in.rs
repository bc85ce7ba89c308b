//! `…/{id}/sign-in`: the sign-in of a session's guest.

use genesys_api::strict_json::{BodyError, Field, Object};
use secrecy::SecretString;
use serde::Serialize;
use web_messaging::rest::sign_in::OauthResult;

/// Longest texts in characters. Our choice.
const MAX_CODE: usize = 4_096;
const MAX_REDIRECT_URI: usize = 2_048;
const MAX_NONCE: usize = 1_024;

/// The body of a sign-in: an authorization code. **Its secrets are serialized in the clear.**
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
#[expect(clippy::exhaustive_structs, reason = "the fields of the contract")]
pub struct SignInBody(pub OauthResult);

impl SignInBody {
    /// Parses the body.
    ///
    /// # Errors
    /// If the body does not match the contract. No error repeats a value.
    pub fn parse(bytes: &[u8]) -> Result<Self, BodyError> {
        let mut body = Object::parse(bytes)?;
        let code = text(&body.required("code")?, MAX_CODE)?;
        let field = body.required("redirectUri")?;
        let redirect_uri = text(&field, MAX_REDIRECT_URI)?;
        if !is_uri(&redirect_uri) {
            return Err(field.invalid("not a URI of RFC 3986: a scheme, a colon, and ASCII without spaces"));
        }
        let code_verifier = match body.optional("codeVerifier") {
            Some(field) => {
                let verifier = field.text()?;
                if !is_verifier(&verifier) {
                    return Err(field.invalid("not 43 to 128 unreserved characters (RFC 7636)"));
                }
                Some(SecretString::from(&*verifier))
            }
            None => None,
        };
        let nonce = match body.optional("nonce") {
            Some(field) => Some(text(&field, MAX_NONCE)?),
            None => None,
        };
        body.finish()?;
        Ok(Self(OauthResult {
            code: Some(code.into()),
            redirect_uri: Some(redirect_uri),
            code_verifier,
            nonce,
            ..OauthResult::default()
        }))
    }
}

fn text(field: &Field<'_>, longest: usize) -> Result<String, BodyError> {
    let text = field.text()?;
    match text.chars().count() {
        0 => Err(field.invalid("empty")),
        count if count > longest => Err(field.invalid(format_args!("more than {longest} characters"))),
        _ => Ok((*text).to_owned()),
    }
}

/// Whether the text can be a URI. The token service compares it with that of the authorization request.
fn is_uri(text: &str) -> bool {
    let is_of_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.split_once(':').is_some_and(|(scheme, rest)| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(is_of_scheme)
            && !rest.is_empty()
            && rest.bytes().all(|byte| byte.is_ascii_graphic())
    })
}

fn is_verifier(text: &str) -> bool {
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (43..=128).contains(&text.len()) && text.bytes().all(is_unreserved)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn body() -> Value {
        let verifier = "canary-verifier-of-at-least-43-characters--";
        json!({ "code": "canary", "redirectUri": "https://shop.example/", "codeVerifier": verifier, "nonce": "n" })
    }

    #[test]
    fn sign_in_body_round_trips() {
        let text = body().to_string();
        let parsed = SignInBody::parse(text.as_bytes()).unwrap();
        assert_eq!(serde_json::to_value(&parsed).unwrap(), body());
        assert!(!format!("{parsed:?}").contains("canary"));
        let least = br#"{"code":"c","redirectUri":"app:/back"}"#;
        let least = SignInBody::parse(least).unwrap().0;
        assert!(least.code_verifier.is_none() && least.nonce.is_none());
    }

    #[test]
    fn invalid_sign_in_is_refused_without_its_values() {
        for (field, value) in [
            ("code", Value::Null),
            ("code", "".into()),
            ("code", "canary".repeat(1_000).into()),
            ("redirectUri", "canary/relative".into()),
            ("codeVerifier", "canary-too-short".into()),
            ("codeVerifier", "canary ".repeat(8).into()),
            ("nonce", 7.into()),
            ("idToken", "canary".into()),
        ] {
            let mut body = body();
            body[field] = value;
            let error = SignInBody::parse(body.to_string().as_bytes()).unwrap_err();
            assert_eq!(error.field(), Some(field));
            assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
        }
    }
}
