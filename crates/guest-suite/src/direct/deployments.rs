//! A cache of the published configuration of deployments. It is read before a socket is opened.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use genesys_api::{Call, DeploymentId, Host};
use genesys_http::Client;
use tokio::sync::Mutex;
use web_messaging::rest::deployment::{Published, ReadConfiguration, ReadDomains};

/// Lifetime of an entry. Our choice.
const FRESH: Duration = Duration::from_secs(300);
/// Time from a failure to the next attempt. Our choice.
const RETRY: Duration = Duration::from_secs(60);
/// Time limit of a read. Our choice.
const PATIENCE: Duration = Duration::from_secs(5);

/// The deployments of the configuration. Concurrent callers share one read.
#[derive(Debug)]
pub(super) struct Deployments {
    known: BTreeMap<DeploymentId, Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    published: Published,
    read_again: Option<Instant>,
}

impl Deployments {
    pub(super) fn new<'a>(ids: impl Iterator<Item = &'a DeploymentId>) -> Self {
        Self {
            known: ids.map(|id| (id.clone(), Mutex::default())).collect(),
        }
    }

    /// The published configuration of a deployment, from `cdn`. Parts that cannot be read keep their last known value.
    pub(super) async fn published(&self, http: &Client, cdn: &Host, id: &DeploymentId) -> Published {
        let Some(known) = self.known.get(id) else {
            return Published::default();
        };
        let mut known = known.lock().await;
        let now = http.clock().now().instant;
        if known.read_again.is_none_or(|at| at <= now) {
            let (configuration, domains) = tokio::join!(
                read(http, cdn, id, ReadConfiguration { deployment: id }),
                read(http, cdn, id, ReadDomains { deployment: id }),
            );
            let complete = configuration.is_some() && domains.is_some();
            known.published.configuration = configuration.or(known.published.configuration.take());
            known.published.domains = domains.or(known.published.domains.take());
            known.read_again = Some(now + if complete { FRESH } else { RETRY });
        }
        known.published.clone()
    }
}

async fn read<C: Call + Sync>(http: &Client, cdn: &Host, id: &DeploymentId, call: C) -> Option<C::Reply> {
    let error = tokio::select! {
        read = http.call(&call, cdn, None) => match read {
            Ok(reply) => return Some(reply),
            Err(error) => error.to_string(),
        },
        () = http.clock().sleep(PATIENCE) => format!("{cdn} did not answer within {PATIENCE:?}"),
    };
    tracing::warn!(
        deployment = %id, error,
        "what the deployment publishes cannot be read; what was known of it, or the defaults, count: check its id, \
         and whether this machine reaches the host"
    );
    None
}
