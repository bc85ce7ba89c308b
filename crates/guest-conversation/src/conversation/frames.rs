//! Frames to Genesys Cloud.

use std::fmt::Display;

use genesys_api::Now;
use secrecy::SecretString;
use uuid::Uuid;
use web_messaging::{ClientAction, ClientFrame, ErrorCode, GuestMessage};

use super::Conversation;
use crate::MessageId;
use crate::attachments::AttachmentId;
use crate::engine::Engine;
use crate::event::RequestKind;
use crate::state::Progress;

/// Tracing ids of frames that are no message. Constant, as in Genesys' own SDK: only this socket gets the answer.
const SESSION: Uuid = Uuid::from_u128(0x6775_6573_7401_4000_8000_636f_6e66_6967);
const EVENT: Uuid = Uuid::from_u128(0x6775_6573_7402_4000_8000_6576_656e_7473);
const CLEAR: Uuid = Uuid::from_u128(0x6775_6573_7403_4000_8000_0063_6c65_6172);
const CLOSE: Uuid = Uuid::from_u128(0x6775_6573_7404_4000_8000_0063_6c6f_7365);
const ECHO: Uuid = Uuid::from_u128(0x6775_6573_7405_4000_8000_0000_6563_686f);
const JWT: Uuid = Uuid::from_u128(0x6775_6573_7406_4000_8000_0000_006a_7774);

/// The subjects of the constant tracing ids.
const CONTROL: [(Uuid, Subject); 6] = [
    (SESSION, Subject::Other),
    (EVENT, Subject::Other),
    (CLEAR, Subject::Control(ControlRequest::Clear)),
    (CLOSE, Subject::Control(ControlRequest::CloseSession)),
    (ECHO, Subject::Control(ControlRequest::Echo)),
    (JWT, Subject::Control(ControlRequest::Jwt)),
];

/// A request that is neither a message nor the first frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ControlRequest {
    /// Ends the conversation and removes its history.
    Clear,
    /// Leaves a read-only conversation.
    CloseSession,
    /// The service's health check.
    Echo,
    /// The token that reads the history.
    Jwt,
}

/// The request that a refusal is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Subject {
    /// A request about an attachment whose id is no UUID.
    Attachment(AttachmentId),
    Control(ControlRequest),
    /// A message, or a request about an attachment.
    Message(MessageId),
    /// Neither a message nor the first frame, or unknown.
    Other,
    /// A message, without an id.
    SomeMessage,
}

impl Subject {
    /// Finds the subject of a refusal by its tracing id, or else by its code and text.
    pub(super) fn of(tracing_id: Option<&str>, code: ErrorCode, text: &str) -> Self {
        match tracing_id.map(|id| id.parse::<MessageId>()) {
            Some(Ok(id)) => {
                let control = CONTROL.iter().find(|(name, _)| id == (*name).into());
                control.map_or(Self::Message(id), |(_, subject)| subject.clone())
            }
            Some(Err(_)) => {
                let id = tracing_id.and_then(|id| id.parse().ok());
                id.map_or(Self::Other, Self::Attachment)
            }
            // the text that Genesys' own SDK compares
            None if code == ErrorCode::Forbidden && text.contains("Conversation Clear") => {
                Self::Control(ControlRequest::Clear)
            }
            // only a message can be too long, have too large attributes, or come too late; many requests come too
            // soon, and of them a message is the most likely
            None if matches!(
                code,
                ErrorCode::CustomAttributesTooLarge
                    | ErrorCode::MessageTooLong
                    | ErrorCode::ReadOnly
                    | ErrorCode::RequestRateTooHigh
                    | ErrorCode::TooManyRequests
            ) =>
            {
                Self::SomeMessage
            }
            _ => Self::Other,
        }
    }

    /// The request of the application.
    pub(super) fn request(&self) -> Option<RequestKind> {
        match self {
            Self::Control(ControlRequest::Clear) => Some(RequestKind::Clear),
            Self::Control(ControlRequest::CloseSession) => Some(RequestKind::StartNew),
            Self::Control(ControlRequest::Echo | ControlRequest::Jwt)
            | Self::Attachment(_)
            | Self::Message(_)
            | Self::Other
            | Self::SomeMessage => None,
        }
    }

    /// The attachment that the request may be about.
    pub(super) fn attachment(&self) -> Option<AttachmentId> {
        match self {
            Self::Message(id) => id.to_string().parse().ok(),
            Self::Attachment(id) => Some(id.clone()),
            Self::Control(_) | Self::Other | Self::SomeMessage => None,
        }
    }
}

impl Conversation {
    /// Queues the first frame.
    pub(super) fn transmit_configure(&mut self) {
        let start_new = self.engine.progress == Progress::StartingNew;
        let deployment_id = &self.config.deployment;
        let action = match &self.config.jwt {
            None => ClientAction::ConfigureSession {
                deployment_id,
                start_new,
                journey_context: self.config.journey.as_ref(),
                resume_token: None,
            },
            Some(jwt) => ClientAction::ConfigureAuthenticatedSession {
                deployment_id,
                start_new,
                jwt: jwt.into(),
                resume_token: None,
            },
        };
        transmit(&mut self.engine, &self.config.token, SESSION, action);
    }

    pub(super) fn transmit_control(&mut self, request: ControlRequest) {
        let (tracing_id, action) = match request {
            ControlRequest::Clear => (CLEAR, on_message(GuestMessage::clear())),
            ControlRequest::CloseSession => {
                let close_all_connections = true;
                let action = ClientAction::CloseSession {
                    close_all_connections,
                };
                (CLOSE, action)
            }
            ControlRequest::Echo => {
                let message = GuestMessage::text("ping", None);
                (ECHO, ClientAction::Echo { message })
            }
            ControlRequest::Jwt => (JWT, ClientAction::GetJwt),
        };
        transmit(&mut self.engine, &self.config.token, tracing_id, action);
    }

    /// Queues the event that starts the flow before the guest's first message.
    pub(super) fn transmit_join(&mut self) {
        let action = on_message(GuestMessage::join(self.attributes.take_for(EVENT.into())));
        transmit(&mut self.engine, &self.config.token, EVENT, action);
    }

    pub(super) fn transmit_typing(&mut self) {
        let action = on_message(GuestMessage::typing());
        transmit(&mut self.engine, &self.config.token, EVENT, action);
    }

    /// Queues the next message, if there is one and the limits let it pass.
    pub(super) fn transmit_message(&mut self, now: Now) {
        let newest = self.newest_time();
        let Some((id, message)) = self.engine.next_message(now, newest) else {
            return;
        };
        let action = on_message(GuestMessage::message(message, self.attributes.take_for(id)));
        let text = frame(&self.config.token, id, action);
        self.engine.transmit("onMessage", text);
    }
}

fn on_message(message: GuestMessage<'_>) -> ClientAction<'_> {
    ClientAction::OnMessage { message }
}

/// Queues a frame.
pub(super) fn transmit(
    engine: &mut Engine,
    token: &SecretString,
    tracing_id: impl Display,
    action: ClientAction<'_>,
) {
    engine.transmit(action.name(), frame(token, tracing_id, action));
}

fn frame(token: &SecretString, tracing_id: impl Display, action: ClientAction<'_>) -> String {
    let frame = ClientFrame {
        action,
        token: token.into(),
        tracing_id: tracing_id.to_string().into(),
    };
    frame.to_json()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_frames_are_never_taken_for_messages() {
        for (id, known) in CONTROL {
            assert_eq!(Subject::of(Some(&id.to_string()), ErrorCode::new(429), ""), known);
            assert_eq!(id.get_version_num(), 4);
        }
        assert_eq!(
            Subject::of(Some("SGVhbHRo"), ErrorCode::new(429), ""),
            Subject::Attachment("SGVhbHRo".parse().unwrap())
        );
        assert_eq!(Subject::of(None, ErrorCode::new(429), ""), Subject::SomeMessage);
        assert_eq!(Subject::of(None, ErrorCode::new(400), ""), Subject::Other);
    }
}
