//! One guest session in either mode.

use std::error::Error as StdError;

use audit::Entry;
use genesys_api::{Now, Origin, SessionId};
use guest_conversation::attachments::{AttachmentId, File};
use guest_conversation::client::Handle;
use guest_conversation::{CloseMode, ConnectionEvent, Event, Message, MessageId, OutgoingMessage, Request};
use guest_payload::{ConsentChange, Signals};
use guest_sessions::RefreshedTokens;
use guest_sessions::client::{GatewayConnection, GatewayRefresher, calls};
use session_metrics::EndReason;
use token_window::{
    Jitter, Refresh, RefreshError, RefreshRequest, Refresher, Reservation, TokenManager, Tokens, Window,
};
use web_messaging::rest::sign_in::OauthResult;
use ws_transport::AdmittedOrigin;

use crate::direct::{Conversation, Direct};
use crate::sessions::Mode;
use crate::{AuditQuery, AuditTrail, Error, SessionInfo};

/// A live session whose tokens are kept fresh. Dropping it closes its socket; the session then ends after its idle
/// timeout.
#[derive(Debug)]
pub struct GuestSession {
    mode: Mode,
    id: SessionId,
    /// URL of the socket, in remote mode.
    socket: Option<String>,
    manager: TokenManager,
    link: Option<Link>,
}

/// An open conversation.
#[derive(Debug)]
enum Link {
    Direct(Box<Conversation>),
    Remote(GatewayConnection),
}

impl GuestSession {
    /// `sent` is the time at which the creation was requested.
    pub(crate) fn start(
        mode: Mode,
        capacity: Reservation,
        socket: Option<String>,
        issued: RefreshedTokens,
        sent: &Now,
    ) -> Result<Self, Error> {
        let id = issued.id.clone();
        let tokens = issued.try_into().map_err(reply)?;
        let refresh = Refresh::new(tokens, Window::default(), Jitter::of(id.as_str()), sent.instant);
        let session = id.clone();
        let manager = match mode.clone() {
            Mode::Direct { direct, owner } => {
                let refresher = DirectRefresher {
                    direct,
                    owner,
                    session,
                };
                capacity.manage(refresh, refresher)
            }
            Mode::Remote { client, .. } => capacity.manage(refresh, GatewayRefresher { client, session }),
        };
        Ok(Self {
            manager,
            mode,
            id,
            socket,
            link: None,
        })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// The token manager. Its access token can be passed to a browser.
    #[must_use]
    pub fn tokens(&self) -> &TokenManager {
        &self.manager
    }

    /// Opens the conversation from `origin` and waits until Genesys has configured it. An unreachable network is retried
    /// without an end.
    ///
    /// # Errors
    /// If the origin or the token is refused, or the session has ended.
    pub async fn connect(&mut self, origin: AdmittedOrigin) -> Result<(), Error> {
        let mut link = match &self.mode {
            Mode::Direct { direct, owner } => {
                Link::Direct(Box::new(direct.connect(owner, &self.id, origin).await?))
            }
            Mode::Remote { client, limiter } => {
                let url = self.socket.as_deref().unwrap_or_default();
                let settings = client.socket(url, origin, limiter.clone()).map_err(reply)?;
                let manager = self.manager.clone();
                Link::Remote(GatewayConnection::open(self.id.clone(), manager, settings).await?)
            }
        };
        loop {
            match link.next_event().await {
                Some(Event::Connection(ConnectionEvent::Ready(_))) => break,
                Some(Event::Ended(ending)) => return Err(Error::Conversation(ending)),
                Some(event) => tracing::debug!(?event, "before the conversation was configured"),
                None => return Err(Error::NotConnected),
            }
        }
        self.link = Some(link);
        Ok(())
    }

    /// As [`connect`](Self::connect), from the origin of the guest's page as text, such as `https://shop.example`.
    ///
    /// # Errors
    /// [`Error::InvalidValue`], or as `connect`.
    pub async fn connect_from(&mut self, page: &str) -> Result<(), Error> {
        let origin: Result<Origin, _> = page.parse();
        let origin = origin.map_err(|error| Error::invalid("origin", error))?;
        self.connect(AdmittedOrigin::own(origin)).await
    }

    /// Queues a message and returns its id. [`Event::Delivery`] reports its delivery.
    ///
    /// # Errors
    /// If it is empty or too long, the queue is full, or no conversation is open.
    pub fn send(&self, text: impl Into<String>) -> Result<MessageId, Error> {
        self.send_message(&OutgoingMessage::new(text.into()))
    }

    /// Queues a message, such as an answer to the content of another one or uploaded files, and returns its id.
    ///
    /// # Errors
    /// If it is empty or too large, has a file that cannot be sent, the queue is full, or no conversation is open.
    pub fn send_message(&self, message: &OutgoingMessage) -> Result<MessageId, Error> {
        Ok(match self.link.as_ref().ok_or(Error::NotConnected)? {
            Link::Direct(conversation) => conversation.send_message(message)?,
            Link::Remote(connection) => connection.send_message(message)?,
        })
    }

    /// Uploads a file, and returns its id. [`SessionEvent::Attachment`](guest_conversation::SessionEvent::Attachment)
    /// reports its state. Once it is uploaded, a message can be sent with it.
    ///
    /// # Errors
    /// If the session does not take the file, too many are being uploaded, or no conversation is open.
    pub fn attach(&self, file: File) -> Result<AttachmentId, Error> {
        Ok(match self.link.as_ref().ok_or(Error::NotConnected)? {
            Link::Direct(conversation) => conversation.attach(file)?,
            Link::Remote(connection) => connection.attach(file)?,
        })
    }

    /// Deletes a file that was not sent. The event reports the outcome.
    ///
    /// # Errors
    /// If it is unknown or being sent, too many requests wait, or no conversation is open.
    pub fn delete_attachment(&self, id: &AttachmentId) -> Result<(), Error> {
        match self.link.as_ref().ok_or(Error::NotConnected)? {
            Link::Direct(conversation) => conversation.with(|machine, _| machine.delete_attachment(id))?,
            Link::Remote(connection) => connection.delete_attachment(id)?,
        }
        Ok(())
    }

    /// Requests a fresh download link of a file of either side. The event has it. It works for about ten minutes.
    ///
    /// # Errors
    /// If too many requests wait, or no conversation is open.
    pub fn refresh_attachment(&self, id: &AttachmentId) -> Result<(), Error> {
        match self.link.as_ref().ok_or(Error::NotConnected)? {
            Link::Direct(conversation) => {
                conversation.request(Request::RefreshAttachment { id: id.clone() })?;
            }
            Link::Remote(connection) => connection.refresh_attachment(id)?,
        }
        Ok(())
    }

    /// Shows that the guest is typing, at most once in 5 s. Does nothing without an open conversation.
    pub fn typing(&self) {
        match &self.link {
            Some(Link::Direct(conversation)) => conversation.typing(),
            Some(Link::Remote(connection)) => connection.typing(),
            None => {}
        }
    }

    /// A handle of the open conversation, for its other operations. `None` in remote mode, or if none is open.
    #[must_use]
    pub fn handle(&self) -> Option<Handle> {
        match self.link.as_ref()? {
            Link::Direct(conversation) => Some((**conversation).clone()),
            Link::Remote(_) => None,
        }
    }

    /// Waits for the next event of the conversation. `None` after the last one, or if no conversation is open.
    pub async fn next_event(&mut self) -> Option<Event> {
        self.link.as_mut()?.next_event().await
    }

    /// Waits for the next message to the guest. Other events are dropped. `None` after the last event, or if no
    /// conversation is open.
    pub async fn next_message(&mut self) -> Option<Message> {
        loop {
            if let Event::Message(message) = self.next_event().await? {
                return Some(*message);
            }
        }
    }

    /// Returns the present state of the session.
    ///
    /// # Errors
    /// If it was erased, or the gateway does not answer.
    pub async fn info(&self) -> Result<SessionInfo, Error> {
        match &self.mode {
            Mode::Direct { direct, owner } => direct.session(owner, &self.id).await,
            Mode::Remote { client, .. } => Ok(client.call(&calls::fetch_session(&self.id)).await?),
        }
    }

    /// Signs the guest in by the result of a [`SignIn`](crate::SignIn). An open conversation goes on as that of the signed-in
    /// guest (step-up).
    ///
    /// # Errors
    /// If the deployment does not allow it, Genesys Cloud refuses the code or is not reached, or the session has ended.
    pub async fn sign_in(&self, result: OauthResult) -> Result<(), Error> {
        match &self.mode {
            Mode::Direct { direct, owner } => direct.sign_in(owner, &self.id, result).await,
            Mode::Remote { client, .. } => Ok(client.call(&calls::sign_in(&self.id, result)).await?),
        }
    }

    /// Signs the guest out everywhere. The session ends: its conversation cannot go on anonymously.
    ///
    /// # Errors
    /// If the guest is not signed in, or Genesys Cloud did not do it: the guest is still signed in.
    pub async fn sign_out(&self) -> Result<(), Error> {
        match &self.mode {
            Mode::Direct { direct, owner } => direct.sign_out(owner, &self.id).await,
            Mode::Remote { client, .. } => Ok(client.call(&calls::sign_out(&self.id)).await?),
        }
    }

    /// Records a change of consent. No policy refuses a withdrawal.
    ///
    /// # Errors
    /// If the session has ended, or a grant is older than the choice it would replace.
    pub async fn update_consent(&self, change: &ConsentChange) -> Result<SessionInfo, Error> {
        let id = &self.id;
        match &self.mode {
            Mode::Direct { direct, owner } => {
                direct.change_consent(owner, id, change, Signals::default()).await
            }
            Mode::Remote { client, .. } => Ok(client.call(&calls::change_consent(id, change)).await?),
        }
    }

    /// Returns a page of the audit entries of this session, newest first. The read is audited, and is the newest entry.
    ///
    /// The next page has the same query, with `before` set to `next` of this page. The last page has no `next`.
    ///
    /// Their actions are those of `docs/audit.md` with a subject.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn audit_trail(&self, query: AuditQuery) -> Result<AuditTrail<Entry>, Error> {
        match &self.mode {
            Mode::Direct { direct, owner } => {
                let trail = direct.audit_trail(owner, &self.id, query).await?;
                trail.try_map(|entry| Ok(entry.parse()?))
            }
            Mode::Remote { client, .. } => {
                Ok(client.call(&calls::fetch_audit_trail(&self.id, query)).await?)
            }
        }
    }

    /// Ends the session: revokes its tokens and closes its sockets. Waits up to 7 s for unacknowledged messages.
    ///
    /// # Errors
    /// If the end could not be stored. The call can be repeated.
    pub async fn end(&mut self) -> Result<(), Error> {
        match self.link.take() {
            Some(Link::Direct(conversation)) => {
                // the agent need not wait for this guest
                conversation.with(|machine, _| machine.set_close_mode(CloseMode::Clear));
                drop(conversation.close().await);
            }
            Some(Link::Remote(connection)) => drop(connection.close().await),
            None => {}
        }
        match &self.mode {
            Mode::Direct { direct, owner } => direct.end(owner, &self.id, EndReason::Guest).await,
            Mode::Remote { client, .. } => Ok(client.call(&calls::end_session(&self.id)).await?),
        }
    }
}

impl Link {
    async fn next_event(&mut self) -> Option<Event> {
        match self {
            Self::Direct(conversation) => conversation.next_event().await,
            Self::Remote(connection) => connection.next_event().await,
        }
    }
}

/// Refreshes the tokens of one session of this process.
#[derive(Debug)]
struct DirectRefresher {
    direct: Direct,
    owner: String,
    session: SessionId,
}

impl Refresher for DirectRefresher {
    async fn refresh(&self, request: &RefreshRequest) -> Result<Tokens, RefreshError> {
        let refresh_token = request.current.refresh().ok_or(RefreshError::Refused)?;
        let (owner, key) = (&*self.owner, Some(&request.idempotency_key));
        let issued = self.direct.rotate(owner, &self.session, refresh_token, key).await;
        let issued = issued.map_err(|error| match error.code() {
            Some(code) if code.refuses_refresh() => RefreshError::Refused,
            _ => RefreshError::Unknown { retry_after: None },
        })?;
        Ok(issued.try_into()?)
    }
}

fn reply(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
    Error::Reply(error.into())
}
