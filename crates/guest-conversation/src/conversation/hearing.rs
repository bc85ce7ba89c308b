//! What a frame of the service changes.

use genesys_api::Now;

use super::Conversation;
use super::attachments::Rules;
use super::dialect::{About, Errand, Heard, Why};
use super::event::{Ending, Event, FailureReason, Loss, Refusal, Session};
use super::recovery::SETTLE;
use super::state::{Reason, State};
use super::timeline::{Happening, Limit};

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
                self.health.learn(expires_at, now);
                self.health.assume(self.dialect.rules().session_duration, now);
                self.note_time(at);
                let new = elsewhere
                    .as_ref()
                    .is_none_or(|message| self.seen.is_new(&message.id));
                let ours = id.filter(|id| self.outbox.settle(*id, None)).or_else(|| {
                    // it arrived by a socket that is gone: its echo on this one names no tracing id
                    let late = elsewhere.as_ref().filter(|_| id.is_none() && new);
                    late.and_then(|message| self.claim(message))
                });
                if let Some(id) = ours {
                    self.typed = None;
                    self.seen.is_new(&id.to_string());
                    self.tell_in_order(Event::Accepted { id, at, sequence });
                    self.settle_carried(id, Ok(()));
                } else if let Some(message) = elsewhere
                    && id.is_none_or(|id| self.seen.is_new(&id.to_string()))
                    && new
                {
                    self.tell_in_order(Event::OwnMessage(message));
                }
            }
            Heard::Attachment { id, news } => self.handle_file_news(&id, *news, now),
            Heard::Closed => {
                if self.start_new && self.state == State::ReadOnly {
                    self.enter(State::Configuring);
                    self.configure(now);
                }
            }
            Heard::Configured { session, rules } => self.configured(session, rules, now),
            Heard::ConversationEnded { read_only } => {
                self.tell(Event::ConversationEnded { read_only });
                if read_only {
                    self.read_only();
                }
            }
            // while we leave, whatever the service says is our leaving
            Heard::Ended(_) if self.state == State::Closing => self.finish(Ending::ByUs),
            Heard::Ended(ending) => self.finish(ending),
            Heard::Healthy { expires_at } => {
                if self.health.handle_answer(expires_at, now) {
                    let expires_at = self.health.expires_at();
                    self.tell(Event::Healthy { expires_at });
                }
            }
            Heard::Jwt { jwt, expires_at } => self.handle_jwt(jwt, expires_at, now),
            Heard::Message(message) => {
                self.health.assume(self.dialect.rules().session_duration, now);
                self.note_time(message.at);
                if self.seen.is_new(&message.id) {
                    self.tell_in_order(Event::Message(message));
                }
            }
            Heard::Nothing => {}
            Heard::Refused { about, refusal, why } => self.refused(about, refusal, why, now),
            Heard::SessionCleared => {
                self.chronicle.record(Happening::Cleared);
                self.tell(Event::SessionCleared);
                self.handle_farewell_answered(now);
            }
            Heard::SessionExpiring { at } => {
                self.health.note(at);
                self.tell(Event::SessionExpiring { at });
            }
            Heard::TokenNeeded { about, refusal } => self.token_needed(about, refusal, now),
            Heard::Typing { from, during } => self.tell(Event::Typing { from, during }),
            Heard::UpstreamLost => self.tell(Event::UpstreamLost),
            Heard::UpstreamRestored => self.tell(Event::UpstreamRestored),
        }
    }

    fn configured(&mut self, session: Session, rules: Option<Rules>, now: Now) {
        self.health.learn(session.expires_at, now);
        self.health.assume(self.dialect.rules().session_duration, now);
        if self.state != State::Configuring {
            return;
        }
        self.enter(State::Configured);
        self.deadline = None;
        self.backoff.handle_ready(now.instant);
        self.handle_authorized();
        let fresh = std::mem::take(&mut self.start_new);
        let resumed = std::mem::replace(&mut self.was_configured, true);
        if std::mem::take(&mut self.stepping) {
            self.tell(Event::SignedIn(session));
        } else {
            if resumed && !fresh {
                self.tell(Event::Restored(session));
            } else {
                self.tell(Event::Configured(session));
            }
            self.begin_recovery(resumed, session.new_session, now);
        }
        self.handle_file_rules(rules, session.new_session);
        if session.read_only {
            self.read_only();
        } else {
            self.greet |= session.new_session && self.dialect.rules().autostart;
        }
    }

    fn token_needed(&mut self, about: About, refusal: Refusal, now: Now) {
        let resends = self.dialect.resends();
        match self.state {
            // the socket is about to be closed for it
            State::Configuring if resends => self.drop_for_token(refusal),
            _ if resends => self.tell(Event::Refused(refusal)),
            State::Configuring => self.need_token(refusal, now),
            State::Closing => self.finish(Ending::ByUs),
            State::Configured | State::ReadOnly => {
                if !self.handle_file_deferred(&about, &refusal)
                    && let About::Message(id) = about
                {
                    self.outbox.requeue(id);
                }
                self.abandon_history();
                self.enter(State::Configuring);
                self.need_token(refusal, now);
            }
            State::Idle | State::Connecting | State::Reconnecting | State::Closed | State::Failed => {}
        }
    }

    fn refused(&mut self, about: About, refusal: Refusal, why: Why, now: Now) {
        if let Why::TooMany { retry_after } = why {
            let until = now.instant + retry_after;
            self.outbox.pacing.pause_until(until);
            self.chronicle.record_wait(Limit::Service, until);
            self.tell(Event::Throttled { retry_after });
            if self.handle_file_deferred(&about, &refusal) {
                return;
            }
            let is_message = matches!(about, About::Message(_));
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
                About::Errand(Errand::Echo) => self.health.handle_refused(),
                About::Errand(Errand::Jwt) => {
                    if let Some(archive) = &mut self.archive {
                        archive.handle_jwt_deferred(until);
                    }
                }
                About::Errand(Errand::CloseSession) => {
                    self.start_new = false;
                    self.deadline.take_if(|(_, reason)| *reason == Reason::StartNew);
                }
                About::Attachment(_) | About::Errand(Errand::Clear) | About::Other => {}
            }
            if !is_message {
                self.handle_farewell_answered(now);
            }
            return;
        }
        let code = refusal.code.parse().ok();
        if let Some(code) = code
            && self.handle_file_refused(&about, code, &refusal)
        {
            return;
        }
        if self.state == State::Configuring {
            if why == Why::Final && std::mem::take(&mut self.stepping) {
                // it stays what it was: a guest who is not signed in
                self.dialect.step_up(None);
                self.enter(State::Configured);
                self.deadline = None;
                self.tell(Event::Refused(refusal));
            } else if why == Why::Trouble {
                self.disconnect(Loss::Rejected(refusal));
            } else {
                self.finish(Ending::Rejected(refusal));
            }
            return;
        }
        if let (Why::Trouble, About::Message(id)) = (why, &about)
            && self.outbox.doubt(*id)
        {
            // it may have arrived all the same
            self.recover_overdue(now.instant + SETTLE, now);
            return;
        }
        let message = match about {
            About::Message(id) => Some(id),
            About::SomeMessage => self.outbox.only_sent(),
            About::Errand(Errand::Jwt) => {
                self.history_unread(refusal.to_string());
                None
            }
            About::Errand(Errand::CloseSession) => {
                self.start_new = false;
                self.deadline.take_if(|(_, reason)| *reason == Reason::StartNew);
                None
            }
            About::Attachment(_) | About::Errand(Errand::Clear | Errand::Echo) | About::Other => None,
        };
        let read_only = why == Why::ReadOnly;
        let reason = if read_only {
            FailureReason::ReadOnly
        } else {
            FailureReason::Refused(refusal.clone())
        };
        if let Some(id) = message.filter(|id| self.outbox.settle(*id, Some(&reason))) {
            self.tell(Event::Failed { id, reason });
            self.settle_carried(id, Err(code));
        } else {
            self.tell(Event::Refused(refusal));
            if message.is_none() {
                self.handle_farewell_answered(now);
            }
        }
        if read_only {
            if self.state == State::Configured {
                self.tell(Event::ConversationEnded { read_only: true });
            }
            self.read_only();
        }
    }

    fn read_only(&mut self) {
        if self.state == State::Configured {
            self.enter(State::ReadOnly);
        }
        self.give_up_waiting(&FailureReason::ReadOnly);
        if !self.is_deciding() {
            self.tell_doubts();
        }
    }
}
