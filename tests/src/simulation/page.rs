//! Random simulations of a guest's pages: page, gateway and Genesys Cloud, with faults on both sides.
//!
//! The pages are [`GatewayConversation`]s, the gateway is a [`Relay`](guest_gateway::relay::Relay) on the conversation of
//! the [other simulation](super). Invariants:
//!
//! - No page shows a message twice.
//! - A page shows every message of the agent, in the order of the cloud's clock, except around a reported gap.
//! - A message of the guest is in the cloud's transcript at most once. Delivered, it is there; failed, it is not.

mod gateway;
mod invariants;
mod pages;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Duration;

use genesys_sim::{Agent, Rules, Script};

use self::gateway::Gateway;
use self::pages::Pages;
use super::plan::{Input, Plan};
use super::state::Simulation;
use super::{BrokenInvariant, state};

/// Replies of the agent to a message with the word `flood`: four are more than a recovery reads.
const FLOOD: usize = 60;

/// Figures of one simulation of pages.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PageReport {
    /// A hash of all events, in order: equal for equal seeds.
    pub trace: u64,
    /// Messages of the agent in the transcript.
    pub sent: usize,
    /// Messages that the pages showed.
    pub shown: usize,
    /// Gaps that the pages reported.
    pub gaps: usize,
    /// Connections of the pages.
    pub connections: usize,
    /// Starts of the gateway.
    pub starts: usize,
    /// Sockets that the gateway dropped, because they made no progress.
    pub stalled: usize,
}

/// A fault on the side of the pages.
#[derive(Clone, Copy, Debug)]
enum PageFault {
    /// The connection of a page breaks. Whether its frames in transit arrive.
    Cut { page: usize, arrive: bool },
    /// A page reads nothing for this time.
    Slow { page: usize, during: Duration },
    /// The gateway is killed, or stopped, and started after this time.
    Restart { killed: bool, after: Duration },
}

enum Step {
    Upstream(Input),
    Fault(PageFault),
    Start,
    Message { page: usize, text: String },
}

/// Runs the simulation of pages of `seed`.
///
/// # Errors
/// The invariant that did not hold, with the seed.
pub fn run_pages(seed: u64) -> Result<PageReport, BrokenInvariant> {
    replay_pages(seed, false).1
}

/// As [`run_pages`], with all events, line by line, if `logged`.
pub fn replay_pages(seed: u64, logged: bool) -> (Vec<String>, Result<PageReport, BrokenInvariant>) {
    let plan = Plan::draw(seed);
    let mut rng = fastrand::Rng::with_seed(seed.rotate_left(32));
    let mut upstream = Simulation::with_rules(&plan, rules(&plan));
    upstream.log = logged.then(Vec::new);
    let mut run = Run {
        pages: Pages::new(rng.usize(1..=2), &upstream, rng.fork()),
        gateway: Gateway::new(&upstream),
        upstream,
    };
    let mut steps = steps(&plan, run.pages.len(), &mut rng);
    let outcome = match run.run(&plan, &mut steps) {
        true => invariants::check(&plan, &run),
        false => Err("it does not terminate".to_owned()),
    };
    let lines = run.upstream.log.take().unwrap_or_default();
    let outcome = outcome.map_err(|invariant| BrokenInvariant {
        seed,
        invariant: format!("{invariant} (of its pages: --pages in place of --seed)"),
    });
    (lines, outcome.map(|()| run.report()))
}

/// The agent answers each message once, and a flood often.
fn rules(plan: &Plan) -> Rules {
    let mut script = "name: chatty\nrules:\n  - on: {contains: flood}\n    do:\n".to_owned();
    for n in 0..FLOOD {
        let _ = writeln!(script, "      - say: \"{n}: {{text}}\"");
    }
    script.push_str("  - on: otherwise\n    do: [{type: 5s}, pause, {say: \"You said: {text}\"}]\n");
    let script = Script::parse("chatty", &script).expect("the script is well formed");
    Rules {
        agent: Agent::Scripts(vec![script]),
        ..plan.rules()
    }
}

fn steps(plan: &Plan, pages: usize, rng: &mut fastrand::Rng) -> VecDeque<(Duration, Step)> {
    let end = plan.faults_end.as_millis() as u64;
    let mut steps: Vec<(Duration, Step)> = Vec::new();
    let flooded = rng.u8(0..4) == 0;
    for (at, input) in plan.inputs() {
        match input {
            Input::Message(_) => {
                let flood = flooded && rng.u8(0..3) == 0;
                let text = format!("{} {}", if flood { "flood" } else { "message" }, steps.len());
                let page = rng.usize(0..pages);
                steps.push((at, Step::Message { page, text }));
            }
            Input::Restart => {}
            other => steps.push((at, Step::Upstream(other))),
        }
    }
    let most = if rng.u8(0..20) == 0 { 60 } else { 6 };
    for _ in 0..rng.usize(0..=most) {
        let (at, page) = (Duration::from_millis(rng.u64(0..end)), rng.usize(0..pages));
        let fault = match rng.u8(0..10) {
            0..=4 => PageFault::Cut {
                page,
                arrive: rng.bool(),
            },
            5..=7 => PageFault::Slow {
                page,
                during: Duration::from_millis(rng.u64(0..20_000)),
            },
            _ => PageFault::Restart {
                killed: rng.bool(),
                after: Duration::from_millis(rng.u64(0..30_000)),
            },
        };
        if let PageFault::Restart { after, .. } = fault {
            steps.push((at + after, Step::Start));
        }
        steps.push((at, Step::Fault(fault)));
    }
    // what the gateway reads at last reaches pages that connect once more
    for page in 0..pages {
        let at = plan.faults_end + Duration::from_secs(360);
        steps.push((at, Step::Fault(PageFault::Cut { page, arrive: true })));
    }
    steps.sort_by_key(|(at, _)| *at);
    steps.into()
}

struct Run {
    upstream: Simulation,
    gateway: Gateway,
    pages: Pages,
}

impl Run {
    /// Runs to the end of the time after the last fault. Returns whether it terminates.
    fn run(&mut self, plan: &Plan, steps: &mut VecDeque<(Duration, Step)>) -> bool {
        let end = self.upstream.start + plan.faults_end + state::RECOVERY;
        self.upstream.start_process((None, None));
        for _ in 0..state::MAX_STEPS {
            self.settle();
            let step = steps.front().map(|(after, _)| self.upstream.start + *after);
            let inner = self.upstream.next_at();
            let next = [step, inner, self.pages.next_at(), self.gateway.next_at()];
            let next = next.into_iter().flatten().min().filter(|at| *at <= end);
            let Some(at) = next else { return true };
            self.upstream.pass_to(at);
            let now = self.upstream.now;
            if step == Some(at) {
                if let Some((_, step)) = steps.pop_front() {
                    self.act(step);
                }
            } else if inner == Some(at) {
                self.upstream.step();
            } else {
                self.pages.step(&mut self.gateway, &mut self.upstream);
                self.gateway.handle_timeout(now);
            }
        }
        false
    }

    fn act(&mut self, step: Step) {
        let upstream = &mut self.upstream;
        match step {
            Step::Upstream(input) => upstream.act(input),
            Step::Message { page, text } => self.pages.send(page, text, upstream),
            Step::Start => self.gateway.start(upstream),
            Step::Fault(fault) => {
                upstream.note(&format_args!("{fault:?}").to_string());
                match fault {
                    PageFault::Cut { page, arrive } => {
                        self.pages.cut(page, arrive, &mut self.gateway, upstream)
                    }
                    PageFault::Slow { page, during } => self.pages.slow(page, during, upstream),
                    PageFault::Restart { killed, .. } => {
                        self.gateway.stop(killed, &mut self.pages, upstream);
                    }
                }
            }
        }
    }

    /// Polls all three until none has output.
    fn settle(&mut self) {
        loop {
            self.upstream.settle();
            let fed = self.gateway.feed(&self.upstream);
            let moved = self.pages.settle(&mut self.gateway, &mut self.upstream);
            if !fed && !moved {
                return;
            }
        }
    }

    fn report(&self) -> PageReport {
        let transcript = self.upstream.transcript.iter();
        PageReport {
            trace: self.upstream.trace(),
            sent: transcript.filter(|entry| !entry.by_guest).count(),
            shown: self.pages.shown().map(Iterator::count).sum(),
            gaps: self.pages.gaps(),
            connections: self.pages.connections(),
            starts: self.gateway.starts,
            stalled: self.pages.stalled,
        }
    }
}
