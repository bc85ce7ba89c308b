//! A cache of the public files of deployments.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use genesys_api::{Call, DeploymentId, Host};
use genesys_http::Client;
use tokio::sync::Mutex;
use web_messaging::rest::deployment::{Published, ReadConfiguration, ReadDomains};

/// Lifetime of an entry. Our choice.
const LIFETIME: Duration = Duration::from_secs(300);
/// Time from a failure to the next attempt. Our choice.
const RETRY_DELAY: Duration = Duration::from_secs(60);
/// Time limit of a read. Our choice.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The public files of deployments, each read at most every 5 minutes. Concurrent callers share one read.
#[derive(Debug)]
pub struct DeploymentCache {
    http: Client,
    cdn: Host,
    entries: BTreeMap<DeploymentId, Mutex<Entry>>,
}

#[derive(Debug, Default)]
struct Entry {
    published: Published,
    read_again: Option<Instant>,
}

impl DeploymentCache {
    /// An empty cache of these deployments, which are read from the host `cdn`.
    #[must_use]
    pub fn new<'a>(http: Client, cdn: Host, ids: impl IntoIterator<Item = &'a DeploymentId>) -> Self {
        let entries = ids.into_iter().map(|id| (id.clone(), Mutex::default()));
        Self {
            http,
            cdn,
            entries: entries.collect(),
        }
    }

    /// Returns the public files of a deployment. A file that cannot be read within 5 s keeps its last known content.
    pub async fn published(&self, id: &DeploymentId) -> Published {
        let Some(entry) = self.entries.get(id) else {
            return Published::default();
        };
        let (http, cdn) = (&self.http, &self.cdn);
        let mut entry = entry.lock().await;
        let now = http.clock().now().instant;
        if entry.read_again.is_none_or(|at| at <= now) {
            let (configuration, domains) = tokio::join!(
                read(http, cdn, id, ReadConfiguration { deployment: id }),
                read(http, cdn, id, ReadDomains { deployment: id }),
            );
            let is_complete = configuration.is_some() && domains.is_some();
            entry.published.configuration = configuration.or(entry.published.configuration.take());
            entry.published.domains = domains.or(entry.published.domains.take());
            entry.read_again = Some(now + if is_complete { LIFETIME } else { RETRY_DELAY });
        }
        entry.published.clone()
    }
}

async fn read<C: Call + Sync>(http: &Client, cdn: &Host, id: &DeploymentId, call: C) -> Option<C::Reply> {
    let error = tokio::select! {
        read = http.call(&call, cdn, None) => match read {
            Ok(reply) => return Some(reply),
            Err(error) => error.to_string(),
        },
        () = http.clock().sleep(TIMEOUT) => format!("{cdn} did not answer within {TIMEOUT:?}"),
    };
    tracing::warn!(
        deployment = %id, error,
        "cannot read a public file of the deployment, so its last known content or the defaults apply: check the id, \
         and whether this machine reaches the host"
    );
    None
}
