//! Requests of data subjects over HTTP: what is held, who received it, and erasure with proof.

use genesys_api::IdempotencyKey;
use guest_suite::store::{EntryQuery, verify};
use guest_suite::webhook::EventName;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::api::{Api, Call, ERASURES, QUERY, guest, path_of};
use crate::crm::Crm;
use crate::guests::until;
use crate::page::{Page, soon};
use crate::process::run;
use crate::world::{CLIENT, NEIGHBOR, READER, World};

const KEY: &str = "3d1c1f4e-7a0c-4f0b-9a55-0f5b7a3f2f10";

fn query(guest: &str) -> Call {
    Call::post(QUERY).json(&json!({ "guestId": guest }))
}

fn erasure(guest: &str, key: &str) -> Call {
    Call::post(ERASURES)
        .json(&json!({ "guestId": guest }))
        .header("idempotency-key", key)
}

fn named(id: &str) -> Value {
    let mut body = guest();
    body["guestId"] = id.into();
    body
}

async fn delivered(world: &World) {
    until(async || world.gateway.store().stats().await.unwrap().outbox_pending == 0).await;
}

#[tokio::test]
async fn guest_report_names_what_is_held_and_who_received_it() {
    let world = World::start().await;
    let (crm, suite) = (Crm::start(&world.clock).await, world.suite());
    suite.ensure_webhook(&crm.subscription("/sync")).await.unwrap();
    let webhook = world.gateway.store().webhooks().await.unwrap().remove(0).id;
    let api = Api::of(&world, CLIENT).await;
    let first = api.create(&named("ann")).await;
    api.create(&named("bob")).await;
    delivered(&world).await;
    Page::of(&first).await.leave().await;
    let withdrawal = json!({ "marketing": false });
    api.ask(Call::new(Method::PATCH, &path_of(&first, "/consent")).json(&withdrawal))
        .await;
    delivered(&world).await;
    api.ask(Call::new(Method::DELETE, &path_of(&first, ""))).await;
    delivered(&world).await;
    let second = api.create(&named("ann")).await;
    delivered(&world).await;

    let report = api.ask(query("ann")).await;
    assert_eq!(report["guestId"], "ann");
    let [old, new] = report["sessions"].as_array().unwrap().as_slice() else {
        panic!("{report}");
    };
    assert_eq!((&old["id"], &new["id"]), (&first["id"], &second["id"]));
    assert_eq!(
        (&old["state"], &new["state"]),
        (&json!("ended"), &json!("created"))
    );
    assert_eq!(old["guestAttributes"], guest()["guestAttributes"]);
    assert_eq!(new["guestAttributes"], guest()["guestAttributes"]);
    let actions: Vec<_> = old["consentHistory"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| &entry["action"])
        .collect();
    assert_eq!(actions, ["session.created", "consent.withdrawn"]);
    let recipients = old["recipients"].as_array().unwrap();
    let of = |name: &str| {
        recipients
            .iter()
            .find(|recipient| recipient["recipient"] == name)
            .unwrap()
    };
    assert_eq!((recipients.len(), &of("genesys")["count"]), (2, &json!(1)));
    let received = of(webhook.as_str());
    assert_eq!(received["count"], 3);
    let names: Vec<String> = guest()["guestAttributes"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(received["attributes"], json!(names));
    assert!(
        received["fields"].as_array().unwrap().contains(&json!("guestId")),
        "{received}"
    );

    // the read is audited, and another client has no such guest
    let trail = api.ask(Call::get(&path_of(&first, "/audit"))).await;
    let read = trail["entries"]
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["action"] == "guest.read");
    assert_eq!(read.unwrap()["actor"]["id"], CLIENT.0);
    let neighbor = Api::of(&world, NEIGHBOR).await;
    for (api, guest, expected) in [
        (&neighbor, "ann", StatusCode::NOT_FOUND),
        (&api, "nobody", StatusCode::NOT_FOUND),
        (&api, " ", StatusCode::BAD_REQUEST),
        (&api, "ann\0", StatusCode::BAD_REQUEST),
    ] {
        let answer = api.send(query(guest).bearer(&api.token)).await;
        assert_eq!(answer.status, expected, "{guest:?}: {}", answer.text);
    }
    world.stop().await;
}

#[tokio::test]
async fn erased_guest_is_gone_with_proof_and_webhooks_are_notified() {
    let world = World::start().await;
    let (crm, suite) = (Crm::start(&world.clock).await, world.suite());
    suite.ensure_webhook(&crm.subscription("/sync")).await.unwrap();
    let api = Api::of(&world, CLIENT).await;
    let first = api.create(&named("ann")).await;
    api.ask(Call::new(Method::DELETE, &path_of(&first, ""))).await;
    let live = api.create(&named("ann")).await;
    let other = api.create(&named("bob")).await;
    delivered(&world).await;
    let page = Page::of(&live).await;

    let reader = Api::of(&world, READER).await;
    for call in [query("ann"), erasure("ann", KEY)] {
        let refused = reader.send(call.bearer(&reader.token)).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
    }
    let proof = api.ask(erasure("ann", KEY)).await;
    page.leave().await;

    let store = world.gateway.store();
    let checkpoint = store
        .verifier_key()
        .open(proof["checkpoint"].as_str().unwrap())
        .unwrap();
    let erased = proof["sessions"].as_array().unwrap();
    assert_eq!(erased.len(), 2, "{proof}");
    for (record, session) in erased.iter().zip([&first, &live]) {
        assert_eq!(record["id"], session["id"]);
        let seq = record["seq"].as_u64().unwrap();
        assert!(seq < checkpoint.size);
        let entry = store.entries(EntryQuery::From(seq), 1).await.unwrap().remove(0);
        assert_eq!(record["leaf"], entry.leaf.to_string());
        let entry: Value = serde_json::from_slice(&entry.bytes).unwrap();
        assert_eq!(
            (&entry["action"], &entry["actor"]["id"]),
            (&json!("session.erased"), &json!(CLIENT.0))
        );
        for earlier in store.entries(EntryQuery::From(0), 1_000).await.unwrap() {
            let earlier: Value = serde_json::from_slice(&earlier.bytes).unwrap();
            let is_tombstone = earlier["action"] == "session.erased";
            assert_eq!(earlier["subject"] == entry["subject"], is_tombstone, "{earlier}");
        }
        let id = session["id"].as_str().unwrap().parse().unwrap();
        assert!(store.session(&id).await.unwrap().is_none());
    }
    verify(&**store, |_| ()).await.unwrap();
    api.ask(Call::get(&path_of(&other, ""))).await;
    until(async || store.stats().await.unwrap().snapshots_pending == 0).await;
    let received = crm.received(0).await;
    let notified = received
        .iter()
        .filter(|delivery| delivery.event() == EventName::Erased.as_str());
    let mut notified: Vec<Value> = notified
        .map(|delivery| delivery.body()["data"]["id"].clone())
        .collect();
    notified.sort_by_key(Value::to_string);
    let mut expected = vec![first["id"].clone(), live["id"].clone()];
    expected.sort_by_key(Value::to_string);
    assert_eq!(notified, expected);
    world.stop().await;
}

#[tokio::test]
async fn one_of_concurrent_erasures_has_the_whole_proof() {
    let world = World::start().await;
    let api = Api::of(&world, CLIENT).await;
    for _ in 0..3 {
        let session = api.create(&named("ann")).await;
        api.ask(Call::new(Method::DELETE, &path_of(&session, ""))).await;
    }
    let erasures = (0..12).map(|_| {
        let key = IdempotencyKey::random();
        api.send(erasure("ann", key.as_str()).bearer(&api.token))
    });
    let answers = soon(futures_util::future::join_all(erasures)).await;
    let (proofs, others): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.status == StatusCode::OK);
    assert!(others.iter().all(|answer| answer.status == StatusCode::NOT_FOUND));
    assert_eq!(proofs.len(), 1);
    let proof = proofs[0].json();
    assert_eq!(proof["sessions"].as_array().unwrap().len(), 3, "{proof}");
    world.stop().await;
}

#[tokio::test]
async fn repeated_erasure_brings_the_proof_again() {
    let world = World::start().await;
    let api = Api::of(&world, CLIENT).await;
    api.create(&named("ann")).await;
    api.create(&named("bob")).await;
    let first = api.ask(erasure("ann", KEY)).await;
    let entry = &first["sessions"][0];
    let mut again = api.ask(erasure("ann", KEY)).await;
    let proved = json!([{ "seq": entry["seq"], "leaf": entry["leaf"] }]);
    assert_eq!(again["sessions"], proved, "the id is erased: {again}");

    // the guest came back: the new session is not part of the erasure, live or ended
    let created = api.create(&named("ann")).await;
    let path = path_of(&created, "");
    for is_live in [true, false] {
        again = api.ask(erasure("ann", KEY)).await;
        assert_eq!(again["sessions"], proved);
        let state = &api.ask(Call::get(&path)).await["state"];
        assert_eq!(state != "ended", is_live, "{state}");
        if is_live {
            api.ask(Call::new(Method::DELETE, &path)).await;
        }
    }
    let store = world.gateway.store();
    let checkpoint = again["checkpoint"].as_str().unwrap();
    let checkpoint = store.verifier_key().open(checkpoint).unwrap();
    assert!(entry["seq"].as_u64().unwrap() < checkpoint.size);

    // a new key erases it
    let other_key = IdempotencyKey::random();
    let later = api.ask(erasure("ann", other_key.as_str())).await;
    assert_eq!(later["sessions"][0]["id"], created["id"], "{later}");

    let other_key = IdempotencyKey::random();
    let neighbor = Api::of(&world, NEIGHBOR).await;
    for (api, guest, key) in [
        (&api, "ann", other_key.as_str()),
        (&api, "nobody", KEY),
        (&neighbor, "ann", KEY),
    ] {
        let answer = api.send(erasure(guest, key).bearer(&api.token)).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{guest}: {}", answer.text);
    }
    // the same key with another guest is another erasure
    let of_bob = api.ask(erasure("bob", KEY)).await;
    assert_eq!(of_bob["sessions"].as_array().unwrap().len(), 1, "{of_bob}");
    world.stop().await;
}

#[tokio::test]
async fn erasure_needs_a_key_that_cannot_be_guessed() {
    let world = World::start().await;
    let api = Api::of(&world, CLIENT).await;
    api.create(&named("ann")).await;
    let without = Call::post(ERASURES).json(&json!({ "guestId": "ann" }));
    for (call, code) in [
        (without, "field.missing"),
        (erasure("ann", "erasure-1"), "field.value"),
    ] {
        let answer = api.send(call.bearer(&api.token)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);
        let detail = &answer.json()["details"][0];
        assert_eq!(detail["fieldName"], "Idempotency-Key");
        assert_eq!(detail["errorCode"], code, "{}", answer.text);
    }
    let held = api.ask(query("ann")).await;
    assert_eq!(held["sessions"].as_array().unwrap().len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn report_of_a_guest_is_paged() {
    let world = World::start().await;
    let api = Api::of(&world, CLIENT).await;
    for _ in 0..101 {
        let session = api.create(&named("ann")).await;
        api.ask(Call::new(Method::DELETE, &path_of(&session, ""))).await;
    }
    let first = api.ask(query("ann")).await;
    let ids = |page: &Value| -> Vec<String> {
        let sessions = page["sessions"].as_array().unwrap().iter();
        sessions.map(|session| session["id"].to_string()).collect()
    };
    assert_eq!(ids(&first).len(), 100);
    let page_after = |after: &Value| Call::post(QUERY).json(&json!({ "guestId": "ann", "after": after }));
    let second = api.ask(page_after(&first["next"])).await;
    assert_eq!(ids(&second).len(), 1);
    assert!(!ids(&first).contains(&ids(&second)[0]));
    assert!(second.get("next").is_none(), "{second}");
    let answer = api.send(page_after(&json!(" ")).bearer(&api.token)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);

    let path = world.folder.path().join("gateway.toml");
    std::fs::write(&path, &world.toml).unwrap();
    let out = world.folder.path().join("guest.json").display().to_string();
    let World {
        gateway,
        simulator,
        folder,
        ..
    } = world;
    gateway.stop().await;
    let config = path.display().to_string();
    let guest = ["--guest", "ann", "--config", &config];
    let shown = run([&["guest", "show"][..], &guest].concat()).await;
    assert_eq!((shown.code, &*shown.err), (Some(0), ""));
    let sessions = shown.out.lines().filter(|line| line.starts_with("session "));
    assert_eq!(sessions.count(), 101);
    let exported = run([&["guest", "export", "--out", &out][..], &guest].concat()).await;
    assert_eq!(exported.code, Some(0), "{}", exported.err);
    let exported: Value = serde_json::from_str(&std::fs::read_to_string(&out).unwrap()).unwrap();
    assert_eq!(ids(&exported).len(), 101);
    simulator.stop().await;
    drop(folder);
}
