//! `POST /oauth/token`: client credentials for an access token.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use genesys_api::entropy;
use genesys_auth::Scopes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::access::{TOKEN_LIFETIME, Unauthenticated};
use super::request::{self, Media};
use super::{App, Refusal};

/// RFC 6749 section 4.4. The client authenticates by HTTP Basic or in the form.
pub(super) async fn token(State(app): State<App>, request: Request) -> Result<Response, Refusal> {
    let (parts, body) = request::read(&app, request, Media::Form).await?;
    let form = match Form::parse(&body) {
        Ok(form) => form,
        Err(text) => return Ok(refused(StatusCode::BAD_REQUEST, "invalid_request", text)),
    };
    let (id, secret) = match credentials(&parts.headers, &form) {
        Ok(credentials) => credentials,
        Err(NoCredentials::Missing) => {
            let text = "no client credentials: send them by HTTP Basic, or as client_id and client_secret in the form";
            return Ok(refused(StatusCode::UNAUTHORIZED, "invalid_client", text));
        }
        Err(NoCredentials::Several) => {
            let text = "credentials come in more than one way: send them by HTTP Basic or in the form, once";
            return Ok(refused(StatusCode::BAD_REQUEST, "invalid_request", text));
        }
    };
    let now = app.clock.now();
    let (client, allowed) = match app.clients.authenticate(&id, &secret) {
        Ok(known) => known,
        // the two texts of Genesys' login host
        Err(Unauthenticated::UnknownClient) => {
            return Ok(refused(
                StatusCode::UNAUTHORIZED,
                "invalid_client",
                "client not found",
            ));
        }
        Err(Unauthenticated::WrongSecret) => {
            return Ok(refused(
                StatusCode::UNAUTHORIZED,
                "invalid_client",
                "authentication failed",
            ));
        }
    };
    app.clients.admit(&client, now).map_err(Refusal::too_many)?;
    match form.grant_type.as_deref() {
        Some("client_credentials") => {}
        Some(_) => {
            let text = "grant_type must be client_credentials";
            return Ok(refused(StatusCode::BAD_REQUEST, "unsupported_grant_type", text));
        }
        None => {
            let text = "grant_type is missing: it must be client_credentials";
            return Ok(refused(StatusCode::BAD_REQUEST, "invalid_request", text));
        }
    }
    let scopes = match form.scope.as_deref().map(str::parse::<Scopes>) {
        None => allowed.clone(),
        Some(Ok(asked)) if allowed.require(&asked).is_ok() => asked,
        Some(_) => {
            let text = format!("this client may ask for: {allowed}");
            return Ok(refused(StatusCode::BAD_REQUEST, "invalid_scope", &text));
        }
    };
    let token = app.clients.issue(&client, &scopes, now.utc, entropy::number());
    let body = json!({
        "access_token": token.expose_secret(),
        "token_type": "bearer",
        "expires_in": TOKEN_LIFETIME.as_secs(),
        "scope": scopes.to_string(),
    });
    Ok(answer(StatusCode::OK, &body))
}

#[derive(Default)]
struct Form {
    grant_type: Option<String>,
    client_id: Option<String>,
    client_secret: Option<SecretString>,
    scope: Option<String>,
}

impl Form {
    /// A parameter without a value counts as left out (RFC 6749 section 3.2).
    fn parse(body: &[u8]) -> Result<Self, &'static str> {
        let mut form = Self::default();
        for (name, value) in url::form_urlencoded::parse(body).filter(|(_, value)| !value.is_empty()) {
            let slot_taken = match name.as_ref() {
                "grant_type" => form.grant_type.replace(value.into_owned()).is_some(),
                "client_id" => form.client_id.replace(value.into_owned()).is_some(),
                "client_secret" => form.client_secret.replace(value.into_owned().into()).is_some(),
                "scope" => form.scope.replace(value.into_owned()).is_some(),
                _ => return Err("the form may hold grant_type, client_id, client_secret and scope only"),
            };
            if slot_taken {
                return Err("a parameter of the form is repeated: give each once");
            }
        }
        Ok(form)
    }
}

enum NoCredentials {
    Missing,
    Several,
}

/// The one way in which the client shows who it is; more are refused (RFC 6749 section 2.3).
fn credentials(headers: &HeaderMap, form: &Form) -> Result<(String, SecretString), NoCredentials> {
    let mut headers = headers.get_all(AUTHORIZATION).iter();
    match (headers.next(), headers.next(), &form.client_secret) {
        (None, _, Some(secret)) => form.client_id.clone().zip(Some(secret.clone())),
        (Some(header), None, None) => basic(header),
        (None, _, None) => None,
        _ => return Err(NoCredentials::Several),
    }
    .ok_or(NoCredentials::Missing)
}

fn basic(header: &HeaderValue) -> Option<(String, SecretString)> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    Some((decoded(id)?, decoded(secret)?.into()))
}

/// RFC 6749 section 2.3.1: id and secret are form-encoded before they go into Basic.
fn decoded(text: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(text.as_bytes());
    let Some((value, empty)) = pairs.next() else {
        return Some(String::new());
    };
    (empty.is_empty() && pairs.next().is_none()).then(|| value.into_owned())
}

/// The error body of an OAuth server, in the shape of Genesys' login host.
fn refused(status: StatusCode, error: &str, description: &str) -> Response {
    let body = json!({ "error": error, "description": description, "error_description": description });
    let mut response = answer(status, &body);
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(
            WWW_AUTHENTICATE,
            HeaderValue::from_static("Basic realm=\"guest-sessions\""),
        );
    }
    response
}

fn answer(status: StatusCode, body: &serde_json::Value) -> Response {
    let mut response = (status, body.to_string()).into_response();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
