#![doc = include_str!("../README.md")]

#[cfg(feature = "client")]
pub mod client;
mod contract;
mod conversation;

pub use contract::{Contract, Farewell, GuestSessions, WebMessaging};
pub use conversation::{
    Command, Conversation, Delivery, Ending, Event, FailureReason, HistoryFailure, Loss, Reason, Refusal,
    RequestError, SendError, Session, State,
};
pub use conversation::{attachments, timeline};
pub use web_messaging::DeploymentRules;
pub use web_messaging::message::{
    Answer, Attachment, Author, AuthorKind, ButtonKind, ButtonResponse, Card, CardAction, Choice, Content,
    DatePicker, DateSlot, Direction, Form, ListItem, ListPicker, ListSection, Media, Message, MessageId,
    MessageIdError, QuickReply, Said, TEXT_LIMIT,
};
