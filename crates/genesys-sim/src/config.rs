//! What a simulator is started with.

pub(crate) mod attachment;
pub(crate) mod sign_in;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use genesys_api::{Clock, DeploymentId, limits};
use secrecy::SecretString;

use crate::{Agent, Fault, Limits, Pki, SocketAges};

pub use attachment::AttachmentRules;
pub use sign_in::{SignInRules, User};

/// How a simulator listens, and the rules of its world.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 lets the system choose. Default `127.0.0.1:0`.
    pub listen: SocketAddr,
    /// Default: TLS under a throw-away authority.
    pub tls: Tls,
    /// The simulator's clock. Share it to move other parts of the process with it. Default: the system's time.
    pub clock: Clock,
    /// Seed of every id, key and random fault. Default: random.
    pub seed: Option<[u8; 32]>,
    /// What the simulated Genesys Cloud allows, and how its agent behaves.
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

/// Whether and how the listener speaks TLS.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Tls {
    /// The certificate given, for several servers under one throw-away authority.
    Given(Pki),
    /// No TLS.
    Plain,
    /// A certificate for `localhost`, `127.0.0.1` and `::1`, made at start.
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
    /// Domains whose pages may connect, subdomains included. `None` allows all, an empty list allows none.
    pub allowed_domains: Option<Vec<String>>,
    /// Who answers the guest. Default: an echo.
    pub agent: Agent,
    /// The agent's nickname. Default `Ann`.
    pub agent_name: String,
    /// From the guest's message, and the agent's typing event, to the agent's answer. Default: none.
    pub agent_delay: Duration,
    /// What a guest sees when the agent leaves.
    pub disconnect: Disconnect,
    /// Whether a guest may clear the conversation (`conversationClear`). Default: yes.
    pub conversation_clear: bool,
    /// From the last message in either direction to the end of the session. Default 72 h, as Genesys'; more than
    /// ten years count as ten.
    pub session_duration: Duration,
    /// Lifetime of an API client's access token. Default 24 h, as Genesys'.
    pub token_lifetime: Duration,
    /// Rate limits. Default: Genesys' own numbers.
    pub limits: Limits,
    /// What guests may upload.
    pub attachments: AttachmentRules,
    /// How guests sign in.
    pub sign_in: SignInRules,
    /// Whether the deployment is active. One that is not refuses handshakes, and has no configuration, with 403.
    /// Default: yes.
    pub deployment_active: bool,
    /// Whether clients should begin a conversation by joining (`autoStart`). Default: no.
    pub auto_start: bool,
    /// When sockets of guests are closed by age. Default: never.
    pub socket_ages: SocketAges,
    /// Faults from the start, at most 64; further ones are left out. Default: none.
    pub faults: Vec<Fault>,
    /// Most sockets open at once; the next is refused with 503. Default 16,384.
    pub max_connections: usize,
    /// Most sessions alive at once; the next is refused with 5000. Default 100,000.
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
            session_duration: limits::SESSION,
            token_lifetime: limits::ACCESS_TOKEN,
            limits: Limits::default(),
            attachments: AttachmentRules::default(),
            sign_in: SignInRules::default(),
            deployment_active: true,
            auto_start: false,
            socket_ages: SocketAges::default(),
            faults: Vec::new(),
            max_connections: 16_384,
            max_sessions: 100_000,
        }
    }
}

/// The deployment's `conversationDisconnect`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Disconnect {
    /// No event at all, which is Genesys' own default.
    Off,
    /// An event, then the conversation can only be read.
    #[default]
    ReadOnly,
    /// An event, and the guest may keep writing.
    Send,
}
