//! State of a running simulation: the guest, the cloud, and the network between them.

mod transport;

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use genesys_api::{Host, Now, parse_rfc3339};
use genesys_sim::{Cloud, Rules, TranscriptEntry};
use guest_conversation::{
    ConnectionEvent, Conversation, Event, GuestMachine as _, Machine as _, MessageId, OutgoingMessage,
    WebMessaging,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use time::OffsetDateTime;
use ws_transport::{AdmittedOrigin, OriginPolicy};

use self::transport::Transport;
use super::plan::{Input, Plan};

/// Time after the last fault: long enough for the slowest reconnect and two reads of the history.
pub(super) const RECOVERY: Duration = Duration::from_secs(600);
/// More steps than any correct run takes.
pub(super) const MAX_STEPS: usize = 400_000;
/// Figures of one run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// A hash of all events, in order: equal for equal seeds.
    pub trace: u64,
    /// Connections opened.
    pub connections: u32,
    /// Messages that the guest sent.
    pub messages: u32,
    /// Agent messages that were emitted.
    pub received: u32,
    /// Connections lost.
    pub reconnects: u32,
    /// Faults of the cloud.
    pub faults: u64,
    /// Virtual time passed.
    pub lasted: Duration,
    /// Steps taken.
    pub steps: usize,
}

/// The guest, the cloud and the network.
pub(super) struct Simulation {
    pub(super) cloud: Cloud,
    pub(super) conversation: Conversation,
    /// Events emitted to the application, with the process that emitted each.
    pub(super) received: Vec<(u32, Event)>,
    /// Messages of the application, in order, with process and id.
    pub(super) messages: Vec<(u32, MessageId, String)>,
    /// Number of times that each message was sent.
    pub(super) sent: BTreeMap<MessageId, u32>,
    /// Transcript of the cloud.
    pub(super) transcript: Vec<TranscriptEntry>,
    /// Number of restarts of the application.
    pub(super) process: u32,
    /// Counters of the cloud when its transcript was last read.
    counted: (u64, u64),
    token: SecretString,
    base: Host,
    transport: Transport,
    rng: fastrand::Rng,
    pub(super) start: Instant,
    pub(super) now: Now,
    /// Lead of the cloud's clock over the guest's.
    ahead: Duration,
    trace: DefaultHasher,
    /// All events as text, for a replay.
    pub(super) log: Option<Vec<String>>,
}

impl Simulation {
    pub(super) fn new(plan: &Plan) -> Self {
        Self::with_rules(plan, plan.rules())
    }

    pub(super) fn with_rules(plan: &Plan, rules: Rules) -> Self {
        let base: Host = "https://cloud.example".parse().expect("a host");
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&plan.seed.to_be_bytes());
        let cloud = Cloud::new(rules, base.clone(), seed);
        let now = epoch();
        let mut rng = fastrand::Rng::with_seed(!plan.seed);
        let token = SecretString::from(uuid(&mut rng).to_string());
        let conversation = Conversation::new(contract(&cloud, &token, &base));
        Self {
            cloud,
            conversation,
            received: Vec::new(),
            messages: Vec::new(),
            sent: BTreeMap::new(),
            transcript: Vec::new(),
            process: 0,
            counted: (0, 0),
            token,
            transport: Transport::new(&base, origin(), plan.latency.clone()),
            base,
            rng,
            start: now.instant,
            now,
            ahead: Duration::ZERO,
            trace: DefaultHasher::new(),
            log: None,
        }
    }

    /// Runs to the end of the time after the last fault. `None` if it does not terminate.
    pub(super) fn run(&mut self, plan: &Plan) -> Option<Report> {
        let end = self.start + plan.faults_end + RECOVERY;
        let mut inputs = plan.inputs();
        self.conversation.engine_mut().connect(self.now);
        for steps in 1..MAX_STEPS {
            self.settle();
            let act = inputs.front().map(|(after, _)| self.start + *after);
            let next = act.into_iter().chain(self.next_at()).min();
            let Some(at) = next.filter(|at| *at <= end) else {
                return Some(self.report(steps));
            };
            self.pass_to(at);
            if act == Some(at) {
                if let Some((_, act)) = inputs.pop_front() {
                    self.act(act);
                }
                self.read_transcript();
            } else {
                self.step();
            }
        }
        None
    }

    /// The next time at which something happens by itself.
    pub(super) fn next_at(&self) -> Option<Instant> {
        let next = [
            self.transport.next_at(),
            self.conversation.poll_timeout().map(|(at, _)| at),
            self.cloud.poll_timeout().map(|(at, _)| at - self.ahead),
        ];
        next.into_iter().flatten().min()
    }

    /// Moves the clock.
    pub(super) fn pass_to(&mut self, at: Instant) {
        let passed = at.saturating_duration_since(self.now.instant);
        self.now.instant += passed;
        self.now.utc += passed;
    }

    /// Delivers a packet that is due, or handles the timeouts.
    pub(super) fn step(&mut self) {
        if !self.arrive() {
            self.conversation.handle_timeout(self.now);
            self.cloud.handle_timeout(self.cloud_now());
        }
        self.read_transcript();
    }

    /// Ends the process of the guest. What it sent before arrives.
    pub(super) fn stop_process(&mut self) {
        self.note(&"stop");
        self.process += 1;
        self.transport.disconnect(self.now.instant, &mut self.rng);
        self.conversation = Conversation::new(contract(&self.cloud, &self.token, &self.base));
    }

    /// Connects a process that resumes after a message of this time and id.
    pub(super) fn start_process(&mut self, resume: (Option<OffsetDateTime>, Option<String>)) {
        self.note(&"start");
        self.conversation = Conversation::new(WebMessaging {
            resume_after: resume.0,
            resume_message: resume.1,
            ..contract(&self.cloud, &self.token, &self.base)
        });
        self.conversation.engine_mut().connect(self.now);
    }

    pub(super) fn trace(&self) -> u64 {
        self.trace.finish()
    }

    pub(super) fn act(&mut self, act: Input) {
        match act {
            Input::Break(how) => {
                self.note(&("break", how as u8));
                self.transport.break_connection(how, self.now.instant);
            }
            Input::FaultsEnd => {
                self.cloud.remove_faults(None);
            }
            Input::Restart => {
                self.stop_process();
                self.start_process((None, None));
            }
            Input::Message(text) => {
                let id = MessageId::from(uuid(&mut self.rng));
                if self
                    .conversation
                    .engine_mut()
                    .send(id, OutgoingMessage::new(text.clone()), self.now)
                    .is_ok()
                {
                    self.messages.push((self.process, id, text));
                }
            }
        }
    }

    fn count(&mut self, frame: &str) {
        let frame: Value = serde_json::from_str(frame).unwrap_or_default();
        if let Some(id) = frame["tracingId"].as_str().and_then(|id| id.parse().ok())
            && frame["action"] == "onMessage"
        {
            *self.sent.entry(id).or_default() += 1;
        }
    }

    /// Copies the transcript of the cloud, as long as the cloud keeps it.
    fn read_transcript(&mut self) {
        let counted = self.cloud.counters();
        let counted = (counted.guest_messages, counted.agent_messages);
        if counted != self.counted {
            self.counted = counted;
            let record = self.cloud.transcript(self.token.expose_secret());
            // the cloud keeps the latest entries only
            if let Some(first) = record.first() {
                let known = |entry: &TranscriptEntry| {
                    let mut same = record.iter().take_while(|other| other.at == entry.at);
                    same.any(|other| other.text == entry.text && other.by_guest == entry.by_guest)
                };
                self.transcript
                    .retain(|entry| entry.at < first.at || entry.at == first.at && !known(entry));
                self.transcript.extend(record);
            }
        }
    }

    /// The time at the cloud.
    fn cloud_now(&self) -> Now {
        Now {
            instant: self.now.instant + self.ahead,
            utc: self.now.utc + self.ahead,
        }
    }

    pub(super) fn note(&mut self, what: &(impl Hash + fmt::Debug)) {
        let after = self.now.instant - self.start;
        (after, what).hash(&mut self.trace);
        if let Some(log) = &mut self.log {
            log.push(format!("{:>9.3} s  {what:?}", after.as_secs_f64()));
        }
    }

    fn report(&self, steps: usize) -> Report {
        let count = |which: fn(&Event) -> bool| {
            let events = self.received.iter().filter(|(_, event)| which(event));
            u32::try_from(events.count()).unwrap_or(u32::MAX)
        };
        Report {
            trace: self.trace.finish(),
            connections: self.transport.connections(),
            messages: u32::try_from(self.messages.len()).unwrap_or(u32::MAX),
            received: count(|event| matches!(event, Event::Message(_))),
            reconnects: count(|event| {
                matches!(event, Event::Connection(ConnectionEvent::Reconnecting { .. }))
            }),
            faults: self.cloud.counters().faults.values().sum(),
            lasted: self.now.instant - self.start,
            steps,
        }
    }
}

fn contract(cloud: &Cloud, token: &SecretString, base: &Host) -> WebMessaging {
    WebMessaging {
        api: Some(base.clone()),
        ..WebMessaging::new(cloud.deployment_id().clone(), token.clone())
    }
}

fn origin() -> AdmittedOrigin {
    let policy = OriginPolicy::new(["https://shop.example"]).expect("an origin");
    policy.admit(["https://shop.example"]).expect("the policy has it")
}

fn uuid(rng: &mut fastrand::Rng) -> uuid::Uuid {
    uuid::Builder::from_random_bytes(rng.u128(..).to_be_bytes()).into_uuid()
}

fn epoch() -> Now {
    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant can be had from nowhere else, and only differences to it count"
    )]
    let instant = Instant::now();
    Now {
        instant,
        utc: parse_rfc3339("2026-11-22T12:00:00Z").expect("a time"),
    }
}
