//! What an application asks for besides sending messages.

use genesys_api::Now;
use secrecy::SecretString;

use super::dialect::Errand;
use super::state::{Reason, State};
use super::{ANSWER_TIMEOUT, Conversation};
use ws_transport::Transmit;

/// A request was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Too many requests of this kind wait already.
    #[error("{waiting} requests of this kind wait already: wait for their answers")]
    Busy {
        /// How many.
        waiting: usize,
    },
    /// The conversation is over, or ending.
    #[error("the conversation has ended: open a new one")]
    Ended,
    /// The deployment does not let its guests do this.
    #[error("the deployment does not allow it: an administrator can switch it on in its configuration")]
    NotAllowed,
    /// The contract has no such thing, or was not told where it is.
    #[error(
        "this contract cannot do it: web-messaging can, and reads the history where it is told the API's host"
    )]
    NotOffered,
    /// The session is not in a state for it.
    #[error("it cannot be done while the conversation is {state:?}")]
    NotReady {
        /// Where it stands.
        state: State,
    },
}

impl Conversation {
    /// Clears the conversation: it ends for the agent, and its history is lost. `SessionCleared` tells that it was
    /// done, and the end follows, for Genesys Cloud closes the connections of a cleared session; `Refused` tells that
    /// the deployment does not allow it.
    ///
    /// # Errors
    /// If it cannot be asked for.
    pub fn clear(&mut self, now: Now) -> Result<(), RequestError> {
        self.chronicle.handle_time(now);
        self.ready(&[State::Configured, State::ReadOnly])?;
        if !self.dialect.rules().clear {
            return Err(RequestError::NotAllowed);
        }
        let frame = self
            .dialect
            .errand(Errand::Clear)
            .ok_or(RequestError::NotOffered)?;
        // not held back by a limit that it might exceed: nothing else is left to say
        let _ = self.outbox.pacing.request(now.instant);
        self.transmits.push_back(Transmit::Frame(frame));
        Ok(())
    }

    /// Asks the service whether it is well, and when the session expires; `Healthy` has the answer. At most two leave
    /// in a minute; one more waits, and stands for all that were asked for meanwhile.
    ///
    /// # Errors
    /// If the conversation is over, or the contract has no health check.
    pub fn check_health(&mut self) -> Result<(), RequestError> {
        self.not_over()?;
        self.dialect
            .errand(Errand::Echo)
            .ok_or(RequestError::NotOffered)?;
        self.health.want();
        Ok(())
    }

    /// Reads a page of the history, newest first, from 1; `History` has it, or `HistoryUnread` says why not. Up to four
    /// wait. It asks for a token on the socket, and so waits for one that is configured.
    ///
    /// # Errors
    /// If it cannot be asked for.
    pub fn read_history(&mut self, page: u32, now: Now) -> Result<(), RequestError> {
        self.chronicle.handle_time(now);
        self.not_over()?;
        let archive = self.archive.as_mut().ok_or(RequestError::NotOffered)?;
        if !archive.wish(page) {
            return Err(RequestError::Busy { waiting: 4 });
        }
        self.advance_history(now);
        Ok(())
    }

    /// Leaves a read-only conversation for a new one, on the same socket with the same token; `Configured` tells that
    /// it is there.
    ///
    /// # Errors
    /// If the conversation is not read-only, or not connected.
    pub fn start_new(&mut self, now: Now) -> Result<(), RequestError> {
        self.chronicle.handle_time(now);
        self.ready(&[State::ReadOnly])?;
        let frame = self
            .dialect
            .errand(Errand::CloseSession)
            .ok_or(RequestError::NotOffered)?;
        if self.start_new {
            return Err(RequestError::Busy { waiting: 1 });
        }
        self.abandon_history();
        self.tell_doubts();
        let _ = self.outbox.pacing.request(now.instant);
        self.transmits.push_back(Transmit::Frame(frame));
        self.start_new = true;
        self.deadline = Some((now.instant + ANSWER_TIMEOUT, Reason::StartNew));
        Ok(())
    }

    /// Signs the guest in on the present session; the deployment must allow it. `SignedIn` tells that it was done,
    /// `Refused` that it was not. Messages wait meanwhile.
    ///
    /// # Errors
    /// If the session is not ready, or the contract has no such thing.
    pub fn step_up(&mut self, jwt: SecretString, now: Now) -> Result<(), RequestError> {
        self.chronicle.handle_time(now);
        self.ready(&[State::Configured])?;
        if !self.dialect.step_up(Some(jwt)) {
            return Err(RequestError::NotOffered);
        }
        self.stepping = true;
        self.enter(State::Configuring);
        self.configure(now);
        Ok(())
    }

    /// Keeps the frame behind each event, up to 256 KiB of those that wait: see [`Self::raw`].
    pub fn keep_frames(&mut self) {
        self.events.keep_frames();
    }

    /// The frame that the event polled last came by, as it came; it may hold secrets. `None` if no frame brought it,
    /// frames are not kept, or too much of them waited.
    #[must_use]
    pub fn raw(&self) -> Option<&str> {
        self.events.raw()
    }

    pub(super) fn not_over(&self) -> Result<(), RequestError> {
        match self.state {
            State::Closing | State::Closed | State::Failed => Err(RequestError::Ended),
            _ => Ok(()),
        }
    }

    fn ready(&self, states: &[State]) -> Result<(), RequestError> {
        self.not_over()?;
        if self.socket && states.contains(&self.state) {
            return Ok(());
        }
        Err(RequestError::NotReady { state: self.state })
    }
}
