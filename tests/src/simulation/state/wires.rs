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
use crate::simulation::network::{Lane, Network};
use crate::simulation::plan::Break;

/// Time after which the cloud detects that a silent guest has closed.
const CLOUD_NOTICES: Duration = Duration::from_secs(90);
/// Longest delay of a frame whose connection has closed.
const LATE: Duration = Duration::from_secs(2);
/// Time after which a caller detects a lost call.
const CALL_LOST: Duration = Duration::from_secs(10);

/// Packets in transit, and the guest's connection.
pub(super) struct Wires {
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
    hung: BTreeMap<u32, Option<Instant>>,
    reads: u32,
}

/// A connection, as the guest has it.
struct Link {
    id: u32,
    up: Lane,
    down: Lane,
    /// Whether frames of the guest arrive.
    sends: bool,
    /// Whether frames of the cloud arrive.
    receives: bool,
}

enum Packet {
    Answer(u32, Result<(), Refusal>),
    CloudNotices(u32),
    Dial(u32, Box<Request<()>>),
    Read(u32, Box<History>),
    ReadAnswer(u32, Box<Result<HistoryPage, HistoryFailure>>),
    ToCloud(u32, String),
    Ping(u32),
    ToGuest(u32, Down),
}

struct Refusal {
    status: u16,
    retry_after: Option<Duration>,
}

enum Down {
    Close(u16),
    /// By the cloud, without a close frame.
    Dropped,
    Frame(String),
    /// By the network: the guest is always notified.
    Gone,
    Pong,
}

impl Wires {
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
            hung: BTreeMap::new(),
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
    pub(super) fn cut(&mut self, how: Break, now: Instant) {
        let Some(link) = &mut self.link else { return };
        let id = link.id;
        match how {
            Break::Silence => {
                (link.sends, link.receives) = (false, false);
                self.network.send(Packet::CloudNotices(id), now + CLOUD_NOTICES);
            }
            Break::Reset => {
                (link.sends, link.receives) = (false, false);
                self.network.send(Packet::CloudNotices(id), now);
                self.network.send(Packet::ToGuest(id, Down::Gone), now);
            }
            Break::AnswersLost => {
                link.receives = false;
                let last = link.up.pass(now, Duration::ZERO);
                self.network.send(Packet::CloudNotices(id), last);
                self.network.send(Packet::ToGuest(id, Down::Gone), now);
            }
            Break::Late => {
                link.receives = false;
                let last = link.up.pass(now, LATE);
                self.network.delay(
                    last,
                    |packet| matches!(packet, Packet::ToCloud(to, _) if *to == id),
                );
                self.network.send(Packet::CloudNotices(id), last);
                self.network.send(Packet::ToGuest(id, Down::Gone), now);
            }
        }
    }

    /// The guest drops its connection: what it sent before still arrives, unless the connection was broken.
    pub(super) fn hang_up(&mut self, now: Instant, dice: &mut fastrand::Rng) {
        if let Some(mut link) = self.link.take()
            && link.sends
        {
            let at = link.up.pass(now, latency(&self.latency, dice));
            self.network.send(Packet::CloudNotices(link.id), at);
        }
    }

    fn link(&mut self, id: u32) -> Option<&mut Link> {
        self.link.as_mut().filter(|link| link.id == id)
    }

    fn send_down(&mut self, id: u32, what: Down, now: Instant, dice: &mut fastrand::Rng) {
        let latency = latency(&self.latency, dice);
        if let Some(link) = self.link(id) {
            let at = link.down.pass(now, latency);
            self.network.send(Packet::ToGuest(id, what), at);
        }
    }
}

impl Simulation {
    /// Polls both ends until neither has output.
    pub(super) fn settle(&mut self) {
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
        let Some(packet) = self.wires.network.arrive(instant) else {
            return false;
        };
        match packet {
            Packet::Answer(id, answer) => {
                if self.wires.link(id).is_none_or(|link| !link.receives) {
                    return true;
                }
                match answer {
                    Ok(()) => self.conversation.handle_connected(now),
                    Err(Refusal { status, retry_after }) => {
                        self.wires.link = None;
                        let random = self.dice.u64(..);
                        self.conversation.handle_refused(status, retry_after, now, random);
                    }
                }
            }
            Packet::CloudNotices(id) => {
                if let Some(socket) = self.wires.sockets.remove(&id) {
                    self.cloud.handle_closed(socket, self.cloud_now());
                }
            }
            Packet::Dial(id, request) => {
                let mut opens = instant;
                let cloud = self.cloud_now();
                let answer = match self.cloud.handle_handshake(&request, cloud) {
                    Ok(socket) => {
                        self.wires.sockets.insert(id, socket);
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
                let wait = latency(&self.wires.latency, &mut self.dice);
                if let Some(link) = self.wires.link(id) {
                    let at = link.down.pass(opens, wait);
                    self.wires.network.send(Packet::Answer(id, answer), at);
                }
            }
            Packet::Read(read, history) => {
                let response = self
                    .cloud
                    .handle_request(request(&history, &self.wires.host), self.cloud_now());
                let answer = Box::new(reading(&history, response));
                let wait = latency(&self.wires.latency, &mut self.dice);
                self.wires
                    .network
                    .send(Packet::ReadAnswer(read, answer), instant + wait);
            }
            Packet::ReadAnswer(read, answer) => {
                // a later read has replaced it
                if read == self.wires.reads {
                    self.conversation
                        .handle_outcome(JobOutcome::History(*answer), now);
                }
            }
            Packet::ToCloud(id, frame) => {
                if let Some(socket) = self.wires.sockets.get(&id).copied() {
                    self.note(&frame);
                    self.cloud.handle_frame(socket, &frame, self.cloud_now());
                }
            }
            Packet::Ping(id) => {
                let cloud = self.cloud_now().instant;
                let hung = self.wires.hung.get(&id);
                if !hung.is_some_and(|until| until.is_none_or(|until| until > cloud)) {
                    self.wires.send_down(id, Down::Pong, instant, &mut self.dice);
                }
            }
            Packet::ToGuest(id, down) => self.come_down(id, down),
        }
        true
    }

    fn come_down(&mut self, id: u32, down: Down) {
        let Some(link) = self.wires.link(id) else { return };
        let random = self.dice.u64(..);
        match down {
            Down::Close(_) | Down::Dropped | Down::Frame(_) | Down::Pong if !link.receives => {}
            Down::Dropped | Down::Gone => {
                self.wires.link = None;
                let close = CloseInfo::abrupt("reset by peer");
                self.conversation.handle_closed(close, self.now, random);
            }
            Down::Close(code) => {
                self.wires.link = None;
                let close = CloseInfo::with_code(code, "");
                self.conversation.handle_closed(close, self.now, random);
            }
            Down::Frame(frame) => {
                self.note(&frame);
                self.conversation.handle_frame(&frame, self.now);
            }
            Down::Pong => self.conversation.handle_alive(),
        }
    }

    fn run_command(&mut self, command: Command) {
        let (now, instant) = (self.now, self.now.instant);
        let wait = latency(&self.wires.latency, &mut self.dice);
        match command {
            Command::Connect => {
                self.wires.hang_up(instant, &mut self.dice);
                self.wires.links += 1;
                let id = self.wires.links;
                let mut link = Link {
                    id,
                    up: Lane::new(instant),
                    down: Lane::new(instant),
                    sends: true,
                    receives: true,
                };
                let handshake = self.conversation.handshake(&self.wires.url, &self.wires.origin);
                let dial = Packet::Dial(id, Box::new(handshake.request([7; 16])));
                self.wires.network.send(dial, link.up.pass(instant, wait));
                self.wires.link = Some(link);
            }
            Command::Disconnect => {
                self.wires.hang_up(instant, &mut self.dice);
                let close = CloseInfo::abrupt("dropped by this side");
                self.conversation.handle_closed(close, now, self.dice.u64(..));
            }
            Command::Run(_, Job::ReadHistory(history)) => {
                self.wires.reads += 1;
                let read = Packet::Read(self.wires.reads, history);
                self.wires.network.send(read, instant + wait);
            }
            Command::Run(_, Job::Upload(_)) => unreachable!("no simulation attaches a file"),
        }
    }

    fn transmit(&mut self, transmit: Transmit) {
        let instant = self.now.instant;
        let wait = latency(&self.wires.latency, &mut self.dice);
        if let Transmit::Frame(frame) = &transmit {
            self.count(frame);
        }
        let Some(link) = self.wires.link.as_mut() else {
            return;
        };
        let id = link.id;
        let at = link.up.pass(instant, wait);
        if !link.sends {
            return;
        }
        match transmit {
            Transmit::Close { .. } => self.wires.network.send(Packet::CloudNotices(id), at),
            Transmit::Frame(frame) => self.wires.network.send(Packet::ToCloud(id, frame), at),
            Transmit::Ping => self.wires.network.send(Packet::Ping(id), at),
        }
    }

    fn on_output(&mut self, output: Output) {
        if let Output::Advance(by) = output {
            self.note(&("clock", by));
            self.ahead += by;
            return;
        }
        let mut sockets = self.wires.sockets.iter();
        let of = sockets.find_map(|(id, socket)| (Some(*socket) == output.socket()).then_some(*id));
        let Some(id) = of else { return };
        let down = match output {
            Output::Close { code, .. } => Down::Close(code),
            Output::Drop { .. } => Down::Dropped,
            Output::Frame { text, .. } => Down::Frame(text),
            Output::Hang { until, .. } => {
                self.wires.hung.insert(id, until);
                return;
            }
            other => panic!("this simulation has no part for {other:?}"),
        };
        if matches!(down, Down::Close(_) | Down::Dropped) {
            self.wires.sockets.remove(&id);
        }
        self.wires.send_down(id, down, self.now.instant, &mut self.dice);
    }
}

fn latency(range: &RangeInclusive<u64>, dice: &mut fastrand::Rng) -> Duration {
    Duration::from_millis(dice.u64(range.clone()))
}

fn request(history: &History, host: &Host) -> Request<Bytes> {
    let mut request = history.request(host);
    let bearer = format!("Bearer {}", history.jwt.expose_secret());
    let bearer = HeaderValue::from_str(&bearer).expect("a token is visible ASCII");
    request.headers_mut().insert(AUTHORIZATION, bearer);
    request
}

/// Parses a reply as the driver does.
fn reading(history: &History, response: Response<Bytes>) -> Result<HistoryPage, HistoryFailure> {
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
