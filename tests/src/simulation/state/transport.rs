//! The network between the guest and the cloud, and the guest's driver.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use bytes::Bytes;
use genesys_api::{Call, Host};
use genesys_sim::{Output, SocketId};
use guest_conversation::{Command, HistoryFailure, Job, JobOutcome, Machine as _};
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response};
use secrecy::ExposeSecret;
use web_messaging::rest::history::{History, HistoryPage};
use ws_transport::{AdmittedOrigin, CloseInfo, SocketUrl, Transmit};

use super::Simulation;
use crate::simulation::network::{Direction, Network};
use crate::simulation::plan::Break;

/// Time after which the cloud detects that a silent guest has closed.
const SILENCE_DETECTED: Duration = Duration::from_secs(90);
/// Longest delay of a frame whose connection has closed.
const MAX_DELAY: Duration = Duration::from_secs(2);
/// Time after which a caller detects a lost call.
const CALL_LOST: Duration = Duration::from_secs(10);

/// Packets in transit, and the guest's connection.
pub(super) struct Transport {
    network: Network<Packet>,
    latency: RangeInclusive<u64>,
    url: SocketUrl,
    origin: AdmittedOrigin,
    host: Host,
    link: Option<Link>,
    links: u32,
    /// The cloud's ends that are open in its view, by connection.
    sockets: BTreeMap<u32, SocketId>,
    /// Ends that answer no pings until a time of the cloud's clock.
    unresponsive: BTreeMap<u32, Option<Instant>>,
    reads: u32,
}

/// A connection, as the guest has it.
struct Link {
    id: u32,
    up: Direction,
    down: Direction,
    /// Whether frames of the guest arrive.
    sends: bool,
    /// Whether frames of the cloud arrive.
    receives: bool,
}

enum Packet {
    HandshakeReply(u32, Result<(), Refusal>),
    CloseDetected(u32),
    Connect(u32, Box<Request<()>>),
    Read(u32, Box<History>),
    ReadReply(u32, Box<Result<HistoryPage, HistoryFailure>>),
    ToCloud(u32, String),
    Ping(u32),
    ToGuest(u32, ToGuest),
}

struct Refusal {
    status: u16,
    retry_after: Option<Duration>,
}

enum ToGuest {
    Close(u16),
    /// By the cloud, without a close frame.
    Dropped,
    Frame(String),
    /// By the network: the guest is always notified.
    Reset,
    Pong,
}

impl Transport {
    pub(super) fn new(host: &Host, origin: AdmittedOrigin, latency: RangeInclusive<u64>) -> Self {
        Self {
            network: Network::new(),
            latency,
            url: SocketUrl::of_host(host, "/v1").expect("a URL"),
            origin,
            host: host.clone(),
            link: None,
            links: 0,
            sockets: BTreeMap::new(),
            unresponsive: BTreeMap::new(),
            reads: 0,
        }
    }

    pub(super) fn connections(&self) -> u32 {
        self.links
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        self.network.next_at()
    }

    /// Breaks the connection, if there is one.
    pub(super) fn break_connection(&mut self, how: Break, now: Instant) {
        let Some(link) = &mut self.link else { return };
        let id = link.id;
        match how {
            Break::Silence => {
                (link.sends, link.receives) = (false, false);
                self.network
                    .send(Packet::CloseDetected(id), now + SILENCE_DETECTED);
            }
            Break::Reset => {
                (link.sends, link.receives) = (false, false);
                self.network.send(Packet::CloseDetected(id), now);
                self.network.send(Packet::ToGuest(id, ToGuest::Reset), now);
            }
            Break::RepliesLost => {
                link.receives = false;
                let last = link.up.arrival_time(now, Duration::ZERO);
                self.network.send(Packet::CloseDetected(id), last);
                self.network.send(Packet::ToGuest(id, ToGuest::Reset), now);
            }
            Break::Late => {
                link.receives = false;
                let last = link.up.arrival_time(now, MAX_DELAY);
                self.network.delay(
                    last,
                    |packet| matches!(packet, Packet::ToCloud(to, _) if *to == id),
                );
                self.network.send(Packet::CloseDetected(id), last);
                self.network.send(Packet::ToGuest(id, ToGuest::Reset), now);
            }
        }
    }

    /// The guest drops its connection: what it sent before still arrives, unless the connection was broken.
    pub(super) fn disconnect(&mut self, now: Instant, rng: &mut fastrand::Rng) {
        if let Some(mut link) = self.link.take()
            && link.sends
        {
            let at = link.up.arrival_time(now, latency(&self.latency, rng));
            self.network.send(Packet::CloseDetected(link.id), at);
        }
    }

    fn link(&mut self, id: u32) -> Option<&mut Link> {
        self.link.as_mut().filter(|link| link.id == id)
    }

    fn send_to_guest(&mut self, id: u32, packet: ToGuest, now: Instant, rng: &mut fastrand::Rng) {
        let latency = latency(&self.latency, rng);
        if let Some(link) = self.link(id) {
            let at = link.down.arrival_time(now, latency);
            self.network.send(Packet::ToGuest(id, packet), at);
        }
    }
}

impl Simulation {
    /// Polls both ends until neither has output.
    pub(in crate::simulation) fn settle(&mut self) {
        loop {
            while let Some(command) = self.conversation.poll_command() {
                self.run_command(command);
            }
            while let Some(transmit) = self.conversation.poll_transmit(self.now) {
                self.transmit(transmit);
            }
            while let Some(event) = self.conversation.poll_event() {
                self.note(&format_args!("{event:?}").to_string());
                self.received.push((self.process, event));
            }
            let Some(output) = self.cloud.poll_output() else {
                return;
            };
            self.on_output(output);
        }
    }

    /// Delivers one packet that is due.
    pub(super) fn arrive(&mut self) -> bool {
        let (now, instant) = (self.now, self.now.instant);
        let Some(packet) = self.transport.network.arrive(instant) else {
            return false;
        };
        match packet {
            Packet::HandshakeReply(id, answer) => {
                if self.transport.link(id).is_none_or(|link| !link.receives) {
                    return true;
                }
                match answer {
                    Ok(()) => self.conversation.handle_connected(now),
                    Err(Refusal { status, retry_after }) => {
                        self.transport.link = None;
                        let random = self.rng.u64(..);
                        self.conversation.handle_refused(status, retry_after, now, random);
                    }
                }
            }
            Packet::CloseDetected(id) => {
                if let Some(socket) = self.transport.sockets.remove(&id) {
                    self.cloud.handle_closed(socket, self.cloud_now());
                }
            }
            Packet::Connect(id, request) => {
                let mut opens = instant;
                let cloud = self.cloud_now();
                let answer = match self.cloud.handle_handshake(&request, cloud) {
                    Ok(socket) => {
                        self.transport.sockets.insert(id, socket);
                        opens = self
                            .cloud
                            .handshake_due(socket)
                            .map_or(instant, |at| at - self.ahead);
                        Ok(())
                    }
                    Err(response) => Err(Refusal {
                        status: response.status().as_u16(),
                        retry_after: genesys_api::retry::retry_after(response.headers(), cloud.utc),
                    }),
                };
                let wait = latency(&self.transport.latency, &mut self.rng);
                if let Some(link) = self.transport.link(id) {
                    let at = link.down.arrival_time(opens, wait);
                    self.transport
                        .network
                        .send(Packet::HandshakeReply(id, answer), at);
                }
            }
            Packet::Read(read, history) => {
                let response = self
                    .cloud
                    .handle_request(request(&history, &self.transport.host), self.cloud_now());
                let answer = Box::new(read_reply(&history, response));
                let wait = latency(&self.transport.latency, &mut self.rng);
                self.transport
                    .network
                    .send(Packet::ReadReply(read, answer), instant + wait);
            }
            Packet::ReadReply(read, answer) => {
                // a later read has replaced it
                if read == self.transport.reads {
                    self.conversation
                        .handle_outcome(JobOutcome::History(*answer), now);
                }
            }
            Packet::ToCloud(id, frame) => {
                if let Some(socket) = self.transport.sockets.get(&id).copied() {
                    self.note(&frame);
                    self.cloud.handle_frame(socket, &frame, self.cloud_now());
                }
            }
            Packet::Ping(id) => {
                let cloud = self.cloud_now().instant;
                let unresponsive = self.transport.unresponsive.get(&id);
                if !unresponsive.is_some_and(|until| until.is_none_or(|until| until > cloud)) {
                    self.transport
                        .send_to_guest(id, ToGuest::Pong, instant, &mut self.rng);
                }
            }
            Packet::ToGuest(id, down) => self.deliver(id, down),
        }
        true
    }

    fn deliver(&mut self, id: u32, down: ToGuest) {
        let Some(link) = self.transport.link(id) else {
            return;
        };
        let random = self.rng.u64(..);
        match down {
            ToGuest::Close(_) | ToGuest::Dropped | ToGuest::Frame(_) | ToGuest::Pong if !link.receives => {}
            ToGuest::Dropped | ToGuest::Reset => {
                self.transport.link = None;
                let close = CloseInfo::abnormal("reset by peer");
                self.conversation.handle_closed(close, self.now, random);
            }
            ToGuest::Close(code) => {
                self.transport.link = None;
                let close = CloseInfo::with_code(code, "");
                self.conversation.handle_closed(close, self.now, random);
            }
            ToGuest::Frame(frame) => {
                self.note(&frame);
                self.conversation.handle_frame(&frame, self.now);
            }
            ToGuest::Pong => self.conversation.handle_alive(),
        }
    }

    fn run_command(&mut self, command: Command) {
        let (now, instant) = (self.now, self.now.instant);
        let wait = latency(&self.transport.latency, &mut self.rng);
        match command {
            Command::Connect => {
                self.transport.disconnect(instant, &mut self.rng);
                self.transport.links += 1;
                let id = self.transport.links;
                let mut link = Link {
                    id,
                    up: Direction::new(instant),
                    down: Direction::new(instant),
                    sends: true,
                    receives: true,
                };
                let handshake = self
                    .conversation
                    .handshake(&self.transport.url, &self.transport.origin);
                let connect = Packet::Connect(id, Box::new(handshake.request([7; 16])));
                self.transport
                    .network
                    .send(connect, link.up.arrival_time(instant, wait));
                self.transport.link = Some(link);
            }
            Command::Disconnect => {
                self.transport.disconnect(instant, &mut self.rng);
                let close = CloseInfo::abnormal("dropped by this side");
                self.conversation.handle_closed(close, now, self.rng.u64(..));
            }
            Command::Run(_, Job::ReadHistory(history)) => {
                self.transport.reads += 1;
                let read = Packet::Read(self.transport.reads, history);
                self.transport.network.send(read, instant + wait);
            }
            Command::Run(_, Job::Upload(_)) => unreachable!("no simulation attaches a file"),
        }
    }

    fn transmit(&mut self, transmit: Transmit) {
        let instant = self.now.instant;
        let wait = latency(&self.transport.latency, &mut self.rng);
        if let Transmit::Frame(frame) = &transmit {
            self.count(frame);
        }
        let Some(link) = self.transport.link.as_mut() else {
            return;
        };
        let id = link.id;
        let at = link.up.arrival_time(instant, wait);
        if !link.sends {
            return;
        }
        match transmit {
            Transmit::Close { .. } => self.transport.network.send(Packet::CloseDetected(id), at),
            Transmit::Frame(frame) => self.transport.network.send(Packet::ToCloud(id, frame), at),
            Transmit::Ping => self.transport.network.send(Packet::Ping(id), at),
        }
    }

    fn on_output(&mut self, output: Output) {
        if let Output::Advance(by) = output {
            self.note(&("clock", by));
            self.ahead += by;
            return;
        }
        let mut sockets = self.transport.sockets.iter();
        let of = sockets.find_map(|(id, socket)| (Some(*socket) == output.socket()).then_some(*id));
        let Some(id) = of else { return };
        let down = match output {
            Output::Close { code, .. } => ToGuest::Close(code),
            Output::Drop { .. } => ToGuest::Dropped,
            Output::Frame { text, .. } => ToGuest::Frame(text),
            Output::Hang { until, .. } => {
                self.transport.unresponsive.insert(id, until);
                return;
            }
            other => panic!("unsupported output of the cloud: {other:?}"),
        };
        if matches!(down, ToGuest::Close(_) | ToGuest::Dropped) {
            self.transport.sockets.remove(&id);
        }
        self.transport
            .send_to_guest(id, down, self.now.instant, &mut self.rng);
    }
}

fn latency(range: &RangeInclusive<u64>, rng: &mut fastrand::Rng) -> Duration {
    Duration::from_millis(rng.u64(range.clone()))
}

fn request(history: &History, host: &Host) -> Request<Bytes> {
    let mut request = history.request(host);
    let bearer = format!("Bearer {}", history.jwt.expose_secret());
    let bearer = HeaderValue::from_str(&bearer).expect("a token is visible ASCII");
    request.headers_mut().insert(AUTHORIZATION, bearer);
    request
}

/// Parses a reply as the driver does.
fn read_reply(history: &History, response: Response<Bytes>) -> Result<HistoryPage, HistoryFailure> {
    history.reply(response).map_err(|error| match error.problem() {
        Some(problem) if problem.status == 401 => HistoryFailure::Unauthorized,
        Some(problem) if problem.status == 429 => HistoryFailure::RateLimited {
            retry_after: problem.retry_after.unwrap_or(CALL_LOST),
        },
        _ => HistoryFailure::Failed {
            reason: error.to_string(),
        },
    })
}
