//! Random networks and services: each message reaches a final status.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use guest_conversation::{
    Command, DeliveryStatus, Event, GuestMachine as _, Job, Machine as _, MessageId, OutgoingMessage, Reason,
    SendError, SessionEvent, State,
};
use proptest::prelude::*;
use ws_transport::Transmit;

use crate::virtual_peer::{VirtualPeer, echo, id, refused, session_response, too_many, web_messaging};

#[derive(Clone, Debug)]
enum Input {
    AnswerPing,
    Disconnect,
    EchoOldest,
    EchoTwice,
    EndWithin(u64),
    Pass(u64),
    RefuseOldest,
    Send,
    ThrottleOldest,
    ThrottleUntraced,
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        3 => Just(Input::AnswerPing),
        2 => Just(Input::Disconnect),
        6 => Just(Input::EchoOldest),
        1 => Just(Input::EchoTwice),
        1 => (0_u64..10_000).prop_map(Input::EndWithin),
        8 => (1_u64..40_000).prop_map(Input::Pass),
        1 => Just(Input::RefuseOldest),
        12 => Just(Input::Send),
        1 => Just(Input::ThrottleOldest),
        1 => Just(Input::ThrottleUntraced),
    ]
}

/// Statuses of each message, and the time of each frame.
#[derive(Default)]
struct Recorded {
    statuses: HashMap<MessageId, Vec<&'static str>>,
    left: Vec<Instant>,
    requests: Vec<Vec<Instant>>,
    in_transit: Vec<u128>,
}

struct Simulation {
    peer: VirtualPeer,
    recorded: Recorded,
    next: u128,
}

impl Simulation {
    fn new() -> Self {
        let mut simulation = Self {
            peer: VirtualPeer::new(web_messaging()),
            recorded: Recorded::default(),
            next: 0,
        };
        simulation
            .peer
            .conversation
            .engine_mut()
            .connect(simulation.peer.now);
        simulation.settle();
        simulation
    }

    /// Runs the commands of the state machine until there is none; the service configures at once.
    fn settle(&mut self) {
        loop {
            let mut idle = true;
            if let Some(command) = self.peer.conversation.poll_command() {
                idle = false;
                match command {
                    Command::Connect => {
                        self.recorded.requests.push(Vec::new());
                        self.recorded.in_transit.clear();
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
                if let Some(connection) = self.recorded.requests.last_mut() {
                    connection.push(self.peer.now.instant);
                }
                let frame: serde_json::Value = serde_json::from_str(&text).unwrap();
                if frame["action"] == "configureSession" {
                    self.peer.receive(&session_response(false));
                } else {
                    let name = &frame["tracingId"];
                    let number = (0..self.next).find(|n| *name == id(*n).to_string()).unwrap();
                    self.recorded.left.push(self.peer.now.instant);
                    self.recorded.in_transit.push(number);
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
        let mut record = |id, name| self.recorded.statuses.entry(id).or_default().push(name);
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
        self.peer.receive(&echo(n));
    }

    fn input(&mut self, input: &Input) {
        let oldest = self.recorded.in_transit.first().copied();
        match (input, oldest) {
            (Input::AnswerPing, _) => self.peer.conversation.handle_alive(),
            (Input::Disconnect, _) => {
                if !matches!(self.peer.conversation.state(), State::Reconnecting) {
                    self.peer.drop_socket();
                }
                self.recorded.in_transit.clear();
            }
            (Input::EchoOldest, Some(n)) => {
                self.recorded.in_transit.remove(0);
                self.acknowledge(n);
            }
            (Input::EchoTwice, Some(n)) => {
                self.recorded.in_transit.remove(0);
                self.acknowledge(n);
                self.acknowledge(n);
            }
            (Input::EndWithin(millis), _) => {
                let within = Duration::from_millis(*millis);
                self.peer.conversation.end_within(within, self.peer.now);
            }
            (Input::Pass(millis), _) => self.pass(Duration::from_millis(*millis)),
            (Input::RefuseOldest, Some(n)) => {
                self.recorded.in_transit.remove(0);
                self.peer.receive(&refused(4011, Some(id(n))));
            }
            (Input::ThrottleOldest, Some(n)) => {
                self.recorded.in_transit.remove(0);
                self.peer.receive(&too_many(2, Some(id(n))));
            }
            (Input::ThrottleUntraced, Some(_)) if self.recorded.in_transit.len() == 1 => {
                self.recorded.in_transit.clear();
                self.peer.receive(&too_many(2, None));
            }
            (Input::Send, _) => {
                let name = id(self.next);
                match self.peer.conversation.engine_mut().send(
                    name,
                    OutgoingMessage::new("x".to_owned()),
                    self.peer.now,
                ) {
                    Ok(()) => {
                        self.recorded.statuses.entry(name).or_default();
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
        let mut handled = None;
        while !time.is_zero() {
            let due = self.peer.conversation.poll_timeout();
            let step = due.map_or(time, |(at, _)| {
                at.saturating_duration_since(self.peer.now.instant).min(time)
            });
            let overdue =
                due.filter(|(at, reason)| *at <= self.peer.now.instant && *reason != Reason::Reconnect);
            assert!(
                overdue.is_none() || overdue != handled,
                "{overdue:?} was not handled"
            );
            handled = overdue;
            self.peer.pass(step);
            time -= step;
            self.settle();
        }
    }
}

#[test]
fn end_without_delay_closes_at_once() {
    let mut simulation = Simulation::new();
    simulation.input(&Input::EndWithin(0));
    simulation.pass(Duration::from_secs(2));
    assert!(simulation.peer.conversation.state().is_over());
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
    fn message_reaches_one_final_status_within_the_limits(
        inputs in proptest::collection::vec(input(), 1..150),
        jitter in any::<u64>(),
    ) {
        let mut simulation = Simulation::new();
        simulation.peer.jitter = jitter;
        for input in &inputs {
            simulation.input(input);
        }
        simulation.peer.conversation.end(simulation.peer.now);
        simulation.settle();
        simulation.pass(Duration::from_secs(10));
        prop_assert!(simulation.peer.conversation.state().is_over());
        for (id, statuses) in &simulation.recorded.statuses {
            // an unknown status may be decided later; each other one is reported once
            prop_assert!(
                matches!(statuses[..], [_] | ["unknown", "accepted" | "failed"]),
                "{} ended as {:?}", id, statuses
            );
        }
        prop_assert!(windows_hold(&simulation.recorded.left, 5, Duration::from_secs(1)));
        for connection in &simulation.recorded.requests {
            prop_assert!(windows_hold(connection, 60, Duration::from_secs(60)));
        }
    }
}
