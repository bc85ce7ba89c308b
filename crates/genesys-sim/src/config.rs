//! Configuration of a simulator, and the rules of its cloud.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use genesys_api::{Clock, DeploymentId, limits};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::fault::Fault;
use crate::pki::Pki;
use crate::script::Agent;

/// Listener, clock and rules of a simulator.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address to listen on; port 0 lets the system choose. Default `127.0.0.1:0`.
    pub listen: SocketAddr,
    /// TLS of the listener. Default: under a throw-away authority.
    pub tls: Tls,
    /// Names in the throw-away certificate beside those of [`LOOPBACK`](crate::LOOPBACK). Default `*.sim.test`, so that a
    /// client whose region is `sim.test` can connect to `webmessaging.sim.test`, once that resolves to the listener.
    pub tls_names: Vec<String>,
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
            tls_names: vec!["*.sim.test".to_owned()],
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
    /// A certificate for `localhost`, `127.0.0.1`, `::1` and [`Config::tls_names`], created at start.
    #[default]
    Throwaway,
}

/// The rules of a [`Cloud`](crate::Cloud).
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
    /// Time from the last message to the end of the session, at most ten years. Default 72 h, as at Genesys.
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
    /// Faults from the start, at most 64; further ones are left out. Default: none.
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
            session_duration: limits::SESSION,
            token_lifetime: limits::ACCESS_TOKEN,
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
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Disconnect {
    /// No event, which is Genesys' default.
    #[serde(skip)]
    Off,
    /// An event; the conversation becomes read-only.
    #[default]
    #[serde(rename(deserialize = "read_only"))]
    ReadOnly,
    /// An event; the guest may keep writing.
    #[serde(rename(deserialize = "open"))]
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

/// Rate limits, with the names and numbers of Genesys (Developer Center, "Limits"). `None` switches a limit off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// `messages.per.session.rate.per.second`: messages and presence events; typing is not counted (inference).
    pub messages_per_second: Option<u32>,
    /// `requests.per.connection.rate.per.minute`: frames of any kind on one socket.
    pub requests_per_minute: Option<u32>,
    /// `configure.per.session.rate.per.minute`.
    pub configures_per_minute: Option<u32>,
    /// `health.check.per.connection.rate.per.minute`: the action `echo`.
    pub echoes_per_minute: Option<u32>,
    /// `get.history.rate.per.minute`, for each session.
    pub histories_per_minute: Option<u32>,
    /// `connections.rate.per.minute`: new sockets of the deployment. The answer, HTTP 429, is an inference.
    pub connections_per_minute: Option<u32>,
    /// `client.credentials.token.rate.per.minute`, for each client.
    pub tokens_per_minute: Option<u32>,
    /// `token.rate.per.minute` and the like: calls of the platform API, for each access token and each client.
    pub api_requests_per_minute: Option<u32>,
    /// `exchange.token.rate.per.minute`, and those for `refresh` and `revoke`. The number is a user's, not Genesys'.
    pub sign_ins_per_minute: Option<u32>,
}

impl Limits {
    /// No limit at all, for load tests.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            messages_per_second: None,
            requests_per_minute: None,
            configures_per_minute: None,
            echoes_per_minute: None,
            histories_per_minute: None,
            connections_per_minute: None,
            tokens_per_minute: None,
            api_requests_per_minute: None,
            sign_ins_per_minute: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            messages_per_second: Some(limits::MESSAGES_PER_SECOND),
            requests_per_minute: Some(limits::REQUESTS_PER_MINUTE),
            configures_per_minute: Some(limits::CONFIGURES_PER_MINUTE),
            echoes_per_minute: Some(limits::ECHOES_PER_MINUTE),
            histories_per_minute: Some(limits::HISTORIES_PER_MINUTE),
            connections_per_minute: Some(limits::CONNECTIONS_PER_MINUTE),
            tokens_per_minute: Some(limits::TOKENS_PER_MINUTE),
            api_requests_per_minute: Some(limits::CALLS_PER_MINUTE),
            sign_ins_per_minute: Some(limits::SIGN_INS_PER_MINUTE),
        }
    }
}

/// Rules for attachments. Those that Genesys does not document are our choice.
#[derive(Clone, Debug)]
pub struct AttachmentRules {
    /// Whether guests may upload; otherwise they are refused with 4000. Default: yes.
    pub enabled: bool,
    /// Allowed MIME types, such as `image/png`, `image/*` and `*/*`. Default `*/*`.
    pub file_types: Vec<String>,
    /// Refused extensions, with their dot, in lower case. Default `.ade` and `.adp`, the first of Genesys' list.
    pub blocked_extensions: Vec<String>,
    /// Largest file, in KiB. Default 10,240, as at Genesys, which is also the maximum.
    pub max_file_kb: u32,
    /// Lifetime of the grant of an upload. Default ten minutes (inference).
    pub upload_lifetime: Duration,
    /// Lifetime of a download link. Default ten minutes, as at Genesys.
    pub download_lifetime: Duration,
    /// Limit of bytes in all attachments, which count at least 1 KiB. The next is refused with 5000. Default 64 MiB.
    pub max_total_bytes: u64,
}

impl Default for AttachmentRules {
    fn default() -> Self {
        Self {
            enabled: true,
            file_types: vec!["*/*".to_owned()],
            blocked_extensions: vec![".ade".to_owned(), ".adp".to_owned()],
            max_file_kb: limits::ATTACHMENT_KILOBYTES,
            upload_lifetime: limits::DOWNLOAD_LINK,
            download_lifetime: limits::DOWNLOAD_LINK,
            max_total_bytes: 64 * 1024 * 1024,
        }
    }
}

/// Rules for signed-in guests. The simulator is also their identity provider.
#[derive(Clone, Debug)]
pub struct SignInRules {
    /// Whether guests may sign in. Default: yes.
    pub enabled: bool,
    /// Whether a guest may sign in during a conversation. Default: yes.
    pub allow_session_upgrade: bool,
    /// Allowed redirect URIs, compared exactly. `None`, the default, allows all.
    pub redirect_uris: Option<Vec<String>>,
    /// The user who signs in, unless `login_hint` of the authorization request names another id.
    pub user: User,
    /// Lifetime of a JWT. Default 15 minutes, as at Genesys, which is also the maximum.
    pub jwt_lifetime: Duration,
    /// Lifetime of a refresh token. Default 24 hours, as at Genesys.
    pub refresh_lifetime: Duration,
}

/// A simulated user, whose sign-in the provider always approves.
#[derive(Clone, Eq, PartialEq)]
pub struct User {
    /// The subject of OpenID Connect.
    pub id: String,
    /// Given name.
    pub first_name: String,
    /// Family name.
    pub last_name: String,
}

impl User {
    pub(crate) fn name(&self) -> Value {
        json!({"firstName": self.first_name, "lastName": self.last_name})
    }
}

/// Without the name.
impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Default for SignInRules {
    fn default() -> Self {
        Self {
            enabled: true,
            allow_session_upgrade: true,
            redirect_uris: None,
            user: User {
                id: "jo".to_owned(),
                first_name: "Jo".to_owned(),
                last_name: "Doe".to_owned(),
            },
            jwt_lifetime: limits::SIGNED_IN_JWT,
            refresh_lifetime: limits::REFRESH_TOKEN,
        }
    }
}
