//! Secrets appear in no log, error, `Debug` output, audit log, metric or file of the store.

mod canary;
pub(crate) mod logs;
mod process;
mod refusals;

use std::fmt::Debug;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use genesys_auth::Credentials;
use genesys_http::{Client, Tls};
use guest_gateway::config::Config;
use guest_sessions::{ClientFrame, offered_token};
use guest_suite::{GuestSessions, RemoteConfig};
use http::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use ws_transport::{ClientHandshake, ServerHandshake, SocketUrl};

use self::canary::Searcher;
use self::logs::Logs;
use crate::api::{Answer, Api, Call, SESSIONS, WEBHOOKS, guest};
use crate::conversation::files::{about_file, upload};
use crate::crm::Crm;
use crate::guests::{newcomer, page_origin, talk};
use crate::page::{Page, handshake, upgrade, upgrade_with_token};
use crate::world::{CLIENT, NEIGHBOR, READER, World};

const MESSAGE: &str = "my card is 4111-1111-1111-1111, Müller";
const FILE: &str = "findings-of-anna-4c1d77.png";
/// A part of all presigned URLs.
const SIGNATURE: &str = "?signature=eyJhbGciOi";
const GRANTED: &str = "granted-note-5b0e2f9c";
const WITHDRAWN: &str = "withdrawn-segment-77aa01d4";
const WITHHELD: &str = "withheld-visitor-8f3a91c2";
const HOOK: [&str; 4] = [
    "hook-path-canary-91e2",
    "hook-query-canary-92f3",
    "hook-header-canary-93a4",
    "dead-hook-canary-94b5",
];
/// Invalid credentials of a client. They are secret as well.
const GUESS: &str = "guessed-secret-c4n4ry/+=&";

/// All output of the system.
#[derive(Default)]
struct Seen {
    texts: Vec<(String, Vec<u8>)>,
}

impl Seen {
    fn keep(&mut self, what: &str, text: impl AsRef<[u8]>) {
        self.texts.push((what.to_owned(), text.as_ref().to_vec()));
    }

    fn debug(&mut self, what: &str, value: &dyn Debug) {
        self.keep(what, format!("{value:?}\n{value:#?}"));
    }

    fn answer(&mut self, what: &str, answer: &Answer) {
        self.keep(what, format!("{:?}\n{}", answer.headers, answer.text));
    }

    fn files(&mut self, folder: &Path) {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            // the files of the operator
            if !path.ends_with("gateway.keys") && !path.ends_with("gateway.toml") {
                self.keep(&path.display().to_string(), std::fs::read(&path).unwrap());
            }
        }
    }

    fn check(&self, canaries: &Searcher) {
        let mut leaks = Vec::new();
        for (what, text) in &self.texts {
            leaks.extend(
                canaries
                    .hits(text)
                    .into_iter()
                    .map(|hit| format!("{what}: {hit}")),
            );
        }
        assert!(leaks.is_empty(), "{} leaks\n{}", leaks.len(), leaks.join("\n"));
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn plant_tokens(canaries: &mut Searcher, what: &str, tokens: &Value) {
    for name in ["accessToken", "refreshToken"] {
        canaries.plant(&format!("the {name} {what}"), text(&tokens[name]));
    }
}

#[tokio::test]
async fn secrets_appear_in_no_output() {
    let logs = Logs::listen();
    let world = World::start().await;
    let crm = Crm::start(&world.clock).await;
    let mut seen = Seen::default();
    // secrets that only their owner may see; the CRM may see less than this
    let (mut canaries, mut from_crm) = (Searcher::default(), Searcher::default());
    for (id, secret) in [CLIENT, READER, NEIGHBOR] {
        canaries.plant(&format!("the secret of {id}"), secret);
    }
    for line in std::fs::read_to_string(world.folder.path().join("gateway.keys"))
        .unwrap()
        .lines()
    {
        if let Some((name, key)) = line.split_once(' ').filter(|_| !line.starts_with('#')) {
            canaries.plant(&format!("the key {name}"), key);
        }
    }
    for (name, secret) in [
        ("the message", MESSAGE),
        ("the name of a file", FILE),
        ("a presigned URL", SIGNATURE),
        ("what somebody guessed", GUESS),
        ("a granted attribute", GRANTED),
        ("a withdrawn attribute", WITHDRAWN),
        ("a withheld attribute", WITHHELD),
    ] {
        canaries.plant(name, secret);
    }
    for secret in HOOK {
        canaries.plant("what a webhook's URL and headers hold", secret);
    }
    from_crm.plant("the message", MESSAGE);
    from_crm.plant("a withheld attribute", WITHHELD);

    let api = Api::of(&world, CLIENT).await;
    canaries.plant("an API token", &api.token);
    let secret = webhooks(&api, &crm, &mut seen).await;
    canaries.plant("the webhook's secret", &secret);
    from_crm.plant("the webhook's secret", &secret);

    let session = scenario(&world, &api, &mut canaries, &mut seen).await;
    plant_tokens(&mut from_crm, "of the session", &session);
    refusals::provoke(&world, &api, &session, &mut seen).await;
    suite_session(&world, &mut canaries, &mut seen).await;
    debugs(&world, &session, &mut seen).await;

    // created, updated and ended, and the events of the suite's session
    let deliveries = crm.received(5).await;
    let withdrawn = deliveries
        .iter()
        .position(|delivery| delivery.event().ends_with("updated"))
        .unwrap();
    assert!(
        deliveries[0].body().to_string().contains(GRANTED),
        "a CRM sees what was granted"
    );
    assert!(deliveries[0].body().to_string().contains(WITHDRAWN));
    for (position, delivery) in deliveries.iter().enumerate() {
        if position == withdrawn {
            from_crm.plant("a withdrawn attribute", WITHDRAWN);
        }
        let body = delivery.body().to_string();
        assert_eq!(from_crm.hits(body.as_bytes()), Vec::<String>::new());
    }

    let export = world.folder.path().join("audit.jsonl");
    guest_store::export(&**world.gateway.store(), &export)
        .await
        .unwrap();
    seen.files(world.folder.path());
    over_tls(&mut canaries, &mut seen).await;
    let World {
        gateway,
        simulator,
        folder,
        ..
    } = world;
    assert_eq!(format!("{:?}", simulator.violations()), "[]");
    gateway.stop().await;
    simulator.stop().await;
    seen.files(folder.path());

    // the test used the secrets, and logs were captured
    for received in [
        "method=GET path=",
        "delivery failed",
        "refused for its origin",
        "ws_transport::",
        "tungstenite::",
        "rustls::",
    ] {
        assert!(logs.contains(received), "{received} was not logged");
    }
    seen.keep("the logs", logs.take());
    seen.check(&canaries);
}

/// Registers one webhook that answers and one that does not. Returns the secret of the first.
async fn webhooks(api: &Api, crm: &Crm, seen: &mut Seen) -> String {
    let [path, query, header, dead] = HOOK;
    let target = crm.subscription(&format!("/{path}?key={query}"));
    let body = |name: &str, uri: &str| {
        json!({
            "name": name,
            "uri": uri,
            "eventFilters": [{ "predicate": { "type": "event", "values": [
                "webmessaging.guestsession.created",
                "webmessaging.guestsession.updated",
                "webmessaging.guestsession.ended",
            ] } }],
            "headers": { "X-Api-Key": header },
        })
    };
    let registered = api
        .ask(Call::post(WEBHOOKS).json(&body("crm", target.target.as_str())))
        .await;
    let secret = text(&registered["secret"]).to_owned();
    // there is no listener
    let dead = format!("http://127.0.0.1:1/{dead}");
    api.ask(Call::post(WEBHOOKS).json(&body("dead", &dead))).await;
    for wrong in [
        body("crm", &dead),
        body("new", &format!("http://crm.example/{path}")),
        body("new", &format!("https://joe:{GUESS}@crm.example/")),
        body("new", &format!("https://crm.example/#{query}")),
    ] {
        let answer = api
            .send(Call::post(WEBHOOKS).json(&wrong).bearer(&api.token))
            .await;
        assert!(answer.status.is_client_error(), "{answer:?}");
        seen.answer("a refused webhook", &answer);
    }
    secret
}

/// A session from its creation to its end, with the token in each place.
async fn scenario(world: &World, api: &Api, canaries: &mut Searcher, seen: &mut Seen) -> Value {
    let mut body = guest();
    body["consent"]["analytics"] = false.into();
    body["guestAttributes"]["note"] = GRANTED.into();
    body["guestAttributes"]["marketing.segment"] = WITHDRAWN.into();
    body["guestAttributes"]["analytics.visitor"] = WITHHELD.into();
    let mut session = api.create(&body).await;
    plant_tokens(canaries, "at first", &session);
    let path = format!("{SESSIONS}/{}", text(&session["id"]));

    let id = text(&session["id"]).parse().unwrap();
    let row = world.gateway.store().session(&id).await.unwrap().unwrap();
    let token = row.secrets.genesys_token.expose_secret();
    let subject_key = STANDARD.encode(row.secrets.subject_key);
    for part in [token, &subject_key] {
        canaries.plant("what the session is to Genesys", part);
        canaries.plant("what the session is to Genesys", &part.replace('-', ""));
    }
    seen.debug("a row of the store", &row);

    let refresh = |session: &Value| {
        let body = json!({ "refreshToken": session["refreshToken"] });
        let call = Call::post(&format!("{path}/refresh")).json(&body);
        call.header("idempotency-key", "a-key").bearer(&api.token)
    };
    let first = refresh(&session);
    for _ in 0..2 {
        let rotated = api.send(refresh(&session)).await.json();
        for name in ["accessToken", "refreshToken"] {
            session[name] = rotated[name].clone();
        }
        plant_tokens(canaries, "after the rotation", &session);
    }
    seen.answer("a repeated rotation", &api.send(first).await);

    let (url, token) = (text(&session["websocketUrl"]), text(&session["accessToken"]));
    let mut no_token = handshake(&session);
    no_token.as_object_mut().unwrap().remove("accessToken");
    for (request, frame) in [
        (upgrade(&format!("{url}?access_token={token}")), &no_token),
        (upgrade_with_token(url, token), &no_token),
        (upgrade(url), &handshake(&session)),
    ] {
        let mut page = Page::open(request).await.unwrap();
        page.send_frame(frame).await;
        page.until("handshake.accepted").await;
        page.message(MESSAGE).await;
        page.until("message").await;
    }
    let file = genesys_api::entropy::uuid().to_string();
    for call in [
        upload(&session, &file, FILE, "image/png", MESSAGE.into()),
        about_file(Method::GET, &session, &file),
        about_file(Method::DELETE, &session, &file),
    ] {
        let answer = api.send(call).await;
        assert!(answer.status.is_success(), "{answer:?}");
        assert!(answer.text.is_empty() || answer.text.contains(SIGNATURE));
    }
    let blocked = upload(
        &session,
        &file,
        &format!("{FILE}.ade"),
        "image/png",
        MESSAGE.into(),
    );
    seen.answer("a refused file", &api.send(blocked).await);
    let consent = Call::new(Method::PATCH, &format!("{path}/consent"));
    api.ask(consent.json(&json!({ "marketing": false }))).await;
    for rest in ["", "/audit"] {
        seen.keep(
            "what an owner reads",
            api.ask(Call::get(&format!("{path}{rest}"))).await.to_string(),
        );
    }
    let metrics = api.ask(Call::get(&format!("{SESSIONS}/metrics"))).await;
    seen.keep("the metrics", metrics.to_string());
    session
}

/// The same by our own client, whose values a program may print.
async fn suite_session(world: &World, canaries: &mut Searcher, seen: &mut Seen) {
    let suite = world.suite();
    let mut new_guest = newcomer(&world.clock);
    new_guest.attributes.insert("note", GRANTED).unwrap();
    seen.debug("a new guest", &new_guest);
    let mut session = suite.create(new_guest).await.unwrap();
    suite_tokens(&session, canaries, seen);
    session.connect(page_origin()).await.unwrap();
    let id = session.send(MESSAGE).unwrap();
    seen.debug("a message's id", &id);
    let mut replied = false;
    while !replied {
        let event = crate::page::soon(session.next_event()).await.unwrap();
        replied = matches!(event, guest_conversation::Event::Message(_));
        seen.debug("an event", &event);
    }
    session.tokens().refresh_now().await.unwrap();
    suite_tokens(&session, canaries, seen);
    seen.debug("an error of a send", &session.send(MESSAGE.repeat(120)).err());
    seen.debug("what is known of a session", &session.info().await.unwrap());
    for value in [&session as &dyn Debug, &suite] {
        seen.debug("the suite", value);
    }
    session.end().await.unwrap();
    seen.debug(
        "an error after the end",
        &session.tokens().refresh_now().await.err(),
    );
}

fn suite_tokens(session: &guest_suite::GuestSession, canaries: &mut Searcher, seen: &mut Seen) {
    let tokens = session.tokens().tokens();
    canaries.plant("an access token of the suite", tokens.access().expose_secret());
    canaries.plant(
        "a refresh token of the suite",
        tokens.refresh().unwrap().expose_secret(),
    );
    seen.debug("tokens", &tokens);
    seen.debug("what keeps them fresh", session.tokens());
}

async fn debugs(world: &World, session: &Value, seen: &mut Seen) {
    let (id, secret) = CLIENT;
    let token = SecretString::from(text(&session["accessToken"]));
    let credentials = Credentials::new(id.parse().unwrap(), secret.into()).unwrap();
    let url: SocketUrl = text(&session["websocketUrl"]).parse().unwrap();
    let url = url.with_query("access_token", &token).unwrap();
    let protocols = format!("guest-sessions.v1, access_token.{}", token.expose_secret());
    let client = ClientHandshake::new(url.clone(), page_origin()).with_protocols(protocols.parse().unwrap());
    let server = ServerHandshake::parse(&client.request(*b"the sample nonce")).unwrap();
    let frame = handshake(session).to_string();
    let webhooks = world.gateway.store().webhooks().await.unwrap();
    let own: Vec<webhook::Subscription> = webhooks
        .iter()
        .map(|row| guest_sessions::SubscriptionBody::parse(&row.document).unwrap())
        .collect();
    let config = Config::parse(&world.toml).unwrap();
    let secrets: Vec<_> = config
        .client
        .iter()
        .map(|client| client.secret().unwrap())
        .collect();
    for (what, value) in [
        ("the gateway", &world.gateway as &dyn Debug),
        ("the simulator", &world.simulator),
        ("the store", world.gateway.store()),
        ("webhooks of the store", &webhooks),
        ("subscriptions", &own),
        ("the configuration", &config),
        ("its secrets", &secrets),
        ("credentials", &credentials),
        ("an HTTP client", &world.http()),
        ("a socket's URL", &url),
        ("a client's handshake", &client),
        ("a server's handshake", &server),
        ("the token of a handshake", &offered_token(&server)),
        ("a frame", &ClientFrame::parse(&frame)),
        (
            "a body",
            &guest_payload::NewGuest::parse(
                guest_with_note().as_bytes(),
                guest_payload::Signals::default(),
                time::OffsetDateTime::UNIX_EPOCH,
            ),
        ),
    ] {
        seen.debug(what, value);
    }
    seen.keep("a socket's URL", url.to_string());
}

fn guest_with_note() -> String {
    let mut body = guest();
    body["guestAttributes"]["note"] = GRANTED.into();
    body.to_string()
}

/// A conversation through TLS, which has logs of its own.
async fn over_tls(canaries: &mut Searcher, seen: &mut Seen) {
    let folder = tempfile::tempdir().unwrap();
    let pki = genesys_sim::throwaway_ca(&genesys_sim::LOOPBACK).unwrap();
    let key = pki.key_pem.expose_secret();
    canaries.plant("the private key", key.lines().nth(1).unwrap());
    let path = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        format!("{:?}", path.display().to_string())
    };
    let (certificate, key) = (path("c.pem", &pki.cert_pem), path("k.pem", key));
    let world = World::configured(genesys_sim::Rules::default(), |toml| {
        toml.replacen(
            "[listen]\n",
            &format!("[listen]\ncertificate = {certificate}\nkey = {key}\n"),
            1,
        )
    })
    .await;
    let tls = Tls::only_ca(pki.ca_pem.as_bytes()).unwrap();
    let (id, secret) = CLIENT;
    let suite = GuestSessions::remote(RemoteConfig {
        http: Client::builder(tls).clock(world.clock.clone()).build(),
        host: world.gateway.host().clone(),
        credentials: Credentials::new(id.parse().unwrap(), secret.into()).unwrap(),
    });
    let mut session = suite.create(newcomer(&world.clock)).await.unwrap();
    suite_tokens(&session, canaries, seen);
    session.connect(page_origin()).await.unwrap();
    talk(&mut session, MESSAGE).await;
    session.end().await.unwrap();
    seen.debug("a key pair", &pki);
    world.stop().await;
}
