//! The state of the conversation as the gateway reports it, and the requests that it allows.

use std::time::Duration;

use genesys_api::{Now, parse_rfc3339};
use guest_conversation::{ConnectionEvent, Request, RequestError, SessionEvent};

use super::GatewayConversation;
use crate::{ClientFrame, ConversationState, ConversationStatus, GuestAction};

/// Longest wait for the answer to the handshake after the report of an outage: longer than the gateway takes to report a
/// change of it.
const OUTAGE_WAIT: Duration = Duration::from_secs(120);

impl GatewayConversation {
    /// The last status of the conversation, with the actions that it allows. `None` before the gateway has sent it.
    #[must_use]
    pub fn status(&self) -> Option<&ConversationStatus> {
        self.status.as_deref()
    }

    /// Starts a new conversation after a read-only one, or clears the present one. A refusal is a
    /// [`SessionEvent::Refused`].
    ///
    /// # Errors
    /// If the conversation is not ready, or the gateway has not offered the action. The contract has no other requests.
    pub fn request(&mut self, request: &Request) -> Result<(), RequestError> {
        let (action, name, frame) = match request {
            Request::Clear => (
                GuestAction::Clear,
                "conversation.clear",
                ClientFrame::ConversationClear {},
            ),
            Request::StartNew => (
                GuestAction::StartNew,
                "conversation.start",
                ClientFrame::ConversationStart {},
            ),
            _ => return Err(RequestError::NotAllowed),
        };
        if !self.engine.is_ready() {
            return Err(RequestError::NotReady {
                state: self.engine.state(),
            });
        }
        let offered = self
            .status()
            .is_some_and(|status| status.actions.contains(&action));
        if !offered {
            return Err(RequestError::NotAllowed);
        }
        self.engine.transmit(name, frame.to_json());
        Ok(())
    }

    /// Reports the differences to the last status.
    pub(super) fn handle_status(&mut self, status: ConversationStatus, now: Now) {
        let before = self.status.take();
        let before = before.as_deref();
        if before.map(|before| &before.outage) != Some(&status.outage) {
            match &status.outage {
                Some(outage) => {
                    let next = outage.next_attempt_at.as_deref();
                    self.engine.emit(ConnectionEvent::UpstreamLost {
                        reason: outage.reason.as_str(),
                        next_attempt_at: next.and_then(parse_rfc3339),
                    });
                    // the gateway answers the handshake when Genesys does
                    self.engine.extend_wait(OUTAGE_WAIT, now);
                }
                None if before.is_some_and(|before| before.outage.is_some()) => {
                    self.engine.emit(ConnectionEvent::UpstreamRestored);
                }
                None => {}
            }
        }
        if before.map_or(ConversationState::Open, |before| before.state) != status.state {
            match status.state {
                ConversationState::Cleared => self.engine.emit(SessionEvent::Cleared),
                ConversationState::Ended => self
                    .engine
                    .emit(SessionEvent::ConversationEnded { read_only: false }),
                ConversationState::Open => self.engine.handle_writable(),
                ConversationState::ReadOnly => {
                    self.engine
                        .emit(SessionEvent::ConversationEnded { read_only: true });
                    self.handle_read_only();
                }
            }
        }
        if let Some(at) = &status.expires_at
            && before.and_then(|before| before.expires_at.as_ref()) != Some(at)
        {
            let at = parse_rfc3339(at);
            self.engine.emit(SessionEvent::Expiring { at });
        }
        self.status = Some(Box::new(status));
    }
}
