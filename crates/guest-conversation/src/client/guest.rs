//! Connecting in one call.

use std::future::{Future, IntoFuture};
use std::pin::Pin;

use genesys_api::{DeploymentId, Hosts, entropy};
use genesys_http::{Client, Tls};
use secrecy::SecretString;
use ws_transport::{CloseInfo, OriginPolicy, SocketUrl};

use super::{ConnectLimiter, Connection, Settings};
use crate::{ConnectionEvent, Conversation, Ending, Event, Loss, WebMessaging};

/// A connection to Genesys Cloud that is being configured; awaiting it connects.
#[must_use = "it connects when it is awaited"]
#[derive(Debug)]
pub struct Connect {
    domain: String,
    origin: Option<String>,
    /// The session: its token, attributes, rules. Default: a new one.
    pub session: WebMessaging,
    /// An HTTP client to share. Default: a new one that trusts the system's roots.
    pub http: Option<Client>,
    /// The limiter of new connections: all guests of a process should have clones of one.
    pub limiter: ConnectLimiter,
}

impl Connection {
    /// Connects a guest of `deployment` at a domain of Genesys Cloud, such as `mypurecloud.ie`, with a new session and
    /// its history.
    pub fn connect(domain: &str, deployment: DeploymentId) -> Connect {
        let token = SecretString::from(entropy::uuid().to_string());
        Connect {
            domain: domain.to_owned(),
            session: WebMessaging::new(deployment, token),
            origin: None,
            http: None,
            limiter: ConnectLimiter::default(),
        }
    }
}

impl Connect {
    /// Sets the origin of the guest's page, which the deployment must allow. Required.
    pub fn origin(mut self, origin: &str) -> Self {
        self.origin = Some(origin.to_owned());
        self
    }

    async fn open(self) -> Result<Connection, ConnectError> {
        let hosts = Hosts::of_domain(&self.domain).map_err(invalid("domain"))?;
        let origin = self.origin.ok_or(ConnectError::NoOrigin)?;
        let policy = OriginPolicy::new([&*origin]).map_err(invalid("origin"))?;
        let origin = policy.admit([&*origin]).map_err(invalid("origin"))?;
        let url = SocketUrl::of_host(&hosts.messaging, web_messaging::PATH).map_err(invalid("domain"))?;
        let http = match self.http {
            Some(http) => http,
            None => Client::builder(Tls::system().map_err(invalid("system roots"))?).build(),
        };
        let settings = Settings {
            http,
            url,
            origin,
            limiter: self.limiter,
        };
        let mut session = self.session;
        session.api.get_or_insert(hosts.api);
        let mut connection = Connection::open(Conversation::new(session), settings);
        // connecting is repeated, unless the same error would follow
        while let Some(event) = connection.next_event().await {
            match event {
                Event::Connection(ConnectionEvent::Ready(_)) => return Ok(connection),
                Event::Connection(ConnectionEvent::Reconnecting {
                    cause: Loss::Closed(close),
                    ..
                }) if close.is_permanent() => return Err(ConnectError::Unreachable(close)),
                Event::Ended(ending) => return Err(ConnectError::Ended(ending)),
                _ => {}
            }
        }
        Err(ConnectError::Ended(Ending::ByUs))
    }
}

type Source = Box<dyn std::error::Error + Send + Sync>;

fn invalid<E: Into<Source>>(what: &'static str) -> impl FnOnce(E) -> ConnectError {
    move |error| {
        let source = error.into();
        ConnectError::Invalid { what, source }
    }
}

impl IntoFuture for Connect {
    type Output = Result<Connection, ConnectError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.open())
    }
}

/// The error of a guest that was not connected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The service refused the session.
    #[error("cannot connect: {0}")]
    Ended(Ending),
    /// A setting is invalid.
    #[error("cannot connect with this {what}")]
    Invalid {
        /// The setting.
        what: &'static str,
        /// The reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No origin was set.
    #[error("cannot connect: no origin; set the origin of the guest's page, such as https://shop.example")]
    NoOrigin,
    /// No connection can be opened until somebody changes the server or the settings, as with an invalid certificate.
    #[error("{0}")]
    Unreachable(CloseInfo),
}
