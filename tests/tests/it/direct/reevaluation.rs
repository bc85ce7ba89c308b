//! Data leaves under the current policy, also before the background tasks have seen its session.

use std::collections::BTreeSet;

use guest_store::EntryQuery;

use super::*;
use crate::reevaluation::{OPT_IN, OPT_OUT, policy};

#[tokio::test]
async fn stored_decision_is_reevaluated_before_data_leaves() {
    let (genesys, clock, store) = (Genesys::start().await, Clock::system(), memory());
    let open = async |version, rule| {
        let policy = Policy::parse(&policy(version, rule)).unwrap();
        let config = DirectConfig {
            store: Arc::clone(&store),
            rules: rules_of(policy),
            ..config(&clock, Hosts::single(&genesys.host()), "d-1")
        };
        Direct::open(config).await.unwrap()
    };
    let crm = Crm::start(&clock).await;
    let mut late = crm.subscription("/late");
    late.name = "late".parse().unwrap();
    late.enabled = false;
    let before = open("1.0.0", OPT_OUT).await;
    before
        .ensure_webhook("shop", crm.subscription("/sync"), None)
        .await
        .unwrap();
    let registered = before.ensure_webhook("shop", late.clone(), None).await.unwrap();
    let webhook = registered.webhook;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let guest = consenting(&clock, [Choice::Unknown; 3]);
        ids.push(before.create("shop", guest, None).await.unwrap().session.id);
    }

    let direct = open("2.0.0", OPT_IN).await;
    let (conversation, mut upstream) = tokio::join!(
        direct.connect("shop", &ids[0], page_origin()),
        genesys.configured()
    );
    let mut conversation = conversation.unwrap();
    let first = soon(conversation.next_event()).await;
    assert!(
        matches!(first, Some(Event::Connection(ConnectionEvent::Ready(_)))),
        "{first:?}"
    );
    conversation.send("hello").unwrap();
    let sent = upstream.take_message().await;
    assert_eq!(
        sent["message"]["channel"]["metadata"]["customAttributes"],
        json!({ "source": "web" })
    );
    direct.end("shop", &ids[1], EndReason::Guest).await.unwrap();
    late.enabled = true;
    direct.replace_webhook("shop", &webhook.id, late).await.unwrap();
    let egress = Egress::PublicOnly {
        allow: vec!["127.0.0.0/8".parse().unwrap()],
    };
    let client = Client::builder(Tls::system().unwrap());
    let dispatcher = Dispatcher::new(client.clock(clock.clone()).egress(egress));
    loop {
        let leased = direct.lease_due(1).await.unwrap().deliveries;
        if leased.is_empty() {
            break;
        }
        for delivery in leased {
            direct.deliver(&dispatcher, delivery).await.unwrap();
        }
    }

    let received = crm.received(0).await;
    let bodies = |path: &str, event: EventName| -> Vec<Value> {
        let of_path = received.iter().filter(|delivery| delivery.path == path);
        of_path
            .map(|delivery| delivery.body())
            .filter(|body| body["type"] == event.as_str())
            .collect()
    };
    let updated = bodies("/sync", EventName::Updated);
    let ended = bodies("/sync", EventName::Ended);
    let late = EventName::ALL.map(|event| bodies("/late", event)).concat();
    let sessions: BTreeSet<String> = late.iter().map(|body| body["data"]["id"].to_string()).collect();
    assert_eq!((updated.len(), ended.len(), sessions.len()), (3, 1, 3));
    for body in updated.iter().chain(&ended).chain(&late) {
        let data = &body["data"];
        assert_eq!(
            data["guestAttributes"]["marketing.segment"],
            Value::Null,
            "{body}"
        );
        assert_eq!(data["consent"]["policyVersion"], "2.0.0");
        assert_eq!(data["consent"]["purposes"]["marketing"]["on"], false);
    }
    assert_eq!(ended[0]["data"]["guestAttributes"], json!({ "source": "web" }));
    let entries = store.entries(EntryQuery::From(0), 1_000).await.unwrap();
    let is_reevaluation = |bytes: &[u8]| {
        let entry: Value = serde_json::from_slice(bytes).unwrap();
        entry["action"] == "consent.reevaluated"
    };
    let audited = entries.iter().filter(|entry| is_reevaluation(&entry.bytes));
    assert_eq!(audited.count(), 3);
}
