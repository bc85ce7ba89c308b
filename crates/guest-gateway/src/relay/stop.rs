//! The reason for which a relay stops.

use guest_conversation::Ending;
use guest_sessions::ErrorCode;
use session_metrics::EndReason;

/// The reason for which a relay stops.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "the driver handles each")]
pub enum Stop {
    /// The session has ended.
    Ended(EndReason),
    /// The gateway cannot continue the conversation now, for this reason. The session is unchanged.
    Failed(ErrorCode, String),
    /// The gateway shuts down.
    Shutdown,
}

impl From<Ending> for Stop {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::SessionExpired => Self::Ended(EndReason::Expired),
            // the suite ended it and gives the reason
            Ending::SessionEnded { reason } => {
                Self::Ended(EndReason::from_name(&reason).unwrap_or(EndReason::ServerClosed))
            }
            Ending::ByUs => Self::Shutdown,
            Ending::ClosedByServer { .. } => Self::Ended(EndReason::ServerClosed),
            Ending::LoggedOut => Self::Ended(EndReason::SignedOut),
            // caused by the deployment, its domains or the configuration, not by the session
            ending => Self::Failed(ErrorCode::GenesysRefused, ending.to_string()),
        }
    }
}
