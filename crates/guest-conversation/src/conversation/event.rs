//! What a conversation tells its application.

use std::fmt;

use std::time::Duration;
use ws_transport::CloseInfo;

use time::OffsetDateTime;

use super::attachments::Notice;
use crate::{Author, Message, MessageId};
use genesys_api::wire::RawFrame;
use genesys_api::wire::sanitize;
use web_messaging::rest::history::HistoryPage;

/// Something that happened. The last one of every conversation is [`Event::Ended`].
///
/// `Debug` shows nothing that anybody said, and no name: it can be logged.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The service has the guest's message. It can come after [`Event::InDoubt`], which it settles.
    Accepted {
        /// Which.
        id: MessageId,
        /// When, by the service's clock; by ours if it gave no time.
        at: OffsetDateTime,
        /// The event's number, where the contract numbers events.
        sequence: Option<u64>,
    },
    /// What became of an attachment, or of a download link that was asked for (`web-messaging` only).
    Attachment(Box<Notice>),
    /// The session is ready, for the first time, or with a fresh conversation after a read-only one.
    Configured(Session),
    /// The agent or the bot ended the conversation.
    ConversationEnded {
        /// Nothing more may be said in it.
        read_only: bool,
    },
    /// The conversation is over; nothing follows.
    Ended(Ending),
    /// The guest's message was not delivered.
    Failed {
        /// Which.
        id: MessageId,
        /// Why.
        reason: FailureReason,
    },
    /// The health check that was asked for was answered.
    Healthy {
        /// When the session expires, if the service said so.
        expires_at: Option<OffsetDateTime>,
    },
    /// A page of the history, as [`Conversation::read_history`](crate::Conversation::read_history) asked. What is in
    /// it may have been told before, or be told again: [`Message::id`] is the same.
    History(Box<HistoryPage>),
    /// The history could not be read. What was in doubt stays so, and what was said while the connection was lost is
    /// missing.
    HistoryUnread {
        /// For people.
        why: String,
    },
    /// It cannot be known whether these were delivered: they were sent, and no acknowledgement came.
    InDoubt {
        /// Which.
        ids: Vec<MessageId>,
    },
    /// Something was said to the guest: an answer of a person or a bot, never the guest's own words.
    Message(Box<Message>),
    /// The guest's own message, from another socket of the session or from an earlier process. The service takes it
    /// for delivered (`web-messaging` only).
    OwnMessage(Box<Message>),
    /// The connection is lost, or could not be made, and will be tried again.
    Reconnecting {
        /// Number of the attempt to come, from 1.
        attempt: u32,
        /// How long until then.
        after: Duration,
        /// What happened.
        why: Loss,
    },
    /// The service refused something that was no message.
    Refused(Refusal),
    /// The session is ready again after a lost connection.
    Restored(Session),
    /// The guest is signed in on the session that was an anonymous one.
    SignedIn(Session),
    /// The conversation was cleared: wipe what is shown of it.
    SessionCleared,
    /// The session expires soon.
    SessionExpiring {
        /// When.
        at: Option<OffsetDateTime>,
    },
    /// The service asks for patience; what it refused waits and is sent again.
    Throttled {
        /// How long nothing is sent.
        retry_after: Duration,
    },
    /// The service wants another token: give it within two minutes by
    /// [`Conversation::update_token`](crate::Conversation::update_token), and the conversation goes on.
    TokenNeeded {
        /// How many were asked for in a row; there are at most three.
        attempt: u8,
    },
    /// Somebody is typing.
    Typing {
        /// Who.
        from: Author,
        /// How long to show it, unless a message comes before.
        during: Duration,
    },
    /// A frame that this version does not know.
    Unknown(RawFrame),
    /// The gateway lost Genesys Cloud and tries again (`guest-sessions` only).
    UpstreamLost,
    /// The gateway has Genesys Cloud again (`guest-sessions` only).
    UpstreamRestored,
}

/// A session, as the service knows it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Session {
    /// The service began a new one: what was said before is not part of it.
    pub new_session: bool,
    /// Nothing may be said in it.
    pub read_only: bool,
    /// When it expires, if the service said so.
    pub expires_at: Option<OffsetDateTime>,
}

/// Why a conversation is over. `Display` says it in a sentence, with what to do.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Ending {
    /// The service wanted another token than it got, three times in a row, or none was given in time.
    AuthorizationRequired(Refusal),
    /// We ended it.
    ByUs,
    /// The service closed the connection for good: the conversation was cleared, the session has too many
    /// connections, or it was closed elsewhere.
    ClosedByServer {
        /// The service's word for why.
        reason: Option<String>,
    },
    /// The guest was logged out.
    LoggedOut,
    /// The service refused the session, and would again.
    Rejected(Refusal),
    /// The upgrade was refused, and would be again.
    Refused {
        /// HTTP status.
        status: u16,
    },
    /// The session was ended elsewhere.
    SessionEnded {
        /// The service's word for why.
        reason: String,
    },
    /// The session's lifetime has passed.
    SessionExpired,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AuthorizationRequired(refusal) => {
                write!(
                    f,
                    "the service accepts no token of this guest: {refusal}: sign in again"
                )
            }
            Self::ByUs => f.write_str("the conversation was ended by this side"),
            Self::ClosedByServer { reason } => write!(
                f,
                "the service closed the connection ({}): start a new session if the guest goes on",
                reason.as_deref().unwrap_or("no reason given")
            ),
            Self::LoggedOut => f.write_str("the guest was logged out: start a new session"),
            Self::Rejected(refusal) => write!(f, "the service rejected the session: {refusal}"),
            Self::Refused { status: 401 } => f.write_str(
                "the handshake was answered 401: the access token is not valid, renew it and open again",
            ),
            Self::Refused { status: 403 } => f.write_str(
                "the handshake was answered 403: the origin is not allowed, or the deployment is not active",
            ),
            Self::Refused { status } => {
                write!(
                    f,
                    "the handshake was answered {status}: check the URL and the session"
                )
            }
            Self::SessionEnded { reason } => write!(f, "the session was ended ({reason})"),
            Self::SessionExpired => f.write_str("the session has expired: start a new one"),
        }
    }
}

/// Why a connection was lost.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Loss {
    /// The application asked for a new connection: [`Conversation::reconnect`](crate::Conversation::reconnect).
    Asked,
    /// It closed, or could not be made.
    Closed(CloseInfo),
    /// The service did not answer the connection, or the first frame, in time.
    NoAnswer,
    /// Events were not read, and too many came.
    Overrun,
    /// The upgrade was refused, by a status that may pass.
    Refused {
        /// HTTP status.
        status: u16,
    },
    /// The service could not configure the session, by an error that may pass.
    Rejected(Refusal),
    /// Two pings were not answered.
    Silent,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("a new connection was asked for"),
            Self::Closed(info) => info.fmt(f),
            Self::NoAnswer => f.write_str("the service did not answer in time"),
            Self::Overrun => f.write_str("too many events were not read"),
            Self::Refused { status } => write!(f, "the handshake was answered {status}"),
            Self::Rejected(refusal) => refusal.fmt(f),
            Self::Silent => f.write_str("the service answered neither of two pings"),
        }
    }
}

/// The service's account of a refusal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// The machine's name for it: a number at Genesys Cloud, a dotted word at the gateway.
    pub code: String,
    /// For people.
    pub message: String,
}

impl Refusal {
    pub(super) fn new(code: impl fmt::Display, message: &str) -> Self {
        Self {
            code: sanitize(&code.to_string()),
            message: sanitize(message),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

/// Why a message was not delivered.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FailureReason {
    /// The conversation ended before it was sent.
    Ended,
    /// It was sent, twice if it could be, and the history has it not.
    NotDelivered,
    /// The conversation became read-only.
    ReadOnly,
    /// The service refused it.
    Refused(Refusal),
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended => f.write_str("the conversation ended before it was sent"),
            Self::NotDelivered => f.write_str("it was sent and did not arrive: send it again"),
            Self::ReadOnly => f.write_str("the conversation is read-only: start a new one"),
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}
