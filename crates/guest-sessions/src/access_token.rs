//! Places of the access token of a socket: the handshake frame, a subprotocol, or the query.

use http::Uri;
use secrecy::SecretString;

use ws_transport::ServerHandshake;

/// Query parameter that may hold the access token, as in the founding tutorial.
pub(crate) const TOKEN_QUERY: &str = "access_token";

/// Prefix of the WebSocket subprotocol that may hold the access token.
pub(crate) const TOKEN_PROTOCOL_PREFIX: &str = "access_token.";

/// Prefix of the WebSocket subprotocol that may hold a ticket of a browser's session.
const TICKET_PROTOCOL_PREFIX: &str = "ticket.";

/// The subprotocol that the gateway selects when the token is offered with it.
pub const PROTOCOL: &str = "guest-sessions.v1";

/// The place of the access token.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TokenPlacement {
    /// In the first frame: nothing on the way logs it.
    #[default]
    Frame,
    /// In the URL, as the founding tutorial does. Proxies log URLs, and a gateway may refuse it: only for
    /// compatibility (RFC 9700 section 4.3.2 forbids it).
    Query,
    /// In `Sec-WebSocket-Protocol`, as `access_token.<token>` with [`PROTOCOL`], as browsers can. A token
    /// that cannot stand in a header goes into the first frame.
    Subprotocol,
}

/// The access token among the subprotocols that a client offers. Select [`PROTOCOL`] then, never the token.
#[must_use]
pub fn offered_token(handshake: &ServerHandshake) -> Option<SecretString> {
    offered(handshake, TOKEN_PROTOCOL_PREFIX)
}

/// The ticket among the subprotocols that a page offers. Select [`PROTOCOL`] then, never the ticket.
#[must_use]
pub fn offered_ticket(handshake: &ServerHandshake) -> Option<SecretString> {
    offered(handshake, TICKET_PROTOCOL_PREFIX)
}

fn offered(handshake: &ServerHandshake, prefix: &str) -> Option<SecretString> {
    handshake
        .protocols()
        .find_map(|protocol| protocol.strip_prefix(prefix))
        .map(SecretString::from)
}

/// The access token in the query of a handshake's URL.
#[must_use]
pub fn query_token(uri: &Uri) -> Option<SecretString> {
    let query = uri.query()?.as_bytes();
    url::form_urlencoded::parse(query)
        .find(|(name, _)| name == TOKEN_QUERY)
        .map(|(_, token)| SecretString::from(&*token))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use secrecy::ExposeSecret as _;
    use ws_transport::{ClientHandshake, OriginPolicy, SocketUrl};

    use super::*;

    #[test]
    fn token_is_found_among_subprotocols_and_in_the_query() {
        let policy = OriginPolicy::new(["https://shop.example"]).unwrap();
        let url: SocketUrl = "wss://gateway.example:8443/socket".parse().unwrap();
        let url = url
            .with_query(TOKEN_QUERY, &SecretString::from("ca nary"))
            .unwrap();
        let request = ClientHandshake::new(url, policy.admit(["https://shop.example"]).unwrap())
            .with_protocols(HeaderValue::from_static("guest-sessions.v1, access_token.canary"))
            .request(*b"the sample nonce");
        let handshake = ServerHandshake::parse(&request).unwrap();
        assert_eq!(offered_token(&handshake).unwrap().expose_secret(), "canary");
        assert_eq!(query_token(request.uri()).unwrap().expose_secret(), "ca nary");
    }
}
