//! One guest session, in either mode.

use audit::Entry;
use genesys_api::{GuestId, Now, SessionId, entropy};
use guest_conversation::client::{Connection, Handle, Settings};
use guest_conversation::{ConnectionEvent, Event, Machine as _, MessageId};
use guest_payload::{ConsentChange, Signals};
use guest_sessions::client::{
    ChangeConsent, EndSession, FetchAuditTrail, FetchSession, GatewayConversation, GatewaySession,
};
use guest_sessions::{CreatedSession, TokenPlacement};
use session_metrics::EndReason;
use time::OffsetDateTime;
use token_window::{Events, Jitter, Refresh, RefreshError, Refresher, TokenError, TokenManager, Window};
use tokio::task::AbortHandle;
use ws_transport::{AdmittedOrigin, SocketUrl};

use crate::direct::{Conversation, Direct, DirectError, Tokens};
use crate::remote::RefreshByRest;
use crate::sessions::Mode;
use crate::{Error, ErrorKind, SessionInfo};

/// A live session. Its tokens are rotated in the background; dropping it closes its socket and stops that, and leaves
/// the session to end by itself.
#[derive(Debug)]
pub struct GuestSession {
    mode: Mode,
    id: SessionId,
    guest: GuestId,
    socket: Option<String>,
    manager: TokenManager,
    link: Option<Link>,
}

/// An open conversation.
#[derive(Debug)]
enum Link {
    Direct(Box<Conversation>),
    Remote {
        connection: Connection<GatewayConversation>,
        manager: TokenManager,
        _feed: Feed,
    },
}

/// Hands rotated tokens to an open connection, for its next reconnect.
#[derive(Debug)]
struct Feed(AbortHandle);

impl Drop for Feed {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A created session, from either mode.
pub(crate) struct NewSessionParts {
    pub(crate) id: SessionId,
    pub(crate) guest: GuestId,
    pub(crate) socket: Option<String>,
    pub(crate) tokens: Tokens,
    pub(crate) created_at: OffsetDateTime,
}

impl GuestSession {
    /// `sent` is when the session was asked for.
    pub(crate) fn start(mode: Mode, parts: NewSessionParts, sent: &Now) -> Result<Self, Error> {
        let NewSessionParts {
            id,
            guest,
            socket,
            tokens,
            created_at,
        } = parts;
        // a lifetime, because the wall clock of the session's keeper may differ from ours
        let lifetime = (tokens.expires_at - created_at).try_into().unwrap_or_default();
        let tokens = token_window::Tokens::new(tokens.access, Some(tokens.refresh), lifetime)
            .map_err(|error| Error::new(ErrorKind::Other, error))?;
        let jitter = Jitter::of(id.as_str());
        let refresh = Refresh::new(tokens, Window::default(), jitter, sent.instant);
        let manager = match &mode {
            Mode::Direct { direct, owner } => {
                let refresher = RotateHere {
                    direct: direct.clone(),
                    owner: owner.clone(),
                    session: id.clone(),
                };
                TokenManager::spawn_with(refresh, refresher, direct.clock().clone())
            }
            Mode::Remote(remote) => {
                let refresher = RefreshByRest {
                    client: remote.client.clone(),
                    session: id.clone(),
                    ahead: created_at - sent.utc,
                };
                TokenManager::spawn_with(refresh, refresher, remote.client.clock().clone())
            }
        };
        Ok(Self {
            mode,
            id,
            guest,
            socket,
            manager,
            link: None,
        })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// The guest.
    #[must_use]
    pub fn guest(&self) -> &GuestId {
        &self.guest
    }

    /// The token manager. Its access token can be passed to a browser.
    #[must_use]
    pub fn tokens(&self) -> &TokenManager {
        &self.manager
    }

    /// Opens the conversation from `origin` and waits until Genesys has configured it.
    ///
    /// # Errors
    /// If the origin or the token is refused, or the session is over. A network that is down is no error: the
    /// conversation goes on trying, and this waits with it; put a timeout around it if that is not wanted.
    pub async fn connect(&mut self, origin: AdmittedOrigin) -> Result<(), Error> {
        let mut link = match &self.mode {
            Mode::Direct { direct, owner } => {
                Link::Direct(Box::new(direct.connect(owner, &self.id, origin).await?))
            }
            Mode::Remote(_) => self.dial(origin).await?,
        };
        loop {
            match link.next_event().await {
                Some(Event::Connection(ConnectionEvent::Ready(_))) => break,
                Some(Event::Ended(ending)) => return Err(ending.into()),
                Some(event) => tracing::debug!(?event, "before the conversation was configured"),
                None => return Err(Error::not_connected()),
            }
        }
        self.link = Some(link);
        Ok(())
    }

    /// Queues a message. [`Event::Delivery`] with the id that this returns reports that
    /// Genesys has it.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if it is empty or too long, [`ErrorKind::Unavailable`] if too much waits already,
    /// [`ErrorKind::NotSent`] if no conversation is open, or it is read-only.
    pub fn send(&self, text: impl Into<String>) -> Result<MessageId, Error> {
        let id = MessageId::from(entropy::uuid());
        match self.link.as_ref().ok_or_else(Error::not_connected)? {
            Link::Direct(conversation) => conversation.send(id, text)?,
            Link::Remote { connection, .. } => {
                connection.with(|machine, _| machine.send_text(id, text.into()))?
            }
        }
        Ok(id)
    }

    /// Shows that the guest is typing. At most one in 5 s travels on; without an open conversation it does nothing.
    pub fn typing(&self) {
        match &self.link {
            Some(Link::Direct(conversation)) => conversation.typing(),
            Some(Link::Remote { connection, .. }) => connection.typing(),
            None => {}
        }
    }

    /// A handle of the open conversation, for everything else that it offers. `None` in remote mode, or if none is open.
    #[must_use]
    pub fn handle(&self) -> Option<Handle> {
        match self.link.as_ref()? {
            Link::Direct(conversation) => Some(conversation.handle()),
            Link::Remote { .. } => None,
        }
    }

    /// The next event of the conversation. `None` if none is open, or it is over and every event was returned.
    pub async fn next_event(&mut self) -> Option<Event> {
        self.link.as_mut()?.next_event().await
    }

    /// The present state of the session.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], or that the gateway does not answer.
    pub async fn info(&self) -> Result<SessionInfo, Error> {
        match &self.mode {
            Mode::Direct { direct, owner } => Ok(direct.session(owner, &self.id).await?),
            Mode::Remote(remote) => Ok(remote.client.call(&FetchSession(&self.id)).await?),
        }
    }

    /// Records a change of consent. A withdrawal is always taken.
    ///
    /// # Errors
    /// [`ErrorKind::Ended`], or a grant that is older than the choice it would replace.
    pub async fn update_consent(&self, change: &ConsentChange) -> Result<SessionInfo, Error> {
        match &self.mode {
            Mode::Direct { direct, owner } => Ok(direct
                .change_consent(owner, &self.id, change, Signals::default())
                .await?),
            Mode::Remote(remote) => {
                let id = &self.id;
                Ok(remote.client.call(&ChangeConsent { id, change }).await?)
            }
        }
    }

    /// Rotates the tokens without waiting for the window. The socket stays open.
    ///
    /// # Errors
    /// If the rotation failed; the old access token serves on while it lasts.
    pub async fn rotate_now(&self) -> Result<(), Error> {
        self.manager.refresh_now().await?;
        Ok(())
    }

    /// The audit entries of this session, oldest first. Reading them is audited.
    ///
    /// Their actions are `session.created`, `ws.connected`, `token.rotated`, `token.reuse_detected`, `consent.changed`,
    /// `consent.withdrawn`, `session.ended`, `session.expired` and `audit.read`.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn audit_trail(&self) -> Result<Vec<Entry>, Error> {
        match &self.mode {
            Mode::Direct { direct, owner } => {
                let trail = direct.audit_trail(owner, &self.id).await?;
                let entry = |stored: &guest_store::StoredEntry| {
                    Entry::parse(&stored.bytes).map_err(|error| Error::new(ErrorKind::Other, error))
                };
                trail.iter().map(entry).collect()
            }
            Mode::Remote(remote) => Ok(remote.client.call(&FetchAuditTrail(&self.id)).await?),
        }
    }

    /// Ends the session: its tokens stop working and its sockets close. Waits up to 7 s for messages that are on
    /// their way.
    ///
    /// # Errors
    /// If that could not be written down. It is safe to try again.
    pub async fn end(&mut self) -> Result<(), Error> {
        match self.link.take() {
            Some(Link::Direct(conversation)) => drop(conversation.close_for_good().await),
            Some(Link::Remote { connection, .. }) => drop(connection.close().await),
            None => {}
        }
        match &self.mode {
            Mode::Direct { direct, owner } => direct.end(owner, &self.id, EndReason::Guest).await?,
            Mode::Remote(remote) => remote.client.call(&EndSession(&self.id)).await?,
        }
        Ok(())
    }

    async fn dial(&self, origin: AdmittedOrigin) -> Result<Link, Error> {
        let Mode::Remote(remote) = &self.mode else {
            return Err(Error::not_connected());
        };
        let invalid = |error| Error::new(ErrorKind::Other, error);
        let socket = self.socket.as_deref().unwrap_or_default();
        // the gateway's own host only: a URL from a reply must not carry the token elsewhere
        let url = SocketUrl::from_peer(socket, |host| host == remote.client.host()).map_err(invalid)?;
        // subscribed before the token is taken, so that no refresh in between is missed
        let refreshes = self.manager.events();
        let token = self.manager.token().await?.secret;
        let session = GatewaySession::new(self.id.clone(), token).with_token_in(TokenPlacement::Subprotocol);
        let settings = Settings {
            http: remote.client.http().clone(),
            url,
            origin,
            limiter: remote.limiter.clone(),
        };
        let connection = Connection::open(GatewayConversation::new(session), settings);
        let feed = tokio::spawn(feed(self.manager.clone(), refreshes, connection.handle())).abort_handle();
        Ok(Link::Remote {
            connection,
            manager: self.manager.clone(),
            _feed: Feed(feed),
        })
    }
}

async fn feed(manager: TokenManager, mut refreshes: Events, connection: Handle<GatewayConversation>) {
    while let Some(event) = refreshes.next().await {
        if let (token_window::Event::Refreshed { .. }, Ok(token)) = (event, manager.token().await) {
            connection.with(|machine, _| machine.update_token(token.secret));
        }
    }
}

impl Link {
    async fn next_event(&mut self) -> Option<Event> {
        match self {
            Self::Direct(conversation) => conversation.next_event().await,
            Self::Remote {
                connection, manager, ..
            } => {
                let event = connection.next_event().await;
                if let Some(Event::Connection(ConnectionEvent::TokenNeeded { .. })) = event {
                    tokio::spawn(mend(manager.clone(), connection.handle()));
                }
                event
            }
        }
    }
}

/// The token did not outlive an outage: the feed passes the next one on; if there is none, that is the end.
async fn mend(manager: TokenManager, connection: Handle<GatewayConversation>) {
    match manager.refresh_now().await {
        // what failed is tried again in its time, and the conversation waits for it
        Ok(_) | Err(TokenError::Failed { .. }) => {}
        Err(error) => {
            tracing::warn!(%error, "the token of the conversation cannot be renewed");
            connection.with(|machine, _| machine.decline_token());
        }
    }
}

impl From<CreatedSession> for NewSessionParts {
    fn from(session: CreatedSession) -> Self {
        Self {
            id: session.id,
            guest: session.guest_id,
            socket: Some(session.websocket_url),
            tokens: Tokens {
                access: session.access_token,
                refresh: session.refresh_token,
                expires_at: session.expires_at,
            },
            created_at: session.created_at,
        }
    }
}

/// Rotates the tokens of one session that this process keeps.
#[derive(Debug)]
struct RotateHere {
    direct: Direct,
    owner: String,
    session: SessionId,
}

impl Refresher for RotateHere {
    async fn refresh(&self, current: &token_window::Tokens) -> Result<token_window::Tokens, RefreshError> {
        let refresh = current.refresh().ok_or(RefreshError::Refused)?;
        let sent = self.direct.clock().now();
        let tokens = self
            .direct
            .rotate(&self.owner, &self.session, refresh)
            .await
            .map_err(|error| match error {
                // a store that could not write has not rotated
                DirectError::Store(_) => RefreshError::Transient { retry_after: None },
                _ => RefreshError::Refused,
            })?;
        let lifetime = sent.until(tokens.expires_at);
        Ok(token_window::Tokens::new(
            tokens.access,
            Some(tokens.refresh),
            lifetime,
        )?)
    }
}
