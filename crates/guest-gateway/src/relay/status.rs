//! The state of a conversation and the outages of Genesys Cloud, as pages see them.

use std::time::{Duration, Instant};

use genesys_api::{Now, rfc3339};
use guest_conversation::{ConnectionEvent, Event, Loss, SessionEvent};
use guest_sessions::{
    AttachmentRules, ConversationState, ConversationStatus, GuestAction, Outage, OutageReason, ServerFrame,
};
use time::OffsetDateTime;
use ws_transport::server::Payload;

/// Time to configure a session before it is an outage. Our choice.
const CONNECT_GRACE: Duration = Duration::from_secs(10);

/// Shortest wait for the limit of new connections that is an outage. Our choice.
const REPORTED_DELAY: Duration = Duration::from_secs(1);

/// The status of one conversation.
#[derive(Debug)]
pub(super) struct Status {
    state: ConversationState,
    /// Whether the deployment lets guests clear the conversation.
    pub(super) can_clear: bool,
    /// The rules for files, if the session takes some.
    pub(super) rules: Option<AttachmentRules>,
    expires_at: Option<OffsetDateTime>,
    pub(super) signed_in: bool,
    outage: Option<Outage>,
    /// Time at which an outage begins, or ends.
    deadline: Option<(Instant, Change)>,
    /// The status that was sent last.
    sent: Option<ConversationStatus>,
}

/// A change of the outage at a deadline.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Change {
    /// The session is not configured.
    Begin,
    /// The limit of the rate has passed.
    End,
}

impl Status {
    pub(super) fn new(now: Now) -> Self {
        Self {
            state: ConversationState::Open,
            can_clear: false,
            rules: None,
            expires_at: None,
            signed_in: false,
            outage: None,
            deadline: Some((now.instant + CONNECT_GRACE, Change::Begin)),
            sent: None,
        }
    }

    /// Applies an event of the conversation. Returns whether the status may have changed.
    pub(super) fn handle_event(&mut self, event: &Event, now: Now) -> bool {
        match event {
            Event::Connection(event) => self.handle_connection_event(event, now),
            Event::Session(SessionEvent::Cleared) => self.state = ConversationState::Cleared,
            Event::Session(SessionEvent::ConversationEnded { read_only: true }) => {
                self.state = ConversationState::ReadOnly;
            }
            Event::Session(SessionEvent::ConversationEnded { read_only: false }) => {
                self.state = ConversationState::Ended;
            }
            Event::Session(SessionEvent::Expiring { at }) => self.expires_at = *at,
            // a message extends the session, and continues a conversation that the agent has left
            event if event.stage().is_some() => {
                let was_expiring = self.expires_at.take().is_some();
                let had_ended = self.state == ConversationState::Ended;
                if had_ended {
                    self.state = ConversationState::Open;
                }
                return was_expiring || had_ended;
            }
            _ => return false,
        }
        true
    }

    fn handle_connection_event(&mut self, event: &ConnectionEvent, now: Now) {
        match event {
            ConnectionEvent::Ready(session) | ConnectionEvent::Restored(session) => {
                (self.outage, self.deadline) = (None, None);
                let is_new = matches!(event, ConnectionEvent::Ready(_)) || session.new_session;
                match (session.read_only, self.state) {
                    (true, _) => self.state = ConversationState::ReadOnly,
                    (false, ConversationState::ReadOnly) => self.state = ConversationState::Open,
                    (false, _) if is_new => self.state = ConversationState::Open,
                    _ => {}
                }
            }
            ConnectionEvent::Reconnecting { after, cause, .. } => {
                self.deadline = None;
                self.begin(reason_of(cause), Some(now.utc + *after), now);
            }
            ConnectionEvent::Deferred { after } => {
                self.deadline = Some((now.instant + *after + CONNECT_GRACE, Change::Begin));
                if *after >= REPORTED_DELAY {
                    self.begin(OutageReason::Throttled, Some(now.utc + *after), now);
                }
            }
            ConnectionEvent::SignInLost { .. } => {
                self.deadline = None;
                self.begin(OutageReason::SignInLost, None, now);
            }
            ConnectionEvent::Silent => {
                self.deadline = None;
                self.begin(OutageReason::Unreachable, None, now);
            }
            ConnectionEvent::Responding => {
                // a limit of the rate still holds
                self.outage
                    .take_if(|outage| outage.reason == OutageReason::Unreachable);
            }
            ConnectionEvent::Throttled { retry_after } => {
                self.begin(OutageReason::Throttled, Some(now.utc + *retry_after), now);
                self.deadline = Some((now.instant + *retry_after, Change::End));
            }
            _ => {}
        }
    }

    fn begin(&mut self, reason: OutageReason, next_attempt_at: Option<OffsetDateTime>, now: Now) {
        let since = self.outage.take().map(|outage| outage.since);
        self.outage = Some(Outage {
            reason,
            since: since.unwrap_or_else(|| rfc3339(now.utc).into()),
            next_attempt_at: next_attempt_at.map(|at| rfc3339(at).into()),
        });
    }

    /// The next deadline.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.deadline.map(|(at, _)| at)
    }

    pub(super) fn handle_timeout(&mut self, now: Now) {
        match self.deadline.take_if(|(at, _)| *at <= now.instant) {
            Some((_, Change::Begin)) => self.begin(OutageReason::Unreachable, None, now),
            Some((_, Change::End)) => self.outage = None,
            None => {}
        }
    }

    /// The frame, if it changed since it was taken last.
    pub(super) fn take_changed(&mut self) -> Option<Payload> {
        let status = self.status();
        if self.sent.as_ref() == Some(&status) {
            return None;
        }
        self.sent = Some(status);
        Some(self.frame())
    }

    /// The reason of the outage, if there is one.
    pub(super) fn outage_reason(&self) -> Option<OutageReason> {
        self.outage.as_ref().map(|outage| outage.reason)
    }

    /// Whether an outage prevents the answer to handshakes.
    pub(super) fn is_outage(&self) -> bool {
        self.outage.is_some()
    }

    pub(super) fn frame(&self) -> Payload {
        ServerFrame::Conversation(self.status()).to_json().into()
    }

    fn status(&self) -> ConversationStatus {
        let connected = self.outage.is_none();
        let mut actions = match self.state {
            ConversationState::Open | ConversationState::Ended => vec![GuestAction::Send],
            ConversationState::ReadOnly if connected => vec![GuestAction::StartNew],
            ConversationState::ReadOnly | ConversationState::Cleared => Vec::new(),
        };
        if self.can_clear && connected && self.state != ConversationState::Cleared {
            actions.push(GuestAction::Clear);
        }
        let takes_messages = actions.contains(&GuestAction::Send);
        ConversationStatus {
            state: self.state,
            actions,
            attachments: self.rules.clone().filter(|_| takes_messages),
            expires_at: self.expires_at.map(|at| rfc3339(at).into()),
            signed_in: self.signed_in,
            outage: self.outage.clone(),
        }
    }
}

fn reason_of(cause: &Loss) -> OutageReason {
    match cause {
        Loss::QueueFull(_) | Loss::Refused { status: 429 } => OutageReason::Throttled,
        Loss::Refused { status: 400..=499 } => OutageReason::Refused,
        Loss::Rejected(refusal) if refusal.is_final() => OutageReason::Refused,
        _ => OutageReason::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use genesys_api::Clock;
    use guest_conversation::ServiceRefusal;

    use super::*;

    fn reason(status: &Status) -> Option<OutageReason> {
        status.outage.as_ref().map(|outage| outage.reason)
    }

    fn throttled(seconds: u64) -> Event {
        Event::Connection(ConnectionEvent::Throttled {
            retry_after: Duration::from_secs(seconds),
        })
    }

    #[test]
    fn end_of_a_rate_limit_does_not_end_a_later_outage() {
        let clock = Clock::system();
        let mut status = Status::new(clock.now());
        status.handle_event(&throttled(5), clock.now());
        status.handle_event(&Event::Connection(ConnectionEvent::Silent), clock.now());
        clock.advance(Duration::from_secs(60));
        status.handle_timeout(clock.now());
        assert_eq!(reason(&status), Some(OutageReason::Unreachable));
        status.handle_event(&Event::Connection(ConnectionEvent::Responding), clock.now());
        assert_eq!(reason(&status), None);
    }

    #[test]
    fn answer_of_the_peer_does_not_end_a_rate_limit() {
        let clock = Clock::system();
        let mut status = Status::new(clock.now());
        status.handle_event(&throttled(5), clock.now());
        status.handle_event(&Event::Connection(ConnectionEvent::Responding), clock.now());
        assert_eq!(reason(&status), Some(OutageReason::Throttled));
        clock.advance(Duration::from_secs(5));
        status.handle_timeout(clock.now());
        assert_eq!(reason(&status), None);
    }

    #[test]
    fn page_learns_how_long_its_session_waits_for_the_limit_of_connections() {
        let clock = Clock::system();
        let mut status = Status::new(clock.now());
        let mut deferred = |seconds| {
            let after = Duration::from_secs(seconds);
            let now = clock.now();
            status.handle_event(&Event::Connection(ConnectionEvent::Deferred { after }), now);
            let outage = status.status().outage;
            (outage, rfc3339(now.utc + after))
        };
        assert_eq!(deferred(0).0, None);
        let (outage, next) = deferred(22);
        let outage = outage.unwrap();
        assert_eq!(outage.reason, OutageReason::Throttled);
        assert_eq!(outage.next_attempt_at, Some(next.into()));
        clock.advance(Duration::from_secs(31));
        status.handle_timeout(clock.now());
        assert_eq!(reason(&status), Some(OutageReason::Throttled));
        clock.advance(Duration::from_secs(2));
        status.handle_timeout(clock.now());
        assert_eq!(
            reason(&status),
            Some(OutageReason::Unreachable),
            "nothing follows"
        );
    }

    #[test]
    fn passing_fault_is_no_refusal() {
        for (code, reason) in [(500, OutageReason::Unreachable), (4006, OutageReason::Refused)] {
            let loss = Loss::Rejected(ServiceRefusal::new(code, ""));
            assert_eq!(reason_of(&loss), reason, "{code}");
        }
    }
}
