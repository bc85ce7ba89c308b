//! Tests of the store in PostgreSQL.

use test_postgres::{Cluster, leave_out};

use super::*;
use crate::conformance::Fixture;

/// Whether this machine has no PostgreSQL, which is reported.
fn is_left_out() -> bool {
    match Cluster::shared() {
        Ok(_) => false,
        Err(missing) => {
            leave_out("the tests of PostgresStore", missing);
            true
        }
    }
}

fn make(limits: Limits) -> Fixture {
    let cluster = Cluster::shared().expect("it is not left out");
    let connection = SecretString::from(cluster.create_database());
    let store = PostgresStore::open(&connection, Keys::ephemeral(), limits).expect("it opens");
    Fixture::new(store, ())
}

crate::conformance::conformance_tests!(make, is_left_out);
