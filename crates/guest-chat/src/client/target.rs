//! The deployment that a guest connects to, and its rules.

use std::fmt::Display;

use genesys_api::{Clock, DeploymentId, Host, Hosts, Now, entropy, error_chain};
use genesys_http::{CallError, Client};
use guest_conversation::client::{ConnectLimiter, Connection, Settings};
use guest_conversation::{Conversation, WebMessaging};
use secrecy::SecretString;
use web_messaging::rest::deployment::{Domains, NotAdmitted, Published, ReadConfiguration, ReadDomains};
use ws_transport::{Origin, OriginPolicy, SocketUrl};

use super::ChatError;

/// Largest number of allowed domains in an error message.
const MAX_NAMED_DOMAINS: usize = 5;

/// A messenger deployment of Genesys Cloud, and the way to it.
#[derive(Debug)]
pub struct ConnectTarget {
    settings: Settings,
    /// The host of the deployment's public files.
    cdn: Host,
    /// The session without its token. Each conversation has its own.
    session: WebMessaging,
}

impl ConnectTarget {
    /// Creates a target without connecting to it. The default of `origin` is the host of the WebSocket, as in Genesys'
    /// mobile SDK.
    ///
    /// # Errors
    /// If the host of the WebSocket is not a valid origin.
    pub fn new(
        http: Client,
        hosts: Hosts,
        deployment: DeploymentId,
        origin: Option<Origin>,
    ) -> Result<Self, ChatError> {
        let origin = match origin {
            Some(origin) => origin,
            None => hosts.messaging.to_string().parse().map_err(invalid)?,
        };
        let policy = OriginPolicy::new([origin.to_string()]).map_err(invalid)?;
        let settings = Settings {
            http,
            url: SocketUrl::of_host(&hosts.messaging, "/v1").map_err(invalid)?,
            origin: policy.admit_own(&origin).map_err(invalid)?,
            limiter: ConnectLimiter::default(),
        };
        let session = WebMessaging::new(deployment, SecretString::default());
        Ok(Self {
            settings,
            cdn: hosts.cdn,
            session: WebMessaging {
                api: Some(hosts.api),
                ..session
            },
        })
    }

    /// Returns the origin of the guest's page.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        self.settings.origin.origin()
    }

    /// Reads the rules of the deployment, so that a refusal is reported before a socket is opened.
    ///
    /// # Errors
    /// If the deployment does not admit the guest, or cannot be read.
    pub async fn load_rules(&mut self) -> Result<(), ChatError> {
        let (deployment, cdn) = (&self.session.deployment, &self.cdn);
        let failed = |error: CallError| {
            let advice = match error.problem().map(|problem| problem.status) {
                Some(403 | 404) => {
                    return ChatError::Invalid(format!(
                        "invalid --deployment: no active deployment {deployment} at {cdn}, check the id and the domain of its region"
                    ));
                }
                Some(401 | 429 | 500..) => "; try again later, and check the proxy and --cdn-host",
                _ => "",
            };
            let why = error_chain(&error);
            ChatError::Unavailable(format!(
                "cannot read the rules of the deployment at {cdn}: {why}{advice}"
            ))
        };
        let http = &self.settings.http;
        let configuration = http.call(&ReadConfiguration { deployment }, cdn, None).await;
        let configuration = configuration.map_err(failed)?;
        let domains = http.call(&ReadDomains { deployment }, cdn, None).await;
        let domains = domains.map_err(failed)?;
        let published = Published {
            configuration: Some(configuration),
            domains: Some(domains),
        };
        let admitted = published.admit(self.origin());
        self.session.rules = admitted.map_err(|why| match (&why, &published.domains) {
            (NotAdmitted::Origin { origin }, Some(domains)) => invalid(not_admitted(origin, domains)),
            _ => invalid(why),
        })?;
        Ok(())
    }

    /// The real monotonic time with the date of the conversation. A fault may move the clock of the simulator, which does
    /// not shorten a person's waits.
    pub fn now(&self) -> Now {
        Now {
            instant: Clock::system().now().instant,
            utc: self.settings.http.clock().now().utc,
        }
    }

    /// Opens a conversation in a new session with a random token.
    pub(super) fn open(&self) -> Connection {
        let token = SecretString::from(entropy::uuid().to_string());
        let session = WebMessaging {
            token,
            ..self.session.clone()
        };
        Connection::open(Conversation::new(session), self.settings.clone())
    }
}

fn invalid(error: impl Display) -> ChatError {
    ChatError::Invalid(error.to_string())
}

fn not_admitted(origin: &Origin, domains: &Domains) -> String {
    let entries = match domains {
        Domains::Listed(entries) if !entries.is_empty() => entries,
        _ => {
            return format!(
                "invalid origin {origin}: the deployment admits no domain, an administrator can allow some"
            );
        }
    };
    let printable = |entry: &&String| entry.bytes().all(|byte| byte.is_ascii_graphic());
    let named = entries.iter().filter(printable).take(MAX_NAMED_DOMAINS);
    let named = named.map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = match entries.len() {
        0..=MAX_NAMED_DOMAINS => "",
        _ => " and others",
    };
    format!(
        "invalid origin {origin}: the deployment admits {named}{more}, use --origin https:// with one of these, or have \
         an administrator allow yours"
    )
}
