//! Requests of the application, besides messages and attachments.

use genesys_api::Now;
use secrecy::SecretString;

use super::Conversation;
use super::frames::ControlRequest;
use crate::attachments::{AttachmentId, REFRESHES};
use crate::engine::ANSWER_TIMEOUT;
use crate::event::{Loss, RequestKind};
use crate::state::{Progress, Stage, State, Wait};

/// A request of the application. A refusal is a [`SessionEvent::Refused`](crate::SessionEvent::Refused). `Debug` shows
/// no token.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Request {
    /// Requests the service's health and the session's expiry: [`SessionEvent::Health`](crate::SessionEvent::Health).
    /// At most two are sent in a minute; one more waits, for all that were requested meanwhile.
    CheckHealth,
    /// Clears the conversation: it ends for the agent, and its history is lost. A
    /// [`SessionEvent::Cleared`](crate::SessionEvent::Cleared) and the end follow, or a refusal.
    Clear,
    /// Reads a page of the history: [`SessionEvent::History`](crate::SessionEvent::History). Up to four wait, for a
    /// ready session, since the token is requested on the socket. None waits for the rate limit of ten pages in a minute:
    /// [`SessionEvent::HistoryFailed`](crate::SessionEvent::HistoryFailed) has the time to wait.
    ReadHistory {
        /// Number of the page, newest first, from 1.
        page: u32,
    },
    /// Requests a new download link, which is valid for about ten minutes. Requested twice it is sent once.
    RefreshAttachment {
        /// The attachment, of either side.
        id: AttachmentId,
    },
    /// Signs the guest in on the present session, where the deployment allows it. A
    /// [`ConnectionEvent::SignedIn`](crate::ConnectionEvent::SignedIn) follows, or a refusal. Messages wait meanwhile. A
    /// session that is not ready is configured next as the signed-in guest's.
    SignIn {
        /// JWT of the sign-in.
        jwt: SecretString,
    },
    /// Leaves a read-only conversation for a new one, on the same socket with the same token. A
    /// [`ConnectionEvent::Ready`](crate::ConnectionEvent::Ready) follows.
    StartNew,
}

impl Request {
    /// The kind, if the service can refuse it.
    #[must_use]
    pub fn kind(&self) -> Option<RequestKind> {
        match self {
            Self::Clear => Some(RequestKind::Clear),
            Self::SignIn { .. } => Some(RequestKind::SignIn),
            Self::StartNew => Some(RequestKind::StartNew),
            Self::CheckHealth | Self::ReadHistory { .. } | Self::RefreshAttachment { .. } => None,
        }
    }
}

/// The error of a request that was not made.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Too many requests of this kind wait already.
    #[error("cannot make the request: {waiting} of this kind wait; make it after their answers")]
    Busy {
        /// Number of requests that wait.
        waiting: usize,
    },
    /// The conversation is over, or ending.
    #[error("cannot make the request: the conversation has ended; open a new one")]
    Ended,
    /// The history cannot be read without a host for it.
    #[error("cannot read the history: its host is unknown; set `WebMessaging::api`")]
    NoHistoryHost,
    /// The deployment does not allow it.
    #[error(
        "cannot make the request: the deployment does not allow it; an administrator can switch it on in its configuration"
    )]
    NotAllowed,
    /// The session is in another state.
    #[error("cannot make the request: the conversation is {state:?}; wait until it is ready")]
    NotReady {
        /// State of the conversation.
        state: State,
    },
}

impl Conversation {
    /// Makes a request.
    ///
    /// # Errors
    /// If it cannot be made now, or not at all.
    pub fn request(&mut self, request: Request, now: Now) -> Result<(), RequestError> {
        self.engine.timeline.handle_time(now);
        let state = self.engine.state();
        if matches!(state, State::Closing | State::Closed | State::Failed) {
            return Err(RequestError::Ended);
        }
        let ready = |states: &[State]| match self.engine.is_open() && states.contains(&state) {
            true => Ok(()),
            false => Err(RequestError::NotReady { state }),
        };
        match request {
            Request::CheckHealth => self.expiry.request_echo(),
            Request::Clear => {
                ready(&[State::Configured, State::ReadOnly])?;
                if !self.config.rules.clear {
                    return Err(RequestError::NotAllowed);
                }
                self.request_control(ControlRequest::Clear, now);
            }
            Request::ReadHistory { page } => {
                let history = self.history.as_mut().ok_or(RequestError::NoHistoryHost)?;
                if !history.queue_page(page) {
                    return Err(RequestError::Busy { waiting: 4 });
                }
                self.advance_history(now);
            }
            Request::RefreshAttachment { id } => {
                if !self.attachments.refresh(id) {
                    return Err(RequestError::Busy { waiting: REFRESHES });
                }
            }
            Request::SignIn { jwt } => {
                self.config.jwt = Some(jwt);
                if ready(&[State::Configured]).is_ok() {
                    self.engine.enter(Stage::SigningIn(Wait::Retry(now.instant)));
                    self.engine.report_queued();
                    self.configure(now);
                } else if self.engine.is_open() && self.engine.awaits_session() {
                    // it was requested without this JWT
                    self.engine.disconnect(Loss::Requested);
                } else {
                    self.engine.handle_token();
                }
            }
            Request::StartNew => {
                ready(&[State::ReadOnly])?;
                if self.engine.progress == Progress::StartingNew {
                    return Err(RequestError::Busy { waiting: 1 });
                }
                if let Some(history) = &mut self.history {
                    history.postpone_page();
                }
                self.abandon_history();
                self.engine.report_unknown();
                self.request_control(ControlRequest::CloseSession, now);
                self.engine.progress = Progress::StartingNew;
                self.engine.set_leaving(Some(now.instant + ANSWER_TIMEOUT));
            }
        }
        Ok(())
    }

    /// Sends a request at once, even if it exceeds a limit: little can follow it.
    pub(super) fn request_control(&mut self, request: ControlRequest, now: Now) {
        let _ = self.engine.pacing.request(now.instant);
        self.transmit_control(request);
    }
}
