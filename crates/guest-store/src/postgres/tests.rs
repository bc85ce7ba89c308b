//! Tests of the store in PostgreSQL.

use audit::{Actor, Draft, Signer};
use test_postgres::{Cluster, leave_out};
use time::OffsetDateTime;

use super::*;
use crate::conformance::Fixture;
use crate::{SealKey, Store as _, Unit};

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

#[tokio::test]
async fn process_that_lost_the_store_writes_nothing() {
    if is_left_out() {
        return;
    }
    let cluster = Cluster::shared().expect("it is not left out");
    let database = cluster.create_database();
    let open = || {
        let signer = Signer::from_seed("guest-store/test", &[1; 32]).expect("the name is valid");
        let seal = SealKey::new(&[7; 32]);
        PostgresStore::open(&database.clone().into(), Keys { seal, signer }, Limits::default())
    };
    let end_connections = || {
        let statement = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                         WHERE datname = current_database() AND pid <> pg_backend_pid()";
        cluster.query(&database, statement);
    };
    let entry = || Unit {
        entries: vec![Draft::new(
            OffsetDateTime::UNIX_EPOCH,
            Actor::client("shop"),
            "test.written",
        )],
        ..Unit::default()
    };
    let first = open().unwrap();
    assert_eq!(first.commit(entry()).await.unwrap().entries, 0..1);
    assert_eq!(open().unwrap_err().kind(), StoreErrorKind::Locked);

    end_connections();
    let second = open().unwrap();
    assert_eq!(
        first.commit(entry()).await.unwrap_err().kind(),
        StoreErrorKind::Locked
    );
    assert_eq!(second.commit(entry()).await.unwrap().entries, 1..2);

    drop(second);
    // what the second wrote is before it
    assert_eq!(first.commit(entry()).await.unwrap().entries, 2..3);
    end_connections();
    assert_eq!(first.commit(entry()).await.unwrap().entries, 3..4);
    assert_eq!(first.stats().await.unwrap().audit_entries, 4);
    crate::verify(&first, |_| {}).await.unwrap();
}
