//! The upgrade from HTTP to WebSocket (RFC 6455 section 4), as values for both ends.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, HOST, HeaderName, ORIGIN, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
#[cfg(feature = "client")]
use http::header::{SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS};
use http::{HeaderMap, HeaderValue, Method, Request, Version};

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
    #[must_use]
    pub fn url(&self) -> &SocketUrl {
        &self.url
    }

    /// Builds the request. `key` is 16 fresh random bytes. Do not log it: its URL and headers may hold a token.
    ///
    /// # Panics
    /// Never: its parts were checked when they were parsed.
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
    /// If the response does not open a WebSocket.
    #[cfg(feature = "client")]
    pub fn verify(&self, key: [u8; 16], response: &http::Response<()>) -> Result<(), UpgradeError> {
        use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

        let headers = response.headers();
        if response.status() != http::StatusCode::SWITCHING_PROTOCOLS {
            return Err(UpgradeError::Status {
                status: response.status().as_u16(),
            });
        }
        if !has_token(headers, UPGRADE, "websocket") || !has_token(headers, CONNECTION, "upgrade") {
            return Err(UpgradeError::NotAnUpgrade);
        }
        let accept = derive_accept_key(STANDARD.encode(key).as_bytes());
        if only(headers, SEC_WEBSOCKET_ACCEPT).is_none_or(|value| *value != *accept) {
            return Err(UpgradeError::Accept);
        }
        if headers.contains_key(SEC_WEBSOCKET_EXTENSIONS) {
            return Err(UpgradeError::Extension);
        }
        let selected = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().collect::<Vec<_>>();
        let is_offered = |selected: &HeaderValue| {
            let offered = self.protocols.as_ref().and_then(|offered| offered.to_str().ok());
            offered.is_some_and(|offered| offered.split(',').any(|offered| offered.trim() == *selected))
        };
        match *selected {
            // a server may select none of the subprotocols
            [] => Ok(()),
            [selected] if is_offered(selected) => Ok(()),
            _ => Err(UpgradeError::Protocol),
        }
    }
}

/// The response to a client's handshake does not open a WebSocket.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// `Sec-WebSocket-Accept` does not belong to the key of the request.
    #[error("invalid Sec-WebSocket-Accept: the server does not speak WebSocket, or a proxy answered")]
    Accept,
    /// An extension that was not offered.
    #[error("the server selected a WebSocket extension that was not offered: disable it there")]
    Extension,
    /// `Upgrade: websocket` or `Connection: upgrade` is missing.
    #[error("the response is not an upgrade to WebSocket: check the URL")]
    NotAnUpgrade,
    /// A subprotocol that was not offered, or more than one.
    #[error("the server selected a subprotocol that was not offered: check its configuration")]
    Protocol,
    /// A status other than 101.
    #[error("the handshake was answered with status {status}: check the URL, the token and the origin")]
    Status {
        /// HTTP status.
        status: u16,
    },
}

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
    /// If the request is not a valid handshake; [`HandshakeError::status`] is the status of the response.
    pub fn parse<B>(request: &Request<B>) -> Result<Self, HandshakeError> {
        let headers = request.headers();
        if !has_token(headers, UPGRADE, "websocket") || !has_token(headers, CONNECTION, "upgrade") {
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
        let key = only(headers, SEC_WEBSOCKET_KEY).ok_or(HandshakeError::Key)?;
        if STANDARD
            .decode(key.as_bytes())
            .is_ok_and(|nonce| nonce.len() == 16)
        {
            let mut protocols: Vec<_> = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().cloned().collect();
            protocols.iter_mut().for_each(|value| value.set_sensitive(true));
            Ok(Self {
                key: key.clone(),
                protocols,
            })
        } else {
            Err(HandshakeError::Key)
        }
    }

    /// Subprotocols that the client offers, in order of preference.
    pub fn protocols(&self) -> impl Iterator<Item = &str> {
        self.protocols
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|protocol| !protocol.is_empty())
    }

    /// Builds the response that upgrades the connection, with the selected one of the offered subprotocols.
    #[cfg(feature = "client")]
    #[must_use]
    pub fn response(&self, protocol: Option<&'static str>) -> http::Response<()> {
        let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(self.key.as_bytes());
        let mut response = http::Response::new(());
        *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(
            SEC_WEBSOCKET_ACCEPT,
            HeaderValue::from_str(&accept).expect("base64 is ASCII"),
        );
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
    #[error("invalid handshake: a WebSocket is opened with HTTP/1.1")]
    HttpVersion,
    /// `Sec-WebSocket-Key` is missing, repeated, or not the base64 of 16 bytes.
    #[error("invalid Sec-WebSocket-Key: send 16 random bytes in base64, once")]
    Key,
    /// Not `GET`.
    #[error("invalid handshake: a WebSocket is opened with GET")]
    Method,
    /// `Upgrade: websocket` or `Connection: upgrade` is missing.
    #[error("not a handshake: send Connection: upgrade and Upgrade: websocket")]
    NotAnUpgrade,
    /// Not version 13.
    #[error("unsupported Sec-WebSocket-Version: send 13")]
    SocketVersion,
}

impl HandshakeError {
    /// HTTP status of the response: 426 for a request that must be changed (sent with `Upgrade: websocket` and
    /// `Sec-WebSocket-Version: 13`), 405 for the method, else 400.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::NotAnUpgrade | Self::SocketVersion => 426,
            Self::Method => 405,
            Self::HttpVersion | Self::Key => 400,
        }
    }
}

fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
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
        let cases: [(Change, Result<(), UpgradeError>); 8] = [
            (|_| (), Ok(())),
            (
                |response| drop(response.headers_mut().remove(SEC_WEBSOCKET_PROTOCOL)),
                Ok(()),
            ),
            (
                |response| *response.status_mut() = http::StatusCode::FORBIDDEN,
                Err(UpgradeError::Status { status: 403 }),
            ),
            (
                |response| drop(response.headers_mut().remove(UPGRADE)),
                Err(UpgradeError::NotAnUpgrade),
            ),
            (
                |response| drop(response.headers_mut().remove(CONNECTION)),
                Err(UpgradeError::NotAnUpgrade),
            ),
            (
                |response| {
                    let other = HeaderValue::from_static("AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
                    response.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, other);
                },
                Err(UpgradeError::Accept),
            ),
            (
                |response| {
                    let deflate = HeaderValue::from_static("permessage-deflate");
                    response.headers_mut().insert(SEC_WEBSOCKET_EXTENSIONS, deflate);
                },
                Err(UpgradeError::Extension),
            ),
            (
                |response| {
                    let unknown = HeaderValue::from_static("unknown");
                    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, unknown);
                },
                Err(UpgradeError::Protocol),
            ),
        ];
        for (change, outcome) in cases {
            assert_eq!(verify(change), outcome);
        }
        assert_eq!(
            client.verify([0; 16], &server.response(None)),
            Err(UpgradeError::Accept)
        );
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
