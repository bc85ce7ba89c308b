//! One gateway of two organizations of Genesys Cloud.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use genesys_api::Clock;
use genesys_http::Client;
use genesys_sim::Simulator;
use guest_gateway::Gateway;
use guest_gateway::config::Config;
use guest_suite::contract::SubscriptionBody;
use guest_suite::webhook::{EventName, Subscription};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::api::{Api, Call, ERASURES, QUERY, SESSIONS, WEBHOOKS, guest, path_of};
use crate::crm::Crm;
use crate::guests::until;
use crate::mutual_tls::{MutualTls, issue, issuer};
use crate::page::Page;
use crate::process::run;
use crate::proxy::ClosedPort;
use crate::world::{CHANNEL, CLIENT, NEIGHBOR, READER, World};

const TOKEN: &str = "token-of-operators-0123456789";
const AMERICAS: &str = "americas-channel";

/// A gateway of `emea`, with the client and the channel of a world, and of `americas`.
struct Two {
    emea: Simulator,
    americas: Simulator,
    gateway: Gateway,
    clock: Clock,
    http: Client,
    path: PathBuf,
    _folder: TempDir,
}

impl Two {
    async fn start() -> Self {
        let world = World::start().await;
        let config = genesys_sim::Config {
            clock: world.clock.clone(),
            ..genesys_sim::Config::plain()
        };
        let americas = Simulator::start(config).await.unwrap();
        let (http, toml) = (world.http(), of_two(&world.toml, &world.simulator, &americas));
        let World {
            simulator: emea,
            gateway,
            clock,
            folder,
            ..
        } = world;
        gateway.stop().await;
        let path = folder.path().join("gateway.toml");
        fs::write(&path, &toml).unwrap();
        let config = Config::read(&path).unwrap();
        Self {
            emea,
            americas,
            gateway: Gateway::start(config, clock.clone()).await.unwrap(),
            clock,
            http,
            path,
            _folder: folder,
        }
    }

    /// Stops the gateway, and starts it with the configuration in its file.
    async fn restart(self) -> Self {
        self.gateway.stop().await;
        let config = Config::read(&self.path).unwrap();
        Self {
            gateway: Gateway::start(config, self.clock.clone()).await.unwrap(),
            ..self
        }
    }

    async fn api(&self, client: (&str, &str)) -> Api {
        Api::at(self.http.clone(), self.gateway.host().to_string(), client).await
    }

    /// A page of the listener for operators.
    async fn page(&self, path: &str) -> (StatusCode, String) {
        let url = format!("{}{path}", self.gateway.admin().unwrap());
        let request = http::Request::get(url).header("authorization", format!("Bearer {TOKEN}"));
        let request = request.body(bytes::Bytes::new()).unwrap();
        let (head, body) = self.http.send(request).await.unwrap().into_parts();
        (head.status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn readiness(&self) -> (StatusCode, Value) {
        let (status, text) = self.page("/health/ready").await;
        (status, serde_json::from_str(&text).unwrap())
    }

    async fn stop(self) {
        self.gateway.stop().await;
        self.americas.stop().await;
        self.emea.stop().await;
    }
}

fn of_two(toml: &str, emea: &Simulator, americas: &Simulator) -> String {
    let host = format!("host = \"{}\"\n", emea.host());
    let organizations = format!(
        "[genesys]\nconnections_per_minute = 20\nproxy = \"off\"\n[admin]\naddress = \"127.0.0.1:0\"\ntoken = {TOKEN:?}\n\
         [organizations.emea]\n{host}\
         [organizations.americas]\nhost = \"{}\"\nconnections_per_minute = 60\n",
        americas.host(),
    );
    let mut toml = toml.replace(&format!("[genesys]\n{host}"), &organizations);
    for (id, organization) in [(CLIENT.0, "emea"), (READER.0, "emea"), (NEIGHBOR.0, "americas")] {
        let id = format!("id = {id:?}\n");
        toml = toml.replace(&id, &format!("{id}organizations = [{organization:?}]\n"));
    }
    let toml = toml
        .replace("[[channel]]\n", "[[channel]]\norganization = \"emea\"\n")
        .replace("[spa]\n", &format!("[spa]\nchannel = {CHANNEL:?}\n"));
    format!(
        "{toml}[[channel]]\norganization = \"americas\"\nid = {AMERICAS:?}\ndeployment = \"{}\"\n",
        americas.deployment_id(),
    )
}

fn guest_of(channel: &str) -> Value {
    let mut guest = guest();
    guest["channelConfigurationId"] = channel.into();
    guest
}

#[tokio::test]
async fn client_knows_the_channels_of_its_organizations_only_also_after_a_reload() {
    let two = Two::start().await;
    let (api, neighbor) = (two.api(CLIENT).await, two.api(NEIGHBOR).await);
    let create = |api: &Api, channel| Call::post(SESSIONS).bearer(&api.token).json(&guest_of(channel));
    for (api, known, unknown) in [(&api, CHANNEL, AMERICAS), (&neighbor, AMERICAS, CHANNEL)] {
        assert_eq!(api.send(create(api, known)).await.status, StatusCode::CREATED);
        let refused = api.send(create(api, unknown)).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.text);
        assert!(refused.text.contains("is not configured"), "{}", refused.text);
    }
    let there = neighbor.create(&guest_of(AMERICAS)).await;
    drop(Page::of(&there).await);
    let sessions = [&two.emea, &two.americas].map(|simulator| simulator.counters().sessions);
    assert_eq!(sessions, [0, 1]);

    let toml = fs::read_to_string(&two.path).unwrap();
    let moved = toml.replace("organizations = [\"americas\"]", "organizations = [\"emea\"]");
    fs::write(&two.path, moved).unwrap();
    let changed = two.gateway.reload().await.unwrap();
    assert!(changed.changed.into_iter().eq(["client"]));
    let refused = neighbor.send(create(&neighbor, AMERICAS)).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.text);
    neighbor.create(&guest()).await;
    two.stop().await;
}

#[tokio::test]
async fn sessions_of_an_organization_that_a_client_left_are_unknown_to_it() {
    let two = Two::start().await;
    let (neighbor, crm) = (two.api(NEIGHBOR).await, Crm::start(&two.clock).await);
    let subscription = Subscription {
        enabled: false,
        ..crm.subscription("/sync")
    };
    let body = serde_json::to_value(SubscriptionBody(&subscription)).unwrap();
    let webhook = neighbor.ask(Call::post(WEBHOOKS).json(&body)).await;
    let webhook = format!("{WEBHOOKS}/{}", webhook["id"].as_str().unwrap());
    let mut guest = guest_of(AMERICAS);
    guest["guestId"] = "ann".into();
    let session = neighbor.create(&guest).await;
    neighbor.ask(Call::get(&path_of(&session, ""))).await;

    let toml = fs::read_to_string(&two.path).unwrap();
    let moved = toml.replace("organizations = [\"americas\"]", "organizations = [\"emea\"]");
    fs::write(&two.path, moved).unwrap();
    two.gateway.reload().await.unwrap();
    let ann = json!({ "guestId": "ann" });
    let withdrawal = json!({ "marketing": false });
    let refresh = json!({ "refreshToken": session["refreshToken"] });
    let key = format!("{:032x}", 1_u128);
    for call in [
        Call::get(&path_of(&session, "")),
        Call::get(&path_of(&session, "/audit")),
        Call::new(Method::PATCH, &path_of(&session, "/consent")).json(&withdrawal),
        Call::post(&path_of(&session, "/refresh")).json(&refresh),
        Call::post(&format!("{webhook}/preview")).json(&json!({ "sessionId": session["id"] })),
        Call::post(QUERY).json(&ann),
        Call::post(ERASURES).json(&ann).header("idempotency-key", &key),
        Call::new(Method::DELETE, &path_of(&session, "")),
    ] {
        let path = call.path().to_owned();
        let answer = neighbor.send(call.bearer(&neighbor.token)).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}: {}", answer.text);
    }
    neighbor.ask(Call::post(&format!("{webhook}/resume"))).await;
    let (store, id) = (two.gateway.store(), session["id"].as_str().unwrap());
    let stored = async || store.session(&id.parse().unwrap()).await.unwrap();
    let is_idle = async || store.stats().await.unwrap().outbox_pending == 0;
    until(is_idle).await;

    // the work of the gateway goes on
    two.clock.advance(Duration::from_secs(2 * 86_400));
    until(async || stored().await.unwrap().ended_at.is_some()).await;
    until(is_idle).await;
    assert!(crm.received(0).await.is_empty());
    two.clock.advance(Duration::from_secs(31 * 86_400));
    until(async || stored().await.is_none()).await;
    until(is_idle).await;
    for delivery in crm.received(0).await {
        assert_eq!(delivery.event(), EventName::Erased.as_str());
    }
    two.stop().await;
}

#[tokio::test]
async fn outage_of_one_organization_leaves_the_other_in_service() {
    let mut two = Two::start().await;
    let api = two.api(CLIENT).await;
    until(async || two.readiness().await.1["notReady"].is_null()).await;
    let there = two.api(NEIGHBOR).await.create(&guest_of(AMERICAS)).await;
    let mut page = Page::of(&there).await;

    let host = two.americas.host().to_string();
    let deployment = two.americas.deployment_id().clone();
    let replacement = Simulator::start(genesys_sim::Config::plain()).await.unwrap();
    std::mem::replace(&mut two.americas, replacement).stop().await;
    page.until("conversation").await;
    until(async || {
        two.clock.advance(Duration::from_secs(5));
        two.readiness().await.1["notReady"].is_array()
    })
    .await;
    let (status, ready) = two.readiness().await;
    assert_eq!(status, StatusCode::OK, "{ready}");
    let [fault] = &ready["notReady"].as_array().unwrap()[..] else {
        panic!("{ready}")
    };
    assert_eq!(
        (&fault["part"], &fault["organization"]),
        (&"genesys".into(), &"americas".into())
    );
    assert!(fault["since"].is_string(), "{fault}");
    assert!(fault["detail"].as_str().unwrap().contains(&host), "{fault}");
    let public = api.send(Call::get("/health/ready")).await;
    assert_eq!(public.status, StatusCode::OK);
    assert!(!public.text.contains("americas"), "{}", public.text);
    let (_, figures) = two.page("/metrics").await;
    for line in [
        "guest_gateway_genesys_up{organization=\"americas\"} 0.0".to_owned(),
        "guest_gateway_genesys_up{organization=\"emea\"} 1.0".to_owned(),
        format!(
            "guest_gateway_connections_waiting{{organization=\"americas\",deployment=\"{deployment}\"}} "
        ),
    ] {
        assert!(figures.contains(&line), "{line}: {figures}");
    }
    let mut page = Page::of(&api.create(&guest()).await).await;
    page.message("hello").await;
    page.delivery("sent").await;
    drop(page);
    two.stop().await;
}

#[tokio::test]
async fn reload_replaces_the_proxy_and_reads_the_certificates_of_one_organization() {
    let two = Two::start().await;
    // a host that only a proxy would resolve
    let toml = fs::read_to_string(&two.path).unwrap();
    let toml = toml.replace(&two.emea.host().to_string(), "https://genesys.test");
    let path = two.path.clone();
    let write = |setting: &str| {
        let emea = "[organizations.emea]\n";
        fs::write(&path, toml.replace(emea, &format!("{emea}{setting}\n"))).unwrap();
    };
    let proxies = [ClosedPort::reserve(), ClosedPort::reserve()];
    let [first, second] = proxies.each_ref().map(|proxy| proxy.address().to_string());
    let setting = |proxy: &str| format!("proxy = \"http://{proxy}\"");
    write(&setting(&first));
    let two = two.restart().await;
    let unreachable_by = async |proxy: &str| {
        two.clock.advance(Duration::from_secs(5));
        let ready = two.readiness().await.1.to_string();
        ready.contains(&format!("cannot connect to the proxy {proxy}"))
    };
    until(async || unreachable_by(&first).await).await;

    write(&setting(&second));
    let reloaded = two.gateway.reload().await.unwrap();
    assert!(reloaded.changed.into_iter().eq(["organizations.emea.proxy"]));
    until(async || unreachable_by(&second).await).await;

    let no_pem = two.path.display();
    let certificate = format!("client_certificate = \"{no_pem}\"\nclient_key = \"{no_pem}\"");
    for (refused, reason) in [
        (
            &*certificate,
            "`client_certificate` and `client_key` of [organizations.emea]",
        ),
        (
            "connections_per_minute = 21",
            "organizations.emea.connections_per_minute needs a restart",
        ),
    ] {
        write(&format!("{}\n{refused}", setting(&first)));
        let error = two.gateway.reload().await.unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    two.stop().await;
}

#[tokio::test]
async fn renewed_client_certificate_of_an_organization_is_used_after_a_reload() {
    let two = Two::start().await;
    let (authority, folder) = (issuer(), two.path.parent().unwrap());
    let [ca, certificate, key] = ["ca.pem", "client.pem", "client.key"].map(|name| folder.join(name));
    let install = |(chain, secret): &(String, String)| {
        fs::write(&certificate, chain).unwrap();
        fs::write(&key, secret).unwrap();
    };
    let [first, renewed] = [issue(&authority), issue(&authority)];
    fs::write(&ca, authority.pem()).unwrap();
    install(&first);
    let genesys = two.emea.host().to_string();
    let front = MutualTls::start(&authority, genesys.replace("http://", "")).await;
    let host = format!(
        "host = \"https://{}\"\nextra_ca = {ca:?}\nclient_certificate = {certificate:?}\nclient_key = {key:?}\n",
        front.address
    );
    let toml = fs::read_to_string(&two.path).unwrap();
    fs::write(&two.path, toml.replace(&format!("host = \"{genesys}\"\n"), &host)).unwrap();
    let two = two.restart().await;
    let converse = async || {
        let mut page = Page::of(&two.api(CLIENT).await.create(&guest()).await).await;
        page.message("hello").await;
        page.delivery("sent").await;
        page
    };
    let mut before = converse().await;
    assert!(front.has_seen(&first.0));

    install(&renewed);
    two.gateway.reload().await.unwrap();
    drop(converse().await);
    assert!(front.has_seen(&renewed.0));
    before.message("hello again").await;
    before.delivery("sent").await;
    drop(before);
    two.stop().await;
}

#[tokio::test]
async fn organizations_have_the_defaults_of_genesys_and_unknown_names_are_refused() {
    let two = Two::start().await;
    let (toml, path) = (fs::read_to_string(&two.path).unwrap(), &two.path);
    let shown = run(["config", "show", "--config", path.to_str().unwrap()])
        .await
        .out;
    let table = |name: &str| {
        shown
            .split_once(&format!("[organizations.{name}]\n"))
            .unwrap()
            .1
            .to_owned()
    };
    let limit = |table: String| {
        let line = table
            .lines()
            .find(|line| line.starts_with("connections_per_minute"));
        line.unwrap().split_whitespace().nth(2).unwrap().to_owned()
    };
    assert_eq!(
        (limit(table("emea")), limit(table("americas"))),
        ("20".to_owned(), "60".to_owned())
    );
    for (old, new, expected) in [
        (
            "[[channel]]\norganization = \"emea\"\n",
            "[[channel]]\n",
            "invalid [[channel]]: `organization` is missing, give those of [organizations]: americas, emea",
        ),
        (
            "[[channel]]\norganization = \"emea\"\n",
            "[[channel]]\norganization = \"emae\"\n",
            "there is no [organizations.emae], add it or correct the name; did you mean `emea`?",
        ),
        (
            "organizations = [\"americas\"]\n",
            "",
            "invalid [[client]] neighbor: `organizations` is missing",
        ),
        (
            "connections_per_minute = 20\n",
            "region = \"eu-west-1\"\n",
            "invalid [genesys]: has defaults of [organizations] only",
        ),
        (
            "[organizations.emea]\n",
            "[organizations.emea]\nregion = \"eu-west-1\"\n",
            "invalid [organizations.emea]: use exactly one of",
        ),
        (
            "[organizations.emea]\n",
            "[organizations.\"1 emea\"]\n",
            "begins with a letter",
        ),
        (
            "[spa]\nchannel = \"web-channel\"",
            "[spa]\nchannel = \"americas-channel\"",
            "invalid [spa] `channel`: of an organization that its `client` does not have",
        ),
    ] {
        let changed = toml.replacen(old, new, 1);
        assert_ne!(changed, toml, "{old}");
        let error = Config::parse(&changed).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
    two.stop().await;
}
