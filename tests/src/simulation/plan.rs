//! Plan of a simulation, drawn from a seed before it runs.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::Duration;

use genesys_sim::Rules;
use guest_conversation::State;

/// One simulation, before it runs.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Source of all other values.
    pub seed: u64,
    /// Messages of the guest, with their time after the start.
    pub says: Vec<(Duration, String)>,
    /// Failures of the network, with their time.
    pub breaks: Vec<(Duration, Break)>,
    /// Restarts of the guest's process with the same session.
    pub restarts: Vec<Duration>,
    /// Latency in one direction, in milliseconds.
    pub latency: RangeInclusive<u64>,
    /// Delay of the agent's reply.
    pub thinking: Duration,
    /// Faults of the cloud, as texts of `--fault`.
    pub faults: Vec<&'static str>,
    /// Time after which there are no faults.
    pub calm: Duration,
    /// Final state of the conversation.
    pub ends: State,
}

/// Failure of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Break {
    /// Both ends are notified at once. Frames in transit are lost.
    Reset,
    /// Frames in transit to the cloud arrive, the replies do not.
    AnswersLost,
    /// The guest is notified at once. Frames in transit to the cloud arrive up to two seconds later.
    Late,
    /// Nothing arrives any more, without a notification.
    Silence,
}

impl Plan {
    /// Draws the plan of `seed`.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut dice = fastrand::Rng::with_seed(seed);
        let calm = Duration::from_secs(dice.u64(20..900));
        let moments = |dice: &mut fastrand::Rng, most: usize| {
            let mut moments: Vec<_> = (0..dice.usize(0..=most))
                .map(|_| Duration::from_millis(dice.u64(0..calm.as_millis() as u64)))
                .collect();
            moments.sort();
            moments
        };
        // most guests send few messages, some so many that the history has several pages
        let most = if dice.u8(0..10) == 0 { 150 } else { 20 };
        let says = moments(&mut dice, most)
            .into_iter()
            .enumerate()
            // some messages are equal, as those of people are
            .map(|(n, at)| {
                let text = if dice.u8(0..4) == 0 {
                    "ok".to_owned()
                } else {
                    format!("message {n}")
                };
                (at, text)
            })
            .collect();
        // most simulations have a few failures, some a hundred
        let most = if dice.u8(0..20) == 0 { 100 } else { 6 };
        let breaks = moments(&mut dice, most)
            .into_iter()
            .map(|at| (at, *dice.choice(&BREAKS).expect("there are four")))
            .collect();
        let restarts = if dice.u8(0..8) == 0 {
            moments(&mut dice, 2)
        } else {
            Vec::new()
        };
        let quickest = dice.u64(1..80);
        let latency = quickest..=quickest + dice.u64(0..400);
        let thinking = Duration::from_millis(if dice.bool() { 0 } else { dice.u64(0..30_000) });
        let faults = (0..dice.usize(0..=2))
            .map(|_| *dice.choice(&FAULTS).expect("there are some"))
            .collect();
        Self {
            seed,
            says,
            breaks,
            restarts,
            latency,
            thinking,
            faults,
            calm,
            ends: State::Configured,
        }
    }

    /// Ten messages in a minute over a good network that breaks once, and one fault.
    #[must_use]
    pub fn with(fault: &'static str, ends: State) -> Self {
        let says = (0..10).map(|n| (Duration::from_secs(5 + 6 * n), format!("message {n}")));
        Self {
            seed: 0,
            says: says.collect(),
            breaks: vec![(Duration::from_secs(33), Break::Reset)],
            restarts: Vec::new(),
            latency: 20..=40,
            thinking: Duration::from_secs(2),
            faults: vec![fault],
            calm: Duration::from_secs(120),
            ends,
        }
    }
}

/// One input at a given time.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Break(Break),
    /// Faults of the cloud end.
    Calm,
    Restart,
    Say(String),
}

impl Plan {
    /// All inputs, soonest first.
    pub(super) fn acts(&self) -> VecDeque<(Duration, Act)> {
        let says = self.says.iter().map(|(at, text)| (*at, Act::Say(text.clone())));
        let breaks = self.breaks.iter().map(|(at, how)| (*at, Act::Break(*how)));
        let restarts = self.restarts.iter().map(|at| (*at, Act::Restart));
        // messages that were missed because the history could not be read are emitted after one more reconnect
        let last = [
            (self.calm, Act::Calm),
            (self.calm + REST, Act::Break(Break::Reset)),
        ];
        let mut acts: Vec<_> = says.chain(breaks).chain(restarts).chain(last).collect();
        acts.sort_by_key(|(at, _)| *at);
        acts.into()
    }

    pub(super) fn rules(&self) -> Rules {
        Rules {
            agent_delay: self.thinking,
            faults: self
                .faults
                .iter()
                .map(|fault| fault.parse().expect("the list is well formed"))
                .collect(),
            ..Rules::default()
        }
    }
}

/// Time from the last fault to the last reconnect.
const REST: Duration = Duration::from_secs(300);

const BREAKS: [Break; 4] = [Break::Reset, Break::AnswersLost, Break::Late, Break::Silence];

/// Faults that a conversation has to survive. Those that end it are tested one by one.
const FAULTS: [&str; 19] = [
    "clock:+14m@9",
    "clock:+40s:x3~5%",
    "delay:2s:x10~10%",
    "drop:abrupt:x5~5%",
    "drop:x3@in5",
    "drop:x5~5%",
    "duplicate:x20~20%",
    "expired-jwt:x2",
    "fragment:3:x20~20%",
    "hang:20s:x2~3%",
    "hang:x2~2%",
    "refuse-handshake:503:x3~40%",
    "reorder:x5~10%",
    "rest:401:x2~40%",
    "rest:503:x2~40%",
    "slow-handshake:8s:x3~30%",
    "throttle:x8~10%",
    "unknown-class:x9~10%",
    "unknown-fields:x20~20%",
];
