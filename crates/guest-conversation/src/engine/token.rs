//! Tokens that the service requires of the application.

use std::time::{Duration, Instant};

use genesys_api::{Now, limits};

use super::Engine;
use crate::event::{ConnectionEvent, Ending, Loss, ServiceRefusal};
use crate::state::{Phase, Wait};
use crate::timeline::TimelineEvent;

/// Longest wait for a token. Our choice.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(120);
/// Most tokens that are tried in a row (Genesys' mobile SDK).
const TOKEN_ATTEMPTS: u8 = limits::SIGN_IN_ATTEMPTS as u8;

impl Engine {
    /// Requests a token from the application, on this connection or, if it is not open, before the next one.
    ///
    /// # Errors
    /// The ending, if too many were refused in a row.
    pub fn request_token(&mut self, refusal: ServiceRefusal, now: Now) -> Result<(), Ending> {
        if self.token_attempts >= TOKEN_ATTEMPTS {
            self.timeline
                .record(TimelineEvent::Warning("the token was refused", None));
            return Err(Ending::AuthorizationRequired(refusal));
        }
        self.token_attempts += 1;
        self.set_wait(Wait::Token {
            requested: now.instant,
            until: now.instant + TOKEN_TIMEOUT,
            refusal: Box::new(refusal),
        });
        self.timeline
            .record(TimelineEvent::Warning("a token was requested", None));
        let attempt = self.token_attempts;
        self.emit(ConnectionEvent::TokenNeeded { attempt });
        Ok(())
    }

    /// Requests another token before the next connection, after one that was lost or refused because of the token.
    ///
    /// # Errors
    /// The ending, if too many were refused in a row.
    pub fn reconnect_with_token(&mut self, refusal: ServiceRefusal, now: Now) -> Result<(), Ending> {
        self.record_loss(&Loss::Rejected(refusal.clone()));
        self.set(Phase::Reconnecting(Wait::Retry(now.instant)));
        self.request_token(refusal, now)
    }

    /// Takes a token of the application. If it was waited for, it is used at once.
    pub fn handle_token(&mut self) {
        if let Some(wait) = self.phase.wait()
            && let Wait::Token { requested: since, .. } | Wait::SignIn { since } = wait
        {
            // due already: the driver calls at once
            *wait = Wait::Retry(*since);
            self.timeline.record(TimelineEvent::Step("a token was given"));
        }
    }

    /// Schedules another request for the session after a temporary refusal.
    pub fn retry_session(&mut self, at: Instant) {
        if self.is_open() && !matches!(self.phase.wait(), Some(Wait::Token { .. })) {
            self.set_wait(Wait::Retry(at));
        }
    }

    /// Whether the session is requested, and not answered yet.
    pub(crate) fn awaits_session(&mut self) -> bool {
        matches!(self.phase.wait(), Some(Wait::Answer(_)))
    }

    /// Waits for the guest's next sign-in, without a connection.
    pub(super) fn wait_for_sign_in(&mut self, refusal: ServiceRefusal, now: Now) {
        self.token_attempts = 0;
        self.set(Phase::Reconnecting(Wait::SignIn { since: now.instant }));
        self.emit(ConnectionEvent::SignInLost { refusal });
        self.report_queued();
    }

    /// Whether the conversation waits for the guest's next sign-in.
    pub(crate) fn awaits_sign_in(&mut self) -> bool {
        matches!(self.phase.wait(), Some(Wait::SignIn { .. }))
    }

    /// Handles a declined token. Returns the ending, if a token was waited for.
    pub fn handle_no_token(&mut self) -> Option<Ending> {
        match self.phase.wait()? {
            Wait::Token { refusal, .. } => Some(Ending::AuthorizationRequired((**refusal).clone())),
            Wait::Answer(_) | Wait::Retry(_) | Wait::SignIn { .. } => None,
        }
    }

    /// Another connection is opened before a token was passed: the service will refuse the old one again.
    pub(super) fn stop_waiting_for_token(&mut self) {
        if matches!(self.phase.wait(), Some(Wait::Token { .. })) {
            self.token_attempts -= 1;
        }
    }
}
