//! Checks that apply to every request: media type, size, credentials, scope, rate.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::{FromRequestParts, Path, Request};
use bytes::Bytes;
use genesys_api::Now;
use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::request::Parts;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::access::{Access, BadToken};
use super::{App, Refusal};
use guest_sessions::{DetailCode, ErrorCode};

/// The largest body accepted, in bytes.
pub(super) const LARGEST_BODY: usize = 64 * 1024;
/// How long a body may take to arrive. Our choice; the head has as long.
const SLOWEST_BODY: Duration = Duration::from_secs(10);

/// What the body of a request must be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Media {
    Form,
    Json,
}

/// What a route asks of an API client.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scope {
    Read,
    Write,
    Webhooks,
}

/// The scopes of the contract.
pub(crate) const SCOPES: [&str; 3] = [
    "webmessaging:guest",
    "webmessaging:guest:write",
    "webhooks:readwrite",
];

impl Scope {
    fn name(self) -> &'static str {
        let [read, write, webhooks] = SCOPES;
        match self {
            Self::Read => read,
            Self::Write => write,
            Self::Webhooks => webhooks,
        }
    }
}

/// An API client that may do what it asks for, and the moment of its request.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) client: String,
    pub(super) now: Now,
}

/// The id in a path, as it was sent. One that is no text is empty, and so nobody's.
#[derive(Debug)]
pub(super) struct Id(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let id = Path::<String>::from_request_parts(parts, state).await;
        Ok(Self(id.map(|Path(id)| id).unwrap_or_default()))
    }
}

/// Checks who calls, whether they may, and how often they did.
pub(super) fn admit(app: &App, headers: &HeaderMap, scope: Scope) -> Result<Caller, Refusal> {
    let now = app.clock.now();
    let access = authenticate(app, headers, now)?;
    if !access.may(scope.name()) {
        let message = format!(
            "the token lacks the scope {}: fetch one that asks for it",
            scope.name()
        );
        return Err(Refusal::new(ErrorCode::MissingPermissions, message)
            .detail(DetailCode::MissingScope.as_str(), scope.name()));
    }
    app.clients
        .admit(&access.client, now)
        .map_err(Refusal::too_many)?;
    Ok(Caller {
        client: access.client.as_str().to_owned(),
        now,
    })
}

/// [`admit`], then the body as JSON bytes.
pub(super) async fn admit_json(
    app: &App,
    request: Request,
    scope: Scope,
) -> Result<(Caller, Bytes), Refusal> {
    let caller = admit(app, request.headers(), scope)?;
    let (_, body) = read(app, request, Media::Json).await?;
    Ok((caller, body))
}

/// Reads a body of the right media type and size.
pub(super) async fn read(app: &App, request: Request, media: Media) -> Result<(Parts, Bytes), Refusal> {
    let (parts, body) = request.into_parts();
    let expected = match media {
        Media::Form => "application/x-www-form-urlencoded",
        Media::Json => "application/json",
    };
    let found = parts
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = found.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case(expected) {
        let message = format!("the body must be {expected}: say so in Content-Type");
        return Err(Refusal::new(ErrorCode::UnsupportedMediaType, message));
    }
    tokio::select! {
        body = bytes(body) => Ok((parts, body?)),
        () = app.clock.sleep(SLOWEST_BODY) => Err(Refusal::new(
            ErrorCode::RequestTimeout,
            "the body did not arrive within 10 seconds: send the request again",
        )),
    }
}

async fn bytes(body: Body) -> Result<Bytes, Refusal> {
    let too_large = || {
        let message = format!("the body is larger than {LARGEST_BODY} bytes");
        Refusal::new(ErrorCode::BodyTooLarge, message)
    };
    if body.size_hint().lower() > LARGEST_BODY as u64 {
        return Err(too_large());
    }
    match Limited::new(body, LARGEST_BODY).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => Err(too_large()),
        Err(_) => Err(Refusal::bad_request("the body ended before it was complete")),
    }
}

fn authenticate(app: &App, headers: &HeaderMap, now: Now) -> Result<Access, Refusal> {
    let mut headers = headers.get_all(AUTHORIZATION).iter();
    let (Some(header), None) = (headers.next(), headers.next()) else {
        return Err(Refusal::new(
            ErrorCode::AuthenticationRequired,
            "no bearer token: fetch one from /oauth/token and send it as one Authorization header",
        ));
    };
    let bad = || {
        let message = "the bearer token is not one of this gateway's: fetch one from /oauth/token";
        Refusal::new(ErrorCode::BadCredentials, message)
    };
    let (scheme, token) = header
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .ok_or_else(bad)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(bad());
    }
    app.clients
        .verify(token.trim(), now.utc)
        .map_err(|error| match error {
            BadToken::Expired => {
                let message = "the bearer token has expired: fetch a new one from /oauth/token";
                Refusal::new(ErrorCode::CredentialsExpired, message)
            }
            BadToken::Unknown => bad(),
        })
}
