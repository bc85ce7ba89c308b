//! The pages of a simulation, and their connections to the gateway.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use guest_conversation::{
    Command, ConnectionEvent, Event, GuestMachine as _, Machine as _, Message, MessageId, OutgoingMessage,
    SessionEvent,
};
use guest_gateway::relay::{Outgoing, Position, SocketId};
use guest_sessions::client::{GatewayConversation, GatewaySession};
use guest_sessions::{ClientFrame, ServerFrame};
use secrecy::SecretString;
use time::OffsetDateTime;
use ws_transport::{AdmittedOrigin, CloseInfo, OriginPolicy, SocketUrl, Transmit};

use super::Simulation;
use super::gateway::Gateway;
use crate::simulation::network::{Direction, Network};

/// Frames in transit to one page. The gateway queues as many.
const IN_TRANSIT: usize = 64;

pub(super) struct Pages {
    pages: Vec<Page>,
    network: Network<Packet>,
    latency: RangeInclusive<u64>,
    links: u64,
    rng: fastrand::Rng,
    url: SocketUrl,
    origin: AdmittedOrigin,
    pub(super) stalled: usize,
}

pub(super) struct Page {
    conversation: GatewayConversation,
    link: Option<Link>,
    /// Its events, in order.
    pub(super) events: Vec<Event>,
    /// Time of its first accepted handshake. Messages before it are in the history only.
    pub(super) ready_at: Option<OffsetDateTime>,
    /// The messages of its guest.
    pub(super) sent: BTreeMap<MessageId, String>,
}

struct Link {
    id: u64,
    up: Direction,
    down: Direction,
    in_transit: usize,
    /// Whether the gateway has its handshake.
    attached: bool,
}

enum Packet {
    Opened(u64),
    Refused(u64),
    Frame(u64, String),
    Pong(u64),
    Closed(u64, u16),
    ToGateway(u64, String),
    /// The gateway detects that the page is gone.
    Gone(u64),
}

impl Pages {
    pub(super) fn new(count: usize, upstream: &Simulation, mut rng: fastrand::Rng) -> Self {
        let least = rng.u64(1..50);
        let page = || {
            let session = GatewaySession::new("gs-1".parse().expect("an id"), SecretString::from("token"));
            let mut conversation = GatewayConversation::new(session);
            conversation.engine_mut().connect(upstream.now);
            Page {
                conversation,
                link: None,
                events: Vec::new(),
                ready_at: None,
                sent: BTreeMap::new(),
            }
        };
        let policy = OriginPolicy::new(["https://shop.example"]).expect("an origin");
        let host = "https://gateway.example".parse().expect("a host");
        Self {
            pages: (0..count).map(|_| page()).collect(),
            network: Network::new(),
            latency: least..=least + rng.u64(0..200),
            links: 0,
            rng,
            url: SocketUrl::of_host(&host, "/socket").expect("a URL"),
            origin: policy.admit(["https://shop.example"]).expect("the policy has it"),
            stalled: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.pages.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Page> {
        self.pages.iter()
    }

    /// The messages that each page showed.
    pub(super) fn shown(&self) -> impl Iterator<Item = impl Iterator<Item = &Message>> {
        self.pages.iter().map(Page::shown)
    }

    pub(super) fn gaps(&self) -> usize {
        let events = self.pages.iter().flat_map(|page| &page.events);
        events.filter(|event| is_gap(event)).count()
    }

    pub(super) fn connections(&self) -> usize {
        self.links as usize
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        let timeouts = self
            .pages
            .iter()
            .filter_map(|page| page.conversation.poll_timeout());
        let timeouts = timeouts.map(|(at, _)| at);
        timeouts.chain(self.network.next_at()).min()
    }

    pub(super) fn send(&mut self, page: usize, text: String, upstream: &mut Simulation) {
        let id = MessageId::from(uuid::Uuid::from_u128(self.rng.u128(..)));
        let page = &mut self.pages[page];
        let message = OutgoingMessage::new(text.clone());
        if page.conversation.send(id, &message, upstream.now).is_ok() {
            upstream.note(&("sends", &text));
            page.sent.insert(id, text);
        }
    }

    /// Breaks the connection of a page. What it sent before may arrive.
    pub(super) fn cut(&mut self, page: usize, arrive: bool, gateway: &mut Gateway, upstream: &Simulation) {
        let Some(mut link) = self.pages[page].link.take() else {
            return;
        };
        if arrive {
            let last = link.up.arrival_time(upstream.now.instant, Duration::ZERO);
            self.network.send(Packet::Gone(link.id), last);
        } else {
            detach(gateway, link.id);
            self.network
                .remove(|packet| matches!(packet, Packet::ToGateway(to, _) if *to == link.id));
        }
        let random = self.rng.u64(..);
        let close = CloseInfo::abnormal("reset by peer");
        self.pages[page]
            .conversation
            .handle_closed(close, upstream.now, random);
    }

    /// A page reads nothing for this time.
    pub(super) fn slow(&mut self, page: usize, during: Duration, upstream: &Simulation) {
        if let Some(link) = &mut self.pages[page].link {
            let until = link.down.arrival_time(upstream.now.instant, during);
            let id = link.id;
            self.network.delay(
                until,
                |packet| matches!(packet, Packet::Frame(to, _) | Packet::Pong(to) | Packet::Closed(to, _) if *to == id),
            );
        }
    }

    /// Every connection breaks. What the gateway sent before arrives.
    pub(super) fn handle_gateway_lost(&mut self, upstream: &Simulation) {
        self.network
            .remove(|packet| matches!(packet, Packet::ToGateway(..) | Packet::Gone(_)));
        for page in &mut self.pages {
            if let Some(link) = &mut page.link {
                let at = link.down.arrival_time(upstream.now.instant, Duration::ZERO);
                self.network.send(Packet::Closed(link.id, 1006), at);
            }
        }
    }

    /// Delivers what is due, and handles the timeouts of the pages.
    pub(super) fn step(&mut self, gateway: &mut Gateway, upstream: &mut Simulation) {
        let now = upstream.now;
        if let Some(packet) = self.network.arrive(now.instant) {
            return self.deliver(packet, gateway, upstream);
        }
        for page in &mut self.pages {
            page.conversation.handle_timeout(now);
        }
    }

    fn page(&mut self, link: u64) -> Option<&mut Page> {
        let mut pages = self.pages.iter_mut();
        pages.find(|page| page.link.as_ref().is_some_and(|known| known.id == link))
    }

    fn deliver(&mut self, packet: Packet, gateway: &mut Gateway, upstream: &mut Simulation) {
        let now = upstream.now;
        match packet {
            Packet::Opened(link) => {
                if let Some(page) = self.page(link) {
                    page.conversation.handle_connected(now);
                }
            }
            Packet::Refused(link) => self.close(link, CloseInfo::abnormal("connection refused"), upstream),
            Packet::Closed(link, 1006) => self.close(link, CloseInfo::abnormal("reset by peer"), upstream),
            Packet::Closed(link, code) => self.close(link, CloseInfo::with_code(code, ""), upstream),
            Packet::Frame(link, frame) => {
                if let Some(page) = self.page(link) {
                    upstream.note(&("to page", link, &frame));
                    if let Some(link) = &mut page.link {
                        link.in_transit -= 1;
                    }
                    page.conversation.handle_frame(&frame, now);
                }
            }
            Packet::Pong(link) => {
                if let Some(page) = self.page(link) {
                    page.conversation.handle_alive();
                }
            }
            Packet::Gone(link) => detach(gateway, link),
            Packet::ToGateway(link, frame) => {
                upstream.note(&("to gateway", link, &frame));
                self.handle_frame(link, &frame, gateway, upstream);
            }
        }
    }

    fn close(&mut self, link: u64, close: CloseInfo, upstream: &Simulation) {
        let random = self.rng.u64(..);
        if let Some(page) = self.page(link) {
            page.link = None;
            page.conversation.handle_closed(close, upstream.now, random);
        }
    }

    fn handle_frame(&mut self, link: u64, frame: &str, gateway: &mut Gateway, upstream: &mut Simulation) {
        let Some(relay) = &mut gateway.relay else { return };
        let socket = SocketId(link);
        match ClientFrame::parse(frame).expect("the client sends frames of the contract") {
            ClientFrame::Handshake {
                epoch,
                last_sequence,
                last_message_id,
                ..
            } => {
                let resumes = last_sequence.is_some() || last_message_id.is_some();
                let position = resumes.then(|| Position {
                    epoch: epoch.map(|epoch| epoch.to_string()),
                    sequence: last_sequence.unwrap_or(0),
                    message: last_message_id.map(|id| id.to_string()),
                });
                relay.handle_attach(socket, position);
                if let Some(Some(link)) = self.page(link).map(|page| page.link.as_mut()) {
                    link.attached = true;
                } else {
                    relay.handle_detach(socket);
                }
            }
            ClientFrame::Message(frame) => {
                let message = frame.message().expect("the client sends valid messages");
                let now = upstream.now;
                relay.handle_message(socket, frame.id, &message, &mut upstream.conversation, now);
            }
            ClientFrame::Ping { id } => {
                let pong = ServerFrame::Pong { id }.to_json();
                self.send_frame(link, pong, upstream);
            }
            _ => {}
        }
    }

    fn send_frame(&mut self, link: u64, frame: String, upstream: &Simulation) {
        let wait = latency(&self.latency, &mut self.rng);
        if let Some(Some(link)) = self.page(link).map(|page| page.link.as_mut()) {
            link.in_transit += 1;
            let (id, at) = (link.id, link.down.arrival_time(upstream.now.instant, wait));
            self.network.send(Packet::Frame(id, frame), at);
        }
    }

    /// Polls the pages and the relay. Returns whether they had output.
    pub(super) fn settle(&mut self, gateway: &mut Gateway, upstream: &mut Simulation) -> bool {
        let mut moved = false;
        for at in 0..self.pages.len() {
            moved |= self.settle_page(at, gateway, upstream);
            moved |= self.pump(at, gateway, upstream);
        }
        moved
    }

    fn settle_page(&mut self, at: usize, gateway: &Gateway, upstream: &mut Simulation) -> bool {
        let now = upstream.now;
        let mut moved = false;
        let page = &mut self.pages[at];
        while let Some(command) = page.conversation.poll_command() {
            moved = true;
            let wait = latency(&self.latency, &mut self.rng);
            match command {
                Command::Connect => {
                    self.links += 1;
                    let id = self.links;
                    let _handshake = page.conversation.handshake(&self.url, &self.origin);
                    let mut link = Link {
                        id,
                        up: Direction::new(now.instant),
                        down: Direction::new(now.instant),
                        in_transit: 0,
                        attached: false,
                    };
                    let due = link.down.arrival_time(now.instant, 2 * wait);
                    let packet = match gateway.relay {
                        Some(_) => Packet::Opened(id),
                        None => Packet::Refused(id),
                    };
                    self.network.send(packet, due);
                    page.link = Some(link);
                }
                Command::Disconnect => {
                    if let Some(mut link) = page.link.take() {
                        let due = link.up.arrival_time(now.instant, wait);
                        self.network.send(Packet::Gone(link.id), due);
                    }
                    let close = CloseInfo::abnormal("dropped by this side");
                    page.conversation.handle_closed(close, now, self.rng.u64(..));
                }
                Command::Run(..) => unreachable!("a page has no jobs"),
            }
        }
        while let Some(transmit) = page.conversation.poll_transmit(now) {
            moved = true;
            let wait = latency(&self.latency, &mut self.rng);
            let Some(link) = &mut page.link else { continue };
            let due = link.up.arrival_time(now.instant, wait);
            let packet = match transmit {
                Transmit::Frame(frame) => Packet::ToGateway(link.id, frame),
                Transmit::Close { .. } => Packet::Gone(link.id),
                Transmit::Ping => {
                    let due = link.down.arrival_time(due, wait);
                    self.network.send(Packet::Pong(link.id), due);
                    continue;
                }
            };
            self.network.send(packet, due);
        }
        while let Some(event) = page.conversation.poll_event() {
            moved = true;
            upstream.note(&format_args!("page {at}: {event:?}").to_string());
            if let Event::Connection(ConnectionEvent::Ready(_)) = event {
                page.ready_at = page.ready_at.or(Some(upstream.now.utc));
            }
            page.events.push(event);
        }
        moved
    }

    /// Passes outputs of the relay to a page that has room.
    fn pump(&mut self, at: usize, gateway: &mut Gateway, upstream: &Simulation) -> bool {
        let (Some(relay), Some(link)) = (&mut gateway.relay, &mut self.pages[at].link) else {
            return false;
        };
        let (id, socket) = (link.id, SocketId(link.id));
        if !link.attached {
            return false;
        }
        let now = upstream.now.instant;
        let mut moved = false;
        while relay.has_output(socket) {
            if link.in_transit >= IN_TRANSIT {
                relay.handle_blocked(socket, now);
                return moved;
            }
            moved = true;
            let due = link.down.arrival_time(now, latency(&self.latency, &mut self.rng));
            match relay.poll_output(socket) {
                Some(Outgoing::Frame(frame)) => {
                    link.in_transit += 1;
                    self.network.send(Packet::Frame(id, frame.to_string()), due);
                }
                Some(Outgoing::Close(code, _)) => {
                    link.attached = false;
                    self.network.send(Packet::Closed(id, code), due);
                    return true;
                }
                _ => {}
            }
        }
        if !relay.is_attached(socket) {
            self.stalled += 1;
            link.attached = false;
            let due = link.down.arrival_time(now, Duration::ZERO);
            self.network.send(Packet::Closed(id, 1013), due);
            moved = true;
        }
        moved
    }
}

impl Page {
    /// The messages that it showed.
    pub(super) fn shown(&self) -> impl Iterator<Item = &Message> {
        self.events.iter().filter_map(|event| match event {
            Event::Message(message) => Some(&**message),
            _ => None,
        })
    }
}

pub(super) fn is_gap(event: &Event) -> bool {
    matches!(event, Event::Session(SessionEvent::HistoryUnread { .. }))
}

fn detach(gateway: &mut Gateway, link: u64) {
    if let Some(relay) = &mut gateway.relay {
        relay.handle_detach(SocketId(link));
    }
}

fn latency(range: &RangeInclusive<u64>, rng: &mut fastrand::Rng) -> Duration {
    Duration::from_millis(rng.u64(range.clone()))
}
