//! `web-messaging`: echoes acknowledge, nothing is sent again, errors are numbers.

mod files;
mod luggage;

use std::time::Duration;

use genesys_api::{Host, Now};
use secrecy::SecretString;
use time::OffsetDateTime;
use uuid::Uuid;

use self::luggage::Luggage;
use super::{About, Dialect, Errand, Heard, Parting, TYPING, Why, patience};
use crate::contract::{Farewell, WebMessaging};
use crate::conversation::attachments::{Ask, Rules};
use crate::conversation::event::{Ending, Refusal, Session};
use crate::{DeploymentRules, MessageId, Said};
use web_messaging::{
    Body, ClientFrame, CustomAttributes, DEPLOYMENT_QUERY, ErrorCode, FrameKind, GuestMessage, MessageEvent,
    Metadata, PresenceKind, Remedy, ServerFrame, StructuredMessage,
};
use ws_transport::CloseInfo;
use ws_transport::{AdmittedOrigin, ClientHandshake, SocketUrl};

/// Tracing ids of frames that are no message. Constant, as in Genesys' own SDK: only this socket sees the answer.
const OPENING: Uuid = Uuid::from_u128(0x6775_6573_7401_4000_8000_636f_6e66_6967);
const EVENT: Uuid = Uuid::from_u128(0x6775_6573_7402_4000_8000_6576_656e_7473);
const CLEAR: Uuid = Uuid::from_u128(0x6775_6573_7403_4000_8000_0063_6c65_6172);
const CLOSE: Uuid = Uuid::from_u128(0x6775_6573_7404_4000_8000_0063_6c6f_7365);
const ECHO: Uuid = Uuid::from_u128(0x6775_6573_7405_4000_8000_0000_6563_686f);
const JWT: Uuid = Uuid::from_u128(0x6775_6573_7406_4000_8000_0000_006a_7774);

/// What each frame that is no message bears.
const CONTROL: [(Uuid, About); 6] = [
    (OPENING, About::Other),
    (EVENT, About::Other),
    (CLEAR, About::Errand(Errand::Clear)),
    (CLOSE, About::Errand(Errand::CloseSession)),
    (ECHO, About::Errand(Errand::Echo)),
    (JWT, About::Errand(Errand::Jwt)),
];

#[derive(Debug)]
pub(super) struct WebMessagingDialect {
    contract: WebMessaging,
    luggage: Luggage,
}

impl WebMessagingDialect {
    pub(super) fn new(mut contract: WebMessaging) -> Self {
        let luggage = Luggage::new(std::mem::take(&mut contract.attributes));
        Self { contract, luggage }
    }

    fn structured(
        &mut self,
        kind: FrameKind,
        tracing_id: Option<&str>,
        message: &StructuredMessage<'_>,
        now: Now,
    ) -> Option<Heard> {
        if kind == FrameKind::Response {
            // the answer to a health check
            return Some(Heard::Healthy {
                expires_at: message.metadata.as_ref().and_then(Metadata::expires_at),
            });
        }
        let inbound = match &*message.direction {
            "Inbound" => true,
            "Outbound" => false,
            _ => return None,
        };
        let id = tracing_id.and_then(|id| id.parse::<MessageId>().ok());
        if let Some(id) = id.filter(|_| inbound) {
            self.luggage.handle_accepted(id);
        }
        if &*message.kind == "Event" {
            return event(message, inbound);
        }
        let expires_at = message.metadata.as_ref().and_then(Metadata::expires_at);
        let message = message.to_message(now.utc)?;
        if !inbound {
            return Some(Heard::Message(Box::new(message)));
        }
        Some(Heard::Accepted {
            id,
            at: message.at,
            sequence: None,
            expires_at,
            elsewhere: Some(Box::new(message)),
        })
    }

    fn refused(&mut self, code: i64, text: &str, tracing_id: Option<&str>) -> Heard {
        let refusal = Refusal::new(code, text);
        let code = ErrorCode::new(code);
        let why = match code.remedy(text) {
            Remedy::RefreshJwt | Remedy::Authenticate if self.contract.jwt.is_some() => {
                return Heard::TokenNeeded {
                    about: about(tracing_id, code),
                    refusal,
                };
            }
            Remedy::NewSession if code == ErrorCode::SessionExpired => {
                return Heard::Ended(Ending::SessionExpired);
            }
            Remedy::NewSession | Remedy::RefreshJwt => return Heard::Ended(Ending::Rejected(refusal)),
            Remedy::DropAttributes => {
                let bearer = tracing_id.and_then(|id| id.parse().ok());
                self.luggage.handle_too_large(bearer);
                Why::Final
            }
            Remedy::Retry => Why::Trouble,
            Remedy::StopSending => Why::ReadOnly,
            Remedy::Wait => Why::TooMany {
                retry_after: patience(None),
            },
            Remedy::Authenticate | Remedy::CannotClear | Remedy::FreshLink | Remedy::Report => Why::Final,
        };
        Heard::Refused {
            about: about(tracing_id, code),
            refusal,
            why,
        }
    }
}

impl Dialect for WebMessagingDialect {
    fn handshake(&mut self, url: &SocketUrl, origin: &AdmittedOrigin) -> ClientHandshake {
        let deployment = SecretString::from(self.contract.deployment.as_str());
        let named = url.clone().with_query(DEPLOYMENT_QUERY, &deployment);
        // fails for a URL of 8 KiB only: the service will say that it misses the deployment
        ClientHandshake::new(named.unwrap_or_else(|_| url.clone()), origin.clone())
    }

    fn opening(&self, start_new: bool, _now: Now) -> String {
        let token = (&self.contract.token).into();
        let deployment_id = &self.contract.deployment;
        let tracing_id = OPENING.to_string().into();
        let frame = match &self.contract.jwt {
            None => ClientFrame::ConfigureSession {
                token,
                deployment_id,
                start_new,
                journey_context: self.contract.journey.as_ref(),
                resume_token: None,
                tracing_id,
            },
            Some(jwt) => ClientFrame::ConfigureAuthenticatedSession {
                token,
                deployment_id,
                start_new,
                jwt: jwt.into(),
                journey_context: self.contract.journey.as_ref(),
                tracing_id,
            },
        };
        frame.to_json()
    }

    fn greeting(&mut self) -> Option<String> {
        if !self.contract.rules.autostart {
            return None;
        }
        let join = GuestMessage::join(self.luggage.load(EVENT.into()));
        Some(on_message(&self.contract.token, EVENT.into(), join))
    }

    fn message(&mut self, id: MessageId, said: &Said) -> String {
        let message = GuestMessage::said(said, self.luggage.load(id));
        on_message(&self.contract.token, id, message)
    }

    fn is_rich(&self) -> bool {
        true
    }

    fn attachment(&self, ask: &Ask) -> Option<String> {
        Some(files::frame(&self.contract.token, ask).to_json())
    }

    fn typing(&self) -> String {
        on_message(&self.contract.token, EVENT.into(), GuestMessage::typing())
    }

    fn farewell(&self) -> Option<String> {
        let clears = self.contract.farewell == Farewell::Clear && self.contract.rules.clear;
        clears.then(|| self.errand(Errand::Clear)).flatten()
    }

    fn errand(&self, errand: Errand) -> Option<String> {
        let token = (&self.contract.token).into();
        let frame = match errand {
            Errand::Clear => ClientFrame::OnMessage {
                token,
                tracing_id: CLEAR.to_string().into(),
                message: GuestMessage::clear(),
            },
            Errand::CloseSession => ClientFrame::CloseSession {
                token,
                close_all_connections: true,
                tracing_id: CLOSE.to_string().into(),
            },
            Errand::Echo => ClientFrame::Echo {
                token,
                tracing_id: ECHO.to_string().into(),
                message: GuestMessage::text("ping", None),
            },
            Errand::Jwt => ClientFrame::GetJwt {
                token,
                tracing_id: JWT.to_string().into(),
            },
        };
        Some(frame.to_json())
    }

    fn history_host(&self) -> Option<&Host> {
        self.contract.api.as_ref()
    }

    fn heard_until(&self) -> Option<OffsetDateTime> {
        self.contract.heard_until
    }

    fn rules(&self) -> DeploymentRules {
        self.contract.rules
    }

    fn hear(&mut self, text: &str, now: Now) -> Option<Heard> {
        let frame = ServerFrame::parse(text).ok()?;
        let tracing_id = frame.tracing_id.as_deref();
        Some(match &frame.body {
            Body::Session(session) if session.connected => {
                if session.new_session {
                    self.luggage.handle_new_session();
                }
                let allowed = Some(session).filter(|_| self.contract.rules.attachments);
                Heard::Configured {
                    session: Session {
                        new_session: session.new_session,
                        read_only: session.read_only,
                        expires_at: session.expires_at(),
                    },
                    rules: Some(allowed.map_or_else(Rules::off, files::rules)),
                }
            }
            Body::Structured(message) => return self.structured(frame.kind, tracing_id, message, now),
            Body::TooManyRequests(limit) => Heard::Refused {
                about: about(tracing_id, ErrorCode::TooManyRequests),
                refusal: Refusal::new(
                    limit.error_code.unwrap_or(429),
                    limit.error_message.as_deref().unwrap_or_default(),
                ),
                why: Why::TooMany {
                    retry_after: patience(limit.retry_after.and_then(|seconds| u64::try_from(seconds).ok())),
                },
            },
            Body::Error(error) => {
                self.refused(error.error_code.unwrap_or(frame.code), error.text(), tracing_id)
            }
            Body::Plain(text) if frame.code >= 400 => self.refused(frame.code, text, tracing_id),
            Body::Session(session) if session.read_only => Heard::Closed,
            Body::Jwt(jwt) => Heard::Jwt {
                jwt: jwt.jwt.to_secret(),
                expires_at: jwt.expires_at()?,
            },
            Body::ConnectionClosed { reason } => Heard::Ended(Ending::ClosedByServer {
                reason: reason.as_deref().map(genesys_api::wire::sanitize),
            }),
            Body::LoggedOut => Heard::Ended(Ending::LoggedOut),
            Body::SessionCleared => Heard::SessionCleared,
            Body::SessionExpired => Heard::Ended(Ending::SessionExpired),
            other => return files::heard(other, tracing_id),
        })
    }

    fn handle_delivered(&mut self, id: MessageId) {
        self.luggage.handle_accepted(id);
    }

    fn resends(&self) -> bool {
        false
    }

    fn is_final(&self, status: u16) -> bool {
        matches!(status, 401 | 403)
    }

    fn wants_token(&self, _status: u16) -> bool {
        false
    }

    fn ending(&mut self, _close: &CloseInfo) -> Option<Parting> {
        // Genesys defines no close codes of its own: what is final comes in a frame before
        None
    }

    fn set_farewell(&mut self, farewell: Farewell) {
        self.contract.farewell = farewell;
    }

    fn update_attributes(&mut self, attributes: CustomAttributes) {
        self.luggage.replace(attributes);
    }

    fn update_token(&mut self, token: SecretString) {
        // the token of a guest who is not signed in is the session itself: there is none to renew
        if let Some(jwt) = &mut self.contract.jwt {
            *jwt = token;
        }
    }

    fn step_up(&mut self, jwt: Option<SecretString>) -> bool {
        self.contract.jwt = jwt;
        true
    }
}

fn on_message(token: &SecretString, tracing_id: MessageId, message: GuestMessage<'_>) -> String {
    ClientFrame::OnMessage {
        token: token.into(),
        tracing_id: tracing_id.to_string().into(),
        message,
    }
    .to_json()
}

fn event(message: &StructuredMessage<'_>, inbound: bool) -> Option<Heard> {
    Some(match message.events.first()? {
        // our own typing, joining and clearing come back; clearing is told by SessionClearedEvent
        MessageEvent::Presence(_) | MessageEvent::Typing(_) if inbound => Heard::Nothing,
        MessageEvent::Presence(presence) if presence.kind == PresenceKind::Disconnect => {
            Heard::ConversationEnded {
                read_only: message
                    .metadata
                    .as_ref()
                    .is_some_and(|metadata| metadata.read_only),
            }
        }
        MessageEvent::Typing(typing) if &*typing.kind == "On" => Heard::Typing {
            from: message.author(),
            during: typing.duration.map_or(TYPING, Duration::from_millis),
        },
        MessageEvent::Typing(_) => Heard::Nothing,
        _ => return None,
    })
}

fn about(tracing_id: Option<&str>, code: ErrorCode) -> About {
    match tracing_id.map(|id| id.parse::<MessageId>()) {
        Some(Ok(id)) => {
            let control = CONTROL.iter().find(|(name, _)| id == (*name).into());
            control.map_or(About::Message(id), |(_, about)| about.clone())
        }
        Some(Err(_)) => {
            let id = tracing_id.and_then(|id| id.parse().ok());
            id.map_or(About::Other, About::Attachment)
        }
        // only a message can be too long, carry too large attributes, or come too late; many things come too soon,
        // and of them a message is the most likely
        None if matches!(
            code,
            ErrorCode::CustomAttributesTooLarge
                | ErrorCode::MessageTooLong
                | ErrorCode::ReadOnly
                | ErrorCode::RequestRateTooHigh
                | ErrorCode::TooManyRequests
        ) =>
        {
            About::SomeMessage
        }
        _ => About::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_frames_are_never_taken_for_messages() {
        for (id, known) in CONTROL {
            assert_eq!(about(Some(&id.to_string()), ErrorCode::new(429)), known);
            assert_eq!(id.get_version_num(), 4);
        }
        assert_eq!(
            about(Some("SGVhbHRo"), ErrorCode::new(429)),
            About::Attachment("SGVhbHRo".parse().unwrap())
        );
        assert_eq!(about(None, ErrorCode::new(429)), About::SomeMessage);
        assert_eq!(about(None, ErrorCode::new(400)), About::Other);
    }
}
