//! Errors of both modes.

use std::error::Error as StdError;

use genesys_api::{ChannelId, Problem};
use genesys_auth::AuthorizedError;
use genesys_http::CallError;
use guest_conversation::{Ending, RequestError, SendError};
use guest_payload::{ChangeError, Refused};
use guest_sessions::ErrorCode;
use guest_sessions::client::ErrorKind;
use guest_store::{Conflict, ProveError, StoreError, StoreErrorKind};
use token_window::TokenError;
use web_messaging::rest::deployment::NotAdmitted;

/// A failed operation. It changed nothing, except the audit log where a variant states it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The access token has expired.
    #[error("invalid access token: it has expired, refresh the session's tokens and use the new one")]
    AccessExpired,
    /// The access token is of another session, or was replaced.
    #[error("invalid access token: it is not this session's, use this session's newest one")]
    AccessUnknown,
    /// A later choice of the guest is recorded.
    #[error("{0}")]
    ConsentOutdated(ChangeError),
    /// The policy refuses the session. In direct mode this is audited.
    #[error("{0}")]
    ConsentRequired(Box<Refused<'static>>),
    /// The conversation ended before it was ready.
    #[error("{0}")]
    Conversation(Ending),
    /// The session has ended.
    #[error("cannot use the session: it has ended, create a new one")]
    Ended,
    /// The limit of live sessions is reached.
    #[error("cannot create a session: {limit} are live, which is the limit, try again later")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// The gateway refused a call or could not be reached.
    #[error(transparent)]
    Gateway(Box<AuthorizedError>),
    /// The guest has a live session.
    #[error("cannot create a session: the guest has a live one, end that first or omit the guest id")]
    GuestInUse,
    /// A request with this idempotency key is in progress.
    #[error("cannot repeat the request: one with this idempotency key is in progress, repeat it later")]
    KeyInProgress,
    /// The idempotency key belongs to another request.
    #[error("invalid idempotency key: it belongs to another request, use a new key for each request")]
    KeyReused,
    /// The request was carried out, and its answer cannot be repeated.
    #[error("cannot repeat the request: what it created is in use or was removed, read it or use a new key")]
    KeySpent,
    /// The published configuration of the deployment does not admit the guest. No socket was opened.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// No conversation is open.
    #[error("cannot use the conversation: none is open, connect the session first")]
    NotConnected,
    /// The session or webhook does not exist, or has another owner.
    #[error("cannot find the session or webhook: check its id and its owner")]
    NotFound,
    /// The audit log has no such entry or checkpoint.
    #[error(transparent)]
    NotProved(ProveError),
    /// The guest is not signed in.
    #[error("cannot use the sign-in: the guest is not signed in, begin a sign-in and exchange its code")]
    NotSignedIn,
    /// The text is not the origin of a page.
    #[error(transparent)]
    Origin(Box<dyn StdError + Send + Sync>),
    /// A refresh token that is no longer valid was used, so that it may be stolen. The session is ended. This is audited.
    #[error(
        "invalid refresh token: it was replaced, and may be stolen, so the session was ended: create a new one"
    )]
    RefreshReused,
    /// The refresh token is of another session.
    #[error("invalid refresh token: it is not this session's, use this session's newest one")]
    RefreshUnknown,
    /// A rotation was repeated after its new tokens were used. This is audited.
    #[error("invalid refresh token: its rotation is complete and its new tokens are in use, use those")]
    RefreshUsed,
    /// A reply of the gateway holds an invalid value.
    #[error(transparent)]
    Reply(Box<dyn StdError + Send + Sync>),
    /// A message cannot be queued.
    #[error(transparent)]
    Send(#[from] SendError),
    /// Genesys Cloud did not sign the guest in or out.
    #[error("cannot sign the guest in or out at Genesys Cloud: try again, or have the guest sign in again")]
    SignIn(#[source] CallError),
    /// The `state` parameter is of another sign-in.
    #[error("invalid state: it is of another sign-in, begin a new one and look for links that others made")]
    SignInForged,
    /// The deployment allows no sign-in, or none during a conversation.
    #[error("cannot sign the guest in: the deployment does not allow it, an administrator can switch it on")]
    SignInOff,
    /// The conversation is not ready for a sign-in.
    #[error("cannot sign the guest in on the conversation: connect it, and try again once it is configured")]
    StepUp(#[source] RequestError),
    /// The store cannot be read or written.
    #[error("cannot read or write the store: nothing was changed, try again, and check the log if it lasts")]
    Store(#[source] StoreError),
    /// There is no valid token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The owner has used as many idempotency keys as are kept.
    #[error(
        "cannot keep the idempotency key: the API client has used as many as it may have in 24 hours, omit it"
    )]
    TooManyKeys,
    /// The owner has reached the limit of webhooks.
    #[error("cannot register another webhook: the API client has as many as it may have, remove one first")]
    TooManyWebhooks,
    /// The channel has no deployment in the configuration.
    #[error("invalid channel {channel}: it is not configured, use the id of a configured one")]
    UnknownChannel {
        /// The channel.
        channel: ChannelId,
    },
    /// The owner has another webhook of this name.
    #[error("cannot store the webhook: its name is in use, replace that webhook or choose another name")]
    WebhookNameInUse,
}

impl From<AuthorizedError> for Error {
    fn from(error: AuthorizedError) -> Self {
        Self::Gateway(Box::new(error))
    }
}

impl Error {
    /// The kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Conversation(ending) => ending.into(),
            Self::Gateway(error) => (&**error).into(),
            Self::NotAdmitted(_) | Self::Origin(_) | Self::SignInOff => ErrorKind::Invalid,
            Self::NotConnected | Self::StepUp(_) => ErrorKind::NotSent,
            Self::NotSignedIn | Self::SignInForged => ErrorKind::Credentials,
            Self::Send(error) => error.into(),
            Self::SignIn(error) => error.problem().map_or(ErrorKind::Unavailable, |problem| {
                ErrorKind::of_status(problem.status)
            }),
            Self::Store(error) => match error.kind() {
                StoreErrorKind::Busy
                | StoreErrorKind::Conflict(Conflict::VersionChanged)
                | StoreErrorKind::Full
                | StoreErrorKind::Unavailable => ErrorKind::Unavailable,
                _ => ErrorKind::Other,
            },
            Self::Token(TokenError::Failed { .. }) => ErrorKind::Unavailable,
            Self::Token(TokenError::ReauthRequired) => ErrorKind::Credentials,
            other => other
                .code()
                .and_then(ErrorKind::of_code)
                .unwrap_or(ErrorKind::Other),
        }
    }

    /// The code of the gateway's refusal for an error of direct mode, if a call of the contract has it.
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
            Self::KeyInProgress => ErrorCode::IdempotencyKeyInProgress,
            Self::KeyReused => ErrorCode::IdempotencyKeyReused,
            Self::KeySpent => ErrorCode::IdempotencyKeySpent,
            Self::NotFound | Self::NotProved(_) => ErrorCode::NotFound,
            Self::RefreshUnknown | Self::UnknownChannel { .. } => ErrorCode::InvalidValue,
            Self::RefreshReused => ErrorCode::RefreshTokenReused,
            Self::RefreshUsed => ErrorCode::RefreshTokenUsed,
            Self::TooManyKeys => ErrorCode::IdempotencyLimit,
            Self::TooManyWebhooks => ErrorCode::WebhookLimit,
            Self::WebhookNameInUse => ErrorCode::WebhookNameInUse,
            _ => return None,
        })
    }

    /// The error body of the gateway, if it refused a call.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Gateway(error) => error.problem(),
            _ => None,
        }
    }
}

impl From<ProveError> for Error {
    fn from(error: ProveError) -> Self {
        match error {
            ProveError::Store(error) => error.into(),
            other => Self::NotProved(other),
        }
    }
}

impl From<StoreErrorKind> for Error {
    fn from(kind: StoreErrorKind) -> Self {
        Self::Store(kind.into())
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error.kind() {
            StoreErrorKind::Conflict(Conflict::GuestInUse) => Self::GuestInUse,
            // stored by a request whose caller has gone
            StoreErrorKind::Conflict(Conflict::KeyInUse) => Self::KeyInProgress,
            StoreErrorKind::Conflict(Conflict::WebhookNameInUse) => Self::WebhookNameInUse,
            StoreErrorKind::NotFound => Self::NotFound,
            StoreErrorKind::TooManyRequests => Self::TooManyKeys,
            StoreErrorKind::TooManyWebhooks => Self::TooManyWebhooks,
            _ => Self::Store(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn error_of_direct_mode_has_a_kind() {
        let store = |kind: StoreErrorKind| Error::Store(kind.into());
        let channel = "c".parse().unwrap();
        for (error, kind) in [
            (Error::AccessExpired, ErrorKind::Credentials),
            (Error::RefreshUsed, ErrorKind::Credentials),
            (Error::Ended, ErrorKind::Ended),
            (Error::Full { limit: 1 }, ErrorKind::Unavailable),
            (Error::GuestInUse, ErrorKind::Conflict),
            (Error::NotFound, ErrorKind::NotFound),
            (Error::UnknownChannel { channel }, ErrorKind::Invalid),
            (Error::WebhookNameInUse, ErrorKind::Conflict),
            (store(StoreErrorKind::Busy), ErrorKind::Unavailable),
            (store(StoreErrorKind::Full), ErrorKind::Unavailable),
            (store(StoreErrorKind::Unavailable), ErrorKind::Unavailable),
            (
                store(StoreErrorKind::Conflict(Conflict::VersionChanged)),
                ErrorKind::Unavailable,
            ),
            (store(StoreErrorKind::Corrupt), ErrorKind::Other),
            (store(StoreErrorKind::Poisoned), ErrorKind::Other),
        ] {
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.problem().is_none());
        }
    }

    #[test]
    fn wrapped_error_has_the_kind_and_text_of_its_cause() {
        let ending = Ending::SessionExpired;
        let text = ending.to_string();
        let error = Error::Conversation(ending);
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Ended, text));
        assert_eq!(Error::from(SendError::Empty).kind(), ErrorKind::Invalid);
        let failed = TokenError::Failed {
            attempt: 1,
            next_in: Duration::ZERO,
        };
        assert_eq!(Error::from(failed).kind(), ErrorKind::Unavailable);
        assert_eq!(
            Error::from(TokenError::ReauthRequired).kind(),
            ErrorKind::Credentials
        );
    }

    #[test]
    fn error_source_is_not_repeated_in_message() {
        let error = Error::Store(StoreErrorKind::Poisoned.into());
        let source = error.source().unwrap();
        assert_eq!(source.to_string(), StoreErrorKind::Poisoned.to_string());
        assert_ne!(
            error.to_string(),
            source.to_string(),
            "a chain repeats no message"
        );
    }
}
