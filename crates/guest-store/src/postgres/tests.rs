//! Tests of the store in PostgreSQL.

mod cut;

use audit::{Actor, Draft, Signer};
use genesys_sim::throwaway_ca;
use secrecy::ExposeSecret as _;
use test_postgres::{Cluster, leave_out};
use time::OffsetDateTime;

use super::*;
use crate::conformance::Fixture;
use crate::conformance::samples::{
    at, attempt, draft, event, removal, session, settlement, stored, webhook, whole,
};
use crate::{
    Change, DeliveryQuery, DeliverySelect, DeliveryState, EntryQuery, KeyedRequest, SealKey, SessionQuery,
    Settled, Settlement, SharedToken, SqliteStore, Store, StoreErrorKind, Unit,
};

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
    let store =
        PostgresStore::open(&connection, &Trust::System, Keys::ephemeral(), limits).expect("it opens");
    Fixture::new(store, ())
}

crate::conformance::conformance_tests!(make, is_left_out);

fn keys() -> Keys {
    Keys {
        seal: SealKey::new(&[7; 32]),
        signer: Signer::from_seed("guest-store/test", &[1; 32]).expect("the name is valid"),
    }
}

#[tokio::test]
async fn process_that_lost_the_store_writes_nothing() {
    if is_left_out() {
        return;
    }
    let cluster = Cluster::shared().expect("it is not left out");
    let database = cluster.create_database();
    let open = || {
        PostgresStore::open(
            &database.clone().into(),
            &Trust::System,
            keys(),
            Limits::default(),
        )
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

/// A store with a row in each table.
async fn fill(store: &dyn Store) {
    stored(store, Change::PutWebhook(webhook("w", "o", "crm", &["n"])).into()).await;
    let request = KeyedRequest {
        owner: "o".to_owned(),
        key: "k".parse().unwrap(),
        digest: [7; 32],
        at: at(0),
    };
    let whole = Unit {
        entries: vec![draft("g-1")],
        events: (0..3)
            .map(|number| event(&format!("e-{number}"), "o", "n"))
            .collect(),
        request: Some(request),
        totals: [("messages".to_owned(), 7)].into(),
        token: Some(SharedToken {
            name: "a".to_owned(),
            version: 0,
            content: Some("token".into()),
            leased_until: None,
        }),
        ..Change::CreateSession(session("s-1", "o", "g-1")).into()
    };
    stored(store, whole).await;
    let mut ended = session("s-2", "o", "g-2");
    ended.ended_at = Some(at(9));
    stored(store, Change::CreateSession(ended).into()).await;
    let leases = store
        .lease_deliveries(at(10), Duration::from_secs(30), 2)
        .await
        .unwrap();
    let settle = Settlement {
        attempt: Some(attempt(11)),
        ..settlement(&leases.deliveries[0], Settled::Delivered)
    };
    stored(store, Change::Settle(settle).into()).await;
}

/// All that can be read of the store.
async fn contents(store: &dyn Store) -> String {
    let mut text = String::new();
    for session in store.sessions(SessionQuery::All(None), 10).await.unwrap() {
        text += &format!("{:?}\n", whole(&session));
    }
    for state in [DeliveryState::Waiting, DeliveryState::Delivered] {
        let query = DeliveryQuery {
            webhook: "w".parse().unwrap(),
            select: DeliverySelect::State(state, None),
        };
        text += &format!("{:?}\n", store.deliveries(query, 10).await.unwrap());
    }
    let webhooks = store.webhooks().await.unwrap();
    let request = store.request("o", &"k".parse().unwrap()).await.unwrap();
    let token = store.shared_token("a").await.unwrap();
    let entries = store.entries(EntryQuery::From(0), 10).await.unwrap();
    let stats = store.stats().await.unwrap();
    text + &format!("{webhooks:?}\n{request:?}\n{token:?}\n{entries:?}\n{stats:?}")
}

#[tokio::test]
async fn moved_store_has_the_same_contents() {
    if is_left_out() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guests.db");
    let file = SqliteStore::open(&path, keys(), Limits::default()).unwrap();
    fill(&file).await;
    drop(file);
    // releases the leases, as each start does
    let file = SqliteStore::open(&path, keys(), Limits::default()).unwrap();
    let (before, checkpoint) = (contents(&file).await, file.checkpoint().await.unwrap());
    drop(file);

    let database = SecretString::from(Cluster::shared().unwrap().create_database());
    let moved = PostgresStore::move_from(&path, &database, &Trust::System, &keys()).unwrap();
    assert!(moved.exists() && !path.exists());
    let store = PostgresStore::open(&database, &Trust::System, keys(), Limits::default()).unwrap();
    assert_eq!(contents(&store).await, before);
    assert_eq!(store.checkpoint().await.unwrap().note, checkpoint.note);
    store.verify_rows().await.unwrap();
    // positions, slots and numbers go on
    stored(&store, removal("s-2")).await;
    let unit = Unit {
        entries: vec![draft("g-3")],
        events: vec![event("e-9", "o", "n")],
        ..Change::CreateSession(session("s-3", "o", "g-3")).into()
    };
    stored(&store, unit).await;
    crate::verify(&store, |_| {}).await.unwrap();
}

#[test]
fn server_is_reached_by_tls_if_its_certificate_is_valid() {
    let mut cluster = match Cluster::start() {
        Ok(cluster) => cluster,
        Err(missing) => return leave_out("the test of TLS to PostgreSQL", missing),
    };
    let address = cluster.listen();
    let local = cluster.create_database();
    let (_, database) = local.split_once("dbname=").expect("it names a database");
    cluster.query(&local, "CREATE ROLE guests LOGIN SUPERUSER PASSWORD 'secret'");
    let open = |name: &str, authority: &str| {
        let connection = format!(
            "host={name} hostaddr={address} user=guests password=secret dbname={database} channel_binding=require"
        );
        let trust = Trust::Only(authority.as_bytes().to_vec());
        let opened = PostgresStore::open(&connection.into(), &trust, Keys::ephemeral(), Limits::default());
        opened.map(drop).map_err(|error| {
            assert_eq!(error.kind(), StoreErrorKind::Unavailable);
            genesys_api::error_chain(&error)
        })
    };
    let pki = throwaway_ca(&["db.test"]).unwrap();
    let refused = |outcome: Result<(), String>, reason: &str| {
        let error = outcome.unwrap_err();
        assert!(error.contains(reason), "{error}");
    };
    refused(open("db.test", &pki.ca_pem), "does not support TLS");

    cluster.use_tls(&pki.cert_pem, pki.key_pem.expose_secret());
    open("db.test", &pki.ca_pem).unwrap();
    refused(open("other.test", &pki.ca_pem), "for another host name");
    let other = throwaway_ca(&["db.test"]).unwrap();
    refused(open("db.test", &other.ca_pem), "another key than its CA's");
}

#[test]
fn database_that_is_not_in_utf8_is_refused() {
    if is_left_out() {
        return;
    }
    let cluster = Cluster::shared().expect("it is not left out");
    let database = cluster.create_database();
    cluster.query(
        &database,
        "CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0",
    );
    let (server, _) = database.split_once("dbname=").expect("it names a database");
    let opened = PostgresStore::open(
        &format!("{server}dbname=ascii").into(),
        &Trust::System,
        Keys::ephemeral(),
        Limits::default(),
    );
    let error = opened.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Invalid);
    let chain = genesys_api::error_chain(&error);
    assert!(
        chain.contains("the encoding of the database is SQL_ASCII"),
        "{chain}"
    );
}
