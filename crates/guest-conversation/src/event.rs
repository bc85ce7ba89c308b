//! Events of a conversation, under either contract.

use std::fmt;
use std::time::Duration;

use genesys_api::SessionStage;
use genesys_api::wire::{RawFrame, sanitize};
use time::OffsetDateTime;
use web_messaging::rest::history::HistoryPage;
use web_messaging::{ErrorCode, Remedy};
use ws_transport::{CloseInfo, QueueFull};

use crate::attachments::AttachmentEvent;
use crate::{Author, Message, MessageId};

/// An event of a conversation. The last one of every conversation is [`Event::Ended`].
///
/// `Debug` shows no text of a message and no name: it can be logged.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A message to the guest, from a person or a bot. The guest's own messages are never among them. Live messages are in
    /// the order of their arrival, which may differ from that of [`Message::at`](crate::Message::at).
    Message(Box<Message>),
    /// The delivery status of a message of the guest changed. [`DeliveryStatus::Queued`] is reported if the message has to
    /// wait, and then [`DeliveryStatus::Sending`]; neither of a message that is sent at once.
    /// [`DeliveryStatus::Unknown`] may still be followed by another status.
    Delivery {
        /// Id of the message.
        id: MessageId,
        /// Its status.
        status: DeliveryStatus,
    },
    /// The connection changed.
    Connection(ConnectionEvent),
    /// The conversation is over; nothing follows.
    Ended(Ending),
    /// Something else happened in the session.
    Session(SessionEvent),
}

/// A change of the connection.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ConnectionEvent {
    /// The session is ready for the first time, or with a new conversation after a read-only one.
    Ready(SessionInfo),
    /// The connection is lost, or could not be made, and is tried again.
    Reconnecting {
        /// Number of the next attempt, from 1.
        attempt: u32,
        /// Time until then.
        after: Duration,
        /// Cause of the loss.
        cause: Loss,
    },
    /// The limit of new connections delays this one.
    Deferred {
        /// Time until its slot.
        after: Duration,
    },
    /// The session is ready again after a lost connection.
    Restored(SessionInfo),
    /// The guest of an anonymous session is signed in.
    SignedIn(SessionInfo),
    /// The service accepts no token of the signed-in guest. Messages wait for the guest's next sign-in: pass its JWT to
    /// `update_token` (with [`WebMessaging::retry_refusals`](crate::WebMessaging::retry_refusals) only).
    SignInLost {
        /// Refusal of the last token.
        refusal: ServiceRefusal,
    },
    /// The service limits the rate; what it refused waits and is sent again.
    Throttled {
        /// Time for which nothing is sent.
        retry_after: Duration,
    },
    /// The service needs another token: pass it to `update_token` within two minutes.
    TokenNeeded {
        /// Tokens requested in a row, this one included; at most three.
        attempt: u8,
    },
    /// The peer did not answer a ping for 5 s. The connection is dropped 15 s later, unless [`Self::Responding`] follows.
    Silent,
    /// The peer answers again.
    Responding,
    /// The gateway cannot reach Genesys Cloud, or is refused, and tries again. Messages wait (`guest-sessions` only).
    UpstreamLost {
        /// Stable code of the cause.
        reason: &'static str,
        /// Time of the next attempt, if it is known.
        next_attempt_at: Option<OffsetDateTime>,
    },
    /// The gateway is connected to Genesys Cloud again (`guest-sessions` only).
    UpstreamRestored,
}

/// An event of the session that is no message, delivery or change of the connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SessionEvent {
    /// The state of an attachment, or of a requested download link, changed.
    Attachment(Box<AttachmentEvent>),
    /// The conversation was cleared: remove what is shown of it.
    Cleared,
    /// The agent or the bot ended the conversation.
    ConversationEnded {
        /// Whether no more messages can be sent.
        read_only: bool,
    },
    /// The session expires soon.
    Expiring {
        /// Time of the expiry.
        at: Option<OffsetDateTime>,
    },
    /// The requested health check was answered.
    Health {
        /// Time of the expiry, if the service sent it.
        expires_at: Option<OffsetDateTime>,
    },
    /// A requested page of the history. Its messages may have been emitted before, or are emitted again:
    /// [`Message::id`] is the same.
    History(Box<HistoryPage>),
    /// A requested page of the history could not be read.
    HistoryFailed {
        /// Reason, for people.
        reason: String,
        /// Wait until the rate limit allows a page, if it is the reason.
        retry_after: Option<Duration>,
    },
    /// Messages that were sent to the guest may be missing here: a recovery could not read them. It precedes the messages
    /// after the gap. Unknown deliveries stay unknown.
    HistoryUnread {
        /// Reason, for people.
        reason: String,
        /// Id of the last message before the gap, if this conversation emitted one.
        after: Option<String>,
        /// Id of the first message after the gap, if one is known.
        before: Option<String>,
    },
    /// A message of the guest from another socket of the session or from an earlier process.
    OwnMessage(Box<Message>),
    /// A recovery is over: the messages that were missed while the connection was lost, or since an earlier process, have
    /// been emitted, or a [`SessionEvent::HistoryUnread`] reported a gap (`web-messaging` only).
    Recovered,
    /// The service refused a frame that was no message.
    Refused {
        /// The request that it refused. `None` for another frame, such as a typing indicator, and if the service did not
        /// name it.
        request: Option<RequestKind>,
        /// Its refusal.
        refusal: ServiceRefusal,
    },
    /// A person or a bot is typing.
    Typing {
        /// Author.
        from: Author,
        /// Time for which to show it, unless a message arrives before.
        during: Duration,
    },
    /// A frame that this version does not know.
    Unknown(RawFrame),
}

/// The kind of a request that the service can refuse.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RequestKind {
    /// [`Request::Clear`](crate::Request::Clear).
    Clear,
    /// [`Request::SignIn`](crate::Request::SignIn).
    SignIn,
    /// [`Request::StartNew`](crate::Request::StartNew).
    StartNew,
}

impl Event {
    /// The stage that the session has reached with this event.
    #[must_use]
    pub fn stage(&self) -> Option<SessionStage> {
        match self {
            Self::Connection(ConnectionEvent::Ready(_) | ConnectionEvent::Restored(_)) => {
                Some(SessionStage::Configured)
            }
            Self::Delivery {
                status: DeliveryStatus::Delivered { .. },
                ..
            } => Some(SessionStage::FirstGuestMessage),
            Self::Message(_) => Some(SessionStage::FirstReply),
            _ => None,
        }
    }
}

impl From<ConnectionEvent> for Event {
    fn from(event: ConnectionEvent) -> Self {
        Self::Connection(event)
    }
}

impl From<SessionEvent> for Event {
    fn from(event: SessionEvent) -> Self {
        Self::Session(event)
    }
}

/// A session as the service describes it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SessionInfo {
    /// Whether the service began a new one, which does not contain earlier messages.
    pub new_session: bool,
    /// Whether messages can no longer be sent.
    pub read_only: bool,
    /// Time of the expiry, if the service sent it.
    pub expires_at: Option<OffsetDateTime>,
}

/// The end of a conversation. `Display` is a sentence with what to do.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Ending {
    /// The service refused three tokens in a row, or none was passed in time.
    #[error("the service accepts no token of this guest: {0}: sign in again")]
    AuthorizationRequired(ServiceRefusal),
    /// This side ended it.
    #[error("the conversation was ended by this side: open a new one to continue")]
    ByUs,
    /// The service closed the connection permanently: the conversation was cleared, the session has too many
    /// connections, or it was closed elsewhere.
    #[error(
        "the service closed the connection ({}): {}",
        reason.as_deref().unwrap_or(NO_REASON), closed_advice(reason.as_deref())
    )]
    ClosedByServer {
        /// Reason in the service's words.
        reason: Option<String>,
    },
    /// The guest was logged out.
    #[error("the guest was logged out: have the guest sign in, then start a new session")]
    LoggedOut,
    /// The service refused the session, and would again.
    #[error("the service rejected the session: {0}: {advice}", advice = rejected_advice(.0))]
    Rejected(ServiceRefusal),
    /// The upgrade was refused, and would be again.
    #[error("the handshake was answered {status}: {}", refused_advice(*status))]
    Refused {
        /// HTTP status.
        status: u16,
    },
    /// The session was ended elsewhere.
    #[error(
        "the session was ended elsewhere ({}): start a new one if the guest continues",
        if reason.is_empty() { NO_REASON } else { reason }
    )]
    SessionEnded {
        /// Reason in the service's words.
        reason: String,
    },
    /// The session's lifetime has passed.
    #[error("the session has expired: start a new one")]
    SessionExpired,
}

const NO_REASON: &str = "no reason given";

fn closed_advice(reason: Option<&str>) -> &'static str {
    match reason {
        Some("signedIn") => "the guest continues where they signed in, open it again as that guest",
        _ => {
            "unless it was cleared or closed on purpose, see that the session is open in at most three places, then \
             start a new one"
        }
    }
}

fn rejected_advice(refusal: &ServiceRefusal) -> &'static str {
    match refusal.code.parse().map(ErrorCode::new) {
        Ok(ErrorCode::BadRequest | ErrorCode::NotFound) => {
            "the deployment or the request is unknown, check the id of the deployment, and that the host is that of \
             its region"
        }
        Ok(ErrorCode::Unauthorized) => {
            "the guest is unknown, have the guest sign in, then start a new session"
        }
        Ok(ErrorCode::Forbidden) => "check that the deployment is active and that the sign-in is valid",
        Ok(ErrorCode::CannotDowngrade) => {
            "it belongs to a signed-in guest, sign the guest in, or begin with a fresh session token"
        }
        _ => "start a new session, and if that is rejected too, check the deployment",
    }
}

fn refused_advice(status: u16) -> &'static str {
    match status {
        401 => "the access token is not valid, refresh it and open again",
        403 => {
            "the origin is not allowed, or the deployment is not active, check both in the deployment's configuration"
        }
        _ => "check the URL and the session",
    }
}

/// The cause of a lost connection.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Loss {
    /// The application requested a new connection.
    #[error("a new connection was requested")]
    Requested,
    /// It closed, or could not be made.
    #[error("{}", closed(.0))]
    Closed(CloseInfo),
    /// The service did not answer the connection, or the first frame, in time.
    #[error("the service did not answer in time")]
    NoAnswer,
    /// Too many events were not read.
    #[error("too many events were not read")]
    Overrun,
    /// Too many connections of this owner wait for the limit of new ones.
    #[error(transparent)]
    QueueFull(QueueFull),
    /// The upgrade was refused, by a status that may pass.
    #[error("the handshake was answered {status}{}", if *status == 429 { ": too many connections" } else { "" })]
    Refused {
        /// HTTP status.
        status: u16,
    },
    /// The service could not configure the session, by an error that may pass.
    #[error("the service could not prepare the session: {0}")]
    Rejected(ServiceRefusal),
    /// The service accepts no token of the signed-in guest.
    #[error("the service accepts no sign-in of this guest: {0}")]
    SignIn(ServiceRefusal),
    /// Two pings were not answered.
    #[error("the service answered neither of two pings")]
    Silent,
}

/// Text for the end of a connection, with its reason or the meaning of its close code.
fn closed(close: &CloseInfo) -> String {
    let meaning = match (close.code(), close.reason()) {
        (Some(1000), "") => NO_REASON,
        (Some(1001), "") => "going away, or the connection was idle or old",
        (Some(1008), "") => "policy violation",
        (Some(1009), "") => "a frame was too large",
        (Some(1011), "") => "internal error of the service",
        (Some(_), "") => "no meaning known",
        (None, "") => "no reason known",
        (_, reason) => reason,
    };
    match close.code() {
        Some(code) => format!("the service closed the connection with code {code} ({meaning})"),
        None => format!("the connection broke, or could not be made ({meaning})"),
    }
}

impl Loss {
    /// A sentence with what to do if the loss is repeated. A new connection is opened in any case.
    pub(crate) fn advice(&self) -> &'static str {
        match self {
            Self::Requested => "It reconnects without help.",
            Self::Overrun => "It reconnects without help; read the events of the conversation without pause.",
            Self::QueueFull(_) | Self::Refused { status: 429 } => {
                "It reconnects without help; connect fewer sessions at once."
            }
            Self::Refused { status: ..500 } => {
                "It reconnects without help; if that is repeated, check the URL of the socket."
            }
            Self::Closed(close) if close.code() == Some(1009) => {
                "It reconnects without help; send smaller frames."
            }
            Self::Closed(close) if close.code() == Some(1008) => CHECK_SESSION,
            Self::Rejected(_) => CHECK_SESSION,
            Self::SignIn(_) => "It reconnects when the guest has signed in again.",
            Self::Closed(close) if close.code().is_none() => CHECK_NETWORK,
            Self::NoAnswer | Self::Silent => CHECK_NETWORK,
            Self::Closed(_) | Self::Refused { .. } => {
                "It reconnects without help; if that is repeated, see whether the service has an outage."
            }
        }
    }
}

const CHECK_NETWORK: &str =
    "It reconnects without help; if that is repeated, check the network, the proxy and the host.";
const CHECK_SESSION: &str =
    "It reconnects without help; if that is repeated, check the deployment and the session.";

/// A refusal of the service.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServiceRefusal {
    /// Code: a number at Genesys Cloud, dotted words at the gateway.
    pub code: String,
    /// Text for people.
    pub message: String,
}

impl ServiceRefusal {
    /// A refusal whose texts are bounded and free of control characters.
    pub fn new(code: impl fmt::Display, message: &str) -> Self {
        Self {
            code: sanitize(&code.to_string()),
            message: sanitize(message),
        }
    }

    /// Whether Genesys Cloud refused the request for good, and not because of a passing fault.
    #[must_use]
    pub fn is_final(&self) -> bool {
        let code = self.code.parse().map(ErrorCode::new);
        code.is_ok_and(|code| code.remedy(&self.message) != Remedy::Retry)
    }
}

impl fmt::Display for ServiceRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&*self.message, &*self.code) {
            ("", "") => f.write_str(NO_REASON),
            ("", code) => write!(f, "code {code}"),
            (message, code) => write!(f, "{message} ({code})"),
        }
    }
}

/// The delivery status of a message of the guest.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DeliveryStatus {
    /// The service has it: its echo arrived, or the history contains it.
    Delivered {
        /// Time by the service's clock; by this process' clock if the service sent none.
        at: OffsetDateTime,
        /// Number of the event, where the contract numbers events.
        sequence: Option<u64>,
        /// Id of the message in the history, if it is known.
        message: Option<String>,
    },
    /// It was not delivered, and will not be.
    Failed(FailureReason),
    /// It waits to be sent.
    Queued,
    /// It was sent and is not acknowledged yet, or the history is being read for it.
    Sending,
    /// It was sent and no acknowledgement came: it may have arrived. A late acknowledgement may still decide it.
    Unknown,
}

/// The reason of a failed delivery.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FailureReason {
    /// The conversation ended first.
    #[error("the conversation ended before it was sent")]
    Ended,
    /// It waited for the connection, or for the limits of the service, and was not sent in time.
    #[error("it was not sent within {} s, since the service cannot be reached: send it again later", timeout.as_secs())]
    NotSentInTime {
        /// Longest wait.
        timeout: Duration,
    },
    /// It was sent, twice if possible, and the history does not contain it.
    #[error("it was sent and did not arrive: send it again")]
    NotDelivered,
    /// The conversation became read-only.
    #[error("the conversation is read-only: start a new one")]
    ReadOnly,
    /// The service refused it.
    #[error("{0}")]
    Refused(Box<ServiceRefusal>),
}
