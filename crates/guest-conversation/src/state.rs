//! States of a conversation, and the phases of its connection behind them.

use std::time::Instant;

use web_messaging::rest::history::{History, HistoryPage};
use ws_transport::Heartbeat;

use crate::HistoryFailure;
use crate::attachments::{AttachmentId, FileUpload, UploadOutcome};
use crate::engine::shutdown::{Closing, ClosingStep};
use crate::event::{Loss, ServiceRefusal};

/// The state of a conversation.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum State {
    /// Not connected yet.
    #[default]
    Idle,
    /// A connection is being opened.
    Connecting,
    /// Connected; the session is requested.
    Configuring,
    /// The session is ready.
    Configured,
    /// The session is ready, but no more messages can be sent.
    ReadOnly,
    /// The connection is lost; another attempt follows after a wait.
    Reconnecting,
    /// This side is ending the conversation.
    Closing,
    /// Over: ended by this side, or normally by the service.
    Closed,
    /// Over: the service would refuse another attempt.
    Failed,
}

impl State {
    /// Whether the conversation is over.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Closed | Self::Failed)
    }
}

/// A command for the driver. A job's id is the attachment of an upload; one page of the history is read at a time.
pub type Command = ws_transport::Command<Option<AttachmentId>, Job>;

/// An HTTP call beside the socket.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a driver runs each")]
pub enum Job {
    /// Reads a page of the history.
    ReadHistory(Box<History>),
    /// Uploads a file.
    Upload(Box<FileUpload>),
}

/// The result of a [`Job`].
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "made by a driver")]
pub enum JobOutcome {
    /// The page, or the failure.
    History(Result<HistoryPage, HistoryFailure>),
    /// The attachment, and the answer of the storage.
    Upload(AttachmentId, UploadOutcome),
}

/// The reason of a deadline.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// A request about an attachment, or an upload, times out.
    Attachment,
    /// The wait for the answer to the clearing times out.
    Clear,
    /// The wait for the service's close frame times out.
    Close,
    /// The session can be requested again: the first time was too soon.
    Configure,
    /// The wait for the session times out.
    ConfigureTimeout,
    /// Opening the connection times out.
    ConnectTimeout,
    /// The wait for unacknowledged messages before closing times out.
    Drain,
    /// The session expires, or its expiry is to be confirmed.
    Expiry,
    /// A ping is due, or was not answered.
    Heartbeat,
    /// The history can be read on, or its reading times out.
    History,
    /// A rate limit lets the next frame pass.
    Pace,
    /// A message was not sent in time.
    Queue,
    /// The next connection is due.
    Reconnect,
    /// The wait for the end of the read-only conversation times out.
    StartNew,
    /// The wait for a token times out.
    Token,
}

/// The phase of the connection. Each holds what exists in it only.
#[derive(Debug, Default)]
pub(crate) enum Phase {
    #[default]
    Idle,
    Connecting {
        until: Instant,
    },
    Open {
        heartbeat: Heartbeat,
        stage: Stage,
    },
    /// The driver drops the connection; `handle_closed` follows.
    Dropping {
        state: State,
        loss: Loss,
    },
    Reconnecting(Wait),
    /// In one of the final states.
    Over(State),
}

/// The stage of the session on an open connection.
#[derive(Debug)]
pub(crate) enum Stage {
    Configuring(Wait),
    /// The guest of a configured session is being signed in.
    SigningIn(Wait),
    Configured,
    ReadOnly {
        /// The conversation is being left for a new one, which may take until then.
        leaving: Option<Instant>,
    },
    Closing(Closing),
}

/// The event that configuring or reconnecting waits for.
#[derive(Debug)]
pub(crate) enum Wait {
    /// The answer of the service, until then.
    Answer(Instant),
    /// The time of the next attempt.
    Retry(Instant),
    /// A token of the application.
    Token {
        requested: Instant,
        until: Instant,
        refusal: Box<ServiceRefusal>,
    },
    /// The next sign-in of the guest, without a deadline.
    SignIn { since: Instant },
}

/// The way a session was configured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Configured {
    /// For the first time.
    First,
    /// Again, after a lost connection or for a new conversation.
    Again,
    /// With another guest.
    SignedIn,
}

/// Progress of the session over all its connections.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Progress {
    /// It was not configured yet.
    #[default]
    New,
    /// It was configured, and the event that joins it waits to be sent.
    Joining,
    /// It was configured.
    Established,
    /// It is read-only, and the next configuration requests a new conversation.
    StartingNew,
}

impl Phase {
    pub(crate) fn state(&self) -> State {
        match self {
            Self::Idle => State::Idle,
            Self::Connecting { .. } => State::Connecting,
            Self::Open { stage, .. } => stage.state(),
            Self::Dropping { state, .. } | Self::Over(state) => *state,
            Self::Reconnecting(_) => State::Reconnecting,
        }
    }

    /// The deadline of the phase itself; the heartbeat has its own.
    pub(crate) fn deadline(&self) -> Option<(Instant, Reason)> {
        match self {
            Self::Idle | Self::Dropping { .. } | Self::Over(_) => None,
            Self::Connecting { until } => Some((*until, Reason::ConnectTimeout)),
            Self::Reconnecting(wait) => wait.deadline(Reason::Reconnect),
            Self::Open { stage, .. } => match stage {
                Stage::Configuring(wait) | Stage::SigningIn(wait) => wait.deadline(Reason::Configure),
                Stage::Configured => None,
                Stage::ReadOnly { leaving } => leaving.map(|at| (at, Reason::StartNew)),
                Stage::Closing(closing) => Some(closing.deadline()),
            },
        }
    }

    pub(crate) fn wait(&mut self) -> Option<&mut Wait> {
        match self {
            Self::Reconnecting(wait)
            | Self::Open {
                stage: Stage::Configuring(wait) | Stage::SigningIn(wait),
                ..
            } => Some(wait),
            _ => None,
        }
    }

    /// The heartbeat, while pings may be sent: not after a close frame.
    pub(crate) fn heartbeat(&mut self) -> Option<&mut Heartbeat> {
        match self {
            Self::Open {
                stage: Stage::Closing(closing),
                ..
            } if closing.step == ClosingStep::Closing => None,
            Self::Open { heartbeat, .. } => Some(heartbeat),
            _ => None,
        }
    }
}

impl Stage {
    pub(crate) fn state(&self) -> State {
        match self {
            Self::Configuring(_) | Self::SigningIn(_) => State::Configuring,
            Self::Configured => State::Configured,
            Self::ReadOnly { .. } => State::ReadOnly,
            Self::Closing(_) => State::Closing,
        }
    }
}

impl Wait {
    fn deadline(&self, retry: Reason) -> Option<(Instant, Reason)> {
        match self {
            Self::Answer(at) => Some((*at, Reason::ConfigureTimeout)),
            Self::Retry(at) => Some((*at, retry)),
            Self::Token { until, .. } => Some((*until, Reason::Token)),
            Self::SignIn { .. } => None,
        }
    }
}
