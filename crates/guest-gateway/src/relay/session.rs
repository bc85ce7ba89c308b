//! The relay of one session, as a state machine: from the events of its conversation with Genesys Cloud, and the frames of
//! the guest's sockets, to the frames for each socket.

use std::time::{Duration, Instant};

use genesys_api::{Now, SessionId};
use guest_conversation::attachments::Rules;
use guest_conversation::{
    ConnectionEvent, Conversation, Direction, Ending, Event, Message, Request, RequestKind, SessionEvent,
    SessionInfo,
};
use guest_sessions::{AttachmentRules, ErrorCode, OutageReason, ServerFrame};
use session_metrics::EndReason;
use time::OffsetDateTime;
use ws_transport::server::Payload;

use super::activity::Connection;
use super::delivery::Unresolved;
use super::frame::{error_frame, gap};
use super::history::HistoryRequests;
use super::replay::{Replay, ReplayBudget, Subject};
use super::status::Status;
use super::stop::Stop;
use super::subscribers::{Stage, Subscriber, Subscribers};
use super::{LastDelivered, Outgoing, Position, SocketId};

/// The relay of one session, without socket, clock and task. Its numbers belong to one epoch.
#[derive(Debug)]
pub struct Relay {
    id: SessionId,
    epoch: String,
    pub(super) replay: Replay,
    pub(super) subscribers: Subscribers,
    /// The last message that an earlier relay of the session delivered.
    delivered: LastDelivered,
    /// The session as Genesys described it last. `None` before it is configured.
    session: Option<SessionInfo>,
    /// Whether the messages were read that an earlier relay did not deliver.
    recovered: bool,
    status: Status,
    /// The latest request of each kind that Genesys has not answered, with its socket.
    requested: Vec<(RequestKind, SocketId)>,
    pub(super) unresolved: Unresolved,
    /// The last time from the acceptance of a message to its acknowledgement, until it is taken.
    pub(super) delivery_time: Option<Duration>,
    /// Id of the last message to the guest.
    last_message: Option<String>,
    /// Requests of clients for the history.
    pub(super) history: HistoryRequests,
}

impl Relay {
    /// A relay of a conversation that is not configured yet. `epoch` is fresh and random.
    #[must_use]
    pub fn new(
        id: SessionId,
        epoch: String,
        delivered: LastDelivered,
        budget: ReplayBudget,
        now: Now,
    ) -> Self {
        Self {
            id,
            epoch,
            replay: Replay::new(budget),
            subscribers: Subscribers::default(),
            last_message: match &delivered {
                LastDelivered::Message(id) => Some(id.clone()),
                _ => None,
            },
            delivered,
            session: None,
            recovered: false,
            history: HistoryRequests::default(),
            status: Status::new(now),
            requested: Vec::new(),
            unresolved: Unresolved::default(),
            delivery_time: None,
        }
    }

    /// Subscribes a socket, whose guest has received the events up to `position`.
    pub fn handle_attach(&mut self, socket: SocketId, position: Option<Position>) {
        self.subscribers.attach(socket, position);
        if self.session.is_none() && self.status.is_outage() {
            self.subscribers.reply(socket, 0, self.status.frame());
        }
        self.answer_handshakes();
    }

    /// A socket is lost.
    pub fn handle_detach(&mut self, socket: SocketId) {
        self.subscribers.detach(socket);
    }

    /// Extends the lifetime of the sockets.
    pub fn handle_extend(&mut self, until: OffsetDateTime) {
        self.subscribers.extend(until);
    }

    /// Makes a request of the guest. A refusal is answered on this socket.
    pub fn handle_request(
        &mut self,
        socket: SocketId,
        request: Request,
        conversation: &mut Conversation,
        now: Now,
    ) {
        let kind = request.kind();
        match (conversation.request(request, now), kind) {
            (Ok(()), Some(kind)) => {
                self.take_requested(kind);
                self.requested.push((kind, socket));
            }
            (Ok(()), None) => {}
            (Err(error), _) => self.refuse_action(socket, &error.to_string()),
        }
    }

    /// The socket whose request of this kind was not answered yet.
    fn take_requested(&mut self, kind: RequestKind) -> Option<SocketId> {
        let at = self.requested.iter().position(|(known, _)| *known == kind)?;
        Some(self.requested.remove(at).1)
    }

    pub(super) fn refuse_action(&mut self, socket: SocketId, text: &str) {
        let refused = error_frame(ErrorCode::ActionUnavailable, text);
        self.subscribers.reply(socket, self.replay.last, refused);
    }

    /// Sets whether the deployment lets guests clear the conversation.
    pub fn set_can_clear(&mut self, can_clear: bool) {
        self.status.can_clear = can_clear;
    }

    /// Sets the rules of the session for files. The frame with the status has them.
    pub fn set_attachment_rules(&mut self, rules: Option<&Rules>) {
        self.status.rules = rules
            .filter(|rules| rules.allow_files())
            .map(|rules| AttachmentRules {
                media_types: rules.media_types().map(Into::into).collect(),
                blocked_extensions: rules.blocked_extensions().map(Into::into).collect(),
                max_bytes: rules.max_bytes(),
            });
    }

    /// Sets whether the guest is signed in.
    pub fn set_signed_in(&mut self, signed_in: bool) {
        self.status.signed_in = signed_in;
    }

    /// The connection to Genesys Cloud.
    pub(super) fn connection(&self) -> Connection {
        match (self.status.outage_reason(), &self.session) {
            (Some(OutageReason::Refused), _) => Connection::Refused,
            (Some(OutageReason::SignInLost), _) => Connection::SignInLost,
            (Some(OutageReason::Throttled), _) => Connection::Throttled,
            (Some(OutageReason::Unreachable), _) => Connection::Unreachable,
            (None, Some(_)) => Connection::Live,
            (None, None) => Connection::Connecting,
        }
    }

    /// Sends the status of the conversation to all sockets, if it changed.
    fn publish_status(&mut self) {
        if let Some(frame) = self.status.take_changed() {
            match self.session {
                Some(_) => self.broadcast(&frame),
                None if self.status.is_outage() => self.subscribers.notify(&frame),
                None => {}
            }
        }
    }

    /// Whether events may be handled: as long as no socket that others wait for would miss the oldest frame or be closed
    /// for the frames without a number that wait for it.
    #[must_use]
    pub fn accepts_events(&self) -> bool {
        if self.subscribers.has_unresolved() {
            return true;
        }
        !self.subscribers.has_backlog()
            && (!self.replay.is_full() || {
                let needed = self.subscribers.needed_after();
                needed.is_none_or(|needed| needed >= self.replay.first())
            })
    }

    /// Whether a socket is subscribed. One that is not any more is to be dropped.
    #[must_use]
    pub fn is_attached(&self, socket: SocketId) -> bool {
        self.subscribers.contains(socket)
    }

    /// Whether a socket has output.
    #[must_use]
    pub fn has_output(&self, socket: SocketId) -> bool {
        self.subscribers.has_output(socket, &self.replay)
    }

    /// The next output for a socket that has room. The last one is a close.
    pub fn poll_output(&mut self, socket: SocketId) -> Option<Outgoing> {
        self.subscribers.poll_output(socket, &self.replay)
    }

    /// A socket that has output has no room for it.
    pub fn handle_blocked(&mut self, socket: SocketId, now: Instant) {
        self.subscribers.handle_blocked(socket, now);
    }

    /// Waits no longer for the sockets that made no progress for 1 s. Drops those that made none for 10 s. Reports the start
    /// or the end of an outage.
    pub fn handle_timeout(&mut self, now: Now) {
        let dropped = self.subscribers.handle_timeout(now.instant);
        self.log_dropped(dropped);
        self.status.handle_timeout(now);
        self.publish_status();
    }

    fn log_dropped(&self, dropped: usize) {
        if dropped > 0 {
            tracing::info!(session = %self.id, dropped, "dropped sockets that are too slow");
        }
    }

    /// The time at which a socket is dropped, or an outage begins or ends.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadlines = [self.subscribers.poll_timeout(), self.status.poll_timeout()];
        deadlines.into_iter().flatten().min()
    }

    /// The time at which a socket is dropped.
    #[must_use]
    pub fn stalls_at(&self) -> Option<Instant> {
        self.subscribers.poll_timeout()
    }

    /// Answers pending handshakes, if the session is configured.
    fn answer_handshakes(&mut self) {
        let Some(session) = &mut self.session else {
            return;
        };
        for subscriber in self.subscribers.iter_mut() {
            let Stage::Handshake(position) = &mut subscriber.stage else {
                continue;
            };
            let position = position.take();
            let accepted = ServerFrame::HandshakeAccepted {
                guest_session_id: self.id.clone(),
                new_session: session.new_session,
                read_only: session.read_only,
                epoch: self.epoch.as_str().into(),
                sequence: self.replay.last,
            };
            // a later socket joins an existing session
            session.new_session = false;
            let accepted = Payload::from(accepted.to_json());
            let status = self.status.frame();
            subscriber.stage = Stage::Live;
            match position {
                None => {
                    subscriber.cursor = self.replay.last;
                    subscriber.send_after(0, accepted);
                    subscriber.send_after(0, status);
                }
                // a number that this relay has not assigned is of another epoch, whatever the client claims
                Some(position)
                    if position.epoch.as_deref() == Some(self.epoch.as_str())
                        && position.sequence <= self.replay.last =>
                {
                    subscriber.cursor = position.sequence;
                    subscriber.send_after(0, accepted);
                    subscriber.send_after(0, status);
                    if subscriber.cursor + 1 < self.replay.first() {
                        skip(subscriber, &self.replay, position.message);
                    }
                }
                Some(position) => {
                    subscriber.send_after(0, accepted);
                    subscriber.send_after(0, status);
                    subscriber.stage = Stage::Unresolved(position.message);
                }
            }
        }
        self.decide();
    }

    /// Starts the replay for the sockets of earlier epochs, once the missed messages are known.
    fn decide(&mut self) {
        if !self.recovered {
            return;
        }
        for subscriber in self.subscribers.iter_mut() {
            let Stage::Unresolved(last) = &mut subscriber.stage else {
                continue;
            };
            let last = last.take();
            subscriber.stage = Stage::Live;
            let is_followed = match (&last, &self.delivered) {
                (None, LastDelivered::Nothing) => true,
                (Some(last), LastDelivered::Message(id)) if last == id => true,
                // delivered twice, because the earlier relay could not store it: the guest's client compares ids
                (Some(last), _) => self.replay.has_message(last),
                (None, _) => false,
            };
            if !is_followed || self.replay.first() > 1 {
                skip(subscriber, &self.replay, last);
            }
        }
    }

    /// Handles an event of the conversation. Returns the reason if the relay stops.
    pub fn handle_event(&mut self, event: Event, now: Now) -> Option<Stop> {
        let may_change = self.status.handle_event(&event, now);
        let stop = self.relay_event(event, now);
        self.replay.budget.warn(now.instant);
        if may_change {
            self.publish_status();
        }
        stop
    }

    fn relay_event(&mut self, event: Event, now: Now) -> Option<Stop> {
        match event {
            Event::Connection(event) => self.handle_connection_event(event),
            Event::Session(event) => self.handle_session_event(event),
            Event::Delivery { id, status } => self.handle_delivery(id, &status, now),
            Event::Message(message) => self.message(&message),
            Event::Ended(Ending::ClosedByServer { .. })
                if self.take_requested(RequestKind::Clear).is_some() =>
            {
                return Some(Stop::Ended(EndReason::Guest));
            }
            Event::Ended(ending) => return Some(Stop::from(ending)),
            _ => {}
        }
        None
    }

    fn handle_connection_event(&mut self, event: ConnectionEvent) {
        match event {
            ConnectionEvent::Ready(session)
            | ConnectionEvent::Restored(session)
            | ConnectionEvent::SignedIn(session) => {
                if self.session.is_none() {
                    // the answers to the handshakes include it
                    self.status.take_changed();
                }
                // messages of an earlier session are not part of this one
                self.recovered |= session.new_session;
                self.session = Some(session);
                self.answer_handshakes();
            }
            _ => {}
        }
    }

    fn handle_session_event(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Typing { from, during } => {
                let typing = ServerFrame::Typing {
                    from: (&from).into(),
                    duration: u64::try_from(during.as_millis()).unwrap_or(u64::MAX),
                };
                self.broadcast(&typing.to_json().into());
            }
            SessionEvent::ConversationEnded { read_only } => {
                if let Some(session) = &mut self.session {
                    session.read_only |= read_only;
                }
            }
            SessionEvent::HistoryUnread { after, before, .. } => {
                let after = after.or_else(|| self.last_message.clone());
                self.publish(Subject::Other, |sequence| {
                    gap(Some(sequence), after.as_deref(), before.as_deref())
                });
            }
            SessionEvent::History(page) => self.history.handle_page(*page),
            SessionEvent::HistoryFailed { reason, retry_after } => {
                self.history.handle_failed(reason, retry_after)
            }
            SessionEvent::Recovered => {
                self.recovered = true;
                self.decide();
            }
            SessionEvent::OwnMessage(message) => self.message(&message),
            SessionEvent::Refused { request, refusal } => {
                if request == Some(RequestKind::SignIn) {
                    let text =
                        format!("cannot sign the guest in on the conversation, which goes on: {refusal}");
                    self.broadcast(&error_frame(ErrorCode::SignInRefused, &text));
                }
                if let Some(socket) = request.and_then(|request| self.take_requested(request)) {
                    self.refuse_action(socket, &refusal.to_string());
                }
            }
            // the relay requested nothing else
            _ => {}
        }
    }

    fn message(&mut self, message: &Message) {
        if message.direction == Direction::Outbound {
            self.last_message = Some(message.id.clone());
        }
        self.publish(Subject::Message(message.id.clone()), |sequence| {
            ServerFrame::Message {
                sequence,
                message: message.into(),
            }
        });
    }

    /// Numbers a frame and keeps it for all sockets.
    pub(super) fn publish<'f>(&mut self, subject: Subject, frame: impl FnOnce(u64) -> ServerFrame<'f>) {
        let needed = self.subscribers.needed_after();
        self.replay
            .push(subject, needed, |number| frame(number).to_json());
        let dropped = self.subscribers.drop_behind(&self.replay);
        self.log_dropped(dropped);
    }

    fn broadcast(&mut self, frame: &Payload) {
        self.subscribers.broadcast(self.replay.last, frame);
    }

    /// Notifies and closes all sockets, also those whose handshake is pending.
    pub fn handle_stop(&mut self, stop: Stop) {
        self.recovered = true;
        self.decide();
        for subscriber in self.subscribers.iter_mut() {
            if matches!(subscriber.stage, Stage::Handshake(_)) {
                subscriber.stage = Stage::Live;
                subscriber.cursor = self.replay.last;
            }
        }
        let (code, reason) = match stop {
            Stop::Shutdown => {
                self.report_unresolved();
                self.broadcast(&ServerFrame::SessionMoved {}.to_json().into());
                (1001, "the gateway shuts down")
            }
            Stop::Failed(code, message) => {
                self.broadcast(&error_frame(code, &message));
                (1011, "see the error frame")
            }
            Stop::Ended(reason) => {
                self.publish(Subject::Other, |sequence| ServerFrame::SessionEnded {
                    reason: reason.name().into(),
                    sequence,
                });
                (1000, "the session has ended")
            }
        };
        self.subscribers.close(code, reason);
    }
}

/// Reports a gap to one socket, and goes on after it.
fn skip(subscriber: &mut Subscriber, replay: &Replay, last: Option<String>) {
    subscriber.cursor = replay.first() - 1;
    let gap = gap(None, last.as_deref(), replay.first_message());
    subscriber.send_after(0, gap.to_json().into());
}

#[cfg(test)]
mod tests {
    use genesys_api::Clock;
    use guest_conversation::{
        Author, AuthorKind, GuestMachine as _, Machine as _, ServiceRefusal, WebMessaging,
    };
    use serde_json::Value;

    use super::*;

    const PROMPT: SocketId = SocketId(1);
    const SLOW: SocketId = SocketId(2);

    fn relay(delivered: LastDelivered, now: Now) -> Relay {
        let (id, epoch) = ("gs-1".parse().unwrap(), "e-2".to_owned());
        Relay::new(id, epoch, delivered, ReplayBudget::default(), now)
    }

    fn ready(new_session: bool) -> Event {
        Event::Connection(ConnectionEvent::Ready(SessionInfo {
            new_session,
            read_only: false,
            expires_at: None,
        }))
    }

    fn message(id: &str, text: &str) -> Event {
        Event::Message(Box::new(Message {
            id: id.to_owned(),
            text: text.to_owned(),
            from: Author {
                kind: AuthorKind::Human,
                name: None,
            },
            at: OffsetDateTime::UNIX_EPOCH,
            direction: Direction::Outbound,
            content: Vec::new(),
            sequence: None,
        }))
    }

    fn position(epoch: &str, sequence: u64, message: Option<&str>) -> Option<Position> {
        Some(Position {
            epoch: Some(epoch.to_owned()),
            sequence,
            message: message.map(str::to_owned),
        })
    }

    /// Kinds of the frames that wait for a socket, of a message its id.
    fn frames(relay: &mut Relay, socket: SocketId) -> Vec<String> {
        let mut frames = Vec::new();
        while let Some(Outgoing::Frame(frame)) = relay.poll_output(socket) {
            let frame: Value = serde_json::from_str(&frame).unwrap();
            let field = if frame["type"] == "message" { "id" } else { "type" };
            frames.push(frame[field].as_str().unwrap().to_owned());
        }
        frames
    }

    #[test]
    fn relay_decides_by_epoch_and_last_message_whether_events_are_missing() {
        let now = Clock::system().now();
        let delivered = || LastDelivered::Message("m1".to_owned());
        for (delivered, position, expected) in [
            (delivered(), position("e-1", 7, Some("m1")), &["m2", "m3"][..]),
            (
                delivered(),
                position("e-1", 7, Some("m0")),
                &["replay.incomplete", "m2", "m3"],
            ),
            (delivered(), position("e-1", 7, Some("m2")), &["m2", "m3"]),
            (
                delivered(),
                position("e-1", 7, None),
                &["replay.incomplete", "m2", "m3"],
            ),
            (LastDelivered::Nothing, position("e-1", 7, None), &["m2", "m3"]),
            (
                LastDelivered::Unknown,
                position("e-1", 7, None),
                &["replay.incomplete", "m2", "m3"],
            ),
            (delivered(), position("e-2", 1, Some("m2")), &["m3"]),
            (delivered(), position("e-2", 2, Some("m3")), &[]),
            (delivered(), position("e-2", 99, Some("m3")), &["m2", "m3"]),
            (
                delivered(),
                position("e-2", 99, Some("m9")),
                &["replay.incomplete", "m2", "m3"],
            ),
            (delivered(), None, &[]),
        ] {
            let mut relay = relay(delivered, now);
            relay.handle_event(ready(false), now);
            relay.handle_event(message("m2", "b"), now);
            relay.handle_event(message("m3", "c"), now);
            relay.handle_attach(PROMPT, position.clone());
            let mut received = frames(&mut relay, PROMPT);
            relay.handle_event(Event::Session(SessionEvent::Recovered), now);
            received.extend(frames(&mut relay, PROMPT));
            assert_eq!(received[2..], *expected, "{position:?}: {received:?}");
        }
    }

    #[test]
    fn gap_precedes_the_frames_that_were_queued_during_the_recovery() {
        let now = Clock::system().now();
        let mut relay = relay(LastDelivered::Message("m1".to_owned()), now);
        relay.handle_event(ready(false), now);
        relay.handle_attach(PROMPT, position("e-1", 7, Some("m0")));
        relay.handle_event(message("m2", "b"), now);
        relay.handle_unsendable(PROMPT, genesys_api::entropy::uuid().into());
        relay.handle_event(message("m3", "c"), now);
        relay.handle_event(Event::Session(SessionEvent::Recovered), now);
        let received = frames(&mut relay, PROMPT);
        assert_eq!(
            received[2..],
            ["replay.incomplete", "m2", "delivery", "m3"],
            "{received:?}"
        );
    }

    #[test]
    fn refusal_is_answered_to_the_socket_whose_request_it_is() {
        let now = Clock::system().now();
        let deployment = "7d1f0c9e-0000-4000-8000-000000000001";
        let mut session = WebMessaging::new(deployment.parse().unwrap(), "token".into());
        session.rules.clear = true;
        let mut conversation = Conversation::new(session);
        conversation.engine_mut().connect(now);
        conversation.handle_connected(now);
        let configured =
            r#"{"type":"response","class":"SessionResponse","code":200,"body":{"connected":true}}"#;
        conversation.handle_frame(configured, now);
        let mut relay = relay(LastDelivered::Nothing, now);
        relay.handle_event(ready(true), now);
        for socket in [PROMPT, SLOW] {
            relay.handle_attach(socket, None);
            frames(&mut relay, socket);
        }
        relay.handle_request(PROMPT, Request::Clear, &mut conversation, now);
        let mut refuse = |request| {
            let refusal = ServiceRefusal::new(400, "no");
            relay.handle_event(Event::Session(SessionEvent::Refused { request, refusal }), now);
            (frames(&mut relay, PROMPT), frames(&mut relay, SLOW))
        };
        // of a typing indicator, and of a request that nobody waits for
        for other in [None, Some(RequestKind::StartNew)] {
            assert_eq!(refuse(other), (vec![], vec![]), "{other:?}");
        }
        let answered = (vec!["error".to_owned()], vec![]);
        assert_eq!(refuse(Some(RequestKind::Clear)), answered);
        assert_eq!(
            refuse(Some(RequestKind::Clear)),
            (vec![], vec![]),
            "it is answered once"
        );
    }

    /// A relay with two live sockets.
    fn relay_of_two(now: Now) -> Relay {
        let mut relay = relay(LastDelivered::Nothing, now);
        relay.handle_event(ready(true), now);
        for socket in [PROMPT, SLOW] {
            relay.handle_attach(socket, None);
            frames(&mut relay, socket);
        }
        relay
    }

    /// Handles events as long as the relay accepts them, of which one socket takes all. Returns their number.
    fn feed(relay: &mut Relay, reader: Option<SocketId>, now: Now) -> usize {
        let (mut events, text) = (0, "x".repeat(4096));
        while relay.accepts_events() && events < 1000 {
            relay.handle_event(message("m", &text), now);
            if let Some(reader) = reader {
                frames(relay, reader);
            }
            events += 1;
        }
        events
    }

    #[test]
    fn full_buffer_delays_events_until_the_slower_socket_has_taken_the_oldest_frame() {
        let now = Clock::system().now();
        let mut relay = relay_of_two(now);
        let limit = feed(&mut relay, None, now);
        assert!(limit > 50, "{limit}");
        for taken in [PROMPT, SLOW] {
            assert_eq!((relay.replay.first(), relay.accepts_events()), (1, false));
            assert!(relay.poll_output(taken).is_some());
        }
        assert_eq!(feed(&mut relay, None, now), 1);
        assert!(relay.is_attached(PROMPT) && relay.is_attached(SLOW));
    }

    #[test]
    fn socket_that_takes_some_frames_each_second_gets_all_of_a_long_burst() {
        let mut now = Clock::system().now();
        let mut relay = relay_of_two(now);
        let (mut events, mut taken) = (0, 0);
        while events < 1000 {
            events += feed(&mut relay, Some(PROMPT), now);
            relay.handle_blocked(SLOW, now.instant);
            now.instant += Duration::from_millis(999);
            relay.handle_timeout(now);
            let outputs = std::iter::from_fn(|| relay.poll_output(SLOW));
            taken += outputs.take(64).count();
            assert!(relay.is_attached(SLOW), "after {taken} frames");
        }
        taken += frames(&mut relay, SLOW).len();
        assert_eq!(taken, events);
    }

    #[test]
    fn socket_that_takes_some_frames_each_second_gets_all_of_a_long_burst_of_typing() {
        let mut now = Clock::system().now();
        let mut relay = relay_of_two(now);
        let (mut events, mut taken) = (0, 0);
        while events < 1000 {
            while relay.accepts_events() && events < 1000 {
                let from = Author {
                    kind: AuthorKind::Human,
                    name: None,
                };
                let during = Duration::from_secs(5);
                relay.handle_event(Event::Session(SessionEvent::Typing { from, during }), now);
                events += 1;
                frames(&mut relay, PROMPT);
            }
            relay.handle_blocked(SLOW, now.instant);
            now.instant += Duration::from_millis(999);
            relay.handle_timeout(now);
            let outputs = std::iter::from_fn(|| relay.poll_output(SLOW));
            taken += outputs.take(64).count();
            assert!(relay.is_attached(SLOW), "after {taken} frames");
        }
        taken += frames(&mut relay, SLOW).len();
        assert_eq!(taken, events);
    }

    #[test]
    fn socket_that_takes_nothing_delays_the_frames_of_another_one_once_by_one_second() {
        let mut now = Clock::system().now();
        let mut relay = relay_of_two(now);
        relay.handle_event(message("m", "x"), now);
        relay.handle_blocked(SLOW, now.instant);
        let grace = Duration::from_secs(1);
        assert_eq!(relay.stalls_at(), Some(now.instant + grace));
        assert!(feed(&mut relay, Some(PROMPT), now) < 1000);
        now.instant += grace;
        relay.handle_timeout(now);
        assert_eq!(feed(&mut relay, Some(PROMPT), now), 1000);
        assert!(
            !relay.is_attached(SLOW),
            "more waited for it than the buffer holds"
        );
        relay.handle_stop(Stop::Ended(EndReason::Agent));
        assert_eq!(frames(&mut relay, PROMPT), ["session.ended"]);
    }
}
