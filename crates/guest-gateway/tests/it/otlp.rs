//! Spans and metrics at a collector, and a collector that does not answer.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::Stdio;

use bytes::Bytes;
use genesys_api::Clock;
use genesys_auth::Credentials;
use genesys_http::server::{Limits, Server};
use genesys_http::{Client, Tls};
use guest_payload::{Choice, Consent, Evidence, NewGuest};
use guest_suite::transport::OriginPolicy;
use guest_suite::{GuestSessions, RemoteConfig};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message as _;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use webhook::{Conditions, CustomHeaders, EventName, SignatureVersion, Subscription};

const ORIGIN: &str = "https://shop.example";
/// Values that may be at no collector.
const CANARIES: [&str; 4] = [
    "canary-message",
    "canary-attribute",
    "canary-secret",
    "canary-guest",
];

type Received = watch::Receiver<Vec<(String, HeaderMap, Bytes)>>;

/// A server that records requests and answers 200: the collector and the receiver of webhooks.
async fn recorder() -> (SocketAddr, Received) {
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), None, Limits::default())
        .await
        .unwrap();
    let address = server.local_addr();
    let (sender, received) = watch::channel(Vec::new());
    let service = service_fn(move |request: Request<Incoming>| {
        let sender = sender.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let path = head.uri.path().to_owned();
            sender.send_modify(|received| received.push((path, head.headers, body)));
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    tokio::spawn(server.serve(service, std::future::pending()));
    (address, received)
}

/// `serve` with the simulator, and this collector. Returns the base URL of the gateway.
async fn serve(folder: &TempDir, collector: &str, drain: &str) -> (Child, String) {
    let config = folder.path().join("gateway.toml");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let toml = format!(
        "[listen]\naddress = \"127.0.0.1:0\"\ndrain = {drain:?}\n[store]\npath = {:?}\nkeys = {:?}\n[genesys]\nsimulator = true\n\
         [sessions]\nallowed_origins = [{ORIGIN:?}]\n[webhooks]\nallow_networks = [\"127.0.0.0/8\"]\n\
         [[client]]\nid = \"app\"\nsecret = \"canary-secret-of-app\"\n\
         scopes = [\"webmessaging:guest\", \"webmessaging:guest:write\", \"webhooks:readwrite\"]\n[[channel]]\nid = \"web\"\n",
        path("gateway.db"),
        path("gateway.keys"),
    );
    std::fs::write(&config, toml).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_guest-gateway"))
        .args(["serve", "--json", "--config"])
        .arg(config)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector)
        .env(
            "OTEL_EXPORTER_OTLP_HEADERS",
            "x-key=canary-secret%20of%20the%20collector",
        )
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = out.next_line().await.unwrap().expect("it starts");
    let ready: serde_json::Value = serde_json::from_str(&ready).unwrap();
    (child, ready["http"].as_str().unwrap().to_owned())
}

/// Stops a gateway as systemd does, and returns its log.
async fn stop(child: Child) -> String {
    let id = i32::try_from(child.id().unwrap()).unwrap();
    kill(Pid::from_raw(id), Signal::SIGTERM).unwrap();
    let ended = child.wait_with_output().await.unwrap();
    let log = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.success(), "{log}");
    log
}

fn suite(url: &str) -> GuestSessions {
    GuestSessions::remote(RemoteConfig {
        http: Client::builder(Tls::system().unwrap()).build(),
        host: url.parse().unwrap(),
        credentials: Credentials::new("app".parse().unwrap(), "canary-secret-of-app".into()).unwrap(),
    })
}

fn guest() -> NewGuest {
    let consent = Consent::together([Choice::Granted; 3], Evidence::at(Clock::system().now().utc));
    let mut guest = NewGuest::new("web".parse().unwrap(), "EU".parse().unwrap(), consent);
    guest.guest = Some("canary-guest".parse().unwrap());
    guest.attributes.insert("source", "canary-attribute").unwrap();
    guest
}

#[tokio::test]
async fn collector_gets_spans_and_metrics_without_personal_data() {
    let (folder, (collector, exported), (crm, mut delivered)) =
        (tempfile::tempdir().unwrap(), recorder().await, recorder().await);
    let (child, url) = serve(&folder, &format!("http://{collector}"), "60s").await;
    let suite = suite(&url);
    let webhook = Subscription {
        name: "crm".parse().unwrap(),
        target: format!("http://{crm}/sync").parse().unwrap(),
        enabled: true,
        events: [EventName::Created].into(),
        conditions: Conditions::default(),
        fields: BTreeMap::new(),
        headers: CustomHeaders::default(),
        signature: SignatureVersion::V1,
        ordered: false,
    };
    suite.ensure_webhook(&webhook).await.unwrap();
    let mut session = suite.create(guest()).await.unwrap();
    let id = session.id().to_string();
    let origin: guest_suite::transport::Origin = ORIGIN.parse().unwrap();
    let origin = OriginPolicy::new([ORIGIN]).unwrap().admit_own(&origin).unwrap();
    session.connect(origin).await.unwrap();
    session.send("canary-message").unwrap();
    while !matches!(
        session.next_event().await.unwrap(),
        guest_suite::conversation::Event::Message(_)
    ) {}
    session.end().await.unwrap();
    delivered.wait_for(|received| !received.is_empty()).await.unwrap();
    let log = stop(child).await;
    assert!(!log.contains("cannot export"), "{log}");

    let exported = exported.borrow().clone();
    let (mut spans, mut metrics) = (BTreeSet::new(), BTreeSet::new());
    let mut pseudonyms = BTreeSet::new();
    for (path, headers, body) in exported {
        assert_eq!(headers["content-type"], "application/x-protobuf");
        assert_eq!(headers["x-key"], "canary-secret of the collector");
        let text = match &*path {
            "/v1/traces" => {
                let request = ExportTraceServiceRequest::decode(body).unwrap();
                let text = format!("{request:?}");
                let scopes = request
                    .resource_spans
                    .into_iter()
                    .flat_map(|spans| spans.scope_spans);
                for span in scopes.flat_map(|scope| scope.spans) {
                    assert!(span.end_time_unix_nano >= span.start_time_unix_nano && span.events.is_empty());
                    for attribute in &span.attributes {
                        if let ("session", Some(Value::StringValue(session))) =
                            (&*attribute.key, attribute.value.clone().unwrap().value)
                        {
                            pseudonyms.insert(session);
                        }
                    }
                    spans.insert(span.name);
                }
                text
            }
            "/v1/metrics" => {
                let request = ExportMetricsServiceRequest::decode(body).unwrap();
                let text = format!("{request:?}");
                let scopes = request
                    .resource_metrics
                    .into_iter()
                    .flat_map(|metrics| metrics.scope_metrics);
                metrics.extend(scopes.flat_map(|scope| scope.metrics).map(|metric| metric.name));
                text
            }
            _ => panic!("{path}"),
        };
        assert!(text.contains("guest-gateway"), "the name of the service: {text}");
        for secret in CANARIES.iter().copied().chain([&*id, "127.0.0.1"]) {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
    for name in [
        "POST /api/v2/webmessaging/guest-sessions",
        "conversation",
        "delivery",
    ] {
        assert!(spans.contains(name), "{name}: {spans:?}");
    }
    for name in [
        "guest_sessions_created",
        "guest_gateway_http_request_duration_seconds",
        "guest_store_up",
    ] {
        assert!(metrics.contains(name), "{name}: {metrics:?}");
    }
    assert_eq!(pseudonyms.len(), 1, "all of one session: {pseudonyms:?}");
    assert!(
        log.contains(&**pseudonyms.first().unwrap()),
        "the log has the same pseudonym: {log}"
    );
}

#[tokio::test]
async fn unreachable_collector_costs_spans_and_no_request() {
    // it accepts and never answers
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let collector = format!("http://{}", silent.local_addr().unwrap());
    let (child, url) = serve(&folder, &collector, "1s").await;
    let suite = suite(&url);
    suite.create(guest()).await.unwrap().end().await.unwrap();
    let log = stop(child).await;
    assert!(log.contains("the last spans and metrics are lost"), "{log}");
    assert!(log.contains("stopped"), "{log}");
}
