//! Each action is audited by exactly its entry: the table of `docs/audit.md`, provoked over a real gateway.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use guest_suite::audit::{Entry, Value as Detail};
use guest_suite::store::{EntryQuery, Store};
use http::Method;
use serde_json::{Value, json};

use crate::api::{Api, Call, SESSIONS, WEBHOOKS, guest, path_of};
use crate::cli::root;
use crate::conversation::files::{about_file, upload};
use crate::crm::Crm;
use crate::page::{Page, soon, upgrade, upgrade_with, upgrade_with_token};
use crate::world::{CLIENT, READER, World};

/// Actions of the table that this test does not provoke, and the files of the tests that do, below the root.
const ELSEWHERE: [(&str, &str); 19] = [
    ("admin.logged_in", "tests/tests/it/admin.rs"),
    ("admin.logged_out", "tests/tests/it/admin.rs"),
    ("admin.refused", "tests/tests/it/admin.rs"),
    ("audit.exported", "tests/tests/it/cli/store.rs"),
    ("audit.log_read", "tests/tests/it/audit_log.rs"),
    ("clock.jumped", "crates/guest-suite/src/direct/background.rs"),
    ("consent.exported", "tests/tests/it/cli/consent.rs"),
    ("consent.guardian", "tests/tests/it/sensitive.rs"),
    ("guest.read", "tests/tests/it/data_subject.rs"),
    ("guest.signed_in", "tests/tests/it/sign_in.rs"),
    ("guest.signed_out", "tests/tests/it/sign_in.rs"),
    ("guest.token_deleted", "tests/tests/it/sign_in.rs"),
    ("store.created", "tests/tests/it/cli/store.rs"),
    ("store.moved", "tests/tests/it/cli/store.rs"),
    ("store.rekeyed", "tests/tests/it/cli/store.rs"),
    ("store.restored", "tests/tests/it/cli/store.rs"),
    ("store.vacuumed", "tests/tests/it/cli/store.rs"),
    ("webhook.dead", "tests/tests/it/deliveries.rs"),
    ("webhook.secret_dropped", "tests/tests/it/deliveries.rs"),
];

#[test]
fn test_elsewhere_names_its_action() {
    for (action, path) in ELSEWHERE {
        let text = std::fs::read_to_string(root().join(path)).unwrap();
        let tests = match path.starts_with("crates") {
            true => text.split_once("mod tests {").unwrap().1,
            false => &text,
        };
        assert!(tests.contains(action), "{action} is not in the tests of {path}");
    }
}

/// Details of an entry about consent.
const CONSENT: &str = "analytics jurisdiction marketing personalization policy";

/// The entries of a store since the last look.
struct Log {
    store: Arc<dyn Store>,
    seen: u64,
    actions: BTreeSet<String>,
    /// All entries as text.
    text: String,
}

impl Log {
    fn of(world: &World) -> Self {
        Self {
            store: world.gateway.store().clone(),
            seen: 0,
            actions: BTreeSet::new(),
            text: String::new(),
        }
    }

    /// Checks the new entries: action, outcome, kind of the actor, whether there is a subject, and names of the details.
    /// Waits until there are as many as expected. Returns them.
    async fn expect(&mut self, expected: &[&str]) -> Vec<Entry> {
        let query = EntryQuery::From(self.seen);
        let new = soon(async {
            loop {
                let entries = self.store.entries(query, 1_000).await.unwrap();
                if entries.len() >= expected.len() {
                    return entries;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        self.seen += new.len() as u64;
        self.text
            .extend(new.iter().map(|entry| String::from_utf8_lossy(&entry.bytes)));
        let new: Vec<Entry> = new
            .iter()
            .map(|entry| Entry::parse(&entry.bytes).unwrap())
            .collect();
        self.actions
            .extend(new.iter().map(|entry| entry.draft.action.to_string()));
        let mut lines: Vec<String> = new.iter().map(line).collect();
        let mut expected: Vec<String> = expected.iter().map(|&line| line.to_owned()).collect();
        for lines in [&mut lines, &mut expected] {
            // sessions are ended and re-evaluated concurrently
            lines.chunk_by_mut(is_same_action).for_each(<[_]>::sort);
        }
        assert_eq!(lines, expected);
        new
    }
}

#[expect(clippy::ptr_arg, reason = "an argument of chunk_by_mut")]
fn is_same_action(line: &String, next: &String) -> bool {
    line.split(' ').next() == next.split(' ').next()
}

fn line(entry: &Entry) -> String {
    let draft = &entry.draft;
    let subject = if draft.subject.is_some() { "subject" } else { "-" };
    let details: Vec<&str> = draft.detail.keys().map(String::as_str).collect();
    let line = format!(
        "{} {:?} {:?} {subject} {}",
        draft.action,
        draft.outcome,
        draft.actor.kind,
        details.join(" ")
    );
    line.trim_end().to_lowercase()
}

fn detail(entry: &Entry, name: &str) -> String {
    match &entry.draft.detail[name] {
        Detail::Text(text) => text.clone(),
        other => format!("{other:?}"),
    }
}

/// The actions in the first columns of the tables.
fn documented() -> BTreeSet<String> {
    let page = std::fs::read_to_string(root().join("docs/audit.md")).unwrap();
    let rows = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    rows.map(|(action, _)| action.to_owned()).collect()
}

#[tokio::test]
async fn each_action_of_the_table_has_exactly_its_entry() {
    let world = World::start().await;
    let crm = Crm::start(&world.clock).await;
    let mut log = Log::of(&world);
    let started = log
        .expect(&[
            "audit.opened ok system -",
            "config.loaded ok system subject digest keys version",
        ])
        .await;
    let api = Api::of(&world, CLIENT).await;
    log.expect(&["client.token_issued ok client - expiresat scopes token"])
        .await;

    authentication(&world, &api, &mut log).await;
    let session = consent(&api, &mut log).await;
    tokens(&api, &mut log).await;
    let fresh = api.create(&guest()).await;
    log.expect(&[&format!("session.created ok client subject {CONSENT} token")])
        .await;
    sockets(&fresh, &mut log).await;
    files(&api, &fresh, &mut log).await;
    webhooks(&api, &crm, &mut log).await;
    let secrets = [
        api.token.clone(),
        fresh["accessToken"].as_str().unwrap().to_owned(),
        fresh["refreshToken"].as_str().unwrap().to_owned(),
    ];

    api.ask(Call::get(&path_of(&fresh, "/audit"))).await;
    log.expect(&["audit.read ok client subject"]).await;
    api.ask(Call::new(Method::DELETE, &path_of(&fresh, ""))).await;
    let ended = log
        .expect(&["session.ended ok client subject reason stage token"])
        .await;
    assert_eq!(detail(&ended[0], "reason"), "guest");

    // a changed configuration re-evaluates the live sessions
    let mut world = world;
    world.toml = world
        .toml
        .replace("[sessions]\n", "[sessions]\npolicy = \"purpose-scoped\"\n");
    let (text, actions, seen) = (log.text, log.actions, log.seen);
    drop(log.store);
    let world = world.restart().await;
    let store = world.gateway.store().clone();
    let mut log = Log {
        store,
        seen,
        actions,
        text,
    };
    let reevaluated = "consent.reevaluated ok system subject analytics before.analytics before.marketing \
         before.personalization before.policy jurisdiction marketing personalization policy";
    let restarted = log
        .expect(&[
            "audit.closed ok system -",
            "audit.opened ok system -",
            "config.loaded ok system subject before.digest changed digest keys version",
            &reevaluated.replace("jurisdiction", "gpc jurisdiction"),
            reevaluated,
        ])
        .await;
    let [_, _, changed, reevaluated, _] = restarted.as_slice() else {
        unreachable!("checked above")
    };
    assert_eq!(detail(changed, "before.digest"), detail(&started[1], "digest"));
    let names: Detail = ["listen.address", "sessions.policy"].into_iter().collect();
    assert_eq!(changed.draft.detail["changed"], names);
    assert!(detail(reevaluated, "before.policy").starts_with("tutorial-strict "));
    assert!(detail(reevaluated, "policy").starts_with("purpose-scoped "));

    world.clock.advance(Duration::from_secs(86_400));
    log.expect(&["session.expired ok system subject reason stage token"; 2])
        .await;
    world.clock.advance(Duration::from_secs(31 * 86_400));
    log.expect(&["session.erased ok system -"; 4]).await;
    log.actions.extend(ELSEWHERE.map(|(action, _)| action.to_owned()));
    assert_eq!(log.actions, documented());

    let values = [
        "secret-of-all-scopes",
        "wrong-secret",
        "127.0.0.1",
        "canary",
        "shop.example",
        "guest-7",
    ];
    for value in values.into_iter().chain(secrets.iter().map(String::as_str)) {
        assert!(!log.text.contains(value), "{value} is in an entry");
    }
    for session in [&session, &fresh] {
        for id in ["id", "guestId"] {
            assert!(
                !log.text.contains(session[id].as_str().unwrap()),
                "{id} is in an entry"
            );
        }
    }
    drop(log.store);
    world.stop().await;
}

async fn refused(api: &Api, call: Call) {
    let answer = api.send(call).await;
    assert!(answer.status.is_client_error(), "{}", answer.text);
}

/// Failed authentications, which are counted.
async fn authentication(world: &World, api: &Api, log: &mut Log) {
    let form = "grant_type=client_credentials&client_id";
    let wrong = || Call::post("/oauth/token").form(&format!("{form}=all-scopes&client_secret=wrong-secret"));
    refused(api, wrong()).await;
    let failed = log.expect(&["auth.failed denied client - reason"]).await;
    assert_eq!(detail(&failed[0], "reason"), "authentication failed");
    for call in [
        Call::post("/oauth/token").form(&format!("{form}=nobody-canary&client_secret=wrong-secret")),
        Call::get(&format!("{SESSIONS}/s-1")),
        Call::get(&format!("{SESSIONS}/s-1")).bearer("canary"),
    ] {
        refused(api, call).await;
        log.expect(&["auth.failed denied system - reason"]).await;
    }
    refused(api, Call::get("/spa/session")).await;
    let failed = log.expect(&["page.refused denied system - reason"]).await;
    assert_eq!(detail(&failed[0], "reason"), "session.required");
    let reader = Api::of(world, READER).await;
    log.expect(&["client.token_issued ok client - expiresat scopes token"])
        .await;
    let create = Call::post(SESSIONS).json(&guest()).bearer(&reader.token);
    refused(&reader, create).await;
    let failed = log.expect(&["auth.failed denied client - reason"]).await;
    assert_eq!(failed[0].draft.actor.id, READER.0);

    for _ in 0..8 {
        refused(api, wrong()).await;
    }
    log.expect(&[]).await;
    // the limit of the address is reached
    for _ in 0..20 {
        refused(api, wrong()).await;
    }
    let limited = log.expect(&["auth.failed denied client - reason"]).await;
    assert_eq!(detail(&limited[0], "reason"), "too many failed authentications");
    world.clock.advance(Duration::from_secs(75));
    let counted = log.expect(&["auth.failed denied client - count reason"; 2]).await;
    let counts: BTreeSet<_> = counted
        .iter()
        .map(|entry| (detail(entry, "count"), detail(entry, "reason")))
        .collect();
    let expected = [
        ("8", "authentication failed"),
        ("19", "too many failed authentications"),
    ];
    let expected = expected.map(|(count, reason)| (format!("Integer({count})"), reason.to_owned()));
    assert_eq!(counts, expected.into());
}

/// Refused, created, changed and withdrawn consent. Returns a live session.
async fn consent(api: &Api, log: &mut Log) -> Value {
    let mut body = guest();
    body["guestAttributes"]["favouriteColour"] = "canary".into();
    body["guestId"] = "guest-7".into();
    body["consent"]["marketing"] = false.into();
    let create = |body: &Value| Call::post(SESSIONS).json(body).bearer(&api.token);
    refused(api, create(&body)).await;
    log.expect(&["session.denied denied client - jurisdiction marketing policy"])
        .await;
    body["consent"]["marketing"] = true.into();
    let session = api.create(&body).await;
    log.expect(&[&format!("session.created ok client subject {CONSENT} token")])
        .await;
    refused(api, create(&body)).await;
    log.expect(&["session.denied denied client - reason"]).await;

    let change = |change: Value| Call::new(Method::PATCH, &path_of(&session, "/consent")).json(&change);
    let with_before = CONSENT.replace("jurisdiction", "before.analytics jurisdiction");
    api.ask(change(json!({ "analytics": false }))).await;
    let withdrawn = log
        .expect(&[&format!("consent.withdrawn ok client subject {with_before}")])
        .await;
    assert!(detail(&withdrawn[0], "before.analytics").starts_with("granted, on"));
    assert!(detail(&withdrawn[0], "analytics").starts_with("denied, off"));
    api.ask(change(json!({ "analytics": true }))).await;
    log.expect(&[&format!("consent.changed ok client subject {with_before}")])
        .await;
    let signal = change(json!({ "analytics": true })).header("sec-gpc", "1");
    api.ask(signal).await;
    let signaled = &log.expect(&[&format!(
        "consent.withdrawn ok client subject {}",
        "analytics before.marketing before.personalization gpc jurisdiction marketing personalization policy"
    )])
    .await[0];
    assert_eq!(detail(signaled, "gpc"), "true");
    session
}

/// Rotations of a session, an unknown refresh token, and a reuse.
async fn tokens(api: &Api, log: &mut Log) {
    let session = api.create(&guest()).await;
    log.expect(&[&format!("session.created ok client subject {CONSENT} token")])
        .await;
    let refresh = |token: &str| {
        let body = json!({ "refreshToken": token });
        Call::post(&path_of(&session, "/refresh")).json(&body)
    };
    let pair = "ok client subject before.token expiresat generation token";
    let first = session["refreshToken"].as_str().unwrap();
    let with_key = refresh(first).header("idempotency-key", "canary");
    api.ask(with_key.clone()).await;
    let rotated = log.expect(&[&format!("token.rotated {pair}")]).await;
    api.ask(with_key.clone()).await;
    log.expect(&["token.replayed ok client subject generation"]).await;
    let second = api.ask(refresh(first)).await;
    let replaced = log.expect(&[&format!("token.replaced {pair}")]).await;
    assert_eq!(detail(&replaced[0], "before.token"), detail(&rotated[0], "token"));
    refused(api, refresh("canary").bearer(&api.token)).await;
    log.expect(&["token.refused denied client subject generation reason"])
        .await;
    api.ask(refresh(second["refreshToken"].as_str().unwrap())).await;
    log.expect(&[&format!("token.rotated {pair}")]).await;
    refused(api, refresh(first).bearer(&api.token)).await;
    let reused = log
        .expect(&[
            "token.reuse_detected denied client subject generation token",
            "session.ended ok system subject reason stage token",
        ])
        .await;
    assert_eq!(detail(&reused[0], "token"), detail(&rotated[0], "before.token"));
    assert_eq!(detail(&reused[1], "reason"), "token_reuse");
}

/// Refused, opened and closed sockets.
async fn sockets(session: &Value, log: &mut Log) {
    let url = session["websocketUrl"].as_str().unwrap();
    let reason = async |request, log: &mut Log| {
        Page::open(request).await.err().unwrap();
        let entries = log.expect(&["ws.refused denied system subject reason"]).await;
        detail(&entries[0], "reason")
    };
    let other = upgrade_with(url, "origin", "https://canary.example");
    assert_eq!(reason(other, log).await, "origin.not.allowed");
    assert_eq!(
        reason(upgrade_with_token(url, "canary"), log).await,
        "bad.credentials"
    );
    let mut page = Page::open(upgrade(url)).await.unwrap();
    page.send_frame(&json!({ "type": "typing" })).await;
    let entries = log.expect(&["ws.refused denied system subject reason"]).await;
    assert_eq!(detail(&entries[0], "reason"), "handshake.expected");
    assert_eq!(page.closed().await, Some(1008));

    let page = Page::of(session).await;
    log.expect(&[
        "ws.opened ok guest subject",
        "ws.connected ok system subject attributes purposes",
    ])
    .await;
    page.leave().await;
    log.expect(&["ws.closed ok guest subject reason"]).await;
}

/// A file from its upload to its deletion.
async fn files(api: &Api, session: &Value, log: &mut Log) {
    let file = genesys_api::entropy::uuid().to_string();
    for call in [
        upload(session, &file, "canary.png", "image/png", vec![7; 77]),
        about_file(Method::DELETE, session, &file),
    ] {
        assert!(api.send(call).await.status.is_success());
    }
    let entries = log
        .expect(&[
            "attachment.received ok guest subject bytes mediatype",
            "attachment.deleted ok guest subject",
        ])
        .await;
    assert_eq!(detail(&entries[0], "mediaType"), "image/png");
}

/// A webhook from its registration to its removal.
async fn webhooks(api: &Api, crm: &Crm, log: &mut Log) {
    let event = |name: &str| {
        let values = [format!("webmessaging.guestsession.{name}")];
        json!([{ "predicate": { "type": "event", "values": values } }])
    };
    let mut body = json!({
        "name": "crm",
        "uri": crm.subscription("/canary").target.as_str(),
        "eventFilters": event("created"),
    });
    let hook = api.ask(Call::post(WEBHOOKS).json(&body)).await;
    log.expect(&["webhook.registered ok client - name webhook"]).await;
    let path = format!("{WEBHOOKS}/{}", hook["id"].as_str().unwrap());
    crm.respond_with(&[410]);
    let session = api.create(&guest()).await;
    let disabled = "webhook.disabled error system - delivery reason webhook";
    let names = "attributes delivery event fields purposes sequence webhook";
    log.expect(&[
        &format!("session.created ok client subject {CONSENT} token"),
        disabled,
        &format!("webhook.attempted error system subject {names}"),
    ])
    .await;
    body["eventFilters"] = event("ended");
    api.ask(Call::new(Method::PUT, &path).json(&body)).await;
    let delivered =
        "webhook.delivered ok system subject attributes delivery event fields purposes sequence webhook";
    let entries = log
        .expect(&["webhook.updated ok client - changed name webhook", delivered])
        .await;
    let sent = crm.received(2).await.remove(1);
    assert_eq!(detail(&entries[1], "event"), sent.event());
    let names = |value: &Value| -> Detail {
        let names = value.as_object().unwrap().keys();
        names.map(String::as_str).collect()
    };
    let data = &sent.body()["data"];
    assert_eq!(entries[1].draft.detail["fields"], names(data));
    assert_eq!(
        entries[1].draft.detail["attributes"],
        names(&data["guestAttributes"])
    );
    assert_ne!(detail(&entries[1], "delivery"), sent.id());
    api.ask(Call::post(&format!("{path}/rotate"))).await;
    log.expect(&["webhook.secret_rotated ok client - name webhook"])
        .await;
    api.ask(Call::post(&format!("{path}/test"))).await;
    log.expect(&["webhook.tested ok client - webhook"]).await;
    let preview = json!({ "sessionId": session["id"] });
    api.ask(Call::post(&format!("{path}/preview")).json(&preview))
        .await;
    log.expect(&["webhook.previewed ok client subject attributes fields purposes webhook"])
        .await;
    api.ask(Call::post(&format!("{path}/replay")).json(&json!({})))
        .await;
    log.expect(&["webhook.replayed ok client - webhook"]).await;
    api.ask(Call::new(Method::DELETE, &path)).await;
    log.expect(&["webhook.removed ok client - webhook"]).await;
}
