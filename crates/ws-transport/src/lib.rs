#![doc = include_str!("../README.md")]

#[cfg(feature = "client")]
pub mod client;
mod contract;
mod conversation;
mod generated;
pub mod guest_sessions;
mod handshake;
mod message;
mod origin;
#[cfg(feature = "client")]
pub mod server;
#[cfg(feature = "client")]
mod socket;
mod url;
pub mod web_messaging;
mod wire;

pub use contract::{Contract, DeploymentRules, Farewell, GuestSessions, WebMessaging};
pub use conversation::{
    Beat, CloseInfo, Command, Conversation, Delivery, Ending, Event, FailureReason, Heartbeat,
    HistoryFailure, Loss, Reason, Refusal, RequestError, SendError, Session, State, Transmit,
};
pub use conversation::{attachments, timeline};
pub use handshake::{ClientHandshake, HandshakeError, ServerHandshake};
pub use message::{
    Answer, Attachment, Author, AuthorKind, ButtonKind, ButtonResponse, Card, CardAction, Choice, Content,
    DatePicker, DateSlot, Direction, Form, ListItem, ListPicker, ListSection, Media, Message, MessageId,
    MessageIdError, QuickReply, Said, TEXT_LIMIT,
};
pub use origin::{AdmittedOrigin, Origin, OriginError, OriginPolicy, OriginPolicyError, ParseOriginError};
pub use url::{SocketUrl, SocketUrlError};
pub use wire::{RawFrame, RawJson, SecretText, Text};
