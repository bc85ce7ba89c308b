//! What a lost connection left open, decided by the history.
//!
//! The history shows no tracing id, so a doubted message is recognised by its text, among the guest's own entries that
//! were not seen before and are no older than what the service had said last when the message was sent: as many entries
//! as match decide as many messages, oldest first, since what a socket delivered is the beginning of what was put on it.
//! Only times of the service are compared, so that no clock has to agree with another. That is our choice, and so is
//! what makes a message *surely absent*: its socket has been gone for 3 s, or has answered five pings since, or the
//! service told of trouble of its own (408, 5xx, 5000) in place of the echo, 3 s ago; the history was then read that far
//! back; and no entry matches. Such a message is sent once more, in its place and with the same tracing id; if it is
//! missing again, it has failed. That Genesys Cloud shows in the history within 3 s what it took is an inference.
//!
//! A session that a new process resumes has missed what came after the last message that the earlier one told, or from
//! 5 s before it was configured if that is not known; the service's time of it is computed from the token for the
//! history, which is made on the spot and lives for a minute. That holds until the history was read once. From then on
//! what was missed is what it shows and has not been seen, back to where that first reading ended.

use std::time::{Duration, Instant};

use genesys_api::Now;
use secrecy::SecretString;
use time::OffsetDateTime;

use super::Conversation;
use super::archive::{Archive, Floor, HistoryFailure, Next, Purpose};
use super::dialect::Errand;
use super::event::{Event, FailureReason};
use super::outbox::{Fingerprint, Outbox};
use super::queue::Told;
use super::state::State;
use super::timeline::{self, Happening, Limit, Outcome};
use crate::{Content, Direction, Message, MessageId};
use web_messaging::rest::history::{HistoryPage, date};
use ws_transport::Transmit;

/// How long a lost socket, or a service in trouble, may still deliver what was put on it.
pub(super) const SETTLE: Duration = Duration::from_secs(3);
/// How far the clocks of the service's own machines may be apart. Our choice.
const SLACK: time::Duration = time::Duration::seconds(10);

impl Conversation {
    /// The history was read, or could not be, as [`Command::ReadHistory`](super::Command::ReadHistory) asked. An
    /// answer that nobody waits for any more is left.
    pub fn handle_history(&mut self, result: Result<HistoryPage, HistoryFailure>, now: Now) {
        let Some(archive) = self.archive.as_mut().filter(|archive| archive.is_reading()) else {
            return;
        };
        self.chronicle.handle_time(now);
        let outcome = match &result {
            Ok(_) => Outcome::Done,
            Err(HistoryFailure::Failed { .. }) => Outcome::Unanswered,
            Err(HistoryFailure::TooMany { .. }) => Outcome::Refused(429),
            Err(HistoryFailure::Unauthorized) => Outcome::Refused(401),
        };
        self.chronicle
            .record(Happening::Errand(timeline::Errand::History, outcome));
        let Some(purpose) = archive.task.as_ref().map(|task| task.purpose) else {
            return;
        };
        match (result, purpose) {
            (Err(failure), _) => {
                if let Some(why) = archive.handle_failure(failure, now) {
                    self.history_unread(why);
                }
            }
            (Ok(page), Purpose::Display) => {
                archive.task = None;
                self.tell(Event::History(Box::new(page)));
            }
            (Ok(mut page), Purpose::Recover { since }) => {
                // where the whole page has no time, nothing of it is old
                date(&mut page.messages, archive.newest.max(archive.floor()));
                let enough = archive.handle_page(&page, since, now);
                self.collect(page);
                if let Some(complete) = enough {
                    self.decide(complete);
                }
            }
        }
        self.advance_history(now);
    }

    /// The session is configured: what is known, and what is to be found out.
    pub(super) fn begin_recovery(&mut self, resumed: bool, new_session: bool, now: Now) {
        let Some(archive) = self.archive.as_mut() else {
            return self.tell_doubts();
        };
        if !resumed || new_session {
            self.abandon_history();
            let Some(archive) = self.archive.as_mut() else {
                return;
            };
            archive.owed = None;
            archive.newest = OffsetDateTime::UNIX_EPOCH;
            archive.floor = match self.dialect.heard_until() {
                // what was said in an older conversation is not part of this one
                _ if new_session => Floor::Read(OffsetDateTime::UNIX_EPOCH),
                Some(last) => Floor::Told(last.saturating_add(time::Duration::NANOSECOND)),
                None => Floor::Configured(now.instant),
            };
            if !new_session {
                archive.recover(archive.floor(), now.instant, now);
            }
            self.tell_doubts();
        } else {
            let since = archive.since(&self.outbox);
            let settled = self.lost_at.filter(|_| self.outbox.is_undecided());
            let not_before = settled.map_or(now.instant, |at| at + SETTLE);
            archive.recover(since, not_before, now);
        }
        self.advance_history(now);
    }

    /// Messages on a living socket were not echoed for long, or met with trouble of the service.
    pub(super) fn recover_overdue(&mut self, not_before: Instant, now: Now) {
        match self.archive.as_mut() {
            Some(archive) if matches!(self.state, State::Configured | State::ReadOnly) => {
                // what is being read may be too old to have it
                archive.handle_lost();
                archive.recover(archive.since(&self.outbox), not_before, now);
                self.advance_history(now);
            }
            _ => self.tell_doubts(),
        }
    }

    /// Goes on with the history as far as the socket and the limits allow.
    pub(super) fn advance_history(&mut self, now: Now) {
        if !self.socket || !matches!(self.state, State::Configured | State::ReadOnly) {
            return;
        }
        let Some(archive) = self.archive.as_mut() else {
            return;
        };
        match archive.advance(now) {
            Next::Nothing => {}
            Next::TooLate => self.history_unread("it took more than a minute".to_owned()),
            Next::Jwt => {
                archive.handle_jwt_asked();
                match self.outbox.pacing.request(now.instant) {
                    Ok(()) => {
                        let frame = self.dialect.errand(Errand::Jwt);
                        self.transmits.extend(frame.map(Transmit::Frame));
                    }
                    Err(at) => {
                        archive.handle_jwt_deferred(at);
                        self.chronicle.record_wait(Limit::Requests, at);
                    }
                }
            }
        }
    }

    /// What is being read is given up: what came is told, and what is open stays in doubt.
    pub(super) fn abandon_history(&mut self) {
        let Some(archive) = self.archive.as_mut() else {
            return;
        };
        let mut held = std::mem::take(&mut archive.carried);
        let mut missed = Vec::new();
        if let Some(task) = archive.abandon() {
            held.extend(task.held);
            missed = task.missed;
        }
        self.release(missed, held, Vec::new());
    }

    pub(super) fn history_unread(&mut self, why: String) {
        self.abandon_history();
        self.tell(Event::HistoryUnread {
            why: genesys_api::wire::sanitize(&why),
        });
        self.tell_doubts();
    }

    /// What the service's clock showed last.
    pub(super) fn heard_until(&self) -> OffsetDateTime {
        let archive = self.archive.as_deref();
        let heard = |archive: &Archive| Some(archive.newest).filter(|at| *at > OffsetDateTime::UNIX_EPOCH);
        archive.map_or(OffsetDateTime::UNIX_EPOCH, |archive| {
            heard(archive).unwrap_or_else(|| archive.floor())
        })
    }

    /// The token for the history came.
    pub(super) fn handle_jwt(&mut self, jwt: SecretString, expires_at: OffsetDateTime, now: Now) {
        if let Some(archive) = &mut self.archive {
            let undated = matches!(archive.floor, Floor::Configured(_));
            archive.handle_jwt(jwt, expires_at, now);
            if undated {
                self.outbox.handle_floor(archive.floor());
            }
        }
        self.advance_history(now);
    }

    /// A message that was heard: the service's clock shows at least this.
    pub(super) fn note_time(&mut self, at: OffsetDateTime) {
        if let Some(archive) = self.archive.as_mut() {
            archive.newest = archive.newest.max(at);
        }
    }

    /// Tells a live message, or holds it back until the history is read.
    pub(super) fn tell_in_order(&mut self, event: Event) {
        let told = self.events.tell(event);
        let now = match self.archive.as_mut() {
            Some(archive) => archive.hold(told),
            None => Some(told),
        };
        if let Some(told) = now {
            self.events.push(told);
        }
    }

    fn collect(&mut self, page: HistoryPage) {
        let Some(archive) = self.archive.as_mut() else {
            return;
        };
        let floor = archive.floor();
        let Some(task) = archive.task.as_mut() else { return };
        for message in page.messages {
            task.oldest = Some(task.oldest.map_or(message.at, |oldest| oldest.min(message.at)));
            archive.newest = archive.newest.max(message.at);
            if message.at < floor {
                self.seen.is_new(&message.id);
            }
            if self.seen.knows(&message.id) || message.at < floor {
                continue;
            }
            match message.direction {
                Direction::Outbound if task.missed.iter().all(|known| known.id != message.id) => {
                    task.missed.push(message);
                }
                Direction::Inbound if task.own.iter().all(|known| known.id != message.id) => {
                    task.own.push(message);
                }
                Direction::Inbound | Direction::Outbound => {}
            }
        }
    }

    fn decide(&mut self, complete: bool) {
        let Some(archive) = self.archive.as_mut() else {
            return;
        };
        let Some(mut task) = archive.task.take() else {
            return;
        };
        archive.handle_recovered(task.oldest);
        let mut found = Vec::new();
        // the list has the newest first
        for entry in task.own.drain(..).rev() {
            let Some(id) = self.claim(&entry) else { continue };
            let accepted = Event::Accepted {
                id,
                at: entry.at,
                sequence: None,
            };
            found.push((entry.at, self.events.tell(accepted)));
        }
        self.release(task.missed, task.held, found);
        if !complete {
            return self.tell_doubts();
        }
        let may_send = self.state == State::Configured;
        for id in self.outbox.settle_absent(may_send) {
            let reason = FailureReason::NotDelivered;
            self.tell(Event::Failed { id, reason });
            self.settle_carried(id, Err(None));
        }
    }

    /// Recognises a message of the guest, from the history or from another socket, as one that was in doubt.
    pub(super) fn claim(&mut self, entry: &Message) -> Option<MessageId> {
        let latest = entry.at.saturating_add(SLACK);
        let id = self.outbox.claim(fingerprint(entry), latest)?;
        self.outbox.settle(id, None);
        self.dialect.handle_delivered(id);
        self.settle_carried(id, Ok(()));
        self.seen.is_new(&entry.id);
        self.seen.is_new(&id.to_string());
        Some(id)
    }

    /// Tells all that came, in the order in which the service has it.
    fn release(&mut self, missed: Vec<Message>, held: Vec<Told>, found: Vec<(OffsetDateTime, Told)>) {
        let mut all = found;
        for message in missed {
            if self.seen.is_new(&message.id) {
                let at = message.at;
                self.note_time(at);
                all.push((at, self.events.tell(Event::Message(Box::new(message)))));
            }
        }
        all.extend(held.into_iter().map(|told| (time_of(&told.event), told)));
        all.sort_by_key(|(at, _)| *at);
        for (_, told) in all {
            self.events.push(told);
        }
    }
}

impl Archive {
    /// How far back to read: to what came last, or to the first message in doubt.
    fn since(&self, outbox: &Outbox) -> OffsetDateTime {
        let doubted = outbox.undecided_since();
        let since = doubted.map_or(self.newest, |doubted| doubted.min(self.newest));
        since.saturating_sub(SLACK)
    }
}

/// A choice may come back without words of its own; that it then has those of what was chosen is an inference.
fn fingerprint(entry: &Message) -> Fingerprint {
    let chosen: Vec<_> = entry
        .content
        .iter()
        .filter_map(|item| match item {
            Content::ButtonResponse(response) => Some(&*response.text),
            _ => None,
        })
        .collect();
    let attachments = entry.content.iter().filter_map(|item| match item {
        Content::Attachment(attachment) => Some(&attachment.id),
        _ => None,
    });
    match &*entry.text {
        "" => Fingerprint::of(&chosen.join(", "), attachments),
        words => Fingerprint::of(words, attachments),
    }
}

fn time_of(event: &Event) -> OffsetDateTime {
    match event {
        Event::Message(message) | Event::OwnMessage(message) => message.at,
        Event::Accepted { at, .. } => *at,
        _ => OffsetDateTime::UNIX_EPOCH,
    }
}
