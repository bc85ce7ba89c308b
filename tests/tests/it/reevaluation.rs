//! Consent of live sessions follows the policy of the gateway and the age of the agreement.

use std::path::Path;
use std::time::Duration;

use genesys_api::rfc3339;
use genesys_sim::Rules;
use guest_suite::webhook::EventName;
use serde_json::{Value, json};

use crate::api::{Api, Call, path_of};
use crate::conversation::upstream_at;
use crate::crm::Crm;
use crate::genesys::{Genesys, GenesysSocket};
use crate::page::Page;
use crate::world::{CHANNEL, CLIENT, World};

/// A rule that switches a purpose on unless the guest objects.
pub(crate) const OPT_OUT: &str = "basis = \"opt-out\"\ndefault = \"on\"";
/// A rule that needs an agreement.
pub(crate) const OPT_IN: &str = "basis = \"consent\"\ndefault = \"off\"";

/// A policy with one rule for every place and purpose.
pub(crate) fn policy(version: &str, rule: &str) -> String {
    let rules = ["elsewhere", "unknown"].map(|place| {
        format!(
            "[[rule]]\narea = \"{place}\"\nplaces = [\"{place}\"]\n\
             purposes = [\"marketing\", \"personalization\", \"analytics\"]\n\
             missing = \"ask\"\nsources = [\"us\"]\n{rule}\n"
        )
    });
    format!(
        "id = \"mine\"\nversion = \"{version}\"\nabout = \"One rule.\"\nvalid-from = 2020-01-01\n\
         reviewed = 2026-11-22\nassumed-age = 18\nfunctional = {{ basis = \"contract\", sources = [\"us\"] }}\n\
         sources.us = {{ law = \"our choice\", article = \"none\", reviewed = 2026-11-22 }}\n{}",
        rules.concat()
    )
}

/// A gateway that is connected to this Genesys, with the policy of this file.
async fn world_under(genesys: &Genesys, policy: &Path) -> World {
    World::configured(Rules::default(), |toml| {
        let policy = format!("[sessions]\npolicy = {:?}\n", policy.display().to_string());
        upstream_at(genesys, &toml).replace("[sessions]\n", &policy)
    })
    .await
}

/// A guest with this consent, an attribute of marketing and a functional one.
fn guest(consent: &Value) -> Value {
    json!({
        "channelConfigurationId": CHANNEL,
        "guestAttributes": { "region": "DE", "source": "web", "marketing.segment": "gold" },
        "consent": consent,
    })
}

/// Sends a message, and returns the attributes that Genesys receives with it.
pub(crate) async fn attributes_sent(page: &mut Page, upstream: &mut GenesysSocket) -> Value {
    let (_id, sent) = tokio::join!(page.message("hello"), upstream.take_message());
    sent["message"]["channel"]["metadata"]["customAttributes"].clone()
}

/// The details of the only re-evaluation in the session's audit trail.
async fn reevaluation(api: &Api, session: &Value) -> Value {
    let trail = api.ask(Call::get(&path_of(session, "/audit"))).await;
    let entries = trail["entries"].as_array().unwrap().iter();
    let found: Vec<_> = entries
        .filter(|entry| entry["action"] == "consent.reevaluated")
        .collect();
    let [entry] = found.as_slice() else {
        panic!("expected one re-evaluation: {trail}");
    };
    assert_eq!(entry["actor"]["type"], "system");
    entry["detail"].clone()
}

/// The first event after the creation: marketing is off, and its attribute is gone.
async fn assert_switched_off(crm: &Crm) {
    let received = crm.received(2).await;
    let event = received[1].body();
    assert_eq!(event["type"], EventName::Updated.as_str());
    let data = &event["data"];
    assert_eq!(data["consent"]["purposes"]["marketing"]["on"], false, "{event}");
    assert_eq!(data["guestAttributes"]["marketing.segment"], Value::Null);
    assert_eq!(data["guestAttributes"]["source"], "web");
}

#[tokio::test]
async fn changed_policy_reaches_live_sessions_after_a_restart() {
    let (genesys, folder) = (Genesys::start().await, tempfile::tempdir().unwrap());
    let file = folder.path().join("mine.toml");
    std::fs::write(&file, policy("1.0.0", OPT_OUT)).unwrap();
    let world = world_under(&genesys, &file).await;
    let crm = Crm::start(&world.clock).await;
    let webhook = crm.subscription("/sync");
    world.suite().ensure_webhook(&webhook).await.unwrap();
    let session = Api::of(&world, CLIENT).await.create(&guest(&json!({}))).await;
    let (mut page, mut upstream) = tokio::join!(Page::of(&session), genesys.configured());
    let before = attributes_sent(&mut page, &mut upstream).await;
    assert_eq!(before["marketing.segment"], "gold");
    assert_eq!(crm.received(1).await.len(), 1);
    page.leave().await;

    std::fs::write(&file, policy("2.0.0", OPT_IN)).unwrap();
    let world = world.restart().await;
    drop(upstream);
    assert_switched_off(&crm).await;
    let details = reevaluation(&Api::of(&world, CLIENT).await, &session).await;
    for (key, value) in [
        ("before.policy", "mine 1.0.0"),
        ("before.marketing", "unknown, on (mine/elsewhere/marketing)"),
        ("policy", "mine 2.0.0"),
        ("marketing", "unknown, off (mine/elsewhere/marketing)"),
    ] {
        assert_eq!(details[key], value, "{details}");
    }
    let (mut page, mut upstream) = tokio::join!(Page::of(&session), genesys.configured());
    let after = attributes_sent(&mut page, &mut upstream).await;
    assert_eq!(after["marketing.segment"], Value::Null);
    assert_eq!(after["source"], "web");

    // the decision is recorded, so another start changes nothing
    page.leave().await;
    let world = world.restart().await;
    let (page, _line) = tokio::join!(Page::of(&session), genesys.configured());
    reevaluation(&Api::of(&world, CLIENT).await, &session).await;
    assert_eq!(crm.received(2).await.len(), 2);
    drop(page);
    world.stop().await;
}

#[tokio::test]
async fn changed_policy_reaches_open_conversations_by_a_reload() {
    let (genesys, folder) = (Genesys::start().await, tempfile::tempdir().unwrap());
    let file = folder.path().join("mine.toml");
    std::fs::write(&file, policy("1.0.0", OPT_OUT)).unwrap();
    let world = world_under(&genesys, &file).await;
    let crm = Crm::start(&world.clock).await;
    let webhook = crm.subscription("/sync");
    world.suite().ensure_webhook(&webhook).await.unwrap();
    let api = Api::of(&world, CLIENT).await;
    let session = api.create(&guest(&json!({}))).await;
    let (mut page, mut upstream) = tokio::join!(Page::of(&session), genesys.configured());
    let before = attributes_sent(&mut page, &mut upstream).await;
    assert_eq!(before["marketing.segment"], "gold");

    // an invalid policy changes nothing
    std::fs::write(&file, "id = 1").unwrap();
    let refused = world.gateway.reload().await.unwrap_err().to_string();
    assert!(refused.contains("mine.toml"), "{refused}");
    let unchanged = api.ask(Call::get(&path_of(&session, ""))).await;
    assert_eq!(unchanged["consent"]["policyVersion"], "1.0.0");
    assert_eq!(crm.received(1).await.len(), 1);

    std::fs::write(&file, policy("2.0.0", OPT_IN)).unwrap();
    let reloaded = world.gateway.reload().await.unwrap();
    assert!(reloaded.changed.iter().eq(["sessions.policy"]), "{reloaded:?}");
    assert_eq!(reloaded.reevaluating, Some(1));
    assert_switched_off(&crm).await;
    let details = reevaluation(&api, &session).await;
    assert_eq!(details["before.policy"], "mine 1.0.0");
    assert_eq!(details["policy"], "mine 2.0.0");
    // on the same sockets
    let after = attributes_sent(&mut page, &mut upstream).await;
    assert_eq!(after["marketing.segment"], Value::Null);
    assert_eq!(after["source"], "web");
    let created = api.create(&guest(&json!({}))).await;
    assert_eq!(
        created["consent"]["purposes"]["marketing"]["on"], false,
        "{created}"
    );

    // and without a change none
    let reloaded = world.gateway.reload().await.unwrap();
    assert!(reloaded.changed.is_empty() && reloaded.reevaluating.is_none());
    reevaluation(&api, &session).await;
    drop(page);
    world.stop().await;
}

#[tokio::test]
async fn expired_agreement_is_switched_off_in_an_open_conversation() {
    let (genesys, folder) = (Genesys::start().await, tempfile::tempdir().unwrap());
    let file = folder.path().join("mine.toml");
    std::fs::write(&file, policy("1.0.0", &format!("{OPT_IN}\nmax-age-days = 30"))).unwrap();
    let world = world_under(&genesys, &file).await;
    let crm = Crm::start(&world.clock).await;
    let webhook = crm.subscription("/sync");
    world.suite().ensure_webhook(&webhook).await.unwrap();
    let days = |days: u64| Duration::from_secs(days * 86_400);
    let left = Duration::from_secs(600);
    let chosen_at = rfc3339(world.clock.now().utc - days(30) + left);
    let consent = json!({ "marketing": true, "consentTimestamp": chosen_at });
    let session = Api::of(&world, CLIENT).await.create(&guest(&consent)).await;
    let (mut page, mut upstream) = tokio::join!(Page::of(&session), genesys.configured());
    let before = attributes_sent(&mut page, &mut upstream).await;
    assert_eq!(before["marketing.segment"], "gold");

    world.clock.advance(left);
    assert_switched_off(&crm).await;
    let api = Api::of(&world, CLIENT).await;
    let details = reevaluation(&api, &session).await;
    for (key, value) in [
        ("before.marketing", "granted, on (mine/elsewhere/marketing)"),
        ("marketing", "granted, off (mine/elsewhere/marketing)"),
    ] {
        assert_eq!(details[key], value, "{details}");
    }
    let after = attributes_sent(&mut page, &mut upstream).await;
    assert_eq!(after["marketing.segment"], Value::Null);
    assert_eq!(after["source"], "web");
    drop(page);
    world.stop().await;
}
