//! The sockets of a guest, and the position of each in the events of a session.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use ws_transport::server::Payload;

use super::replay::Replay;
use super::{Outgoing, Position, SocketId};

/// Largest number of sockets of a session, as at Genesys. A further one replaces the oldest.
const SOCKETS: usize = genesys_api::limits::CONNECTIONS_PER_SESSION as usize;
/// Time without progress after which a socket with waiting frames is dropped. Our choice.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Time without progress after which the other sockets no longer wait for one. Our choice.
const STALL_GRACE: Duration = Duration::from_secs(1);
/// Most frames without a number that wait for one socket. At half of them the conversation waits for it.
const UNNUMBERED: usize = 256;

/// The subscribed sockets, oldest first. Each takes the numbered frames from the replay buffer as fast as its guest reads.
/// The slowest one that made progress within the last second paces the conversation. One without progress for so long is
/// dropped when more waits for it than the buffer holds.
#[derive(Debug, Default)]
pub(super) struct Subscribers(Vec<Subscriber>);

#[derive(Debug)]
pub(super) struct Subscriber {
    socket: SocketId,
    pub(super) stage: Stage,
    /// The number of the last frame that it took.
    pub(super) cursor: u64,
    /// Frames without a number, each with the number after which it follows.
    unnumbered: VecDeque<(u64, Payload)>,
    extend: Option<OffsetDateTime>,
    /// Code and reason with which it is closed after its last frame.
    closing: Option<(u16, &'static str)>,
    progress: Progress,
}

/// The pace at which a socket takes its frames.
#[derive(Clone, Copy, Debug)]
enum Progress {
    /// It takes all that waits.
    Prompt,
    /// It takes nothing since this time although frames wait. The other sockets wait for it.
    Blocked(Instant),
    /// It takes nothing since this time, for longer than [`STALL_GRACE`].
    Stalled(Instant),
}

/// The progress of a subscription.
#[derive(Debug)]
pub(super) enum Stage {
    /// The handshake is answered when the session is configured.
    Handshake(Option<Position>),
    /// It comes from another epoch, with this message as its last one. Until the missed messages are known, it gets no
    /// numbered frame.
    Unresolved(Option<String>),
    Live,
}

impl Subscriber {
    /// Adds a frame without a number, after the frame with the number `after`, and before those with a later position.
    pub(super) fn send_after(&mut self, after: u64, frame: Payload) {
        if self.unnumbered.len() == UNNUMBERED {
            self.closing = Some((1013, "the socket is too slow: reconnect and resume"));
            self.unnumbered.clear();
            self.cursor = u64::MAX;
        }
        let at = self.unnumbered.partition_point(|(other, _)| *other <= after);
        self.unnumbered.insert(at, (after, frame));
    }

    fn has_output(&self, replay: &Replay) -> bool {
        self.extend.is_some()
            || self.closing.is_some()
            || self.next_unnumbered()
            || self.is_live() && self.cursor < replay.last
    }

    fn next_unnumbered(&self) -> bool {
        let next = self.unnumbered.front();
        next.is_some_and(|(after, _)| *after <= self.cursor)
    }

    fn is_stalled(&self) -> bool {
        matches!(self.progress, Progress::Stalled(_))
    }

    fn timeout(&self) -> Option<Instant> {
        match self.progress {
            Progress::Prompt => None,
            Progress::Blocked(since) => Some(since + STALL_GRACE),
            Progress::Stalled(since) => Some(since + STALL_TIMEOUT),
        }
    }

    fn is_live(&self) -> bool {
        matches!(self.stage, Stage::Live)
    }

    fn poll_output(&mut self, replay: &Replay) -> Option<Outgoing> {
        self.progress = Progress::Prompt;
        if let Some(until) = self.extend.take() {
            return Some(Outgoing::Extend(until));
        }
        if self.next_unnumbered() {
            let (_, frame) = self.unnumbered.pop_front()?;
            return Some(Outgoing::Frame(frame));
        }
        if self.is_live()
            && let Some((number, frame)) = replay.after(self.cursor)
        {
            self.cursor = number;
            return Some(Outgoing::Frame(frame.clone()));
        }
        let (code, reason) = self.closing?;
        Some(Outgoing::Close(code, reason))
    }
}

impl Subscribers {
    /// Adds a socket. At the limit the oldest one is closed.
    pub(super) fn attach(&mut self, socket: SocketId, position: Option<Position>) {
        self.0
            .retain(|subscriber| subscriber.closing.is_none() || subscriber.timeout().is_none());
        let mut open = self
            .0
            .iter_mut()
            .filter(|subscriber| subscriber.closing.is_none());
        if let Some(oldest) = open.next()
            && open.count() + 1 == SOCKETS
        {
            oldest.unnumbered.clear();
            oldest.cursor = u64::MAX;
            oldest.closing = Some((1008, "the session has newer sockets"));
        }
        // most sessions have one
        self.0.reserve_exact(1);
        self.0.push(Subscriber {
            socket,
            stage: Stage::Handshake(position),
            cursor: 0,
            unnumbered: VecDeque::new(),
            extend: None,
            closing: None,
            progress: Progress::Prompt,
        });
    }

    pub(super) fn detach(&mut self, socket: SocketId) {
        self.0.retain(|subscriber| subscriber.socket != socket);
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Subscriber> {
        self.0.iter_mut()
    }

    pub(super) fn contains(&self, socket: SocketId) -> bool {
        self.0.iter().any(|subscriber| subscriber.socket == socket)
    }

    /// The number after which numbered frames are needed: by a socket from another epoch, else by the slowest one that is
    /// not stalled, else by the fastest one. `None` if there is none.
    pub(super) fn needed_after(&self) -> Option<u64> {
        if self.has_unresolved() {
            return Some(0);
        }
        let open = self.0.iter().filter(|it| it.is_live() && it.closing.is_none());
        let prompt = open.clone().filter(|it| !it.is_stalled());
        let slowest = prompt.map(|it| it.cursor).min();
        slowest.or_else(|| open.map(|it| it.cursor).max())
    }

    /// Whether many frames without a number wait for a socket that is not stalled.
    pub(super) fn has_backlog(&self) -> bool {
        let mut waited_for = self
            .0
            .iter()
            .filter(|it| it.closing.is_none() && !it.is_stalled());
        waited_for.any(|it| it.unnumbered.len() >= UNNUMBERED / 2)
    }

    /// Drops the sockets whose next frame is not in the buffer any more. Returns their number.
    pub(super) fn drop_behind(&mut self, replay: &Replay) -> usize {
        self.drop_where(|it| it.is_live() && it.cursor.saturating_add(1) < replay.first())
    }

    fn drop_where(&mut self, is_slow: impl Fn(&Subscriber) -> bool) -> usize {
        let before = self.0.len();
        self.0.retain(|subscriber| !is_slow(subscriber));
        before - self.0.len()
    }

    pub(super) fn has_unresolved(&self) -> bool {
        let mut subscribers = self.0.iter();
        subscribers.any(|subscriber| matches!(subscriber.stage, Stage::Unresolved(_)))
    }

    /// Sends a frame without a number to all sockets whose handshake is answered, after the frame with the number `after`.
    pub(super) fn broadcast(&mut self, after: u64, frame: &Payload) {
        for subscriber in &mut self.0 {
            if !matches!(subscriber.stage, Stage::Handshake(_)) {
                subscriber.send_after(after, frame.clone());
            }
        }
    }

    /// Sends a frame without a number to all sockets whose handshake is pending.
    pub(super) fn notify(&mut self, frame: &Payload) {
        for subscriber in &mut self.0 {
            if matches!(subscriber.stage, Stage::Handshake(_)) {
                subscriber.send_after(0, frame.clone());
            }
        }
    }

    /// Sends a frame without a number to one socket.
    pub(super) fn reply(&mut self, socket: SocketId, after: u64, frame: Payload) {
        let mut subscribers = self.0.iter_mut();
        if let Some(subscriber) = subscribers.find(|subscriber| subscriber.socket == socket) {
            subscriber.send_after(after, frame);
        }
    }

    /// Extends the lifetime of all sockets.
    pub(super) fn extend(&mut self, until: OffsetDateTime) {
        for subscriber in &mut self.0 {
            subscriber.extend = Some(until);
        }
    }

    /// Closes all sockets after their last frame.
    pub(super) fn close(&mut self, code: u16, reason: &'static str) {
        for subscriber in &mut self.0 {
            subscriber.closing.get_or_insert((code, reason));
        }
    }

    pub(super) fn has_output(&self, socket: SocketId, replay: &Replay) -> bool {
        let mut subscribers = self.0.iter();
        subscribers.any(|subscriber| subscriber.socket == socket && subscriber.has_output(replay))
    }

    /// The next output of a socket. It is removed with its close.
    pub(super) fn poll_output(&mut self, socket: SocketId, replay: &Replay) -> Option<Outgoing> {
        let mut subscribers = self.0.iter_mut();
        let subscriber = subscribers.find(|subscriber| subscriber.socket == socket)?;
        let output = subscriber.poll_output(replay);
        if matches!(output, Some(Outgoing::Close(..))) {
            self.detach(socket);
        }
        output
    }

    /// A socket takes nothing now.
    pub(super) fn handle_blocked(&mut self, socket: SocketId, now: Instant) {
        let mut subscribers = self.0.iter_mut();
        if let Some(subscriber) = subscribers.find(|subscriber| subscriber.socket == socket)
            && matches!(subscriber.progress, Progress::Prompt)
        {
            subscriber.progress = Progress::Blocked(now);
        }
    }

    /// Lets the others wait no longer for the sockets that made no progress for [`STALL_GRACE`], and drops those that made
    /// none for [`STALL_TIMEOUT`]. Returns their number.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> usize {
        for subscriber in &mut self.0 {
            if let Progress::Blocked(since) = subscriber.progress
                && since + STALL_GRACE <= now
            {
                subscriber.progress = Progress::Stalled(since);
            }
        }
        self.drop_where(|it| it.is_stalled() && it.timeout().is_some_and(|at| at <= now))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.0.iter().filter_map(Subscriber::timeout).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::ReplayBudget;
    use crate::relay::replay::Subject;

    const SOCKET: SocketId = SocketId(7);

    fn now() -> Instant {
        genesys_api::Clock::system().now().instant
    }

    /// A live socket that has taken nothing, and a buffer of this many frames.
    fn subscribed(frames: u64) -> (Subscribers, Replay) {
        let mut subscribers = Subscribers::default();
        subscribers.attach(SOCKET, None);
        subscribers.0[0].stage = Stage::Live;
        let mut replay = Replay::new(ReplayBudget::default());
        for _ in 0..frames {
            replay.push(Subject::Other, subscribers.needed_after(), |number| {
                number.to_string()
            });
        }
        (subscribers, replay)
    }

    /// The outputs in short.
    fn outputs(subscribers: &mut Subscribers, replay: &Replay) -> Vec<String> {
        let mut outputs = Vec::new();
        while let Some(output) = subscribers.poll_output(SOCKET, replay) {
            outputs.push(match output {
                Outgoing::Frame(frame) => frame.to_string(),
                Outgoing::Extend(_) => "extend".to_owned(),
                Outgoing::Close(code, _) => code.to_string(),
            });
        }
        outputs
    }

    #[test]
    fn frames_without_a_number_keep_their_position() {
        let (mut subscribers, mut replay) = subscribed(2);
        subscribers.broadcast(replay.last, &"a".to_owned().into());
        subscribers.extend(OffsetDateTime::UNIX_EPOCH);
        replay.push(Subject::Other, Some(0), |number| number.to_string());
        subscribers.reply(SOCKET, replay.last, "b".to_owned().into());
        subscribers.reply(SocketId(1), replay.last, "of another socket".to_owned().into());
        subscribers.close(1001, "test");
        assert!(subscribers.has_output(SOCKET, &replay));
        assert_eq!(
            outputs(&mut subscribers, &replay),
            ["extend", "1", "2", "a", "3", "b", "1001"]
        );
        assert!(!subscribers.contains(SOCKET), "it is removed with its close");
    }

    #[test]
    fn socket_is_dropped_after_a_time_without_progress_and_not_before() {
        let (mut subscribers, replay) = subscribed(300);
        let start = now();
        subscribers.handle_blocked(SOCKET, start);
        subscribers.handle_blocked(SOCKET, start + STALL_TIMEOUT / 2);
        assert_eq!(subscribers.poll_timeout(), Some(start + STALL_GRACE));
        subscribers.handle_timeout(start + STALL_GRACE);
        assert_eq!(subscribers.poll_timeout(), Some(start + STALL_TIMEOUT));
        assert!(subscribers.poll_output(SOCKET, &replay).is_some());
        assert_eq!(subscribers.poll_timeout(), None, "it made progress");
        subscribers.handle_blocked(SOCKET, start + STALL_TIMEOUT);
        subscribers.handle_timeout(start + STALL_TIMEOUT + STALL_TIMEOUT / 2);
        assert!(subscribers.contains(SOCKET));
        subscribers.handle_timeout(start + 2 * STALL_TIMEOUT);
        assert!(!subscribers.contains(SOCKET));
    }

    #[test]
    fn socket_is_closed_when_too_many_frames_without_a_number_wait() {
        let (mut subscribers, replay) = subscribed(1);
        for _ in 0..=UNNUMBERED {
            subscribers.reply(SOCKET, replay.last, "x".to_owned().into());
        }
        assert_eq!(outputs(&mut subscribers, &replay), ["x", "1013"]);
    }

    #[test]
    fn oldest_socket_is_closed_at_the_limit() {
        let (mut subscribers, replay) = subscribed(1);
        for number in 0..SOCKETS as u64 {
            subscribers.attach(SocketId(number), None);
        }
        assert_eq!(outputs(&mut subscribers, &replay), ["1008"]);
        assert_eq!(subscribers.0.len(), SOCKETS);
        // sockets that do not take their close are bounded, too
        for number in 10..20 {
            subscribers.attach(SocketId(number), None);
            for subscriber in 0..20 {
                subscribers.handle_blocked(SocketId(subscriber), now());
            }
        }
        assert!(subscribers.0.len() <= SOCKETS + 1, "{}", subscribers.0.len());
    }
}
