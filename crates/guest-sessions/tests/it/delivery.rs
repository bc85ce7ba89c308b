//! Delivery over random faults of the network and the gateway.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use guest_conversation::{
    Command, DeliveryStatus, Event, Machine as _, MessageId, Reason, SendError, SessionEvent, State,
};
use proptest::prelude::*;
use ws_transport::Transmit;

use crate::peer::{VirtualPeer, handshake_accepted, id, session};

#[derive(Clone, Debug)]
enum Act {
    AnswerPing,
    Cut,
    EchoOldest,
    EchoTwice,
    EndWithin(u64),
    Pass(u64),
    RefuseOldest,
    Send,
    Throttle,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => Just(Act::AnswerPing),
        2 => Just(Act::Cut),
        6 => Just(Act::EchoOldest),
        1 => Just(Act::EchoTwice),
        1 => (0_u64..10_000).prop_map(Act::EndWithin),
        8 => (1_u64..40_000).prop_map(Act::Pass),
        1 => Just(Act::RefuseOldest),
        12 => Just(Act::Send),
        1 => Just(Act::Throttle),
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

struct Play {
    peer: VirtualPeer,
    ledger: Ledger,
    next: u128,
}

impl Play {
    fn new() -> Self {
        let mut play = Self {
            peer: VirtualPeer::new(session()),
            ledger: Ledger::default(),
            next: 0,
        };
        play.peer.conversation.connect(play.peer.now);
        play.settle();
        play
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
                    Command::ReadHistory(_) => panic!("no host was given"),
                    Command::Upload(_) => panic!("no file was attached"),
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
            &serde_json::json!({"type": "message.accepted", "id": id(n).to_string(),
            "sequence": n, "timestamp": "2026-11-22T12:00:01.000Z"}),
        );
    }

    fn act(&mut self, act: &Act) {
        let oldest = self.ledger.in_flight.first().copied();
        match (act, oldest) {
            (Act::AnswerPing, _) => self.peer.conversation.handle_alive(),
            (Act::Cut, _) => {
                if !matches!(self.peer.conversation.state(), State::Reconnecting) {
                    self.peer.drop_socket();
                }
                self.ledger.in_flight.clear();
            }
            (Act::EchoOldest, Some(n)) => {
                self.ledger.in_flight.remove(0);
                self.acknowledge(n);
            }
            (Act::EchoTwice, Some(n)) => {
                self.ledger.in_flight.remove(0);
                self.acknowledge(n);
                self.acknowledge(n);
            }
            (Act::EndWithin(millis), _) => {
                let within = Duration::from_millis(*millis);
                self.peer.conversation.end_within(within, self.peer.now);
            }
            (Act::Pass(millis), _) => self.pass(Duration::from_millis(*millis)),
            (Act::RefuseOldest, Some(n)) => {
                self.ledger.in_flight.remove(0);
                self.peer.receive(
                    &serde_json::json!({"type": "message.failed", "id": id(n).to_string(),
                    "code": "message.refused", "message": "no"}),
                );
            }
            (Act::Throttle, Some(_)) => {
                self.ledger.in_flight.clear();
                self.peer
                    .receive(&serde_json::json!({"type": "error", "code": "too.many.requests",
                    "message": "slow down", "retryAfter": 2}));
            }
            (Act::Send, _) => {
                let name = id(self.next);
                match self.peer.conversation.send_text(name, "x".to_owned()) {
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
    fn every_message_has_one_final_status_and_no_limit_is_exceeded(
        acts in proptest::collection::vec(act(), 1..150),
        jitter in any::<u64>(),
    ) {
        let mut play = Play::new();
        play.peer.jitter = jitter;
        for act in &acts {
            play.act(act);
        }
        play.peer.conversation.end(play.peer.now);
        play.settle();
        play.pass(Duration::from_secs(10));
        prop_assert!(play.peer.conversation.state().is_over());
        for (id, statuses) in &play.ledger.statuses {
            // an unknown status may be resolved later; every other one is final
            prop_assert!(
                matches!(statuses[..], [_] | ["unknown", "accepted" | "failed"]),
                "{} ended as {:?}", id, statuses
            );
        }
        prop_assert!(windows_hold(&play.ledger.left, 5, Duration::from_secs(1)));
        for connection in &play.ledger.requests {
            prop_assert!(windows_hold(connection, 60, Duration::from_secs(60)));
        }
    }
}
