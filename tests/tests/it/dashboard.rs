//! The dashboard of the listener for operators, in a browser.

use genesys_api::SessionId;
use guest_suite::NewGuest;
use guest_suite::audit::{ActorKind, Draft, Entry};
use guest_suite::payload::Choice;
use guest_suite::store::{Change, EntryQuery};
use guest_suite::webhook::EventName;

use crate::admin::{TOKEN, send, world_with_token};
use crate::api::Call;
use crate::chromium::{Browser, CHROMIUM, has_chromium};
use crate::component::Look;
use crate::crm::Crm;
use crate::guests::{consenting, newcomer, page_origin, talk, until};
use crate::page::soon;
use crate::world::World;
use left_out::{leave_out, target};

/// The size of the page on a desktop.
const DESKTOP: (u32, u32) = (1280, 2600);

/// The dashboard of a gateway, opened by a login with the keyboard. `None` if the machine lacks Chromium.
async fn open(test: &str) -> Option<(World, Browser)> {
    if !has_chromium().await {
        leave_out(test, CHROMIUM);
        return None;
    }
    let world = world_with_token().await;
    let mut browser = Browser::start().await;
    browser.show_as(DESKTOP.0, DESKTOP.1, "light").await;
    browser.open(&world.gateway.admin().unwrap().to_string()).await;
    browser.until("document.activeElement.id === 'token'").await;
    browser.write(TOKEN).await;
    browser.press("Enter").await;
    shows(&mut browser, "stream", "Live").await;
    Some((world, browser))
}

/// Waits until an element has a text.
async fn shows(browser: &mut Browser, id: &str, text: &str) {
    let shown = format!("document.getElementById({id:?}).textContent.includes({text:?})");
    browser.until(&shown).await;
}

/// Moves the focus by the tabulator to an element.
async fn focus(browser: &mut Browser, id: &str) {
    for _ in 0..40 {
        browser.press("Tab").await;
        if browser.evaluate("document.activeElement.id").await == id {
            return;
        }
    }
    panic!("the tabulator does not reach {id}");
}

async fn check_looks(browser: &mut Browser, name: &str) {
    let (width, height) = DESKTOP;
    let desktop = ["light", "dark"].map(|name| Look { name, width, height });
    let narrow = Look {
        name: "narrow",
        width: 320,
        height: 3_400,
    };
    browser.check_looks(&format!("dashboard-{name}"), &desktop).await;
    browser.check_looks(&format!("dashboard-{name}"), &[narrow]).await;
    browser.show_as(width, height, "light").await;
}

/// Runs a session to its end, one that stays open with a conversation, and one without. Returns the first.
async fn run_sessions(world: &World) -> (SessionId, guest_suite::GuestSession) {
    let suite = world.suite();
    let mut ended = suite.create(newcomer(&world.clock)).await.unwrap();
    soon(ended.connect(page_origin())).await.unwrap();
    talk(&mut ended, "hello").await;
    let id = ended.id().clone();
    ended.end().await.unwrap();
    let mut open = suite.create(newcomer(&world.clock)).await.unwrap();
    soon(open.connect(page_origin())).await.unwrap();
    talk(&mut open, "good morning").await;
    let elsewhere = NewGuest {
        jurisdictions: "US".parse().unwrap(),
        ..consenting(&world.clock, [Choice::Denied, Choice::Unknown, Choice::Granted])
    };
    suite.create(elsewhere).await.unwrap();
    (id, open)
}

/// The only audit entry of an action, which is of the operator.
async fn by_operator(world: &World, action: &str) -> Draft {
    let store = world.gateway.store();
    let entries = store.entries(EntryQuery::From(0), 1_000).await.unwrap();
    let entries = entries
        .iter()
        .map(|entry| Entry::parse(&entry.bytes).unwrap().draft);
    let mut found: Vec<Draft> = entries.filter(|entry| entry.action == action).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    let entry = found.remove(0);
    assert_eq!(
        (entry.actor.kind, &*entry.actor.id),
        (ActorKind::Operator, "admin")
    );
    entry
}

#[tokio::test]
async fn dashboard_shows_sessions_live_and_the_timeline_of_one() {
    let Some((world, mut browser)) = open("the dashboard with sessions").await else {
        return;
    };
    shows(&mut browser, "readiness", "Ready for guests").await;
    shows(&mut browser, "session", "No session has ended yet.").await;
    shows(&mut browser, "open", "0").await;
    shows(
        &mut browser,
        "consent-summary",
        "No session has been created yet.",
    )
    .await;
    check_looks(&mut browser, "empty").await;

    let crm = Crm::start(&world.clock).await;
    crm.set_down(true);
    let webhook = crm.subscription("/sync");
    world.suite().ensure_webhook(&webhook).await.unwrap();
    let (id, _open) = run_sessions(&world).await;
    browser
        .until("document.querySelector('#webhooks').textContent.includes('status 500')")
        .await;
    shows(&mut browser, "open", "2").await;
    shows(&mut browser, "conversations", "1").await;
    shows(&mut browser, "funnel-summary", "3 ").await;
    shows(&mut browser, "session", "median").await;
    shows(&mut browser, "first-reply", "median").await;
    shows(&mut browser, "consent", "0 on, 1 off, 1 asked").await;

    focus(&mut browser, "verify").await;
    browser.press("Enter").await;
    world.clock.advance(std::time::Duration::from_secs(60));
    shows(&mut browser, "audit-state", "Verified:").await;

    focus(&mut browser, "session-id").await;
    browser.write(id.as_str()).await;
    browser.press("Enter").await;
    shows(&mut browser, "why", "The guest ended the session, or the application on the guest's behalf. The connection has not failed.").await;
    for event in [
        "session.created",
        "ws.connected",
        "session.ended",
        "state: Configured",
    ] {
        shows(&mut browser, "timeline", event).await;
    }
    check_looks(&mut browser, "sessions").await;
    browser.evaluate("scrollTo(0, 0)").await;
    let picture = target().join("screenshots/dashboard.png");
    browser.screenshot(&picture).await;
    browser.check_quiet();

    // the read is an entry of the session
    assert!(by_operator(&world, "audit.read").await.subject.is_some());

    focus(&mut browser, "logout").await;
    browser.press("Enter").await;
    browser.until("document.getElementById('token') !== null").await;
    drop(browser);
    world.stop().await;
}

#[tokio::test]
async fn dashboard_manages_a_webhook() {
    let Some((world, mut browser)) = open("the dashboard with a webhook").await else {
        return;
    };
    let (crm, suite) = (Crm::start(&world.clock).await, world.suite());
    let mut subscription = crm.subscription("/sync");
    subscription.events = [EventName::Created].into();
    suite.ensure_webhook(&subscription).await.unwrap();
    crm.respond_with(&[500, 500]);
    suite.create(newcomer(&world.clock)).await.unwrap();
    until(async || world.gateway.store().webhooks().await.unwrap()[0].failures == 1).await;
    world.clock.advance(std::time::Duration::from_secs(2));
    // both attempts and the snapshot
    crm.received(3).await;

    browser
        .until("document.querySelector('#webhooks button') !== null")
        .await;
    press(&mut browser, "#webhooks button").await;
    shows(&mut browser, "delivery-summary", "None.").await;
    browser.until("!document.getElementById('replay').disabled").await;
    choose(&mut browser, "dead").await;
    shows(&mut browser, "deliveries", "webmessaging.guestsession.created").await;
    shows(&mut browser, "deliveries", "status 500 after").await;
    check_looks(&mut browser, "webhook").await;

    press(&mut browser, "#replay").await;
    let sent = "GuestSessionCRMSync: 1 sent again, 0 remain.";
    shows(&mut browser, "webhook-state", sent).await;
    let received = crm.received(4).await;
    assert_eq!(received[3].id(), received[0].id());
    browser.until("document.getElementById('replay').disabled").await;
    by_operator(&world, "webhook.replayed").await;
    choose(&mut browser, "delivered").await;
    shows(&mut browser, "deliveries", "status 204 after").await;

    press(&mut browser, "#webhook [data-action=test]").await;
    shows(&mut browser, "webhook-state", "Test event: status 204 after").await;
    let test = crm.received(5).await[4].body();
    assert_eq!(test["type"], EventName::Test.as_str());
    by_operator(&world, "webhook.tested").await;

    press(&mut browser, "#toggle").await;
    shows(&mut browser, "webhook-state", "Paused.").await;
    shows(&mut browser, "toggle", "Resume").await;
    assert!(!suite.webhooks().await.unwrap()[0].subscription.enabled);
    by_operator(&world, "webhook.updated").await;
    press(&mut browser, "#toggle").await;
    shows(&mut browser, "webhook-state", "Resumed.").await;
    assert!(suite.webhooks().await.unwrap()[0].subscription.enabled);

    press(&mut browser, "#rotate").await;
    press(&mut browser, "#keep").await;
    press(&mut browser, "#rotate").await;
    press(&mut browser, "#confirm").await;
    shows(&mut browser, "webhook-state", "The new secret is whsec_").await;
    by_operator(&world, "webhook.secret_rotated").await;

    let id = suite.webhooks().await.unwrap()[0].id.clone();
    let removed = Change::RemoveWebhook(id).into();
    world.gateway.store().commit(removed).await.unwrap();
    browser.until("document.getElementById('webhook').hidden").await;
    browser.check_quiet();
    drop(browser);
    world.stop().await;
}

/// Presses a button with the keyboard.
async fn press(browser: &mut Browser, selector: &str) {
    let focus = format!("document.querySelector({selector:?}).focus()");
    browser.evaluate(&focus).await;
    browser.press("Enter").await;
}

/// Chooses the state of the deliveries.
async fn choose(browser: &mut Browser, state: &str) {
    let chosen = format!(
        "(() => {{ const select = document.getElementById('delivery-state'); select.value = {state:?}; \
         select.dispatchEvent(new Event('change')) }})()"
    );
    browser.evaluate(&chosen).await;
}

#[tokio::test]
async fn dashboard_routes_need_a_login() {
    let world = world_with_token().await;
    for path in [
        "/dashboard/events",
        "/dashboard/sessions/x",
        "/dashboard/charts/session.svg",
    ] {
        assert_eq!(send(&world, Call::get(path)).await.status, 401, "{path}");
    }
    let deliveries = "/dashboard/webhooks/x/deliveries?state=dead";
    assert_eq!(send(&world, Call::get(deliveries)).await.status, 401);
    let actions = ["pause", "replay", "resume", "rotate", "test"];
    let actions = actions.map(|action| format!("/dashboard/webhooks/x/{action}"));
    for path in actions.iter().map(String::as_str).chain(["/dashboard/verify"]) {
        assert_eq!(send(&world, Call::post(path)).await.status, 401, "{path}");
    }
    for id in ["unknown", "0190f0a0-0000-7000-8000-000000000000"] {
        let session = Call::get(&format!("/dashboard/sessions/{id}"));
        let replay = Call::post(&format!("/dashboard/webhooks/{id}/replay"));
        let unknown = Call::post(&format!("/dashboard/webhooks/{id}/unknown"));
        let deliveries = Call::get(&format!("/dashboard/webhooks/{id}/deliveries?state=dead"));
        for call in [session, replay, unknown, deliveries] {
            assert_eq!(send(&world, call.bearer(TOKEN)).await.status, 404, "{id}");
        }
    }
    let none = send(&world, Call::get("/dashboard/charts/session.svg").bearer(TOKEN)).await;
    assert_eq!(none.status, 204);
    world.stop().await;
}
