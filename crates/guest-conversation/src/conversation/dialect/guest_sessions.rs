//! `guest-sessions`: events are numbered, messages can be sent again under their id, errors are words.

use genesys_api::{Host, Now, parse_rfc3339, rfc3339};
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use time::OffsetDateTime;

use super::{About, Dialect, Errand, Heard, Parting, TYPING, Why, patience, time_or_now};
use crate::contract::GuestSessions;
use crate::conversation::attachments::Ask;
use crate::conversation::event::{Ending, Refusal, Session};
use crate::{
    Author, AuthorKind, Content, DeploymentRules, Direction, Farewell, Message, MessageId, QuickReply, Said,
};
use genesys_api::wire::sanitize;
use guest_sessions::{
    ClientFrame, EventName, PROTOCOL, Sender, SenderKind, ServerFrame, TOKEN_PROTOCOL_PREFIX, TOKEN_QUERY,
    TokenPlacement,
};
use web_messaging::CustomAttributes;
use ws_transport::CloseInfo;
use ws_transport::{AdmittedOrigin, ClientHandshake, SocketUrl};

#[derive(Debug)]
pub(super) struct GuestSessionsDialect {
    contract: GuestSessions,
    /// Whether the upgrade carries the token, so that the first frame need not.
    carried: bool,
    /// What the gateway complained about last: a close that follows is about it.
    complaint: Option<Refusal>,
}

impl GuestSessionsDialect {
    pub(super) fn new(contract: GuestSessions) -> Self {
        Self {
            contract,
            carried: false,
            complaint: None,
        }
    }

    /// The URL and the subprotocols that carry the token, if they are to and can.
    fn carrier(&self, url: &SocketUrl) -> Option<(SocketUrl, Option<HeaderValue>)> {
        let token = &self.contract.access_token;
        match self.contract.placement {
            TokenPlacement::Frame => None,
            TokenPlacement::Query => Some((url.clone().with_query(TOKEN_QUERY, token).ok()?, None)),
            TokenPlacement::Subprotocol => {
                let token = token.expose_secret();
                let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
                let fits = token.bytes().all(is_token);
                let protocols = format!("{PROTOCOL}, {TOKEN_PROTOCOL_PREFIX}{token}");
                let value = HeaderValue::from_str(&protocols).ok().filter(|_| fits)?;
                Some((url.clone(), Some(value)))
            }
        }
    }

    /// Whether an event is new; its number is then the last one.
    fn is_new(&mut self, sequence: u64) -> bool {
        if self.contract.last_sequence.is_some_and(|last| sequence <= last) {
            return false;
        }
        self.contract.last_sequence = Some(sequence);
        true
    }

    fn accepted(&mut self, new_session: bool, read_only: bool, sequence: u64) -> Heard {
        self.complaint = None;
        // a smaller number than ours means that the gateway counts anew
        let last = self.contract.last_sequence.unwrap_or(sequence);
        self.contract.last_sequence = Some(last.min(sequence));
        Heard::Configured {
            session: Session {
                new_session,
                read_only,
                expires_at: None,
            },
            rules: None,
        }
    }

    fn refused(&mut self, refusal: Refusal, retry_after: Option<u64>) -> Heard {
        if refusal.code == "replay.incomplete" {
            // a note on what was missed: no close is about it
            return Heard::Refused {
                about: About::Other,
                refusal,
                why: Why::Final,
            };
        }
        self.complaint = Some(refusal.clone());
        let (about, why) = match (&*refusal.code, retry_after) {
            (_, Some(_)) => (
                About::SomeMessage,
                Why::TooMany {
                    retry_after: patience(retry_after),
                },
            ),
            ("service.unavailable" | "internal.server.error" | "request.timeout", None) => {
                (About::Other, Why::Trouble)
            }
            (EXPIRED, None) => {
                return Heard::TokenNeeded {
                    about: About::Other,
                    refusal,
                };
            }
            _ => (About::Other, Why::Final),
        };
        Heard::Refused { about, refusal, why }
    }
}

impl Dialect for GuestSessionsDialect {
    fn handshake(&mut self, url: &SocketUrl, origin: &AdmittedOrigin) -> ClientHandshake {
        let carrier = self.carrier(url);
        self.carried = carrier.is_some();
        let (url, protocols) = carrier.unwrap_or_else(|| (url.clone(), None));
        let handshake = ClientHandshake::new(url, origin.clone());
        match protocols {
            Some(protocols) => handshake.with_protocols(protocols),
            None => handshake,
        }
    }

    fn opening(&self, _start_new: bool, now: Now) -> String {
        ClientFrame::Handshake {
            guest_session_id: self.contract.session.clone(),
            timestamp: rfc3339(now.utc).into(),
            access_token: (!self.carried).then(|| (&self.contract.access_token).into()),
            last_sequence: self.contract.last_sequence,
        }
        .to_json()
    }

    fn greeting(&mut self) -> Option<String> {
        None
    }

    fn message(&mut self, id: MessageId, said: &Said) -> String {
        ClientFrame::Message {
            id,
            text: said.words().into(),
        }
        .to_json()
    }

    fn is_rich(&self) -> bool {
        false
    }

    fn attachment(&self, _ask: &Ask) -> Option<String> {
        None
    }

    fn typing(&self) -> String {
        ClientFrame::Typing {}.to_json()
    }

    fn farewell(&self) -> Option<String> {
        None
    }

    fn errand(&self, _errand: Errand) -> Option<String> {
        None
    }

    fn history_host(&self) -> Option<&Host> {
        None
    }

    fn heard_until(&self) -> Option<OffsetDateTime> {
        None
    }

    fn rules(&self) -> DeploymentRules {
        DeploymentRules::default()
    }

    fn hear(&mut self, text: &str, now: Now) -> Option<Heard> {
        let Some(frame) = ServerFrame::parse(text) else {
            if let Ok(Numbered { sequence }) = serde_json::from_str(text) {
                self.is_new(sequence);
            }
            return None;
        };
        Some(match frame {
            ServerFrame::HandshakeAccepted {
                new_session,
                read_only,
                sequence,
                ..
            } => self.accepted(new_session, read_only, sequence),
            ServerFrame::MessageAccepted {
                id,
                sequence,
                timestamp,
            } => {
                self.is_new(sequence);
                // not dropped if it is old: whether the message is settled is known by its id
                Heard::Accepted {
                    id: Some(id),
                    at: time_or_now(Some(&timestamp), now),
                    sequence: Some(sequence),
                    expires_at: None,
                    elsewhere: None,
                }
            }
            ServerFrame::MessageFailed { id, code, message } => Heard::Refused {
                about: About::Message(id),
                refusal: Refusal::new(&*code, &message),
                why: Why::Final,
            },
            ServerFrame::Error {
                code,
                message,
                retry_after,
            } => self.refused(Refusal::new(&*code, &message), retry_after),
            ServerFrame::Message { sequence, .. }
            | ServerFrame::Typing { sequence, .. }
            | ServerFrame::Event { sequence, .. }
                if !self.is_new(sequence) =>
            {
                Heard::Nothing
            }
            ServerFrame::Message {
                sequence,
                id,
                text,
                from,
                timestamp,
                quick_replies,
            } => Heard::Message(Box::new(Message {
                id: id.to_string(),
                text: text.to_string(),
                from: author(&from),
                at: time_or_now(Some(&timestamp), now),
                direction: Direction::Outbound,
                content: quick_replies
                    .iter()
                    .map(|reply| {
                        Content::QuickReply(QuickReply {
                            text: reply.text.to_static(),
                            payload: reply.payload.to_static(),
                            image: None,
                        })
                    })
                    .collect(),
                sequence: Some(sequence),
            })),
            ServerFrame::Typing { from, .. } => Heard::Typing {
                from: author(&from),
                during: TYPING,
            },
            ServerFrame::Event { name, detail, .. } => happened(name, detail.as_deref()),
            ServerFrame::SessionEnded { reason, .. } => Heard::Ended(Ending::SessionEnded {
                reason: sanitize(&reason),
            }),
            ServerFrame::Pong { .. } => Heard::Nothing,
        })
    }

    fn handle_delivered(&mut self, _id: MessageId) {
        // nothing travels with a message here
    }

    fn resends(&self) -> bool {
        true
    }

    fn is_final(&self, status: u16) -> bool {
        // a timeout and a limit pass; all else is a fault of the request
        (400..500).contains(&status) && !matches!(status, 408 | 425 | 429)
    }

    fn ending(&mut self, close: &CloseInfo) -> Option<Parting> {
        let refusal = self.complaint.take();
        // protocol error, wrong data, broken text, policy, too big: the same would happen again
        let code = close
            .code()
            .filter(|code| matches!(code, 1002 | 1003 | 1007 | 1008 | 1009))?;
        Some(match refusal {
            Some(refusal) if refusal.code == EXPIRED => Parting::TokenNeeded(refusal),
            Some(refusal) => Parting::Ended(Ending::Rejected(refusal)),
            None => Parting::Ended(Ending::Rejected(Refusal::new(code, close.reason()))),
        })
    }

    fn wants_token(&self, status: u16) -> bool {
        status == 401
    }

    fn set_farewell(&mut self, _farewell: Farewell) {
        // a session is ended by a call, not on the socket
    }

    fn update_attributes(&mut self, _attributes: CustomAttributes) {
        // the gateway has them since the session was created
    }

    fn update_token(&mut self, token: SecretString) {
        self.contract.access_token = token;
    }

    fn step_up(&mut self, _jwt: Option<SecretString>) -> bool {
        false
    }
}

fn happened(name: EventName, detail: Option<&str>) -> Heard {
    match name {
        EventName::ConversationEnded => Heard::ConversationEnded {
            read_only: detail == Some("read-only"),
        },
        EventName::SessionExpiring => Heard::SessionExpiring {
            at: detail.and_then(parse_rfc3339),
        },
        EventName::SessionReconnecting => Heard::UpstreamLost,
        EventName::SessionRestored => Heard::UpstreamRestored,
    }
}

fn author(from: &Sender<'_>) -> Author {
    Author {
        kind: match from.kind {
            SenderKind::Agent => AuthorKind::Human,
            SenderKind::Bot => AuthorKind::Bot,
        },
        name: from.name.as_deref().map(str::to_owned),
    }
}

/// The gateway's word for an access token whose time has passed.
const EXPIRED: &str = "credentials.expired";

#[derive(Deserialize)]
struct Numbered {
    sequence: u64,
}
