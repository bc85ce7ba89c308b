//! Where a conversation stands, and what it asks of its driver.

use super::attachments::Put;
use web_messaging::rest::history::History;

/// Where a conversation stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// Not yet connected.
    Idle,
    /// A connection is being made.
    Connecting,
    /// Connected; the service is asked for the session.
    Configuring,
    /// Ready.
    Configured,
    /// Ready, but nothing more may be said.
    ReadOnly,
    /// The connection is lost; it is tried again after a wait.
    Reconnecting,
    /// Being ended by us.
    Closing,
    /// Over: ended by us, or by the service in good order.
    Closed,
    /// Over: the service would refuse another try.
    Failed,
}

impl State {
    /// Whether nothing more can happen.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Closed | Self::Failed)
    }
}

/// What the driver is to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Command {
    /// Open one, by [`Conversation::handshake`](crate::Conversation::handshake); then call `handle_connected`, `handle_refused` or `handle_closed`.
    Connect,
    /// Drop it, or give up opening it; then call `handle_closed`.
    Disconnect,
    /// Make this call, beside the connection; then call `handle_history`. One is made at a time: the next command of
    /// this kind takes the place of one whose answer has not come.
    ReadHistory(Box<History>),
    /// Upload this, beside the connection and other uploads; then call `handle_put`. Drop it as soon as
    /// [`attachment`](crate::Conversation::attachment) is no longer [`Uploading`](crate::attachments::Stage::Uploading).
    Upload(Box<Put>),
}

/// Why a conversation wants to be woken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// The service, or an upload, takes too long with an attachment.
    Attachment,
    /// The service takes too long to close.
    Close,
    /// Ask for the session once more: the first time was too soon.
    Configure,
    /// The service takes too long to configure.
    ConfigureTimeout,
    /// The connection takes too long.
    ConnectTimeout,
    /// Messages take too long while ending.
    Drain,
    /// The service takes too long to answer the farewell.
    Farewell,
    /// The session expires, or is asked whether it does.
    Expiry,
    /// A ping is due, or was not answered.
    Heartbeat,
    /// The history can be read on, or takes too long.
    History,
    /// A limit lets the next message pass.
    Pace,
    /// The next connection is due.
    Reconnect,
    /// The read-only conversation takes too long to be left.
    StartNew,
    /// Nobody gave the token that the service wants.
    Token,
}
