//! Sensitive data, children and withdrawal through the gateway.

use genesys_api::rfc3339;
use genesys_sim::Rules;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::api::{Api, Call, WEBHOOKS, path_of};
use crate::conversation::upstream_at;
use crate::crm::Crm;
use crate::genesys::Genesys;
use crate::page::Page;
use crate::reevaluation::attributes_sent;
use crate::spa::{CREATE, Visit, consent, of_page};
use crate::world::{CHANNEL, CLIENT, World};

/// The value of an attribute that the policy `purpose-scoped` declares as health data.
pub(crate) const DIAGNOSIS: &str = "canary-diabetes";

/// A gateway with the policy `purpose-scoped` that is connected to this Genesys.
async fn world(genesys: &Genesys) -> World {
    World::configured(Rules::default(), |toml| {
        upstream_at(genesys, &toml).replace("[sessions]\n", "[sessions]\npolicy = \"purpose-scoped\"\n")
    })
    .await
}

fn guest(place: &str, consent: &Value) -> Value {
    json!({
        "channelConfigurationId": CHANNEL,
        "guestAttributes": {
            "region": place, "source": "web", "marketing.segment": "gold", "diagnosis": DIAGNOSIS,
        },
        "consent": consent,
    })
}

/// A session of a child whose guardian agreed, with declared and undeclared sensitive data.
pub(crate) async fn child_session() -> Value {
    let genesys = Genesys::start().await;
    let world = world(&genesys).await;
    let consent = json!({
        "marketing": true, "age": "under 14", "actor": "guardian", "sensitive": { "health": true },
        "guardian": {
            "relationship": "parent", "verification": "payment-card", "verifiedAt": "2026-11-22T12:00:00Z",
            "reference": "case-42",
        },
    });
    let mut body = guest("KR", &consent);
    body["guestAttributes"]["hasDiabetes"] = "no".into();
    let session = Api::of(&world, CLIENT).await.create(&body).await;
    world.stop().await;
    session
}

/// The actions in the audit trail of a session, oldest first, and the trail as text.
async fn trail(api: &Api, session: &Value) -> (Vec<String>, String) {
    let trail = api.ask(Call::get(&path_of(session, "/audit"))).await;
    let entries = trail["entries"].as_array().unwrap().iter().rev();
    let actions = entries.map(|entry| entry["action"].as_str().unwrap().to_owned());
    // reading the trail is an entry too
    let actions = actions.filter(|action| action != "audit.read");
    (actions.collect(), trail.to_string())
}

#[tokio::test]
async fn diagnosis_leaves_only_with_consent_to_health_data_until_its_withdrawal() {
    let genesys = Genesys::start().await;
    let world = world(&genesys).await;
    let crm = Crm::start(&world.clock).await;
    world
        .suite()
        .ensure_webhook(&crm.subscription("/sync"))
        .await
        .unwrap();
    let api = Api::of(&world, CLIENT).await;
    let without = api.create(&guest("US-WA", &json!({}))).await;
    let health = &without["consent"]["sensitive"]["health"];
    assert_eq!(health["on"], false);
    assert_eq!(health["rule"], "purpose-scoped/US-WA/health");
    assert!(!crm.received(1).await[0].body().to_string().contains("canary"));

    let consent = json!({ "sensitive": { "health": true } });
    let session = api.create(&guest("US-WA", &consent)).await;
    let purposes = &session["consent"]["purposes"];
    assert_eq!(purposes["marketing"]["obligations"], json!(["offer-objection"]));
    let health = &session["consent"]["sensitive"]["health"];
    assert_eq!(health["obligations"], json!(["ask-apart", "offer-withdrawal"]));
    assert_eq!(
        crm.received(2).await[1].body()["data"]["guestAttributes"]["diagnosis"],
        DIAGNOSIS
    );
    let (mut page, mut upstream) = tokio::join!(Page::of(&session), genesys.configured());
    let before = attributes_sent(&mut page, &mut upstream).await;
    assert_eq!(before["diagnosis"], DIAGNOSIS);

    // one call, effective at once upstream, downstream and in the store
    let withdrawal = Call::new(Method::PATCH, &path_of(&session, "/consent"));
    let changed = api.ask(withdrawal.json(&json!({ "withdrawAll": true }))).await;
    for state in ["/purposes/marketing", "/purposes/analytics", "/sensitive/health"] {
        let state = changed["consent"].pointer(state).unwrap();
        assert_eq!(
            (&state["on"], &state["reason"]),
            (&json!(false), &json!("denied"))
        );
    }
    let event = crm.received(3).await[2].body();
    assert_eq!(event["data"]["consent"]["sensitive"]["health"]["on"], false);
    let left = event["data"]["guestAttributes"].as_object().unwrap();
    assert!(
        !left.contains_key("diagnosis") && !left.contains_key("marketing.segment"),
        "{event}"
    );
    let after = attributes_sent(&mut page, &mut upstream).await;
    assert_eq!(
        (&after["diagnosis"], &after["marketing.segment"]),
        (&Value::Null, &Value::Null)
    );
    let (actions, text) = trail(&api, &session).await;
    assert!(actions.contains(&"consent.withdrawn".to_owned()), "{actions:?}");
    assert!(
        text.contains("sensitive.health") && !text.contains("canary"),
        "{text}"
    );
    drop(page);
    world.stop().await;
}

#[tokio::test]
async fn undeclared_name_that_suggests_sensitive_data_is_a_warning() {
    let genesys = Genesys::start().await;
    let world = world(&genesys).await;
    let api = Api::of(&world, CLIENT).await;
    let mut body = guest("US-WA", &json!({}));
    body["guestAttributes"]["hasDiabetes"] = "yes".into();
    let session = api.create(&body).await;
    assert_eq!(
        session["warnings"],
        json!([{ "attribute": "hasDiabetes", "category": "health" }])
    );
    let without = api.create(&guest("US-WA", &json!({}))).await;
    assert_eq!(without.get("warnings"), None);
    world.stop().await;
}

#[tokio::test]
async fn child_needs_the_evidence_of_a_guardian_which_is_audited() {
    let genesys = Genesys::start().await;
    let world = world(&genesys).await;
    let api = Api::of(&world, CLIENT).await;
    let agreed =
        json!({ "marketing": true, "personalization": true, "age": "under 14", "actor": "guardian" });
    let child = api.create(&guest("JP", &agreed)).await;
    let reasons = |session: &Value| {
        ["marketing", "personalization", "analytics"].map(|purpose| {
            session["consent"]["purposes"][purpose]["reason"]
                .as_str()
                .unwrap()
                .to_owned()
        })
    };
    assert_eq!(reasons(&child), ["guardianNeeded"; 3]);
    let purposes = &child["consent"]["purposes"];
    assert_eq!(purposes["marketing"]["obligations"], json!(["ask-guardian"]));
    let (actions, _) = trail(&api, &child).await;
    assert_eq!(actions, ["session.created"]);

    let mut with_evidence = agreed;
    with_evidence["guardian"] = json!({
        "relationship": "parent", "verification": "payment-card", "verifiedAt": "2026-11-22T12:00:00Z",
        "reference": "canary-42",
    });
    let child = api.create(&guest("JP", &with_evidence)).await;
    assert_eq!(reasons(&child), ["granted", "granted", "guardianNeeded"]);
    let (actions, text) = trail(&api, &child).await;
    assert_eq!(actions, ["session.created", "consent.guardian"]);
    assert!(
        text.contains("payment-card") && text.contains("marketing personalization"),
        "{text}"
    );
    assert!(!text.contains("canary"), "{text}");
    world.stop().await;
}

#[tokio::test]
async fn withdrawal_reaches_the_store_and_the_queue_of_a_paused_webhook() {
    let genesys = Genesys::start().await;
    let world = world(&genesys).await;
    let (crm, suite) = (Crm::start(&world.clock).await, world.suite());
    suite.ensure_webhook(&crm.subscription("/sync")).await.unwrap();
    let webhook = suite.webhooks().await.unwrap().remove(0).id;
    let api = Api::of(&world, CLIENT).await;
    let switch = async |to: &str| {
        let call = Call::post(&format!("{WEBHOOKS}/{webhook}/{to}"));
        api.ask(call).await
    };
    switch("pause").await;
    let consent = json!({ "marketing": true, "sensitive": { "health": true } });
    let session = api.create(&guest("US-WA", &consent)).await;
    let id = session["id"].as_str().unwrap().parse().unwrap();
    let document = async || {
        let row = world.gateway.store().session(&id).await.unwrap().unwrap();
        String::from_utf8(row.document.to_vec()).unwrap()
    };
    assert!(document().await.contains(DIAGNOSIS));
    let withdrawal = Call::new(Method::PATCH, &path_of(&session, "/consent"));
    api.ask(withdrawal.json(&json!({ "withdrawAll": true }))).await;
    let stored = document().await;
    assert!(
        stored.contains("\"web\"") && !stored.contains(DIAGNOSIS) && !stored.contains("gold"),
        "{stored}"
    );
    switch("resume").await;
    for delivery in crm.received(2).await {
        let body = delivery.body().to_string();
        assert!(
            body.contains("\"web\"") && !body.contains(DIAGNOSIS) && !body.contains("gold"),
            "{body}"
        );
    }
    world.stop().await;
}

#[tokio::test]
async fn page_attests_no_guardian() {
    let world = World::start().await;
    let api = Api::of(&world, CLIENT).await;
    let visit = Visit::create(&api).await;
    let guardian = json!({
        "relationship": "parent", "verification": "identity-document", "verifiedAt": rfc3339(world.clock.now().utc),
    });
    for (field, value) in [
        ("guardian", guardian),
        ("actor", json!("guardian")),
        ("actor", json!("agent")),
    ] {
        let mut body = consent();
        body["consent"][field] = value.clone();
        let creation = of_page(Call::post(CREATE).json(&body));
        let mut change = json!({ "marketing": true });
        change[field] = value;
        let change = visit.call(Call::new(Method::PATCH, "/spa/session/consent").json(&change));
        for (call, name) in [(creation, format!("consent.{field}")), (change, field.to_owned())] {
            let refused = api.send(call).await;
            assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.text);
            assert_eq!(refused.json()["details"][0]["fieldName"], name);
        }
    }
    world.stop().await;
}
