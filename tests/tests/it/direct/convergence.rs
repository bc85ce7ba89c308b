//! A receiver that was down or disabled ends with the same view of every session as the store.

mod outages;

use std::collections::{BTreeMap, BTreeSet};

use genesys_api::SessionId;
use guest_suite::contract::ErrorCode;
use guest_suite::store::{EntryQuery, Leased};
use guest_suite::webhook::Subscription;

use super::*;
use crate::crm::Delivery;

const OWNER: &str = "shop";
const HOUR: Duration = Duration::from_secs(3_600);

/// Direct mode with a queue of three events per webhook, and a receiver.
struct Outage {
    clock: Clock,
    direct: Direct,
    dispatcher: Dispatcher,
    crm: Crm,
    subscription: Subscription,
    secret: Secret,
    folder: TempDir,
    /// Sessions with the number of their events.
    events: BTreeMap<SessionId, u64>,
}

impl Outage {
    async fn new() -> Self {
        Self::of_webhook(false).await
    }

    async fn of_webhook(ordered: bool) -> Self {
        let (clock, folder) = (Clock::system(), tempfile::tempdir().unwrap());
        let direct = open(&clock, &folder).await;
        let crm = Crm::start(&clock).await;
        let subscription = Subscription {
            ordered,
            ..crm.subscription("/sync")
        };
        let webhook = direct
            .ensure_webhook(OWNER, subscription.clone(), None)
            .await
            .unwrap()
            .webhook;
        let egress = Egress::PublicOnly {
            allow: vec!["127.0.0.0/8".parse().unwrap()],
        };
        let client = Client::builder(Tls::system().unwrap());
        Self {
            dispatcher: Dispatcher::new(client.clock(clock.clone()).egress(egress)),
            secret: webhook.secret.unwrap(),
            clock,
            direct,
            crm,
            subscription,
            folder,
            events: BTreeMap::new(),
        }
    }

    async fn restart(mut self) -> Self {
        drop(self.direct);
        self.direct = open(&self.clock, &self.folder).await;
        self
    }

    async fn create(&mut self) -> SessionId {
        let created = self
            .direct
            .create(OWNER, newcomer(&self.clock), None)
            .await
            .unwrap();
        self.events.insert(created.session.id.clone(), 1);
        created.session.id
    }

    async fn withdraw(&mut self, id: &SessionId, purpose: Purpose) {
        self.clock.advance(Duration::from_secs(1));
        let change = ConsentChange::new(Evidence::at(self.clock.now().utc)).withdrawing(purpose);
        let changed = self.direct.change_consent(OWNER, id, &change, Signals::default());
        changed.await.unwrap();
        *self.events.get_mut(id).unwrap() += 1;
    }

    async fn end(&mut self, id: &SessionId) {
        self.direct.end(OWNER, id, EndReason::Guest).await.unwrap();
        *self.events.get_mut(id).unwrap() += 1;
    }

    /// Erases what ended an hour ago.
    async fn erase(&mut self, ids: &[SessionId]) {
        self.clock.advance(HOUR);
        assert_eq!(self.direct.erase_old().await.unwrap(), ids.len());
        for id in ids {
            *self.events.get_mut(id).unwrap() += 1;
        }
    }

    /// Makes all attempts that are due, each after the one before.
    async fn attempt_all(&self) {
        loop {
            let leased = self.direct.lease_due(1).await.unwrap().deliveries;
            if leased.is_empty() {
                return;
            }
            for delivery in leased {
                self.direct.deliver(&self.dispatcher, delivery).await.unwrap();
            }
        }
    }

    async fn waiting(&self) -> (u64, u64) {
        let stats = self.direct.store().stats().await.unwrap();
        (stats.outbox_pending, stats.snapshots_pending)
    }

    /// Makes attempts until nothing waits, and compares the receiver's view with the store.
    async fn converge(&self) {
        for _ in 0..30 {
            self.attempt_all().await;
            if self.waiting().await == (0, 0) {
                break;
            }
            self.clock.advance(HOUR);
        }
        assert_eq!(self.waiting().await, (0, 0));
        let mut view = View {
            ordered: self.subscription.ordered,
            ..View::default()
        };
        for delivery in self.crm.received(0).await {
            delivery.verify(&self.secret);
            view.receive(&delivery);
        }
        for (id, events) in &self.events {
            for sequence in 1..=*events {
                assert!(
                    view.named[id.as_str()].contains(&sequence),
                    "event {sequence} of {id} is neither delivered nor named"
                );
            }
            let (_, data) = &view.sessions[id.as_str()];
            let Some(row) = self.direct.store().session(id).await.unwrap() else {
                assert_eq!(data, &None, "{id} is erased");
                continue;
            };
            assert_eq!(row.version, *events);
            let info = self.direct.session(OWNER, id).await.unwrap();
            let data = data.as_ref().unwrap();
            assert_eq!(data["state"], json!(info.state), "{id}");
            assert_eq!(data["consent"], json!(info.consent), "{id}");
            assert_eq!(data["endReason"], json!(info.end_reason), "{id}");
            let has_segment = data["guestAttributes"]
                .as_object()
                .unwrap()
                .contains_key("marketing.segment");
            let may_have = info.consent.purpose(Purpose::Marketing).is_on();
            assert_eq!(has_segment, may_have, "{id}");
        }
    }
}

async fn open(clock: &Clock, folder: &TempDir) -> Direct {
    let keys = Keys {
        seal: SealKey::new(&[8; 32]),
        signer: Signer::from_seed("end-to-end/direct", &[7; 32]).unwrap(),
    };
    let limits = Limits {
        webhook_queue_rows: 3,
        ..Limits::default()
    };
    let store = SqliteStore::open(folder.path().join("direct.db"), keys, limits).unwrap();
    let config = DirectConfig {
        store: Arc::new(store),
        retention: HOUR,
        idle_timeout: 1_000 * HOUR,
        ..config(clock, Hosts::of_domain("mypurecloud.de").unwrap(), "d-1")
    };
    Direct::open(config).await.unwrap()
}

/// The sessions as a receiver keeps them: each id once, and no event older than the last one.
#[derive(Default)]
struct View {
    ids: BTreeSet<String>,
    /// Whether the events of a session, which are not in a range, have to arrive in their order.
    ordered: bool,
    /// The last sequence number of those.
    events: BTreeMap<String, u64>,
    /// The last sequence number and the data, which is absent of an erased session.
    sessions: BTreeMap<String, (u64, Option<Value>)>,
    /// The sequence numbers that were delivered or lie in a delivered range.
    named: BTreeMap<String, BTreeSet<u64>>,
}

impl View {
    fn receive(&mut self, delivery: &Delivery) {
        if !self.ids.insert(delivery.id().to_owned()) {
            return;
        }
        let data = &delivery.body()["data"];
        let id = data["id"].as_str().unwrap().to_owned();
        let sequence = data["sequence"].as_u64().unwrap();
        let range = match data.get("range") {
            Some(range) => range["first"].as_u64().unwrap()..=range["last"].as_u64().unwrap(),
            None => {
                let before = self.events.insert(id.clone(), sequence);
                assert!(
                    !self.ordered || before < Some(sequence),
                    "{before:?}, then {sequence} of {id}"
                );
                sequence..=sequence
            }
        };
        self.named.entry(id.clone()).or_default().extend(range);
        if self.sessions.get(&id).is_none_or(|(last, _)| *last < sequence) {
            let is_erased = delivery.event() == EventName::Erased.as_str();
            self.sessions
                .insert(id, (sequence, (!is_erased).then(|| data.clone())));
        }
    }
}

#[tokio::test]
async fn receiver_that_was_down_with_a_full_queue_converges() {
    let mut outage = Outage::new().await;
    let [changed, ended, erased] = [
        outage.create().await,
        outage.create().await,
        outage.create().await,
    ];
    outage.end(&erased).await;
    outage.attempt_all().await;
    outage.create().await;
    outage.crm.set_down(true);
    let mut others = Vec::new();
    for _ in 0..8 {
        others.push(outage.create().await);
        outage.attempt_all().await;
    }
    assert_eq!(outage.waiting().await, (3, 6), "no session was refused");
    outage.withdraw(&changed, Purpose::Marketing).await;
    outage.withdraw(&others[0], Purpose::Marketing).await;
    outage.withdraw(&others[3], Purpose::Marketing).await;
    outage.end(&others[1]).await;
    outage.end(&others[4]).await;
    let gone = [erased, others[1].clone(), others[4].clone()];
    outage.erase(&gone).await;
    outage.attempt_all().await;

    // the queue and the snapshots outlive the process
    let before = outage.waiting().await;
    let mut outage = outage.restart().await;
    assert_eq!(outage.waiting().await, before);

    outage.withdraw(&others[5], Purpose::Personalization).await;
    outage.withdraw(&others[5], Purpose::Marketing).await;
    outage.end(&others[5]).await;
    outage.end(&ended).await;
    outage.create().await;
    outage.attempt_all().await;
    outage.crm.set_down(false);
    outage.converge().await;

    // and what follows is delivered as it is
    outage.withdraw(&others[0], Purpose::Personalization).await;
    outage.converge().await;
    let received = outage.crm.received(0).await;
    assert_eq!(received.last().unwrap().event(), EventName::Updated.as_str());
}

#[tokio::test]
async fn receiver_that_was_disabled_converges() {
    let mut outage = Outage::new().await;
    let [first, second] = [outage.create().await, outage.create().await];
    outage.crm.respond_with(&[410]);
    outage.attempt_all().await;
    let webhook = outage.direct.webhooks(OWNER).await.unwrap().remove(0);
    assert!(!webhook.subscription.enabled);
    outage.withdraw(&first, Purpose::Marketing).await;
    outage.end(&second).await;
    outage.create().await;
    outage.erase(&[second]).await;
    // two events, the erasure of a session, and the snapshot of one that found no room
    assert_eq!(outage.waiting().await, (2, 2));
    outage.attempt_all().await;
    let refused = outage.crm.received(1).await.remove(0);
    let replaced = outage
        .direct
        .replace_webhook(OWNER, &webhook.id, outage.subscription.clone());
    replaced.await.unwrap();
    outage.converge().await;
    let received = outage.crm.received(0).await;
    let mut names: Vec<_> = received[1..].iter().map(Delivery::event).collect();
    names.sort();
    let expected = ["created", "erased", "snapshot", "updated"];
    assert_eq!(
        names,
        expected.map(|name| format!("webmessaging.guestsession.{name}"))
    );
    let again = received[1..]
        .iter()
        .filter(|delivery| delivery.id() == refused.id());
    assert_eq!(again.count(), 1, "what it refused is sent again");
}

#[tokio::test]
async fn no_event_waits_for_deliveries_in_flight_at_a_restart() {
    let ids = |leased: &[Leased]| {
        leased
            .iter()
            .map(|leased| leased.id.clone())
            .collect::<BTreeSet<_>>()
    };
    let mut outage = Outage::new().await;
    for _ in 0..2 {
        outage.create().await;
    }
    let in_flight = outage.direct.lease_due(100).await.unwrap().deliveries;
    assert_eq!(in_flight.len(), 2);
    assert!(outage.direct.lease_due(100).await.unwrap().deliveries.is_empty());
    let mut outage = outage.restart().await;
    outage.create().await;
    // the clock stands still
    let again = outage.direct.lease_due(100).await.unwrap().deliveries;
    assert_eq!(again.len(), 3, "those in flight, and the new one");
    assert!(
        ids(&again).is_superset(&ids(&in_flight)),
        "each has its id of before"
    );
    for delivery in again {
        outage.direct.deliver(&outage.dispatcher, delivery).await.unwrap();
    }
    assert_eq!(outage.waiting().await, (0, 0));
    assert_eq!(outage.crm.received(3).await.len(), 3);
}

#[tokio::test]
async fn event_queued_before_a_withdrawal_is_sent_without_the_attribute() {
    let mut outage = Outage::new().await;
    outage.crm.set_down(true);
    let id = outage.create().await;
    outage.attempt_all().await;
    outage.withdraw(&id, Purpose::Marketing).await;
    assert_eq!(outage.waiting().await, (2, 0), "both events are queued");
    outage.crm.set_down(false);
    outage.converge().await;

    let received = outage.crm.received(2).await;
    let entries = outage.direct.store().entries(EntryQuery::From(0), 1_000).await;
    let entries = entries.unwrap().into_iter();
    let disclosed: Vec<Value> = entries
        .map(|entry| serde_json::from_slice(&entry.bytes).unwrap())
        .filter(|entry: &Value| entry["action"] == "webhook.delivered")
        .collect();
    assert_eq!((received.len(), disclosed.len()), (2, 2));
    let names: Vec<_> = received.iter().map(Delivery::event).collect();
    assert!(
        names.contains(&EventName::Created.as_str().to_owned()),
        "{names:?}"
    );
    for (delivery, entry) in received.iter().zip(&disclosed) {
        let data = &delivery.body()["data"];
        let sent = data["guestAttributes"].as_object().unwrap();
        assert!(
            !sent.is_empty() && !sent.contains_key("marketing.segment"),
            "{data}"
        );
        let detail = &entry["detail"];
        assert_eq!(detail["event"], json!(delivery.event()));
        assert!(sent.contains_key("favouriteColour") && sent.len() == 2, "{data}");
        assert_eq!(detail["attributes"], json!(["personalization.*", "source"]));
        assert_eq!(detail["purposes"], json!(["functional", "personalization"]));
        assert!(!entry.to_string().contains(delivery.id()), "{entry}");
    }
}

/// The actions and outcomes of the disclosures to receivers, each with a subject and the names of the attributes.
async fn disclosures(outage: &Outage) -> Vec<(String, String)> {
    let entries = outage.direct.store().entries(EntryQuery::From(0), 1_000).await;
    let entries = entries.unwrap().into_iter();
    let entries = entries.map(|entry| serde_json::from_slice::<Value>(&entry.bytes).unwrap());
    let disclosures = entries.filter(|entry| entry["detail"].get("attributes").is_some());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    disclosures
        .map(|entry| {
            assert!(entry["subject"].is_string(), "{entry}");
            (text(&entry["action"]), text(&entry["outcome"]))
        })
        .collect()
}

#[tokio::test]
async fn disclosure_is_recorded_for_each_attempt_that_may_have_arrived() {
    let mut outage = Outage::new().await;
    outage.create().await;
    outage.crm.respond_with(&[500, 503]);
    outage.converge().await;
    let attempted = ("webhook.attempted".to_owned(), "error".to_owned());
    let delivered = ("webhook.delivered".to_owned(), "ok".to_owned());
    let expected = [attempted.clone(), attempted.clone(), delivered];
    assert_eq!(disclosures(&outage).await, expected);

    let mut refused = Outage::new().await;
    refused.create().await;
    refused.crm.respond_with(&[410]);
    refused.attempt_all().await;
    assert_eq!(disclosures(&refused).await, [attempted]);

    // no address of the receiver may be connected to
    let mut blocked = Outage::new().await;
    let client = Client::builder(Tls::system().unwrap()).clock(blocked.clock.clone());
    blocked.dispatcher = Dispatcher::new(client.egress(Egress::PublicOnly { allow: Vec::new() }));
    blocked.create().await;
    blocked.attempt_all().await;
    assert!(disclosures(&blocked).await.is_empty());
}

#[tokio::test]
async fn disclosure_of_a_lost_lease_is_recorded() {
    let mut outage = Outage::new().await;
    outage.create().await;
    let lost = outage.direct.lease_due(1).await.unwrap().deliveries.remove(0);
    outage.clock.advance(HOUR);
    let present = outage.direct.lease_due(1).await.unwrap().deliveries.remove(0);
    for delivery in [lost, present] {
        outage.direct.deliver(&outage.dispatcher, delivery).await.unwrap();
    }
    let delivered = ("webhook.delivered".to_owned(), "ok".to_owned());
    assert_eq!(disclosures(&outage).await, [delivered.clone(), delivered]);
    assert_eq!(outage.waiting().await, (0, 0));
}

#[tokio::test]
async fn events_of_an_ended_session_have_the_attributes_that_consent_allows() {
    let mut outage = Outage::new().await;
    outage.crm.set_down(true);
    let id = outage.create().await;
    outage.end(&id).await;
    outage.attempt_all().await;
    outage.withdraw(&id, Purpose::Marketing).await;
    outage.crm.set_down(false);
    outage.converge().await;

    let received = outage.crm.received(3).await;
    assert_eq!(received.len(), 3);
    for delivery in received {
        let data = &delivery.body()["data"];
        assert_eq!(data["state"], "ended");
        assert_eq!(data["guestAttributes"]["source"], "web");
        assert_eq!(data["guestAttributes"]["marketing.segment"], Value::Null);
    }
    let at = outage.clock.now().utc;
    let grant = ConsentChange::new(Evidence::at(at)).granting(Purpose::Marketing);
    let granted = outage
        .direct
        .change_consent(OWNER, &id, &grant, Signals::default());
    assert!(matches!(
        granted.await,
        Err(Error::Refused(ErrorCode::SessionEnded))
    ));
}
