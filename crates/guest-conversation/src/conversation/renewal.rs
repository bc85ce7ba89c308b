//! Another token: asked for, waited for, and tried, at most three times in a row.

use std::time::{Duration, Instant};

use genesys_api::{Now, limits};
use secrecy::SecretString;

use super::Conversation;
use super::event::{Ending, Event, Loss, Refusal};
use super::state::{Reason, State};
use super::timeline::{Happening, TokenEvent};

/// How long a new token is waited for. Our choice.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(120);
/// Tokens that are tried in a row (Genesys' mobile SDK).
const ATTEMPTS: u8 = limits::SIGN_IN_ATTEMPTS as u8;

#[derive(Debug, Default)]
pub(super) struct Renewal {
    attempt: u8,
    awaiting: Option<Instant>,
    refusal: Option<Box<Refusal>>,
    /// The next thing to do after the connection is gone is to ask for a token.
    pub(super) after_loss: bool,
}

impl Conversation {
    /// Uses another token: under `guest-sessions` an access token, under `web-messaging` the JWT of a signed-in guest;
    /// for a guest who is not, it does nothing, since the token is the session itself. It is used from the next
    /// connection on; the present one stays. If the service waits for it, that is now.
    pub fn update_token(&mut self, token: SecretString) {
        self.dialect.update_token(token);
        if let Some(asked) = self.renewal.awaiting.take() {
            self.chronicle.record(Happening::Token(TokenEvent::Given));
            // due already: whoever drives calls at once
            let reason = match self.state {
                State::Configuring => Reason::Configure,
                _ => Reason::Reconnect,
            };
            self.deadline = Some((asked, reason));
        }
    }

    /// There is no other token: a conversation that waits for one ends.
    pub fn decline_token(&mut self) {
        if self.renewal.awaiting.take().is_some() {
            self.handle_no_token();
        }
    }

    /// Asks for a token and waits, on this socket or without one.
    pub(super) fn need_token(&mut self, refusal: Refusal, now: Now) {
        if self.renewal.attempt >= ATTEMPTS {
            self.chronicle.record(Happening::Token(TokenEvent::Refused));
            return self.finish(Ending::AuthorizationRequired(refusal));
        }
        self.renewal.attempt += 1;
        self.renewal.awaiting = Some(now.instant);
        self.renewal.refusal = Some(Box::new(refusal));
        self.deadline = Some((now.instant + TOKEN_TIMEOUT, Reason::Token));
        self.chronicle.record(Happening::Token(TokenEvent::Asked));
        let attempt = self.renewal.attempt;
        self.tell(Event::TokenNeeded { attempt });
    }

    /// The connection was lost because of the token.
    pub(super) fn need_token_unconnected(&mut self, refusal: Refusal, now: Now) {
        let loss = Loss::Rejected(refusal.clone());
        self.chronicle
            .with(|timeline, now| timeline.record_loss(&loss, now));
        self.handle_lost(now);
        self.enter(State::Reconnecting);
        self.need_token(refusal, now);
    }

    /// Drops the socket, on which nothing more will be heard, and asks for a token then.
    pub(super) fn drop_for_token(&mut self, refusal: Refusal) {
        self.renewal.after_loss = true;
        self.disconnect(Loss::Rejected(refusal));
    }

    pub(super) fn handle_no_token(&mut self) {
        let refusal = self.renewal.refusal.take();
        let refusal = refusal.map_or_else(|| Refusal::new(401, "no token was given"), |refusal| *refusal);
        self.finish(Ending::AuthorizationRequired(refusal));
    }

    /// The service took the token.
    pub(super) fn handle_authorized(&mut self) {
        self.renewal = Renewal::default();
    }

    /// The connection is made anew before a token was given: that it is missing will be said again.
    pub(super) fn stop_awaiting(&mut self) {
        if self.renewal.awaiting.take().is_some() {
            self.renewal.attempt -= 1;
        }
    }
}
