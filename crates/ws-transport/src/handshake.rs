//! The upgrade from HTTP to WebSocket (RFC 6455 section 4), as values for both ends.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, HOST, HeaderName, ORIGIN, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Version};
#[cfg(feature = "client")]
use {
    http::StatusCode,
    http::header::{SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS},
    tokio_tungstenite::tungstenite::handshake::derive_accept_key,
};

use crate::{AdmittedOrigin, SocketUrl};

/// A client's handshake. It requires an admitted origin, and its `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct ClientHandshake {
    url: SocketUrl,
    origin: AdmittedOrigin,
    protocols: Option<HeaderValue>,
}

impl ClientHandshake {
    /// A handshake for `url` from `origin`.
    #[must_use]
    pub fn new(url: SocketUrl, origin: AdmittedOrigin) -> Self {
        Self {
            url,
            origin,
            protocols: None,
        }
    }

    /// Offers subprotocols, comma-separated. They are marked as sensitive, since a token may be among them.
    #[must_use]
    pub fn with_protocols(mut self, mut protocols: HeaderValue) -> Self {
        protocols.set_sensitive(true);
        self.protocols = Some(protocols);
        self
    }

    /// URL of the socket.
    pub fn url(&self) -> &SocketUrl {
        &self.url
    }

    /// Builds the request. `key` is 16 fresh random bytes. Do not log it: its URL and headers may hold a token.
    #[must_use]
    pub fn request(&self, key: [u8; 16]) -> Request<()> {
        let ascii = |text: &str| HeaderValue::from_str(text).expect("URLs and origins are written in ASCII");
        let uri: http::Uri = self.url.exposed().parse().expect("checked when the URL was read");
        let host = ascii(uri.authority().expect("a socket's URL has a host").as_str());
        let mut request = Request::new(());
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(HOST, host);
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(SEC_WEBSOCKET_KEY, ascii(&STANDARD.encode(key)));
        headers.insert(ORIGIN, ascii(&self.origin.to_string()));
        if let Some(protocols) = &self.protocols {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, protocols.clone());
        }
        request
    }

    /// Checks the response to [`Self::request`] with the same `key` (RFC 6455 section 4.1).
    ///
    /// # Errors
    /// If the response does not open a WebSocket, or selects something that was not offered.
    #[cfg(feature = "client")]
    pub fn verify(&self, key: [u8; 16], response: &http::Response<()>) -> Result<(), UpgradeError> {
        let headers = response.headers();
        let accept = derive_accept_key(STANDARD.encode(key).as_bytes());
        let selected = headers.get_all(SEC_WEBSOCKET_PROTOCOL);
        Err(UpgradeError(
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                "invalid upgrade: the status is not 101; check the URL, the token and the origin"
            } else if !is_upgrade(headers) {
                "invalid upgrade: Upgrade or Connection is missing; check the URL"
            } else if only(headers, SEC_WEBSOCKET_ACCEPT).is_none_or(|value| *value != *accept) {
                "invalid Sec-WebSocket-Accept: the server does not support WebSocket, or a proxy answered; check the URL"
            } else if headers.contains_key(SEC_WEBSOCKET_EXTENSIONS) {
                "invalid upgrade: the server selected an extension that was not offered; disable it there"
            // a server may select none of the subprotocols
            } else if selected.iter().count() > 1
                || selected
                    .iter()
                    .any(|selected| tokens(&self.protocols).all(|offered| offered != selected))
            {
                "invalid upgrade: the server selected a subprotocol that was not offered; check its configuration"
            } else {
                return Ok(());
            },
        ))
    }
}

/// A response to a client's handshake that does not open a WebSocket.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct UpgradeError(&'static str);

/// A handshake that a server received. It holds no URL and no origin, which are checked separately.
#[derive(Clone, Debug)]
pub struct ServerHandshake {
    #[cfg_attr(not(feature = "client"), expect(dead_code, reason = "the driver hashes it"))]
    key: HeaderValue,
    /// Marked as sensitive: a token may be among them.
    protocols: Vec<HeaderValue>,
}

impl ServerHandshake {
    /// Checks method, version and headers.
    ///
    /// # Errors
    /// See [`HandshakeError`]. [`HandshakeError::status`] is the status of the response.
    pub fn parse<B>(request: &Request<B>) -> Result<Self, HandshakeError> {
        let headers = request.headers();
        if !is_upgrade(headers) {
            return Err(HandshakeError::NotAnUpgrade);
        }
        if request.method() != Method::GET {
            return Err(HandshakeError::Method);
        }
        if request.version() != Version::HTTP_11 {
            return Err(HandshakeError::HttpVersion);
        }
        if only(headers, SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return Err(HandshakeError::SocketVersion);
        }
        let is_nonce = |key: &&HeaderValue| {
            let nonce = STANDARD.decode(key.as_bytes());
            nonce.is_ok_and(|nonce| nonce.len() == 16)
        };
        let key = only(headers, SEC_WEBSOCKET_KEY).filter(is_nonce);
        let key = key.ok_or(HandshakeError::Key)?.clone();
        let mut protocols: Vec<_> = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().cloned().collect();
        protocols.iter_mut().for_each(|value| value.set_sensitive(true));
        Ok(Self { key, protocols })
    }

    /// Subprotocols that the client offers, in order of preference.
    pub fn protocols(&self) -> impl Iterator<Item = &str> {
        tokens(&self.protocols)
    }

    /// Builds the response that upgrades the connection, with the selected one of the offered subprotocols.
    #[cfg(feature = "client")]
    #[must_use]
    pub fn response(&self, protocol: Option<&'static str>) -> http::Response<()> {
        let accept = derive_accept_key(self.key.as_bytes());
        let mut response = http::Response::new(());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        let accept = HeaderValue::from_str(&accept).expect("base64 is ASCII");
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        if let Some(protocol) = protocol {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
        }
        response
    }
}

/// A request that is not a valid handshake.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// Not HTTP/1.1.
    #[error("invalid handshake: not HTTP/1.1; send it with HTTP/1.1")]
    HttpVersion,
    /// `Sec-WebSocket-Key` is missing, repeated, or not the base64 of 16 bytes.
    #[error("invalid Sec-WebSocket-Key: not 16 bytes in base64; send 16 random bytes, once")]
    Key,
    /// Not `GET`.
    #[error("invalid handshake: not a GET request; send it with GET")]
    Method,
    /// `Upgrade: websocket` or `Connection: upgrade` is missing.
    #[error("invalid handshake: not an upgrade; send Connection: upgrade and Upgrade: websocket")]
    NotAnUpgrade,
    /// Not version 13.
    #[error("invalid Sec-WebSocket-Version: not supported; send 13")]
    SocketVersion,
}

impl HandshakeError {
    /// HTTP status of the response: 426 for a request that must be changed (sent with `Upgrade: websocket` and
    /// `Sec-WebSocket-Version: 13`), 405 for the method, else 400.
    pub fn status(self) -> u16 {
        match self {
            Self::NotAnUpgrade | Self::SocketVersion => 426,
            Self::Method => 405,
            Self::HttpVersion | Self::Key => 400,
        }
    }
}

fn is_upgrade(headers: &HeaderMap) -> bool {
    let has =
        |name, token: &str| tokens(headers.get_all(name)).any(|found| found.eq_ignore_ascii_case(token));
    has(UPGRADE, "websocket") && has(CONNECTION, "upgrade")
}

/// The entries of comma-separated headers.
fn tokens<'a>(values: impl IntoIterator<Item = &'a HeaderValue>) -> impl Iterator<Item = &'a str> {
    values
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

fn only(headers: &HeaderMap, name: HeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;
    use crate::OriginPolicy;

    fn valid() -> Request<()> {
        let origin = OriginPolicy::new(["https://shop.example"])
            .unwrap()
            .admit(["https://shop.example"])
            .unwrap();
        let url: SocketUrl = "wss://gateway.example:8443/socket".parse().unwrap();
        let url = url
            .with_query("access_token", &SecretString::from("ca nary"))
            .unwrap();
        let handshake = ClientHandshake::new(url, origin)
            .with_protocols(HeaderValue::from_static("guest-sessions.v1, access_token.canary"));
        assert!(!format!("{handshake:?}").contains("nary"));
        handshake.request(*b"the sample nonce")
    }

    #[test]
    fn server_parses_the_request_of_the_client() {
        let request = valid();
        assert_eq!(request.headers()[HOST], "gateway.example:8443");
        assert_eq!(request.headers()[ORIGIN], "https://shop.example");
        assert_eq!(request.headers()[SEC_WEBSOCKET_KEY], "dGhlIHNhbXBsZSBub25jZQ==");
        let handshake = ServerHandshake::parse(&request).unwrap();
        assert_eq!(
            handshake.protocols().collect::<Vec<_>>(),
            ["guest-sessions.v1", "access_token.canary"]
        );
        assert!(!format!("{handshake:?}").contains("canary"));
    }

    #[cfg(feature = "client")]
    #[test]
    fn response_has_the_accept_key_of_the_standard() {
        // RFC 6455 section 1.3
        let response = ServerHandshake::parse(&valid())
            .unwrap()
            .response(Some("guest-sessions.v1"));
        assert_eq!(
            response.headers()["sec-websocket-accept"],
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        assert_eq!(response.headers()[SEC_WEBSOCKET_PROTOCOL], "guest-sessions.v1");
        assert_eq!(response.status(), 101);
    }

    #[cfg(feature = "client")]
    #[test]
    fn client_accepts_only_the_response_to_its_own_request() {
        type Change = fn(&mut http::Response<()>);
        let key = *b"the sample nonce";
        let policy = OriginPolicy::new(["https://shop.example"]).unwrap();
        let url: SocketUrl = "wss://gateway.example/socket".parse().unwrap();
        let client = ClientHandshake::new(url, policy.admit(["https://shop.example"]).unwrap())
            .with_protocols(HeaderValue::from_static("guest-sessions.v1, other"));
        let server = ServerHandshake::parse(&client.request(key)).unwrap();
        let verify = |change: Change| {
            let mut response = server.response(Some("guest-sessions.v1"));
            change(&mut response);
            client.verify(key, &response)
        };
        let cases: [(Change, Option<&str>); 8] = [
            (|_| (), None),
            (
                |response| drop(response.headers_mut().remove(SEC_WEBSOCKET_PROTOCOL)),
                None,
            ),
            (
                |response| *response.status_mut() = StatusCode::FORBIDDEN,
                Some("the token and the origin"),
            ),
            (
                |response| drop(response.headers_mut().remove(UPGRADE)),
                Some("Upgrade or Connection is missing"),
            ),
            (
                |response| drop(response.headers_mut().remove(CONNECTION)),
                Some("Upgrade or Connection is missing"),
            ),
            (
                |response| {
                    let other = HeaderValue::from_static("AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
                    response.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, other);
                },
                Some("invalid Sec-WebSocket-Accept"),
            ),
            (
                |response| {
                    let deflate = HeaderValue::from_static("permessage-deflate");
                    response.headers_mut().insert(SEC_WEBSOCKET_EXTENSIONS, deflate);
                },
                Some("extension"),
            ),
            (
                |response| {
                    let unknown = HeaderValue::from_static("unknown");
                    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, unknown);
                },
                Some("subprotocol"),
            ),
        ];
        for (change, outcome) in cases {
            let error = verify(change).err().map(|error| error.to_string());
            let is_expected = error
                .as_deref()
                .zip(outcome)
                .is_none_or(|(error, part)| error.contains(part));
            assert!(
                is_expected && error.is_some() == outcome.is_some(),
                "{error:?} {outcome:?}"
            );
        }
        assert!(client.verify([0; 16], &server.response(None)).is_err());
    }

    #[test]
    fn handshake_with_one_fault_is_refused() {
        let with = |change: &dyn Fn(&mut Request<()>)| {
            let mut request = valid();
            change(&mut request);
            ServerHandshake::parse(&request).map(|_| ())
        };
        let set = |name: HeaderName, value: &'static str| {
            with(&|request| {
                request
                    .headers_mut()
                    .insert(name.clone(), HeaderValue::from_static(value));
            })
        };
        assert_eq!(set(CONNECTION, "keep-alive, UPGRADE"), Ok(()));
        assert_eq!(set(UPGRADE, "WebSocket"), Ok(()));
        for (outcome, error) in [
            (set(CONNECTION, "keep-alive"), HandshakeError::NotAnUpgrade),
            (set(UPGRADE, "h2c"), HandshakeError::NotAnUpgrade),
            (set(SEC_WEBSOCKET_VERSION, "8"), HandshakeError::SocketVersion),
            (set(SEC_WEBSOCKET_KEY, "short"), HandshakeError::Key),
            (
                set(SEC_WEBSOCKET_KEY, "AAAAAAAAAAAAAAAAAAAA"),
                HandshakeError::Key,
            ),
            (set(SEC_WEBSOCKET_KEY, ""), HandshakeError::Key),
            (
                with(&|request| *request.method_mut() = Method::POST),
                HandshakeError::Method,
            ),
            (
                with(&|request| *request.version_mut() = Version::HTTP_10),
                HandshakeError::HttpVersion,
            ),
            (
                with(&|request| {
                    let key = request.headers()[SEC_WEBSOCKET_KEY].clone();
                    request.headers_mut().append(SEC_WEBSOCKET_KEY, key);
                }),
                HandshakeError::Key,
            ),
            (
                with(&|request| {
                    request.headers_mut().remove(SEC_WEBSOCKET_VERSION);
                }),
                HandshakeError::SocketVersion,
            ),
        ] {
            assert_eq!(outcome, Err(error));
        }
        assert_eq!(HandshakeError::NotAnUpgrade.status(), 426);
    }
}
