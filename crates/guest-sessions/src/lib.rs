#![doc = include_str!("../README.md")]

mod access_token;
mod attachment;
mod audit_query;
mod browser_session;
mod client_frame;
mod conversation_status;
mod deliveries;
mod generated;
mod guest;
mod history;
mod problem;
mod secret;
mod server_frame;
mod session;
mod session_event;
mod sign_in;
mod webhooks;

#[cfg(feature = "client")]
pub mod client;

pub use access_token::{PROTOCOL, TokenPlacement, offered_ticket, offered_token, query_token};
pub use attachment::{
    AttachmentRules, DownloadLink, FILES_PER_MESSAGE, FileNameError, file_name, file_name_header,
};
pub use audit_query::{AuditQuery, AuditQueryError, ProofQuery};
pub use browser_session::{
    BrowserAccess, BrowserSession, CreateBrowserSessionBody, ResumeBrowserSessionBody, Ticket,
};
pub use client_frame::{BadFrame, ClientFrame, GuestMessage};
pub use conversation_status::{ConversationState, ConversationStatus, GuestAction, Outage, OutageReason};
pub use deliveries::{
    AttemptInfo, DeliveryInfo, DeliveryPage, DeliveryPageQuery, DeliveryState, PreviewBody, ReplayBody,
    Replayed, UnknownState, WebhookPreview, WebhookState, WebhookStatus,
};
pub use generated::{DetailCode, ErrorCode, Operation, ROUTES, Route};
pub use guest::{
    ConsentEntry, ErasedGuest, ErasureKey, ErasureKeyError, ErasureRecord, GuestErasureBody, GuestQueryBody,
    GuestReport, HeldSession, Recipient,
};
pub use history::{HistoryQuery, HistoryQueryError, MessagePage};
pub use server_frame::{DeliveryBody, MessageBody, Sender, SenderKind, ServerFrame};
pub use session::{
    AuditLines, AuditTrail, ConsentChangeBody, ConsentRecords, CreatedSession, RefreshBody, RefreshedTokens,
    SessionInfo,
};
pub use session_event::{SessionEvent, erased_event};
pub use sign_in::SignInBody;
pub use webhooks::{SubscriptionBody, Webhook, WebhookList};

pub use genesys_api::strict_json::BodyError;
pub use guest_payload::{NewGuest, NewSession};
pub use web_messaging::content;
