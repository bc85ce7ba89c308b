//! CPU time of the creation of a guest session over TLS, 64 at once on connections that stay open: of the gateway and of
//! the client. Both stand beside bare hyper in the same run.
//!
//! CPU is what the scheduler counted for all threads of a process, user and system. Rounds are interleaved, and of
//! each figure the median is printed.
//!
//! ```sh
//! cargo bench -p end-to-end --bench session_creation
//! # beside the gateway of another revision
//! GUEST_GATEWAY_BEFORE=../before/target/release/guest-gateway cargo bench -p end-to-end --bench session_creation
//! ```
#![expect(clippy::print_stdout, reason = "a bench prints its figures on stdout")]

mod bare;
mod cpu;
mod gateway;
mod process;

use std::fs;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use genesys_api::{Clock, Host, rfc3339};
use genesys_http::{Client, Tls};
use genesys_sim::{LOOPBACK, Pki, throwaway_ca};
use guest_suite::GuestSessions;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use self::bare::{CERTIFICATE, KEY, SESSION, Sender};
use self::cpu::{Row, cpu_per_request};
use self::gateway::{CHANNEL, CLIENT, Gateway, guest, suite};
use self::process::{Outcome, Process};

/// Requests at once.
const AT_ONCE: usize = 64;
/// Requests of one round, shared by the 64 connections.
const BARE_REQUESTS: usize = 300 * AT_ONCE;
const GATEWAY_REQUESTS: usize = 40 * AT_ONCE;
/// Rounds that are counted, after one that is not.
const ROUNDS: usize = 5;
/// The argument that makes this program the bare server.
const SERVER: &str = "bare-server";

const SESSIONS: &str = "/api/v2/webmessaging/guest-sessions";

fn main() -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [SERVER, folder] => bare::serve(&runtime, Path::new(folder)),
        _ => bench(&runtime),
    }
}

fn bench(runtime: &Runtime) -> Outcome<()> {
    let pki = throwaway_ca(&LOOPBACK)?;
    // creating a session needs no Genesys, so there is no listener
    let genesys = "https://127.0.0.1:9".parse()?;
    let deployment = "00000000-0000-0000-0000-000000000000".parse()?;
    let gateway = Gateway::start(&pki, &genesys, &deployment)?;
    let mut earlier = match Gateway::start_earlier(&pki, &genesys, &deployment)? {
        Some(gateway) => {
            let load = Load::prepare(runtime, &gateway.host, &pki)?;
            let senders = runtime.block_on(connect_all(&gateway.host, &pki))?;
            Some((gateway, load, senders))
        }
        None => None,
    };
    let load = Load::prepare(runtime, &gateway.host, &pki)?;
    let mut bare = BareServer::start(&pki, &load.answer)?;
    let (own, server, real) = (std::process::id(), bare.process.id(), gateway.process.id());

    let mut to_bare = runtime.block_on(connect_all(&bare.host, &pki))?;
    let mut to_gateway = runtime.block_on(connect_all(&gateway.host, &pki))?;
    let http = Client::builder(Tls::only_ca(pki.ca_pem.as_bytes())?).build();
    let remote = suite(&bare.host, &pki)?;
    let mut rows = vec![
        Row::new("server: bare hyper"),
        Row::new("server: guest-gateway, SQLite on disk"),
        Row::new("client: bare hyper"),
        Row::new("client: genesys-http"),
        Row::new("client: guest-suite, remote mode"),
    ];
    if earlier.is_some() {
        rows.push(Row::new("server: guest-gateway, other revision"));
    }
    let mut opened = 0;
    for round in 0..=ROUNDS {
        if round == 1 {
            rows.iter_mut().for_each(|row| row.rounds.clear());
            opened = bare.connections()?;
        }
        let [client, served] = cpu_per_request(BARE_REQUESTS, [own, server], || {
            runtime.block_on(over_open_connections(&mut to_bare, BARE_REQUESTS, &load))
        })?;
        rows[0].rounds.push(served);
        rows[2].rounds.push(client);
        let [served] = cpu_per_request(GATEWAY_REQUESTS, [real], || {
            runtime.block_on(over_open_connections(&mut to_gateway, GATEWAY_REQUESTS, &load))
        })?;
        rows[1].rounds.push(served);
        if let Some((gateway, load, senders)) = &mut earlier {
            let [served] = cpu_per_request(GATEWAY_REQUESTS, [gateway.process.id()], || {
                runtime.block_on(over_open_connections(senders, GATEWAY_REQUESTS, load))
            })?;
            rows[5].rounds.push(served);
        }
        let [client] = cpu_per_request(BARE_REQUESTS, [own], || {
            runtime.block_on(over_http_client(&http, &bare.host, &load))
        })?;
        rows[3].rounds.push(client);
        let [client] = cpu_per_request(BARE_REQUESTS, [own], || runtime.block_on(over_suite(&remote)))?;
        rows[4].rounds.push(client);
    }
    opened = bare.connections()? - opened;

    println!("CPU per guest session created over TLS, {AT_ONCE} at once; medians of {ROUNDS} rounds:\n");
    println!("{:40}{:>12}{:>16}{:>10}", "", "median", "from to", "ratio");
    let baselines = [rows[0].median(), rows[2].median()];
    for (at, row) in rows.iter().enumerate() {
        row.report(baselines[usize::from((2..5).contains(&at))]);
    }
    println!("\nconnections that our clients opened in these rounds: {opened}");
    Ok(())
}

/// The request of every client, and its reply.
struct Load {
    bearer: HeaderValue,
    body: Bytes,
    answer: Bytes,
}

impl Load {
    fn prepare(runtime: &Runtime, gateway: &Host, pki: &Pki) -> Outcome<Self> {
        let now = rfc3339(Clock::system().now().utc);
        let body = json!({
            "channelConfigurationId": CHANNEL,
            "guestAttributes": { "region": "EU", "source": "web" },
            "consent": { "marketing": true, "personalization": true, "analytics": true, "consentTimestamp": now },
        });
        let body = Bytes::from(body.to_string());
        runtime.block_on(async {
            let mut sender = bare::connect(gateway, &pki.ca_pem).await?;
            let bearer = token(gateway, pki).await?;
            let answer = bare::post(&mut sender, SESSIONS, &bearer, body.clone()).await?;
            if answer.status() != StatusCode::CREATED {
                return Err(format!("no session: {answer:?}").into());
            }
            Ok(Self {
                bearer,
                body,
                answer: answer.into_body(),
            })
        })
    }
}

async fn token(gateway: &Host, pki: &Pki) -> Outcome<HeaderValue> {
    let (id, secret) = CLIENT;
    let form = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
    let request = Request::post(format!("{gateway}/oauth/token"))
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Bytes::from(form))?;
    let http = Client::builder(Tls::only_ca(pki.ca_pem.as_bytes())?).build();
    let answer: Value = serde_json::from_slice(http.send(request).await?.body())?;
    let token = answer["access_token"].as_str().ok_or("no token")?;
    Ok(format!("Bearer {token}").parse()?)
}

/// The baseline, in a process of its own.
struct BareServer {
    process: Process,
    host: Host,
    _folder: TempDir,
}

impl BareServer {
    fn start(pki: &Pki, session: &[u8]) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join(CERTIFICATE), &pki.cert_pem)?;
        fs::write(folder.path().join(KEY), pki.key_pem.expose_secret())?;
        fs::write(folder.path().join(SESSION), session)?;
        let mut command = Command::new(std::env::current_exe()?);
        let mut process = Process::start(command.arg(SERVER).arg(folder.path()))?;
        Ok(Self {
            host: format!("https://{}", process.line()?).parse()?,
            process,
            _folder: folder,
        })
    }

    /// Number of accepted requests.
    fn connections(&mut self) -> Outcome<usize> {
        Ok(self.process.ask("connections")?.parse()?)
    }
}

async fn connect_all(host: &Host, pki: &Pki) -> Outcome<Vec<Sender>> {
    let mut senders = Vec::new();
    for _ in 0..AT_ONCE {
        senders.push(bare::connect(host, &pki.ca_pem).await?);
    }
    Ok(senders)
}

/// `count` requests over connections that are open.
async fn over_open_connections(senders: &mut Vec<Sender>, count: usize, load: &Load) -> Outcome<()> {
    let mut requests = JoinSet::new();
    for mut sender in senders.drain(..) {
        let (bearer, body) = (load.bearer.clone(), load.body.clone());
        requests.spawn(async move {
            for _ in 0..count / AT_ONCE {
                let answer = bare::post(&mut sender, SESSIONS, &bearer, body.clone()).await?;
                created(answer.status())?;
            }
            Outcome::Ok(sender)
        });
    }
    while let Some(sender) = requests.join_next().await {
        senders.push(sender??);
    }
    Ok(())
}

async fn over_http_client(http: &Client, host: &Host, load: &Load) -> Outcome<()> {
    let uri: http::Uri = format!("{host}{SESSIONS}").parse()?;
    let mut requests = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (http, uri, bearer, body) = (http.clone(), uri.clone(), load.bearer.clone(), load.body.clone());
        requests.spawn(async move {
            for _ in 0..BARE_REQUESTS / AT_ONCE {
                let mut request = Request::new(body.clone());
                *request.method_mut() = Method::POST;
                *request.uri_mut() = uri.clone();
                let headers = request.headers_mut();
                headers.insert(AUTHORIZATION, bearer.clone());
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                created(http.send(request).await?.status())?;
            }
            Outcome::Ok(())
        });
    }
    finished(requests).await
}

async fn over_suite(suite: &GuestSessions) -> Outcome<()> {
    let guest = guest()?;
    let mut requests = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (suite, guest) = (suite.clone(), guest.clone());
        requests.spawn(async move {
            for _ in 0..BARE_REQUESTS / AT_ONCE {
                suite.create(guest.clone()).await?;
            }
            Outcome::Ok(())
        });
    }
    finished(requests).await
}

async fn finished(mut requests: JoinSet<Outcome<()>>) -> Outcome<()> {
    while let Some(done) = requests.join_next().await {
        done??;
    }
    Ok(())
}

fn created(status: StatusCode) -> Outcome<()> {
    if status == StatusCode::CREATED {
        Ok(())
    } else {
        Err(format!("answered with {status}").into())
    }
}
