//! A store in a PostgreSQL server of the bench.

use std::error::Error;
use std::sync::Arc;

use genesys_http::Trust;
use guest_store::PostgresStore;
use test_postgres::{Cluster, leave_out};

use super::{Subject, fill, keys, limits};

/// Starts a server and fills a store in it. `None` if this machine has no PostgreSQL.
pub(crate) async fn start(size: usize) -> Result<Option<(Cluster, Subject)>, Box<dyn Error>> {
    let cluster = match Cluster::start() {
        Ok(cluster) => cluster,
        Err(missing) => {
            leave_out("the store in PostgreSQL", missing);
            return Ok(None);
        }
    };
    let database = cluster.create_database();
    let store = PostgresStore::open(&database.clone().into(), &Trust::System, keys(), limits())?;
    let store = fill(Arc::new(store), size).await?;
    // without the one that answers
    let others = "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()";
    let pids = cluster.query(&database, others);
    let pids = pids.lines().filter_map(|pid| pid.trim().parse().ok());
    let subject = Subject {
        name: format!("{size} sessions, PostgreSQL"),
        path: None,
        store,
        processes: pids.chain([std::process::id()]).collect(),
        rounds: Vec::new(),
    };
    Ok(Some((cluster, subject)))
}
