#![doc = include_str!("../README.md")]

pub mod attachments;
#[cfg(feature = "client")]
pub mod client;
mod config;
mod conversation;
pub mod engine;
mod event;
mod machine;
mod outbox;
mod pacing;
mod recent_ids;
mod sliding_window;
mod state;
pub mod timeline;

#[cfg(feature = "client")]
pub use client::Connection as Guest;
pub use config::{CloseMode, QUEUE_TIMEOUT, WebMessaging};
pub use conversation::{Conversation, HistoryFailure, Request, RequestError};

pub use event::{
    ConnectionEvent, DeliveryStatus, Ending, Event, FailureReason, Loss, RequestKind, ServiceRefusal,
    SessionEvent, SessionInfo,
};
pub use machine::GuestMachine;
pub use outbox::SendError;
pub use state::{Command, Job, JobOutcome, Reason, State};
pub use web_messaging::message::{
    Answer, AnswerError, AnswerItem, Attachment, Author, AuthorKind, ButtonKind, ButtonResponse, Card,
    CardAction, Choice, Content, DatePicker, DateSlot, Direction, Form, ListItem, ListPicker, ListSection,
    Media, Message, MessageId, MessageIdError, OutgoingMessage, QuickReply, TEXT_LIMIT,
};
pub use web_messaging::{CustomAttributes, DeploymentRules};
pub use ws_transport::Machine;
