//! Outgoing messages and their delivery.

use std::time::Duration;

use genesys_api::Now;
use time::OffsetDateTime;
use ws_transport::Backoff;

use super::Engine;
use crate::event::{DeliveryStatus, Event, FailureReason};
use crate::outbox::SendError;
use crate::state::State;
use crate::timeline::MESSAGE_LIMIT;
use crate::{MessageId, OutgoingMessage, QUEUE_TIMEOUT};

/// The longest time for which a message waits to be sent.
#[derive(Debug)]
pub(super) struct QueueTimeout(Duration);

impl Default for QueueTimeout {
    fn default() -> Self {
        Self(QUEUE_TIMEOUT)
    }
}

impl Engine {
    /// Queues a message of 1 to 4,096 bytes, which is sent as soon as the session and the limits allow. `id` is fresh
    /// and random. [`Event::Delivery`] reports its delivery. A message that is not sent within
    /// [`Self::set_queue_timeout`] fails.
    ///
    /// # Errors
    /// If it cannot be queued.
    pub fn send(&mut self, id: MessageId, message: OutgoingMessage, now: Now) -> Result<(), SendError> {
        self.can_send()?;
        let expires_at = now.instant.checked_add(self.queue_timeout.0);
        self.outbox.push(id, message, expires_at)?;
        if !self.may_transmit() {
            self.report_queued();
        }
        Ok(())
    }

    /// Sets the longest time from the sending of a message until it is written to a socket. Default: 10 minutes.
    pub fn set_queue_timeout(&mut self, timeout: Duration) {
        self.queue_timeout = QueueTimeout(timeout);
    }

    /// Fails the messages that were not sent in time. Returns their ids.
    pub fn expire_messages(&mut self, now: Now) -> Vec<MessageId> {
        let reason = FailureReason::NotSentInTime {
            timeout: self.queue_timeout.0,
        };
        let failed = self.outbox.fail_expired(now.instant, &reason);
        self.emit_failed(&failed, &reason);
        failed
    }

    /// Reports the messages that wait, unless they were reported already.
    pub fn report_queued(&mut self) {
        for id in self.outbox.take_unreported() {
            let status = DeliveryStatus::Queued;
            self.emit(Event::Delivery { id, status });
        }
    }

    /// The peer has queued a message and forwards it later.
    pub fn handle_queued(&mut self, id: MessageId) {
        if self.outbox.hold(id) {
            let status = DeliveryStatus::Queued;
            self.emit(Event::Delivery { id, status });
        }
    }

    /// The peer did not take a message. The next connection sends it again, after [`Self::resend_all`].
    pub fn handle_untaken(&mut self, id: MessageId) {
        if self.outbox.hold_untaken(id) {
            let status = DeliveryStatus::Queued;
            self.emit(Event::Delivery { id, status });
        }
    }

    /// The peer forwards a message.
    pub fn handle_forwarded(&mut self, id: MessageId) {
        let pings = self.pings();
        if self.outbox.forward(id, pings) {
            let status = DeliveryStatus::Sending;
            self.emit(Event::Delivery { id, status });
        }
    }

    /// Pings of the present connection.
    fn pings(&mut self) -> u64 {
        self.phase.heartbeat().map_or(0, |heartbeat| heartbeat.pings())
    }

    /// The delivery status of a message; `None` if it was never queued. The last 512 decided ones are remembered, and
    /// the last 256 unknown ones.
    #[must_use]
    pub fn delivery(&self, id: MessageId) -> Option<DeliveryStatus> {
        self.outbox.status(id)
    }

    pub(crate) fn can_send(&self) -> Result<(), SendError> {
        match self.state() {
            State::Closing | State::Closed | State::Failed => Err(SendError::Ended),
            State::ReadOnly => Err(SendError::ReadOnly),
            State::Idle
            | State::Connecting
            | State::Configuring
            | State::Configured
            | State::Reconnecting => Ok(()),
        }
    }

    /// Takes a slot for a typing indicator: at most one in 5 s, unless a message was delivered since, and only in a
    /// ready session.
    pub fn take_typing(&mut self, now: Now) -> bool {
        self.timeline.handle_time(now);
        self.is_open() && self.state() == State::Configured && self.pacing.typing(now.instant)
    }

    /// The next message to send, if the limits let it pass. `newest` is the newest known time of the service.
    pub fn next_message(
        &mut self,
        now: Now,
        newest: OffsetDateTime,
    ) -> Option<(MessageId, &OutgoingMessage)> {
        if !self.outbox.has_waiting() {
            return None;
        }
        if let Err(at) = self.pacing.message(now.instant) {
            self.wake_at(Some(MESSAGE_LIMIT), at);
            self.report_queued();
            return None;
        }
        let pings = self.pings();
        let next = self.outbox.next(pings, newest)?;
        if next.was_reported_queued {
            self.events.push_back(Event::Delivery {
                id: next.id,
                status: DeliveryStatus::Sending,
            });
        }
        Some((next.id, next.message))
    }

    /// Handles a delivered message. Returns whether that was not known before.
    pub fn handle_delivered(&mut self, id: MessageId, at: OffsetDateTime, sequence: Option<u64>) -> bool {
        let message = None;
        let status = DeliveryStatus::Delivered {
            at,
            sequence,
            message,
        };
        let known = self.outbox.resolve(id, status);
        if known {
            self.pacing.handle_delivered();
            self.recent.insert(&id.to_string());
        }
        known
    }

    /// Handles a refused message. Returns whether it was unacknowledged. The event is emitted then.
    pub fn handle_failed(&mut self, id: MessageId, reason: FailureReason) -> bool {
        let status = DeliveryStatus::Failed(reason);
        let known = self.outbox.resolve(id, status.clone());
        if known {
            self.emit(Event::Delivery { id, status });
        }
        known
    }

    /// Handles a message whose delivery the service does not know. Returns whether it was sent and unacknowledged. The event
    /// is emitted then.
    pub fn handle_unknown(&mut self, id: MessageId) -> bool {
        let known = self.outbox.mark_unknown(id);
        if known {
            self.report_unknown();
        }
        known
    }

    pub(crate) fn fail_waiting(&mut self, reason: &FailureReason) -> Vec<MessageId> {
        let failed = self.outbox.fail_waiting(reason);
        self.emit_failed(&failed, reason);
        failed
    }

    pub(crate) fn emit_failed(&mut self, ids: &[MessageId], reason: &FailureReason) {
        for id in ids {
            self.emit(Event::Delivery {
                id: *id,
                status: DeliveryStatus::Failed(reason.clone()),
            });
        }
    }

    /// Decides the delivery of all messages: the waiting ones fail, the status of the sent ones is unknown.
    pub fn abandon_messages(&mut self) {
        self.outbox.mark_sent_unknown();
        self.fail_waiting(&FailureReason::Ended);
        self.report_unknown();
    }

    /// Sends all unacknowledged messages again, where a contract drops duplicates by their id.
    pub fn resend_all(&mut self) {
        self.outbox.requeue_all();
    }

    /// Handles a peer that is about to stop. It took none of the messages whose delivery it did not report: the next connection
    /// sends them again. The stop is no failure, so the backoff starts again.
    pub fn handle_moved(&mut self) {
        self.outbox.requeue_untaken();
        self.backoff = Backoff::default();
    }

    /// The messages that were sent are not sent again: the service would not recognize them. [`Self::report_unknown`]
    /// reports them.
    pub fn doubt_sent(&mut self) {
        self.outbox.mark_resent_unknown();
    }

    /// Reports messages whose delivery is not decided as unknown.
    pub fn report_unknown(&mut self) {
        for id in self.outbox.give_up_unresolved() {
            let status = DeliveryStatus::Unknown;
            self.emit(Event::Delivery { id, status });
        }
    }
}
