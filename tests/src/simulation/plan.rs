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
    pub messages: Vec<(Duration, String)>,
    /// Failures of the network, with their time.
    pub breaks: Vec<(Duration, Break)>,
    /// Restarts of the guest's process with the same session.
    pub restarts: Vec<Duration>,
    /// Latency in one direction, in milliseconds.
    pub latency: RangeInclusive<u64>,
    /// Delay of the agent's reply.
    pub reply_delay: Duration,
    /// Faults of the cloud, as texts of `--fault`.
    pub faults: Vec<&'static str>,
    /// Time after which there are no faults.
    pub faults_end: Duration,
    /// Final state of the conversation.
    pub final_state: State,
}

/// Failure of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Break {
    /// Both ends are notified at once. Frames in transit are lost.
    Reset,
    /// Frames in transit to the cloud arrive, the replies do not.
    RepliesLost,
    /// The guest is notified at once. Frames in transit to the cloud arrive up to two seconds later.
    Late,
    /// Nothing arrives any more, without a notification.
    Silence,
}

impl Plan {
    /// Draws the plan of `seed`.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let faults_end = Duration::from_secs(rng.u64(20..900));
        let times = |rng: &mut fastrand::Rng, most: usize| {
            let mut times: Vec<_> = (0..rng.usize(0..=most))
                .map(|_| Duration::from_millis(rng.u64(0..faults_end.as_millis() as u64)))
                .collect();
            times.sort();
            times
        };
        // most guests send few messages, some so many that the history has several pages
        let most = if rng.u8(0..10) == 0 { 150 } else { 20 };
        let messages = times(&mut rng, most)
            .into_iter()
            .enumerate()
            // some messages have the same text
            .map(|(n, at)| {
                let text = if rng.u8(0..4) == 0 {
                    "ok".to_owned()
                } else {
                    format!("message {n}")
                };
                (at, text)
            })
            .collect();
        // most simulations have a few failures, some a hundred
        let most = if rng.u8(0..20) == 0 { 100 } else { 6 };
        let breaks = times(&mut rng, most)
            .into_iter()
            .map(|at| (at, *rng.choice(&BREAKS).expect("there are four")))
            .collect();
        let restarts = if rng.u8(0..8) == 0 {
            times(&mut rng, 2)
        } else {
            Vec::new()
        };
        let min_latency = rng.u64(1..80);
        let latency = min_latency..=min_latency + rng.u64(0..400);
        let reply_delay = Duration::from_millis(if rng.bool() { 0 } else { rng.u64(0..30_000) });
        let faults = (0..rng.usize(0..=2))
            .map(|_| *rng.choice(&FAULTS).expect("there are some"))
            .collect();
        Self {
            seed,
            messages,
            breaks,
            restarts,
            latency,
            reply_delay,
            faults,
            faults_end,
            final_state: State::Configured,
        }
    }

    /// Ten messages in a minute over a good network that breaks once, and one fault.
    #[must_use]
    pub fn with(fault: &'static str, final_state: State) -> Self {
        let messages = (0..10).map(|n| (Duration::from_secs(5 + 6 * n), format!("message {n}")));
        Self {
            seed: 0,
            messages: messages.collect(),
            breaks: vec![(Duration::from_secs(33), Break::Reset)],
            restarts: Vec::new(),
            latency: 20..=40,
            reply_delay: Duration::from_secs(2),
            faults: vec![fault],
            faults_end: Duration::from_secs(120),
            final_state,
        }
    }
}

/// One input at a given time.
#[derive(Clone, Debug)]
pub(super) enum Input {
    Break(Break),
    /// Faults of the cloud end.
    FaultsEnd,
    Restart,
    Message(String),
}

impl Plan {
    /// All inputs, soonest first.
    pub(super) fn inputs(&self) -> VecDeque<(Duration, Input)> {
        let messages = self
            .messages
            .iter()
            .map(|(at, text)| (*at, Input::Message(text.clone())));
        let breaks = self.breaks.iter().map(|(at, how)| (*at, Input::Break(*how)));
        let restarts = self.restarts.iter().map(|at| (*at, Input::Restart));
        // messages that were missed because the history could not be read are emitted after one more reconnect
        let last = [
            (self.faults_end, Input::FaultsEnd),
            (self.faults_end + LAST_RECONNECT, Input::Break(Break::Reset)),
        ];
        let mut inputs: Vec<_> = messages.chain(breaks).chain(restarts).chain(last).collect();
        inputs.sort_by_key(|(at, _)| *at);
        inputs.into()
    }

    pub(super) fn rules(&self) -> Rules {
        Rules {
            agent_delay: self.reply_delay,
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
const LAST_RECONNECT: Duration = Duration::from_secs(300);

const BREAKS: [Break; 4] = [Break::Reset, Break::RepliesLost, Break::Late, Break::Silence];

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
