//! A socket of the gateway whose access token is kept fresh.

use std::ops::Deref;

use genesys_api::SessionId;
use genesys_auth::AuthorizedError;
use guest_conversation::client::{Connection, Handle, Settings, supply_token};
use guest_conversation::{ConnectionEvent, Event, GuestMachine as _};
use token_window::{Events, RefreshError, TokenError, TokenManager};
use tokio::task::JoinSet;

use super::{GatewayConversation, GatewaySession};
use crate::{ErrorCode, TokenPlacement};

/// A conversation over the gateway's socket, with the access tokens of a [`TokenManager`]. Its other methods are those of
/// its [`Handle`].
#[derive(Debug)]
pub struct GatewayConnection {
    connection: Connection<GatewayConversation>,
    manager: TokenManager,
    /// The task that passes new tokens to the connection.
    _tasks: JoinSet<()>,
}

impl GatewayConnection {
    /// Opens the socket. [`ConnectionEvent::Ready`] reports success.
    ///
    /// # Errors
    /// If there is no valid token.
    pub async fn open(id: SessionId, manager: TokenManager, settings: Settings) -> Result<Self, TokenError> {
        // subscribed before the token is taken, so that no refresh in between is missed
        let refreshes = manager.events();
        let token = manager.token().await?.secret;
        let session = GatewaySession::new(id, token).with_token_in(TokenPlacement::Subprotocol);
        let connection = Connection::open(GatewayConversation::new(session), settings);
        let mut tasks = JoinSet::new();
        tasks.spawn(pass_tokens(manager.clone(), refreshes, connection.handle()));
        Ok(Self {
            connection,
            manager,
            _tasks: tasks,
        })
    }

    /// Waits for the next event. `None` after the last one, [`Event::Ended`].
    ///
    /// # Cancel safety
    /// If the future is dropped, no event is lost.
    pub async fn next_event(&mut self) -> Option<Event> {
        let event = self.connection.next_event().await;
        if let Some(Event::Connection(ConnectionEvent::TokenNeeded { .. })) = event {
            tokio::spawn(supply_token(self.manager.clone(), self.connection.handle()));
        }
        event
    }

    /// Ends the conversation and waits until it is over, at most 7 s. Returns the remaining events.
    pub async fn close(self) -> Vec<Event> {
        self.connection.close().await
    }
}

impl Deref for GatewayConnection {
    type Target = Handle<GatewayConversation>;

    fn deref(&self) -> &Self::Target {
        &self.connection
    }
}

/// Passes each new token to a connection, for its next reconnect.
async fn pass_tokens(manager: TokenManager, mut refreshes: Events, connection: Handle<GatewayConversation>) {
    while let Some(event) = refreshes.next().await {
        if let (token_window::Event::Refreshed { .. }, Ok(token)) = (event, manager.token().await) {
            connection.with(|machine, _| machine.update_token(token.secret));
        }
    }
}

/// The error of a failed [`refresh_session`](super::calls::refresh_session). Only the codes `refresh.token.reused`,
/// `refresh.token.used`, `session.ended`, `not.found` and `invalid.value` are a refusal: the session has ended, or never had
/// this token.
#[must_use]
pub fn refresh_error(error: &AuthorizedError) -> RefreshError {
    match error {
        AuthorizedError::Call(error) => match error.problem() {
            Some(problem) => match ErrorCode::from_name(&problem.code) {
                Some(
                    ErrorCode::InvalidValue
                    | ErrorCode::NotFound
                    | ErrorCode::RefreshTokenReused
                    | ErrorCode::RefreshTokenUsed
                    | ErrorCode::SessionEnded,
                ) => RefreshError::Refused,
                _ => problem.into(),
            },
            None if error.is_outcome_unknown() => RefreshError::Unknown {
                retry_after: error.retry_after(),
            },
            None => RefreshError::Transient {
                retry_after: error.retry_after(),
            },
        },
        // the request was not sent
        _ => RefreshError::Transient { retry_after: None },
    }
}
