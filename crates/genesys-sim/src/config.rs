//! Configuration of a simulator, and the rules of its world.

mod attachment;
mod limits;
mod sign_in;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use genesys_api::{Clock, DeploymentId};
use secrecy::SecretString;

use crate::fault::Fault;
use crate::pki::Pki;
use crate::script::Agent;

pub use attachment::AttachmentRules;
pub(crate) use attachment::MAX_FILE_KB;
pub use limits::Limits;
pub(crate) use sign_in::MAX_JWT_LIFETIME;
pub use sign_in::{SignInRules, User};

/// Listener, clock and rules of a simulator.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address to listen on; port 0 lets the system choose. Default `127.0.0.1:0`.
    pub listen: SocketAddr,
    /// TLS of the listener. Default: under a throw-away authority.
    pub tls: Tls,
    /// The simulator's clock. Other parts of the process can share it. Default: the system's time.
    pub clock: Clock,
    /// Seed of every id, key and random fault. Default: random.
    pub seed: Option<[u8; 32]>,
    /// Rules of the simulated Genesys Cloud, and its agent.
    pub rules: Rules,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: Tls::default(),
            clock: Clock::system(),
            seed: None,
            rules: Rules::default(),
        }
    }
}

impl Config {
    /// The defaults over plain HTTP and WS, which tools accept for loopback without a certificate.
    #[must_use]
    pub fn plain() -> Self {
        Self {
            tls: Tls::Plain,
            ..Self::default()
        }
    }
}

/// TLS of the listener.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Tls {
    /// This certificate, for several servers under one throw-away authority.
    Given(Pki),
    /// No TLS.
    Plain,
    /// A certificate for `localhost`, `127.0.0.1` and `::1`, created at start.
    #[default]
    Throwaway,
}

/// The rules of a [`World`](crate::World).
#[derive(Clone, Debug)]
pub struct Rules {
    /// The one deployment. Default: a random UUID.
    pub deployment: Option<DeploymentId>,
    /// The one API client. Default: a random UUID.
    pub client_id: Option<String>,
    /// Its secret. Default: 32 random bytes.
    pub client_secret: Option<SecretString>,
    /// Domains whose pages may connect, with their subdomains. `None` allows all, an empty list none.
    pub allowed_domains: Option<Vec<String>>,
    /// The agent that replies to guests. Default: an echo.
    pub agent: Agent,
    /// The agent's nickname. Default `Ann`.
    pub agent_name: String,
    /// Delay from the guest's message, and the agent's typing event, to the reply. Default: none.
    pub agent_delay: Duration,
    /// Event that a guest gets when the agent leaves.
    pub disconnect: Disconnect,
    /// Whether a guest may clear the conversation (`conversationClear`). Default: yes.
    pub conversation_clear: bool,
    /// Time from the last message in either direction to the end of the session. Default 72 h, as at Genesys. At
    /// most ten years.
    pub session_duration: Duration,
    /// Lifetime of an API client's access token. Default 24 h, as at Genesys.
    pub token_lifetime: Duration,
    /// Rate limits. Default: Genesys' numbers.
    pub limits: Limits,
    /// Rules for attachments.
    pub attachments: AttachmentRules,
    /// Rules for signed-in guests.
    pub sign_in: SignInRules,
    /// Whether the deployment is active. If not, handshakes and its configuration are refused with 403. Default: yes.
    pub deployment_active: bool,
    /// Whether clients should begin a conversation by joining (`autoStart`). Default: no.
    pub auto_start: bool,
    /// Timeouts of guests' sockets. Default: none.
    pub socket_timeouts: SocketTimeouts,
    /// Faults armed at start, at most 64; further ones are left out. Default: none.
    pub faults: Vec<Fault>,
    /// Limit of open sockets; the next is refused with 503. Default 16,384.
    pub max_connections: usize,
    /// Limit of live sessions; the next is refused with 5000. Default 100,000.
    pub max_sessions: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            deployment: None,
            client_id: None,
            client_secret: None,
            allowed_domains: None,
            agent: Agent::default(),
            agent_name: "Ann".to_owned(),
            agent_delay: Duration::ZERO,
            disconnect: Disconnect::default(),
            conversation_clear: true,
            session_duration: genesys_api::limits::SESSION,
            token_lifetime: genesys_api::limits::ACCESS_TOKEN,
            limits: Limits::default(),
            attachments: AttachmentRules::default(),
            sign_in: SignInRules::default(),
            deployment_active: true,
            auto_start: false,
            socket_timeouts: SocketTimeouts::default(),
            faults: Vec::new(),
            max_connections: 16_384,
            max_sessions: 100_000,
        }
    }
}

/// The deployment's `conversationDisconnect`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Disconnect {
    /// No event, which is Genesys' default.
    Off,
    /// An event; the conversation becomes read-only.
    #[default]
    ReadOnly,
    /// An event; the guest may keep writing.
    Send,
}

/// Timeouts of guests' sockets, which are then closed with 1001. `None`, the default, is never: clients keep their
/// sockets alive, and a moved clock would close them all at once.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SocketTimeouts {
    /// Time without a frame or ping from the guest.
    pub idle: Option<Duration>,
    /// Time since the handshake.
    pub lifetime: Option<Duration>,
}

impl SocketTimeouts {
    /// Ten minutes idle, two hours in all: the rules of AWS API Gateway, which Genesys' socket resembles
    /// (inference: Genesys documents none).
    #[must_use]
    pub const fn like_api_gateway() -> Self {
        Self {
            idle: Some(genesys_api::limits::IDLE),
            lifetime: Some(genesys_api::limits::CONNECTION),
        }
    }
}
