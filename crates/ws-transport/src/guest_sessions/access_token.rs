//! Where the access token of a socket stands: in the handshake frame, a subprotocol, or the query.

use http::Uri;
use secrecy::SecretString;

use super::{TOKEN_PROTOCOL_PREFIX, TOKEN_QUERY};
use crate::handshake::ServerHandshake;

/// The subprotocol that the gateway selects when the token is offered beside it.
pub const PROTOCOL: &str = "guest-sessions.v1";

/// Where a client puts the access token.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum TokenPlacement {
    /// In the first frame: nothing on the way logs it.
    #[default]
    Frame,
    /// In the URL, as the founding tutorial does. Proxies log URLs, and a gateway may refuse it: only for
    /// compatibility (RFC 9700 section 4.3.2 forbids it).
    Query,
    /// In `Sec-WebSocket-Protocol`, as `access_token.<token>` beside [`PROTOCOL`]: what a browser can do. A token
    /// that cannot stand in a header goes into the first frame.
    Subprotocol,
}

/// The access token among the subprotocols that a client offers. Select [`PROTOCOL`] then, never the token.
#[must_use]
pub fn offered_token(handshake: &ServerHandshake) -> Option<SecretString> {
    handshake
        .protocols()
        .find_map(|protocol| protocol.strip_prefix(TOKEN_PROTOCOL_PREFIX))
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
