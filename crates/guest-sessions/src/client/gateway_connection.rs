//! A socket of the gateway whose access token is kept fresh.

use std::ops::Deref;

use genesys_api::SessionId;
use genesys_auth::AuthorizedError;
use guest_conversation::attachments::{AttachError, AttachmentId, File};
use guest_conversation::client::{Connection, Handle, Settings, supply_token};
use guest_conversation::{ConnectionEvent, Event, GuestMachine as _, RequestError};
use token_window::{Events, RefreshError, RefreshRequest, Refresher, TokenError, TokenManager, Tokens};
use tokio::task::JoinSet;

use super::files::{Files, REQUESTS};
use super::{GatewayConversation, GatewaySession, RestClient, calls};
use crate::{ErrorCode, TokenPlacement};

/// A conversation over the gateway's socket, with the access tokens of a [`TokenManager`]. Its other methods are those of
/// its [`Handle`].
#[derive(Debug)]
pub struct GatewayConnection {
    connection: Connection<GatewayConversation>,
    manager: TokenManager,
    files: Files,
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
        let (http, host) = (settings.http.clone(), settings.url.host());
        let files = Files::new(id.clone(), http, host, manager.clone());
        let session = GatewaySession::new(id, token).with_token_in(TokenPlacement::Subprotocol);
        let connection = Connection::open(GatewayConversation::new(session), settings);
        let mut tasks = JoinSet::new();
        tasks.spawn(pass_tokens(manager.clone(), refreshes, connection.handle()));
        Ok(Self {
            connection,
            manager,
            files,
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

    /// Uploads a file, and returns its id. [`SessionEvent::Attachment`](guest_conversation::SessionEvent::Attachment)
    /// reports its state. Once it is uploaded, a message can be sent with it. Two files are uploaded at once, and 30 wait.
    ///
    /// # Errors
    /// If the session does not take it, or too many files wait.
    pub fn attach(&self, file: File) -> Result<AttachmentId, AttachError> {
        self.files.upload(file, self.connection.handle())
    }

    /// Deletes a file that was not sent. The event reports the outcome.
    ///
    /// # Errors
    /// If too many requests wait.
    pub fn delete_attachment(&self, id: &AttachmentId) -> Result<(), RequestError> {
        Self::started(self.files.delete(id, self.connection.handle()))
    }

    /// Requests a fresh download link of a file of either side. The event has it.
    ///
    /// # Errors
    /// If too many requests wait.
    pub fn refresh_attachment(&self, id: &AttachmentId) -> Result<(), RequestError> {
        Self::started(self.files.refresh(id, self.connection.handle()))
    }

    /// Ends the conversation and waits until it is over, at most 7 s. Returns the remaining events.
    pub async fn close(self) -> Vec<Event> {
        self.connection.close().await
    }

    fn started(is_started: bool) -> Result<(), RequestError> {
        is_started
            .then_some(())
            .ok_or(RequestError::Busy { waiting: REQUESTS })
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

/// Refreshes the tokens of a session at the gateway.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by the caller")]
pub struct GatewayRefresher {
    /// The client.
    pub client: RestClient,
    /// The session.
    pub session: SessionId,
}

impl Refresher for GatewayRefresher {
    async fn refresh(&self, request: &RefreshRequest) -> Result<Tokens, RefreshError> {
        let refresh_token = request.current.refresh().ok_or(RefreshError::Refused)?;
        let key = request.idempotency_key.clone();
        let call = calls::refresh_session(&self.session, refresh_token.clone(), key);
        let issued = self.client.call(&call).await;
        Ok(issued.map_err(|error| refresh_error(&error))?.try_into()?)
    }
}

/// The error of a failed refresh. Only the codes of [`ErrorCode::refuses_refresh`] are a refusal.
fn refresh_error(error: &AuthorizedError) -> RefreshError {
    match error {
        AuthorizedError::Call(error) => match error.problem() {
            Some(problem) => match ErrorCode::from_name(&problem.code) {
                Some(code) if code.refuses_refresh() => RefreshError::Refused,
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
