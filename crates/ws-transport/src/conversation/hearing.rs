//! What a frame of the service changes.

use genesys_api::Now;

use super::Conversation;
use super::dialect::{About, Heard, Why};
use super::event::{Ending, Event, FailureReason, Loss, Refusal, Session};
use super::state::{Reason, State};

impl Conversation {
    pub(super) fn heard(&mut self, heard: Heard, now: Now) {
        match heard {
            Heard::Accepted {
                id,
                at,
                sequence,
                expires_at,
                elsewhere,
            } => {
                self.expires_at = expires_at.or(self.expires_at);
                let new = elsewhere
                    .as_ref()
                    .is_none_or(|message| self.seen.is_new(&message.id));
                if let Some(id) = id.filter(|id| self.outbox.settle(*id)) {
                    self.seen.is_new(&id.to_string());
                    self.events.push_back(Event::Accepted { id, at, sequence });
                } else if let Some(message) = elsewhere
                    && id.is_none_or(|id| self.seen.is_new(&id.to_string()))
                    && new
                {
                    self.events.push_back(Event::OwnMessage(message));
                }
            }
            Heard::Configured(session) => self.configured(session, now),
            Heard::ConversationEnded { read_only } => {
                self.events.push_back(Event::ConversationEnded { read_only });
                if read_only {
                    self.read_only();
                }
            }
            // while we leave, whatever the service says is our leaving
            Heard::Ended(_) if self.state == State::Closing => self.finish(Ending::ByUs),
            Heard::Ended(ending) => self.finish(ending),
            Heard::Message(message) => {
                if self.seen.is_new(&message.id) {
                    self.events.push_back(Event::Message(message));
                }
            }
            Heard::Nothing => {}
            Heard::Refused { about, refusal, why } => self.refused(about, refusal, why, now),
            Heard::SessionCleared => {
                self.events.push_back(Event::SessionCleared);
                self.handle_farewell_answered(now);
            }
            Heard::SessionExpiring { at } => {
                self.expires_at = at.or(self.expires_at);
                self.events.push_back(Event::SessionExpiring { at });
            }
            Heard::Typing { from, during } => self.events.push_back(Event::Typing { from, during }),
            Heard::UpstreamLost => self.events.push_back(Event::UpstreamLost),
            Heard::UpstreamRestored => self.events.push_back(Event::UpstreamRestored),
        }
    }

    fn configured(&mut self, session: Session, now: Now) {
        self.expires_at = session.expires_at.or(self.expires_at);
        if self.state != State::Configuring {
            return;
        }
        self.state = State::Configured;
        self.deadline = None;
        self.backoff.handle_configured(now.instant);
        if self.was_configured {
            self.events.push_back(Event::Restored(session));
        } else {
            self.events.push_back(Event::Configured(session));
        }
        self.was_configured = true;
        if self.dialect.resends() {
            self.outbox.requeue_all();
        } else {
            let doubted = self.outbox.doubt_sent();
            self.doubt(doubted);
        }
        if session.read_only {
            self.read_only();
        } else {
            self.greet |= session.new_session;
        }
    }

    fn refused(&mut self, about: About, refusal: Refusal, why: Why, now: Now) {
        if let Why::TooMany { retry_after } = why {
            let until = now.instant + retry_after;
            self.outbox.pause_until(until);
            self.events.push_back(Event::Throttled { retry_after });
            match about {
                _ if self.state == State::Configuring => {
                    self.deadline = Some((until, Reason::Configure));
                }
                About::Message(id) => {
                    self.outbox.requeue(id);
                }
                About::SomeMessage if self.dialect.resends() => self.outbox.requeue_all(),
                About::SomeMessage => {
                    if let Some(id) = self.outbox.only_sent() {
                        self.outbox.requeue(id);
                    }
                }
                About::Other => {}
            }
            if !matches!(about, About::Message(_)) {
                self.handle_farewell_answered(now);
            }
            return;
        }
        if self.state == State::Configuring {
            if why == Why::Trouble {
                self.disconnect(Loss::Rejected(refusal));
            } else {
                self.finish(Ending::Rejected(refusal));
            }
            return;
        }
        let message = match about {
            About::Message(id) => Some(id),
            About::SomeMessage => self.outbox.only_sent(),
            About::Other => None,
        };
        let read_only = why == Why::ReadOnly;
        if let Some(id) = message.filter(|id| self.outbox.settle(*id)) {
            let reason = if read_only {
                FailureReason::ReadOnly
            } else {
                FailureReason::Refused(refusal)
            };
            self.events.push_back(Event::Failed { id, reason });
        } else {
            self.events.push_back(Event::Refused(refusal));
            if message.is_none() {
                self.handle_farewell_answered(now);
            }
        }
        if read_only {
            if self.state == State::Configured {
                self.events
                    .push_back(Event::ConversationEnded { read_only: true });
            }
            self.read_only();
        }
    }

    fn read_only(&mut self) {
        if self.state == State::Configured {
            self.state = State::ReadOnly;
        }
        self.give_up_waiting(&FailureReason::ReadOnly);
    }
}
