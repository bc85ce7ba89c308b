//! Faults of the store, and rows that cannot be parsed.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use audit::VerifierKey;
use genesys_api::{IdempotencyKey, SessionId};
use guest_store::{
    Change, CheckpointQuery, Committed, Conflict, Delivery, DeliveryQuery, EntryQuery, Leases, Session,
    SessionQuery, SharedToken, Stats, StoreErrorKind, StoreFuture, StoredCheckpoint, StoredEntry,
    StoredRequest, Unit, Webhook,
};
use guest_suite::contract::ErrorCode;
use guest_suite::store::LogState;
use time::OffsetDateTime;

use super::read_marker::{connect, send_echoed};
use super::*;

/// A store in memory with faults.
#[derive(Debug)]
struct FaultyStore {
    store: Arc<dyn Store>,
    /// Whether units are refused.
    refuses_units: AtomicBool,
    /// Whether the next removal of old deliveries is refused.
    refuses_removal_once: AtomicBool,
    /// Whether the next read of entries panics.
    panics_once: AtomicBool,
    /// Units, queries of sessions, leases and reads of counts so far.
    queries: AtomicUsize,
    checkpoints: AtomicUsize,
}

impl FaultyStore {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            store: memory(),
            refuses_units: AtomicBool::new(false),
            refuses_removal_once: AtomicBool::new(false),
            panics_once: AtomicBool::new(false),
            queries: AtomicUsize::new(0),
            checkpoints: AtomicUsize::new(0),
        })
    }
}

impl Store for FaultyStore {
    fn commit(&self, unit: Unit) -> StoreFuture<'_, Committed> {
        let is_removal = matches!(unit.change, Some(Change::RemoveOldDeliveries { .. }));
        let is_refused = is_removal && self.refuses_removal_once.swap(false, Ordering::SeqCst);
        if is_refused || self.refuses_units.load(Ordering::SeqCst) {
            return Box::pin(async { Err(StoreErrorKind::Unavailable.into()) });
        }
        self.queries.fetch_add(1, Ordering::SeqCst);
        self.store.commit(unit)
    }

    fn sessions(&self, query: SessionQuery, limit: usize) -> StoreFuture<'_, Vec<Session>> {
        self.queries.fetch_add(1, Ordering::SeqCst);
        self.store.sessions(query, limit)
    }

    fn request(&self, owner: &str, key: &IdempotencyKey) -> StoreFuture<'_, Option<StoredRequest>> {
        self.store.request(owner, key)
    }

    fn shared_token(&self, name: &str) -> StoreFuture<'_, Option<SharedToken>> {
        self.store.shared_token(name)
    }

    fn webhooks(&self) -> StoreFuture<'_, Vec<Webhook>> {
        self.store.webhooks()
    }

    fn lease_deliveries(
        &self,
        now: OffsetDateTime,
        lease: Duration,
        limit: usize,
    ) -> StoreFuture<'_, Leases> {
        self.queries.fetch_add(1, Ordering::SeqCst);
        self.store.lease_deliveries(now, lease, limit)
    }

    fn deliveries(&self, query: DeliveryQuery, limit: usize) -> StoreFuture<'_, Vec<Delivery>> {
        self.store.deliveries(query, limit)
    }

    fn entries(&self, query: EntryQuery, limit: usize) -> StoreFuture<'_, Vec<StoredEntry>> {
        assert!(!self.panics_once.swap(false, Ordering::SeqCst), "the fault");
        self.store.entries(query, limit)
    }

    fn checkpoints(&self, query: CheckpointQuery, limit: usize) -> StoreFuture<'_, Vec<StoredCheckpoint>> {
        let is_signed = matches!(query, CheckpointQuery::Head);
        self.checkpoints
            .fetch_add(usize::from(is_signed), Ordering::SeqCst);
        self.store.checkpoints(query, limit)
    }

    fn stats(&self) -> StoreFuture<'_, Stats> {
        self.queries.fetch_add(1, Ordering::SeqCst);
        self.store.stats()
    }

    fn verify_rows(&self) -> StoreFuture<'_, ()> {
        self.store.verify_rows()
    }

    fn verifier_key(&self) -> &VerifierKey {
        self.store.verifier_key()
    }
}

async fn open(clock: &Clock, store: Arc<dyn Store>) -> Direct {
    let config = config(clock, Hosts::of_domain("mypurecloud.de").unwrap(), "d-1");
    Direct::open(DirectConfig { store, ..config }).await.unwrap()
}

fn dispatcher(clock: &Clock) -> Dispatcher {
    Dispatcher::new(Client::builder(Tls::system().unwrap()).clock(clock.clone()))
}

#[tokio::test]
async fn counted_refusals_survive_a_failed_commit() {
    let (clock, store) = (Clock::system(), FaultyStore::new());
    let direct = open(&clock, store.clone()).await;
    let created = direct.create("shop", newcomer(&clock), None).await.unwrap();
    let (id, used) = (created.session.id, created.tokens.refresh_token);
    let key = IdempotencyKey::random();
    let tokens = direct.rotate("shop", &id, &used, Some(&key)).await.unwrap();
    direct.admit(&id, &tokens.access_token).await.unwrap();
    for _ in 0..4 {
        let refused = direct.rotate("shop", &id, &used, Some(&key)).await;
        assert!(matches!(
            refused,
            Err(Error::Refused(ErrorCode::RefreshTokenUsed))
        ));
    }
    clock.advance(Duration::from_secs(60));
    store.refuses_units.store(true, Ordering::SeqCst);
    let refused = direct.rotate("shop", &id, &used, Some(&key)).await;
    assert!(matches!(refused, Err(Error::Store(_))));
    direct.audit_log().log_counted().await.unwrap_err();
    store.refuses_units.store(false, Ordering::SeqCst);
    direct.audit_log().log_counted().await.unwrap();

    let entries = store.entries(EntryQuery::From(0), 100).await.unwrap();
    let entries = entries
        .iter()
        .map(|entry| serde_json::from_slice::<Value>(&entry.bytes).unwrap());
    let refusals = entries.filter(|entry| entry["action"] == "token.refused");
    let counts: Vec<Value> = refusals.map(|entry| entry["detail"]["count"].clone()).collect();
    assert_eq!(counts, [Value::Null, json!(4)]);
}

#[tokio::test]
async fn proof_of_a_guest_is_stored_with_the_session_or_the_change_it_allows() {
    let (clock, store) = (Clock::system(), FaultyStore::new());
    let direct = open(&clock, store.clone()).await;
    let mut guest = newcomer(&clock);
    guest.guest = Some("g-1".parse().unwrap());
    let join = async |version| {
        let proof = SharedToken {
            name: "used proofs".to_owned(),
            version,
            content: None,
            leased_until: None,
        };
        let joined = direct.create_or_join("shop", guest.clone(), None, Some(proof));
        joined
            .await
            .map(|(_, is_new)| is_new)
            .map_err(|error| match error {
                Error::Store(error) => error.kind(),
                other => panic!("{other}"),
            })
    };
    let changed = StoreErrorKind::Conflict(Conflict::TokenChanged);
    for (version, is_new) in [(0, true), (1, false)] {
        store.refuses_units.store(true, Ordering::SeqCst);
        assert_eq!(join(version).await, Err(StoreErrorKind::Unavailable));
        store.refuses_units.store(false, Ordering::SeqCst);
        assert_eq!(join(version).await, Ok(is_new));
        assert_eq!(join(version).await, Err(changed));
    }
}

#[tokio::test]
async fn start_reads_no_session() {
    let (clock, store) = (Clock::system(), memory());
    let direct = open(&clock, store.clone()).await;
    for _ in 0..3 {
        direct.create("shop", newcomer(&clock), None).await.unwrap();
    }
    let sessions = store.sessions(SessionQuery::Live(None), 3).await.unwrap();
    for session in &sessions[1..] {
        let damaged = Session {
            document: "{}".into(),
            ..session.clone()
        };
        store.commit(Change::UpdateSession(damaged).into()).await.unwrap();
    }
    assert_eq!(open(&clock, store).await.metrics().open, 3);
}

#[tokio::test]
async fn durations_of_expired_sessions_stay_equal_after_a_restart() {
    let (clock, store) = (Clock::system(), memory());
    let direct = open(&clock, store.clone()).await;
    direct.create("shop", newcomer(&clock), None).await.unwrap();
    clock.advance(Duration::from_secs(3 * 86_400));
    assert_eq!(direct.expire_idle().await.unwrap(), 1);
    let durations = direct.metrics().durations.unwrap();
    assert_eq!(durations.sum.as_secs(), 86_400);
    let restored = open(&clock, store).await.metrics().durations.unwrap();
    assert_eq!(restored.sum.as_millis(), durations.sum.as_millis());
}

#[tokio::test]
async fn unparsable_webhook_is_disabled() {
    let (clock, store) = (Clock::system(), memory());
    let direct = open(&clock, store.clone()).await;
    let crm = Crm::start(&clock).await;
    let [document, secret] = ["/document", "/secret"].map(|path| {
        let mut subscription = crm.subscription(path);
        subscription.name = path[1..].parse().unwrap();
        subscription
    });
    for subscription in [document, secret] {
        direct.ensure_webhook("shop", subscription, None).await.unwrap();
    }
    for mut webhook in store.webhooks().await.unwrap() {
        match webhook.name.as_str() {
            "document" => webhook.document = "{}".into(),
            _ => webhook.secrets = "short".into(),
        }
        store.commit(Change::PutWebhook(webhook).into()).await.unwrap();
    }
    direct.create("shop", newcomer(&clock), None).await.unwrap();
    let leased = direct.lease_due(10).await.unwrap().deliveries;
    assert_eq!(leased.len(), 2);
    for delivery in leased {
        direct.deliver(&dispatcher(&clock), delivery).await.unwrap();
    }
    let webhooks = store.webhooks().await.unwrap();
    assert!(webhooks.iter().all(|webhook| !webhook.enabled));
    clock.advance(Duration::from_secs(86_400));
    assert!(direct.lease_due(10).await.unwrap().deliveries.is_empty());
}

#[tokio::test]
async fn verification_of_the_log_is_started_again_after_a_panic() {
    let (clock, store) = (Clock::system(), FaultyStore::new());
    let direct = open(&clock, store.clone()).await;
    direct.create("shop", newcomer(&clock), None).await.unwrap();
    store.panics_once.store(true, Ordering::SeqCst);
    let running = direct.clone();
    let dispatcher = dispatcher(&clock);
    let tasks = tokio::spawn(async move { running.background_tasks(dispatcher).await });
    until(async || !store.panics_once.load(Ordering::SeqCst)).await;
    until(async || {
        clock.advance(Duration::from_secs(60));
        matches!(direct.audit_log().monitor().state(), LogState::Verified(_))
    })
    .await;
    tasks.abort();
}

#[tokio::test]
async fn conversation_is_not_opened_without_the_entry_of_its_disclosure() {
    let simulator = Simulator::start(genesys_sim::Config::plain()).await.unwrap();
    let (clock, store) = (simulator.clock().clone(), FaultyStore::new());
    let config = config(
        &clock,
        Hosts::single(simulator.host()),
        simulator.deployment_id().as_str(),
    );
    let direct = Direct::open(DirectConfig {
        store: store.clone(),
        ..config
    })
    .await
    .unwrap();
    let id = direct
        .create("shop", newcomer(&clock), None)
        .await
        .unwrap()
        .session
        .id;
    store.refuses_units.store(true, Ordering::SeqCst);
    let refused = direct.connect("shop", &id, page_origin()).await;
    assert!(matches!(refused, Err(Error::Store(_))));
    store.refuses_units.store(false, Ordering::SeqCst);
    for _ in 0..2 {
        direct.connect("shop", &id, page_origin()).await.unwrap();
    }

    let entries = store.entries(EntryQuery::From(0), 100).await.unwrap();
    let entries = entries
        .iter()
        .map(|entry| serde_json::from_slice::<Value>(&entry.bytes).unwrap());
    let disclosures = entries.filter(|entry| entry["action"] == "ws.connected");
    assert_eq!(disclosures.count(), 1);
}

/// A session whose webhook gets the messages to the guest.
async fn subscribed_conversation() -> (Direct, Arc<FaultyStore>, SessionId, Simulator) {
    let simulator = Simulator::start(genesys_sim::Config::plain()).await.unwrap();
    let (clock, store) = (simulator.clock().clone(), FaultyStore::new());
    let deployment = simulator.deployment_id().as_str();
    let config = config(&clock, Hosts::single(simulator.host()), deployment);
    let direct = Direct::open(DirectConfig {
        store: store.clone(),
        ..config
    })
    .await
    .unwrap();
    let mut subscription = Crm::start(&clock).await.subscription("/sync");
    subscription.events = [EventName::MessageReceived].into();
    direct.ensure_webhook("shop", subscription, None).await.unwrap();
    let created = direct.create("shop", newcomer(&clock), None).await.unwrap();
    (direct, store, created.session.id, simulator)
}

#[tokio::test]
async fn event_of_a_conversation_that_the_store_refuses_is_counted() {
    let (direct, store, id, simulator) = subscribed_conversation().await;
    let mut conversation = connect(&direct, &id).await;
    let pending = async || store.stats().await.unwrap().outbox_pending;
    send_echoed(&mut conversation, "one").await;
    until(async || pending().await == 1).await;
    store.refuses_units.store(true, Ordering::SeqCst);
    send_echoed(&mut conversation, "two").await;
    until(async || direct.lost_events() == 1).await;
    store.refuses_units.store(false, Ordering::SeqCst);
    send_echoed(&mut conversation, "three").await;
    until(async || pending().await == 2).await;
    assert_eq!(direct.lost_events(), 1);
    drop(conversation);
    simulator.stop().await;
}

/// The `unlogged` of each line of this thread from the storage of a session.
#[derive(Clone, Default)]
struct StorageLines(Arc<Mutex<Vec<u64>>>);

impl tracing::Subscriber for StorageLines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "guest_suite::direct::storage"
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

impl tracing::field::Visit for StorageLines {
    fn record_u64(&mut self, field: &tracing::field::Field, value: u64) {
        if field.name() == "unlogged" {
            self.0.lock().unwrap().push(value);
        }
    }

    fn record_debug(&mut self, _: &tracing::field::Field, _: &dyn std::fmt::Debug) {}
}

#[tokio::test]
async fn faults_of_a_store_are_one_line_in_ten_seconds_with_their_number() {
    let lines = StorageLines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    let (direct, store, id, simulator) = subscribed_conversation().await;
    let clock = direct.clock().clone();
    let mut conversation = connect(&direct, &id).await;
    send_echoed(&mut conversation, "stored").await;
    // a test beside it may have registered the call site while the subscriber was set
    tracing::callsite::rebuild_interest_cache();
    store.refuses_units.store(true, Ordering::SeqCst);
    for number in 1..=6 {
        send_echoed(&mut conversation, "refused").await;
        until(async || direct.lost_events() == number).await;
    }
    let logged = || lines.0.lock().unwrap().clone();
    // that of the events, and perhaps that of the read marker
    assert!(matches!(logged()[..], [0] | [0, 0]), "{:?}", logged());
    clock.advance(Duration::from_secs(10));
    send_echoed(&mut conversation, "refused").await;
    until(async || logged().iter().any(|unlogged| *unlogged >= 5)).await;
    drop(conversation);
    simulator.stop().await;
}

#[tokio::test]
async fn store_is_queried_only_when_something_is_due() {
    let (clock, store) = (Clock::system(), FaultyStore::new());
    let direct = open(&clock, store.clone()).await;
    let running = direct.clone();
    let dispatcher = dispatcher(&clock);
    store.queries.store(0, Ordering::SeqCst);
    let tasks = tokio::spawn(async move { running.background_tasks(dispatcher).await });
    let queries = || store.queries.load(Ordering::SeqCst);
    let checkpoints = || store.checkpoints.load(Ordering::SeqCst);
    until(async || {
        clock.advance(Duration::from_secs(15));
        checkpoints() > 20
    })
    .await;
    // the outbox, the live sessions, the ended ones, the keys of requests, and the counts
    assert_eq!(queries(), 5);
    direct.create("shop", newcomer(&clock), None).await.unwrap();
    until(async || queries() == 7).await;
    clock.advance(Duration::from_secs(86_400));
    until(async || direct.metrics().ended_by.get(EndReason::Expired) == 1).await;
    clock.advance(Duration::from_secs(31 * 86_400));
    until(async || {
        let stored = store.store.sessions(SessionQuery::All(None), 1).await;
        stored.unwrap().is_empty()
    })
    .await;
    tasks.abort();
}

#[tokio::test]
async fn old_events_of_a_paused_webhook_join_a_snapshot_after_a_failed_removal() {
    let (clock, store) = (Clock::system(), FaultyStore::new());
    let direct = open(&clock, store.clone()).await;
    let mut paused = Crm::start(&clock).await.subscription("/sync");
    paused.enabled = false;
    direct.ensure_webhook("shop", paused, None).await.unwrap();
    direct.create("shop", newcomer(&clock), None).await.unwrap();
    store.refuses_removal_once.store(true, Ordering::SeqCst);
    clock.advance(Duration::from_secs(7 * 86_400));
    let (running, dispatcher) = (direct.clone(), dispatcher(&clock));
    let tasks = tokio::spawn(async move { running.background_tasks(dispatcher).await });
    until(async || !store.refuses_removal_once.load(Ordering::SeqCst)).await;
    clock.advance(Duration::from_secs(15));
    until(async || store.stats().await.unwrap().snapshots_pending == 1).await;
    tasks.abort();
}

#[tokio::test]
async fn restarted_process_ends_idle_sessions_at_their_moved_deadlines() {
    let (clock, store) = (Clock::system(), memory());
    let before = open(&clock, store.clone()).await;
    let kept = before.create("shop", newcomer(&clock), None).await.unwrap();
    before.create("shop", newcomer(&clock), None).await.unwrap();
    let direct = open(&clock, store).await;
    let hours = |hours: u64| clock.advance(Duration::from_secs(hours * 3_600));
    assert_eq!(direct.expire_idle().await.unwrap(), 0);
    hours(20);
    let (id, refresh) = (&kept.session.id, &kept.tokens.refresh_token);
    direct.rotate("shop", id, refresh, None).await.unwrap();
    let ended = async || direct.expire_idle().await.unwrap();
    hours(5);
    assert_eq!((ended().await, direct.metrics().open), (1, 1));
    hours(18);
    assert_eq!(ended().await, 0);
    hours(2);
    assert_eq!((ended().await, direct.metrics().open), (1, 0));
}
