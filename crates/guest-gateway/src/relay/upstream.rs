//! The conversation of a relay with Genesys Cloud, while it is opened and after that.

use std::collections::VecDeque;
use std::pin::Pin;

use guest_conversation::Event;
use guest_sessions::ErrorCode;
use guest_suite::Error;
use guest_suite::direct::{Admitted, Conversation, Direct};
use session_metrics::EndReason;
use ws_transport::AdmittedOrigin;

use super::{COMMAND_QUEUE, Command, Stop};

type Opening = Pin<Box<dyn Future<Output = Result<Box<Conversation>, Stop>> + Send>>;

/// The conversation with Genesys Cloud.
pub(super) enum Upstream {
    /// It is opened: the session is read, and the files of its deployment.
    Connecting {
        // boxed, so that its memory is freed when the conversation is open
        opening: Opening,
        /// The commands that wait for it.
        held: VecDeque<Command>,
    },
    Open(Box<Conversation>),
}

/// An output of the conversation.
pub(super) enum Next {
    Event(Event),
    Opened(Box<Conversation>),
    Stop(Stop),
}

impl Upstream {
    pub(super) fn connecting(direct: Direct, origin: AdmittedOrigin, admitted: Admitted) -> Self {
        Self::Connecting {
            opening: Box::pin(connect(direct, origin, admitted)),
            held: VecDeque::new(),
        }
    }

    /// Waits for the next output. If the future is dropped, nothing is lost. Not to be called after a stop.
    pub(super) async fn next(&mut self) -> Next {
        match self {
            Self::Connecting { opening, .. } => match opening.await {
                Ok(conversation) => Next::Opened(conversation),
                Err(stop) => Next::Stop(stop),
            },
            Self::Open(conversation) => match conversation.next_event().await {
                Some(event) => Next::Event(event),
                None => {
                    let text = "cannot continue: the connection to Genesys was lost, reconnect and resume";
                    Next::Stop(Stop::Failed(ErrorCode::ServiceUnavailable, text.to_owned()))
                }
            },
        }
    }

    /// Whether a command can be handled or held.
    pub(super) fn has_room(&self) -> bool {
        match self {
            Self::Connecting { held, .. } => held.len() < COMMAND_QUEUE,
            Self::Open(_) => true,
        }
    }

    /// The commands that wait for the conversation, and the opened conversation.
    pub(super) fn into_parts(self) -> (VecDeque<Command>, Option<Box<Conversation>>) {
        match self {
            Self::Connecting { held, .. } => (held, None),
            Self::Open(conversation) => (VecDeque::new(), Some(conversation)),
        }
    }
}

async fn connect(
    direct: Direct,
    origin: AdmittedOrigin,
    admitted: Admitted,
) -> Result<Box<Conversation>, Stop> {
    if let Some(reason) = admitted.end_reason() {
        return Err(Stop::Ended(reason));
    }
    let connected = direct.connect_admitted(admitted, origin).await;
    connected.map(Box::new).map_err(|error| match error {
        Error::Refused(ErrorCode::SessionEnded) => Stop::Ended(EndReason::Expired),
        Error::NotAdmitted(_) => Stop::Failed(ErrorCode::GenesysRefused, error.to_string()),
        error => Stop::Failed(ErrorCode::ServiceUnavailable, error.to_string()),
    })
}
