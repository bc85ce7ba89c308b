//! Recovery after a lost connection, by the history.
//!
//! The history shows no tracing id, so a message of unknown delivery is matched by its text, among the guest's own
//! entries that were not seen before and are no older than the newest time of the service when it was sent. As many
//! entries as match resolve as many messages, oldest first, since a lost connection delivers the beginning of what was
//! written to it. Only times of the service are compared, so that no clocks need to agree. That is our choice.
//!
//! A message is *certainly absent* if no entry matches in a history that was read back far enough, 3 s after its
//! connection was lost or the service reported an error of its own (408, 5xx, 5000), or five pings after it was sent.
//! It is then sent again, in its position and with the same tracing id; if it is absent again, it has failed. That
//! Genesys Cloud shows in the history within 3 s what it accepted is an inference.
//!
//! A session that a new process resumes has missed what came after the last message that the earlier process emitted,
//! or else since 5 s before it was configured. The service's time of that is computed from the token for the history,
//! which is made on the spot and lives for a minute. Once the history was read, a missed message is one that it shows
//! and that was not seen, back to where that first reading ended.

use std::time::{Duration, Instant};

use genesys_api::Now;
use genesys_api::wire::sanitize;
use secrecy::SecretString;
use time::OffsetDateTime;
use web_messaging::rest::history::{HistoryPage, date};

use super::Conversation;
use super::frames::ControlRequest;
use super::history::{Deferred, HistoryFailure, HistoryReader, LowerBound, Next, Purpose};
use crate::event::{DeliveryStatus, Event, FailureReason, SessionEvent};
use crate::outbox::{Outbox, fingerprint};
use crate::recent_ids::RecentIds;
use crate::state::{Progress, State};
use crate::timeline::{REQUEST_LIMIT, TimelineEvent};
use crate::{Content, Direction, Message, MessageId};

/// Time for which a lost connection, or a failing service, may still deliver what was written to it.
pub(super) const DELIVERY_DELAY: Duration = Duration::from_secs(3);
/// Largest difference between the clocks of the service's own machines. Our choice.
const SLACK: time::Duration = time::Duration::seconds(10);

impl Conversation {
    pub(super) fn handle_history(&mut self, result: Result<HistoryPage, HistoryFailure>, now: Now) {
        let Some(history) = &mut self.history else { return };
        let Some(purpose) = history.awaited() else { return };
        self.engine.timeline.record(match &result {
            Ok(_) => TimelineEvent::Step("the history was read"),
            Err(failure) => {
                let status = match failure {
                    HistoryFailure::Failed { .. } => None,
                    HistoryFailure::RateLimited { .. } => Some(429),
                    HistoryFailure::Unauthorized => Some(401),
                };
                TimelineEvent::Warning("reading the history failed", status)
            }
        });
        match (result, purpose) {
            (Err(failure), _) => {
                if let Some(reason) = history.handle_failure(failure, now) {
                    self.report_unread(&reason);
                }
            }
            (Ok(page), Purpose::Page) => {
                history.reading = None;
                self.engine.emit(SessionEvent::History(Box::new(page)));
            }
            (Ok(mut page), Purpose::Recover { since }) => {
                // if no entry of the page has a time, none is old
                date(&mut page.messages, history.newest.max(history.lower_bound()));
                let enough = history.handle_page(&page, since, now);
                self.collect(page);
                if let Some(complete) = enough {
                    self.complete_recovery(complete);
                }
            }
        }
        self.advance_history(now);
    }

    /// Starts to read the missed messages of a configured session.
    pub(super) fn begin_recovery(&mut self, resumed: bool, new_session: bool, now: Now) {
        if self.history.is_none() {
            return self.engine.report_unknown();
        }
        if !resumed || new_session {
            self.abandon_history();
        }
        let Some(history) = &mut self.history else { return };
        if !resumed || new_session {
            history.resume_from = None;
            history.newest = OffsetDateTime::UNIX_EPOCH;
            history.lower_bound = match self.config.resume_after {
                // messages of an older conversation are not part of this one
                _ if new_session => LowerBound::Read(OffsetDateTime::UNIX_EPOCH),
                Some(last) if self.config.resume_message.is_some() => LowerBound::Emitted(last),
                Some(last) => LowerBound::Emitted(last.saturating_add(time::Duration::NANOSECOND)),
                None => LowerBound::Configured(now.instant),
            };
            if !new_session {
                history.recover(history.lower_bound(), now.instant, now);
            }
            self.engine.report_unknown();
        } else {
            let since = history.since(&self.engine.outbox);
            let lost_at = history.lost_at.filter(|_| self.engine.outbox.has_unresolved());
            let not_before = lost_at.map_or(now.instant, |at| at + DELIVERY_DELAY);
            history.recover(since, not_before, now);
        }
        self.advance_history(now);
    }

    /// Messages on an open connection were not echoed for long, or met an error of the service.
    pub(super) fn recover_overdue(&mut self, not_before: Instant, now: Now) {
        match &mut self.history {
            Some(history) if matches!(self.engine.state(), State::Configured | State::ReadOnly) => {
                // what is being read may be too old to contain them
                history.handle_lost();
                history.recover(history.since(&self.engine.outbox), not_before, now);
                self.advance_history(now);
            }
            _ => self.engine.report_unknown(),
        }
    }

    /// Advances the reading as far as the connection and the limits allow.
    pub(super) fn advance_history(&mut self, now: Now) {
        // a session that is being left may refuse it (inference): the read waits for the new one
        if !self.engine.is_ready() || self.engine.progress == Progress::StartingNew {
            return;
        }
        let Some(history) = &mut self.history else { return };
        match history.advance(now) {
            None => {}
            Some(Next::TimedOut) => self.report_unread("it took more than a minute"),
            Some(Next::Limited { retry_after }) => {
                history.abandon();
                self.engine.emit(SessionEvent::HistoryFailed {
                    reason: format!(
                        "the service allows no further page for {} s",
                        retry_after.as_secs() + 1
                    ),
                    retry_after: Some(retry_after),
                });
                self.advance_history(now);
            }
            Some(Next::Jwt) => match self.engine.pacing.request(now.instant) {
                Ok(()) => self.transmit_control(ControlRequest::Jwt),
                Err(at) => {
                    history.handle_jwt_deferred(at);
                    self.engine.timeline.record_wait(REQUEST_LIMIT, at);
                }
            },
        }
    }

    /// Stops the reading: what arrived is emitted, after a gap, and unknown deliveries stay unknown. A page for the
    /// application fails.
    pub(super) fn abandon_history(&mut self) {
        let reading = self.history.as_ref().filter(|history| history.reading.is_some());
        let is_recovery = reading.map(|history| history.is_recovering());
        let (missed, deferred) = self.take_unread();
        let gap = !missed.is_empty() || deferred.events.iter().any(is_message);
        let stopped = "it was stopped before it was complete";
        self.release(missed, deferred, Vec::new(), gap.then_some(stopped));
        match is_recovery {
            None => {}
            Some(true) => self.engine.emit(SessionEvent::Recovered),
            Some(false) => {
                self.engine.emit(SessionEvent::HistoryFailed {
                    reason: stopped.to_owned(),
                    retry_after: None,
                });
            }
        }
    }

    /// Stops the reading. Returns the missed messages that were read, and the deferred events.
    fn take_unread(&mut self) -> (Vec<Message>, Deferred) {
        let Some(history) = &mut self.history else {
            return Default::default();
        };
        let mut deferred = std::mem::take(&mut history.deferred);
        let mut entries = Vec::new();
        if let Some(reading) = history
            .abandon()
            .filter(|reading| reading.purpose != Purpose::Page)
        {
            (deferred, entries) = (reading.deferred, reading.entries);
        }
        entries.retain(|entry| entry.direction == Direction::Outbound);
        (entries, deferred)
    }

    /// The reading failed. A recovery is tried again after the next lost connection.
    pub(super) fn report_unread(&mut self, reason: &str) {
        let Some(history) = self.history.as_ref().filter(|history| history.reading.is_some()) else {
            return;
        };
        let is_page = !history.is_recovering();
        let (missed, deferred) = self.take_unread();
        if is_page {
            return self.engine.emit(SessionEvent::HistoryFailed {
                reason: sanitize(reason),
                retry_after: None,
            });
        }
        self.release(missed, deferred, Vec::new(), Some(reason));
        self.engine.emit(SessionEvent::Recovered);
        self.engine.report_unknown();
    }

    /// Whether messages wait until the delivery of older ones is resolved.
    pub(super) fn is_resolving(&self) -> bool {
        let history = self.history.as_ref();
        history.is_some_and(|history| history.is_recovering()) && self.engine.outbox.has_unresolved()
    }

    /// Newest known time of the service.
    pub(super) fn newest_time(&self) -> OffsetDateTime {
        match self.history.as_deref() {
            Some(history) if history.newest > OffsetDateTime::UNIX_EPOCH => history.newest,
            Some(history) => history.lower_bound(),
            None => OffsetDateTime::UNIX_EPOCH,
        }
    }

    /// The token for the history arrived.
    pub(super) fn handle_jwt(&mut self, jwt: SecretString, expires_at: OffsetDateTime, now: Now) {
        if let Some(history) = &mut self.history {
            let undated = matches!(history.lower_bound, LowerBound::Configured(_));
            history.handle_jwt(jwt, expires_at, now);
            if undated {
                self.engine.outbox.raise_lower_bound(history.lower_bound());
            }
        }
        self.advance_history(now);
    }

    /// The service's clock shows at least this.
    pub(super) fn observe_time(&mut self, at: OffsetDateTime) {
        if let Some(history) = &mut self.history {
            history.newest = history.newest.max(at);
        }
    }

    pub(super) fn emit_delivered(&mut self, id: MessageId, echo: &Message) {
        self.emit_in_order(delivered(id, echo));
    }

    /// Emits a live event, or defers it until the history is read. If too many wait, the recovery ends with a gap.
    pub(super) fn emit_in_order(&mut self, event: Event) {
        if self.history.as_ref().is_some_and(|history| history.is_full()) {
            self.report_unread("too many messages arrived while it was read");
        }
        let event = match &mut self.history {
            Some(history) => history.defer(event),
            None => Some(event),
        };
        if let Some(event) = event {
            self.emit(event);
        }
    }

    fn emit(&mut self, event: Event) {
        if let (Event::Message(message), Some(history)) = (&event, &mut self.history) {
            history.last_emitted = Some(message.id.clone());
        }
        self.engine.emit(event);
    }

    fn collect(&mut self, page: HistoryPage) {
        let Some(history) = &mut self.history else { return };
        let lower_bound = history.lower_bound();
        let Some(reading) = &mut history.reading else {
            return;
        };
        for message in page.messages {
            reading.oldest = Some(reading.oldest.map_or(message.at, |oldest| oldest.min(message.at)));
            history.newest = history.newest.max(message.at);
            // of the time of the message that was delivered last, it and those before it were delivered
            reading.resumed |= self.config.resume_message.as_ref() == Some(&message.id);
            if message.at < lower_bound || reading.resumed && message.at == lower_bound {
                self.engine.recent.insert(&message.id);
            }
            if self.engine.recent.contains(&message.id) || message.at < lower_bound {
                continue;
            }
            if reading.entries.iter().all(|known| known.id != message.id) {
                reading.entries.push(message);
            }
        }
    }

    fn complete_recovery(&mut self, complete: bool) {
        let Some(history) = &mut self.history else { return };
        let Some(reading) = history.reading.take() else {
            return;
        };
        let gap = !complete && history.has_gap(&reading);
        history.handle_recovered(reading.oldest);
        let entries = reading.entries.into_iter();
        let (missed, own) = entries.partition::<Vec<_>, _>(|entry| entry.direction == Direction::Outbound);
        let oldest_first = own.iter().rev();
        let found = oldest_first.filter_map(|entry| Some(delivered(self.match_entry(entry)?, entry)));
        let found = found.collect();
        let gap = gap.then_some("more messages were missed than a recovery reads");
        self.release(missed, reading.deferred, found, gap);
        self.engine.emit(SessionEvent::Recovered);
        if !complete {
            return self.engine.report_unknown();
        }
        let may_send = self.engine.state() == State::Configured;
        let failed = self.engine.outbox.resolve_absent(may_send);
        self.engine.emit_failed(&failed, &FailureReason::NotDelivered);
        self.release_attachments(&failed);
    }

    /// Matches a message of the guest, in the history or from another socket, with one of unknown delivery.
    pub(super) fn match_entry(&mut self, entry: &Message) -> Option<MessageId> {
        let foreign = self.history.as_mut().map(|history| &mut history.foreign);
        let is_foreign = |foreign: &&mut RecentIds| foreign.contains(&entry.id);
        if foreign.as_ref().is_some_and(is_foreign) {
            return None;
        }
        let outbox = &self.engine.outbox;
        let (fingerprint, latest) = (fingerprint_of(entry), entry.at.saturating_add(SLACK));
        let Some(id) = outbox.match_unresolved(fingerprint, latest) else {
            if let Some(foreign) = foreign.filter(|_| !outbox.was_sent(fingerprint)) {
                foreign.insert(&entry.id);
            }
            return None;
        };
        self.engine.handle_delivered(id, entry.at, None);
        self.engine.recent.insert(&entry.id);
        self.attributes.handle_delivered(id);
        self.resolve_attachments(id, Ok(()));
        Some(id)
    }

    /// Emits all that arrived, in the order of the service, after the gap before it.
    fn release(&mut self, missed: Vec<Message>, deferred: Deferred, found: Vec<Event>, gap: Option<&str>) {
        let mut all = found;
        let newest = |events: &[Event]| events.iter().filter(|event| is_message(event)).map(time_of).max();
        // after an incomplete reading, older messages than these may be on their way: they come by the socket, in order
        let earlier = deferred.losses.last().copied().unwrap_or(0);
        let live = gap.and_then(|_| newest(&deferred.events[earlier..]));
        // another gap follows what each earlier connection brought, unless the reading overlaps it
        let oldest = missed.iter().map(|message| message.at).min();
        let losses = deferred.losses.iter().filter(|_| gap.is_some());
        let losses = losses.filter_map(|events| newest(&deferred.events[..*events]));
        let losses = losses.filter(|newest| oldest.is_none_or(|oldest| oldest > *newest));
        let mut losses = losses.collect::<Vec<_>>().into_iter().peekable();
        let missed = missed
            .into_iter()
            .filter(|message| live.is_none_or(|live| message.at <= live));
        // newest first; of one time, in the order of the service
        for message in missed.rev() {
            if self.engine.recent.insert(&message.id) {
                self.observe_time(message.at);
                all.push(Event::Message(Box::new(message)));
            }
        }
        all.extend(deferred.events);
        all.sort_by_key(time_of);
        if let Some(reason) = gap {
            let before = all.iter().find(|event| is_message(event)).cloned();
            self.report_gap(reason, before.as_ref());
        }
        let reason = gap.unwrap_or_default();
        for event in all {
            let is_passed = |newest: &OffsetDateTime| is_message(&event) && time_of(&event) > *newest;
            if losses.next_if(is_passed).is_some() {
                while losses.next_if(is_passed).is_some() {}
                self.report_gap(reason, Some(&event));
            }
            self.emit(event);
        }
        if losses.next().is_some() {
            self.report_gap(reason, None);
        }
    }

    /// Reports messages that may be missing before this one.
    fn report_gap(&mut self, reason: &str, before: Option<&Event>) {
        let Some(history) = &self.history else { return };
        self.engine.emit(SessionEvent::HistoryUnread {
            reason: sanitize(reason),
            after: history.last_emitted.clone(),
            before: before.and_then(|event| match event {
                Event::Message(message) => Some(message.id.clone()),
                _ => None,
            }),
        });
    }
}

impl HistoryReader {
    /// The time back to which to read: that of the newest message, or of the first unresolved one.
    fn since(&self, outbox: &Outbox) -> OffsetDateTime {
        let unresolved = outbox.unresolved_since();
        let since = unresolved.map_or(self.newest, |unresolved| unresolved.min(self.newest));
        since.saturating_sub(SLACK)
    }
}

fn delivered(id: MessageId, echo: &Message) -> Event {
    let status = DeliveryStatus::Delivered {
        at: echo.at,
        sequence: None,
        message: Some(echo.id.clone()).filter(|id| !id.is_empty()),
    };
    Event::Delivery { id, status }
}

/// A choice may come back without a text of its own; that it then has the texts of the choices is an inference.
fn fingerprint_of(entry: &Message) -> u64 {
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
        "" => fingerprint(&chosen.join(", "), attachments),
        text => fingerprint(text, attachments),
    }
}

fn is_message(event: &Event) -> bool {
    matches!(event, Event::Message(_))
}

fn time_of(event: &Event) -> OffsetDateTime {
    match event {
        Event::Message(message) | Event::Session(SessionEvent::OwnMessage(message)) => message.at,
        Event::Delivery {
            status: DeliveryStatus::Delivered { at, .. },
            ..
        } => *at,
        _ => OffsetDateTime::UNIX_EPOCH,
    }
}
