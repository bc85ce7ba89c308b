//! Latency of the sessions of one API client beside another one at its limit, and beside hostile clients, in ratio to the
//! latency without them. Every answer is checked.
//!
//! Gateway and clients share this process. Rounds alone and beside others alternate, and of each figure the median is printed.
//!
//! ```sh
//! cargo bench -p end-to-end --bench neighbors
//! ```
#![expect(clippy::print_stdout, reason = "a bench prints its figures on stdout")]
#![expect(
    clippy::disallowed_methods,
    reason = "a bench measures real time, and sends at fixed times of it"
)]

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use genesys_api::Clock;
use genesys_http::{Client, Tls};
use guest_gateway::Gateway;
use guest_gateway::config::Config;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Rounds that are counted, after one that is not.
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(10);
/// Measured requests of a round.
const REQUESTS: usize = 500;
/// The limit of each API client, of which the other one sends twice as many requests.
const PER_MINUTE: usize = 3_000;
const UNLIMITED: usize = 1_000_000;
/// Slow connections, each of which sends a byte of its request in a second.
const SLOW: usize = 1_000;
/// Malformed requests of a round, and as many random bodies: over 10,000 of each in all.
const MALFORMED: usize = 1_500;
const SESSIONS: &str = "/api/v2/webmessaging/guest-sessions";
const SECRET: &str = "bench-secret-that-is-thrown-away";

#[tokio::main]
async fn main() -> Outcome<()> {
    println!("creation of a session, {REQUESTS} in {ROUND:?}; medians of {ROUNDS} rounds:\n");
    println!(
        "{:28}{:>12}{:>12}{:>8}{:>16}",
        "", "p99 alone", "p99 beside", "ratio", "from to"
    );
    for others in [Others::TenantAtItsLimit, Others::HostileClients] {
        let gateway = Running::start(match others {
            Others::TenantAtItsLimit => PER_MINUTE,
            Others::HostileClients => UNLIMITED,
        });
        let gateway = gateway.await?;
        let (mut alone, mut beside, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let without = gateway.p99().await?;
            let with = match others {
                Others::TenantAtItsLimit => gateway.p99_beside_tenant().await?,
                Others::HostileClients => gateway.p99_beside_hostile_clients().await?,
            };
            if round > 0 {
                alone.push(without);
                beside.push(with);
                ratios.push(with / without);
            }
        }
        for figures in [&mut alone, &mut beside, &mut ratios] {
            figures.sort_by(f64::total_cmp);
        }
        println!(
            "{:28}{:>9.2} ms{:>9.2} ms{:>8.2}{:>8.2}{:>8.2}",
            format!("{others:?}"),
            alone[ROUNDS / 2],
            beside[ROUNDS / 2],
            ratios[ROUNDS / 2],
            ratios[0],
            ratios[ROUNDS - 1]
        );
        gateway.gateway.stop().await;
    }
    Ok(())
}

#[derive(Clone, Copy, Debug)]
enum Others {
    TenantAtItsLimit,
    HostileClients,
}

struct Running {
    gateway: Gateway,
    http: Client,
    /// A creation of the measured client, and one of the other client.
    measured: Request<Bytes>,
    other: Request<Bytes>,
    _folder: tempfile::TempDir,
}

impl Running {
    async fn start(per_minute: usize) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name).display().to_string();
        let client = |id: &str| {
            format!("[[client]]\nid = {id:?}\nsecret = {SECRET:?}\nscopes = [\"webmessaging:guest:write\"]\n")
        };
        // creating a session needs no Genesys
        let config = Config::parse(&format!(
            "[listen]\naddress = \"127.0.0.1:0\"\nrequests_per_minute = {per_minute}\n\
             connections_per_address = 16_000\n\
             [store]\npath = {:?}\nkeys = {:?}\n[genesys]\nhost = \"http://127.0.0.1:9\"\n\
             [sessions]\nallowed_origins = [\"https://shop.example\"]\nlimit = 1_000_000\n{}{}\
             [[channel]]\nid = \"web\"\ndeployment = \"7d1f0c3e-8f0e-4e0c-9a37-3f1f2f6b1c11\"\n",
            path("gateway.db"),
            path("gateway.keys"),
            client("measured"),
            client("other"),
        ))?;
        let gateway = Gateway::start(config, Clock::system()).await?;
        let http = Client::builder(Tls::system()?).build();
        let mut creations = Vec::new();
        for id in ["measured", "other"] {
            let form = format!("grant_type=client_credentials&client_id={id}&client_secret={SECRET}");
            let request = Request::post(format!("{}/oauth/token", gateway.host()))
                .header("content-type", "application/x-www-form-urlencoded")
                .body(Bytes::from(form))?;
            let answer: Value = serde_json::from_slice(http.send(request).await?.body())?;
            let token = answer["access_token"].as_str().ok_or("no token")?;
            let guest = json!({
                "channelConfigurationId": "web",
                "guestAttributes": { "region": "EU", "source": "web" },
                "consent": { "marketing": true, "personalization": true, "analytics": true },
            });
            creations.push(
                Request::post(format!("{}{SESSIONS}", gateway.host()))
                    .header("authorization", format!("Bearer {token}"))
                    .header("content-type", "application/json")
                    .body(Bytes::from(guest.to_string()))?,
            );
        }
        let [measured, other] = creations.try_into().map_err(|_| "two clients")?;
        Ok(Self {
            gateway,
            http,
            measured,
            other,
            _folder: folder,
        })
    }

    /// Sends a round of the measured client. Returns its p99 in ms, in which each latency begins when the request is due.
    async fn p99(&self) -> Outcome<f64> {
        let answers = send_in_a_round(REQUESTS, |due| {
            let (http, request) = (self.http.clone(), self.measured.clone());
            async move { Ok((http.send(request).await?.status(), due.elapsed())) }
        });
        let mut latencies = Vec::new();
        for (status, latency) in answers.await? {
            expect(status, &[StatusCode::CREATED])?;
            latencies.push(latency.as_secs_f64() * 1_000.0);
        }
        latencies.sort_by(f64::total_cmp);
        Ok(latencies[latencies.len() * 99 / 100])
    }

    async fn p99_beside_tenant(&self) -> Outcome<f64> {
        let create = |_| {
            let (http, request) = (self.http.clone(), self.other.clone());
            async move { Ok(http.send(request).await?.status()) }
        };
        // the requests that it may send at once
        while create(Instant::now()).await? != StatusCode::TOO_MANY_REQUESTS {}
        let sent = 2 * PER_MINUTE * ROUND.as_secs() as usize / 60;
        let (p99, answers) = tokio::join!(self.p99(), send_in_a_round(sent, create));
        let answers = answers?;
        for status in &answers {
            expect(*status, &[StatusCode::CREATED, StatusCode::TOO_MANY_REQUESTS])?;
        }
        let limited = answers.iter().filter(|status| status.is_client_error()).count();
        if !(sent * 4 / 10..sent * 6 / 10).contains(&limited) {
            return Err(format!("{limited} of {sent} requests were limited: expected half of them").into());
        }
        p99
    }

    async fn p99_beside_hostile_clients(&self) -> Outcome<f64> {
        let address = self.gateway.address();
        let mut slow = JoinSet::new();
        for _ in 0..SLOW {
            slow.spawn(send_slowly(address));
        }
        let attacks = send_in_a_round(MALFORMED, |_| {
            let (http, mut request) = (self.http.clone(), self.other.clone());
            *request.body_mut() = (0..fastrand::usize(..300)).map(|_| fastrand::u8(..)).collect();
            async move {
                let malformed = send_malformed(address).await?;
                Ok([malformed, http.send(request).await?.status()])
            }
        });
        let (p99, answers) = tokio::join!(self.p99(), attacks);
        for status in answers?.into_iter().flatten() {
            expect(status, &[StatusCode::BAD_REQUEST])?;
        }
        match slow.try_join_next() {
            Some(ended) => Err(format!("a slow client ended: {ended:?}").into()),
            None => p99,
        }
    }
}

fn expect(status: StatusCode, expected: &[StatusCode]) -> Outcome<()> {
    match expected.contains(&status) {
        true => Ok(()),
        false => Err(format!("answered {status}: expected one of {expected:?}").into()),
    }
}

/// Sends `count` requests at equal intervals of a round, whether or not those before are answered.
async fn send_in_a_round<T, F>(count: usize, mut send: impl FnMut(Instant) -> F) -> Outcome<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = Outcome<T>> + Send + 'static,
{
    let mut due = interval(ROUND.div_f64(count as f64));
    let mut running = JoinSet::new();
    for _ in 0..count {
        running.spawn(send(due.tick().await));
    }
    running.join_all().await.into_iter().collect()
}

/// Sends the head of a request by one byte in a second, and again on a new connection when the gateway closes it.
async fn send_slowly(address: SocketAddr) -> io::Result<()> {
    loop {
        let mut stream = TcpStream::connect(address).await?;
        for byte in head().into_bytes() {
            sleep(Duration::from_secs(1)).await;
            if stream.write_all(&[byte]).await.is_err() {
                break;
            }
        }
    }
}

/// Sends a head with a control character at a random place.
async fn send_malformed(address: SocketAddr) -> Outcome<StatusCode> {
    let mut head = head().into_bytes();
    let place = fastrand::usize(..head.len() - "\r\n\r\n".len());
    head[place] = fastrand::u8(..b'\t');
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&head).await?;
    let mut answer = [0; "HTTP/1.1 400".len()];
    stream.read_exact(&mut answer).await?;
    Ok(StatusCode::from_bytes(&answer["HTTP/1.1 ".len()..])?)
}

fn head() -> String {
    format!("POST {SESSIONS} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n")
}
