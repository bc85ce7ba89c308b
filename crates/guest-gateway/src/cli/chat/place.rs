//! Where a guest goes, and whether they may.

use genesys_api::{Clock, DeploymentId, Hosts, Now, Region};
use genesys_http::{Client, Proxy, Tls};
use genesys_sim::Simulator;
use guest_conversation::{Contract, DeploymentRules, WebMessaging};
use secrecy::SecretString;
use web_messaging::rest::deployment::{Domains, NotAdmitted, Published, ReadConfiguration, ReadDomains};
use ws_transport::{AdmittedOrigin, Origin, OriginPolicy, SocketUrl};

use super::super::Failure;
use super::Options;
use crate::causes::chain;

/// Most allowed domains that a refusal names.
const MOST_NAMED: usize = 5;

/// Where the guest goes, and how.
pub(super) struct Place {
    pub(super) http: Client,
    pub(super) url: SocketUrl,
    pub(super) origin: AdmittedOrigin,
    hosts: Hosts,
    deployment: DeploymentId,
    simulated: bool,
    rules: DeploymentRules,
}

impl Place {
    /// What the options say, with nothing asked of anybody yet.
    pub(super) fn new(
        options: &Options,
        simulator: Option<&Simulator>,
        clock: Clock,
    ) -> Result<Self, Failure> {
        let mut hosts = match (&options.sim, simulator, &options.domain) {
            (_, Some(simulator), _) => Hosts::single(simulator.host()),
            (Some(Some(host)), ..) => Hosts::single(host),
            (_, _, Some(domain)) => hosts(domain)?,
            _ if options.deployment.is_some() => {
                return Err(Failure::usage(
                    "--deployment needs --domain, the region of Genesys Cloud, such as mypurecloud.ie; or --sim, with \
                     the URL of a simulator or without",
                ));
            }
            _ => return Err(Failure::usage("give --sim, or --deployment and --domain")),
        };
        for (host, given) in [
            (&mut hosts.api, &options.api_host),
            (&mut hosts.cdn, &options.cdn_host),
            (&mut hosts.messaging, &options.messaging_host),
        ] {
            if let Some(given) = given {
                host.clone_from(given);
            }
        }
        let deployment = options
            .deployment
            .clone()
            .or_else(|| simulator.map(|it| it.deployment_id().clone()))
            .ok_or_else(|| {
                Failure::usage("--sim URL needs --deployment ID, which the simulator said when it started")
            })?;
        // a simulator's may have any id
        if options.domain.is_some() && uuid::Uuid::try_parse(deployment.as_str()).is_err() {
            return Err(Failure::usage(format!(
                "--deployment: {deployment} is no UUID: copy the id that Genesys Cloud shows beside the messenger \
                 deployment"
            )));
        }
        let tls = match &options.ca {
            Some(path) => {
                let pem = std::fs::read(path).map_err(|error| {
                    Failure::usage(format!("--ca: cannot read {}: {error}", path.display()))
                })?;
                Tls::with_extra_ca(&pem)
            }
            None => Tls::system(),
        };
        let proxy = match &options.domain {
            Some(_) => Proxy::from_env().map_err(Failure::usage)?,
            None => None,
        };
        let origin = match &options.origin {
            Some(origin) => origin.clone(),
            None => hosts.messaging.to_string().parse().map_err(Failure::usage)?,
        };
        let admitted = OriginPolicy::new([origin.to_string()])
            .map_err(Failure::usage)?
            .admit_own(&origin)
            .map_err(Failure::usage)?;
        Ok(Self {
            http: Client::builder(tls.map_err(|error| Failure::usage(chain(&error)))?)
                .clock(clock)
                .proxy(proxy)
                .build(),
            url: SocketUrl::of_host(&hosts.messaging, "/v1").map_err(Failure::usage)?,
            origin: admitted,
            hosts,
            deployment,
            simulated: options.sim.is_some(),
            rules: DeploymentRules::default(),
        })
    }

    /// Asks what the deployment allows, so that who may not come is told why before a socket is opened.
    pub(super) async fn learn(&mut self) -> Result<(), Failure> {
        let (deployment, cdn) = (&self.deployment, &self.hosts.cdn);
        let failed = |error: genesys_http::CallError| match error.problem().map(|problem| problem.status) {
            Some(403 | 404) => Failure::usage(format!(
                "there is no deployment {deployment} at {cdn}, or it is switched off: check the id, and that the \
                 domain is that of its region"
            )),
            Some(401 | 429 | 500..) => Failure::failed(format!(
                "what the deployment allows cannot be read at {cdn}, which does not answer as it should: {}; try again \
                 in a while, and see whether a proxy or --cdn-host is in between",
                chain(&error)
            )),
            _ => Failure::failed(format!(
                "what the deployment allows cannot be read at {cdn}: {}",
                chain(&error)
            )),
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
            (NotAdmitted::Origin { origin }, Some(domains)) => Failure::usage(not_admitted(origin, domains)),
            _ => Failure::usage(why),
        })?;
        Ok(())
    }

    pub(super) fn greeting(&self) -> String {
        let (host, deployment) = (self.url.host(), &self.deployment);
        if self.simulated {
            format!("SIMULATED Genesys Cloud, nobody real answers: {host}, deployment {deployment}")
        } else {
            format!(
                "Genesys Cloud: {host}, deployment {deployment}, from {}",
                self.origin
            )
        }
    }

    /// People's time, with the date that the conversation has: a fault may move the clock of the simulator, and nobody
    /// waits the less for it.
    pub(super) fn now(&self) -> Now {
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

/// A region's, or those of a domain which is in no table.
fn hosts(domain: &str) -> Result<Hosts, Failure> {
    let domain = match domain.parse::<Region>() {
        Ok(region) => region.domain,
        Err(_) if domain.contains('.') => domain,
        Err(unknown) => return Err(Failure::usage(format!("--domain: {unknown}"))),
    };
    Hosts::of_domain(domain).map_err(|error| Failure::usage(format!("--domain: {error}")))
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
