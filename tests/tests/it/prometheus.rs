//! The page of metrics, the alert rules and the Grafana dashboard, in a real Prometheus.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use bytes::Bytes;
use genesys_api::Clock;
use genesys_auth::Credentials;
use genesys_http::{Client, Tls};
use genesys_sim::Simulator;
use guest_gateway::Gateway;
use guest_gateway::config::Config;
use guest_suite::payload::{Choice, Consent, Evidence};
use guest_suite::webhook::{Conditions, CustomHeaders, EventName, SignatureVersion, Subscription};
use guest_suite::{GuestSessions, NewGuest, RemoteConfig};
use http::header::{ACCEPT, AUTHORIZATION};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use crate::crm::Crm;
use left_out::{Missing, leave_out};

const PROMETHEUS: Missing = Missing {
    program: "prometheus",
    install: "apt-get install prometheus",
};
const TOKEN: &str = "token-of-operators-0123456789";
const CLIENT: (&str, &str) = ("all-scopes", "secret-of-all-scopes");
/// Longest wait for Prometheus.
const TIMEOUT: Duration = Duration::from_secs(60);

struct World {
    folder: TempDir,
    simulator: Simulator,
    gateway: Gateway,
    toml: String,
    http: Client,
}

impl World {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let simulator = Simulator::start(genesys_sim::Config::plain()).await.unwrap();
        let (id, secret) = CLIENT;
        let toml = format!(
            "[listen]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\ntoken = {TOKEN:?}\n\
             [store]\npath = {store:?}\nkeys = {keys:?}\n[genesys]\nhost = \"{host}\"\n\
             [sessions]\nallowed_origins = [\"https://shop.example\"]\n\
             [webhooks]\nallow_networks = [\"127.0.0.0/8\"]\n\
             [[client]]\nid = {id:?}\nsecret = {secret:?}\n\
             scopes = [\"webmessaging:guest\", \"webmessaging:guest:write\", \"webhooks:readwrite\"]\n\
             [[channel]]\nid = \"web-channel\"\ndeployment = \"{deployment}\"\n",
            store = folder.path().join("gateway.db"),
            keys = folder.path().join("gateway.keys"),
            host = simulator.host(),
            deployment = simulator.deployment_id(),
        );
        let clock = simulator.clock().clone();
        let gateway = Gateway::start(Config::parse(&toml).unwrap(), clock.clone())
            .await
            .unwrap();
        let http = Client::builder(Tls::system().unwrap()).clock(clock).build();
        Self {
            folder,
            simulator,
            gateway,
            toml,
            http,
        }
    }

    fn clock(&self) -> &Clock {
        self.simulator.clock()
    }

    fn suite(&self) -> GuestSessions {
        let (id, secret) = CLIENT;
        GuestSessions::remote(RemoteConfig {
            http: self.http.clone(),
            host: self.gateway.host().clone(),
            credentials: Credentials::new(id.parse().unwrap(), secret.into()).unwrap(),
        })
    }

    /// Creates a session, and ends it.
    async fn visit(&self, suite: &GuestSessions) {
        let consent = Consent::together([Choice::Granted; 3], Evidence::at(self.clock().now().utc));
        let guest = NewGuest::new("web-channel".parse().unwrap(), "EU".parse().unwrap(), consent);
        suite.create(guest).await.unwrap().end().await.unwrap();
    }

    async fn page(&self, accept: &str) -> (String, String) {
        let url = format!("{}/metrics", self.gateway.admin().unwrap());
        let request = http::Request::get(url)
            .header(AUTHORIZATION, format!("Bearer {TOKEN}"))
            .header(ACCEPT, accept)
            .body(Bytes::new())
            .unwrap();
        let (head, body) = self.http.send(request).await.unwrap().into_parts();
        assert_eq!(head.status, http::StatusCode::OK);
        let media_type = head.headers["content-type"].to_str().unwrap().to_owned();
        (media_type, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn stop(self) {
        self.gateway.stop().await;
        self.simulator.stop().await;
    }
}

/// A Prometheus that scrapes the gateway every second.
struct Prometheus {
    url: String,
    http: Client,
    _process: Child,
}

impl Prometheus {
    /// `None` if the machine has none.
    async fn start(world: &World, rules: &Path) -> Option<Self> {
        let admin = world.gateway.admin().unwrap().to_string();
        let target = admin.trim_start_matches("http://");
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{rules:?}]\n\
             scrape_configs:\n- job_name: guest-gateway\n  authorization: {{credentials: {TOKEN:?}}}\n  \
             static_configs: [{{targets: [{target:?}]}}]\n"
        );
        let file = world.folder.path().join("prometheus.yml");
        fs::write(&file, config).unwrap();
        let data = world.folder.path().join("data");
        let mut process = tokio::process::Command::new(PROMETHEUS.program)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .ok()?;
        let mut lines = BufReader::new(process.stderr.take()?).lines();
        let listening = async {
            loop {
                let line = lines.next_line().await.unwrap().expect("Prometheus has started");
                let address = line
                    .split_once("msg=\"Listening on\" address=")
                    .map(|(_, address)| address);
                if let Some(address) = address {
                    break address.trim().to_owned();
                }
            }
        };
        let address = tokio::time::timeout(TIMEOUT, listening).await.unwrap();
        // a full pipe would stop it
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Some(Self {
            url: format!("http://{address}"),
            http: world.http.clone(),
            _process: process,
        })
    }

    async fn fetch(&self, path: &str) -> Value {
        let request = http::Request::get(format!("{}{path}", self.url))
            .body(Bytes::new())
            .unwrap();
        let (head, body) = self.http.send(request).await.unwrap().into_parts();
        let text = str::from_utf8(&body).unwrap();
        assert!(head.status.is_success(), "{path}: {text}");
        serde_json::from_str(text).unwrap()
    }

    /// Returns the number of series that a query yields. An invalid query panics.
    async fn series(&self, query: &str) -> usize {
        let query: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
        let answer = self.fetch(&format!("/api/v1/query?query={query}")).await;
        answer["data"]["result"].as_array().unwrap().len()
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every query of the dashboard.
fn dashboard() -> Vec<String> {
    let file = repository().join("deploy/grafana/guest-gateway.json");
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    targets
        .map(|target| target["expr"].as_str().unwrap().to_owned())
        .collect()
}

/// The metrics that a query names.
fn names(query: &str) -> BTreeSet<&str> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let prefixes = ["guest_", "process_", "tutorial_"];
    words
        .filter(|word| prefixes.iter().any(|prefix| word.starts_with(prefix)))
        .collect()
}

fn promtool(arguments: &[&str], input: &str, folder: &Path) -> Option<Output> {
    let file = folder.join("input");
    fs::write(&file, input).unwrap();
    let mut promtool = Command::new("promtool");
    promtool.args(arguments).stdin(fs::File::open(file).unwrap());
    promtool.output().ok()
}

#[tokio::test]
async fn every_query_of_dashboard_and_rules_finds_series() {
    let world = World::start().await;
    let rules = repository()
        .join("deploy/prometheus/alerts.yml")
        .canonicalize()
        .unwrap();
    let Some(prometheus) = Prometheus::start(&world, &rules).await else {
        return leave_out("queries of dashboard and rules", PROMETHEUS);
    };
    let suite = world.suite();
    let subscription = Subscription {
        name: "crm".parse().unwrap(),
        target: "http://127.0.0.1:9/crm".parse().unwrap(),
        enabled: true,
        ordered: false,
        events: EventName::ALL.into_iter().collect(),
        conditions: Conditions::default(),
        fields: BTreeMap::new(),
        headers: CustomHeaders::parse([]).unwrap(),
        signature: SignatureVersion::V1,
    };
    suite.ensure_webhook(&subscription).await.unwrap();
    world.visit(&suite).await;

    let answer = prometheus.fetch("/api/v1/rules").await;
    let rules = answer["data"]["groups"][0]["rules"].as_array().unwrap();
    assert!(rules.len() >= 10, "{answer}");
    let mut queries = dashboard();
    assert!(queries.len() >= 20);
    for rule in rules {
        let runbook = rule["annotations"]["runbook"].as_str().unwrap();
        let page = fs::read_to_string(repository().join(runbook)).unwrap();
        let alert = rule["name"].as_str().unwrap();
        assert!(page.starts_with(&format!("# {alert}\n")), "{runbook}");
        let query = rule["query"].as_str().unwrap();
        prometheus.series(query).await;
        queries.extend(names(query).into_iter().map(str::to_owned));
    }
    // a rate needs two scrapes
    let found = async {
        for query in &queries {
            while prometheus.series(query).await == 0 {
                world.visit(&suite).await;
            }
        }
    };
    let waited = tokio::time::timeout(TIMEOUT, found).await;
    if waited.is_err() {
        for query in &queries {
            assert_ne!(prometheus.series(query).await, 0, "{query}");
        }
    }
    world.stop().await;
}

#[tokio::test]
async fn promtool_accepts_page_and_rules() {
    let world = World::start().await;
    let suite = world.suite();
    world.visit(&suite).await;
    let (media_type, page) = world.page("text/plain").await;
    assert!(
        media_type.starts_with("text/plain; version=0.0.4"),
        "{media_type}"
    );
    let Some(checked) = promtool(&["check", "metrics"], &page, world.folder.path()) else {
        return leave_out("promtool", PROMETHEUS);
    };
    let violations = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{violations}\n{page}");
    assert_eq!(violations, "");
    let rules = repository().join("deploy/prometheus/alerts.yml");
    let tests = repository().join("deploy/prometheus/alerts.test.yml");
    for (command, file) in [("check", &rules), ("test", &tests)] {
        let arguments = [command, "rules", file.to_str().unwrap()];
        let checked = promtool(&arguments, "", world.folder.path()).unwrap();
        let violations = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{violations}");
    }
    let tests = fs::read_to_string(tests).unwrap();
    for rule in fs::read_to_string(rules).unwrap().split("- alert: ").skip(1) {
        let (alert, _) = rule.split_once('\n').unwrap();
        let cases = tests
            .split("- alertname: ")
            .filter(|case| case.starts_with(&format!("{alert}\n")));
        assert_eq!(
            cases.filter(|case| case.contains("exp_alerts")).count(),
            1,
            "{alert}"
        );
    }
    world.stop().await;
}

#[tokio::test]
async fn webhook_that_its_receiver_disabled_is_shown_apart_from_a_paused_one() {
    let world = World::start().await;
    let (crm, suite) = (Crm::start(world.clock()).await, world.suite());
    suite.ensure_webhook(&crm.subscription("/sync")).await.unwrap();
    let paused = Subscription {
        name: "paused".parse().unwrap(),
        enabled: false,
        ..crm.subscription("/sync")
    };
    suite.ensure_webhook(&paused).await.unwrap();
    crm.respond_with(&[410]);
    world.visit(&suite).await;
    let disabled = async || {
        let (_, page) = world.page("").await;
        let lines = page
            .lines()
            .filter(|line| line.starts_with("guest_webhook_disabled{"));
        let values = lines.filter_map(|line| line.rsplit_once(' '));
        let mut values: Vec<_> = values.map(|(_, value)| value.to_owned()).collect();
        values.sort();
        values
    };
    let shown = async {
        while disabled().await != ["0.0", "1.0"] {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(TIMEOUT, shown).await.unwrap();
    world.stop().await;
}

/// The counters of a page that a store keeps: those of sessions, without refreshes and deliveries.
fn stored_counters(page: &str) -> Vec<(&str, f64)> {
    let lines = page.lines().filter(|line| line.starts_with("guest_sessions_"));
    let samples = lines.filter_map(|line| line.rsplit_once(' '));
    samples
        .filter(|(name, _)| !name.contains("refresh") && !name.contains("delivery"))
        .filter(|(name, _)| {
            ["_total", "_bucket", "_count", "_sum"]
                .iter()
                .any(|end| name.contains(end))
        })
        .map(|(name, value)| (name, value.parse().unwrap()))
        .collect()
}

#[tokio::test]
async fn counters_do_not_fall_after_erasure_and_restart() {
    let world = World::start().await;
    let suite = world.suite();
    for _ in 0..5 {
        world.visit(&suite).await;
    }
    let (media_type, page) = world.page("application/openmetrics-text;version=1.0.0").await;
    assert!(
        media_type.starts_with("application/openmetrics-text"),
        "{media_type}"
    );
    assert!(page.ends_with("# EOF\n"));
    let (_, before) = world.page("").await;
    assert!(before.contains("\nguest_sessions_created_total 5\n"), "{before}");
    world.clock().advance(Duration::from_secs(31 * 86_400));
    let erased = async {
        while world.gateway.store().stats().await.unwrap().oldest_end.is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(TIMEOUT, erased).await.unwrap();
    let World {
        folder,
        simulator,
        gateway,
        toml,
        http,
    } = world;
    gateway.stop().await;
    let gateway = Gateway::start(Config::parse(&toml).unwrap(), simulator.clock().clone())
        .await
        .unwrap();
    let world = World {
        folder,
        simulator,
        gateway,
        toml,
        http,
    };
    world.visit(&world.suite()).await;
    let (_, after) = world.page("").await;
    let after: BTreeMap<_, _> = stored_counters(&after).into_iter().collect();
    let before = stored_counters(&before);
    assert!(before.len() > 100, "{before:?}");
    for (name, value) in before {
        assert!(
            after[name] >= value,
            "{name} fell from {value} to {}",
            after[name]
        );
    }
    assert_eq!(after["guest_sessions_created_total"], 6.0);
    world.stop().await;
}
