//! Where a guest goes, and whether they may.

use genesys_api::{Clock, DeploymentId, Hosts, Now, error_chain};
use genesys_http::Client;
use guest_conversation::{Contract, DeploymentRules, WebMessaging};
use secrecy::SecretString;
use web_messaging::rest::deployment::{Domains, NotAdmitted, Published, ReadConfiguration, ReadDomains};
use ws_transport::{AdmittedOrigin, Origin, OriginPolicy, SocketUrl};

use super::{ChatError, ChatErrorKind};

/// Most allowed domains that a refusal names.
const MOST_NAMED: usize = 5;

/// Where the guest goes, and how.
#[derive(Debug)]
pub struct Place {
    pub(super) http: Client,
    pub(super) url: SocketUrl,
    pub(super) origin: AdmittedOrigin,
    hosts: Hosts,
    deployment: DeploymentId,
    rules: DeploymentRules,
}

impl Place {
    /// A deployment of Genesys Cloud, reached at `hosts` from the page `origin`; nothing is asked of anybody yet. Without
    /// an origin the page is the host of the WebSocket itself, as Genesys' mobile SDK has it.
    ///
    /// # Errors
    /// If the host of the WebSocket is no origin.
    pub fn new(
        http: Client,
        hosts: Hosts,
        deployment: DeploymentId,
        origin: Option<Origin>,
    ) -> Result<Self, ChatError> {
        let origin = match origin {
            Some(origin) => origin,
            None => hosts.messaging.to_string().parse().map_err(ChatError::invalid)?,
        };
        let admitted = OriginPolicy::new([origin.to_string()])
            .map_err(ChatError::invalid)?
            .admit_own(&origin)
            .map_err(ChatError::invalid)?;
        Ok(Self {
            url: SocketUrl::of_host(&hosts.messaging, "/v1").map_err(ChatError::invalid)?,
            http,
            origin: admitted,
            hosts,
            deployment,
            rules: DeploymentRules::default(),
        })
    }

    /// The page that the guest comes from.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        self.origin.origin()
    }

    /// Asks what the deployment allows, so that who may not come is told why before a socket is opened.
    ///
    /// # Errors
    /// If the deployment does not admit the guest, or cannot be read.
    pub async fn learn(&mut self) -> Result<(), ChatError> {
        let (deployment, cdn) = (&self.deployment, &self.hosts.cdn);
        let failed = |error: genesys_http::CallError| match error.problem().map(|problem| problem.status) {
            Some(403 | 404) => ChatError::invalid(format!(
                "there is no deployment {deployment} at {cdn}, or it is switched off: check the id, and that the \
                 domain is that of its region"
            )),
            Some(401 | 429 | 500..) => ChatError::new(
                ChatErrorKind::Unavailable,
                format!(
                    "what the deployment allows cannot be read at {cdn}, which does not answer as it should: {}; try again \
                 in a while, and see whether a proxy or --cdn-host is in between",
                    error_chain(&error)
                ),
            ),
            _ => ChatError::new(
                ChatErrorKind::Unavailable,
                format!(
                    "what the deployment allows cannot be read at {cdn}: {}",
                    error_chain(&error)
                ),
            ),
        };
        let configuration = self.http.call(&ReadConfiguration { deployment }, cdn, None).await;
        let configuration = configuration.map_err(failed)?;
        let domains = self.http.call(&ReadDomains { deployment }, cdn, None).await;
        let domains = domains.map_err(failed)?;
        let published = Published {
            configuration: Some(configuration),
            domains: Some(domains),
        };
        let admitted = published.admit(self.origin.origin());
        self.rules = admitted.map_err(|why| match (&why, &published.domains) {
            (NotAdmitted::Origin { origin }, Some(domains)) => {
                ChatError::invalid(not_admitted(origin, domains))
            }
            _ => ChatError::invalid(why),
        })?;
        Ok(())
    }

    /// People's time, with the date that the conversation has: a fault may move the clock of the simulator, and nobody
    /// waits the less for it.
    pub fn now(&self) -> Now {
        Now {
            instant: Clock::system().now().instant,
            utc: self.http.clock().now().utc,
        }
    }

    /// A session here, by its token.
    pub(super) fn session(&self, token: SecretString) -> Contract {
        Contract::WebMessaging(
            WebMessaging::new(self.deployment.clone(), token)
                .obeying(self.rules)
                .with_history_at(self.hosts.api.clone()),
        )
    }
}

fn not_admitted(origin: &Origin, domains: &Domains) -> String {
    let entries = match domains {
        Domains::Listed(entries) => entries.as_slice(),
        _ => &[],
    };
    match entries {
        [] => format!(
            "the deployment admits no domain at all, and so not {origin}: an administrator can allow some in it"
        ),
        _ => {
            let shown = entries
                .iter()
                .filter(|entry| entry.bytes().all(|byte| byte.is_ascii_graphic()));
            let named: Vec<_> = shown.take(MOST_NAMED).map(String::as_str).collect();
            let more = if entries.len() > MOST_NAMED {
                " and others"
            } else {
                ""
            };
            format!(
                "the deployment admits guests from {}{more}, and not from {origin}: give --origin https:// and one of \
                 these, or have an administrator allow yours",
                named.join(", ")
            )
        }
    }
}
