//! Checks that apply to every request: media type, size, credentials, scope, rate.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::RequestExt as _;
use axum::body::Body;
use axum::extract::{FromRef, FromRequest, Path, Request};
use bytes::Bytes;
use genesys_api::{IdempotencyKey, IdempotencyKeyError, Now};
use genesys_auth::ClientId;
use genesys_http::server::Peer;
use guest_payload::Signals;
use guest_sessions::{DetailCode, ErrorCode};
use guest_suite::store::KeyedRequest;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::LengthLimitError;
use ipnet::IpNet;
use ring::digest::{Context, SHA256};
use tokio::sync::watch;

use super::access::BadToken;
use super::{App, Refusal, RequestLog};
use crate::settings::Settings;

/// Largest body, in bytes.
const MAX_BODY: usize = 64 * 1024;
/// Longest time for a body to arrive. Our choice; the head has the same limit.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// The addresses of a client and of the proxies before the last one.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) app: App,
    /// The settings at the start of the request, also if a reload replaces them meanwhile.
    pub(crate) settings: Arc<Settings>,
    pub(crate) request: Request,
    /// The ids in the path. Empty if one is not UTF-8, which no id is.
    ids: Vec<String>,
}

/// A signal that the client closed the connection before the answer.
#[derive(Clone, Debug)]
pub(super) struct ClientGone(pub(super) watch::Receiver<()>);

impl ClientGone {
    pub(super) async fn closed(&mut self) {
        // nothing is sent, so that it ends with the sender
        while self.0.changed().await.is_ok() {}
    }
}

impl<S: Send + Sync> FromRequest<S> for Call
where
    App: FromRef<S>,
{
    type Rejection = Infallible;

    async fn from_request(mut request: Request, state: &S) -> Result<Self, Infallible> {
        let ids = request.extract_parts::<Path<Vec<String>>>().await;
        let app = App::from_ref(state);
        Ok(Self {
            settings: app.settings(),
            app,
            request,
            ids: ids.map(|Path(ids)| ids).unwrap_or_default(),
        })
    }
}

/// The API client of an admitted request, and the time of the request.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) client: String,
    pub(crate) now: Now,
}

impl Call {
    /// Parses the first id in the path. An invalid id is refused like an unknown one.
    pub(crate) fn id<T: FromStr>(&self) -> Result<T, Refusal> {
        let id = self.ids.first().and_then(|id| id.parse().ok());
        id.ok_or_else(Refusal::not_found)
    }

    /// The second id in the path.
    pub(super) fn inner_id(&self) -> &str {
        self.ids.get(1).map_or("", String::as_str)
    }

    /// Returns the address of the client: the last one in `X-Forwarded-For` that is not of a trusted proxy, if a trusted
    /// proxy sent the request.
    pub(crate) fn address(&self) -> IpAddr {
        address_of(&self.request, &self.settings.trusted_proxies)
    }

    /// Whether the bearer token was issued to an API client.
    pub(super) fn has_client_token(&self) -> bool {
        let now = self.app.clock.now().utc;
        let token = bearer_token(self.request.headers());
        token.is_ok_and(|token| self.settings.clients.verify(token, now) != Err(BadToken::Unknown))
    }

    /// Checks the credentials, the scope and the rate limit. Failures of the first two are audited.
    pub(crate) fn admit(&self, scope: &'static str) -> impl Future<Output = Result<Caller, Refusal>> + use<> {
        let (app, settings, now) = (self.app.clone(), self.settings.clone(), self.app.clock.now());
        let authorized = self.authorize(scope, now);
        let log = RequestLog::of(&self.request);
        match &authorized {
            Ok(client) | Err((Some(client), _)) => log.set_caller(client.as_str()),
            Err((None, _)) => {}
        }
        // without a borrow of the request, whose body is not `Sync`
        async move {
            let client = match authorized {
                Ok(client) => client,
                Err((client, refusal)) => {
                    app.log_auth_failure(client.as_ref(), refusal.code()).await?;
                    return Err(refusal);
                }
            };
            let admitted = settings.clients.admit(&client, now);
            admitted.map_err(Refusal::too_many)?;
            Ok(Caller {
                client: client.as_str().to_owned(),
                now,
            })
        }
    }

    /// Returns the client of the bearer token.
    ///
    /// # Errors
    /// The client, if the token shows it, and the refusal.
    fn authorize(&self, scope: &'static str, now: Now) -> Result<ClientId, (Option<ClientId>, Refusal)> {
        let token = bearer_token(self.request.headers()).map_err(|refusal| (None, refusal))?;
        let verified = self.settings.clients.verify(token, now.utc);
        let (client, scopes) = verified.map_err(|error| match error {
            BadToken::Expired(client) => {
                let message = "invalid bearer token: expired, fetch a new one from /oauth/token";
                (Some(client), Refusal::new(ErrorCode::CredentialsExpired, message))
            }
            BadToken::Unknown => (None, unknown_token()),
        })?;
        if scopes.iter().any(|granted| granted == scope) {
            return Ok(client);
        }
        let message = format!("invalid bearer token: it lacks the scope {scope}, fetch one with this scope");
        let refusal = Refusal::new(ErrorCode::MissingPermissions, message);
        Err((
            Some(client),
            refusal.detail(DetailCode::MissingScope.as_str(), scope),
        ))
    }

    /// [`Self::admit`], then the JSON body.
    pub(crate) async fn admit_json(&mut self, scope: &'static str) -> Result<(Caller, Bytes), Refusal> {
        let caller = self.admit(scope).await?;
        Ok((caller, self.body("application/json").await?))
    }

    /// Returns the key of the request, if it has one.
    pub(crate) fn idempotency_key(&self) -> Result<Option<IdempotencyKey>, Refusal> {
        let mut headers = self.request.headers().get_all(IdempotencyKey::HEADER).iter();
        let key = match (headers.next(), headers.next()) {
            (None, _) => return Ok(None),
            (Some(header), None) => IdempotencyKey::parse_header(header),
            _ => Err(IdempotencyKeyError),
        };
        key.map(Some).map_err(|error| {
            let detail = DetailCode::FieldValue;
            Refusal::new(detail.error_code(), error.to_string()).detail(detail.as_str(), "Idempotency-Key")
        })
    }

    /// Returns the key of a request that creates, if it has one, with the digest of the request.
    pub(crate) fn keyed_request(
        &self,
        caller: &Caller,
        body: &[u8],
    ) -> Result<Option<KeyedRequest>, Refusal> {
        let key = self.idempotency_key()?;
        let headers = self.request.headers();
        let signal = headers.get(Signals::HEADER);
        let mut context = Context::new(&SHA256);
        let parts = [
            self.request.uri().path().as_bytes(),
            signal.map_or(b"", HeaderValue::as_bytes),
            body,
        ];
        // what a page gets is bound to its origin
        let origin = headers.get(ORIGIN).map(HeaderValue::as_bytes);
        for part in parts.into_iter().chain(origin) {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        Ok(key.map(|key| KeyedRequest {
            owner: caller.client.clone(),
            key,
            digest,
            at: caller.now.utc,
        }))
    }

    /// Reads the body, which must have this media type.
    pub(crate) async fn body(&mut self, media_type: &str) -> Result<Bytes, Refusal> {
        check_whole(self.request.headers())?;
        let given = self.request.headers().get(CONTENT_TYPE);
        let given = given.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = given.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case(media_type) {
            let message = format!("invalid Content-Type: send {media_type}");
            return Err(Refusal::new(ErrorCode::UnsupportedMediaType, message));
        }
        tokio::select! {
            body = read(std::mem::take(self.request.body_mut())) => body,
            () = self.app.clock.sleep(BODY_TIMEOUT) => Err(Refusal::new(
                ErrorCode::RequestTimeout,
                "cannot read the body: not complete within 10 seconds, send the request again",
            )),
        }
    }
}

/// Refuses a body that is a part of one, or encoded (RFC 9110 sections 14.5 and 8.4).
pub(super) fn check_whole(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.contains_key(CONTENT_RANGE) {
        let message = "invalid Content-Range: parts of a body are not supported, send the whole one without this header";
        let detail = DetailCode::FieldValue;
        return Err(Refusal::new(detail.error_code(), message).detail(detail.as_str(), "Content-Range"));
    }
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    if codings.all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Ok(());
    }
    let message =
        "invalid Content-Encoding: no coding is supported, send the body as it is, without this header";
    Err(Refusal::new(ErrorCode::UnsupportedMediaType, message))
}

/// See [`Call::address`].
pub(super) fn address_of(request: &Request, trusted_proxies: &[IpNet]) -> IpAddr {
    client_address(peer(request), request.headers(), trusted_proxies)
}

/// The address of the other end of the connection.
pub(crate) fn peer(request: &Request) -> IpAddr {
    let peer = request.extensions().get::<Peer>();
    peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.0.ip())
}

fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_proxy = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer;
    let values: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
    let forwarded = values.iter().rev();
    // bytes, since a client may send any before the address that a proxy appends
    for address in forwarded.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b',')) {
        if !is_proxy(&client) {
            break;
        }
        match parse_address(address.trim_ascii()) {
            Some(address) => client = address,
            None => break,
        }
    }
    client
}

/// Parses an address, to which some proxies add a port.
fn parse_address(bytes: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(bytes).ok()?;
    let with_port = || Some(text.parse::<SocketAddr>().ok()?.ip());
    let address = text.parse().ok().or_else(with_port)?;
    Some(address.to_canonical())
}

async fn read(body: Body) -> Result<Bytes, Refusal> {
    let read = axum::body::to_bytes(body, MAX_BODY).await;
    read.map_err(|error| match error.into_inner().is::<LengthLimitError>() {
        true => {
            let message = format!("invalid body: more than {MAX_BODY} bytes");
            Refusal::new(ErrorCode::BodyTooLarge, message)
        }
        false => Refusal::bad_request("invalid body: it ended before it was complete, send it again"),
    })
}

pub(crate) fn bearer_token(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut headers = headers.get_all(AUTHORIZATION).iter();
    let (Some(header), None) = (headers.next(), headers.next()) else {
        return Err(Refusal::new(
            ErrorCode::AuthenticationRequired,
            "invalid Authorization header: send one with a bearer token from /oauth/token",
        ));
    };
    match header.to_str().ok().and_then(|text| text.split_once(' ')) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(unknown_token()),
    }
}

fn unknown_token() -> Refusal {
    let message = "invalid bearer token: unknown to this gateway, fetch one from /oauth/token";
    Refusal::new(ErrorCode::BadCredentials, message)
}

#[cfg(test)]
mod tests {
    //! The address of a client behind proxies.

    use http::HeaderValue;

    use super::*;

    #[test]
    fn address_is_the_last_one_that_no_trusted_proxy_has() {
        let trusted = ["127.0.0.0/8", "10.0.0.0/8"].map(|network| network.parse().unwrap());
        for (peer, forwarded, expected) in [
            ("192.0.2.1", &[][..], "192.0.2.1"),
            ("192.0.2.1", &["198.51.100.1"], "192.0.2.1"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("127.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            (
                "127.0.0.1",
                &["203.0.113.9, 198.51.100.1, 10.0.0.7"],
                "198.51.100.1",
            ),
            ("127.0.0.1", &["203.0.113.9", "198.51.100.1:4711"], "198.51.100.1"),
            ("127.0.0.1", &["::ffff:198.51.100.1"], "198.51.100.1"),
            ("127.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("127.0.0.1", &["198.51.100.1, unknown"], "127.0.0.1"),
            ("127.0.0.1", &["\u{ff}, 198.51.100.1"], "198.51.100.1"),
        ] {
            let values = forwarded
                .iter()
                .map(|value| (FORWARDED_FOR, HeaderValue::from_bytes(value.as_bytes()).unwrap()));
            let mut headers = HeaderMap::new();
            for (name, value) in values {
                headers.append(name, value);
            }
            let address = client_address(peer.parse().unwrap(), &headers, &trusted);
            assert_eq!(address.to_string(), expected, "{peer} {forwarded:?}");
        }
    }
}
