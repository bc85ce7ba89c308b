//! The parts of a conversation that do not depend on its contract: connection, outbox, events, ids for deduplication,
//! timeline.
//!
//! A machine owns an [`Engine`], passes its inputs to it, and acts on the results. The engine knows no frame.

mod delivery;
pub(crate) mod shutdown;
mod token;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use genesys_api::Now;
use ws_transport::{Backoff, CloseInfo, Heartbeat, HeartbeatAction, Transmit};

use self::delivery::QueueTimeout;
use self::shutdown::ClosingStep;
use crate::event::{ConnectionEvent, Ending, Event, FailureReason, Loss, SessionInfo};
use crate::outbox::Outbox;
use crate::pacing::Pacing;
use crate::recent_ids::RecentIds;
pub use crate::state::Configured;
use crate::state::{Command, Phase, Progress, Reason, Stage, State, Wait};
use crate::timeline::{REQUEST_LIMIT, Timeline, TimelineEvent};
use crate::{Direction, MessageId};

/// Longest time for opening a connection, with its upgrade.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest wait for the session.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Most events that wait to be polled.
const EVENT_LIMIT: usize = 1024;

const CLOSE_FRAME: Transmit = Transmit::Close {
    code: 1000,
    reason: "the guest has left",
};

/// An action that is due for the machine.
#[derive(Debug)]
pub enum Due {
    /// Request the session.
    Configure,
    /// Request the clearing if the shutdown includes it, else close.
    Clear,
    /// Queue the close frame.
    Close,
    /// End the conversation.
    Finish(Ending),
}

/// The way a connection ended.
#[derive(Debug)]
pub enum Closed {
    /// This side closed it.
    ByUs,
    /// It is lost.
    Lost(Loss),
}

/// The parts of a conversation that do not depend on its contract.
#[derive(Debug, Default)]
pub struct Engine {
    phase: Phase,
    pub(crate) progress: Progress,
    backoff: Backoff,
    /// Tokens requested in a row.
    token_attempts: u8,
    /// The next command, until the driver polls it.
    pub command: Option<Command>,
    transmits: VecDeque<Transmit>,
    /// Time at which a rate limit lets the next frame pass.
    pub(crate) pace: Option<Instant>,
    pub(crate) pacing: Pacing,
    pub(crate) outbox: Outbox,
    queue_timeout: QueueTimeout,
    /// Events that wait to be polled. Beyond 1,024 the connection is dropped.
    pub events: VecDeque<Event>,
    pub(crate) recent: RecentIds,
    /// The timeline, which stays when the conversation is over. It holds no text of a message.
    pub timeline: Timeline,
}

impl Engine {
    /// The state of the conversation.
    #[must_use]
    pub fn state(&self) -> State {
        self.phase.state()
    }

    /// Whether the connection is open, and not about to be dropped.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open { .. })
    }

    /// Whether the connection is open and the session configured.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.is_open() && matches!(self.state(), State::Configured | State::ReadOnly)
    }

    /// Whether messages may be sent: in a ready session, or while a shutdown waits for them.
    #[must_use]
    pub fn may_transmit(&self) -> bool {
        self.is_ready() || self.closing_step() == Some(ClosingStep::Draining)
    }

    /// Whether a shutdown waits for messages, and all are acknowledged.
    #[must_use]
    pub fn has_drained(&self) -> bool {
        self.closing_step() == Some(ClosingStep::Draining) && self.outbox.is_idle()
    }

    pub(crate) fn closing_step(&self) -> Option<ClosingStep> {
        match self.stage()? {
            Stage::Closing(closing) => Some(closing.step),
            _ => None,
        }
    }

    pub(crate) fn stage(&self) -> Option<&Stage> {
        match &self.phase {
            Phase::Open { stage, .. } => Some(stage),
            _ => None,
        }
    }

    /// Whether the id of a message is new.
    pub fn is_new(&mut self, id: &str) -> bool {
        self.recent.insert(id)
    }

    fn set(&mut self, phase: Phase) {
        let state = phase.state();
        self.phase = phase;
        self.timeline.record(TimelineEvent::State(state));
    }

    /// Enters a stage of the open connection.
    pub(crate) fn enter(&mut self, next: Stage) {
        if let Phase::Open { stage, .. } = &mut self.phase {
            let entered = TimelineEvent::State(next.state());
            *stage = next;
            self.timeline.record(entered);
        }
    }

    /// Sets the deadline for leaving the read-only conversation. `None` if it is not left.
    pub(crate) fn set_leaving(&mut self, until: Option<Instant>) {
        if let Phase::Open {
            stage: Stage::ReadOnly { leaving },
            ..
        } = &mut self.phase
        {
            *leaving = until;
        }
    }

    /// Connects for the first time, or ends the wait for the next attempt.
    pub fn connect(&mut self, now: Now) {
        self.timeline.handle_time(now);
        if matches!(self.state(), State::Idle | State::Reconnecting) {
            self.stop_waiting_for_token();
            let until = now.instant + CONNECT_TIMEOUT;
            self.set(Phase::Connecting { until });
            self.command = Some(Command::Connect);
        }
    }

    /// Drops the connection, if there is one, and opens another one at once.
    pub fn reconnect(&mut self, now: Now) {
        self.timeline.handle_time(now);
        match (&self.phase, self.state()) {
            (Phase::Dropping { .. }, _) => {}
            (_, State::Connecting | State::Configuring | State::Configured | State::ReadOnly) => {
                self.disconnect(Loss::Requested);
            }
            _ => self.connect(now),
        }
    }

    /// Handles a limit on new connections: see [`ws_transport::Machine::handle_connect_deferred`].
    pub fn handle_connect_deferred(&mut self, at: Instant, now: Now) {
        if let Phase::Connecting { until } = &mut self.phase {
            *until = at + CONNECT_TIMEOUT;
            self.timeline.handle_time(now);
            self.timeline.record_wait("the limit of new connections", at);
            let after = at.saturating_duration_since(now.instant);
            self.emit(ConnectionEvent::Deferred { after });
        }
    }

    /// Handles an opened connection. Returns whether the session is to be requested.
    pub fn handle_connected(&mut self, now: Now) -> bool {
        self.timeline.handle_time(now);
        if !matches!(self.phase, Phase::Connecting { .. }) {
            return false;
        }
        self.set(Phase::Open {
            heartbeat: Heartbeat::new(now.instant),
            stage: Stage::Configuring(Wait::Retry(now.instant)),
        });
        self.pacing.handle_connected();
        true
    }

    /// Takes a slot for requesting the session. Returns whether there is one; else [`Due::Configure`] follows.
    pub fn request_session(&mut self, now: Now) -> bool {
        let slot = self.pacing.configure(now.instant);
        let wait = match slot {
            Ok(()) => Wait::Answer(now.instant + ANSWER_TIMEOUT),
            Err(at) => {
                self.timeline.record_wait(REQUEST_LIMIT, at);
                Wait::Retry(at)
            }
        };
        self.set_wait(wait);
        slot.is_ok()
    }

    /// Waits longer for the requested session: the peer answers, and cannot configure it yet.
    pub fn extend_wait(&mut self, by: Duration, now: Now) {
        if let Some(Wait::Answer(until)) = self.phase.wait() {
            *until = (now.instant + by).max(*until);
        }
    }

    fn set_wait(&mut self, next: Wait) {
        if let Some(wait) = self.phase.wait() {
            *wait = next;
        }
    }

    /// Handles the configured session: emits the event, if it was awaited.
    pub fn handle_configured(&mut self, session: SessionInfo, now: Now) -> Option<Configured> {
        let configured = match (self.stage()?, self.progress) {
            (Stage::SigningIn(_), _) => Configured::SignedIn,
            (Stage::Configuring(_), Progress::New) => Configured::First,
            (Stage::Configuring(_), _) => Configured::Again,
            _ => return None,
        };
        self.enter(Stage::Configured);
        self.backoff.handle_ready(now.instant);
        self.token_attempts = 0;
        self.emit(match (configured, self.progress) {
            (Configured::SignedIn, _) => ConnectionEvent::SignedIn(session),
            (_, Progress::New | Progress::StartingNew) => ConnectionEvent::Ready(session),
            (_, Progress::Joining | Progress::Established) => ConnectionEvent::Restored(session),
        });
        if self.progress != Progress::Joining {
            self.progress = Progress::Established;
        }
        Some(configured)
    }

    /// Handles a conversation that became read-only. Returns the ids of the messages that waited.
    pub fn handle_read_only(&mut self) -> Vec<MessageId> {
        if self.is_open() && self.state() == State::Configured {
            self.enter(Stage::ReadOnly { leaving: None });
        }
        self.fail_waiting(&FailureReason::ReadOnly)
    }

    /// Handles a read-only conversation that was left for a new one.
    pub fn handle_writable(&mut self) {
        if self.is_open() && self.state() == State::ReadOnly {
            self.enter(Stage::Configured);
        }
    }

    /// Handles a received frame. Returns whether it is to be read.
    pub fn handle_frame(&mut self, now: Now) -> bool {
        if !self.is_open() {
            return false;
        }
        self.timeline.handle_time(now);
        self.handle_alive();
        if self.events.len() >= EVENT_LIMIT {
            self.disconnect(Loss::Overrun);
            return false;
        }
        true
    }

    /// Handles a sign of life of the peer.
    pub fn handle_alive(&mut self) {
        if let Phase::Open { heartbeat, .. } = &mut self.phase {
            let was_silent = heartbeat.has_missed();
            heartbeat.handle_alive();
            if was_silent {
                self.emit(ConnectionEvent::Responding);
            }
        }
    }

    /// Drops the connection, or stops its opening. `handle_closed` follows.
    pub fn disconnect(&mut self, loss: Loss) {
        self.stop_waiting_for_token();
        let state = self.state();
        self.phase = Phase::Dropping { state, loss };
        self.transmits.clear();
        self.command = Some(Command::Disconnect);
    }

    /// Handles a connection that ended or could not be opened. Returns the way it ended, if that changes anything.
    pub fn handle_closed(&mut self, close: CloseInfo, now: Now) -> Option<Closed> {
        self.timeline.handle_time(now);
        let state = self.state();
        let loss = match &self.phase {
            Phase::Connecting { .. } | Phase::Open { .. } => Loss::Closed(close),
            Phase::Dropping { loss, .. } => loss.clone(),
            Phase::Idle | Phase::Reconnecting(_) | Phase::Over(_) => return None,
        };
        self.stop_waiting_for_token();
        self.phase = Phase::Dropping {
            state,
            loss: loss.clone(),
        };
        Some(match state {
            State::Closing => Closed::ByUs,
            _ => Closed::Lost(loss),
        })
    }

    /// Schedules the next connection, after [`Loss::SignIn`] with the next token. `requested`: a wait of the service.
    pub fn reconnect_after(&mut self, loss: Loss, requested: Option<Duration>, now: Now, random: u64) {
        let (requested, random) = match loss {
            Loss::Requested => (Some(Duration::ZERO), 0),
            _ => (requested, random),
        };
        self.record_loss(&loss);
        if let Loss::SignIn(refusal) = loss {
            return self.wait_for_sign_in(refusal, now);
        }
        let (attempt, after) = self.backoff.handle_lost(requested, now.instant, random);
        self.set(Phase::Reconnecting(Wait::Retry(now.instant + after)));
        self.timeline
            .record(TimelineEvent::ReconnectIn { attempt, wait: after });
        self.emit(ConnectionEvent::Reconnecting {
            attempt,
            after,
            cause: loss,
        });
        self.report_queued();
    }

    fn record_loss(&mut self, loss: &Loss) {
        let lost = TimelineEvent::Lost(Box::new(loss.clone()));
        self.timeline.record(lost);
        self.transmits.clear();
    }

    /// Ends the conversation. The machine has called [`Self::abandon_messages`] and emitted everything else before.
    pub fn finish(&mut self, ending: Ending) {
        self.transmits.clear();
        if self.is_open() && self.closing_step() != Some(ClosingStep::Closing) {
            self.transmits.push_back(CLOSE_FRAME);
        }
        let ended = TimelineEvent::Ended(Box::new(ending.clone()));
        self.timeline.record(ended);
        let state = match ending {
            Ending::ByUs | Ending::ClosedByServer { .. } | Ending::SessionEnded { .. } => State::Closed,
            Ending::AuthorizationRequired(_)
            | Ending::LoggedOut
            | Ending::Refused { .. }
            | Ending::Rejected(_)
            | Ending::SessionExpired => State::Failed,
        };
        self.set(Phase::Over(state));
        self.emit(Event::Ended(ending));
    }

    /// Handles a deadline that has passed. Returns the action that is due for the machine.
    pub fn handle_timeout(&mut self, now: Now) -> Option<Due> {
        self.timeline.handle_time(now);
        self.pace.take_if(|at| *at <= now.instant);
        let (at, reason) = self.phase.deadline()?;
        if at > now.instant {
            return None;
        }
        match reason {
            Reason::ConnectTimeout | Reason::ConfigureTimeout | Reason::StartNew => {
                self.disconnect(Loss::NoAnswer);
                None
            }
            Reason::Configure => Some(Due::Configure),
            Reason::Drain => Some(Due::Clear),
            Reason::Clear => Some(Due::Close),
            Reason::Close => {
                self.command = Some(Command::Disconnect);
                Some(Due::Finish(Ending::ByUs))
            }
            Reason::Reconnect => {
                self.connect(now);
                None
            }
            Reason::Token => self.handle_no_token().map(Due::Finish),
            Reason::Attachment
            | Reason::Expiry
            | Reason::Heartbeat
            | Reason::History
            | Reason::Pace
            | Reason::Queue => None,
        }
    }

    /// Sends a ping, or drops the connection of a silent peer, if either is due. Returns whether the delivery of sent
    /// messages became unknown.
    pub fn handle_heartbeat(&mut self, now: Now) -> bool {
        let Some(heartbeat) = self.phase.heartbeat() else {
            return false;
        };
        match heartbeat.handle_timeout(now.instant) {
            Some(HeartbeatAction::Drop) => {
                self.disconnect(Loss::Silent);
                false
            }
            Some(HeartbeatAction::Ping) => {
                let (missed, pings) = (heartbeat.has_missed(), heartbeat.pings());
                if missed {
                    self.timeline
                        .record(TimelineEvent::Warning("a ping was not answered", None));
                    self.emit(ConnectionEvent::Silent);
                }
                self.transmits.push_back(Transmit::Ping);
                let overdue = self.outbox.mark_overdue_unknown(pings);
                if overdue {
                    let warning = "a message was not acknowledged in time";
                    self.timeline.record(TimelineEvent::Warning(warning, None));
                }
                overdue
            }
            None => false,
        }
    }

    /// The next deadline, and its reason.
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        let heartbeat = match &self.phase {
            Phase::Open { heartbeat, .. } if self.closing_step() != Some(ClosingStep::Closing) => {
                Some((heartbeat.poll_timeout(), Reason::Heartbeat))
            }
            _ => None,
        };
        let pace = self.pace.filter(|_| self.is_open()).map(|at| (at, Reason::Pace));
        let expired = self.outbox.poll_timeout().map(|at| (at, Reason::Queue));
        earliest([self.phase.deadline(), heartbeat, pace, expired])
    }

    /// Wakes the machine when a limit lets the next frame pass.
    pub(crate) fn wake_at(&mut self, limit: Option<&'static str>, at: Instant) {
        if let Some(limit) = limit {
            self.timeline.record_wait(limit, at);
        }
        self.pace = Some(self.pace.map_or(at, |pace| pace.min(at)));
    }

    /// Handles a rate limit of the service. Returns the end of the pause, before which nothing is sent.
    pub fn handle_throttled(&mut self, retry_after: Duration, now: Now) -> Instant {
        let until = now.instant + retry_after;
        self.pacing.pause_until(until);
        let warning = "the service limited the rate";
        self.timeline.record(TimelineEvent::Warning(warning, None));
        self.timeline.record_wait("the limit of the service", until);
        self.emit(ConnectionEvent::Throttled { retry_after });
        until
    }

    /// Queues a frame, and records its class.
    pub fn transmit(&mut self, class: &'static str, text: String) {
        self.timeline.record_frame(Direction::Inbound, class, text.len());
        self.transmits.push_back(Transmit::Frame(text));
    }

    /// Records the class of a frame that arrived.
    pub fn record_frame(&mut self, class: &'static str, bytes: usize) {
        self.timeline.record_frame(Direction::Outbound, class, bytes);
    }

    /// The next frame for the socket.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// Emits an event.
    pub fn emit(&mut self, event: impl Into<Event>) {
        self.events.push_back(event.into());
    }
}

pub(crate) fn earliest(
    deadlines: impl IntoIterator<Item = Option<(Instant, Reason)>>,
) -> Option<(Instant, Reason)> {
    deadlines.into_iter().flatten().min_by_key(|(at, _)| *at)
}
