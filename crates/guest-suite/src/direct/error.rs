//! Errors of direct mode.

use genesys_api::ChannelId;
use genesys_http::CallError;
use guest_conversation::RequestError;
use guest_payload::{ChangeError, Refused};
use guest_sessions::ErrorCode;
use guest_store::{Conflict, StoreError, StoreErrorKind};
use token_window::TokenError;
use web_messaging::rest::deployment::NotAdmitted;

/// An operation of direct mode did not happen, and nothing was changed but, where it says so, the audit log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectError {
    /// The access token has expired.
    #[error("the access token has expired: rotate the session's tokens, then use the new one")]
    AccessExpired,
    /// The access token is not this session's.
    #[error("the access token is not this session's: use the one of its creation or of its last rotation")]
    AccessUnknown,
    /// A consent that is older than what is recorded.
    #[error("{0}")]
    ConsentOutdated(ChangeError),
    /// The policy refuses the session. Written to the audit log.
    #[error("{0}")]
    ConsentRequired(Box<Refused<'static>>),
    /// The session is over.
    #[error("the session has ended: create a new one")]
    Ended,
    /// The guest has a live session already.
    #[error("the guest id is in use by a live session: end that one first, or leave the guest id out")]
    GuestInUse,
    /// As many sessions are live as the configuration allows.
    #[error("{limit} sessions are live, which is the configured limit: try again when some have ended")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// The published configuration of the deployment does not admit the guest. No socket was opened.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// No such session or webhook, or somebody else's.
    #[error("there is no such session or webhook: check the id and its owner")]
    NotFound,
    /// The guest is not signed in.
    #[error("the guest is not signed in: begin a sign-in, and exchange its code")]
    NotSignedIn,
    /// The refresh token is not this session's.
    #[error("the refresh token is not this session's: use the one of its creation or of its last rotation")]
    RefreshUnknown,
    /// The refresh token has been used. Written to the audit log.
    #[error("the refresh token has been used: each works once, use the one that its rotation brought")]
    RefreshUsed,
    /// Genesys Cloud did not sign the guest in or out.
    #[error(
        "Genesys Cloud did not sign the guest in or out: try again if it may pass, or have the guest sign in anew"
    )]
    SignIn(#[source] CallError),
    /// The guest came back with the state of another sign-in.
    #[error("the state is not this sign-in's: begin another one, and look for links that others made")]
    SignInForged,
    /// The deployment does not sign guests in, or not during a conversation.
    #[error("the deployment does not allow it: an administrator can switch it on in its configuration")]
    SignInOff,
    /// A conversation cannot be signed in now.
    #[error("a conversation cannot be signed in now: connect it, and try again once it is configured")]
    StepUp(#[source] RequestError),
    /// The store cannot write or read.
    #[error(
        "the store cannot do it, so nothing was changed: try again, and look at the gateway's log if it lasts"
    )]
    Store(#[source] StoreError),
    /// There is no fresh token of the signed-in guest now.
    #[error(transparent)]
    Token(TokenError),
    /// The owner has as many webhooks as one may have.
    #[error("there are as many webhooks as one API client may have: remove one first")]
    TooManyWebhooks,
    /// No deployment is configured for the channel.
    #[error("no channel {channel} is configured: use the id of a configured one")]
    UnknownChannel {
        /// The channel asked for.
        channel: ChannelId,
    },
    /// Another webhook has the name.
    #[error("a webhook of this name exists with other content: replace that one, or choose another name")]
    WebhookNameInUse,
}

impl DirectError {
    /// The code that a gateway refuses with. `None` for an error that no call of the contract can have.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        Some(match self {
            Self::AccessExpired => ErrorCode::CredentialsExpired,
            Self::AccessUnknown => ErrorCode::BadCredentials,
            Self::ConsentOutdated(_) => ErrorCode::ConsentOutdated,
            Self::ConsentRequired(_) => ErrorCode::ConsentRequired,
            Self::Ended => ErrorCode::SessionEnded,
            Self::Full { .. } | Self::Store(_) => ErrorCode::ServiceUnavailable,
            Self::GuestInUse => ErrorCode::GuestIdInUse,
            Self::NotFound => ErrorCode::NotFound,
            Self::RefreshUnknown | Self::UnknownChannel { .. } => ErrorCode::InvalidValue,
            Self::RefreshUsed => ErrorCode::RefreshTokenUsed,
            Self::TooManyWebhooks => ErrorCode::WebhookLimit,
            Self::WebhookNameInUse => ErrorCode::WebhookNameInUse,
            Self::NotAdmitted(_)
            | Self::NotSignedIn
            | Self::SignIn(_)
            | Self::SignInForged
            | Self::SignInOff
            | Self::StepUp(_)
            | Self::Token(_) => return None,
        })
    }
}

impl From<StoreError> for DirectError {
    fn from(error: StoreError) -> Self {
        match error.kind() {
            StoreErrorKind::Conflict(Conflict::GuestInUse) => Self::GuestInUse,
            StoreErrorKind::Conflict(Conflict::WebhookNameInUse) => Self::WebhookNameInUse,
            StoreErrorKind::NotFound => Self::NotFound,
            StoreErrorKind::TooManyWebhooks => Self::TooManyWebhooks,
            _ => Self::Store(error),
        }
    }
}
