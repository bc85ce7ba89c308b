//! Delivery over random faults of the network and the gateway.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use guest_conversation::{
    Command, DeliveryStatus, Event, GuestMachine as _, Job, Machine as _, MessageId, OutgoingMessage, Reason,
    SendError, SessionEvent, State,
};
use proptest::prelude::*;
use ws_transport::Transmit;

use crate::peer::{VirtualPeer, handshake_accepted, id, not_sent, session};

#[derive(Clone, Debug)]
enum Step {
    AnswerPing,
    Cut,
    EchoOldest,
    EchoTwice,
    EndWithin(u64),
    LeaveOldest,
    Pass(u64),
    RefuseOldest,
    Send,
    Throttle,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::AnswerPing),
        2 => Just(Step::Cut),
        6 => Just(Step::EchoOldest),
        1 => Just(Step::EchoTwice),
        1 => (0_u64..10_000).prop_map(Step::EndWithin),
        1 => Just(Step::LeaveOldest),
        8 => (1_u64..40_000).prop_map(Step::Pass),
        1 => Just(Step::RefuseOldest),
        12 => Just(Step::Send),
        1 => Just(Step::Throttle),
    ]
}

/// The statuses of each message, and the time of each frame.
#[derive(Default)]
struct Ledger {
    statuses: HashMap<MessageId, Vec<&'static str>>,
    left: Vec<Instant>,
    requests: Vec<Vec<Instant>>,
    in_flight: Vec<u128>,
}

struct Scenario {
    peer: VirtualPeer,
    ledger: Ledger,
    next: u128,
}

impl Scenario {
    fn new() -> Self {
        let mut scenario = Self {
            peer: VirtualPeer::new(session()),
            ledger: Ledger::default(),
            next: 0,
        };
        scenario.peer.conversation.engine_mut().connect(scenario.peer.now);
        scenario.settle();
        scenario
    }

    /// Runs the commands of the state machine until there are none. The service configures at once.
    fn settle(&mut self) {
        loop {
            let mut idle = true;
            if let Some(command) = self.peer.conversation.poll_command() {
                idle = false;
                match command {
                    Command::Connect => {
                        self.ledger.requests.push(Vec::new());
                        self.ledger.in_flight.clear();
                        self.peer.conversation.handle_connected(self.peer.now);
                    }
                    Command::Disconnect => self.peer.drop_socket(),
                    Command::Run(_, Job::ReadHistory(_)) => panic!("no host was given"),
                    Command::Run(_, Job::Upload(_)) => panic!("no file was attached"),
                }
            }
            for transmit in self.peer.transmits() {
                idle = false;
                let Transmit::Frame(text) = transmit else { continue };
                if let Some(connection) = self.ledger.requests.last_mut() {
                    connection.push(self.peer.now.instant);
                }
                let frame: serde_json::Value = serde_json::from_str(&text).unwrap();
                if frame["type"] == "handshake" {
                    self.peer.receive(&handshake_accepted(0));
                } else {
                    let name = &frame["id"];
                    let number = (0..self.next).find(|n| *name == id(*n).to_string()).unwrap();
                    self.ledger.left.push(self.peer.now.instant);
                    self.ledger.in_flight.push(number);
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

    fn note(&mut self, event: Event) {
        let mut record = |id, status| self.ledger.statuses.entry(id).or_default().push(status);
        match event {
            Event::Delivery {
                id,
                status: DeliveryStatus::Delivered { .. },
            } => record(id, "accepted"),
            Event::Delivery {
                id,
                status: DeliveryStatus::Failed(_),
            } => record(id, "failed"),
            Event::Delivery {
                id,
                status: DeliveryStatus::Unknown,
            } => record(id, "unknown"),
            Event::Message(message) | Event::Session(SessionEvent::OwnMessage(message)) => {
                panic!("our own message came back as {message:?}")
            }
            _ => {}
        }
    }

    fn acknowledge(&mut self, n: u128) {
        self.peer.receive(
            &serde_json::json!({"type": "delivery", "state": "sent", "id": id(n).to_string(),
            "sequence": n, "timestamp": "2026-11-22T12:00:01.000Z"}),
        );
    }

    fn apply(&mut self, step: &Step) {
        let oldest = self.ledger.in_flight.first().copied();
        match (step, oldest) {
            (Step::AnswerPing, _) => self.peer.conversation.handle_alive(),
            (Step::Cut, _) => {
                if !matches!(self.peer.conversation.state(), State::Reconnecting) {
                    self.peer.drop_socket();
                }
                self.ledger.in_flight.clear();
            }
            (Step::EchoOldest, Some(n)) => {
                self.ledger.in_flight.remove(0);
                self.acknowledge(n);
            }
            (Step::EchoTwice, Some(n)) => {
                self.ledger.in_flight.remove(0);
                self.acknowledge(n);
                self.acknowledge(n);
            }
            (Step::EndWithin(millis), _) => {
                let within = Duration::from_millis(*millis);
                self.peer.conversation.end_within(within, self.peer.now);
                // with 0 ms each of the three steps is due at once
                for _ in 0..3 {
                    self.settle();
                    self.peer.pass(Duration::ZERO);
                }
            }
            (Step::LeaveOldest, Some(n)) => {
                self.ledger.in_flight.remove(0);
                self.peer.receive(&not_sent(n));
            }
            (Step::Pass(millis), _) => self.pass(Duration::from_millis(*millis)),
            (Step::RefuseOldest, Some(n)) => {
                self.ledger.in_flight.remove(0);
                self.peer.receive(
                    &serde_json::json!({"type": "delivery", "state": "failed", "id": id(n).to_string(),
                    "code": "message.refused", "message": "no"}),
                );
            }
            (Step::Throttle, Some(_)) => {
                self.ledger.in_flight.clear();
                self.peer
                    .receive(&serde_json::json!({"type": "error", "code": "too.many.requests",
                    "message": "slow down", "retryAfter": 2}));
            }
            (Step::Send, _) => {
                let name = id(self.next);
                match self.peer.conversation.engine_mut().send(
                    name,
                    OutgoingMessage::new("x".to_owned()),
                    self.peer.now,
                ) {
                    Ok(()) => {
                        self.ledger.statuses.entry(name).or_default();
                    }
                    Err(error) => assert!(matches!(error, SendError::Ended | SendError::Full { .. })),
                }
                self.next += 1;
            }
            _ => {}
        }
        self.settle();
    }

    /// Lets time pass as a driver does: never past a deadline.
    fn pass(&mut self, mut time: Duration) {
        while !time.is_zero() {
            let due = self.peer.conversation.poll_timeout();
            let step = due.map_or(time, |(at, _)| {
                at.saturating_duration_since(self.peer.now.instant).min(time)
            });
            if let Some((at, reason)) = due {
                assert!(
                    at > self.peer.now.instant || reason == Reason::Reconnect,
                    "{reason:?} is due and was not handled"
                );
            }
            self.peer.pass(step);
            time -= step;
            self.settle();
        }
    }
}

fn windows_hold(times: &[Instant], limit: usize, period: Duration) -> bool {
    times.iter().all(|first| {
        times
            .iter()
            .filter(|at| *at >= first && **at < *first + period)
            .count()
            <= limit
    })
}

proptest! {
    #[test]
    fn message_has_one_final_status_and_no_limit_is_exceeded(
        steps in proptest::collection::vec(step(), 1..150),
        jitter in any::<u64>(),
    ) {
        let mut scenario = Scenario::new();
        scenario.peer.jitter = jitter;
        for step in &steps {
            scenario.apply(step);
        }
        scenario.peer.conversation.end(scenario.peer.now);
        scenario.settle();
        scenario.pass(Duration::from_secs(10));
        prop_assert!(scenario.peer.conversation.state().is_over());
        for (id, statuses) in &scenario.ledger.statuses {
            // an unknown status may be resolved later; every other one is final
            prop_assert!(
                matches!(statuses[..], [_] | ["unknown", "accepted" | "failed"]),
                "{} ended as {:?}", id, statuses
            );
        }
        prop_assert!(windows_hold(&scenario.ledger.left, 5, Duration::from_secs(1)));
        for connection in &scenario.ledger.requests {
            prop_assert!(windows_hold(connection, 60, Duration::from_secs(60)));
        }
    }
}
