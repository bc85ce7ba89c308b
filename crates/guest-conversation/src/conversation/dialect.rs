//! Between the conversation and the frames of its contract.

mod guest_sessions;
mod web_messaging;

use std::fmt;
use std::time::Duration;

use genesys_api::{Host, Now, parse_rfc3339};
use secrecy::SecretString;
use time::OffsetDateTime;

use super::attachments::{Ask, AttachmentId, Rules};
use super::event::{Ending, Refusal, Session};
use super::files::News;
use crate::{Author, Contract, DeploymentRules, Farewell, Message, MessageId, Said};
use ::web_messaging::CustomAttributes;
use ws_transport::CloseInfo;
use ws_transport::{AdmittedOrigin, ClientHandshake, SocketUrl};

/// The one place where the contract is chosen.
pub(super) fn of(contract: Contract) -> Box<dyn Dialect> {
    match contract {
        Contract::GuestSessions(contract) => Box::new(guest_sessions::GuestSessionsDialect::new(contract)),
        Contract::WebMessaging(contract) => Box::new(web_messaging::WebMessagingDialect::new(contract)),
    }
}

/// What the conversation needs of a contract.
pub(super) trait Dialect: fmt::Debug + Send {
    /// The upgrade, with the URL and the headers that the contract wants.
    fn handshake(&mut self, url: &SocketUrl, origin: &AdmittedOrigin) -> ClientHandshake;
    /// The first frame of a socket; `start_new` asks for a fresh conversation after a read-only one.
    fn opening(&self, start_new: bool, now: Now) -> String;
    /// The frame that follows once a new session is configured.
    fn greeting(&mut self) -> Option<String>;
    /// A message of the guest, with more than words only if the contract is rich.
    fn message(&mut self, id: MessageId, said: &Said) -> String;
    /// Whether the contract has attachments, and choices among what was offered.
    fn is_rich(&self) -> bool;
    /// A request about an attachment, if the contract is rich.
    fn attachment(&self, ask: &Ask) -> Option<String>;
    /// The guest is typing.
    fn typing(&self) -> String;
    /// The last frame before we close, which the service answers.
    fn farewell(&self) -> Option<String>;
    /// A request of another kind, if the contract has it.
    fn errand(&self, errand: Errand) -> Option<String>;
    /// Where the history is read, if it can be.
    fn history_host(&self) -> Option<&Host>;
    /// What an earlier process heard last.
    fn heard_until(&self) -> Option<OffsetDateTime>;
    /// What the deployment lets its guests do.
    fn rules(&self) -> DeploymentRules;
    /// What a frame of the service means. `None` if that is not known.
    fn hear(&mut self, text: &str, now: Now) -> Option<Heard>;
    /// The history shows that this message arrived.
    fn handle_delivered(&mut self, id: MessageId);
    /// Whether a message can be sent again under its id and is still one message.
    fn resends(&self) -> bool;
    /// Whether an upgrade that was refused with this HTTP status would be refused again.
    fn is_final(&self, status: u16) -> bool;
    /// Whether a close of the service is final.
    fn ending(&mut self, close: &CloseInfo) -> Option<Parting>;
    /// Whether this HTTP status of an upgrade means that another token is needed.
    fn wants_token(&self, status: u16) -> bool;
    /// What the last frame is to be from now on.
    fn set_farewell(&mut self, farewell: Farewell);
    /// The attributes for the messages to come.
    fn update_attributes(&mut self, attributes: CustomAttributes);
    /// A token for the connections to come.
    fn update_token(&mut self, token: SecretString);
    /// Signs the guest in on the present session, or takes that back. `false` if the contract has no such thing.
    fn step_up(&mut self, jwt: Option<SecretString>) -> bool;
}

/// A request that is neither a message nor the first frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Errand {
    /// Ends the conversation, and its history is lost.
    Clear,
    /// Leaves a read-only conversation.
    CloseSession,
    /// The service's health check.
    Echo,
    /// The token that reads the history.
    Jwt,
}

/// What a close of the service means, if it is more than a lost connection.
#[derive(Debug)]
pub(super) enum Parting {
    Ended(Ending),
    TokenNeeded(Refusal),
}

/// What a frame means, whichever contract it came by.
#[derive(Debug)]
pub(super) enum Heard {
    /// A message of the guest was accepted: one of ours if the id is, else the one from `elsewhere`.
    Accepted {
        id: Option<MessageId>,
        at: OffsetDateTime,
        sequence: Option<u64>,
        expires_at: Option<OffsetDateTime>,
        elsewhere: Option<Box<Message>>,
    },
    Attachment {
        id: AttachmentId,
        news: Box<News>,
    },
    /// `closeSession` was done.
    Closed,
    /// With the rules for attachments, if the contract is rich.
    Configured {
        session: Session,
        rules: Option<Rules>,
    },
    ConversationEnded {
        read_only: bool,
    },
    Ended(Ending),
    /// The health check was answered.
    Healthy {
        expires_at: Option<OffsetDateTime>,
    },
    Jwt {
        jwt: SecretString,
        expires_at: OffsetDateTime,
    },
    Message(Box<Message>),
    /// Nothing that an application would want to know.
    Nothing,
    Refused {
        about: About,
        refusal: Refusal,
        why: Why,
    },
    SessionCleared,
    SessionExpiring {
        at: Option<OffsetDateTime>,
    },
    /// Another token is needed.
    TokenNeeded {
        about: About,
        refusal: Refusal,
    },
    Typing {
        from: Author,
        during: Duration,
    },
    UpstreamLost,
    UpstreamRestored,
}

/// What was refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum About {
    /// A request about one whose id is no UUID.
    Attachment(AttachmentId),
    Errand(Errand),
    /// A message, or a request about an attachment.
    Message(MessageId),
    /// Neither a message nor the first frame, or it cannot be told.
    Other,
    /// A message, but the service did not say which.
    SomeMessage,
}

/// Why it was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Why {
    /// It is refused for good.
    Final,
    /// The conversation is read-only.
    ReadOnly,
    /// It came too soon.
    TooMany { retry_after: Duration },
    /// The service has trouble of its own.
    Trouble,
}

/// How long a typing indicator is shown if the service does not say.
const TYPING: Duration = genesys_api::limits::TYPING_SHOWN;

/// The wait if a service throttles without saying for how long; what Genesys' Java SDK takes.
const RETRY_AFTER: Duration = genesys_api::limits::RETRY_AFTER;

/// A wait that a service asked for, within reason.
fn patience(seconds: Option<u64>) -> Duration {
    seconds
        .map_or(RETRY_AFTER, Duration::from_secs)
        .min(genesys_api::retry::MAX_RETRY_AFTER)
}

/// A time that a service sent, or ours if it sent none.
fn time_or_now(text: Option<&str>, now: Now) -> OffsetDateTime {
    text.and_then(parse_rfc3339).unwrap_or(now.utc)
}
