//! Random lives of a conversation, compared with a model of the service.
//!
//! The network is either well, or swallows everything in one direction or both until the socket is cut; the service
//! answers at once, and its history shows all that it took.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use genesys_api::{Call, rfc3339};
use guest_conversation::{
    Command, DeliveryStatus, Event, GuestMachine as _, HistoryFailure, Job, JobOutcome, Machine as _,
    MessageId, OutgoingMessage, Request, SessionEvent, State,
};
use proptest::prelude::*;
use proptest::test_runner::Config;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use serde_json::{Value, json};
use web_messaging::rest::history::History;
use ws_transport::Transmit;

use crate::virtual_peer::{VirtualPeer, echo, id, refused, session_response, too_many, with_history};

prop_state_machine! {
    #![proptest_config(Config { cases: 192, ..Config::default() })]
    #[test]
    fn conversation_loses_and_repeats_nothing(sequential 1..60 => World);
}

/// The inputs so far, as far as the outcome depends on them.
#[derive(Clone, Debug, Default)]
struct Model {
    sent: u128,
    answers: u32,
    /// Whether the conversation is over.
    over: bool,
}

#[derive(Clone, Copy, Debug)]
enum Input {
    Answer,
    CheckHealth,
    Disconnect,
    End,
    Expire,
    Pass(u64),
    ReadHistory,
    HistoryApi { works: bool },
    Send,
    Discard(Discard),
    Throttle,
    Typing,
    Unknown,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Discard {
    Both,
    Down,
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Input;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self::default()).boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Input> {
        prop_oneof![
            8 => Just(Input::Answer),
            1 => Just(Input::CheckHealth),
            4 => Just(Input::Disconnect),
            12 => (1_u64..40_000).prop_map(Input::Pass),
            1 => Just(Input::ReadHistory),
            2 => any::<bool>().prop_map(|works| Input::HistoryApi { works }),
            12 => Just(Input::Send),
            2 => Just(Input::Discard(Discard::Both)),
            3 => Just(Input::Discard(Discard::Down)),
            2 => Just(Input::Throttle),
            2 => Just(Input::Typing),
            1 => Just(Input::Unknown),
        ]
        .prop_flat_map(
            |input| prop_oneof![60 => Just(input), 1 => Just(Input::End), 1 => Just(Input::Expire)],
        )
        .boxed()
    }

    fn apply(mut state: Self, input: &Input) -> Self {
        match input {
            Input::Answer => state.answers += 1,
            Input::End => state.over |= state.sent == 0,
            Input::Send => state.sent += 1,
            _ => {}
        }
        state
    }
}

/// The conversation, and the service behind it.
struct World {
    peer: VirtualPeer,
    discard: Option<Discard>,
    /// Whether the socket is configured; before that nothing arrives on it.
    joined: bool,
    rest: bool,
    /// Whether reading the history failed once, so that missed messages arrive late.
    unread: bool,
    throttled: bool,
    ended: bool,
    /// Entries of the service, oldest first.
    log: Vec<Entry>,
    /// Numbers of the agent's messages, as they were shown.
    shown: Vec<u32>,
    statuses: HashMap<MessageId, Vec<&'static str>>,
    messages: Vec<Instant>,
    requests: Vec<Vec<Instant>>,
    reads: Vec<Instant>,
    taken: u128,
}

enum Entry {
    Agent { number: u32, at: String },
    Guest { number: u128, at: String },
}

impl StateMachineTest for World {
    type SystemUnderTest = Self;
    type Reference = Model;

    fn init_test(_: &Model) -> Self {
        let contract = with_history();
        let mut world = Self {
            peer: VirtualPeer::new(contract),
            discard: None,
            joined: false,
            rest: true,
            unread: false,
            throttled: false,
            ended: false,
            log: Vec::new(),
            shown: Vec::new(),
            statuses: HashMap::new(),
            messages: Vec::new(),
            requests: Vec::new(),
            reads: Vec::new(),
            taken: 0,
        };
        world.peer.jitter = 7 << 40;
        world.peer.conversation.engine_mut().connect(world.peer.now);
        world.settle();
        world
    }

    fn apply(mut world: Self, model: &Model, input: Input) -> Self {
        match input {
            Input::Answer => {
                world.pass(Duration::from_millis(5));
                let at = rfc3339(world.peer.now.utc);
                world.log.push(Entry::Agent {
                    number: model.answers,
                    at: at.clone(),
                });
                world.down(&agent(model.answers, &at));
            }
            Input::CheckHealth => drop(
                world
                    .peer
                    .conversation
                    .request(Request::CheckHealth, world.peer.now),
            ),
            Input::Disconnect => world.cut(),
            Input::End => {
                world.ended = true;
                world.peer.conversation.end(world.peer.now);
            }
            Input::Expire if world.receives() => {
                world.ended = true;
                world.down(&refused(4006, None));
            }
            Input::Expire => {}
            Input::Pass(millis) => world.pass(Duration::from_millis(millis)),
            Input::ReadHistory => drop(
                world
                    .peer
                    .conversation
                    .request(Request::ReadHistory { page: 1 }, world.peer.now),
            ),
            Input::HistoryApi { works } => world.rest = works,
            Input::Send => {
                let taken = world.peer.conversation.engine_mut().send(
                    id(model.sent),
                    OutgoingMessage::new(text(model.sent)),
                    world.peer.now,
                );
                assert_eq!(taken.is_err(), world.ended, "{taken:?}");
                if taken.is_ok() {
                    world.taken += 1;
                    world.statuses.entry(id(model.sent)).or_default();
                }
            }
            // what follows a lost frame on the same socket is lost as well
            Input::Discard(_) if world.discard == Some(Discard::Both) => {}
            Input::Discard(discard) => world.discard = Some(discard),
            Input::Throttle => world.throttled = true,
            Input::Typing => world.peer.conversation.send_typing(world.peer.now),
            Input::Unknown => world.down(&json!({"type": "message", "class": "Novelty", "code": 200})),
        }
        world.settle();
        world
    }

    fn check_invariants(world: &Self, model: &Model) {
        let conversation = &world.peer.conversation;
        let state = conversation.state();
        assert!(!model.over || state == State::Closing || state.is_over());
        if let Some((at, reason)) = conversation.poll_timeout() {
            assert!(!state.is_over(), "nothing is due after the end");
            let due = at > world.peer.now.instant;
            assert!(due, "{reason:?} is due and was not handled");
        }
        for (id, statuses) in &world.statuses {
            assert!(
                matches!(statuses[..], [] | [_] | ["unknown", "delivered" | "failed"]),
                "{id} ended as {statuses:?}"
            );
            let delivery = conversation.engine().delivery(*id);
            match statuses.last() {
                Some(&"delivered") => assert!(matches!(delivery, Some(DeliveryStatus::Delivered { .. }))),
                Some(&"failed") => assert!(matches!(delivery, Some(DeliveryStatus::Failed(_)))),
                Some(_) => assert_eq!(delivery, Some(DeliveryStatus::Unknown)),
                // a delivery may wait for its order
                None => assert!(!matches!(delivery, None | Some(DeliveryStatus::Failed(_)))),
            }
        }
        let once = |number: &u32| world.shown.iter().filter(|shown| *shown == number).count() == 1;
        assert!(world.shown.iter().all(once), "shown twice: {:?}", world.shown);
        let in_order = world.unread || world.shown.is_sorted();
        assert!(in_order, "out of order: {:?}", world.shown);
        assert_windows(&world.messages, 5, 1);
        assert_windows(&world.reads, 10, 60);
        for connection in &world.requests {
            assert_windows(connection, 60, 60);
        }
    }

    fn teardown(mut world: Self, model: Model) {
        // the world gets well
        world.rest = true;
        world.throttled = false;
        world.cut();
        world.settle();
        world.pass(Duration::from_secs(300));
        Self::check_invariants(&world, &model);
        if world.ended {
            assert!(world.peer.conversation.state().is_over());
            assert!(world.statuses.values().all(|statuses| !statuses.is_empty()));
        } else {
            assert_eq!(world.peer.conversation.state(), State::Configured);
            world.shown.sort_unstable();
            assert_eq!(
                world.shown,
                (1..=model.answers).collect::<Vec<_>>(),
                "all was shown"
            );
        }
        // of equal texts nobody can tell which arrived: they are counted
        let texts: HashSet<_> = (1..=model.sent).map(text).collect();
        for text_sent in texts {
            let numbers = || (1..=model.sent).filter(|number| text(*number) == text_sent);
            let count = |name| {
                let statuses = numbers().filter_map(|number| world.statuses.get(&id(number))?.last());
                statuses.filter(|known| **known == name).count()
            };
            let copies = world
                .log
                .iter()
                .filter(|entry| matches!(entry, Entry::Guest { number, .. } if text(*number) == text_sent));
            let (delivered, unknown, copies) = (count("delivered"), count("unknown"), copies.count());
            assert!(
                (delivered..=delivered + unknown).contains(&copies),
                "{text_sent}: {delivered} delivered, {unknown} unknown, {copies} copies"
            );
        }
    }
}

/// The guest says "yes" again and again.
fn text(number: u128) -> String {
    if number.is_multiple_of(3) {
        "yes".to_owned()
    } else {
        number.to_string()
    }
}

impl World {
    /// Whether frames of the service arrive.
    fn receives(&self) -> bool {
        self.discard.is_none()
            && matches!(
                self.peer.conversation.state(),
                State::Configured | State::ReadOnly
            )
    }

    fn down(&mut self, frame: &Value) {
        if self.discard.is_none() && self.joined {
            self.peer.receive(frame);
        }
    }

    fn cut(&mut self) {
        self.discard = None;
        self.peer.drop_socket();
    }

    /// Runs the commands of the conversation until there is none.
    fn settle(&mut self) {
        loop {
            let mut idle = true;
            if let Some(command) = self.peer.conversation.poll_command() {
                idle = false;
                match command {
                    Command::Connect => {
                        self.discard = None;
                        self.joined = false;
                        self.requests.push(Vec::new());
                        self.peer.conversation.handle_connected(self.peer.now);
                    }
                    Command::Disconnect => self.cut(),
                    Command::Run(_, Job::ReadHistory(call)) => self.read(&call),
                    Command::Run(_, Job::Upload(_)) => panic!("no file was attached"),
                }
            }
            for transmit in self.peer.transmits() {
                idle = false;
                match transmit {
                    Transmit::Frame(text) => self.take(&serde_json::from_str(&text).unwrap()),
                    Transmit::Ping if self.discard.is_none() => self.peer.conversation.handle_alive(),
                    Transmit::Ping => {}
                    Transmit::Close { .. } => self.peer.drop_socket(),
                }
            }
            for event in self.peer.events() {
                idle = false;
                self.note(event);
            }
            if idle {
                return;
            }
        }
    }

    fn read(&mut self, call: &History) {
        self.reads.push(self.peer.now.instant);
        let result = if self.rest {
            let entities: Vec<_> = self.log.iter().rev().map(Entry::json).collect();
            let body = json!({"entities": entities, "pageNumber": 1, "pageCount": 1});
            Ok(call
                .reply(http::Response::new(Bytes::from(body.to_string())))
                .unwrap())
        } else {
            Err(HistoryFailure::Failed {
                reason: "no route".to_owned(),
            })
        };
        self.peer
            .conversation
            .handle_outcome(JobOutcome::History(result), self.peer.now);
    }

    /// A frame of the guest.
    fn take(&mut self, frame: &Value) {
        let now = self.peer.now;
        if let Some(connection) = self.requests.last_mut() {
            connection.push(now.instant);
        }
        let tracing_id: MessageId = frame["tracingId"].as_str().unwrap().parse().unwrap();
        let known = (0..200).find(|number| id(*number) == tracing_id);
        if known.is_some() {
            self.messages.push(now.instant);
        }
        if self.discard == Some(Discard::Both) {
            return;
        }
        match (frame["action"].as_str(), known) {
            (Some("configureSession"), _) => {
                let new = self.requests.len() == 1;
                self.joined = true;
                self.down(&session_response(new));
            }
            (Some("getJwt"), _) => {
                let exp = now.utc.unix_timestamp() + 60;
                self.down(&json!({"type": "response", "class": "JwtResponse", "code": 200,
                    "body": {"jwt": "j", "exp": exp}}));
            }
            (Some("onMessage"), Some(_)) if std::mem::take(&mut self.throttled) => {
                self.down(&too_many(2, Some(tracing_id)));
            }
            (Some("onMessage"), Some(number)) => {
                self.log.push(Entry::Guest {
                    number,
                    at: rfc3339(now.utc),
                });
                let mut echo = echo(number);
                echo["body"]["channel"]["time"] = rfc3339(now.utc).into();
                self.down(&echo);
            }
            _ => {}
        }
    }

    fn note(&mut self, event: Event) {
        let mut record = |id, name| self.statuses.entry(id).or_default().push(name);
        match event {
            Event::Delivery {
                id,
                status: DeliveryStatus::Delivered { .. },
            } => record(id, "delivered"),
            Event::Delivery {
                id,
                status: DeliveryStatus::Failed(_),
            } => record(id, "failed"),
            Event::Delivery {
                id,
                status: DeliveryStatus::Unknown,
            } => record(id, "unknown"),
            Event::Message(message) => self.shown.push(message.text.parse().unwrap()),
            Event::Session(SessionEvent::HistoryUnread { .. }) => self.unread = true,
            Event::Session(SessionEvent::OwnMessage(message)) => {
                panic!("our own message came back as {message:?}")
            }
            _ => {}
        }
    }

    /// Lets time pass as a driver does: never past a deadline.
    fn pass(&mut self, mut time: Duration) {
        while !time.is_zero() {
            let due = self.peer.conversation.poll_timeout();
            let step = due.map_or(time, |(at, _)| {
                at.saturating_duration_since(self.peer.now.instant).min(time)
            });
            self.peer.pass(step);
            time -= step;
            self.settle();
        }
    }
}

impl Entry {
    fn json(&self) -> Value {
        match self {
            Self::Agent { number, at } => agent(*number, at)["body"].clone(),
            Self::Guest { number, at } => {
                let mut body = echo(*number)["body"].clone();
                body["channel"]["time"] = at.as_str().into();
                // the history has no tracing id; the text is all that tells
                body["text"] = text(*number).into();
                body
            }
        }
    }
}

fn agent(number: u32, at: &str) -> Value {
    json!({"type": "message", "class": "StructuredMessage", "code": 200,
        "body": {"type": "Text", "text": number.to_string(), "direction": "Outbound", "id": format!("a{number}"),
            "originatingEntity": "Human", "channel": {"time": at, "from": {}, "to": {}}}})
}

fn assert_windows(times: &[Instant], limit: usize, seconds: u64) {
    let period = Duration::from_secs(seconds);
    let held = times
        .windows(limit + 1)
        .all(|window| window[limit] - window[0] >= period);
    assert!(held, "more than {limit} in {seconds} s");
}
