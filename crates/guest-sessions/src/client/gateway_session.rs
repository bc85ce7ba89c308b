//! The session that a client connects to.

use genesys_api::SessionId;
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use ws_transport::SocketUrl;

use crate::access_token::{TOKEN_PROTOCOL_PREFIX, TOKEN_QUERY};
use crate::{PROTOCOL, TokenPlacement};

/// A session at the gateway, and the access to it.
#[derive(Clone, Debug)]
pub struct GatewaySession {
    pub(super) session: SessionId,
    pub(super) access_token: SecretString,
    placement: TokenPlacement,
    pub(super) epoch: Option<String>,
    pub(super) last_sequence: Option<u64>,
    /// Id of the last message to the guest.
    pub(super) last_message: Option<String>,
}

impl GatewaySession {
    /// A session and its access token, which is sent in the first frame.
    #[must_use]
    pub fn new(session: SessionId, access_token: SecretString) -> Self {
        Self {
            session,
            access_token,
            placement: TokenPlacement::Frame,
            epoch: None,
            last_sequence: None,
            last_message: None,
        }
    }

    /// Sends the token elsewhere.
    #[must_use]
    pub fn with_token_in(mut self, placement: TokenPlacement) -> Self {
        self.placement = placement;
        self
    }

    /// The URL and the subprotocols of the upgrade, with the token unless it is sent in the first frame. A token that
    /// fits neither is sent in the first frame from now on.
    pub(super) fn attach_token(&mut self, url: &SocketUrl) -> (SocketUrl, Option<HeaderValue>) {
        let token = &self.access_token;
        let attached = match self.placement {
            TokenPlacement::Frame => None,
            TokenPlacement::Query => {
                let url = url.clone().with_query(TOKEN_QUERY, token).ok();
                url.map(|url| (url, None))
            }
            TokenPlacement::Subprotocol => subprotocols(token).map(|value| (url.clone(), Some(value))),
        };
        attached.unwrap_or_else(|| {
            self.placement = TokenPlacement::Frame;
            (url.clone(), None)
        })
    }

    /// The token of the first frame, unless the upgrade has it.
    pub(super) fn frame_token(&self) -> Option<&SecretString> {
        matches!(self.placement, TokenPlacement::Frame).then_some(&self.access_token)
    }

    /// Enters the epoch of an accepted handshake. Returns whether it follows another one.
    pub(super) fn enter_epoch(&mut self, epoch: &str, sequence: u64) -> bool {
        let last = self.last_sequence.unwrap_or(sequence);
        if self.epoch.as_deref() == Some(epoch) {
            self.last_sequence = Some(last.min(sequence));
            return false;
        }
        let follows = self.epoch.replace(epoch.to_owned()).is_some();
        // what was missed is replayed from its first event on
        self.last_sequence = Some(if follows { 0 } else { sequence });
        follows
    }

    /// Whether an event is new; its number is then the last one.
    pub(super) fn is_new(&mut self, sequence: u64) -> bool {
        let new = Some(sequence) > self.last_sequence;
        self.last_sequence = self.last_sequence.max(Some(sequence));
        new
    }
}

fn subprotocols(token: &SecretString) -> Option<HeaderValue> {
    let token = token.expose_secret();
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let protocols = format!("{PROTOCOL}, {TOKEN_PROTOCOL_PREFIX}{token}");
    let value = HeaderValue::from_str(&protocols).ok();
    value.filter(|_| token.bytes().all(is_token))
}
