//! Answers with the fields that only a webhook with a past has.

use std::collections::BTreeSet;
use std::time::Duration;

use guest_suite::store::{Settled, Settlement};
use http::Method;
use serde_json::{Value, json};

use super::fixture::{Fixture, attempt, webhook};
use crate::api::{Call, WEBHOOKS, path_of};
use crate::document::DOCUMENT;

pub(super) async fn full_answers(fixture: &Fixture, seen: &mut BTreeSet<String>) {
    let mut all = webhook("chosen");
    all["signature"] = "v1a".into();
    all["fields"] = json!({ "contact": "guestId", "origin": { "constant": "web" } });
    all["eventFilters"].as_array_mut().unwrap().extend([
        json!({ "predicate": { "type": "region", "values": ["EU"] } }),
        json!({ "predicate": { "type": "attribute", "name": "source", "values": ["web"] } }),
    ]);
    let chosen = fixture.send(Call::post(WEBHOOKS).json(&all)).await;
    DOCUMENT.seen("registerWebhook", 201, &chosen.json(), seen);
    let webhook = fixture.webhook().await;
    let path = format!("{WEBHOOKS}/{}", webhook["id"].as_str().unwrap());
    let now = fixture.world.clock.now().utc;
    let delivered = fixture
        .settled(&webhook, |leased| Settlement {
            attempt: Some(attempt(now, 204)),
            ..leased.settlement(Settled::Delivered, now)
        })
        .await;
    fixture
        .settled(&webhook, |leased| Settlement {
            attempt: Some(attempt(now, 429)),
            rest_until: Some(now + Duration::from_secs(3_600)),
            ..leased.settlement(Settled::RetryAt(now + Duration::from_secs(3_600)), now)
        })
        .await;
    for (operation, path) in [
        ("fetchWebhook", path.clone()),
        ("fetchDelivery", format!("{path}/deliveries/{delivered}")),
        ("listDeliveries", format!("{path}/deliveries?state=waiting")),
    ] {
        let answer = fixture.send(Call::get(&path)).await;
        DOCUMENT.seen(operation, 200, &answer.json(), seen);
    }
    let delivery = fixture
        .send(Call::get(&format!("{path}/deliveries/{delivered}")))
        .await
        .json();
    assert_eq!(delivery["state"], "delivered");
    assert_eq!(delivery["attempts"][1]["response"], "an answer");
    assert_eq!(delivery["attempts"][0]["error"], "connect");
    let status = &fixture.send(Call::get(&path)).await.json()["status"];
    assert_eq!(
        (&status["state"], &status["waiting"]),
        (&"failing".into(), &1.into())
    );
    assert_eq!(status["lastAttempt"]["status"], 429);
    waiting_answers(fixture, seen).await;
}

/// The deliveries of an ordered webhook whose endpoint is down.
async fn waiting_answers(fixture: &Fixture, seen: &mut BTreeSet<String>) {
    let mut ordered = webhook("ordered");
    ordered["ordered"] = true.into();
    ordered["eventFilters"][0]["predicate"]["values"] = ["created", "ended"]
        .map(|name| format!("webmessaging.guestsession.{name}"))
        .into();
    let ordered = fixture.send(Call::post(WEBHOOKS).json(&ordered)).await.json();
    assert_eq!(ordered["ordered"], true);
    let session = fixture.session().await;
    fixture
        .api
        .ask(Call::new(Method::DELETE, &path_of(&session, "")))
        .await;
    let path = format!("{WEBHOOKS}/{}/deliveries", ordered["id"].as_str().unwrap());
    let waiting = fixture
        .send(Call::get(&format!("{path}?state=waiting")))
        .await
        .json();
    DOCUMENT.seen("listDeliveries", 200, &waiting, seen);
    let [first, next] = waiting["deliveries"].as_array().unwrap().as_slice() else {
        panic!("{waiting}");
    };
    assert_eq!(
        (&next["waitsFor"], &next["nextAttemptAt"]),
        (&first["id"], &Value::Null)
    );
    let next = format!("{path}/{}", next["id"].as_str().unwrap());
    let next = fixture.send(Call::get(&next)).await.json();
    DOCUMENT.seen("fetchDelivery", 200, &next, seen);
}
