//! Sensitive data without its basis leaves by no operation of the contract, no frame, no event and no page of operators.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use http::header::AUTHORIZATION;
use serde_json::{Value, json};

use super::fixture::{Fixture, guest_with_all_fields};
use crate::admin::{TOKEN, send};
use crate::api::{Api, Call, QUERY, path_of};
use crate::crm::{Crm, Delivery};
use crate::document::DOCUMENT;
use crate::guests::until;
use crate::page::{Page, Received};
use crate::sensitive::DIAGNOSIS;
use crate::world::{CLIENT, World};

/// A gateway under the policy `purpose-scoped`, with a listener for operators, and a receiver of all events.
async fn start() -> (Fixture, Crm) {
    let world = World::configured(genesys_sim::Rules::default(), |toml| {
        let toml = toml.replace("[sessions]\n", "[sessions]\npolicy = \"purpose-scoped\"\n");
        format!("{toml}\n[admin]\naddress = \"127.0.0.1:0\"\ntoken = {TOKEN:?}\n")
    })
    .await;
    let api = Api::of(&world, CLIENT).await;
    let crm = Crm::start(&world.clock).await;
    let webhook = crm.subscription("/sync");
    world.suite().ensure_webhook(&webhook).await.unwrap();
    (Fixture { world, api }, crm)
}

/// A session whose guest agreed to all that the diagnosis needs, and withdrew it when it had been sent.
async fn withdrawn(fixture: &Fixture, crm: &Crm) -> Value {
    let mut body = guest_with_all_fields();
    body["guestId"] = "ann".into();
    body["consent"]["sensitive"] = json!({ "health": true });
    let session = fixture.api.create(&body).await;
    let report = async || {
        let call = Call::post(QUERY).json(&json!({ "guestId": "ann" }));
        fixture.api.ask(call).await.to_string()
    };
    assert!(report().await.contains(DIAGNOSIS), "it leaves with its basis");
    assert!(crm.received(1).await[0].body().to_string().contains(DIAGNOSIS));
    fixture.world.clock.advance(Duration::from_secs(60));
    let withdrawal = Call::new(Method::PATCH, &path_of(&session, "/consent"));
    let changed = withdrawal.json(&json!({ "sensitive": { "health": false } }));
    fixture.api.ask(changed).await;
    assert!(!report().await.contains(DIAGNOSIS), "{}", report().await);
    session
}

/// The frames of a page that sends a message, up to the reply.
async fn frames(session: &Value) -> String {
    let mut page = Page::of(session).await;
    page.message("hello").await;
    let mut frames = String::new();
    while !frames.contains("You said") {
        match page.receive().await {
            Received::Frame(frame) => frames += &frame.to_string(),
            Received::Closed(code) => panic!("the socket closed with {code:?}"),
        }
    }
    page.leave().await;
    frames
}

/// An operation that is new in the contract is part of it.
#[tokio::test]
async fn sensitive_attribute_without_basis_leaves_by_no_operation_frame_or_event() {
    let (fixture, crm) = start().await;
    let session = withdrawn(&fixture, &crm).await;
    let earlier = crm.received(1).await.len();
    let never = fixture.session().await;
    let events = async || crm.received(earlier).await.split_off(earlier);
    let is_of = |delivery: &Delivery, session: &Value| delivery.body()["data"]["id"] == session["id"];
    until(async || events().await.iter().any(|delivery| is_of(delivery, &never))).await;
    let mut left = Vec::new();
    let mut check = |what: &str, text: &str| {
        if text.contains(DIAGNOSIS) {
            left.push(format!("{what}: {text}"));
        }
    };
    for session in [&session, &never] {
        check("frames", &frames(session).await);
        let page = send(
            &fixture.world,
            Call::get(&format!(
                "/dashboard/sessions/{}",
                session["id"].as_str().unwrap()
            ))
            .bearer(TOKEN),
        );
        check("the dashboard", &page.await.text);
    }
    for path in ["/metrics", "/health/ready", "/"] {
        let answer = send(&fixture.world, Call::get(path).bearer(TOKEN)).await;
        check(path, &answer.text);
    }
    let answers = DOCUMENT.answers().into_iter();
    let succeeding = answers.filter(|(_, status)| (200..300).contains(status));
    let operations: BTreeSet<String> = succeeding.map(|(operation, _)| operation).collect();
    for operation in &operations {
        // a stream has the frames of a socket; pages of another site need another gateway
        if ["openStream", "resumeBrowserSession", "sendFrame"].contains(&&**operation) {
            continue;
        }
        let call = fixture.call(operation).await;
        let is_open = DOCUMENT.operation(operation).2["security"] == json!([]);
        let answer = match is_open || call.request().headers().contains_key(AUTHORIZATION) {
            true => fixture.api.send(call).await,
            false => fixture.send(call).await,
        };
        assert!(answer.status.is_success(), "{operation}: {}", answer.text);
        check(operation, &format!("{:?} {}", answer.headers, answer.text));
    }
    for query in ["ann", never["guestId"].as_str().unwrap()] {
        let call = Call::post(QUERY).json(&json!({ "guestId": query }));
        check("fetchGuest", &fixture.send(call).await.text);
    }
    for delivery in events().await {
        check("a delivery", &delivery.body().to_string());
    }
    assert_eq!(left, [""; 0]);
    fixture.world.stop().await;
}
